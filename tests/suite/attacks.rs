//! Attacks on who is prepared: the host's namespace passed off as a container's, numbers that come back, ids of others. And
//! the table of all attacks, held against the tests it names.

use crate::support::host::Host;
use crate::support::stopped::Stopped;
use crate::support::{Container, Dir, Ran, binary, is_root, run, run_command, skip, which};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

const PROFILE: &str = "[sysctl]\n\"kernel.msgmax\" = 7777\n[[sem]]\nkey = 77\nnsems = 1\nowner = \"0:0\"\n";

/// The parts of the host's namespace that a run with [`PROFILE`] would change.
fn host() -> String {
    let read = |path| std::fs::read_to_string(path).expect(path);
    let objects = read("/proc/sysvipc/sem");
    let ours = objects.lines().filter(|l| l.split_whitespace().next() == Some("77")).count();
    format!("{} {ours}", read("/proc/sys/kernel/msgmax"))
}

/// A bundle with an ipc namespace entry, or none.
fn bundle(namespaces: &str) -> Dir {
    let dir = Dir::new();
    let text = format!(
        r#"{{"ociVersion":"1.0.2","process":{{"user":{{"uid":0,"gid":0}}}},"linux":{{"namespaces":[{namespaces}]}}}}"#
    );
    dir.file("config.json", &text);
    dir
}

#[test]
fn the_hosts_namespace_is_the_hosts_whatever_the_spec_says() {
    if !is_root() {
        return skip("an ordinary user cannot look into processes of the host's namespace");
    }
    // A process of this very namespace, as a container with host IPC has.
    let mut process = Command::new("sleep").arg("60").spawn().expect("sleep(1)");
    let (dir, machine, before) = (Dir::new(), Host::new(), host());
    let profile = dir.profile(PROFILE);
    let own = "/proc/self/ns/ipc";
    let path = format!(r#"{{"type":"ipc","path":"/proc/{}/ns/ipc"}}"#, process.id());
    for (namespaces, says) in [
        (r#"{"type":"pid"}"#, "config.json has no ipc namespace: the container shares the host's"),
        (r#"{"type":"ipc"}"#, "its ipc namespace is the host's although config.json asks for a new one"),
        (path.as_str(), "the path of config.json's ipc namespace is the host's"),
        (r#"{"type":"ipc","path":"/nowhere"}"#, "the path of config.json's ipc namespace is the host's"),
    ] {
        let bundle = bundle(namespaces);
        let state = format!(
            r#"{{"id":"x","status":"creating","pid":{},"bundle":"{}"}}"#,
            process.id(),
            bundle.path().display()
        );
        machine.hook(&["--profile-file", &profile], &state).expect(4).says(says);
    }
    for link in [own.to_owned(), format!("/proc/{}/ns/ipc", process.id())] {
        run(&["apply", "--ns", &link, "--profile-file", &profile], "").expect(4).says("it is the host's IPC namespace");
    }
    // The same namespace by another name.
    let alias = dir.path().join("alias");
    std::os::unix::fs::symlink(own, &alias).expect("a link");
    let alias = alias.to_str().expect("text");
    run(&["apply", "--ns", alias, "--profile-file", &profile], "").expect(4).says("it is the host's IPC namespace");
    assert_eq!(host(), before);
    process.kill().and_then(|()| process.wait()).expect("its end");
}

#[test]
fn what_is_no_ipc_namespace_is_refused() {
    let dir = Dir::new();
    let profile = dir.profile(PROFILE);
    let at = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
    nix::unistd::mkfifo(Path::new(&at("fifo")), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let before = host();
    for path in ["/proc/self/ns/mnt", "/proc/self/ns/user", "/dev/zero", "/etc/passwd", "/proc/self", &at("fifo")] {
        run(&["apply", "--ns", path, "--profile-file", &profile], "").expect(4).says("it is not an IPC namespace");
    }
    run(&["apply", "--ns", &at("none"), "--profile-file", &profile], "").expect(4).says("there is no such file");
    assert_eq!(host(), before);
}

/// Starts containers until one gets a process number, which the kernel is told to give out next.
fn container_with_pid(pid: u32) -> Option<Container> {
    for _ in 0..300 {
        if std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).is_err() {
            return None;
        }
        let container = Container::new();
        if container.pid() == pid {
            return Some(container);
        }
    }
    None
}

/// The container's process dies in the middle of a run and its number goes to a process in another namespace.
#[test]
fn a_recycled_pid_is_not_the_process() {
    if !is_root() || which("strace").is_none() {
        return skip("needs root and strace");
    }
    let dir = Dir::new();
    let profile = dir.profile(PROFILE);
    let binary = binary();
    let command = [binary.to_str().expect("text"), "--profile-file", &profile];
    let mut tried = 0;
    for call in ["pidfd_open", "flock", "capset", "setns"] {
        let container = Container::new();
        let pid = container.pid();
        let stopped = Stopped::at(call, 1, &[], &command, container.state(""));
        drop(container);
        let Some(other) = container_with_pid(pid) else { continue };
        let before = other.everything();
        let ran: Ran = stopped.resume();
        assert_eq!(other.everything(), before, "after {call}: {ran:?}");
        // Once inside, the namespace that was meant is prepared, for nobody.
        let fine = if call == "setns" { [Some(0), Some(4)] } else { [Some(4), Some(4)] };
        assert!(fine.contains(&ran.code), "after {call}: {ran:?}");
        tried += 1;
    }
    println!("{tried} of 4 process numbers were given out again");
    if tried == 0 {
        let _ = writeln!(std::io::stderr(), "skipped: no process number could be given out again");
    }
}

#[test]
fn owners_are_the_containers_ids_and_nobody_elses() {
    if !is_root() {
        return skip("only root makes containers of many ids");
    }
    const FIRST: u32 = 200_000;
    let (container, dir) = (Container::mapped(FIRST), Dir::new());
    let profile = |owner: &str| dir.profile(&format!("[[sem]]\nkey = 1\nnsems = 1\nowner = \"{owner}\"\n"));
    for owner in ["65536:0", "0:65536", "4294967294:0"] {
        let ran = run(&["--profile-file", &profile(owner)], container.state("")).expect(2);
        ran.says(&format!("wanted owner {owner}: the container's user namespace does not map this id"));
    }
    // The ids that mean nobody, for any container.
    for owner in ["4294967295:0", "0:4294967295", "-1:0"] {
        run(&["--profile-file", &profile(owner)], container.state("")).expect(2);
    }
    assert_eq!(container.sh("cat /proc/sysvipc/sem").lines().count(), 1);
    run(&["--profile-file", &profile("65535:7")], container.state("")).expect(0);
    // key semid perms nsems uid gid cuid cgid, as the host sees them.
    let text = container.sh("cat /proc/sysvipc/sem");
    let fields: Vec<_> = text.lines().nth(1).expect("the set").split_whitespace().collect();
    let (uid, gid) = ((FIRST + 65_535).to_string(), (FIRST + 7).to_string());
    assert_eq!(fields[4..8], [uid.as_str(), &gid, &uid, &gid]);
}

/// A link in the table is a test that exists.
/// An engine that is itself in a container: to its hook the namespace around it is the host's, whatever its number.
#[test]
fn the_hooks_own_namespace_is_a_hosts_too() {
    if !is_root() {
        return skip("only root joins other namespaces");
    }
    let (outer, dir) = (Container::new(), Dir::new());
    let (inner, before) = (Container::beside(&outer), outer.everything());
    let profile = dir.profile(PROFILE);
    let inside = |args: &[&str], stdin: String| {
        let mut command = Command::new("nsenter");
        command.args(["--target", &outer.pid().to_string(), "--ipc"]).arg(binary()).args(args);
        run_command(command, stdin)
    };
    let refused = "never touched";
    inside(&["--profile-file", &profile], inner.state("")).expect(4).says(refused);
    let path = format!("/proc/{}/ns/ipc", inner.pid());
    inside(&["apply", "--ns", &path, "--profile-file", &profile], String::new()).expect(4).says(refused);
    assert_eq!(outer.everything(), before);
    // From outside it is a container's.
    run(&["--profile-file", &profile], inner.state("")).expect(0);
}

#[test]
fn every_attack_in_the_table_is_tried_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join("src").is_dir() {
        return skip("the sources are not here to look for the tests");
    }
    // By the name alone and by that of their module.
    let mut tests_there = BTreeSet::new();
    let mut dirs = vec![root.join("src"), root.join("tests")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                let module = path.file_stem().and_then(|s| s.to_str()).expect("a name").to_owned();
                for test in text.split("#[test]\n").skip(1) {
                    let name = test.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).expect("a test").0;
                    tests_there.extend([name.to_owned(), format!("{module}::{name}")]);
                }
            }
        }
    }
    let page = std::fs::read_to_string(root.join("docs/attacks.md")).expect("docs/attacks.md");
    let rows: Vec<_> = page.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| attack")).collect();
    assert!(rows.len() >= 30, "{}", rows.len());
    for row in rows {
        let tests = row.split('|').nth(3).expect("a column of tests");
        assert!(tests.contains('`'), "no test: {row}");
        for test in tests.split('`').skip(1).step_by(2) {
            assert!(tests_there.contains(test), "no test {test}: {row}");
        }
    }
}
