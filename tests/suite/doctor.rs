//! `doctor`, and the way of a newcomer from an error message to its cure.

use crate::support::{Container, Dir, Ran, run};
use serde_json::Value;

/// All findings, each with its section; the exit status is what they call for.
fn findings(args: &[&str]) -> Vec<(String, Value)> {
    let ran = run(&[&["doctor", "--json"], args].concat(), "");
    let value: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    assert_eq!(value["format"], "oci-ipc-hook.doctor/1");
    let sections = value["sections"].as_array().expect("sections").clone();
    let all: Vec<_> = sections
        .iter()
        .flat_map(|s| {
            let name = s["name"].as_str().expect("a name").to_owned();
            s["findings"].as_array().expect("findings").clone().into_iter().map(move |f| (name.clone(), f))
        })
        .collect();
    let has = |level: &str| all.iter().any(|(_, f)| f["level"] == level);
    let expected = if has("problem") {
        1
    } else if has("unknown") {
        4
    } else {
        0
    };
    assert_eq!(ran.code, Some(expected), "{all:?}");
    for (_, finding) in &all {
        let needs_remedy = finding["level"] == "warning" || finding["level"] == "unknown";
        assert!(!needs_remedy || finding["remedy"].is_string(), "{finding}");
    }
    all
}

fn about<'f>(all: &'f [(String, Value)], section: &str, what: &str) -> Vec<&'f Value> {
    all.iter().filter(|(s, f)| s == section && f["what"] == what).map(|(_, f)| f).collect()
}

#[test]
fn this_machine_is_looked_at() {
    let all = findings(&[]);
    for what in ["IPC namespaces", "System V IPC", "POSIX message queues", "sysctls", "process handles"] {
        assert_eq!(about(&all, "kernel", what)[0]["level"], "ok", "{what}");
    }
    for (section, what) in [
        ("privileges", "capabilities"),
        ("privileges", "RLIMIT_MSGQUEUE"),
        ("installation", "program"),
        ("installation", "policy"),
        ("installation", "log"),
    ] {
        assert_eq!(about(&all, section, what).len(), 1, "{section} {what}");
    }
    assert!(all.iter().all(|(section, _)| section != "container"), "nothing was asked about a container");
}

#[test]
fn a_container_is_judged() {
    let dir = Dir::new();
    dir.file("config.json", r#"{"ociVersion":"1.0.2","process":{"args":["sh"]},"linux":{"namespaces":[{"type":"ipc"}]},
        "hooks":{"createRuntime":[{"path":"/usr/libexec/oci/hooks.d/oci-ipc-hook","args":["oci-ipc-hook","--profile","none-such"]}]}}"#);
    let bundle = dir.path().to_str().expect("text").to_owned();
    let all = findings(&["--bundle", &bundle]);
    assert!(about(&all, "container", "config.json")[0]["found"].as_str().is_some_and(|f| f.contains("createRuntime")));
    assert_eq!(about(&all, "container", "ipc namespace")[0]["level"], "ok");
    let request = about(&all, "container", "request")[0];
    assert!(request["found"].as_str().is_some_and(|f| f.contains("no none-such.toml in")), "{request}");

    let host = dir.file("config.json", r#"{"ociVersion":"1.0.2","process":{"args":["sh"]},"linux":{"namespaces":[]}}"#);
    let all = findings(&["--bundle", host.strip_suffix("/config.json").expect("its name")]);
    assert_eq!(about(&all, "container", "ipc namespace")[0]["level"], "problem");
    assert_eq!(about(&all, "container", "container")[0]["level"], "problem", "nobody would call the hook");

    let state = dir.file("state.json", r#"{"id":"x","annotations":{"io.oci-ipc-hook.objects":"[]"}}"#);
    let all = findings(&["--state", &state]);
    assert_eq!(about(&all, "container", "request")[0]["level"], "problem");
    run(&["doctor", "--annotation", "nonsense"], "").expect(2).says("is not KEY=VALUE");
}

/// The line that follows the one that starts with `start`, without its arrow.
fn remedy(ran: &Ran, start: &str) -> String {
    let mut lines = ran.stdout.lines().skip_while(|l| !l.trim_start().starts_with(start));
    let line = lines.nth(1).unwrap_or_else(|| panic!("no '{start}' in {}", ran.stdout));
    line.trim_start().strip_prefix("-> ").expect("a remedy").to_owned()
}

/// "semget: No space left on device": nothing but `inspect` and `doctor` is asked what it means, and what they say is done
/// word by word.
#[test]
fn a_newcomer_finds_cause_and_cure() {
    let (container, dir) = (Container::new(), Dir::new());
    container.sh("echo 250 4 32 4 > /proc/sys/kernel/sem");
    let fails = "for i in 1 2 3 4 5; do ipcmk -S 1 || exit 0; done 2>&1";
    assert!(container.sh(fails).contains("No space left on device"), "the application fails");

    let pid = container.pid().to_string();
    let doctor = run(&["doctor"], "").expect(1);
    let line = format!("(pid {pid}): SEMMNI: 4 of 4 semaphore sets (100%), used up");
    assert!(doctor.stdout.contains(&line), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("\"No space left on device\", which means this limit and no disk"));

    let inspect = run(&["inspect", "--pid", &pid], "").expect(0);
    assert!(inspect.stdout.lines().any(|l| l.starts_with("SEMMNI") && l.contains("100%")), "{}", inspect.stdout);
    let remedy = remedy(&inspect, "SEMMNI: 4 of 4");
    let wish = remedy.strip_prefix("write ").and_then(|r| r.split_once(" into ")).expect("what to write").0;
    assert_eq!(wish, r#""kernel.sem" = { semmni = ">= 8", semmns = ">= 8" }"#);
    let command =
        remedy.split('\'').nth(1).expect("a command").replace("FILE", &dir.profile(&format!("[sysctl]\n{wish}\n")));
    let words: Vec<_> = command.split(' ').skip(1).collect();
    run(&words, "").expect(0);

    assert!(container.sh("ipcmk -S 1 2>&1").contains("Semaphore id"), "the application works");
    let cured = run(&["doctor"], "");
    assert!(!cured.stdout.contains(&format!("(pid {pid})")), "{}", cured.stdout);
}
