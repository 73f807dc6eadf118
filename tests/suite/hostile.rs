//! Bad input: one line, exit 2 or 4, nothing written anywhere.

use crate::support::host::Host;
use crate::support::{Container, Dir, binary, run, run_command};
use std::process::Command;

fn refused(state: impl AsRef<[u8]>, code: i32, says: &str) {
    let dir = Dir::new();
    let profile = dir.profile("[sysctl]\n\"kernel.msgmax\" = 7777\n");
    let before = std::fs::read_to_string("/proc/sys/kernel/msgmax").expect("msgmax");
    run(&["--profile-file", &profile], state).expect(code).says(says);
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/msgmax").expect("msgmax"), before);
}

#[test]
fn states_that_are_none() {
    refused("", 2, "oci-ipc-hook: state: empty");
    refused("{\"id\":\"x\",\"pid\":", 2, "not an OCI state");
    refused(vec![b'a'; 10 << 20], 2, "larger than 1 MiB");
    refused(b"{\"id\":\"\xff\",\"pid\":77}", 2, "not UTF-8");
    refused("[".repeat(10_000), 2, "not an OCI state");
    refused(
        format!("{{\"id\":\"x\",\"pid\":2147483647,\"z\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000)),
        4,
        "no such process",
    );
    refused(r#"{"pid":77}"#, 2, "has no id");
    let long = |length| format!(r#"{{"id":"{}","pid":2147483647}}"#, "x".repeat(length));
    refused(long(1025), 2, "an id of more than 1024 bytes");
    refused(long(1024), 4, "no such process");
}

#[test]
fn pids_that_are_none() {
    let state = |pid: &str| format!(r#"{{"ociVersion":"1.0.2","id":"x","status":"creating","pid":{pid}}}"#);
    refused(state("-1"), 2, "found pid -1");
    refused(state("0"), 4, "createRuntime");
    refused(state("1"), 4, "createRuntime");
    refused(r#"{"id":"x","status":"creating"}"#, 4, "found no pid");
    refused(state("2147483648"), 2, "larger than any pid");
    refused(state("2147483647"), 4, "no such process");
    refused(state("2"), 4, "");
    refused(state(&std::process::id().to_string()), 4, "wanted an IPC namespace of the container's own");
}

#[test]
fn a_dead_pid() {
    let container = Container::new();
    let state = container.state("");
    drop(container);
    refused(state, 4, "there is no such process, or it has ended");
}

#[test]
fn hostile_text_cannot_forge_lines() {
    let container = Container::new();
    let state = container.state(r#","annotations":{"io.oci-ipc-hook.x\ny\u001b[2J":"z"}"#);
    run(&[], state).expect(2).says("annotation io.oci-ipc-hook.x\\ny\\x1b[2J");
}

#[test]
fn nothing_asked_touches_nothing() {
    let container = Container::new();
    let before = container.everything();
    let ran = run(&[], container.state(r#","annotations":{"a":"b"},"bundle":"/nowhere""#)).expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert_eq!(container.everything(), before);
}

#[test]
fn a_long_value_does_not_make_a_long_line() {
    let state = format!(r#"{{"id":"x","pid":"{}"}}"#, "y".repeat(900_000));
    let ran = run(&[], state).expect(2).says("not an OCI state");
    assert!(ran.stderr.len() < 1000, "{}", ran.stderr.len());
}

/// Each at its limit and one byte beyond.
#[test]
fn states_and_config_json_are_read_to_their_limits_and_not_beyond() {
    const STATE: usize = 1 << 20;
    const CONFIG: usize = 16 << 20;
    let (host, container, dir) = (Host::new(), Container::new(), Dir::new());
    let profile = dir.profile("[sysctl]\n\"kernel.msgmax\" = \">= 9000\"\n");
    let text = r#"{"linux":{"namespaces":[{"type":"ipc"}]}}"#;
    let state = container.state(&format!(",\"bundle\":\"{}\"", dir.text()));
    let hook = |config: usize, bytes: usize| {
        dir.file("config.json", &format!("{text}{}", " ".repeat(config - text.len())));
        host.hook(&["--profile-file", &profile], &format!("{state}{}", " ".repeat(bytes - state.len())))
    };
    let before = container.everything();
    hook(CONFIG + 1, STATE).expect(2).says("config.json: larger than 16777216 bytes");
    hook(CONFIG, STATE + 1).expect(2).says("state: larger than 1 MiB");
    assert_eq!(container.everything(), before);
    hook(CONFIG, STATE).expect(0);
    assert_ne!(container.everything(), before);
}

#[test]
fn too_few_descriptors_are_named_as_such() {
    let (container, dir) = (Container::new(), Dir::new());
    let profile = dir.profile("[sysctl]\n\"kernel.msgmax\" = 9000\n");
    let mut seen = Vec::new();
    for limit in 4..12 {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]).arg(binary());
        command.args(["plan", "--pid", &container.pid().to_string(), "--profile-file", &profile]);
        let ran = run_command(command, "");
        if ran.code != Some(10) {
            seen.push(ran.says("EMFILE").stderr);
        }
    }
    assert!(seen.len() > 1, "both files and namespaces are out of reach: {seen:#?}");
    assert!(
        seen.iter().all(|said| said.contains("; raise the limit of open files (RLIMIT_NOFILE, ulimit -n)")),
        "{seen:#?}"
    );
}
