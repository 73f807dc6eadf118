//! `demo`: the whole job on this machine, in a namespace of its own or in a real container, shown from inside.

mod container;
mod workload;

use super::cli::DemoArgs;
use super::output::print;
use crate::error::{Error, Exit, Result};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the demonstration asks for: every kind of object, and sysctls that show each notation.
const PROFILE: &str = include_str!("demo/profile.toml");

pub(super) fn run(args: &DemoArgs) -> Result<Exit> {
    match (&args.runtime, args.workload) {
        (_, true) => workload::run(),
        (Some(runtime), _) => container::run(runtime),
        (None, _) => own_namespace(),
    }
}

/// A child in namespaces of its own plays the container; the hook gets its pid as a runtime would tell it.
fn own_namespace() -> Result<Exit> {
    let dir = Scratch::new()?;
    let profile = dir.file("demo.toml", PROFILE)?;
    let program = program()?;
    print(&format!("The profile:\n\n{}\n", indent(PROFILE)))?;

    let mut child = Command::new(&program)
        .args(["demo", "--workload"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed("the workload", &e))?;
    let mut output = BufReader::new(child.stdout.take().ok_or_else(|| Error::failed("the workload", "has no output"))?);
    let before = until_ready(&mut output)?;
    print(&format!("A new IPC namespace, as the workload would find it without the hook:\n\n{}\n", indent(&before)))?;

    let state =
        format!(r#"{{"ociVersion":"1.0.2","id":"demo","status":"creating","pid":{},"annotations":{{}}}}"#, child.id());
    print(&format!(
        "The hook, called as a runtime calls it at createRuntime:\n\n    $ oci-ipc-hook --profile-file demo.toml <<< '{state}'\n"
    ))?;
    let exit = call_hook(&program, &profile, &state)?;
    print(&format!("    exit status {exit}\n\n"))?;

    // End of input is the workload's sign to start.
    drop(child.stdin.take());
    let mut after = String::new();
    output.read_to_string(&mut after).map_err(|e| failed("the workload", &e))?;
    print(&format!("What the workload sees when it starts:\n\n{}", indent(&after)))?;
    let status = child.wait().map_err(|e| failed("the workload", &e))?;
    match (exit, status.success()) {
        (0, true) => Ok(Exit::Done),
        _ => Err(Error::failed("demo", "the hook or the workload failed, see above")),
    }
}

/// The workload's first lines, up to the one that says it waits.
fn until_ready(output: &mut impl std::io::BufRead) -> Result<String> {
    let mut before = String::new();
    for line in output.lines() {
        let line = line.map_err(|e| failed("the workload", &e))?;
        if line == workload::READY {
            return Ok(before);
        }
        before.push_str(&line);
        before.push('\n');
    }
    Err(Error::unsupported("demo", "this system does not let the demonstration make namespaces of its own").remedy(
        "run it as root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)",
    ))
}

fn call_hook(program: &Path, profile: &Path, state: &str) -> Result<i32> {
    let mut child = Command::new(program)
        .args([Path::new("hook"), Path::new("--profile-file"), profile])
        .env_clear()
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|e| failed("the hook", &e))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(state.as_bytes()).map_err(|e| failed("the hook", &e))?;
    }
    let status = child.wait().map_err(|e| failed("the hook", &e))?;
    status.code().ok_or_else(|| Error::failed("the hook", format!("ended by {status}")))
}

fn indent(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}

fn failed(what: &str, error: &std::io::Error) -> Error {
    Error::failed(what, error.to_string())
}

fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| failed("own path", &e))
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        let path = nix::unistd::mkdtemp("/tmp/oci-ipc-hook-demo-XXXXXX")
            .map_err(|e| Error::failed("/tmp", format!("no directory can be made there ({e})")))?;
        Ok(Scratch(path))
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.0.join(name);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path)
            .map_err(|e| failed(name, &e))?;
        file.write_all(text.as_bytes()).map_err(|e| failed(name, &e))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
