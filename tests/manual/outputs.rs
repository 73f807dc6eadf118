//! What is printed and kept, report, record, inspect and doctor: every document is valid, and every key of the schema is really printed.

use crate::root;
use crate::schema::{Schema, keys_of};
use crate::support::host::Host;
use crate::support::{Container, Dir, binary, is_root, run, run_command, skip, which};
use serde_json::Value;
use std::collections::BTreeSet;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Objects of all kinds, with everything that a profile can say of them.
const EVERYTHING: &str = r#"
[sysctl]
"kernel.sem" = "250 256000 100 1024"
"kernel.shmall" = 9007199254740992
[[shm]]
key = "0x10"
size = "1MiB"
mode = "0640"
owner = "0:0"
[[sem]]
key = 2
values = [1, 0]
owner = "0:0"
[[msg]]
key = 3
max-bytes = 8000
owner = "0:0"
[[mqueue]]
name = "/q"
max-messages = 5
message-size = 100
owner = "0:0"
"#;

#[track_caller]
fn same(printed: &BTreeSet<String>, known: &BTreeSet<String>) {
    let differ: Vec<_> = printed.symmetric_difference(known).collect();
    assert!(differ.is_empty(), "printed or in the schema, but not both: {differ:#?}");
}

/// Without the sysctls: one container may not lower what others of the namespace have.
fn objects_only() -> &'static str {
    &EVERYTHING[EVERYTHING.find("[[shm]]").unwrap()..]
}

#[test]
fn reports_are_valid_and_the_schema_has_no_other_key() {
    let schema = Schema::load("report");
    let mut seen = BTreeSet::new();
    let mut look = |what: &str, report: &Value| {
        schema.must_take(what, report);
        keys_of(report, "", &mut seen);
    };
    let (container, dir) = (Container::new(), Dir::new());
    let profile = dir.profile(EVERYTHING);
    let pid = container.pid().to_string();
    let call = |verb: &str, profile: &str| run(&[verb, "--pid", &pid, "--profile-file", profile, "--json"], "");
    look("planned", &json(&call("plan", &profile).expect(10).stdout));
    look("done", &json(&call("apply", &profile).expect(0).stdout));
    look("nothing to do", &json(&call("apply", &profile).expect(0).stdout));
    let clash = dir.file("clash.toml", "format = 1\n[[sem]]\nkey = 2\nnsems = 9\nowner = \"0:0\"\n");
    look("refused", &json(&call("apply", &clash).expect(1).stdout));
    same(&seen, &schema.keys());
}

#[test]
fn recorded_reports_are_valid() {
    let schema = Schema::load("report");
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("report-") {
            let mut report = json(&std::fs::read_to_string(&path).unwrap());
            // Numbers of a run, which the recorded text has words for.
            for (key, number) in [("dev", 4), ("ino", 4_026_532_181_u64), ("id", 7)] {
                if report["namespace"][key].is_string() {
                    report["namespace"][key] = Value::from(number);
                }
            }
            schema.must_take(name, &report);
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen}");
}

#[test]
fn records_are_valid_and_the_schema_has_no_other_key() {
    if !is_root() {
        return skip("only root can give the hook another /run");
    }
    let schema = Schema::load("record");
    let (host, pause, dir) = (Host::new(), Container::new(), Dir::new());
    let profile = dir.profile(objects_only());
    let mut seen = BTreeSet::new();
    let member = host.member(&pause, "web", "7:8");
    host.hook(&["--profile-file", &profile], &member.creating()).expect(0);
    let record = host.record(".json");
    schema.must_take("record", &record);
    keys_of(&record, "", &mut seen);
    if which("strace").is_some() {
        let (host, pause, binary) = (Host::new(), Container::new(), binary());
        let inject = "--inject=shmget:signal=KILL:when=1";
        let mut strace = host.command(&["strace", "-o", "/dev/null", inject, binary.to_str().unwrap()]);
        strace.args(["--profile-file", &profile]);
        run_command(strace, host.member(&pause, "killed", "7:8").creating());
        let journal = host.record(".journal");
        schema.must_take("journal", &journal);
        keys_of(&journal, "", &mut seen);
    } else {
        // Of a run that is under way alone.
        seen.extend(["children", "pid", "pid-namespace"].map(|key| format!("/maker/{key}")));
    }
    // The report in it is tested for itself.
    let own = |keys: BTreeSet<String>| keys.into_iter().filter(|key| !key.starts_with("/report/")).collect();
    same(&own(seen), &own(schema.keys()));
    let clash = dir.file("clash.toml", "format = 1\n[[sem]]\nkey = 2\nnsems = 9\nowner = \"0:0\"\n");
    let failing = host.member(&pause, "failing", "7:8");
    host.hook(&["--profile-file", &clash], &failing.creating()).expect(1);
    let name = format!("failed/{}", host.failures()[0]);
    schema.must_take("failure", &json(&std::fs::read_to_string(host.path(&name)).unwrap()));
}

#[test]
fn what_inspect_prints_is_valid_and_the_schema_has_no_other_key() {
    let schema = Schema::load("inspect");
    let mut seen = BTreeSet::new();
    // Ids of its own, so that the keys of the host are there.
    let (container, dir) = (Container::with(&["--user", "--map-root-user"]), Dir::new());
    let profile = dir.profile(EVERYTHING);
    let pid = container.pid().to_string();
    run(&["apply", "--pid", &pid, "--profile-file", &profile], "").expect(0);
    let one = json(&run(&["inspect", "--pid", &pid, "--json"], "").expect(0).stdout);
    let all = json(&run(&["inspect", "--all", "--json"], "").stdout);
    for (what, document) in [("one", &one), ("all", &all)] {
        schema.must_take(what, document);
        keys_of(document, "", &mut seen);
    }
    assert_eq!(one["namespaces"][0]["shm"].as_array().unwrap().len(), 1, "{one:#}");
    if is_root() {
        let host = Host::new();
        let pause = Container::with(&["--user", "--map-root-user"]);
        let member = host.member(&pause, "web", "0:0");
        let objects = dir.file("objects.toml", &format!("format = 1\n{}", objects_only()));
        host.hook(&["--profile-file", &objects], &member.creating()).expect(0);
        for change in ["true", "ipcrm -Q 3"] {
            pause.sh(change);
            let recorded = json(&host.hook(&["inspect", "--record", "web", "--json"], "").expect(0).stdout);
            schema.must_take(change, &recorded);
            keys_of(&recorded, "", &mut seen);
        }
        // Its own schema is tested for itself.
        seen.retain(|key| !key.starts_with("/records/"));
    } else {
        seen.insert("/records".to_owned());
    }
    let known: BTreeSet<_> = schema.keys().into_iter().filter(|key| !key.starts_with("/records/")).collect();
    // Not on every machine: namespaces that may not be looked at, and containers.
    for sometimes in ["error", "containers/engine", "containers/id", "containers/names", "containers/pid"] {
        seen.insert(format!("/namespaces/{sometimes}"));
    }
    same(&seen, &known);
}

#[test]
fn what_doctor_prints_is_valid_and_the_schema_has_no_other_key() {
    let schema = Schema::load("doctor");
    let mut seen = BTreeSet::new();
    let question = ["doctor", "--annotation", "io.oci-ipc-hook.profile=there-is-none", "--json"];
    for args in [&question[..], &["doctor", "--json"]] {
        let diagnosis = json(&run(args, "").stdout);
        schema.must_take("doctor", &diagnosis);
        keys_of(&diagnosis, "", &mut seen);
    }
    same(&seen, &schema.keys());
}
