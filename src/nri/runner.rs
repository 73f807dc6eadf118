//! The hook as a child: an OCI state on its standard input, a deadline, and its own line when it fails.

use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What of the hook's standard error is kept, in bytes.
const KEPT: usize = 8 * 1024;

/// How to call the hook.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) hook: PathBuf,
    /// Options of every call: `--config`, `--profiles-dir`.
    pub(crate) options: Vec<std::ffi::OsString>,
}

/// Where the pod's namespace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// A process in it, such as pause.
    Pid(u32),
    /// A file of it, in our mount namespace.
    Path(PathBuf),
}

/// One pod to prepare.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) sandbox: Sandbox,
    /// The pod's memory limit in bytes.
    pub(crate) memory: Option<u64>,
}

impl Runner {
    /// Prepares the pod. The error is one line for a person, the hook's own if it said one.
    pub(crate) async fn prepare(&self, job: &Job, limit: Duration) -> Result<(), String> {
        let mut command = Command::new(&self.hook);
        let pid = match &job.sandbox {
            Sandbox::Pid(pid) => {
                command.arg("hook");
                Some(*pid)
            }
            Sandbox::Path(path) => {
                command.arg("apply").arg("--ns").arg(path).args(["--state", "-"]);
                None
            }
        };
        if let Some(bytes) = job.memory {
            command.arg("--memory").arg(bytes.to_string());
        }
        self.run(command.args(&self.options), &state(&job.id, "creating", pid, &job.annotations), &job.id, limit).await
    }

    /// Takes away what a pod that has ended left behind.
    pub(crate) async fn clean_up(&self, id: &str, limit: Duration) -> Result<(), String> {
        let mut command = Command::new(&self.hook);
        self.run(command.arg("hook"), &state(id, "stopped", None, &[]), id, limit).await
    }

    async fn run(&self, command: &mut Command, state: &[u8], id: &str, limit: Duration) -> Result<(), String> {
        let mut child = command
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| own_line(id, &self.hook, &format!("cannot be run: {error}; is it installed?")))?;
        match timeout(limit, finish(&mut child, state)).await {
            Ok(Ok((status, _))) if status.success() => Ok(()),
            Ok(Ok((status, said))) => Err(last_line(&said).unwrap_or_else(|| silent(id, &self.hook, status))),
            Ok(Err(error)) => Err(own_line(id, &self.hook, &format!("cannot be waited for: {error}"))),
            Err(_) => {
                let _ = child.kill().await;
                let why = format!("not done within {} ms: stopped before the runtime's deadline", limit.as_millis());
                Err(own_line(id, &self.hook, &why))
            }
        }
    }
}

/// The OCI state of a sandbox. It has no bundle: what the runtime wrote into its config.json is not told here.
fn state(id: &str, status: &str, pid: Option<u32>, annotations: &[(String, String)]) -> Vec<u8> {
    let annotations: Map<String, Value> = annotations.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
    let mut state = json!({"ociVersion": "1.2.0", "id": id, "status": status, "annotations": annotations});
    if let Some(pid) = pid {
        state["pid"] = pid.into();
    }
    state.to_string().into_bytes()
}

/// Feeds the child, listens to it and waits for it. A child that does not read its input ends by itself or is stopped.
async fn finish(child: &mut Child, state: &[u8]) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(state).await;
        }
    };
    let listen = async { if let Some(stderr) = stderr { keep(stderr).await } else { Vec::new() } };
    let (status, (), said) = tokio::join!(child.wait(), feed, listen);
    Ok((status?, said))
}

/// The last [`KEPT`] bytes, roughly; reads to the end so that the child never waits for us.
async fn keep(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut part = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut part).await {
        if kept.len() + length > KEPT {
            kept.drain(..kept.len() / 2);
        }
        kept.extend_from_slice(&part[..length]);
    }
    kept
}

fn last_line(said: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(oci_ipc_hook::text::escape(line).into_owned())
}

fn silent(id: &str, hook: &Path, status: ExitStatus) -> String {
    own_line(id, hook, &format!("ended with {status} and said nothing"))
}

fn own_line(id: &str, hook: &Path, why: &str) -> String {
    format!("oci-ipc-nri: {id}: {}: {why}", hook.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runner whose hook goes with it.
    struct Script(Runner);

    impl std::ops::Deref for Script {
        type Target = Runner;

        fn deref(&self) -> &Runner {
            &self.0
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0.hook);
        }
    }

    /// A hook that is a shell script.
    fn hook(name: &str, script: &str) -> Script {
        let path = std::env::temp_dir().join(format!("oci-ipc-nri-{}-{name}", std::process::id()));
        // Written by a child: a descriptor of ours, open for writing, could be in the hands of another test's child
        // when the script is run (ETXTBSY).
        let args = ["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$0"; chmod 755 "$0""#];
        let done = std::process::Command::new("sh").args(args).arg(&path).arg(script).status();
        assert!(done.unwrap().success());
        Script(Runner { hook: path, options: vec!["--config".into(), "/c".into()] })
    }

    fn prepare(runner: &Runner, sandbox: Sandbox, memory: Option<u64>, limit: Duration) -> Result<(), String> {
        let annotations = vec![("io.oci-ipc-hook.profile".to_owned(), "db\"1".to_owned())];
        let job = Job { id: "pod1".into(), annotations, sandbox, memory };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(runner.prepare(&job, limit))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_pid_goes_into_the_state_and_the_environment_is_empty() {
        let runner = hook("pid", r#"echo "$* $(cat) ${HOME-unset}" >&2; exit 3"#);
        let line = prepare(&runner, Sandbox::Pid(42), None, LONG).unwrap_err();
        let state = r#"{"annotations":{"io.oci-ipc-hook.profile":"db\"1"},"id":"pod1","ociVersion":"1.2.0","pid":42,"status":"creating"}"#;
        assert_eq!(line, format!("hook --config /c {state} unset"));
    }

    #[test]
    fn a_path_is_an_option_and_the_state_has_no_pid() {
        let runner = hook("path", r#"read -r state; echo "$*" >&2; case $state in *pid*) exit 0; esac; exit 1"#);
        let line = prepare(&runner, Sandbox::Path("/proc/7/root/run/ipcns/x".into()), Some(1 << 30), LONG).unwrap_err();
        assert_eq!(line, "apply --ns /proc/7/root/run/ipcns/x --state - --memory 1073741824 --config /c");
    }

    #[test]
    fn the_last_line_counts_however_much_is_said() {
        let runner = hook("long", "yes noise | head -n 30000 >&2; printf 'why \\033[1m\\n\\n' >&2; exit 1");
        assert_eq!(prepare(&runner, Sandbox::Pid(42), None, LONG).unwrap_err(), "why \\x1b[1m");
        assert!(prepare(&hook("quiet", "exit 4"), Sandbox::Pid(42), None, LONG).unwrap_err().contains("said nothing"));
        assert_eq!(prepare(&hook("good", "echo noise >&2"), Sandbox::Pid(42), None, LONG), Ok(()));
    }

    #[test]
    fn a_hook_that_hangs_is_stopped_before_the_deadline() {
        let runner = hook("hangs", "exec sleep 600");
        let line = prepare(&runner, Sandbox::Pid(42), None, Duration::from_millis(50)).unwrap_err();
        assert!(line.contains("not done within 50 ms"), "{line}");
    }

    #[test]
    fn a_missing_hook_is_a_line_too() {
        let runner = Runner { hook: "/nonexistent/oci-ipc-hook".into(), options: Vec::new() };
        let line = prepare(&runner, Sandbox::Pid(42), None, LONG).unwrap_err();
        assert!(line.starts_with("oci-ipc-nri: pod1: /nonexistent/oci-ipc-hook: cannot be run"), "{line}");
    }
}
