//! The hook held at a system call, to be looked at from outside.

use super::{Dir, Ran};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program that has stopped right after a system call.
pub struct Stopped {
    child: Child,
    trace: BufReader<std::fs::File>,
}

impl Stopped {
    /// Runs `command`, a program with its arguments, until it has made the `nth` call named `call`; strace(1) stops it. A
    /// command that changes nothing but itself may stand in `before`, such as `setpriv --no-new-privs`.
    pub fn at(call: &str, nth: u32, before: &[&str], command: &[&str], stdin: impl AsRef<[u8]>) -> Stopped {
        let dir = Dir::new();
        let fifo = dir.path().join("trace");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let (program, rest) = before.split_first().map_or(("strace", &[][..]), |(first, rest)| (*first, rest));
        let mut strace = Command::new(program);
        strace.args(rest);
        if program != "strace" {
            strace.arg("strace");
        }
        // -D: the program is this command itself, strace looks on from aside.
        strace
            .arg("-D")
            .arg("-o")
            .arg(&fifo)
            .args([format!("--trace={call}"), format!("--inject={call}:signal=STOP:when={nth}")]);
        let mut child = strace
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace(1)");
        child.stdin.take().expect("stdin").write_all(stdin.as_ref()).expect("the state is short");
        let trace = BufReader::new(std::fs::File::open(&fifo).expect("the trace"));
        let mut stopped = Stopped { child, trace };
        let mut seen = String::new();
        while !seen.contains("stopped by SIGSTOP") {
            if stopped.trace.read_line(&mut seen).expect("a line") == 0 {
                let mut said = String::new();
                let _ = stopped.child.stderr.take().expect("stderr").read_to_string(&mut said);
                panic!("it did not come to {call} #{nth}: {seen}\n{said}");
            }
        }
        stopped
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A field of `/proc/PID/status`.
    pub fn status(&self, field: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("its status");
        let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
    }

    /// What its descriptors are.
    pub fn descriptors(&self) -> Vec<String> {
        let dir = std::fs::read_dir(Path::new("/proc").join(self.pid().to_string()).join("fd")).expect("its fds");
        let links = dir.map(|e| std::fs::read_link(e.expect("an entry").path()).expect("a link"));
        links.map(|l| l.to_string_lossy().into_owned()).collect()
    }

    /// Lets it go on to its end.
    pub fn resume(mut self) -> Ran {
        let pid = i32::try_from(self.pid()).expect("a pid");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGCONT).expect("SIGCONT");
        let mut rest = Vec::new();
        let _ = self.trace.read_to_end(&mut rest);
        // Both are short: neither pipe fills up while the other is read.
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child.stdout.take().expect("stdout").read_to_string(&mut stdout).expect("text");
        self.child.stderr.take().expect("stderr").read_to_string(&mut stderr).expect("text");
        Ran { code: self.child.wait().expect("it ends").code(), stdout, stderr }
    }
}

impl Drop for Stopped {
    /// A test that failed leaves nobody standing.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
