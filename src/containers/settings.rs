//! Where engines keep what they know, as their own configuration files say: storage.conf and crio.conf, daemon.json,
//! containerd's config.toml.
//!
//! A user's files are the user's word: they may lead anywhere, but only to what parses as an engine's state, and what is
//! found through them counts for that user's containers alone.

use super::MAX_STATE_FILE;
use super::runtimes::{read_json, subdirectories};
use crate::doc::{Place, Value, find, toml};
use crate::kernel::file::read_regular;
use serde::Deserialize;
use std::path::{Component, Path, PathBuf};

/// Largest configuration of an engine that is read, in bytes.
const MAX_SETTINGS: usize = 1 << 20;

/// A user who has a runtime directory.
#[derive(Clone, Debug)]
pub(super) struct User {
    /// As `/run/user` names it.
    uid: String,
    name: String,
    home: String,
}

/// A place of containers-storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// `graphroot`.
    pub(super) graph: PathBuf,
    /// `runroot`: what does not outlive a boot.
    pub(super) run: PathBuf,
    /// Whose, if not root's: a uid.
    pub(super) user: Option<String>,
}

/// A place of Docker's daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Docker {
    /// `data-root`.
    pub(super) data: PathBuf,
    /// `exec-root`: what its runtimes keep.
    pub(super) exec: PathBuf,
    /// Whose, if not root's: a uid.
    pub(super) user: Option<String>,
}

/// All users who have a runtime directory, with what the password file says of them.
pub(super) fn users(root: &Path) -> Vec<User> {
    let passwd = read_regular(&root.join("etc/passwd"), MAX_STATE_FILE).unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let lines: Vec<Vec<_>> = passwd.lines().map(|line| line.split(':').collect()).collect();
    let one = |dir: PathBuf| {
        let uid = dir.file_name()?.to_str()?.to_owned();
        let line = lines.iter().find(|f| f.get(2) == Some(&&*uid))?;
        Some(User { name: (*line.first()?).to_owned(), home: (*line.get(5)?).to_owned(), uid })
    };
    subdirectories(&root.join("run/user")).into_iter().filter_map(one).collect()
}

/// Podman's and CRI-O's storages: the usual places, and those that are configured.
pub(super) fn storages(root: &Path, users: &[User]) -> Vec<Storage> {
    let mut all = Vec::new();
    let mut add = |graph: &Path, run: &Path, user: Option<&User>| {
        let user = user.map(|u| u.uid.clone());
        let storage = Storage { graph: inside(root, graph), run: inside(root, run), user };
        if !all.contains(&storage) {
            all.push(storage);
        }
    };
    let (graph, run) = (Path::new("/var/lib/containers/storage"), Path::new("/run/containers/storage"));
    // The first that is there counts alone, as containers-storage has it.
    let system = ["etc/containers/storage.conf", "usr/share/containers/storage.conf"].map(|file| root.join(file));
    let system = system.iter().find_map(|file| Settings::read(file)).unwrap_or_default();
    let own_run = system.path(&["storage", "runroot"], None);
    add(graph, own_run.as_deref().unwrap_or(run), None);
    if let Some(graph) = system.path(&["storage", "graphroot"], None) {
        add(&graph, own_run.as_deref().unwrap_or(run), None);
    }
    let crio = crio(root);
    let last = |key| crio.iter().filter_map(|file| file.path(&["crio", key], None)).next_back();
    let (crio_graph, crio_run) = (last("root"), last("runroot"));
    if crio_graph.is_some() || crio_run.is_some() {
        add(crio_graph.as_deref().unwrap_or(graph), crio_run.as_deref().unwrap_or(run), None);
    }
    for user in users {
        let home = Path::new(&user.home);
        let run = Path::new("/run/user").join(&user.uid).join("containers");
        let own = Settings::read(&inside(root, &home.join(".config/containers/storage.conf"))).unwrap_or_default();
        let own_run = own.path(&["storage", "runroot"], Some(user));
        let graphs = [
            Some(home.join(".local/share/containers/storage")),
            system.path(&["storage", "rootless_storage_path"], Some(user)),
            own.path(&["storage", "graphroot"], Some(user)),
        ];
        for graph in graphs.iter().flatten() {
            add(graph, own_run.as_deref().unwrap_or(&run), Some(user));
        }
    }
    all
}

/// crio.conf, then the files beside it that change it.
fn crio(root: &Path) -> Vec<Settings> {
    let dir = std::fs::read_dir(root.join("etc/crio/crio.conf.d")).into_iter().flatten().flatten();
    let mut files: Vec<_> = dir.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "conf")).collect();
    files.sort();
    files.insert(0, root.join("etc/crio/crio.conf"));
    files.iter().filter_map(|file| Settings::read(file)).collect()
}

/// Docker's daemons: root's, and a rootless one for each user.
pub(super) fn dockers(root: &Path, users: &[User]) -> Vec<Docker> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "kebab-case")]
    struct Daemon {
        #[serde(alias = "graph")]
        data_root: Option<String>,
        exec_root: Option<String>,
    }
    let one = |file: PathBuf, data: &Path, exec: &Path, user: Option<&User>| {
        let daemon: Daemon = read_json(&root.join(file)).unwrap_or_default();
        let path = |text: Option<String>, usual: &Path| {
            inside(root, &text.and_then(|text| absolute(&text)).unwrap_or_else(|| usual.to_owned()))
        };
        let user = user.map(|u| u.uid.clone());
        Docker { data: path(daemon.data_root, data), exec: path(daemon.exec_root, exec), user }
    };
    let roots = one("etc/docker/daemon.json".into(), Path::new("/var/lib/docker"), Path::new("/run/docker"), None);
    let mut all = vec![roots];
    all.extend(users.iter().map(|user| {
        let home = Path::new(&user.home);
        let file = inside(Path::new(""), &home.join(".config/docker/daemon.json"));
        let exec = Path::new("/run/user").join(&user.uid).join("docker");
        one(file, &home.join(".local/share/docker"), &exec, Some(user))
    }));
    all
}

/// containerd's `state` directories: the usual one, that of k3s, and the one that is configured.
pub(super) fn containerd_states(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![root.join("run/containerd"), root.join("run/k3s/containerd")];
    let settings = Settings::read(&root.join("etc/containerd/config.toml")).unwrap_or_default();
    if let Some(state) = settings.path(&["state"], None).map(|state| inside(root, &state))
        && !all.contains(&state)
    {
        all.push(state);
    }
    all
}

/// An absolute path within the file tree that is looked at.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// A path from the root that leads nowhere but down.
fn absolute(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let down = path.components().skip(1).all(|c| matches!(c, Component::Normal(_)));
    (path.is_absolute() && down && !text.contains('\0')).then(|| path.to_owned())
}

/// The text of a TOML file.
#[derive(Default)]
struct Settings(String);

impl Settings {
    fn read(file: &Path) -> Option<Settings> {
        String::from_utf8(read_regular(file, MAX_SETTINGS).ok()?).ok().map(Settings)
    }

    /// An absolute path; `$HOME`, `$USER` and `$UID` stand for what is the user's.
    fn path(&self, keys: &[&str], user: Option<&User>) -> Option<PathBuf> {
        let table = toml::parse(Place { document: "" }, &self.0).ok()?;
        let Value::Text(text) = &find(&table, keys)?.value else { return None };
        match user {
            None => absolute(text),
            Some(user) => {
                absolute(&text.replace("$HOME", &user.home).replace("$USER", &user.name).replace("$UID", &user.uid))
            }
        }
    }
}
