//! The names that engines gave to containers.

use super::MAX_STATE_FILE;
use super::runtimes::{read_json, subdirectories};
use crate::kernel::file::read_regular;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What an engine knows of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) engine: String,
    pub(super) id: String,
    pub(super) names: Vec<String>,
    /// Its process, where the engine wrote it down.
    pub(super) pid: Option<i32>,
}

/// Everything that engines know. Of two with one id the later is the better informed.
pub(super) fn known(root: &Path) -> Vec<Known> {
    let mut all = containerd(root);
    all.extend(docker(root));
    for storage in storages(root) {
        all.extend(containers_storage(root, &storage));
    }
    all
}

/// Docker: `/var/lib/docker/containers/ID/config.v2.json`.
fn docker(root: &Path) -> Vec<Known> {
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
    let dirs = subdirectories(&root.join("var/lib/docker/containers"));
    let configs = dirs.iter().filter_map(|dir| read_json::<Config>(&dir.join("config.v2.json")));
    configs
        .map(|c| Known {
            engine: "docker".to_owned(),
            id: c.id,
            names: c.name.iter().map(|n| n.trim_start_matches('/').to_owned()).collect(),
            pid: c.state.filter(|s| s.running).map(|s| s.pid),
        })
        .collect()
}

/// containerd: `/run/containerd/io.containerd.runtime.v2.task/NAMESPACE/ID` is the bundle.
fn containerd(root: &Path) -> Vec<Known> {
    let tasks = root.join("run/containerd/io.containerd.runtime.v2.task");
    let bundles = subdirectories(&tasks).into_iter().flat_map(|ns| subdirectories(&ns));
    bundles
        .filter_map(|bundle| {
            let id = bundle.file_name()?.to_str()?.to_owned();
            let pid = read_regular(&bundle.join("init.pid"), 64).ok();
            let pid = pid.and_then(|text| str::from_utf8(&text).ok()?.trim().parse().ok());
            let names = kubernetes_name(&bundle).into_iter().collect();
            // Docker's containers are containerd's too; docker's own files come later and say so.
            Some(Known { engine: "containerd".to_owned(), id, names, pid })
        })
        .collect()
}

/// Podman and CRI-O: `containers.json` of containers-storage.
fn containers_storage(root: &Path, storage: &Path) -> Vec<Known> {
    #[derive(Deserialize)]
    struct Entry {
        id: String,
        #[serde(default)]
        names: Vec<String>,
    }
    let run = run_storage(root, storage);
    let mut all = Vec::new();
    for driver in ["overlay-containers", "vfs-containers", "btrfs-containers", "zfs-containers"] {
        for entry in read_json::<Vec<Entry>>(&storage.join(driver).join("containers.json")).unwrap_or_default() {
            let bundles = [storage.join(driver), run.join(driver)].map(|dir| dir.join(&entry.id).join("userdata"));
            let in_kubernetes = bundles.iter().find_map(|b| kubernetes_name(b));
            let engine = if in_kubernetes.is_some() { "cri-o" } else { "podman" };
            let pid = read_regular(&bundles[1].join("pidfile"), 64).ok();
            let pid = pid.and_then(|text| str::from_utf8(&text).ok()?.trim().parse().ok());
            let mut names = entry.names;
            names.splice(0..0, in_kubernetes);
            all.push(Known { engine: engine.to_owned(), id: entry.id, names, pid });
        }
    }
    all
}

/// Root's storage, and that of every user who has a runtime directory.
fn storages(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![root.join("var/lib/containers/storage")];
    let passwd = read_regular(&root.join("etc/passwd"), MAX_STATE_FILE).unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    for dir in subdirectories(&root.join("run/user")) {
        let uid = dir.file_name().unwrap_or_default().to_string_lossy();
        let home = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let home = home.filter(|f| f.get(2) == Some(&&*uid)).find_map(|f| f.get(5).map(|h| h.trim_start_matches('/')));
        all.extend(home.map(|home| root.join(home).join(".local/share/containers/storage")));
    }
    all
}

/// Where the storage keeps what does not outlive a boot.
fn run_storage(root: &Path, storage: &Path) -> PathBuf {
    match storage.starts_with(root.join("var/lib")) {
        true => root.join("run/containers/storage"),
        // A user's own lies below /run/user/UID/containers; conmon's pidfile is not needed, for the runtime's state is there.
        false => storage.to_owned(),
    }
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
