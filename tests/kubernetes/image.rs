//! The container image: built without any registry, run by podman and by containerd with the DaemonSet's own privileges.

use crate::cases::{APP, PREPARED, SHOW, same};
use crate::cri::*;
use crate::manifests::{Test, daemon_set, render};
use crate::node::{Node, output};
use crate::pod::Pod;
use crate::{Case, Outcome};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The name in the manifests.
const IMAGE: &str = "localhost/oci-ipc-hook:0.1.0";

pub(crate) const TESTS: &[Test] =
    &[("buildah builds it from the Containerfile", build), ("podman runs it", |_| podman())];

pub(crate) const CASES: &[(&str, Case)] = &[
    ("the DaemonSet's container prepares pods, with its privileges", |n| Box::pin(contained(n))),
    ("an unprivileged init container makes the objects", |n| Box::pin(unprivileged(n))),
];

fn archive() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("oci-ipc-hook-image.tar")
}

/// Static binaries only: the image has no libc.
fn binaries() -> Option<PathBuf> {
    std::env::var_os("OCI_IPC_BINARIES").map(PathBuf::from)
}

fn build(_: &Path) -> Result<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(binaries) = binaries() else { return Ok("SKIP: OCI_IPC_BINARIES does not name static binaries".into()) };
    let context = std::env::temp_dir().join(format!("oci-ipc-image-{}", std::process::id()));
    fs::create_dir_all(context.join("b"))?;
    for name in ["oci-ipc-hook", "oci-ipc-nri"] {
        fs::copy(binaries.join(name), context.join("b").join(name))?;
    }
    let storage = context.join("storage");
    let buildah = || {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(storage.join("root")).arg("--runroot").arg(storage.join("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    };
    output(
        buildah()
            .args(["bud", "--isolation", "chroot", "--pull-never", "--build-arg", "BINARIES=b", "-t", IMAGE, "-f"])
            .arg(source.join("Containerfile"))
            .arg(&context),
    )?;
    let _ = fs::remove_file(archive());
    output(buildah().args(["push", IMAGE]).arg(format!("docker-archive:{}:{IMAGE}", archive().display())))?;
    output(buildah().args(["rmi", "--all", "--force"]))?;
    fs::remove_dir_all(&context)?;
    Ok(format!("{} KiB", fs::metadata(archive())?.len() / 1024))
}

fn podman() -> Result<String> {
    if !archive().exists() {
        return Ok("SKIP: no image was built".into());
    }
    let storage = std::env::temp_dir().join(format!("oci-ipc-podman-{}", std::process::id()));
    fs::create_dir_all(&storage)?;
    let limits = storage.join("containers.conf");
    fs::write(&limits, "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=16384:16384\"]\n")?;
    let podman = || {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", &limits).arg("--root").arg(storage.join("root"));
        command.arg("--runroot").arg(storage.join("run")).arg("--tmpdir").arg(storage.join("tmp"));
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command
    };
    output(podman().args(["load", "-i"]).arg(archive()))?;
    let run = ["run", "--rm", "--network", "none", "--runtime", "runc", "--read-only"];
    let version = output(podman().args(run).args([IMAGE, "--version"]))?;
    ensure!(version.starts_with("oci-ipc-nri "), "{version}");
    let hook = ["--entrypoint", "/oci-ipc-hook", IMAGE, "--help"];
    ensure!(output(podman().args(run).args(hook))?.contains("apply"), "the hook is not in the image");
    output(podman().args(["rmi", "--all", "--force"]))?;
    let _ = fs::remove_dir_all(&storage);
    Ok(version.trim().to_owned())
}

/// Loads the image into the node; `false` when none was built.
fn load(node: &Node) -> Result<bool> {
    if !archive().exists() {
        return Ok(false);
    }
    fs::copy(archive(), node.root.join("tmp/hook.tar"))?;
    let args = ["ctr", "-a", "/run/test.sock", "-n", "k8s.io", "images", "import", "/tmp/hook.tar"];
    output(Command::new("chroot").arg(&node.root).args(args))?;
    Ok(true)
}

fn mount(host: &str, container: &str, readonly: bool) -> Mount {
    Mount { host_path: host.into(), container_path: container.into(), readonly, ..Mount::default() }
}

/// The container as the rendered DaemonSet describes it: capabilities, read-only root, mounts.
async fn contained(node: &mut Node) -> Result<Outcome> {
    if !load(node)? {
        return Ok(Outcome::Skipped("no image was built".into()));
    }
    let objects = render(&node.root, "overlays/containerd")?;
    let (pod, container) = daemon_set(&objects)?;
    ensure!(pod["hostPID"] == true, "hostPID");
    let settings = node.root.join("tmp/settings");
    fs::create_dir_all(&settings)?;
    fs::write(settings.join("config.toml"), "format = 1\n[policy]\nannotations = \"profiles\"\n")?;
    fs::write(settings.join("app.toml"), format!("format = 1\n{APP}"))?;
    for dir in ["tmp/etc", "run/oci-ipc-hook"] {
        let _ = fs::remove_dir_all(node.root.join(dir));
        fs::create_dir_all(node.root.join(dir))?;
    }
    output(Command::new("chmod").arg("777").arg(node.root.join("tmp/etc")))?;
    let mounts = vec![
        mount("/run/nri", "/var/run/nri", false),
        mount("/tmp/settings", "/settings", true),
        mount("/tmp/etc", "/etc/oci-ipc-hook", false),
        mount("/run/oci-ipc-hook", "/run/oci-ipc-hook", false),
        mount("/sys/fs/cgroup", "/sys/fs/cgroup", true),
    ];
    let own = bounding_set()?;
    let add = container["securityContext"]["capabilities"]["add"].as_array().context("capabilities")?;
    let add: Vec<String> = add.iter().filter_map(|name| name.as_str()).map(str::to_owned).collect();
    let capabilities = Capability {
        add_capabilities: add.into_iter().filter(|name| name != "SYS_RESOURCE" || own & (1 << 24) != 0).collect(),
        drop_capabilities: vec!["ALL".into()],
        ..Capability::default()
    };
    let cri = node.cri().await?;
    let daemon = Pod::new("daemon").host_pid().run(&cri).await?;
    let args = container["args"].as_array().context("args")?.iter().filter_map(|arg| arg.as_str());
    let config = ContainerConfig {
        command: [&["/oci-ipc-nri"][..], &args.collect::<Vec<_>>()].concat().into_iter().map(str::to_owned).collect(),
        mounts,
        ..ContainerConfig::default()
    };
    let started = daemon.start_image(&cri, IMAGE, config, Some(capabilities), None).await?;
    registered(&cri, &started).await?;
    let sandbox = Pod::new("contained").profile("app").run(&cri).await?;
    same(&sandbox.first_view(&cri, "app", SHOW).await?, PREPARED)?;
    let records = fs::metadata(node.root.join("run/oci-ipc-hook"))?;
    ensure!(records.permissions().mode() & 0o777 == 0o700, "the hook would refuse this directory of records");
    Ok(Outcome::Passed(String::new()))
}

/// Until its own readiness probe says so.
async fn registered(cri: &Cri, container: &str) -> Result<()> {
    for _ in 0..300 {
        let request = ExecSyncRequest {
            container_id: container.into(),
            cmd: vec!["/oci-ipc-nri".into(), "ready".into()],
            timeout: 10,
            ..ExecSyncRequest::default()
        };
        let done: ExecSyncResponse = cri.call("ExecSync", &request).await?;
        if done.exit_code == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("the plugin in the container does not register")
}

/// The capabilities that this machine lets anybody have.
fn bounding_set() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).context("CapBnd")?;
    Ok(u64::from_str_radix(line.trim(), 16)?)
}

async fn unprivileged(node: &mut Node) -> Result<Outcome> {
    if !load(node)? {
        return Ok(Outcome::Skipped("no image was built".into()));
    }
    let objects = render(&node.root, "overlays/unprivileged")?;
    let deployment = crate::manifests::one(&objects, "Deployment")?;
    let init = &deployment["spec"]["template"]["spec"]["initContainers"][0];
    let text = crate::manifests::one(&objects, "ConfigMap")?["data"]["objects.toml"].as_str().context("profile")?;
    fs::write(node.root.join("tmp/objects.toml"), text)?;
    let command = init["command"].as_array().context("command")?.iter().filter_map(|word| word.as_str());
    let config = ContainerConfig {
        command: command.map(str::to_owned).collect(),
        mounts: vec![mount("/tmp/objects.toml", "/etc/oci-ipc-hook/objects.toml", true)],
        ..ContainerConfig::default()
    };
    let cri = node.cri().await?;
    let sandbox = Pod::new("unprivileged").run(&cri).await?;
    let none = Capability { drop_capabilities: vec!["ALL".into()], ..Capability::default() };
    sandbox.start_image(&cri, IMAGE, config, Some(none), Some(1000)).await?;
    let show =
        "until grep -q 24577 /proc/sysvipc/shm; do :; done; cat /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg";
    let seen = sandbox.first_view(&cri, "app", show).await?;
    for key in ["24577", "24578", "24579"] {
        let row = seen.lines().find(|line| line.split_whitespace().next() == Some(key));
        ensure!(row.is_some_and(|row| row.contains(" 1000 ")), "{key}: {seen}");
    }
    Ok(Outcome::Passed(String::new()))
}
