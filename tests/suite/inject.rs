//! `inject` and `wrap`: the hook gets into config.json, or nothing starts.

use crate::support::{Dir, Ran, as_user, binary, is_root, run, run_command, skip};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt as _, chown};

const PROFILE: &str = "[sysctl]\n\"kernel.shmmni\" = \"1000000 per GiB\"\n";

/// The arguments of the hook in a config.json.
fn args(config: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(config).expect("JSON");
    let args = value["hooks"]["createRuntime"][0]["args"].as_array().cloned().unwrap_or_default();
    args.iter().map(|arg| arg.as_str().expect("text").to_owned()).collect()
}

/// A bundle, a profile, and what `wrap` calls as the runtime: it prints its arguments.
struct Bundle {
    dir: Dir,
    profile: String,
    config: String,
}

impl Bundle {
    fn new() -> Bundle {
        let dir = Dir::new();
        let (profile, config) = (dir.profile(PROFILE), dir.file("config.json", "{}"));
        Bundle { dir, profile, config }
    }

    fn config(&self) -> String {
        std::fs::read_to_string(&self.config).expect("config.json")
    }

    /// Calls the runtime with words in which B is the bundle, in an empty directory.
    fn wrap(&self, words: &str) -> Ran {
        let elsewhere = Dir::new();
        std::fs::write(&self.config, "{}").expect("config.json");
        let words = words.replace('B', &self.dir.text());
        let mut command = std::process::Command::new(binary());
        command.args(["wrap", "--runtime", "/bin/echo", "--profile-file", &self.profile, "--memory", "1MiB", "--"]);
        command.args(words.split_whitespace()).current_dir(elsewhere.path());
        let ran = run_command(command, "");
        assert!(ran.code != Some(0) || ran.stdout == words.clone() + "\n", "{words}: {ran:?}");
        ran
    }
}

#[test]
fn every_container_that_is_made_is_prepared() {
    let bundle = Bundle::new();
    for words in [
        "run --bundle B x",
        "--cgroup-manager disabled run --bundle B x",
        "-log /dev/null run -bundle B x",
        "-root /r create --bundle=B --pid-file /p x",
        "-root=/r create -bB x",
        "--not-known disabled run --bundle B x",
        "run --bundle B --config config.json x",
        "run --bundle B -f B/config.json x",
    ] {
        bundle.wrap(words).expect(0);
        let got = args(&bundle.config());
        assert_eq!(got[1..], ["--profile-file", &bundle.profile, "--memory", "1048576"], "{words}");
    }
}

#[test]
fn what_cannot_be_prepared_is_refused() {
    let bundle = Bundle::new();
    for words in ["run", "run -f /other.json", "run --config=/other.json", "--not-known run -f/other.json"] {
        let says = if words == "run" { "config.json: no such file" } else { "found /other.json: the hook reads" };
        let words = if words == "run" { "run x".to_owned() } else { format!("{words} --bundle B x") };
        bundle.wrap(&words).expect(2).says(says);
        assert_eq!(bundle.config(), "{}", "{words}");
    }
    for words in ["delete B", "--log /dev/null state run", "exec B run", "features"] {
        bundle.wrap(words).expect(0);
        assert_eq!(bundle.config(), "{}", "{words}");
    }
}

#[test]
fn a_stated_memory_limit_counts() {
    let dir = Dir::new();
    let profile = dir.profile(PROFILE);
    let filter = |memory: &str, config: &str| {
        let ran = run(&["inject", "-", "--profile-file", &profile, "--memory", memory], config).expect(0);
        let value: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        (args(&ran.stdout)[3..].to_vec(), value["linux"]["sysctl"]["kernel.shmmni"].as_str().map(str::to_owned))
    };
    let spec = r#"{"linux":{"namespaces":[{"type":"ipc"}],"resources":{"memory":{"limit":20971520}}}}"#;
    for (memory, bytes, sysctl) in [("10MiB", "10485760", "9765"), ("40MiB", "41943040", "19531")] {
        let expected = (vec!["--memory".to_owned(), bytes.to_owned()], Some(sysctl.to_owned()));
        assert_eq!(filter(memory, spec), expected);
    }
    let config = dir.file("config.json", "{}");
    run(&["inject", "--bundle", &dir.text(), "--profile", "db2", "--memory", "1GiB"], "").expect(0);
    let written = args(&std::fs::read_to_string(config).expect("config.json"));
    assert_eq!(written[1..], ["--profile", "db2", "--memory", "1073741824"]);
}

#[test]
fn a_replaced_config_json_stays_its_owners() {
    if !is_root() {
        return skip("only root can give files away");
    }
    let bundle = Bundle::new();
    let inject = ["inject", "--bundle", &bundle.dir.text(), "--profile", "db2"];
    let owner = || std::fs::metadata(&bundle.config).map(|m| (m.uid(), m.gid(), m.mode() & 0o7777)).expect("stat");
    chown(&bundle.config, Some(61_251), Some(61_252)).expect("chown");
    run(&inject, "").expect(0);
    assert_eq!((owner(), args(&bundle.config()).len()), ((61_251, 61_252, 0o644), 3));
    bundle.wrap("run --bundle B x").expect(0);
    assert_eq!((owner(), args(&bundle.config()).len()), ((61_251, 61_252, 0o644), 5));

    chown(bundle.dir.path(), Some(61_250), Some(61_250)).expect("chown");
    let before = bundle.config();
    let mut command = as_user(61_250, binary());
    command.args(inject);
    let why = "wanted uid 61251, gid 61252, found uid 61250, gid 61250: the new file cannot be given to the owner";
    run_command(command, "").expect(1).says(why);
    assert_eq!((owner(), bundle.config()), ((61_251, 61_252, 0o644), before));
    assert_eq!(std::fs::read_dir(bundle.dir.path()).expect("a directory").count(), 2, "nothing is left");
}

#[test]
fn what_the_hook_would_refuse_is_not_injected() {
    let bundle = Bundle::new();
    let dir = bundle.dir.text();
    for how in [&["inject", "--bundle", &dir][..], &["inject", "-"]] {
        let ran = run(&[how, &["--profile", "N O"]].concat(), "{}").expect(2);
        assert_eq!(ran.stdout, "");
        ran.says("--profile: found N O: a profile's name is");
    }
    let wrap = |options: &[&str]| {
        run(&[&["wrap", "--runtime", "/bin/echo"], options, &["--", "run", "--bundle", &dir, "x"]].concat(), "")
            .expect(2)
    };
    wrap(&["--profile", "N O"]).says("--profile: found N O: a profile's name is");
    wrap(&["--profile-file", "p.toml"]).says("--profile-file: wanted an absolute path, found p.toml");
    assert_eq!(bundle.config(), "{}");
}

#[test]
fn a_part_of_the_wrong_kind_is_named() {
    let says = "hooks: wanted an object, found an array: of the wrong kind\n";
    let ran = run(&["inject", "-", "--profile", "db2"], r#"{"hooks":[]}"#).expect(2).says(says);
    assert!(!ran.stderr.contains("line"), "{}", ran.stderr);
    let dir = Dir::new();
    dir.file("config.json", r#"{"hooks":{"createRuntime":7}}"#);
    let ran = run(&["inject", "--bundle", &dir.text(), "--profile", "db2"], "").expect(2);
    ran.says("hooks: createRuntime: wanted an array, found a number: of the wrong kind");
}
