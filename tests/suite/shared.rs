//! Namespaces that several containers use.

use crate::support::host::{Host, Member};
use crate::support::{Container, Dir, Ran, is_root, skip};
use std::fs;
use std::os::unix::fs::MetadataExt;

const OBJECTS: &str = r#"
[sysctl]
"kernel.msgmax" = ">= 16000"
[[shm]]
key = 1
size = "1MiB"
[[sem]]
key = 2
values = [1, 0, 5]
[[mqueue]]
name = "/q"
"#;

struct Stage {
    host: Host,
    pause: Container,
    dir: Dir,
}

impl Stage {
    fn new() -> Option<Stage> {
        if !is_root() {
            skip("only root can give the hook another /run");
            return None;
        }
        Some(Stage { host: Host::new(), pause: Container::new(), dir: Dir::new() })
    }

    fn run(&self, member: &Member, profile: &str, more: &[&str]) -> Ran {
        let profile = self.dir.profile(profile);
        self.host.hook(&[&["--profile-file", &profile], more].concat(), &member.creating())
    }

    fn config(&self, policy: &str) -> String {
        self.dir.file("config.toml", &format!("format = 1\n[policy]\n{policy}\n"))
    }
}

#[test]
fn two_users_share_what_the_first_one_gets() {
    let Some(stage) = Stage::new() else { return };
    let (first, second) =
        (stage.host.member(&stage.pause, "first", "7:8"), stage.host.member(&stage.pause, "second", "9:10"));
    stage.run(&first, OBJECTS, &[]).expect(0);
    let there = stage.pause.everything();
    assert!(there.contains(" 7     8     7     8 "), "{there}");
    stage.run(&second, OBJECTS, &[]).expect(0);
    assert_eq!(stage.pause.everything(), there, "the second one writes nothing");
    let log = stage.dir.path().join("trace");
    let binary = crate::support::binary();
    let profile = stage.dir.profile(OBJECTS);
    if crate::support::which("strace").is_none() {
        return skip("no strace to see the system calls");
    }
    let mut strace = stage.host.command(&["strace", "-o", log.to_str().unwrap(), binary.to_str().unwrap()]);
    strace.args(["--profile-file", &profile]);
    crate::support::run_command(strace, second.creating()).expect(0);
    let trace = fs::read_to_string(log).unwrap();
    assert!(trace.contains("flock(") && !trace.contains("IPC_CREAT") && !trace.contains(".journal"), "{trace}");
}

#[test]
fn what_is_there_is_kept_refused_or_replaced() {
    let Some(stage) = Stage::new() else { return };
    let (a, b) = (stage.host.member(&stage.pause, "a", "7:8"), stage.host.member(&stage.pause, "b", "9:10"));
    stage.run(&a, OBJECTS, &[]).expect(0);
    let there = stage.pause.everything();
    let asks = |what: &str| format!("[[sem]]\nkey = 2\nnsems = 3\n{what}\n");
    let unchanged = |profile: &str, code, says: &str| {
        stage.run(&b, profile, &[]).expect(code).says(says);
        assert_eq!(stage.pause.everything(), there);
    };
    unchanged(
        &asks("if-exists = \"fail\""),
        1,
        "sem 0x00000002: found nsems 3, mode 0600, owner 7:8: it exists already",
    );
    unchanged(&asks("owner = \"9:10\""), 1, "wanted owner 9:10, found owner 7:8");
    unchanged("[[sem]]\nkey = 2\nnsems = 4\n", 1, "wanted nsems 4, found nsems 3");
    unchanged("[[shm]]\nkey = 1\nsize = \"2MiB\"\n", 1, "wanted size 2097152, found size 1048576");
    stage.run(&b, &asks(""), &[]).expect(0);
    assert_eq!(stage.pause.everything(), there);
    stage.run(&b, &asks("if-exists = \"replace\""), &[]).expect(0);
    let after = stage.pause.sh("cat /proc/sysvipc/sem");
    assert!(after.contains(" 9    10     9    10 ") && after.lines().count() == 2, "{after}");
}

#[test]
fn limits_of_others_are_not_lowered() {
    let Some(stage) = Stage::new() else { return };
    let member = stage.host.member(&stage.pause, "a", "0:0");
    let before = stage.pause.everything();
    for (sysctl, value) in [
        ("kernel.msgmax", "4096"),
        ("kernel.msgmax", "\"<= 4096\""),
        ("kernel.sem", "\"32001 1024000000 500 31999\""),
        ("fs.mqueue.queues_max", "1"),
        ("kernel.shmmax", "\"1GiB\""),
    ] {
        let profile = format!("[sysctl]\n\"{sysctl}\" = {value}\n");
        stage.run(&member, &profile, &[]).expect(3).says("lowering a limit of a shared namespace");
        assert_eq!(stage.pause.everything(), before, "{sysctl} {value}");
    }
    // Raising is nobody's loss, exactly or not.
    stage.run(&member, "[sysctl]\n\"kernel.msgmax\" = 9000\n\"kernel.msgmnb\" = \">= 100\"\n", &[]).expect(0);
    assert!(stage.pause.everything().starts_with("msgmax 9000\nmsgmnb 16384\n"));
    let config = stage.config("lower-in-shared = true");
    stage.run(&member, "[sysctl]\n\"kernel.msgmax\" = 4096\n", &["--config", &config]).expect(0);
    assert!(stage.pause.everything().starts_with("msgmax 4096\n"));
    // A namespace of its own is lowered as asked.
    let private = stage.host.private("p");
    stage.run(&private, "[sysctl]\n\"kernel.msgmax\" = 4096\n", &[]).expect(0);
}

#[test]
fn segments_of_others_are_not_destroyed_by_a_sysctl() {
    let Some(stage) = Stage::new() else { return };
    let (a, b) = (stage.host.member(&stage.pause, "a", "0:0"), stage.host.member(&stage.pause, "b", "0:0"));
    stage.run(&a, OBJECTS, &[]).expect(0);
    let there = stage.pause.everything();
    stage.run(&b, "[sysctl]\n\"kernel.shm_rmid_forced\" = 1\n", &[]).expect(1).says("would destroy segments");
    assert_eq!(stage.pause.everything(), there);
    stage.pause.sh("ipcrm -M 1");
    stage.run(&b, "[sysctl]\n\"kernel.shm_rmid_forced\" = 1\n", &[]).expect(0);
    stage.run(&a, OBJECTS, &[]).expect(2).says("kernel.shm_rmid_forced destroys every segment");
    stage.run(&a, "[sysctl]\n\"kernel.shm_rmid_forced\" = 0\n", &[]).expect(3).says("lowering");
}

#[test]
fn without_a_config_json_a_value_that_is_not_the_default_is_somebodys() {
    let Some(stage) = Stage::new() else { return };
    // Another PID namespace in the same IPC namespace: a pod.
    let pid = stage.pause.pid().to_string();
    let mut other = std::process::Command::new("nsenter");
    other.args([
        "--target",
        &pid,
        "--ipc",
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        "echo ready; exec cat",
    ]);
    let _other = Container::start(other);
    stage.pause.sh("echo 9000 > /proc/sys/kernel/msgmax");
    let before = stage.pause.everything();
    let apply = |value: &str, more: &[&str]| {
        let profile = stage.dir.profile(&format!("[sysctl]\n\"kernel.msgmax\" = {value}\n"));
        stage.host.hook(&[&["apply", "--pid", &pid, "--profile-file", &profile], more].concat(), "")
    };
    let lowering = stage.config("lower-in-shared = true");
    for value in ["10000", "\"<= 8192\"", "8192"] {
        apply(value, &["--config", &lowering]).expect(1).says("another user of this shared namespace has set it");
        assert_eq!(stage.pause.everything(), before, "{value}");
    }
    apply("\">= 10000\"", &[]).expect(0);
    apply("10000", &[]).expect(0);
    assert!(stage.pause.everything().starts_with("msgmax 10000\n"));
    assert_eq!(stage.host.records(), [""; 0], "nobody will say that it has stopped");
}

#[test]
fn a_holder_of_the_lock_is_waited_for_and_named() {
    let Some(stage) = Stage::new() else { return };
    let (member, before) = (stage.host.member(&stage.pause, "a", "0:0"), stage.pause.everything());
    let lock = fs::File::open(format!("/proc/{}/ns/ipc", stage.pause.pid())).unwrap();
    lock.lock().unwrap();
    let says = format!("found locked by pid {}: another run holds the lock", std::process::id());
    stage.run(&member, OBJECTS, &[]).expect(1).says(&says);
    assert_eq!(stage.pause.everything(), before);
    assert_eq!(stage.host.records(), [""; 0]);
    if crate::support::which("strace").is_none() {
        return skip("no strace to see that it waits without asking again and again");
    }
    // One that lets go while it is waited for.
    let log = stage.dir.path().join("trace");
    let binary = crate::support::binary();
    let profile = stage.dir.profile(OBJECTS);
    let mut strace =
        stage.host.command(&["strace", "-e", "flock", "-o", log.to_str().unwrap(), binary.to_str().unwrap()]);
    strace.args(["--profile-file", &profile]);
    let queue = format!(":{} 0 EOF", fs::metadata(format!("/proc/{}/ns/ipc", stage.pause.pid())).unwrap().ino());
    std::thread::scope(|scope| {
        let run = scope.spawn(|| crate::support::run_command(strace, member.creating()));
        let waits = |line: &str| line.contains("-> FLOCK") && line.ends_with(&queue);
        while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) && !run.is_finished() {
            std::thread::yield_now();
        }
        drop(lock);
        run.join().unwrap().expect(0);
    });
    let trace = fs::read_to_string(log).unwrap();
    assert_eq!(trace.matches("flock(").count(), 2, "once to find it taken, once to wait: {trace}");
}

#[test]
fn fifty_hooks_at_once() {
    let Some(stage) = Stage::new() else { return };
    let members: Vec<_> = (0..50).map(|n| stage.host.member(&stage.pause, &format!("m{n}"), "7:8")).collect();
    let profile = stage.dir.profile(&OBJECTS.replace("key = 2\n", "key = 2\non-stop = \"remove\"\n"));
    let all = |call: &(dyn Fn(&Member) -> Ran + Sync)| {
        std::thread::scope(|scope| {
            let runs: Vec<_> = members.iter().map(|member| scope.spawn(move || call(member))).collect();
            for run in runs {
                assert_eq!(run.join().unwrap().expect(0).stderr, "");
            }
        });
    };
    all(&|member| stage.host.hook(&["--profile-file", &profile], &member.creating()));
    let there = stage.pause.everything();
    assert!(there.starts_with("msgmax 16000\n") && there.matches(" 7     8     7     8 ").count() == 2, "{there}");
    assert_eq!(stage.host.records().len(), 50);
    all(&|member| stage.host.hook(&[], &member.stopped()));
    assert_eq!(stage.host.records(), [""; 0]);
    assert_eq!(stage.pause.sh("cat /proc/sysvipc/sem").lines().count(), 1, "the last one has removed it");
    assert_eq!(stage.pause.sh("cat /proc/sysvipc/shm").lines().count(), 2);
}
