//! What the hook may do, holds and heeds at the moment it changes something.

use crate::support::stopped::Stopped;
use crate::support::{Container, Dir, binary, is_root, run, run_command, skip, which};
use std::process::Command;

const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const SETPCAP: u64 = 1 << 8;
const IPC_OWNER: u64 = 1 << 15;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_RESOURCE: u64 = 1 << 24;
const DAC_OVERRIDE: u64 = 1 << 1;
const FOWNER: u64 = 1 << 3;
const CHOWN: u64 = 1 << 0;
const IPC_LOCK: u64 = 1 << 14;
const WAY_IN: u64 = CHOWN
    | DAC_OVERRIDE
    | FOWNER
    | SETGID
    | SETUID
    | SETPCAP
    | IPC_LOCK
    | IPC_OWNER
    | SYS_PTRACE
    | SYS_ADMIN
    | SYS_RESOURCE;

fn ready() -> bool {
    if !is_root() {
        skip("only root has rights to give up");
    } else if which("strace").is_none() {
        skip("strace is not installed");
    } else {
        return true;
    }
    false
}

/// The rights that this machine's root has at all.
fn available() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let mask = status.lines().find_map(|l| l.strip_prefix("CapEff:\t")).expect("CapEff");
    u64::from_str_radix(mask, 16).expect("a mask")
}

fn stop(call: &str, nth: u32, container: &Container, profile: &str) -> Stopped {
    let binary = binary();
    let command = [binary.to_str().expect("text"), "--profile-file", profile];
    Stopped::at(call, nth, &[], &command, container.state(""))
}

#[track_caller]
fn has_exactly(stopped: &Stopped, rights: u64) {
    let wanted = format!("{:016x}", rights & available());
    for set in ["CapEff", "CapPrm"] {
        assert_eq!(stopped.status(set), wanted, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(stopped.status(set), format!("{:016x}", 0), "{set}");
    }
    assert_eq!(stopped.status("NoNewPrivs"), "1");
    assert_eq!(stopped.status("Threads"), "1");
}

#[test]
fn each_change_is_made_with_the_rights_it_needs() {
    if !ready() {
        return;
    }
    let sem = "[[sem]]\nkey = 1\nnsems = 1\nowner = \"0:0\"\n";
    let queue = "[[mqueue]]\nname = \"/q\"\nowner = \"0:0\"\n";
    let set = "[sysctl]\n\"kernel.msgmax\" = 9000\n";
    for (what, body, call, nth, rights) in [
        ("looking", sem, "semctl", 1, WAY_IN),
        ("a sysctl", set, "pwrite64", 1, SETUID | SETGID),
        ("a set", sem, "semget", 1, SETUID | SETGID | SETPCAP | IPC_OWNER),
        ("a queue", queue, "mq_open", 2, SETUID | SETGID | SETPCAP | DAC_OVERRIDE | FOWNER),
    ] {
        for options in [&[][..], &["--map-root-user"]] {
            let (container, dir) = (Container::with(options), Dir::new());
            let stopped = stop(call, nth, &container, &dir.profile(body));
            println!("{what}, container with {options:?}: {}", stopped.status("CapEff"));
            has_exactly(&stopped, rights);
            stopped.resume().expect(0);
        }
    }
}

#[test]
fn removing_what_others_made_keeps_one_right_more() {
    if !ready() {
        return;
    }
    let (container, dir) = (Container::new(), Dir::new());
    let body = "[[sem]]\nkey = 1\nnsems = 1\nowner = \"0:0\"\n";
    run(&["--profile-file", &dir.profile(body)], container.state("")).expect(0);
    let profile = dir.profile(&format!("{body}if-exists = \"replace\"\n"));
    let stopped = stop("semget", 2, &container, &profile);
    has_exactly(&stopped, SETUID | SETGID | SETPCAP | IPC_OWNER | SYS_ADMIN);
    stopped.resume().expect(0);
}

#[test]
fn nothing_inherited_stays_open() {
    if !ready() {
        return;
    }
    let (container, dir) = (Container::new(), Dir::new());
    let marker = dir.file("inherited", "");
    let profile = dir.profile("[[sem]]\nkey = 1\nnsems = 1\nowner = \"0:0\"\n");
    let binary = binary();
    let command = [binary.to_str().expect("text"), "--profile-file", &profile];
    let script = format!("exec 3<'{marker}' 9<'{marker}'; exec \"$@\"");
    let before = ["sh", "-c", &script, "sh"];
    let stopped = Stopped::at("semget", 1, &before, &command, container.state(""));
    let open = stopped.descriptors();
    assert!(open.iter().all(|f| !f.contains("inherited")), "{open:?}");
    assert!(open.iter().any(|f| f.starts_with("ipc:[")), "these are the hook's: {open:?}");
    stopped.resume().expect(0);
}

/// True for a binary that no loader touches.
fn is_static(path: &std::path::Path) -> bool {
    let bytes = std::fs::read(path).expect("the binary");
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]) as usize;
    let table = u64::from_le_bytes(bytes[32..40].try_into().expect("8 bytes")) as usize;
    const PT_INTERP: [u8; 4] = 3u32.to_le_bytes();
    (0..u16_at(56)).all(|n| bytes[table + n * u16_at(54)..][..4] != PT_INTERP)
}

/// A library that leaves a file behind as soon as it is loaded.
fn hostile_library(dir: &Dir) -> Option<String> {
    let source = dir.file(
        "evil.c",
        "#include <fcntl.h>\n#include <stdlib.h>\n\
         __attribute__((constructor)) static void run(void) { char *m = getenv(\"MARKER\"); if (m) open(m, O_CREAT | O_WRONLY, 0600); }\n\
         int gconv_init(void *x) { run(); return 0; }\n",
    );
    let library = dir.path().join("libc.so.6");
    let done = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).output().ok()?;
    done.status.success().then(|| library.to_str().expect("text").to_owned())
}

/// CVE-2025-23266: a hook that heeds the container's environment and directory runs the container's code as root.
#[test]
fn the_loader_cannot_be_turned_against_it() {
    let binary = binary();
    if !is_static(&binary) {
        assert!(std::env::var_os("OCI_IPC_HOOK_BIN").is_none(), "what ships must be static");
        return println!("this build is for development and dynamic: nothing to show");
    }
    let dir = Dir::new();
    let Some(library) = hostile_library(&dir) else { return skip("no C compiler for the hostile library") };
    let here = dir.path().to_str().expect("text").to_owned();
    dir.file("gconv-modules", "module INTERNAL EVIL// libc.so.6 1\n");
    let marker = dir.path().join("marker");
    let hostile = || {
        let mut command = Command::new(&binary);
        command.current_dir(&here).env("MARKER", &marker);
        for name in ["LD_LIBRARY_PATH", "GCONV_PATH", "LOCPATH", "NLSPATH", "LD_ORIGIN_PATH", "HOSTALIASES", "TMPDIR"] {
            command.env(name, &here);
        }
        for name in ["LD_PRELOAD", "LD_AUDIT", "MUSL_LD_PRELOAD"] {
            command.env(name, &library);
        }
        command.env("PATH", &here).env("RUST_BACKTRACE", "full").env("LANG", "../evil").env("MALLOC_TRACE", &marker);
        command
    };
    let mut shell = Command::new("/bin/sh");
    shell.env("MARKER", &marker).env("LD_PRELOAD", &library);
    run_command(shell, "exit 0\n");
    assert!(marker.exists(), "the attack works on a dynamic program, so it is one");
    std::fs::remove_file(&marker).expect("the marker");

    let container = Container::new();
    let mut hook = hostile();
    hook.args(["--profile-file", &dir.profile("[[sem]]\nkey = 1\nnsems = 1\nowner = \"0:0\"\n")]);
    run_command(hook, container.state("")).expect(0);
    assert!(!marker.exists(), "the library was loaded");
    assert!(container.sh("cat /proc/sysvipc/sem").lines().count() == 2, "the work was done");
}

#[test]
fn it_opens_nothing_but_what_it_was_told_and_procfs() {
    if which("strace").is_none() {
        return skip("strace is not installed");
    }
    let binary = binary();
    if !is_static(&binary) {
        return println!("this build is for development and dynamic: the loader opens files");
    }
    let (container, dir) = (Container::new(), Dir::new());
    let rootfs = Dir::new();
    for bait in ["config.toml", "ibm-mq.toml", "config.json", "etc", "proc", "libc.so.6"] {
        rootfs.file(bait, "format = 1\n");
    }
    let profile = dir.profile("[[sem]]\nkey = 1\nnsems = 1\nowner = \"0:0\"\n[sysctl]\n\"kernel.msgmax\" = 9000\n");
    let trace = dir.file("trace", "");
    let mut strace = Command::new("strace");
    strace.current_dir(rootfs.path()).args(["-qq", "-o", &trace, "--trace=%file,connect,execve"]);
    run_command(
        {
            strace.arg(&binary).args(["--profile-file", &profile]);
            strace
        },
        container.state(""),
    )
    .expect(0);
    let trace = std::fs::read_to_string(&trace).expect("a trace");
    let foreign: Vec<_> = trace
        .lines()
        .skip(1)
        .filter_map(|line| line.split('"').nth(1).map(|path| (path, line)))
        .filter(|(path, _)| {
            let known = ["/proc", "/etc/oci-ipc-hook", "/run/", "/dev/log"];
            !known.iter().any(|k| path.starts_with(k)) && !profile.starts_with(path) && *path != "profile.toml"
        })
        // Below a directory that is open already.
        .filter(|(path, line)| path.starts_with('/') || line.contains("AT_FDCWD"))
        .collect();
    assert_eq!(foreign, Vec::<(&str, &str)>::new());
    assert_eq!(trace.matches("execve(").count(), 1, "{trace}");
}
