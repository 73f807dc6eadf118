//! Runs that failed are kept for whoever asks later.

use crate::records::Stage;
use crate::support::Dir;
use crate::support::host::state;
use serde_json::Value;
use std::fs;

#[test]
fn failures_are_kept_and_only_the_newest_64() {
    let Some(stage) = Stage::new() else { return };
    let fail = |id: &str| {
        let bundle = stage.host.bundle(id, r#"{"type":"ipc"}"#, "0:0");
        let state = state(id, "creating", &format!("\"pid\":{},", stage.pause.pid()), &bundle);
        stage.host.hook(&["--profile", "nowhere"], &state).expect(2);
    };
    for n in 0..66 {
        fail(&format!("f{n}"));
    }
    let kept = stage.host.failures();
    assert_eq!(kept.len(), 64);
    assert!(!kept.iter().any(|name| name.starts_with("f0-") || name.starts_with("f1-")), "{kept:?}");
    let text = fs::read(stage.host.path("failed").join(&kept[0])).unwrap();
    let record: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(record["report"]["error"]["exit"], 2);
    assert!(record["report"]["error"]["message"].as_str().unwrap().contains("no such profile"));
    // A state that is no container's leaves nothing.
    stage.host.hook(&["--profile", "nowhere"], &stage.pause.state("")).expect(2);
    assert_eq!(stage.host.failures(), kept);
}

#[test]
fn wrong_arguments_are_a_failure_like_any_other() {
    let Some(stage) = Stage::new() else { return };
    let bundle = stage.host.bundle("w", r#"{"type":"ipc"}"#, "0:0");
    // Longer than a pipe holds: it is read to its end, for runtimes that fail when the pipe breaks.
    let extra = format!("\"pid\":{},\"x\":\"{}\",", stage.pause.pid(), "x".repeat(200_000));
    let state = state("w", "creating", &extra, &bundle);
    let says =
        "oci-ipc-hook: w: arguments: unexpected argument '--profil' found; a similar argument exists: '--profile'";
    for words in [&["--profil", "db2"][..], &["hook", "--profil", "db2"]] {
        stage.host.hook(words, &state).expect(2).says(says);
        let [kept] = &stage.host.failures()[..] else { panic!("{:?}", stage.host.failures()) };
        let record: Value = serde_json::from_slice(&fs::read(stage.host.path("failed").join(kept)).unwrap()).unwrap();
        assert_eq!(record["report"]["error"]["message"].as_str(), says.strip_prefix("oci-ipc-hook: w: "));
        fs::remove_file(stage.host.path("failed").join(kept)).unwrap();
    }
    // Not the hook: nobody's container failed.
    stage
        .host
        .hook(&["plan", "--profil", "db2"], &state)
        .expect(2)
        .says("oci-ipc-hook: arguments: unexpected argument");
    assert_eq!(stage.host.failures(), [""; 0]);
}

#[test]
fn a_run_that_was_taken_back_is_kept_with_its_steps() {
    let Some(stage) = Stage::new() else { return };
    let (member, dir) = (stage.host.member(&stage.pause, "a", "7:8"), Dir::new());
    let before = stage.pause.everything();
    // 9 queues of the default size fit into RLIMIT_MSGQUEUE, the tenth does not.
    let queues: String = (0..10).map(|n| format!("[[mqueue]]\nname = \"/q{n}\"\n")).collect();
    let profile = dir.profile(&format!("[sysctl]\n\"kernel.msgmax\" = \">= 20000\"\n{queues}"));
    let limited = ["prlimit", "--msgqueue=819200:819200", "setpriv", "--bounding-set=-sys_resource"];
    let mut command = stage.host.command(&limited);
    command.arg(crate::support::binary()).args(["--profile-file", &profile]);
    let ran = crate::support::run_command(command, member.creating());
    assert_ne!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(stage.pause.everything(), before);
    assert_eq!((stage.host.records(), stage.host.failures().len()), (vec![], 1));
}
