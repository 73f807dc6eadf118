//! A host's namespace, a container's, and the run of the hook between them.

use crate::support::{Dir, Ran, binary, run_command};
use crate::trace::Call;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Whose container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Root's, without a user namespace.
    Root,
    /// Root's, its user namespace maps 0 to 100000.
    UserNamespace,
    /// That of an ordinary user, who runs the hook too.
    Rootless,
}

/// The ordinary user.
const USER: &str = "61234";

/// All 13 sysctls and one object of each kind and owner; `{a}` to `{d}` are owners.
const PROFILE: &str = r#"
[sysctl]
"kernel.msgmax" = 65536
"kernel.msgmnb" = 131072
"kernel.msgmni" = 1000
"kernel.sem" = "250 256000 100 1024"
"kernel.shmall" = "8GiB"
"kernel.shmmax" = "1GiB"
"kernel.shmmni" = 8000
"kernel.shm_rmid_forced" = 0
"fs.mqueue.msg_max" = 256
"fs.mqueue.msg_default" = 16
"fs.mqueue.msgsize_max" = 16384
"fs.mqueue.msgsize_default" = 4096
"fs.mqueue.queues_max" = 300
[[shm]]
key = "0x4d510001"
size = "64MiB"
mode = "0660"
owner = "{a}"
[[sem]]
key = 0x5101
values = [1, 0, 5]
owner = "{b}"
[[msg]]
key = 0x77
max-bytes = "64KiB"
owner = "{c}"
[[mqueue]]
name = "/orders"
max-messages = 64
message-size = "1KiB"
owner = "{d}"
[[shm]]
key = 1
size = 4096
"#;

/// What is there before: values other than the kernel's defaults, an object to keep and objects of others.
const BEFORE: &str = r#"
[sysctl]
"kernel.msgmax" = 9000
"kernel.sem" = "300 400000 200 2000"
"fs.mqueue.msg_max" = 20
[[shm]]
key = 1
size = 4096
owner = "0:0"
[[sem]]
key = 99
values = [7]
owner = "0:0"
[[msg]]
key = 98
owner = "0:0"
[[mqueue]]
name = "/other"
owner = "0:0"
"#;

/// Processes that hold a namespace each, and all that a run needs.
pub struct Stage {
    variant: Variant,
    dir: Dir,
    host: Holder,
    container: Holder,
    host_watcher: Watcher,
    watcher: Watcher,
    journal: UnixDatagram,
    /// Everything in the container's namespace before a run.
    pub before: String,
    host_before: String,
}

impl Stage {
    /// `None`, said aloud, where it cannot be set.
    pub fn set(variant: Variant) -> Option<Stage> {
        let missing = if !crate::support::is_root() {
            "root"
        } else if Command::new("strace").arg("-V").output().is_err() {
            "strace(1)"
        } else {
            let dir = Dir::new();
            let host = Holder::host(&dir);
            let journal = UnixDatagram::bind(dir.path().join("run/systemd/journal/socket")).expect("a socket");
            journal.set_nonblocking(true).expect("non-blocking");
            open_to_all(&dir);
            let owners = match variant {
                Variant::Rootless => ["0:0"; 4],
                _ => ["0:0", "1001:0", "1001:1002", "1003:1002"],
            };
            let text =
                ["{a}", "{b}", "{c}", "{d}"].iter().zip(owners).fold(PROFILE.to_owned(), |t, (k, v)| t.replace(k, v));
            dir.profile(&text);
            dir.file("before.toml", &format!("format = 1\n{BEFORE}"));
            dir.file("config.json", r#"{"ociVersion":"1.0.2","process":{"user":{"uid":0,"gid":0}},"linux":{"namespaces":[{"type":"ipc"}],"sysctl":{}}}"#);
            let container = Holder::container(variant);
            let host_watcher = Watcher::start(host.pid(), &dir);
            let watcher = Watcher::start(container.pid(), &dir);
            let (before, host_before) = (String::new(), String::new());
            let mut stage =
                Stage { variant, dir, host, container, host_watcher, watcher, journal, before, host_before };
            stage.prepare();
            return Some(stage);
        };
        assert!(std::env::var_os("OCI_IPC_HOOK_REQUIRE").is_none(), "{missing} is missing");
        println!("skipped: faults as {variant:?}: needs {missing}");
        None
    }

    /// A new container, in the same state as the one before.
    pub fn renew(&mut self) {
        self.container = Holder::container(self.variant);
        self.watcher = Watcher::start(self.container.pid(), &self.dir);
        self.prepare();
    }

    fn prepare(&mut self) {
        let (pid, file) = (self.container.pid().to_string(), self.path("before.toml"));
        let mut command = self.enter();
        command.arg(binary()).args(["apply", "--pid", &pid, "--profile-file", &file]);
        run_command(command, "").expect(0);
        self.before = self.everything();
        self.host_before = self.host_everything();
    }

    /// One run of the hook under strace with these options; what it logged is thrown away.
    pub fn run(&self, strace: &[String]) -> Ran {
        let state = format!(
            r#"{{"ociVersion":"1.0.2","id":"test","status":"creating","pid":{},"bundle":"{}"}}"#,
            self.container.pid(),
            self.dir.path().display()
        );
        let mut command = self.enter();
        command.args(["timeout", "20", "strace", "-f", "-qq", "-o", &self.path("trace")]).args(strace);
        command.arg(binary()).args(["hook", "--profile-file", &self.path("profile.toml")]);
        let ran = run_command(command, state);
        assert_ne!(ran.code, Some(124), "the run hangs with {strace:?}");
        ran
    }

    /// The system calls of a run that nothing disturbs, and what it leaves behind.
    pub fn rehearse(&mut self) -> (Vec<Call>, String) {
        self.run(&[]).expect(0);
        let calls = crate::trace::parse(&std::fs::read_to_string(self.path("trace")).expect("a trace"));
        let done = self.outcome();
        assert_ne!(done, outcome_of(&self.before));
        self.events();
        self.renew();
        (calls, done)
    }

    /// Into the namespace that stands for the host's, with a private /run, as who runs the hook.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        // Cargo's own, which would only lengthen the way to the libraries.
        command.env_remove("LD_LIBRARY_PATH");
        command.args(["--target", &self.host.pid().to_string(), "--ipc", "--mount", "--"]);
        if self.variant == Variant::Rootless {
            command.args(["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"]);
        }
        command
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("text").to_owned()
    }

    /// Every sysctl, object and queue of the container's namespace, with times and ids.
    pub fn everything(&mut self) -> String {
        self.watcher.look()
    }

    /// The same without what differs between two runs that do the same.
    pub fn outcome(&mut self) -> String {
        outcome_of(&self.everything()) + &self.details()
    }

    /// Semaphores' values and queues' limits, which /proc does not show.
    fn details(&self) -> String {
        let script = "for id in $(awk 'FNR > 1 {print $2}' /proc/sysvipc/sem); do ipcs -s -i $id | grep -v -e time -e semid; done; \
                      for id in $(awk 'FNR > 1 {print $2}' /proc/sysvipc/msg); do ipcs -q -i $id | grep qbytes; done";
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.container.pid().to_string(), "--ipc", "sh", "-c", script]);
        // The last column of a semaphore's line is the process that used it last.
        run_command(command, "").expect(0).stdout.lines().fold(String::new(), |mut all, line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let shown = if words.len() == 5 { &words[..4] } else { &words[..] };
            let _ = writeln!(all, "{}", shown.join(" "));
            all
        })
    }

    /// Everything outside the container's namespace that a hook could touch.
    fn host_everything(&mut self) -> String {
        let real = std::fs::read_to_string("/proc/sys/kernel/sem").expect("sem")
            + &std::fs::read_to_string("/proc/sys/kernel/msgmax").expect("msgmax");
        self.host_watcher.look() + &real + &self.files()
    }

    /// The files of the run's directory and of /run, but the trace.
    fn files(&self) -> String {
        let mut all = Vec::new();
        list(self.dir.path(), &mut all);
        all.sort();
        all.join("\n")
    }

    /// Panics when anything but the container's namespace has changed.
    #[track_caller]
    pub fn host_is_untouched(&mut self, what: &str) {
        assert_eq!(self.host_everything(), self.host_before, "{what}: the host has changed");
    }

    /// The events that were logged since the last call.
    pub fn events(&self) -> Vec<String> {
        let mut buffer = vec![0; 1 << 16];
        std::iter::from_fn(|| {
            let length = self.journal.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        })
        .collect()
    }
}

/// A shell in an IPC namespace that prints all of it on demand: it takes a thousand looks, so none may cost much.
struct Watcher {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Watcher {
    fn start(pid: u32, dir: &Dir) -> Watcher {
        let script = "mount -t mqueue mqueue mnt && while read -r line; do grep -H . /proc/sys/kernel/msgmax \
            /proc/sys/kernel/msgmnb /proc/sys/kernel/msgmni /proc/sys/kernel/sem /proc/sys/kernel/shm* \
            /proc/sys/fs/mqueue/* /proc/sysvipc/* && ls -ln --time-style=+%s mnt && echo end; done";
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid.to_string(), "--ipc", "unshare", "--mount", "sh", "-c", script]);
        let mut child =
            command.current_dir(dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nsenter(1)");
        let output = BufReader::new(child.stdout.take().expect("stdout"));
        Watcher { child, output }
    }

    fn look(&mut self) -> String {
        self.child.stdin.as_mut().expect("stdin").write_all(b"\n").expect("a line");
        let mut all = String::new();
        while !all.ends_with("end\n") {
            assert_ne!(self.output.read_line(&mut all).expect("a line"), 0, "the watcher ended after: {all}");
        }
        all
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Process numbers and times become "no" or "yes": 0 or not. Ids say how many objects there were before.
fn outcome_of(everything: &str) -> String {
    let varying = |file: &str| match file {
        "/proc/sysvipc/shm" => &[1, 4, 5, 11, 12, 13, 14][..],
        "/proc/sysvipc/sem" => &[1, 8, 9][..],
        "/proc/sysvipc/msg" => &[1, 5, 6, 11, 12, 13][..],
        _ => &[][..],
    };
    everything.lines().fold(String::new(), |mut all, line| {
        if line.starts_with("-rw") {
            // A queue's line ends with its time and name.
            let words: Vec<_> = line.split_whitespace().collect();
            let _ = writeln!(all, "{} {:?}", words[..5].join(" "), words.last());
            return all;
        }
        let (file, rest) = line.split_once(':').unwrap_or(("", line));
        let columns = varying(file);
        let words = rest.split_whitespace().enumerate().map(|(at, word)| match (columns.contains(&at), word) {
            (true, _) if at == 1 => "id",
            (true, "0") => "no",
            (true, _) => "yes",
            _ => word,
        });
        let _ = writeln!(all, "{file} {}", words.collect::<Vec<_>>().join(" "));
        all
    })
}

fn list(dir: &Path, all: &mut Vec<String>) {
    for entry in dir.read_dir().expect("a directory").map(|e| e.expect("an entry")) {
        // What a failed run leaves on purpose: its record.
        if entry.file_name() == "oci-ipc-hook" {
            continue;
        }
        let meta = entry.metadata().expect("its attributes");
        if entry.file_name() != "trace" {
            let (mode, owner) = (meta.mode(), (meta.uid(), meta.gid()));
            all.push(format!("{} {mode:o} {owner:?} {}", entry.path().display(), meta.len()));
        }
        if meta.is_dir() {
            list(&entry.path(), all);
        }
    }
}

fn open_to_all(dir: &Dir) {
    let mut command = Command::new("sh");
    command.args(["-c", "chmod 755 . run run/systemd run/systemd/journal && chmod 666 run/systemd/journal/socket && : >trace && chmod 666 trace"]);
    command.current_dir(dir.path());
    run_command(command, "").expect(0);
}

/// A process in namespaces of its own, until it is dropped.
struct Holder {
    child: Child,
}

impl Holder {
    fn host(dir: &Dir) -> Holder {
        let script = "mkdir -p run/systemd/journal mnt && mount --bind run /run && echo ready && exec cat >/dev/null";
        let mut command = Command::new("unshare");
        command.args(["--ipc", "--mount", "--propagation", "private", "sh", "-c", script]).current_dir(dir.path());
        Holder::start(command)
    }

    fn container(variant: Variant) -> Holder {
        let script = "echo ready; exec cat >/dev/null";
        let unshare = |options: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(["--ipc"]).args(options).args(["sh", "-c", script]);
            command
        };
        match variant {
            Variant::Root => Holder::start(unshare(&[])),
            Variant::UserNamespace => {
                let holder = Holder::start(unshare(&["--user"]));
                for map in ["uid_map", "gid_map"] {
                    std::fs::write(format!("/proc/{}/{map}", holder.pid()), "0 100000 65536").expect("an id map");
                }
                holder
            }
            Variant::Rootless => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
                command.args(["unshare", "--ipc", "--map-root-user", "sh", "-c", script]);
                Holder::start(command)
            }
        }
    }

    fn start(mut command: Command) -> Holder {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare(1)");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "unshare(1) did not make the namespace");
        Holder { child }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
