//! A run in a shared namespace, killed at every system call: what it leaves is put right by the next run or by the clean-up.

use crate::support::host::{Host, Member};
use crate::support::{Container, Dir, binary, is_root, run, run_command, skip, which};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

const PROFILE: &str = r#"
[sysctl]
"kernel.msgmax" = ">= 16000"
"kernel.sem" = ">= 32001 1024000001 501 32001"
[[shm]]
key = 1
size = "1MiB"
mode = "0660"
[[sem]]
key = 2
values = [1, 0, 5]
owner = "9:9"
[[msg]]
key = 3
max-bytes = 4096
[[mqueue]]
name = "/q"
max-messages = 5
"#;

/// What the namespace holds, without numbers and times that differ from run to run.
fn view(container: &Container) -> String {
    let json = run(&["inspect", "--pid", &container.pid().to_string(), "--json"], "").expect(0).stdout;
    let value: Value = serde_json::from_str(&json).unwrap();
    let space = &value["namespaces"][0];
    let mut view = format!("{}\n", space["sysctl"]);
    for kind in ["shm", "sem", "msg", "mqueue"] {
        for object in space[kind].as_array().unwrap() {
            let mut object = object.as_object().unwrap().clone();
            let marked = object.get("otime").is_some_and(|otime| otime != 0);
            for volatile in
                ["id", "ctime", "otime", "stime", "rtime", "atime", "dtime", "cpid", "lpid", "lspid", "lrpid", "rss"]
            {
                object.remove(volatile);
            }
            view += &format!("{kind} {} {marked}\n", Value::Object(object));
        }
    }
    view
}

/// The system calls of a run in a shared namespace, in their order; each with how many of its name came before it.
fn calls(host: &Host, member: &Member, profile: &str, trace: &str) -> Vec<(String, usize)> {
    let binary = binary();
    let mut strace = host.command(&["strace", "-o", trace, binary.to_str().unwrap()]);
    strace.args(["--profile-file", profile]);
    run_command(strace, member.creating()).expect(0);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let text = std::fs::read_to_string(trace).unwrap();
    let names = text.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name.to_owned());
    let numbered = names.map(|name| {
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        (name, *count)
    });
    // Until it knows whose namespace it is to prepare, it is like any run that reads its input. Before a call that changes
    // nothing outside the process it is as before the next one that does.
    let of_its_own = ["fcntl", "mmap", "munmap", "mprotect", "brk", "madvise"];
    let later = numbered.skip_while(|(name, _)| name != "pidfd_open");
    later.filter(|(name, _)| !of_its_own.contains(&name.as_str())).collect()
}

/// Runs the hook until just before its `nth` call of that name; true when it was killed there.
fn killed(host: &Host, member: &Member, profile: &str, (call, nth): &(String, usize)) -> bool {
    let binary = binary();
    let inject = format!("--inject={call}:signal=KILL:when={nth}");
    let mut strace = host.command(&["strace", "-o", "/dev/null", &inject, binary.to_str().unwrap()]);
    strace.args(["--profile-file", profile]);
    let ran = run_command(strace, member.creating());
    assert!(matches!(ran.code, None | Some(0)), "{call} {nth}: {ran:?}");
    ran.code.is_none()
}

#[test]
fn whenever_it_is_killed_the_next_run_or_the_clean_up_puts_it_right() {
    if !is_root() || which("strace").is_none() {
        return skip("needs root and strace");
    }
    let dir = Dir::new();
    let profile = dir.profile(PROFILE);
    let trace = dir.path().join("trace");
    let (host, pause) = (Host::new(), Container::new());
    let before = view(&pause);
    let calls = calls(&host, &host.member(&pause, "undisturbed", "7:8"), &profile, trace.to_str().unwrap());
    let after = view(&pause);
    assert_ne!(before, after);
    // An emulated processor takes a quarter of an hour for all of them.
    let stride = std::env::var("OCI_IPC_HOOK_KILL_EVERY").map_or(1, |n| n.parse::<usize>().unwrap());
    let next = AtomicUsize::new(0);
    // Nothing left, finished, and a journal left.
    let seen = [const { AtomicUsize::new(0) }; 4];
    let worker = || {
        while let Some(call) = calls.get(next.fetch_add(stride, Ordering::Relaxed)) {
            let (host, pause) = (Host::new(), Container::new());
            let member = host.member(&pause, "a", "7:8");
            // Twice in the same place: once the clean-up comes, once another container's run.
            assert!(killed(&host, &member, &profile, call), "{call:?}");
            let left = host.records();
            let journal = left.iter().any(|name| name.ends_with(".journal"));
            // With its record and without a journal it was finished, and only its exit was not seen.
            let finished = !journal && left.iter().any(|name| name.ends_with(".json"));
            seen[usize::from(finished) + 2 * usize::from(journal)].fetch_add(1, Ordering::Relaxed);
            let said = host.hook(&[], &member.stopped()).expect(0).stderr;
            assert_eq!(
                view(&pause),
                if finished { &after } else { &before }[..],
                "killed at {call:?}, then cleaned up: {said}"
            );
            assert_eq!(host.records(), [""; 0], "killed at {call:?}, then cleaned up");
            let pause = if finished { Container::new() } else { pause };
            let member = host.member(&pause, "c", "7:8");
            assert!(killed(&host, &member, &profile, call), "{call:?}");
            let other = host.member(&pause, "b", "7:8");
            host.hook(&["--profile-file", &profile], &other.creating()).expect(0);
            assert_eq!(view(&pause), after, "killed at {call:?}, then run again");
            host.hook(&[], &member.stopped()).expect(0);
            host.hook(&[], &other.stopped()).expect(0);
            assert_eq!(view(&pause), after, "killed at {call:?}, then run again and stopped");
            assert_eq!(host.records(), [""; 0], "killed at {call:?}, then run again and stopped");
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    assert!(calls.len() > 40, "{calls:?}");
    let [nothing, finished, journal, _] = seen.map(AtomicUsize::into_inner);
    assert!(nothing > 15 / stride && journal > 15 / stride, "{nothing} {finished} {journal}");
    assert!(finished > 0 || stride > 1, "{nothing} {finished} {journal}");
}

/// The journal counts only for the namespace that it was written in.
#[test]
fn a_journal_of_another_namespace_is_left_alone() {
    if !is_root() || which("strace").is_none() {
        return skip("needs root and strace");
    }
    let dir = Dir::new();
    let profile = dir.profile(PROFILE);
    let (host, pause, other) = (Host::new(), Container::new(), Container::new());
    let member = host.member(&pause, "a", "7:8");
    // The first one only looks.
    assert!(killed(&host, &member, &profile, &("mq_open".into(), 2)));
    let half_done = view(&pause);
    assert_eq!(host.record(".journal")["report"]["outcome"], "planned");
    host.hook(&["--profile-file", &profile], &host.member(&other, "b", "7:8").creating()).expect(0);
    assert_eq!(view(&pause), half_done);
    assert_eq!(host.records().iter().filter(|name| name.ends_with(".journal")).count(), 1);
    // `plan` changes nothing, neither there nor in the journal.
    let config = format!("{}/config.json", member.bundle);
    assert!(std::fs::metadata(config).is_ok());
    host.hook(&["plan", "--pid", &pause.pid().to_string(), "--bundle", &member.bundle, "--profile-file", &profile], "");
    assert_eq!(view(&pause), half_done);
    let ran = host.hook(&["--profile-file", &profile], &host.member(&pause, "c", "7:8").creating()).expect(0);
    assert_eq!(ran.stderr, "");
    assert!(host.records().iter().all(|name| name.ends_with(".json")), "{:?}", host.records());
}

/// As the namespace's objects, but for the user who makes them.
const OF_ROOT: &str = r#"
[[shm]]
key = 1
size = 10
owner = "0:0"
[[sem]]
key = 2
values = [0, 1]
owner = "0:0"
[[msg]]
key = 3
owner = "0:0"
[[mqueue]]
name = "/q"
owner = "0:0"
"#;

/// A shared namespace in which a run for [`OF_ROOT`] was killed at a system call; `None` where nobody can be.
fn killed_for_root(call: &str, nth: usize) -> Option<(Host, Container, Member)> {
    if !is_root() || which("strace").is_none() {
        skip("needs root and strace");
        return None;
    }
    let (dir, host, pause) = (Dir::new(), Host::new(), Container::new());
    let member = host.member(&pause, "a", "0:0");
    assert!(killed(&host, &member, &dir.profile(OF_ROOT), &(call.to_owned(), nth)));
    Some((host, pause, member))
}

/// Ten seconds pass since the killed run's last sign of life.
fn let_time_pass(host: &Host) {
    let name = host.records().into_iter().find(|name| name.ends_with(".journal")).unwrap();
    let journal = std::fs::File::options().write(true).open(host.path(&name)).unwrap();
    let then = journal.metadata().unwrap().modified().unwrap() - std::time::Duration::from_secs(10);
    journal.set_modified(then).unwrap();
}

#[test]
fn what_a_workload_makes_after_the_kill_stays() {
    let Some((host, pause, _member)) = killed_for_root("shmget", 1) else { return };
    let (dir, untouched) = (Dir::new(), Container::new());
    let other = dir.profile("[sysctl]\n\"kernel.msgmax\" = \">= 1\"\n");
    assert_eq!(pause.everything(), untouched.everything());
    assert!(host.record(".journal")["maker"]["pid"].as_i64() > Some(0));
    let_time_pass(&host);
    let program = "shmget(1, 10, 0600|512) // die; $s = semget(2, 2, 0600|512) // die; semctl($s, 0, 16, 1) // die; msgget(3, 0600|512) // die";
    pause.sh(&format!("perl -e '{program}'"));
    pause.sh("unshare --mount --propagation private sh -c 'mount -t mqueue m /mnt && umask 077 && : >/mnt/q'");
    let before = pause.everything();
    let said = host.hook(&["--profile-file", &other], &host.member(&pause, "b", "0:0").creating()).expect(0);
    assert_eq!(pause.everything(), before, "{}", said.stderr);
    assert!(!host.records().iter().any(|name| name.ends_with(".journal")));
}

/// Made by the run, but a program has found a use for them before anybody noticed the kill.
#[test]
fn what_a_workload_uses_after_the_kill_stays() {
    let Some((host, pause, member)) = killed_for_root("mq_open", 2) else { return };
    let program = "$s = semget(2, 0, 0) // die; semctl($s, 1, 16, 5) // die; $q = msgget(3, 0) // die; msgsnd($q, pack(\"l! a\", 1, \"x\"), 0) or die; msgrcv($q, $m, 1, 0, 0) // die";
    pause.sh(&format!("perl -e '{program}'"));
    let (sem, msg) = (pause.sh("cat /proc/sysvipc/sem"), pause.sh("cat /proc/sysvipc/msg"));
    let cleanup = host.hook(&[], &member.stopped()).expect(0);
    for stays in
        ["sem 0x00000002: not removed: it has been used since", "msg 0x00000003: not removed: it has been used since"]
    {
        assert!(cleanup.stderr.contains(stays), "{}", cleanup.stderr);
    }
    assert_eq!((pause.sh("cat /proc/sysvipc/sem"), pause.sh("cat /proc/sysvipc/msg")), (sem, msg));
    assert_eq!(pause.sh("cat /proc/sysvipc/shm").lines().count(), 1, "nobody used the segment");
}

/// A journal of an earlier release does not tell who made the objects.
#[test]
fn an_older_journal_is_read_and_what_may_be_anybodys_stays() {
    let Some((host, _pause, member)) = killed_for_root("mq_open", 2) else { return };
    let mut journal = host.record(".journal");
    journal.as_object_mut().unwrap().remove("maker").unwrap();
    std::fs::write(host.path(&host.records()[0]), journal.to_string()).unwrap();
    let said = host.hook(&[], &member.stopped()).expect(0).stderr;
    assert_eq!(said.matches("not removed: the journal does not tell which process made it").count(), 2, "{said}");
    assert_eq!(host.records(), [""; 0]);
}
