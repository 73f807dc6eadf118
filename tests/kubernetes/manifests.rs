//! The manifests of examples/kubernetes, rendered by kubectl and read.

use crate::node::{self, output};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) type Test = (&'static str, fn(&Path) -> Result<String>);

/// Each is given the root with kubectl.
pub(crate) const TESTS: &[Test] = &[
    ("every kustomization renders; every object is named", all_render),
    ("containerd: the DaemonSet has no more than it needs", containerd),
    ("CRI-O: the DaemonSet only copies files", crio),
    ("unprivileged: as Pod Security's restricted level asks", unprivileged),
    ("the hook accepts the settings and the objects", settings),
    ("every example pod names a profile that is there", pods),
];

const KUSTOMIZATIONS: [&str; 6] =
    ["base", "overlays/containerd", "overlays/crio", "overlays/unprivileged", "pods", "admission"];

pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes")
}

/// The objects of a kustomization.
pub(crate) fn render(root: &Path, name: &str) -> Result<Vec<Value>> {
    let copy = root.join("tmp/kubernetes");
    let _ = fs::remove_dir_all(&copy);
    output(Command::new("cp").arg("-r").arg(examples()).arg(&copy))?;
    let path = format!("/tmp/kubernetes/{name}");
    let text = output(Command::new("chroot").arg(root).args(["kubectl", "kustomize", &path]))?;
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents.map(|document| Ok(serde::Deserialize::deserialize(document)?)).collect()
}

pub(crate) fn one<'v>(objects: &'v [Value], kind: &str) -> Result<&'v Value> {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    match (found.next(), found.next()) {
        (Some(object), None) => Ok(object),
        _ => bail!("not exactly one {kind}"),
    }
}

fn all_render(root: &Path) -> Result<String> {
    let mut count = 0;
    for name in KUSTOMIZATIONS {
        let objects = render(root, name).with_context(|| name.to_owned())?;
        for object in &objects {
            for field in ["apiVersion", "kind"] {
                ensure!(object[field].is_string(), "{name}: {field} in {object}");
            }
            ensure!(object["metadata"]["name"].is_string(), "{name}: no name in {object}");
            count += 1;
        }
    }
    Ok(format!("{count} objects"))
}

/// The container of the rendered DaemonSet, and its pod.
pub(crate) fn daemon_set(objects: &[Value]) -> Result<(&Value, &Value)> {
    let pod = &one(objects, "DaemonSet")?["spec"]["template"]["spec"];
    let containers = pod["containers"].as_array().context("containers")?;
    ensure!(containers.len() == 1, "{} containers", containers.len());
    Ok((pod, &containers[0]))
}

/// What every variant of the DaemonSet keeps to; volumes are all mounted, mounts all have their volume.
fn common(objects: &[Value]) -> Result<()> {
    let set = one(objects, "DaemonSet")?;
    let (pod, container) = daemon_set(objects)?;
    let context = &container["securityContext"];
    ensure!(context["privileged"] == false, "privileged");
    ensure!(context["readOnlyRootFilesystem"] == true, "the root must be read-only");
    ensure!(context["capabilities"]["drop"] == serde_json::json!(["ALL"]), "drop ALL");
    ensure!(pod["hostNetwork"] != true && pod["hostIPC"] != true, "no network, no IPC of the host");
    ensure!(pod["automountServiceAccountToken"] == false, "no token");
    ensure!(pod["priorityClassName"] == "system-node-critical", "priority");
    ensure!(pod["tolerations"] == serde_json::json!([{"operator": "Exists"}]), "tolerations");
    ensure!(set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == 0, "no node without a plugin");
    ensure!(container["resources"]["limits"]["memory"].is_string(), "a memory limit");
    ensure!(container["readinessProbe"]["exec"]["command"] == serde_json::json!(["/oci-ipc-nri", "ready"]), "probe");
    let map = one(objects, "ConfigMap")?["metadata"]["name"].clone();
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        let mut names: Vec<_> = list.filter_map(|item| item["name"].as_str().map(str::to_owned)).collect();
        names.sort();
        names
    };
    ensure!(names(&pod["volumes"]) == names(&container["volumeMounts"]), "volumes and mounts differ");
    let used = pod["volumes"].as_array().into_iter().flatten().any(|volume| volume["configMap"]["name"] == map);
    ensure!(used, "the settings are not mounted");
    Ok(())
}

fn containerd(root: &Path) -> Result<String> {
    let objects = render(root, "overlays/containerd")?;
    common(&objects)?;
    let (pod, container) = daemon_set(&objects)?;
    ensure!(pod["hostPID"] == true, "pids of the host are needed");
    let host: Vec<_> = host_paths(pod);
    ensure!(host == ["/var/run/nri", "/run/oci-ipc-hook", "/sys/fs/cgroup"], "{host:?}");
    let caps = container["securityContext"]["capabilities"]["add"].as_array().context("add")?;
    ensure!(caps.len() == 9, "{caps:?}");
    Ok(String::new())
}

fn host_paths(pod: &Value) -> Vec<&str> {
    let volumes = pod["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| volume["hostPath"]["path"].as_str()).collect()
}

fn crio(root: &Path) -> Result<String> {
    let objects = render(root, "overlays/crio")?;
    common(&objects)?;
    let (pod, container) = daemon_set(&objects)?;
    ensure!(pod["hostPID"] != true, "no pids of the host");
    ensure!(container["securityContext"]["capabilities"]["add"].is_null(), "no capabilities");
    ensure!(container["securityContext"]["allowPrivilegeEscalation"] == false, "no escalation");
    ensure!(container["args"][0] == "install", "{}", container["args"]);
    for path in host_paths(pod) {
        ensure!(path != "/" && path != "/etc" && path != "/opt", "{path} is too much");
    }
    Ok(String::new())
}

fn unprivileged(root: &Path) -> Result<String> {
    let objects = render(root, "overlays/unprivileged")?;
    let pod = &one(&objects, "Deployment")?["spec"]["template"]["spec"];
    ensure!(pod["securityContext"]["runAsNonRoot"] == true, "non-root");
    ensure!(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "seccomp");
    ensure!(host_paths(pod).is_empty(), "no path of the host");
    for field in ["hostPID", "hostIPC", "hostNetwork"] {
        ensure!(pod[field] != true, "{field}");
    }
    let lists = ["initContainers", "containers"].map(|list| pod[list].as_array().into_iter().flatten());
    for container in lists.into_iter().flatten() {
        let context = &container["securityContext"];
        ensure!(context["allowPrivilegeEscalation"] == false, "escalation");
        ensure!(context["capabilities"] == serde_json::json!({"drop": ["ALL"]}), "capabilities");
    }
    Ok(String::new())
}

/// What is in the rendered ConfigMaps is what the hook reads.
fn settings(root: &Path) -> Result<String> {
    let dir = std::env::temp_dir().join(format!("oci-ipc-settings-{}", std::process::id()));
    let mut count = 0;
    for name in ["overlays/containerd", "overlays/unprivileged"] {
        let objects = render(root, name)?;
        for (file, text) in one(&objects, "ConfigMap")?["data"].as_object().context("data")? {
            fs::create_dir_all(&dir)?;
            let path = dir.join(file);
            fs::write(&path, text.as_str().context("text")?)?;
            output(Command::new(node::binary("oci-ipc-hook")).arg("check").arg(&path)).context(file.clone())?;
            count += 1;
        }
    }
    fs::remove_dir_all(&dir)?;
    Ok(format!("{count} files"))
}

fn pods(root: &Path) -> Result<String> {
    let settings = render(root, "base")?;
    let settings = one(&settings, "ConfigMap")?["data"].as_object().context("data")?;
    let pods = render(root, "pods")?;
    for pod in &pods {
        let profile = pod["metadata"]["annotations"]["io.oci-ipc-hook.profile"].as_str().context("no profile")?;
        ensure!(settings.contains_key(&format!("{profile}.toml")), "{profile}: not in the settings");
    }
    Ok(format!("{} pods", pods.len()))
}
