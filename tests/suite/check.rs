//! `check`, and `print-config` whose text it takes: what the hook would refuse is a problem.

use crate::doctor::Machine;
use crate::support::{Dir, Ran, binary, is_root, run, run_command, skip};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const PROFILE: &str = "format = 1\n[sysctl]\n\"kernel.msgmax\" = 9000\n";

/// A hooks.d file that calls this binary with these arguments.
fn hooks_d(args: &[&str]) -> String {
    let args: Vec<_> = [&["oci-ipc-hook"], args].concat();
    serde_json::json!({
        "version": "1.0.0", "hook": {"path": binary(), "args": args}, "when": {"always": true}, "stages": ["createRuntime"]
    })
    .to_string()
}

/// The lines of standard output, one for each problem.
#[track_caller]
fn problems(ran: Ran, wanted: &[&str]) {
    let ran = ran.expect(2);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), wanted.len(), "{ran:?}");
    for (line, wanted) in lines.iter().zip(wanted) {
        assert!(line.starts_with("problem  ") && line.contains(wanted), "no '{wanted}' in {line}");
    }
}

#[test]
fn options_of_a_hooks_d_file_are_followed_as_the_hook_does() {
    let dir = Dir::new();
    let good = dir.file("good.toml", PROFILE);
    let bad = dir.file("bad.toml", "format = 1\nsysctls = 1\n");
    let policy = dir.file("policy.toml", "format = 1\n");
    let here = dir.text();
    let check = |args: &[&str]| run(&["check", &dir.file("50-a.json", &hooks_d(args))], "");
    let fine = ["--config", &policy, "--profile-file", &good, "--profiles-dir", &here, "--profile", "good"];
    assert!(check(&fine).expect(0).stdout.starts_with("ok "));
    problems(check(&["--profile", "nope-such"]), &["50-a.json: hook.args: --profile: profile nope-such: found no"]);
    problems(check(&["--profile", "No Such"]), &["hook.args: --profile: found No Such: a profile's name is"]);
    for option in ["--profile-file", "--config", "--profiles-dir"] {
        let relative = format!("hook.args: {option}: wanted an absolute path, found rel.toml: ");
        problems(check(&[option, "rel.toml"]), &[&relative]);
        problems(check(&[option, "/none.toml"]), &[&format!("hook.args: {option}: /none.toml: no such ")]);
        if option != "--profiles-dir" {
            problems(check(&[option, &bad]), &[&format!("hook.args: {option}: {bad}:2:1: sysctls: unknown key")]);
        }
    }
    let many = ["--profiles-dir", &here, "--profile", "bad", "--profile", "good", "--profile", "none"];
    problems(check(&many), &["--profile: ", "--profile: profile none: found no none.toml in "]);
    problems(
        check(&["--profiles-dir", "/none", "--profile", "good"]),
        &["--profiles-dir: /none: no such directory; see"],
    );
}

#[test]
fn a_profile_that_no_request_can_name_is_a_problem() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let machine = Machine::new();
    machine.file("etc/oci-ipc-hook/profiles.d/My Prof.toml", PROFILE);
    machine.file("etc/oci-ipc-hook/profiles.d/policy.toml", "format = 1\n[policy]\non-error = \"warn\"\n");
    let why = "My Prof.toml: no request can name it: a profile's name is [a-z0-9][a-z0-9._-]{0,62}; rename it";
    problems(machine.run(&["check"]), &[why, "policy.toml:2:2: policy: unknown key"]);
    // Elsewhere a file has whatever name.
    let dir = Dir::new();
    run(&["check", &dir.file("My Prof.toml", PROFILE)], "").expect(0);
}

#[test]
fn a_directory_of_profiles_that_is_named_must_be_one() {
    let dir = Dir::new();
    let file = dir.file("a.toml", PROFILE);
    assert!(run(&["profiles", "list", "--profiles-dir", &dir.text()], "").expect(0).stdout.contains("\na "));
    for no_directory in ["/none", &file] {
        let listed = run(&["profiles", "list", "--profiles-dir", no_directory], "");
        listed.expect(2).says(&format!("--profiles-dir: found {no_directory}: "));
    }
}

#[test]
fn print_config_puts_profiles_where_the_engine_takes_them() {
    for engine in ["podman", "crio", "docker", "containerd"] {
        run(&["print-config", engine, "--profile", "No Such"], "")
            .expect(2)
            .says("--profile: found No Such: a profile's");
    }
    for engine in ["podman", "crio"] {
        let printed = |more: &[&str]| -> Value {
            let text = run(&[&["print-config", engine], more].concat(), "").expect(0).stdout;
            serde_json::from_str(&text).expect("JSON")
        };
        assert_eq!(printed(&[])["hook"]["args"], serde_json::json!(["oci-ipc-hook"]));
        let args = ["oci-ipc-hook", "--profile", "db2", "--profile", "x"];
        assert_eq!(printed(&args[1..])["hook"]["args"], serde_json::json!(args));
    }
    run(&["print-config", "containerd"], "").expect(0);
    let refused = run(&["print-config", "containerd", "--profile", "db2"], "").expect(2);
    assert_eq!(refused.stdout, "");
    refused.says("found db2: containerd gives a runtime no arguments; leave it out, and name the profile in ");
}

/// BinaryName takes no arguments: it is the link that `make install` makes.
#[test]
fn print_config_finds_the_link_of_its_own_installation() {
    let prefix = Dir::new();
    let at = |path: &str| prefix.path().join(path);
    let (program, link) = (at("libexec/oci/hooks.d/oci-ipc-hook"), at("bin/oci-ipc-runtime"));
    for file in [&program, &link] {
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("mkdir");
    }
    // Not copied by this process: another thread's child could hold it open for writing, and it could not be executed.
    assert!(Command::new("cp").arg(binary()).arg(&program).status().expect("cp").success());
    let named = |link: &Path| {
        let mut command = Command::new(&program);
        command.args(["print-config", "containerd"]);
        let text = run_command(command, "").expect(0).stdout;
        assert!(text.contains(&format!("BinaryName = \"{}\"\n", link.display())), "{text}");
    };
    named(Path::new("/usr/bin/oci-ipc-runtime"));
    std::os::unix::fs::symlink("../libexec/oci/hooks.d/oci-ipc-hook", &link).expect("a link");
    named(&link);
}

#[test]
fn a_format_of_another_version_is_named() {
    let dir = Dir::new();
    let says = ":1:10: format: wanted 1, found 2: not a format that this version reads; write format = 1, or ";
    for name in ["config.toml", "profile.toml"] {
        let file = dir.file(name, "format = 2\n");
        problems(run(&["check", &file], ""), &[&format!("{file}{says}")]);
    }
}
