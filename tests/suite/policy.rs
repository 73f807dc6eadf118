//! The administrator's file: checked with hints, and heeded.

use crate::support::host::Host;
use crate::support::{Container, Dir, binary, run, run_command, skip, which};
use std::process::Command;

#[test]
fn check_names_file_line_column_and_the_nearest_name() {
    let dir = Dir::new();
    for (body, says) in [
        ("[polcy]\n", ":2:2: polcy: unknown key; did you mean 'policy'?"),
        ("[policy]\nanotations = \"none\"\n", ":3:1: policy.anotations: unknown key; did you mean 'annotations'?"),
        ("[policy]\n  on-eror = \"warn\"\n", ":3:3: policy.on-eror: unknown key; did you mean 'on-error'?"),
        ("[policy]\nannotations = \"inlin\"\n", ":3:15: policy.annotations: found \"inlin\": not one of \"none\""),
        ("[policy]\nallowed-profiles = \"*\"\n", ":3:20: policy.allowed-profiles: wanted an array, found a string"),
        (
            "[policy.ceiling]\n\"kernel.shmmx\" = 1\n",
            ":3:1: policy.ceiling.kernel.shmmx: unknown key; did you mean 'kernel.shmmax'?",
        ),
        ("[policy.ceiling]\n\"kernel.msgmni\" = 99999\n", ":3:19: policy.ceiling.kernel.msgmni: found 99999"),
        ("[policy.ceiling]\nkernel-memory = \"16 MB!\"\n", ":3:17: policy.ceiling.kernel-memory: found \"16 MB!\""),
        (
            "[charge]\ncontainer-cgroup = 1\n",
            ":3:1: charge.container-cgroup: unknown key; did you mean 'container-cgroup-above'?",
        ),
        ("[record]\nwhen = \"never\"\n", ":3:8: record.when: found \"never\": not one of \"needed\", \"always\""),
        ("[policy]\non-error = \"warn\"\non-error = \"fail\"\n", ":4:1: "),
        ("[policy\n", ":2:"),
    ] {
        let file = dir.file("config.toml", &format!("format = 1\n{body}"));
        let ran = run(&["check", &file], "").expect(2);
        assert!(ran.stdout.contains(&format!("problem  {file}{says}")), "{body}\n got {}want {says}", ran.stdout);
        // The hook refuses the same file in the same words, and does not fall back to defaults.
        let container = Container::new();
        let profile = dir.file("p.toml", "format = 1\n[sysctl]\n\"kernel.msgmax\" = 9000\n");
        run(&["--config", &file, "--profile-file", &profile], container.state(""))
            .expect(2)
            .says(&format!("{file}{says}"));
        assert_eq!(container.sh("cat /proc/sys/kernel/msgmax"), "8192\n");
    }
    let good = dir.file("config.toml", "format = 1\n[policy]\nannotations = \"none\"\n");
    let ran = run(&["check", &good], "").expect(0);
    assert!(ran.stdout.starts_with("ok       policy"), "{}", ran.stdout);
}

/// `on-error = "warn"`: said and logged, undone, and the container starts.
#[test]
fn warn_lets_the_container_start_unprepared() {
    let (host, container, dir) = (Host::new(), Container::new(), Dir::new());
    let warn = dir.file("warn.toml", "format = 1\n[policy]\nannotations = \"inline\"\non-error = \"warn\"\n");
    let fail = dir.file("fail.toml", "format = 1\n[policy]\nannotations = \"inline\"\n");
    let before = container.everything();
    let annotated =
        |key: &str, value: &str| container.state(&format!(r#","annotations":{{"io.oci-ipc-hook.{key}":"{value}"}}"#));
    let good = dir.file("good.toml", "format = 1\n[sysctl]\n\"kernel.msgmax\" = 9000\n");
    let small = dir.file(
        "small.toml",
        "format = 1\n[sysctl]\n\"kernel.shmmax\" = 4096\n[[shm]]\nkey = 1\nsize = 4097\nowner = \"0:0\"\n",
    );
    let plain = container.state("");
    for (what, code, options, state) in [
        ("bad annotation", 2, vec![], annotated("sysctl.kernel.msgmax", "x")),
        ("unknown annotation", 2, vec![], annotated("prfile", "x")),
        ("denied", 3, vec![], annotated("sysctl.kernel.msgmax", "70000")),
        ("no such profile", 2, vec!["--profile", "none"], plain.clone()),
        ("bad profile", 2, vec!["--profile-file", &warn], plain.clone()),
        ("a limit", 1, vec!["--profile-file", &small], plain.clone()),
        ("wrong stage", 4, vec!["--profile-file", &good], plain.replace("\"pid\":", "\"pid\":0,\"x\":")),
        ("no bundle", 2, vec!["--profile-file", &good], container.state(r#","bundle":"/nowhere""#)),
    ] {
        for (policy, expected) in [(&fail, code), (&warn, 0)] {
            let args = [vec!["--config", policy.as_str()], options.clone()].concat();
            let ran = host.hook(&args, &state);
            assert_eq!(ran.code, Some(expected), "{what} with {policy}: {}", ran.stderr);
            assert_eq!(ran.stderr.matches('\n').count(), 1, "{what} is said: {}", ran.stderr);
            assert_eq!(container.everything(), before, "{what}");
        }
    }
    // What comes before the policy is known fails: no state, and a policy that cannot be read.
    run(&["--config", &warn, "--profile-file", &good], "{").expect(2);
    let broken = dir.file("broken.toml", "format = 1\n[policy]\non-error = \"warn\"\nx = 1\n");
    run(&["--config", &broken, "--profile-file", &good], &plain).expect(2).says("policy.x: unknown key");
    run(&["--config", &warn, "--profile-file", &good], &plain).expect(0);
}

/// `apply` with a state stands for the hook, as the NRI plugin calls it for pods without pause process; without one a person
/// asks, and is told.
#[test]
fn apply_for_a_container_heeds_on_error_too() {
    let (host, container, dir) = (Host::new(), Container::new(), Dir::new());
    let warn = dir.file("warn.toml", "format = 1\n[policy]\non-error = \"warn\"\n");
    let fail = dir.file("fail.toml", "format = 1\n");
    let good = dir.file("good.toml", "format = 1\n[sysctl]\n\"kernel.msgmax\" = 9000\n");
    let many = dir.file("many.toml", "format = 1\n[[mqueue]]\nname = \"/q\"\nmax-messages = 11\nowner = \"0:0\"\n");
    let before = container.everything();
    let (ns, pid) = (format!("/proc/{}/ns/ipc", container.pid()), container.pid().to_string());
    let annotated = |key: &str| format!(r#"{{"id":"pod1","annotations":{{"io.oci-ipc-hook.{key}":"none-such"}}}}"#);
    let plain = r#"{"id":"pod1"}"#.to_owned();
    for (what, code, options, state) in [
        ("no such profile", 2, vec![], annotated("profile")),
        ("unknown annotation", 2, vec![], annotated("prfile")),
        ("denied", 3, vec![], annotated("sysctl.kernel.msgmax").replace("none-such", "9000")),
        ("bad profile", 2, vec!["--profile-file", &warn], plain.clone()),
        ("a limit", 1, vec!["--profile-file", &many], plain.clone()),
        ("nothing asked", 2, vec![], plain.clone()),
        ("no namespace", 4, vec!["--ns", "/dev/null", "--profile-file", &good], plain.clone()),
    ] {
        for target in [["--ns", &ns], ["--pid", &pid]] {
            let target = if options.contains(&"--ns") { vec![] } else { target.to_vec() };
            for (policy, expected) in [(&fail, code), (&warn, 0)] {
                let args = [&["apply", "--state", "-", "--config", policy][..], &target, &options].concat();
                let ran = host.hook(&args, &state);
                assert_eq!(ran.code, Some(expected), "{what} with {policy}: {}", ran.stderr);
                assert!(ran.stderr.starts_with("oci-ipc-hook: pod1: "), "{what} is said of the pod: {}", ran.stderr);
                assert_eq!(ran.stderr.matches('\n').count(), 1, "{what}: {}", ran.stderr);
                assert_eq!(container.everything(), before, "{what}");
                let by_hand = host.hook(&[&["apply", "--config", policy][..], &target, &options].concat(), "");
                assert!(by_hand.code.is_some_and(|code| code != 0), "{what}: {by_hand:?}");
            }
        }
    }
    let json = ["apply", "--ns", &ns, "--state", "-", "--config", &warn, "--profile-file", &many, "--json"];
    let report: serde_json::Value = serde_json::from_str(&host.hook(&json, &plain).expect(0).stdout).expect("JSON");
    assert_eq!((&report["outcome"], &report["error"]["exit"]), (&"refused".into(), &1.into()), "the report says it");
    let args = ["apply", "--ns", &ns, "--state", "-", "--config", &warn, "--profile-file", &good];
    let ran = host.hook(&args, &plain).expect(0);
    assert!(ran.stdout.contains("kernel.msgmax"), "{}", ran.stdout);
    assert_eq!(container.sh("cat /proc/sys/kernel/msgmax"), "9000\n");
    let broken = dir.file("broken.toml", "format = 1\n[policy]\non-error = \"warn\"\nx = 1\n");
    let args = ["apply", "--ns", &ns, "--state", "-", "--config", &broken, "--profile-file", &good];
    host.hook(&args, &plain).expect(2).says("policy.x: unknown key");
}

/// As above, for what only the kernel refuses: the sysctl was written by then.
#[test]
fn warn_undoes_before_it_lets_go() {
    if which("strace").is_none() {
        return skip("strace is not installed");
    }
    let (container, dir) = (Container::new(), Dir::new());
    let before = container.everything();
    let profile = dir.profile("[sysctl]\n\"kernel.msgmax\" = 9000\n[[shm]]\nkey = 1\nsize = 4096\nowner = \"0:0\"\n");
    for (rule, code) in [("fail", 1), ("warn", 0)] {
        let policy = dir.file("config.toml", &format!("format = 1\n[policy]\non-error = \"{rule}\"\n"));
        let trace = dir.file("trace", "");
        let mut hook = Command::new("strace");
        hook.args(["-qq", "-o", &trace, "--trace=shmget,pwrite64", "--inject=shmget:error=ENOSPC:when=1"])
            .arg(binary());
        hook.args(["--config", &policy, "--profile-file", &profile]);
        run_command(hook, container.state(""))
            .expect(code)
            .says("kernel.shmall or kernel.shmmni of this namespace is reached");
        let trace = std::fs::read_to_string(&trace).expect("a trace");
        assert!(trace.matches("pwrite64(").count() == 2, "written and written back: {trace}");
        assert_eq!(container.everything(), before);
    }
}

#[test]
fn plan_says_which_rule_allows_what() {
    let (container, dir) = (Container::new(), Dir::new());
    let policy = dir.file(
        "config.toml",
        "format = 1\n[policy]\nannotations = \"inline\"\n[policy.ceiling]\n\"kernel.msgmax\" = 20000\n",
    );
    dir.file("mq.toml", "format = 1\n[sysctl]\n\"kernel.msgmnb\" = 20000\n");
    let state = container
        .state(r#","annotations":{"io.oci-ipc-hook.profile":"mq","io.oci-ipc-hook.sysctl.kernel.msgmax":"9000"}"#);
    let state = dir.file("state.json", &state);
    let own = dir.file("own.toml", "format = 1\n[sysctl]\n\"kernel.msgmni\" = 10\n");
    let profiles = dir.path().to_str().expect("text");
    let ran =
        run(&["plan", "--state", &state, "--config", &policy, "--profiles-dir", profiles, "--profile-file", &own], "")
            .expect(10);
    for line in [
        format!(
            "allowed: kernel.msgmax: written out by the container (rule policy.annotations, {policy}:3), at most 20000 (rule policy.ceiling.\"kernel.msgmax\", {policy}:5)\n"
        ),
        format!(
            "allowed: kernel.msgmnb: profile named by the container (rule policy.annotations, {policy}:3; rule policy.allowed-profiles, built-in default)\n"
        ),
        "allowed: kernel.msgmni: asked for by the arguments, which are the administrator's word\n".to_owned(),
    ] {
        assert!(ran.stdout.contains(&line), "no {line}in {}", ran.stdout);
    }
}
