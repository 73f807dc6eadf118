//! Annotations are hostile input: what they may say, what they cannot, and what a refusal names.

use crate::support::host::Host;
use crate::support::{Container, Dir, Ran, run};

/// A state with annotations, and the policy that allows most.
struct Attack {
    container: Container,
    /// Everything in the container's namespace at the start.
    before: String,
    dir: Dir,
    policy: String,
}

impl Attack {
    fn new() -> Attack {
        Attack::under("annotations = \"inline\"\n")
    }

    /// With lines of `[policy]`.
    fn under(rules: &str) -> Attack {
        let dir = Dir::new();
        let policy = dir.file("config.toml", &format!("format = 1\n[policy]\n{rules}"));
        let container = Container::new();
        Attack { before: container.everything(), container, dir, policy }
    }

    fn run(&self, annotations: &[(&str, &str)]) -> Ran {
        let quote = |text: &str| serde_json::to_string(text).expect("JSON");
        let pairs: Vec<_> = annotations.iter().map(|(k, v)| format!("{}:{}", quote(k), quote(v))).collect();
        let state = self.container.state(&format!(",\"annotations\":{{{}}}", pairs.join(",")));
        let profiles = self.dir.path().to_str().expect("text");
        run(&["--config", &self.policy, "--profiles-dir", profiles], state)
    }

    /// Refused in one printable line, with nothing changed in the container or the host.
    #[track_caller]
    fn refused(&self, annotations: &[(&str, &str)], code: i32, says: &str) {
        let host = host();
        let ran = self.run(annotations).expect(code).says(says);
        let line = ran.stderr.trim_end_matches('\n');
        assert!(line.chars().all(|c| !c.is_control()), "control characters in {line:?}");
        assert!(line.len() < 4096, "{} bytes", line.len());
        assert_eq!(ran.stdout, "");
        assert_eq!((&self.container.everything(), host), (&self.before, self::host()));
    }
}

/// What a terminal would obey, or not show, stays an escape of JSON; a reader gets the text as it was.
#[test]
fn reports_show_hostile_names_escaped() {
    let attack = Attack::new();
    let name = "/\u{9b}2J\u{202e}\u{61c}\u{e0041}\u{7f}ö";
    let value = serde_json::json!({ "mqueue": [{ "name": name, "owner": "0:0" }] }).to_string();
    let annotations = serde_json::json!({ OBJECTS: value });
    let state = attack.container.state(&format!(",\"annotations\":{annotations}"));
    let state = attack.dir.file("state.json", &state);
    let ran = run(&["plan", "--json", "--state", &state, "--config", &attack.policy], "").expect(10);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(report["steps"][0]["name"], name);
    assert!(ran.stdout.contains(r#"\u009b2J\u202e\u061c\udb40\udc41\u007fö"#), "{}", ran.stdout);
}

/// What must never change.
fn host() -> Vec<String> {
    let files = ["kernel/core_pattern", "kernel/msgmax", "kernel/sem", "kernel/shmmax", "fs/mqueue/msg_max"];
    files.map(|f| std::fs::read_to_string(format!("/proc/sys/{f}")).expect(f)).to_vec()
}

const PROFILE: &str = "io.oci-ipc-hook.profile";
const OBJECTS: &str = "io.oci-ipc-hook.objects";
const MSGMAX: &str = "io.oci-ipc-hook.sysctl.kernel.msgmax";

#[test]
fn names_of_profiles_are_no_paths() {
    let attack = Attack::new();
    attack.dir.file("good.toml", "format = 1\n[sysctl]\n\"kernel.msgmax\" = 9000\n");
    let long = "a".repeat(64);
    let says = "a profile's name is [a-z0-9][a-z0-9._-]{0,62}";
    for name in [
        "",
        " ",
        ",",
        "good,",
        ",good",
        "good,,good",
        "good, good",
        "Good",
        ".good",
        "-good",
        "../good",
        "good/../good",
        "/etc/passwd",
        "good\0",
        "good\n",
        "good\u{202e}",
        "göod",
        "good;id",
        "$(id)",
        "%s",
        "good.toml/",
        "..",
        ".",
        long.as_str(),
    ] {
        attack.refused(&[(PROFILE, name)], 2, says);
    }
    attack.refused(&[(PROFILE, &vec!["good"; 17].join(","))], 2, "more than 16 profiles");
    attack.refused(&[(PROFILE, &"a".repeat((64 << 10) + 1))], 2, "longer than 64 KiB");
    attack.refused(&[(PROFILE, &"a".repeat(64 << 10))], 2, says);
    attack.refused(&[(PROFILE, "missing")], 2, "profile missing: found no missing.toml in");
    attack.run(&[(PROFILE, &vec!["good"; 16].join(","))]).expect(0);
}

#[test]
fn values_of_sysctls_are_numbers_and_nothing_else() {
    let attack = Attack::new();
    let long = "9".repeat(70_000);
    // cr8escape (CVE-2022-0811): a '+' made one sysctl into two.
    for value in [
        "",
        " ",
        "9000+kernel.core_pattern=|/bin/sh",
        "9000\nkernel.core_pattern=x",
        "9000 9000",
        "9000,9000",
        "0x2328",
        "021450",
        "+9000",
        "-1",
        "9e3",
        "9000K",
        "9 000",
        "９０００",
        "NaN",
        "9000\0",
        "9000\u{0}",
        "'9000'",
        "$((9000))",
        ">=",
        ">= ",
        "> 9000",
        "=> 9000",
        ">= >= 9000",
        "<=-1",
        "2147483648",
        "18446744073709551616",
        "50%",
        "unlimited",
        "1 per GiB",
        "1e99999999",
        "9000;",
        "9000#",
        "9000=9000",
        ">= 9000\u{1b}[2J",
        &"9".repeat(300),
    ] {
        attack.refused(&[(MSGMAX, value)], 2, "annotation io.oci-ipc-hook.sysctl.kernel.msgmax: ");
    }
    attack.refused(&[(MSGMAX, &long)], 2, "longer than 64 KiB");
    attack.run(&[(MSGMAX, ">= 9000")]).expect(0);
    assert_eq!(attack.container.sh("cat /proc/sys/kernel/msgmax"), "9000\n");
}

#[test]
fn keys_are_ours_or_an_error() {
    let attack = Attack::new();
    let long = format!("io.oci-ipc-hook.{}", "x".repeat(300_000));
    for (key, says) in [
        ("io.oci-ipc-hook.", "not an annotation of io.oci-ipc-hook.*"),
        ("io.oci-ipc-hook.profile ", "did you mean 'io.oci-ipc-hook.profile'?"),
        ("io.oci-ipc-hook.Profile", "did you mean 'io.oci-ipc-hook.profile'?"),
        ("io.oci-ipc-hook.profile\n", "annotation io.oci-ipc-hook.profile\\n: not an annotation"),
        ("io.oci-ipc-hook.profile\u{1b}[1A\u{1b}[2K", "profile\\x1b[1A\\x1b[2K: not an annotation"),
        ("io.oci-ipc-hook.profile\u{202e}", "profile\\u{202e}: not an annotation"),
        ("io.oci-ipc-hook.sysctl.", "not a sysctl of an IPC namespace"),
        ("io.oci-ipc-hook.sysctl.kernel/msgmax", "not a sysctl"),
        ("io.oci-ipc-hook.sysctl.kernel.core_pattern", "not a sysctl of an IPC namespace"),
        ("io.oci-ipc-hook.sysctl.kernel.msg_next_id", "not a sysctl of an IPC namespace"),
        ("io.oci-ipc-hook.sysctl.fs.mqueue.../../kernel/core_pattern", "not a sysctl of an IPC namespace"),
        ("io.oci-ipc-hook.sysctl.kernel.shmmax\0", "not a sysctl"),
        ("io.oci-ipc-hook.sysctl.net.core.somaxconn", "not a sysctl of an IPC namespace"),
        ("io.oci-ipc-hook.policy.annotations", "not an annotation of"),
        (long.as_str(), "not an annotation of"),
    ] {
        attack.refused(&[(key, "9000")], 2, says);
    }
    // Not ours: nothing is asked.
    for key in
        ["io.oci-ipc-hook", "io.oci-ipc-hookx.profile", "IO.OCI-IPC-HOOK.profile", " io.oci-ipc-hook.profile", ""]
    {
        let ran = attack.run(&[(key, "x")]).expect(0);
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn objects_are_checked_key_by_key() {
    let attack = Attack::new();
    let deep = format!("{{\"shm\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    let keys: Vec<_> = (0..200).map(|n| format!("\"k{n}\":1")).collect();
    let wide = format!("{{\"shm\":[{{{}}}]}}", keys.join(","));
    for json in [
        "",
        "null",
        "[]",
        "1",
        "\"x\"",
        "{",
        "{}{}",
        "{\"shm\":{}}",
        "{\"shm\":[1]}",
        "{\"shn\":[]}",
        "{\"shm\":[{}]}",
        r#"{"shm":[{"key":1}]}"#,
        r#"{"shm":[{"size":1}]}"#,
        r#"{"shm":[{"key":0,"size":1}]}"#,
        r#"{"shm":[{"key":"IPC_PRIVATE","size":1}]}"#,
        r#"{"shm":[{"key":4294967296,"size":1}]}"#,
        r#"{"shm":[{"key":-2147483649,"size":1}]}"#,
        r#"{"shm":[{"key":1,"size":0}]}"#,
        r#"{"shm":[{"key":1,"size":-1}]}"#,
        r#"{"shm":[{"key":1,"size":1.5}]}"#,
        r#"{"shm":[{"key":1,"size":"1EiB"}]}"#,
        r#"{"shm":[{"key":1,"size":1,"mode":"4755"}]}"#,
        r#"{"shm":[{"key":1,"size":1,"mode":777}]}"#,
        r#"{"shm":[{"key":1,"size":1,"mode":"0999"}]}"#,
        r#"{"shm":[{"key":1,"size":1,"owner":"root"}]}"#,
        r#"{"shm":[{"key":1,"size":1,"owner":"4294967295:0"}]}"#,
        r#"{"shm":[{"key":1,"size":1,"owner":"0:0:0"}]}"#,
        r#"{"shm":[{"key":1,"size":1,"if-exists":"replace"}]}"#,
        r#"{"shm":[{"key":1,"size":1,"path":"/etc"}]}"#,
        r#"{"shm":[{"key":1,"key":2,"size":1}]}"#,
        r#"{"shm":[],"shm":[]}"#,
        r#"{"sem":[{"key":1,"nsems":0}]}"#,
        r#"{"sem":[{"key":1,"values":[32768]}]}"#,
        r#"{"sem":[{"key":1,"values":[-1]}]}"#,
        r#"{"sem":[{"key":1,"values":[]}]}"#,
        r#"{"sem":[{"key":1,"nsems":1,"values":[1,2]}]}"#,
        r#"{"mqueue":[{"name":"q"}]}"#,
        r#"{"mqueue":[{"name":"/"}]}"#,
        r#"{"mqueue":[{"name":"/."}]}"#,
        r#"{"mqueue":[{"name":"/.."}]}"#,
        r#"{"mqueue":[{"name":"/a/b"}]}"#,
        r#"{"mqueue":[{"name":"/a\u0000b"}]}"#,
        r#"{"mqueue":[{"name":"/q","max-messages":0}]}"#,
        r#"{"mqueue":[{"name":"/q","message-size":-5}]}"#,
        r#"{"msg":[{"key":1,"max-bytes":18446744073709551616}]}"#,
        deep.as_str(),
        wide.as_str(),
    ] {
        attack.refused(&[(OBJECTS, json)], 2, "annotation io.oci-ipc-hook.objects");
    }
    let long = format!("{{\"mqueue\":[{{\"name\":\"/{}\"}}]}}", "q".repeat(256));
    attack.refused(&[(OBJECTS, &long)], 2, "annotation io.oci-ipc-hook.objects");
    // A name may hold anything else; it is shown escaped.
    let json = r#"{"mqueue":[{"name":"/a\n\u001b[2J","owner":"0:0","max-messages":11}]}"#;
    attack.refused(&[(OBJECTS, json)], 1, "mqueue /a\\n\\x1b[2J: wanted 11, found fs.mqueue.msg_max = 10");
}

#[test]
fn denied_requests_name_rule_file_and_line() {
    let container_writes = [(MSGMAX, "9000")];
    let profile = [(PROFILE, "db")];
    let attack = Attack::under("annotations = \"none\"\n");
    let rule = |line: u32, name: &str, attack: &Attack| format!("(rule {name}, {}:{line})", attack.policy);
    attack.refused(&profile, 3, &rule(3, "policy.annotations", &attack));
    attack.refused(&container_writes, 3, &rule(3, "policy.annotations", &attack));

    let attack = Attack::under("lower-in-shared = true\nallowed-profiles = [\"mq\", \"team-*\"]\n");
    attack.refused(&profile, 3, &rule(4, "policy.allowed-profiles", &attack));
    attack.refused(&profile, 3, "profile db: wanted db, found allowed-profiles = [mq, team-*]: not one of the allowed");
    attack.refused(&container_writes, 3, "(rule policy.annotations, built-in default)");
    attack.dir.file("mq.toml", "format = 1\n[sysctl]\n\"kernel.msgmax\" = 9000\n");
    attack.dir.file("team-a.toml", "format = 1\n[sysctl]\n\"kernel.msgmnb\" = 20000\n");
    attack.run(&[(PROFILE, "mq,team-a")]).expect(0);
    assert_eq!(attack.container.sh("cat /proc/sys/kernel/msgmax /proc/sys/kernel/msgmnb"), "9000\n20000\n");

    let attack = Attack::under(
        "annotations = \"inline\"\n[policy.ceiling]\nobjects = 1\n\"kernel.msgmax\" = 8999\n\"kernel.sem\" = \"denied\"\nshm-bytes = 4096\nkernel-memory = \"4KiB\"\n",
    );
    attack.refused(&container_writes, 3, &rule(6, "policy.ceiling.\"kernel.msgmax\"", &attack));
    attack.refused(
        &[("io.oci-ipc-hook.sysctl.kernel.sem", "1 1 1 1")],
        3,
        &rule(7, "policy.ceiling.\"kernel.sem\"", &attack),
    );
    let objects = |json: &'static str| [(OBJECTS, json)];
    let two = r#"{"msg":[{"key":1,"owner":"0:0"},{"key":2,"owner":"0:0"}]}"#;
    attack.refused(&objects(two), 3, &rule(5, "policy.ceiling.objects", &attack));
    let large = r#"{"shm":[{"key":1,"size":4097,"owner":"0:0"}]}"#;
    attack.refused(&objects(large), 3, &rule(8, "policy.ceiling.shm-bytes", &attack));
    let dear = r#"{"sem":[{"key":1,"nsems":100,"owner":"0:0"}]}"#;
    attack.refused(&objects(dear), 3, &rule(9, "policy.ceiling.kernel-memory", &attack));
    attack.run(&objects(r#"{"shm":[{"key":1,"size":4096,"owner":"0:0"}]}"#)).expect(0);
}

/// The same key twice, in whatever way JSON lets it be written: what is checked is what is done.
#[test]
fn a_key_twice_does_not_slip_past_the_policy() {
    let attack = Attack::under("allowed-profiles = [\"good\"]\n");
    attack.dir.file("good.toml", "format = 1\n[sysctl]\n\"kernel.msgmax\" = 9000\n");
    attack.dir.file("evil.toml", "format = 1\n[sysctl]\n\"kernel.msgmnb\" = 99\n");
    let profiles = attack.dir.path().to_str().expect("text");
    for (first, second) in [("good", "evil"), ("evil", "good")] {
        let pairs = format!(r#"{{"{PROFILE}":"{first}","\u0069o.oci-ipc-hook.profile":"{second}"}}"#);
        let state = attack.container.state(&format!(",\"annotations\":{pairs}"));
        run(&["--config", &attack.policy, "--profiles-dir", profiles], state);
        assert_eq!(attack.container.sh("cat /proc/sys/kernel/msgmnb"), "16384\n", "{first} {second}");
    }
}

/// The container's id and bundle come from the runtime, but a user may have chosen them.
#[test]
fn hostile_ids_and_bundles_stay_in_their_line() {
    let (host, container, dir) = (Host::new(), Container::new(), Dir::new());
    let profile = dir.profile("[sysctl]\n\"kernel.msgmax\" = 9000\n");
    let state = |id: &str, bundle: &str| {
        let quote = |text: &str| serde_json::to_string(text).expect("JSON");
        format!(r#"{{"id":{},"status":"creating","pid":{},"bundle":{}}}"#, quote(id), container.pid(), quote(bundle))
    };
    for bundle in ["relative", "/nowhere\n\u{1b}[2J", "/proc/self/environ", "/dev", "/\0", &"/x".repeat(3000)] {
        let ran = host.hook(&["--profile-file", &profile], &state("a\nb\u{1b}]0;x\u{7}", bundle));
        assert_eq!(ran.code, Some(2), "{bundle:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("oci-ipc-hook: a\\nb\\x1b]0;x\\x07: "), "{}", ran.stderr);
        assert!(ran.stderr.trim_end_matches('\n').chars().all(|c| !c.is_control()), "{:?}", ran.stderr);
    }
    // config.json as a link into the host.
    let bundle = Dir::new();
    std::os::unix::fs::symlink("/etc/passwd", bundle.path().join("config.json")).expect("a link");
    let ran = host.hook(&["--profile-file", &profile], &state("x", bundle.path().to_str().expect("text")));
    ran.expect(2).says("is reached through a symbolic link");
    assert_eq!(container.sh("cat /proc/sys/kernel/msgmax"), "8192\n");
}
