//! Recorded and expected texts: OCI states of real runtimes, and the report that `--json` prints.

use crate::support::{Container, Dir, is_root, run, skip};
use oci_ipc_hook::error::Exit;
use oci_ipc_hook::oci::{Moment, State};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Every recorded state with what must come of it.
#[test]
fn states_of_real_runtimes_are_understood() {
    let mut seen = 0;
    for entry in std::fs::read_dir(golden("states")).expect("recorded states") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|n| n.to_str()).expect("a name").to_owned();
        let Some((runtime, stage)) = name.split_once('-') else { continue };
        seen += 1;
        let bytes = std::fs::read(&path).expect("a state");
        let state = State::parse(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (pid, late) = (4242, true);
        match (stage, state.moment()) {
            ("prestart" | "createRuntime" | "createRuntime-bare", Ok(Moment::Prepare { pid: p, late: false }))
                if p == pid => {}
            // runc runs poststart at create and says so: nothing tells it from createRuntime.
            ("poststart", Ok(Moment::Prepare { pid: p, late: l })) if p == pid && (l == late || runtime == "runc") => {}
            ("createContainer" | "startContainer", Err(e)) if e.exit() == Exit::Unsupported => {
                assert!(e.to_string().contains("createRuntime"), "{name}: {e}");
            }
            ("poststop", Ok(Moment::CleanUp)) => {}
            (_, other) => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(seen, 21, "seven states each of runc, crun and youki");
}

/// Why the project has a state of its own: these are the gaps of oci-spec's.
#[test]
fn the_state_of_oci_spec_cannot_be_used() {
    let starting = std::fs::read_to_string(golden("states/crun-startContainer.json")).expect("a state");
    assert!(serde_json::from_str::<oci_spec::runtime::State>(&starting).is_err(), "crun says 'starting'");
    let bare = r#"{"ociVersion":"1.0.2","id":"x","pid":7,"bundle":"/b"}"#;
    let state: Result<oci_spec::runtime::State, _> = serde_json::from_str(bare);
    assert!(state.is_err() || state.is_ok_and(|s| *s.status() == oci_spec::runtime::ContainerState::Stopped));
}

/// What `inject` writes is what the runtime spec's own types read.
#[test]
fn an_injected_configuration_is_a_valid_one() {
    let dir = Dir::new();
    let profile = dir.profile("[sysctl]\n\"kernel.msgmax\" = 9000\n");
    let spec = oci_spec::runtime::Spec::default();
    let text = serde_json::to_string(&spec).expect("JSON");
    let ran = run(&["inject", "-", "--profile-file", &profile], text).expect(0);
    let new: oci_spec::runtime::Spec = serde_json::from_str(&ran.stdout).expect("a configuration");
    let hooks = new.hooks().clone().expect("hooks");
    let ours = &hooks.create_runtime().clone().expect("createRuntime")[0];
    assert_eq!(ours.args().clone().expect("args")[1..], ["--profile-file".to_owned(), profile]);
    assert_eq!(ours.env().clone().expect("env"), Vec::<String>::new());
    assert_eq!(hooks.poststop().clone().expect("poststop").len(), 1);
    let linux = new.linux().clone().expect("linux");
    assert_eq!(linux.sysctl().clone().expect("sysctl")["kernel.msgmax"], "9000");
}

/// Compares a report with the recorded one, numbers of this very run replaced by words.
fn compare(name: &str, text: &str) {
    let mut value: Value = serde_json::from_str(text).expect("JSON");
    for key in ["dev", "ino", "id"] {
        if let Some(number) = value["namespace"].get_mut(key).filter(|v| !v.is_null()) {
            *number = Value::from(format!("<{key}>"));
        }
    }
    // Null where the kernel has no NS_GET_ID.
    if value["namespace"].is_object() {
        value["namespace"]["id"] = Value::from("<id>");
    }
    let shown = serde_json::to_string_pretty(&value).expect("JSON") + "\n";
    let path = golden(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &shown).expect("the golden file");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, expected, "{name}: run the test with UPDATE_GOLDEN=1 and read the difference");
}

const PROFILE: &str = r#"
[sysctl]
"kernel.sem" = "250 256000 100 1024"
"kernel.shmall" = 9007199254740992
"kernel.msgmax" = ">= 100"
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
owner = "0:0"
[[mqueue]]
name = "/q"
max-messages = 5
owner = "0:0"
"#;

#[test]
fn the_report_is_a_contract() {
    let (container, dir) = (Container::new(), Dir::new());
    let profile = dir.profile(PROFILE);
    let pid = container.pid().to_string();
    let ran = run(&["plan", "--pid", &pid, "--profile-file", &profile, "--json"], "").expect(10);
    compare("report-planned.json", &ran.stdout);
    let ran = run(&["apply", "--pid", &pid, "--profile-file", &profile, "--json"], "").expect(0);
    compare("report-done.json", &ran.stdout);
    let ran = run(&["apply", "--pid", &pid, "--profile-file", &profile, "--json"], "").expect(0);
    compare("report-nothing-to-do.json", &ran.stdout);
    let clash = dir.file("clash.toml", "format = 1\n[[sem]]\nkey = 2\nnsems = 9\nowner = \"0:0\"\n");
    let ran = run(&["apply", "--pid", &pid, "--profile-file", &clash, "--json"], "").expect(1);
    compare("report-refused.json", &ran.stdout);
    assert_eq!(
        ran.stderr.trim_end(),
        "oci-ipc-hook: sem 0x00000002: wanted nsems 9, found nsems 2: it exists already with another nsems; remove it, change the profile, or use if-exists = \"replace\""
    );
}

#[test]
fn host_ipc_is_refused_by_looking_at_the_namespace() {
    if !is_root() {
        return skip("only root may look into the host's processes");
    }
    let dir = Dir::new();
    let profile = dir.profile("[sysctl]\n\"kernel.msgmax\" = 7777\n");
    let own = std::process::id().to_string();
    let ran = run(&["plan", "--pid", &own, "--profile-file", &profile, "--json"], "").expect(4);
    let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((&report["outcome"], &report["error"]["exit"]), (&Value::from("refused"), &Value::from(4)));
    run(&["apply", "--ns", "/proc/self/ns/ipc", "--profile-file", &profile], "").expect(4).says("host's IPC namespace");
    run(&["apply", "--self", "--profile-file", &profile], "").expect(4).says("host's IPC namespace");
}
