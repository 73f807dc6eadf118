//! The names that engines gave to containers.

use super::runtimes::{read_json, subdirectories};
use super::settings::{Docker, Storage, User, containerd_states, storages};
use crate::kernel::file::read_regular;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What an engine knows of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) engine: String,
    pub(super) id: String,
    pub(super) names: Vec<String>,
    /// Its process, where the engine wrote it down.
    pub(super) pid: Option<i32>,
    /// The uid whose engine it is; `None` = root's.
    pub(super) user: Option<String>,
}

/// Everything that engines know. Of two with one id the later is the better informed.
pub(super) fn known(root: &Path, users: &[User], dockers: &[Docker]) -> Vec<Known> {
    let mut all: Vec<_> = containerd_states(root).iter().flat_map(|state| containerd(state)).collect();
    all.extend(dockers.iter().flat_map(docker));
    all.extend(storages(root, users).iter().flat_map(containers_storage));
    all
}

/// Docker: `/var/lib/docker/containers/ID/config.v2.json`.
fn docker(docker: &Docker) -> Vec<Known> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        #[serde(rename = "ID")]
        id: String,
        name: Option<String>,
        state: Option<State>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct State {
        #[serde(default)]
        running: bool,
        #[serde(default)]
        pid: i32,
    }
    let dirs = subdirectories(&docker.data.join("containers"));
    let configs = dirs.iter().filter_map(|dir| read_json::<Config>(&dir.join("config.v2.json")));
    configs
        .map(|c| Known {
            engine: "docker".to_owned(),
            id: c.id,
            names: c.name.iter().map(|n| n.trim_start_matches('/').to_owned()).collect(),
            pid: c.state.filter(|s| s.running).map(|s| s.pid),
            user: docker.user.clone(),
        })
        .collect()
}

/// containerd: `/run/containerd/io.containerd.runtime.v2.task/NAMESPACE/ID` is the bundle.
fn containerd(state: &Path) -> Vec<Known> {
    let tasks = state.join("io.containerd.runtime.v2.task");
    let bundles = subdirectories(&tasks).into_iter().flat_map(|ns| subdirectories(&ns));
    bundles
        .filter_map(|bundle| {
            let id = bundle.file_name()?.to_str()?.to_owned();
            let pid = pid_in(&bundle.join("init.pid"));
            let names = kubernetes_name(&bundle).into_iter().collect();
            // Docker's containers are containerd's too; docker's own files come later and say so.
            Some(Known { engine: "containerd".to_owned(), id, names, pid, user: None })
        })
        .collect()
}

/// Podman and CRI-O: `containers.json` of containers-storage.
fn containers_storage(storage: &Storage) -> Vec<Known> {
    #[derive(Deserialize)]
    struct Entry {
        id: String,
        #[serde(default)]
        names: Vec<String>,
    }
    let mut all = Vec::new();
    for driver in ["overlay-containers", "vfs-containers", "btrfs-containers", "zfs-containers"] {
        let dirs = [&storage.graph, &storage.run].map(|dir| dir.join(driver));
        let entries: Vec<Entry> = read_json(&dirs[0].join("containers.json")).unwrap_or_default();
        // An id becomes part of a path.
        for entry in entries.into_iter().filter(|e| !e.id.contains('/') && e.id != "..") {
            let bundles = dirs.each_ref().map(|dir| dir.join(&entry.id).join("userdata"));
            let in_kubernetes = bundles.iter().find_map(|b| kubernetes_name(b));
            let engine = if in_kubernetes.is_some() { "cri-o" } else { "podman" };
            let pid = pid_in(&bundles[1].join("pidfile"));
            let mut names = entry.names;
            names.splice(0..0, in_kubernetes);
            let user = storage.user.clone();
            all.push(Known { engine: engine.to_owned(), id: entry.id, names, pid, user });
        }
    }
    all
}

/// The number that a pid file holds.
fn pid_in(file: &Path) -> Option<i32> {
    str::from_utf8(&read_regular(file, 64).ok()?).ok()?.trim().parse().ok()
}

/// `namespace/pod/container`, or `namespace/pod` for the pod's sandbox, from the annotations that kubelet's engines write.
fn kubernetes_name(bundle: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    let config: Config = read_json(&bundle.join("config.json"))?;
    let get = |keys: [&str; 2]| keys.iter().find_map(|k| config.annotations.get(*k)).map(String::as_str);
    let namespace = get(["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"])?;
    let pod = get(["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"])?;
    let container = get(["io.kubernetes.cri.container-name", "io.kubernetes.container.name"]);
    let sandbox = get(["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"]) == Some("sandbox");
    match container.filter(|_| !sandbox) {
        Some(container) => Some(format!("{namespace}/{pod}/{container}")),
        None => Some(format!("{namespace}/{pod}")),
    }
}
