//! Real sysctls and objects in real namespaces.

use crate::support::{Container, Dir, binary, run, run_command, skip, which};

const ALL: &str = r#"
[sysctl]
"kernel.msgmax" = 65536
"kernel.msgmnb" = 131072
"kernel.msgmni" = 1000
"kernel.sem" = "250 256000 100 1024"
"kernel.shmall" = "8GiB"
"kernel.shmmax" = "1GiB"
"kernel.shmmni" = 8000
"kernel.shm_rmid_forced" = 0
"fs.mqueue.msg_max" = 256
"fs.mqueue.msg_default" = 16
"fs.mqueue.msgsize_max" = 16384
"fs.mqueue.msgsize_default" = 4096
"fs.mqueue.queues_max" = 300
[[shm]]
key = "0x4d510001"
size = "64MiB"
mode = "0660"
owner = "0:0"
[[sem]]
key = 0x5101
values = [1, 0, 5]
owner = "0:0"
[[msg]]
key = 0x77
max-bytes = "64KiB"
owner = "0:0"
[[mqueue]]
name = "/orders"
max-messages = 64
message-size = "1KiB"
owner = "0:0"
"#;

#[test]
fn everything_at_once_and_again() {
    let (container, dir) = (Container::new(), Dir::new());
    let profile = dir.profile(ALL);
    run(&["--profile-file", &profile], container.state("")).expect(0);
    let first = container.everything();
    assert!(first.contains("sem 250 256000 100 1024\n"), "{first}");
    assert!(first.contains("shmall 2097152\n"), "{first}");
    run(&["hook", "--profile-file", &profile], container.state("")).expect(0);
    assert_eq!(container.everything(), first, "a second run changes nothing");
    run(&["plan", "--pid", &container.pid().to_string(), "--profile-file", &profile], "").expect(0);
}

#[test]
fn a_failure_takes_everything_back() {
    let (container, dir) = (Container::new(), Dir::new());
    let before = container.everything();
    // The last object cannot be made: its key is taken by a set of another size, which only semget finds out.
    let profile = dir.profile(&format!("{ALL}[[shm]]\nkey = 5\nsize = \"2GiB\"\nowner = \"0:0\"\n"));
    run(&["--profile-file", &profile], container.state("")).expect(1).says("kernel.shmmax");
    assert_eq!(container.everything(), before);
}

/// System calls that change something, of a run that has nothing to do.
#[test]
fn a_second_run_writes_nothing() {
    let (container, dir) = (Container::new(), Dir::new());
    let profile = dir.profile(ALL);
    run(&["--profile-file", &profile], container.state("")).expect(0);
    let trace = dir.file("trace", "");
    let mut strace = std::process::Command::new("strace");
    strace.args([
        "-qq",
        "-o",
        &trace,
        "-e",
        "trace=write,pwrite64,semop,semctl,msgctl,shmctl,mq_open,mq_unlink,shmget,semget,msgget",
    ]);
    strace.arg(binary()).args(["--profile-file", &profile]);
    if which("strace").is_none() {
        return skip("strace is not installed");
    }
    run_command(strace, container.state("")).expect(0);
    let trace = std::fs::read_to_string(&trace).expect("a trace");
    let changes: Vec<_> = trace
        .lines()
        .filter(|l| !l.contains("IPC_STAT") && !l.contains("_INFO"))
        .filter(|l| {
            l.starts_with("write(")
                || l.starts_with("pwrite64(")
                || l.starts_with("semop(")
                || l.contains("CREAT")
                || l.contains("ctl(")
        })
        .collect();
    assert!(trace.contains("shmget(0x4d510001"), "the trace is that of the hook: {trace}");
    assert_eq!(changes, Vec::<&str>::new());
}
