//! `doctor`, and the way of a newcomer from an error message to its cure.

use crate::support::{Container, Dir, Ran, as_user, binary, is_root, run, run_command, skip};
use serde_json::Value;
use std::process::Command;

/// All findings, each with its section; the exit status is what they call for.
fn findings(args: &[&str]) -> Vec<(String, Value)> {
    judged(&run(&[&["doctor", "--json"], args].concat(), ""))
}

fn judged(ran: &Ran) -> Vec<(String, Value)> {
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

/// A machine with other `/etc`, `/usr/share`, `/run` and `/dev`; root's.
pub struct Machine {
    dir: Dir,
}

impl Machine {
    pub fn new() -> Machine {
        let machine = Machine { dir: Dir::new() };
        for below in ["etc", "share", "run", "dev"] {
            std::fs::create_dir(machine.dir.path().join(below)).expect("a directory");
        }
        // Redirections of shells want it.
        machine.file("dev/null", "");
        machine
    }

    pub fn file(&self, path: &str, text: &str) -> String {
        let at = self.dir.path().join(path);
        std::fs::create_dir_all(at.parent().expect("a directory")).expect("directories");
        self.dir.file(path, text)
    }

    /// The binary on that machine.
    pub fn run(&self, args: &[&str]) -> Ran {
        let script = "for d in etc run dev; do mount --bind \"$0/$d\" /$d || exit 99; done
            mount --bind \"$0/share\" /usr/share && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(self.dir.path());
        command.arg(binary()).args(args);
        run_command(command, "")
    }

    fn findings(&self, args: &[&str]) -> Vec<(String, Value)> {
        judged(&self.run(&[&["doctor", "--json"], args].concat()))
    }
}

/// Level, and what was found with the remedy.
fn said(finding: &Value) -> (&str, String) {
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    (finding["level"].as_str().expect("a level"), format!("{} -> {}", text("found"), text("remedy")))
}

#[track_caller]
fn says(all: &[(String, Value)], section: &str, what: &str, level: &str, words: &str) {
    let found = about(all, section, what);
    let fits = |f: &&Value| said(f).0 == level && said(f).1.contains(words);
    assert!(found.iter().any(fits), "no {level} '{words}' of {what} in {all:#?}");
}

#[test]
fn a_broken_installation_is_seen() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let machine = Machine::new();
    let bare = machine.findings(&[]);
    says(&bare, "installation", "policy", "ok", "is not there: annotations may name any installed profile");
    says(&bare, "installation", "profiles", "warning", "none in /etc/oci-ipc-hook/profiles.d or /usr/share");
    says(&bare, "installation", "log", "warning", "neither journald nor syslog listens");
    assert!(about(&bare, "installation", "failed runs").is_empty());

    let good = "format = 1\n[sysctl]\n\"kernel.msgmax\" = 9000\n";
    machine.file("etc/oci-ipc-hook/config.toml", "format = 1\n[policy]\non-error = \"wran\"\n");
    machine.file("etc/oci-ipc-hook/profiles.d/mine.toml", good);
    machine.file("share/oci-ipc-hook/profiles.d/mine.toml", "hidden by the one above");
    machine.file("share/oci-ipc-hook/profiles.d/db.toml", good);
    machine.file("share/oci-ipc-hook/profiles.d/bad.toml", "format = 1\n[sysctl]\n\"kernel.msgmx\" = 1\n");
    machine.file("share/oci-ipc-hook/profiles.d/Name.toml", good);
    machine.file("run/oci-ipc-hook/failed/web-1.json", "{}");
    let _syslog = std::os::unix::net::UnixDatagram::bind(machine.dir.path().join("dev/log")).expect("a socket");
    let broken = machine.findings(&[]);
    says(&broken, "installation", "policy", "problem", "/etc/oci-ipc-hook/config.toml:3:12: policy.on-error");
    says(&broken, "installation", "profiles", "ok", "2 are valid");
    says(&broken, "installation", "profile bad", "problem", "did you mean 'kernel.msgmax'?");
    let name = "/usr/share/oci-ipc-hook/profiles.d/Name.toml";
    says(&broken, "installation", name, "warning", "a profile's name is [a-z0-9]");
    says(&broken, "installation", "failed runs", "warning", "1 are recorded in /run/oci-ipc-hook/failed");
    says(&broken, "installation", "log", "ok", "syslog");

    machine.file("etc/oci-ipc-hook/config.toml", "format = 1\n");
    std::fs::create_dir_all(machine.dir.path().join("run/systemd/journal")).expect("directories");
    let journal = machine.dir.path().join("run/systemd/journal/socket");
    let _journal = std::os::unix::net::UnixDatagram::bind(journal).expect("a socket");
    let better = machine.findings(&[]);
    says(&better, "installation", "policy", "ok", "/etc/oci-ipc-hook/config.toml is valid");
    says(&better, "installation", "log", "ok", "journald");
}

#[test]
fn what_cannot_work_here_is_a_problem() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let dir = Dir::new();
    let program = dir.path().join("hook");
    std::fs::copy(binary(), &program).expect("a copy");
    let script = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$0\" doctor --json";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(&program);
    says(&judged(&run_command(command, "")), "kernel", "sysctls", "problem", "/proc/sys is mounted read-only here");

    // A process of the user in a namespace that root made: seen, but not to be joined.
    let mut command = Command::new("unshare");
    command.args(["--ipc", "setpriv", "--reuid", "61250", "--regid", "61250", "--clear-groups"]);
    command.args(["sh", "-c", "echo ready; exec cat >/dev/null"]);
    let _container = Container::start(command);
    let mut command = as_user(61_250, &program);
    command.args(["doctor", "--json"]);
    let user = judged(&run_command(command, ""));
    says(&user, "privileges", "capabilities", "unknown", "uid 61250: for one's own rootless containers this is enough");
    says(&user, "namespaces", "limits", "unknown", "may not be looked at from here -> run doctor as root");

    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o777)).expect("a mode");
    let mut command = Command::new(&program);
    command.args(["doctor", "--json"]);
    let open = judged(&run_command(command, ""));
    says(&open, "installation", "program", "problem", "with mode 0777: others can change what runs as root");
}

/// Whether hooks.d files, which are read and not guessed, would call the hook for a container.
#[test]
fn hooks_d_is_held_against_the_container() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let machine = Machine::new();
    let hook = |when: &str, args: &str| {
        format!(
            r#"{{"version":"1.0.0","hook":{{"path":"/usr/libexec/oci/hooks.d/oci-ipc-hook","args":["oci-ipc-hook"{args}]}},
            "when":{{{when}}},"stages":["createRuntime"]}}"#
        )
    };
    let profile = "format = 1\n[sysctl]\n\"kernel.msgmax\" = 9000\n[[sem]]\nkey = 1\nnsems = 1\n";
    machine.file("share/oci-ipc-hook/profiles.d/db.toml", profile);
    machine.file("share/oci-ipc-hook/profiles.d/other.toml", profile);
    machine.file("etc/oci-ipc-hook/config.toml", "format = 1\n[policy]\nallowed-profiles = [\"db\", \"none\"]\n");
    let ours = "/usr/share/containers/oci/hooks.d/50-ours.json";
    machine.file(
        "share/containers/oci/hooks.d/50-ours.json",
        &hook(r#""annotations":{"^io\\.oci-ipc-hook\\.":".*"}"#, ""),
    );
    machine.file(
        "share/containers/oci/hooks.d/60-other.json",
        &hook(r#""always":true"#, "").replace("oci-ipc-hook", "nvidia"),
    );
    let asked = |value: &str| machine.findings(&["--annotation", &format!("io.oci-ipc-hook.profile={value}")]);

    let good = asked("db");
    says(&good, "container", ours, "ok", "would call the hook for this container");
    says(&good, "container", "request", "ok", "profile db; 1 sysctls, 1 objects");
    assert!(about(&good, "container", "container").is_empty(), "{good:#?}");
    assert_eq!(
        good.iter().filter(|(s, f)| s == "container" && f["what"] != "request").count(),
        1,
        "not the other hook"
    );

    says(&asked("none"), "container", "request", "problem", "found no none.toml in");
    says(&asked("other"), "container", "request", "problem", "rule policy.allowed-profiles");

    let plain = machine.findings(&["--annotation", "a=b"]);
    says(&plain, "container", ours, "warning", "would not call the hook for this container");
    says(&plain, "container", "container", "problem", "nothing would call the hook for it");
    says(&plain, "container", "request", "warning", "nothing is asked for: the hook does nothing");

    // A condition about mounts is answered by the bundle's config.json.
    machine
        .file("share/containers/oci/hooks.d/50-ours.json", &hook(r#""hasBindMounts":true"#, r#","--profile","other""#));
    for (mount, called) in [
        (r#"{"destination":"/d","type":"bind"}"#, true),
        (r#"{"destination":"/d","options":["ro","rbind"]}"#, true),
        (r#"{"destination":"/d","type":"tmpfs","options":["ro"]}"#, false),
    ] {
        let config =
            format!(r#"{{"ociVersion":"1.0.2","linux":{{"namespaces":[{{"type":"ipc"}}]}},"mounts":[{mount}]}}"#);
        let bundle = machine.file("bundle/config.json", &config);
        let all = machine.findings(&["--bundle", bundle.strip_suffix("/config.json").expect("its name")]);
        let level = if called { "ok" } else { "warning" };
        says(&all, "container", ours, level, "would");
    }

    // With a profile in its arguments the file asks by itself.
    machine.file("share/containers/oci/hooks.d/50-ours.json", &hook(r#""always":true"#, r#","--profile","other""#));
    let always = machine.findings(&["--annotation", "a=b"]);
    says(&always, "container", ours, "ok", "would call the hook for this container");
    says(&always, "container", "request", "ok", "profile other; 1 sysctls, 1 objects");
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
