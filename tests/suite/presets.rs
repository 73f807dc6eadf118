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

/// The numbers as the sources print them, formulas computed by hand for 16 GiB (4194304 pages): a profile says what its
/// source says, no more and no less. `kernel.sem`: SEMMSL SEMMNS SEMOPM SEMMNI, `-` where the source is silent.
const SOURCES: &str = "
axway-cft     shmmax>=67108864 shmall>=2097152 shmmni>=4096 sem>=250,32000,-,- msgmax>=8192 msgmnb>=32768 msgmni>=48
db2           shmmax>=17179869184 shmall>=8388608 shmmni>=4096 sem>=250,256000,32,4096 msgmax>=65536 msgmnb>=65536 msgmni>=16384
greenplum     shmmax>=8589934592 shmall>=2097152 shmmni>=4096 sem>=250,2048000,200,8192 msgmax>=65536 msgmnb>=65536 msgmni>=2048
ibm-ace       shmmax>=268435456 shmall>=2097152 shmmni>=4096 sem>=500,256000,250,1024
ibm-mq        shmmax>=268435456 shmall>=2097152 shmmni>=4096 sem>=32,4096,32,128
iris          shmmax>=134217728 msgmni>=3
mqueue-large  msg_max>=10000 msgsize_max>=102400
nasa-cfs      msg_max>=512 queues_max>=512
ndoutils      msgmax>=131072000 msgmnb>=131072000 msgmni>=32768
openedge      sem>=514,2056,514,4
opengauss     shmall>=1152921504606846720 sem>=250,6400000,1000,25600
oracle-db     shmmax>=8589934592 shmall>=1677721 shmmni>=4096 sem>=250,32000,100,128
postgresql    sem>=17,1156,-,68
primecluster  msgmax>=16384 msgmnb>=4194304 msgmni>=8192
sap-abap      shmmax>=42949672960 shmall>=10485760 shmmni>=32768 sem>=1250,256000,100,8192 msgmni>=1024
sap-bobj      shmmax>=18446744073709551615 sem>=250,32000,32,1024 msgmni>=1024
sap-hana      shmmax>=18446744073709551615 shmall>=1152921504606846720 shmmni>=32768
sybase-ase    shmmax>=67108864
timesten      shmmax>=39991547720 shmall>=9763561 shmmni>=9000 sem>=2203,281984,100,128
tuxedo        msgmax>=32768 msgmnb>=32768
ipc-minimal   shmmax<=1048576 shmall<=1024 shmmni<=16 sem<=32,128,32,16 msgmax<=4096 msgmnb<=4096 msgmni<=16 shm_rmid_forced=1 queues_max<=4
mqueue-app    msg_max>=64
";

/// A line of [`SOURCES`] as `profiles show --json` has it: name and bound.
fn stated(words: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for word in words.split_whitespace() {
        let at = word.find(['<', '>', '=']).unwrap();
        let (name, rest) = word.split_at(at);
        let bound = &rest[..rest.find(|c: char| c.is_ascii_digit()).unwrap()];
        let number = &rest[bound.len()..];
        let dir = if name.starts_with("msg_") || name.starts_with("msgsize") || name.starts_with("queues") {
            "fs.mqueue"
        } else {
            "kernel"
        };
        let said = |number: &str| if bound == "=" { number.to_owned() } else { format!("{bound} {number}") };
        if name == "sem" {
            let fields = ["semmsl", "semmns", "semopm", "semmni"].into_iter().zip(number.split(','));
            all.extend(fields.filter(|(_, n)| *n != "-").map(|(f, n)| (format!("kernel.sem.{f}"), said(n))));
        } else {
            all.insert(format!("{dir}.{name}"), said(number));
        }
    }
    all
}

#[test]
fn each_says_what_its_source_says() {
    let dir = Dir::new();
    let mut seen = 0;
    for (name, file) in presets() {
        dir.file(&format!("{name}.toml"), &std::fs::read_to_string(file).unwrap());
        let line = SOURCES.lines().find(|l| l.split_whitespace().next() == Some(&name));
        let line = line.unwrap_or_else(|| panic!("{name}: what does its source say?"));
        let shown = shown(&dir, &name, "16GiB");
        let bound = |entry: &serde_json::Value| match &entry["bounds"][0] {
            serde_json::Value::String(text) => text.clone(),
            number => number.to_string(),
        };
        let entries = shown["sysctl"].as_array().unwrap().iter();
        let found: BTreeMap<_, _> = entries.map(|e| (e["name"].as_str().unwrap().to_owned(), bound(e))).collect();
        assert_eq!(found, stated(line.trim_start().strip_prefix(name.as_str()).unwrap()), "{name}");
        seen += 1;
    }
    assert_eq!(SOURCES.lines().filter(|l| !l.is_empty()).count(), seen, "a line without a profile");
}
