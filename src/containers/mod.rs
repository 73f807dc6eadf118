//! Which containers there are, from what runtimes and engines keep on disk. No engine is asked, nothing is executed: works
//! with a stopped daemon and shows the containers of all engines side by side.

mod names;
mod runtimes;
mod settings;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use std::path::Path;

/// Largest state file that is read, in bytes.
const MAX_STATE_FILE: usize = 16 << 20;

/// A container with a living process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// `podman`, `docker`, `containerd`, `cri-o`, or the runtime's name when no engine knows it.
    pub engine: String,
    /// Its id.
    pub id: String,
    /// Its names: what the user gave, or `namespace/pod/container` in Kubernetes.
    pub names: Vec<String>,
    /// Its first process.
    pub pid: i32,
}

impl Container {
    /// The first name, else the id, an engine's long one cut to twelve characters as engines print it.
    pub fn short(&self) -> &str {
        let is_long = self.id.len() == 64 && self.id.bytes().all(|b| b.is_ascii_hexdigit());
        match self.names.first() {
            Some(name) => name,
            None if is_long => &self.id[..12],
            None => &self.id,
        }
    }
}

/// All containers that can be seen, by pid. `root` is `/`, or where a copy of the file tree lies.
pub fn all(root: &Path) -> Vec<Container> {
    let users = settings::users(root);
    let dockers = settings::dockers(root, &users);
    let mut found = runtimes::containers(root, &dockers);
    for name in names::known(root, &users, &dockers) {
        // What a user's own engine says is nothing to the containers of others.
        match found.iter_mut().find(|f| f.container.id == name.id && (name.user.is_none() || name.user == f.user)) {
            Some(Found { container, .. }) => {
                container.engine = name.engine;
                container.names = name.names;
            }
            // An engine whose runtime keeps its state somewhere else.
            None => found.extend(name.pid.filter(|pid| runtimes::is_alive(*pid, None)).map(|pid| Found {
                container: Container { engine: name.engine, id: name.id, names: name.names, pid },
                user: name.user,
            })),
        }
    }
    let mut all: Vec<_> = found.into_iter().map(|f| f.container).collect();
    all.sort_by(|a, b| (a.pid, &a.id).cmp(&(b.pid, &b.id)));
    all.dedup_by(|a, b| a.id == b.id && a.pid == b.pid);
    all
}

/// A container, and whose state told of it.
#[derive(Clone, Debug)]
struct Found {
    container: Container,
    /// The uid of `/run/user` below which it lies; `None` = root's.
    user: Option<String>,
}

/// The container of that name or id; the start of an id is enough when only one has it.
///
/// # Errors
/// Exit 2: none, or several.
pub fn find(root: &Path, wanted: &str) -> Result<Container> {
    let all = all(root);
    let exactly: Vec<_> = all.iter().filter(|c| c.id == wanted || c.names.iter().any(|n| n == wanted)).collect();
    let by_start = || all.iter().filter(|c| !wanted.is_empty() && c.id.starts_with(wanted)).collect();
    let found = if exactly.is_empty() { by_start() } else { exactly };
    match found[..] {
        [one] => Ok(one.clone()),
        [] => Err(Error::bad_input(format!("container {wanted}"), "no running container has this name or id")
            .found(listed(all.iter()))
            .remedy("see 'oci-ipc-hook inspect --all', or give --pid")),
        _ => Err(Error::bad_input(format!("container {wanted}"), "several containers are meant by this")
            .found(listed(found.into_iter()))
            .remedy("give the whole id, or --pid")),
    }
}

fn listed<'c>(containers: impl Iterator<Item = &'c Container>) -> String {
    let mut words: Vec<_> = containers.map(|c| format!("{} ({} {})", c.short(), c.engine, c.pid)).collect();
    let more = words.len().saturating_sub(10);
    words.truncate(10);
    match (words.is_empty(), more) {
        (true, _) => "no containers".to_owned(),
        (_, 0) => words.join(", "),
        _ => format!("{} and {more} more", words.join(", ")),
    }
}
