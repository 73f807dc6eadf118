//! The README's own commands, run one after the other as a reader would, and its captures held against what they print.
//!
//! It all happens in a private mount namespace with layers over `/usr` and `/etc`, so that `make install` installs nothing.
//! `OCI_IPC_HOOK_BLESS=1` writes what was printed into the README.

use crate::support::{Dir, is_root, run_command, skip, which};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// A line that stands for any number of lines.
const ANYTHING: &str = "…";

/// What differs from run to run.
const MASKS: &str = r#"s/"pid":[0-9]+/"pid":N/; s/namespace [0-9]{6,}/namespace N/; s/0x[0-9a-f]{8}/KEY/g;
    s/[0-9]+ \(ended\)/N (ended)/; s/[A-Z][a-z]{2} +[0-9]+ [0-9]{2}:[0-9]{2}/DATE/; s/tmp\.[A-Za-z0-9]+/tmp.X/g;
    s/[0-9a-f]{64}/ID/; s/time="[^"]*"/TIME/; s/ [0-9]+s / AGE /; s/[ \t]+/ /g"#;

/// Works like podman and sudo on an ordinary machine, on this one too.
const SURROUNDINGS: &str = r#"
set -eu
mount -t tmpfs tmpfs "$SCRATCH"
mkdir "$SCRATCH/usr" "$SCRATCH/usr.w" "$SCRATCH/etc" "$SCRATCH/etc.w" "$SCRATCH/out" "$SCRATCH/tmp"
for d in usr etc; do
    mount -t overlay overlay -o "lowerdir=/$d,upperdir=$SCRATCH/$d,workdir=$SCRATCH/$d.w" "/$d"
done
mount -t tmpfs -o mode=755 tmpfs /run
rm -f /usr/share/containers/oci/hooks.d/*
rm -rf /etc/oci-ipc-hook
mkdir -p /dev/mqueue
sudo() { "$@"; }
export TMPDIR="$SCRATCH/tmp" CONTAINERS_CONF="$SCRATCH/containers.conf" CONTAINERS_STORAGE_CONF="$SCRATCH/storage.conf"
printf '%s\n' '[containers]' 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]' 'log_driver = "k8s-file"' \
    'netns = "none"' '[engine]' 'runtime = "runc"' 'cgroup_manager = "cgroupfs"' 'events_logger = "file"' >"$CONTAINERS_CONF"
printf '%s\n' '[storage]' 'driver = "vfs"' "graphroot = \"$SCRATCH/storage\"" 'runroot = "/run/storage"' >"$CONTAINERS_STORAGE_CONF"
"#;

/// A fenced block: its language and its lines, as numbers into the README.
struct Block {
    language: String,
    lines: std::ops::Range<usize>,
}

fn blocks(lines: &[&str]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, usize)> = None;
    for (number, line) in lines.iter().enumerate() {
        let Some(language) = line.strip_prefix("```") else { continue };
        match open.take() {
            None => open = Some((language.to_owned(), number + 1)),
            Some((language, start)) => blocks.push(Block { language, lines: start..number }),
        }
    }
    blocks
}

/// The commands of a capture, each with what it printed.
fn captures<'l>(lines: &[&'l str]) -> Vec<(&'l str, Vec<&'l str>)> {
    let mut captures: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in lines {
        match line.strip_prefix("$ ") {
            Some(command) => captures.push((command, Vec::new())),
            None => captures.last_mut().expect("a capture starts with its command").1.push(line),
        }
    }
    captures
}

fn masked(text: &str) -> Vec<String> {
    let mut sed = Command::new("sed");
    sed.args(["-E", MASKS]);
    run_command(sed, text).expect(0).stdout.lines().map(|l| l.trim_end().to_owned()).collect()
}

fn agree(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((line, rest)) if line == ANYTHING => (0..=found.len()).any(|n| agree(rest, &found[n..])),
        Some((line, rest)) => found.first() == Some(line) && agree(rest, &found[1..]),
    }
}

/// Why the commands cannot be run here.
fn missing() -> Option<String> {
    if !is_root() {
        return Some("the README's containers need root".to_owned());
    }
    if std::env::var_os("OCI_IPC_HOOK_BIN").is_none() {
        return Some("OCI_IPC_HOOK_BIN does not name the static release binary".to_owned());
    }
    for tool in ["runc", "podman", "busybox", "make", "unshare", "ipcmk"] {
        if which(tool).is_none() {
            return Some(format!("{tool} is not installed"));
        }
    }
    None
}

#[test]
fn every_command_works_and_prints_what_is_shown() {
    if let Some(why) = missing() {
        return skip(&why);
    }
    let text = std::fs::read_to_string(README).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let blocks = blocks(&lines);
    let mut script = SURROUNDINGS.to_owned();
    for (number, block) in blocks.iter().enumerate() {
        let body = &lines[block.lines.clone()];
        match block.language.as_str() {
            // This very test is part of it.
            "sh" if body == ["make test"] => {}
            "sh" => {
                let _ = write!(
                    script,
                    "{{\n{}\n}} >\"$SCRATCH/log\" 2>&1 || {{ cat \"$SCRATCH/log\"; exit 1; }}\n",
                    body.join("\n")
                );
            }
            "console" => {
                for (index, (command, _)) in captures(body).iter().enumerate() {
                    let _ =
                        write!(script, "{{ {command}\n}} >\"$SCRATCH/out/{number}.{index}\" 2>&1 </dev/null || true\n");
                }
            }
            _ => {}
        }
    }
    script += "cd \"$SCRATCH/out\"; for f in *; do echo \"==> $f\"; cat $f; done\n";
    let dir = Dir::new();
    let mut command = Command::new("unshare");
    // A `make` that runs the tests must not make those of the README talk differently.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        command.env_remove(name);
    }
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["sh", "-c", &script]).env("SCRATCH", dir.text()).current_dir(env!("CARGO_MANIFEST_DIR"));
    let ran = run_command(command, "").expect(0);
    compare(&text, &lines, &blocks, &ran.stdout);
}

fn compare(text: &str, lines: &[&str], blocks: &[Block], printed: &str) {
    let bless = std::env::var_os("OCI_IPC_HOOK_BLESS").is_some();
    let (mut compared, mut blessed) = (0, text.to_owned());
    for section in printed.split("==> ").skip(1) {
        let (name, found) = section.split_once('\n').unwrap();
        let (block, index) = name.split_once('.').unwrap();
        let body = &lines[blocks[block.parse::<usize>().unwrap()].lines.clone()];
        let (command, expected) = &captures(body)[index.parse::<usize>().unwrap()];
        if !agree(&masked(&expected.join("\n")), &masked(found)) {
            let shown = expected.iter().map(|l| format!("{l}\n")).collect::<String>();
            assert!(bless, "$ {command}\nprints\n{found}\nand the README shows\n{shown}");
            let old = format!("$ {command}\n{shown}");
            assert_eq!(blessed.matches(&old).count(), 1, "{command}");
            blessed = blessed.replace(&old, &format!("$ {command}\n{found}"));
        }
        compared += 1;
    }
    assert!(compared >= 6, "{compared} captures");
    if bless {
        std::fs::write(Path::new(README), blessed).unwrap();
    }
}
