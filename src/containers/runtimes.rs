//! What OCI runtimes keep of their running containers.

use super::settings::Docker;
use super::{Container, Found, MAX_STATE_FILE};
use crate::kernel::file::read_regular;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where runtimes keep their state below `/run` and `/run/user/UID`, and who uses it. `*`: any directory.
const ROOTS: [(&str, &str); 6] = [
    ("runc", "runc"),
    ("crun", "crun"),
    ("youki", "youki"),
    ("containerd/runc/*", "containerd"),
    ("containerd/crun/*", "containerd"),
    ("oci-ipc-runtime", "oci-ipc-runtime"),
];

/// runc's and youki's `state.json` and crun's `status`, as far as they matter.
#[derive(Deserialize)]
struct State {
    id: Option<String>,
    #[serde(alias = "init_process_pid")]
    pid: Option<i32>,
    /// Clock ticks since boot.
    #[serde(alias = "init_process_start", alias = "process-start-time")]
    start: Option<u64>,
}

/// All containers whose first process lives.
pub(super) fn containers(root: &Path, dockers: &[Docker]) -> Vec<Found> {
    let run = root.join("run");
    let mut bases: Vec<_> = subdirectories(&run.join("user")).into_iter().map(|dir| (uid(&dir), dir)).collect();
    bases.push((None, run));
    let mut found = Vec::new();
    for (user, base) in &bases {
        for (pattern, engine) in ROOTS {
            let directories = match pattern.strip_suffix("/*") {
                Some(parent) => subdirectories(&base.join(parent)),
                None => vec![base.join(pattern)],
            };
            for dir in directories.iter().flat_map(|d| subdirectories(d)) {
                found.extend(container(&dir, engine, user.as_ref()));
            }
        }
    }
    for docker in dockers {
        let name = |dir: &PathBuf| dir.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"runtime-"));
        // runtime-NAME/NAMESPACE/ID
        for runtime in subdirectories(&docker.exec).iter().filter(|dir| name(dir)) {
            for dir in subdirectories(runtime).iter().flat_map(|namespace| subdirectories(namespace)) {
                found.extend(container(&dir, "docker", docker.user.as_ref()));
            }
        }
    }
    found
}

fn uid(dir: &Path) -> Option<String> {
    Some(dir.file_name()?.to_string_lossy().into_owned())
}

fn container(dir: &Path, engine: &str, user: Option<&String>) -> Option<Found> {
    let state: State = read_json(&dir.join("state.json")).or_else(|| read_json(&dir.join("status")))?;
    let pid = state.pid.filter(|pid| is_alive(*pid, state.start))?;
    let id = state.id.or_else(|| dir.file_name()?.to_str().map(str::to_owned))?;
    let container = Container { engine: engine.to_owned(), id, names: Vec::new(), pid };
    Some(Found { container, user: user.cloned() })
}

/// The process exists and, where the start is known, is not a later one with the same number.
pub(super) fn is_alive(pid: i32, start: Option<u64>) -> bool {
    if pid < 1 {
        return false;
    }
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name in parentheses may hold anything; what follows is the third field, and the start is the 22nd.
    let started = || stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(22 - 3)?.parse::<u64>().ok();
    start.is_none_or(|wanted| started() == Some(wanted))
}

/// The directories in a directory, by name.
pub(super) fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect();
    found.sort();
    found
}

/// A JSON file; what cannot be read or understood is not there.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&read_regular(path, MAX_STATE_FILE).ok()?).ok()
}
