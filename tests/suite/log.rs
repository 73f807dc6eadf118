//! The event of a run, as it reaches sockets that play journald and a syslog daemon.

use crate::support::{Container, Dir, Ran, binary, is_root, run_command, skip};
use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

/// A `/run` and a `/dev` of the run's own, in which the sockets stand or do not.
struct Daemons {
    dir: Dir,
}

impl Daemons {
    fn new() -> Daemons {
        let dir = Dir::new();
        std::fs::create_dir_all(dir.path().join("run/systemd/journal")).expect("run");
        std::fs::create_dir(dir.path().join("dev")).expect("dev");
        Daemons { dir }
    }

    fn listen(&self, at: &str) -> UnixDatagram {
        let socket = UnixDatagram::bind(self.dir.path().join(at)).expect("a socket");
        socket.set_nonblocking(true).expect("non-blocking");
        socket
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn hook(&self, profile: &str, state: &str) -> Ran {
        self.run(&["--profile-file", profile], state)
    }

    fn run(&self, args: &[&str], state: &str) -> Ran {
        let at = self.path().display();
        let script = format!("mount --bind {at}/run /run && mount --bind {at}/dev /dev && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]).arg(binary()).args(args);
        run_command(command, state)
    }
}

/// What has arrived; nothing is waited for, because the hook has ended.
fn received(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = vec![0; 1 << 16];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8(buffer[..length].to_vec()).expect("text"))
}

/// journald's own rules for its native protocol: `KEY=value` lines, keys of capitals, digits and `_`.
fn fields(datagram: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut fields: BTreeMap<_, Vec<_>> = BTreeMap::new();
    assert!(datagram.ends_with('\n'), "{datagram:?}");
    for line in datagram.lines() {
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no field: {line:?}"));
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        assert!(key.starts_with(|c: char| c.is_ascii_uppercase()) && key.chars().all(plain), "{line:?}");
        fields.entry(key).or_default().push(value);
    }
    fields
}

const GOOD: &str =
    "[sysctl]\n\"kernel.msgmax\" = 65536\n\"kernel.msgmnb\" = 131072\n[[sem]]\nkey = 9\nnsems = 2\nowner = \"0:0\"\n";
const BAD: &str = "[[shm]]\nkey = 9\nsize = \"16EiB\"\nowner = \"0:0\"\n";
const TOO_LARGE: &str = "[sysctl]\n\"kernel.shmmax\" = \"<= 4096\"\n[[shm]]\nkey = 9\nsize = 8192\nowner = \"0:0\"\n";

#[test]
fn journald_gets_a_field_for_everything() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let (container, daemons, dir) = (Container::new(), Daemons::new(), Dir::new());
    let journal = daemons.listen("run/systemd/journal/socket");
    let syslog = daemons.listen("dev/log");
    daemons.hook(&dir.profile(GOOD), &container.state("")).expect(0);
    let datagram = received(&journal).expect("an event");
    let got = fields(&datagram);
    let one = |key: &str| match got.get(key).map(Vec::as_slice) {
        Some([value]) => *value,
        other => panic!("{key}: {other:?} in {datagram}"),
    };
    assert_eq!(one("CONTAINER_ID"), "test");
    assert_eq!(one("OUTCOME"), "done");
    assert_eq!(one("PRIORITY"), "6");
    assert_eq!(one("SYSLOG_IDENTIFIER"), "oci-ipc-hook");
    let ino = std::fs::read_link(format!("/proc/{}/ns/ipc", container.pid())).expect("a link");
    assert_eq!(format!("ipc:[{}]", one("IPC_NS")), ino.to_string_lossy());
    assert!(one("DURATION_USEC").parse::<u64>().is_ok_and(|n| n > 0), "{datagram}");
    assert!(one("MESSAGE").starts_with("test: 2 sysctls set, 1 objects created"), "{datagram}");
    let expected = [
        "kernel.msgmax 8192 -> 65536",
        "kernel.msgmnb 16384 -> 131072",
        "create sem 0x00000009: nsems 2, mode 0600, owner 0:0",
    ];
    assert_eq!(got["CHANGE"], expected);
    assert_eq!(received(&journal), None, "one event for one run");
    assert_eq!(received(&syslog), None, "syslog is for machines without journald");
}

#[test]
fn a_failure_is_an_error_with_its_exit_status() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let (container, daemons, dir) = (Container::new(), Daemons::new(), Dir::new());
    let journal = daemons.listen("run/systemd/journal/socket");
    let ran = daemons.hook(&dir.profile(TOO_LARGE), &container.state("")).expect(1);
    let datagram = received(&journal).expect("an event");
    let got = fields(&datagram);
    assert_eq!((got["PRIORITY"][0], got["OUTCOME"][0], got["EXIT_STATUS"][0]), ("3", "refused", "1"), "{datagram}");
    assert_eq!(format!("oci-ipc-hook: {}\n", got["MESSAGE"][0]), ran.stderr, "the log says what stderr says");
    assert!(!got.contains_key("CHANGE"), "nothing was changed: {datagram}");
    daemons.hook(&dir.profile(BAD), &container.state("")).expect(2);
    let datagram = received(&journal).expect("an event");
    assert_eq!(fields(&datagram)["EXIT_STATUS"], ["2"], "{datagram}");
}

/// As the NRI plugin calls it for a pod without pause process.
#[test]
fn apply_for_a_container_is_logged_as_the_hook_is() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let (container, daemons, dir) = (Container::new(), Daemons::new(), Dir::new());
    let journal = daemons.listen("run/systemd/journal/socket");
    let ns = format!("/proc/{}/ns/ipc", container.pid());
    for (profile, code, outcome) in [(GOOD, 0, "done"), (TOO_LARGE, 3, "refused")] {
        let profile = dir.profile(profile);
        daemons
            .run(&["apply", "--ns", &ns, "--state", "-", "--profile-file", &profile], r#"{"id":"pod1"}"#)
            .expect(code);
        let datagram = received(&journal).expect("an event");
        let got = fields(&datagram);
        assert_eq!((got["CONTAINER_ID"][0], got["OUTCOME"][0]), ("pod1", outcome), "{datagram}");
        let ino = std::fs::read_link(&ns).expect("a link");
        assert_eq!(format!("ipc:[{}]", got["IPC_NS"][0]), ino.to_string_lossy());
    }
    let profile = dir.profile(GOOD);
    daemons.run(&["apply", "--ns", &ns, "--profile-file", &profile], "").expect(0);
    assert_eq!(received(&journal), None, "a person who asks has the answer");
}

#[test]
fn hostile_text_makes_no_fields() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let (container, daemons, dir) = (Container::new(), Daemons::new(), Dir::new());
    let journal = daemons.listen("run/systemd/journal/socket");
    let state = container.state("").replace("\"test\"", "\"x\\nPRIORITY=0\\nFAKE=1\"");
    daemons.hook(&dir.profile(GOOD), &state).expect(0);
    let datagram = received(&journal).expect("an event");
    let got = fields(&datagram);
    assert_eq!(got["PRIORITY"], ["6"], "{datagram}");
    assert!(!got.contains_key("FAKE"), "{datagram}");
}

#[test]
fn syslog_takes_over_without_journald() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let (container, daemons, dir) = (Container::new(), Daemons::new(), Dir::new());
    let syslog = daemons.listen("dev/log");
    daemons.hook(&dir.profile(GOOD), &container.state("")).expect(0);
    let line = received(&syslog).expect("an event");
    // Facility daemon (3), severity info (6): 3 * 8 + 6.
    let rest = line.strip_prefix("<30>oci-ipc-hook[").unwrap_or_else(|| panic!("{line}"));
    let (pid, message) = rest.split_once("]: ").expect("a message");
    assert!(pid.parse::<u32>().is_ok(), "{line}");
    assert!(message.starts_with("test: 2 sysctls set"), "{line}");
    daemons.hook(&dir.profile(TOO_LARGE), &container.state("")).expect(1);
    assert!(received(&syslog).is_some_and(|l| l.starts_with("<27>") && l.contains("kernel.shmmax")));
}

#[test]
fn a_daemon_that_does_not_read_holds_nobody_up() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let (container, daemons, dir) = (Container::new(), Daemons::new(), Dir::new());
    let journal = daemons.listen("run/systemd/journal/socket");
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.set_nonblocking(true).expect("non-blocking");
    while sender.send_to(&[b'x'; 1000], daemons.path().join("run/systemd/journal/socket")).is_ok() {}
    let syslog = daemons.listen("dev/log");
    daemons.hook(&dir.profile(GOOD), &container.state("")).expect(0);
    assert!(received(&syslog).is_some(), "what journald does not take goes to syslog");
    drop(journal);
}

#[test]
fn with_neither_a_failure_leaves_a_record() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let (container, daemons, dir) = (Container::new(), Daemons::new(), Dir::new());
    dir.file("config.json", r#"{"linux":{"namespaces":[{"type":"ipc"}]}}"#);
    let bundle = format!(r#","bundle":"{}""#, dir.path().display());
    let ran = daemons.hook(&dir.profile(TOO_LARGE), &container.state(&bundle)).expect(1);
    let failed = daemons.path().join("run/oci-ipc-hook/failed");
    let files: Vec<_> = std::fs::read_dir(failed).expect("failures").flatten().map(|e| e.path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(&files[0]).expect("a record")).expect("JSON");
    let message = record["report"]["error"]["message"].as_str().expect("a message");
    assert_eq!(ran.stderr, format!("oci-ipc-hook: test: {message}\n"));
}
