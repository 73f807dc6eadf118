//! Namespaces to work on and ways to call the binary.

pub mod host;
pub mod stopped;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// The binary under test: `OCI_IPC_HOOK_BIN`, or what cargo built for this run.
pub fn binary() -> PathBuf {
    std::env::var_os("OCI_IPC_HOOK_BIN").map_or_else(|| env!("CARGO_BIN_EXE_oci-ipc-hook").into(), PathBuf::from)
}

/// True when the tests run as root of the initial user namespace.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A process in an IPC namespace of its own, as a container's first process: it waits until it is dropped.
pub struct Container {
    child: Child,
}

impl Container {
    /// A fresh namespace; as an ordinary user with a user namespace of its own.
    pub fn new() -> Container {
        Container::with(if is_root() { &[] } else { &["--map-root-user"] })
    }

    /// A fresh namespace, with more options of unshare(1).
    pub fn with(options: &[&str]) -> Container {
        let mut command = Command::new("unshare");
        command.arg("--ipc").args(options).args(["sh", "-c", "echo ready; exec cat >/dev/null"]);
        Container::start(command)
    }

    /// A fresh namespace that belongs to a user namespace whose ids 0 to 65535 are `outside` and those that follow. As root.
    pub fn mapped(outside: u32) -> Container {
        let container = Container::with(&["--user"]);
        for file in ["uid_map", "gid_map"] {
            let path = format!("/proc/{}/{file}", container.pid());
            std::fs::write(path, format!("0 {outside} 65536")).expect("an id map");
        }
        container
    }

    /// Another process in the namespace of `other`.
    pub fn beside(other: &Container) -> Container {
        let mut command = Command::new("nsenter");
        command.args(["--target", &other.pid().to_string(), "--ipc", "sh", "-c", "echo ready; exec cat >/dev/null"]);
        Container::start(command)
    }

    /// A fresh namespace of an ordinary user, root of its user namespace; to be called by root.
    pub fn of_user(id: u32) -> Container {
        let mut command = as_user(id, "unshare");
        command.args(["--ipc", "--map-root-user", "sh", "-c", "echo ready; exec cat >/dev/null"]);
        Container::start(command)
    }

    /// A fresh namespace of a process in a control group, which it enters by writing to `procs`; root's. It holds about
    /// `megabytes` of memory.
    pub fn in_group(procs: &str, megabytes: u32) -> Container {
        let hold = format!("x=$(head -c {megabytes}000000 /dev/zero | tr '\\0' x)");
        let mut command = Command::new("unshare");
        command.args(["--ipc", "sh", "-c", &format!("echo 0 > $0 && {hold} && echo ready; read end"), procs]);
        Container::start(command)
    }

    /// True while its process lives.
    pub fn alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
    }

    pub fn start(mut command: Command) -> Container {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare(1)");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "unshare(1) did not make the namespace");
        Container { child }
    }

    /// Host pid of the process in the namespace.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The OCI state that a runtime would pass, with more keys such as `,"bundle":"/b"`.
    pub fn state(&self, more: &str) -> String {
        format!(r#"{{"ociVersion":"1.0.2","id":"test","status":"creating","pid":{}{more}}}"#, self.pid())
    }

    /// Output of a shell command inside the namespace.
    pub fn sh(&self, script: &str) -> String {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string(), "--ipc"]);
        if !is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        let output = command.args(["sh", "-c", script]).output().expect("nsenter(1)");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Everything that can be seen of the namespace: sysctls, System V objects, and queues where they can be listed.
    pub fn everything(&self) -> String {
        self.sh("for f in msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced; do echo $f $(cat /proc/sys/kernel/$f); done; \
                 for f in /proc/sys/fs/mqueue/*; do echo $f $(cat $f); done; cat /proc/sysvipc/*")
            + &self.queues()
    }

    /// Names, modes and owners of the POSIX queues.
    pub fn queues(&self) -> String {
        let json = run(&["inspect", "--pid", &self.pid().to_string(), "--json"], "").stdout;
        let value: serde_json::Value = serde_json::from_str(&json).expect("inspect --json");
        value["namespaces"][0]["mqueue"].to_string()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// How a call of the binary ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The same, or a panic that shows everything.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// One line on stderr that contains `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(self.stderr.contains(text), "no '{text}' in: {}", self.stderr);
        assert_eq!(self.stderr.matches('\n').count(), 1, "not one line: {}", self.stderr);
        self
    }
}

/// A program run by root as an ordinary user without any rights.
pub fn as_user(id: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id.to_string(), "--regid", &id.to_string(), "--clear-groups"]).arg(program);
    command
}

/// Calls the binary with text on standard input.
pub fn run(args: &[&str], stdin: impl AsRef<[u8]>) -> Ran {
    let mut command = Command::new(binary());
    command.args(args);
    run_command(command, stdin)
}

/// Runs any command with text on standard input.
pub fn run_command(mut command: Command, stdin: impl AsRef<[u8]>) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut pipe = child.stdin.take().expect("stdin");
    let bytes = stdin.as_ref().to_vec();
    let writer = std::thread::spawn(move || drop(pipe.write_all(&bytes)));
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    writer.join().expect("the writer ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A directory of the test's own, removed when dropped. Not below /tmp's sticky bit rules only: owned by the user, 0755.
pub struct Dir {
    path: PathBuf,
}

impl Dir {
    /// An empty directory.
    pub fn new() -> Dir {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("oci-ipc-hook-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new directory");
        Dir { path }
    }

    /// Its path.
    #[allow(dead_code)]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Writes a file, mode 0644, and returns its path as text.
    pub fn file(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path.join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("its mode");
        path.to_str().expect("text").to_owned()
    }

    /// Its path.
    pub fn text(&self) -> String {
        self.path.to_str().expect("text").to_owned()
    }

    /// A profile with the line `format = 1` in front.
    pub fn profile(&self, body: &str) -> String {
        self.file("profile.toml", &format!("format = 1\n{body}"))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Where a command is, if it is installed.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Says that a test is left out, past cargo's capturing, in the form that `tools/test` counts. Where everything must run
/// (`make test` as root), that is a failure.
#[track_caller]
pub fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os("OCI_IPC_HOOK_REQUIRE").is_none(), "{name} must run here, but: {why}");
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {why}");
}
