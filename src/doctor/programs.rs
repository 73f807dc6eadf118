//! Engines and runtimes on this machine, with their versions.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where programs lie. The environment is not asked.
const DIRS: [&str; 6] = ["usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "usr/libexec/crio", "opt/bin"];
/// How long one may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(5);

const NAMES: [&str; 7] = ["podman", "dockerd", "containerd", "crio", "runc", "crun", "youki"];

/// A program that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    pub(super) version: Option<String>,
}

pub(super) fn find(root: &Path) -> Vec<Program> {
    NAMES
        .into_iter()
        .filter_map(|name| {
            let path = DIRS.iter().map(|dir| root.join(dir).join(name)).find(|p| p.is_file())?;
            // A copy of a file tree is looked at, not run.
            let version = (root == Path::new("/")).then(|| version(&path)).flatten();
            Some(Program { name, path, version })
        })
        .collect()
}

/// The first word with a digit and a dot in the first line of `--version`.
fn version(path: &Path) -> Option<String> {
    let mut command = Command::new(path);
    command.arg("--version").env_clear().current_dir("/");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
    let mut text = String::new();
    child.stdout.take()?.take(4096).read_to_string(&mut text).ok()?;
    version_in(&text)
}

fn version_in(text: &str) -> Option<String> {
    let mut words = text.lines().next()?.split_ascii_whitespace().map(|w| w.trim_matches([',', 'v']));
    words.find(|w| w.contains('.') && w.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_version_in_what_engines_print() {
        for (text, version) in [
            ("podman version 4.3.1\n", "4.3.1"),
            ("Docker version 28.2.2, build e6534b4\n", "28.2.2"),
            ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3\n", "1.6.20~ds1"),
            ("runc version 1.1.5+ds1\ncommit: x\n", "1.1.5+ds1"),
            ("crio version 1.37.0\n", "1.37.0"),
            ("containerd containerd.io v2.1.9 abc\n", "2.1.9"),
        ] {
            assert_eq!(version_in(text).as_deref(), Some(version), "{text}");
        }
        assert_eq!(version_in(""), None);
    }
}
