//! Every shipped profile, at several sizes of memory, on the real kernel.

use crate::support::{Container, Dir, run};
use oci_ipc_hook::ipc::{Sysctl, SysctlValue};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The profiles whose purpose is to lower limits.
const HARDENING: [&str; 1] = ["ipc-minimal"];
const MEMORY: [&str; 3] = ["1GiB", "16GiB", "512GiB"];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/profiles")
}

fn presets() -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(directory()).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    files.iter().map(|f| (f.file_stem().unwrap().to_str().unwrap().to_owned(), text(f))).collect()
}

/// `profiles show --json`, from a copy that the user who runs the tests owns.
fn shown(dir: &Dir, name: &str, memory: &str) -> serde_json::Value {
    let args = ["profiles", "show", name, "--profiles-dir", &dir.text(), "--memory", memory, "--json"];
    serde_json::from_str(&run(&args, "").expect(0).stdout).unwrap()
}

/// The same profile with its formulas computed, sysctls only.
fn computed(shown: &serde_json::Value) -> String {
    let mut sysctls = BTreeMap::<String, String>::new();
    for entry in shown["sysctl"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let bounds = entry["bounds"].as_array().unwrap();
        assert_eq!(bounds.len(), 1, "{entry}");
        match name.strip_prefix("kernel.sem.") {
            Some(field) => {
                let table = sysctls.entry("kernel.sem".into()).or_default();
                let _ = write!(table, "{}{field} = {}", if table.is_empty() { "" } else { ", " }, bounds[0]);
            }
            None => drop(sysctls.insert(name.into(), bounds[0].to_string())),
        }
    }
    let lines = sysctls.iter().map(|(name, value)| match name.as_str() {
        "kernel.sem" => format!("\"{name}\" = {{ {value} }}\n"),
        _ => format!("\"{name}\" = {value}\n"),
    });
    format!("[sysctl]\n{}", lines.collect::<String>())
}

/// All sysctls of a namespace by the fields that `profiles show` names.
fn values(container: &Container) -> BTreeMap<String, u64> {
    let mut values = BTreeMap::new();
    for sysctl in Sysctl::ALL {
        let path = format!("/proc/sys/{}", sysctl.name().replace('.', "/"));
        match sysctl.parse_kernel(&container.sh(&format!("cat {path}"))).unwrap() {
            SysctlValue::Number(n) => drop(values.insert(sysctl.name().to_owned(), n)),
            SysctlValue::Sem(fields) => {
                for (field, n) in ["semmsl", "semmns", "semopm", "semmni"].iter().zip(fields) {
                    values.insert(format!("kernel.sem.{field}"), u64::try_from(n).unwrap());
                }
            }
        }
    }
    values
}

fn number(value: &serde_json::Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

#[test]
fn each_says_what_it_is_and_where_its_numbers_come_from() {
    let presets = presets();
    assert!(presets.len() >= 22, "{presets:?}");
    for (name, file) in presets {
        let text = std::fs::read_to_string(&file).unwrap();
        let by = oci_ipc_hook::request::profile::administrators("test");
        let profile = oci_ipc_hook::request::Profile::parse_toml(&file, &text, &by).unwrap();
        assert!(profile.description.is_some_and(|d| !d.is_empty()), "{name}");
        assert!(profile.source.is_some_and(|s| s.contains("https://")), "{name}");
        assert!(name.parse::<oci_ipc_hook::request::annotation::ProfileName>().is_ok(), "{name}");
    }
}

#[test]
fn none_lowers_a_default_unless_it_hardens() {
    let dir = Dir::new();
    let defaults = values(&Container::new());
    for (name, file) in presets() {
        dir.file(&format!("{name}.toml"), &std::fs::read_to_string(file).unwrap());
        for memory in MEMORY {
            let shown = shown(&dir, &name, memory);
            let (container, at) = (Container::new(), format!("{name} at {memory}"));
            let profile = dir.profile(&computed(&shown));
            run(&["--profile-file", &profile], container.state("")).expect(0);
            let after = values(&container);
            let mut expected = defaults.clone();
            for entry in shown["sysctl"].as_array().unwrap() {
                expected.insert(entry["name"].as_str().unwrap().to_owned(), number(&entry["wanted"]));
            }
            assert_eq!(after, expected, "{at}: as shown, and nothing else");
            let lowered = after.iter().filter(|(key, value)| **value < defaults[*key]).count();
            assert_eq!(lowered > 0, HARDENING.contains(&name.as_str()), "{at}: {after:?}");
        }
    }
}

/// As a runtime would: the file itself, the bundle's user as owner, this machine's memory; then once more.
#[test]
fn each_works_as_it_is_and_twice() {
    let dir = Dir::new();
    dir.file(
        "config.json",
        r#"{"ociVersion":"1.0.2","process":{"user":{"uid":0,"gid":0}},"linux":{"namespaces":[{"type":"ipc"}]}}"#,
    );
    for (name, file) in presets() {
        let file = dir.file(&format!("{name}.toml"), &std::fs::read_to_string(file).unwrap());
        let container = Container::new();
        let state = container.state(&format!(r#","bundle":"{}""#, dir.text()));
        run(&["--profile-file", &file], &state).expect(0);
        let once = container.everything();
        run(&["--profile-file", &file], &state).expect(0);
        assert_eq!(container.everything(), once, "{name}");
        assert_eq!(name == "mqueue-app", once.contains("/orders"), "{name}: {once}");
    }
}
