//! One Kubernetes node without a kubelet: a containerd of a newer Debian in a root of its own, and the plugin.

use crate::cri::{Cri, Empty};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The image of every container and of pause.
pub(crate) const IMAGE: &str = "localhost/busybox:1";

/// What runs before a test gives up on a program that should come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Enters the root named first and runs the rest there; the mounts end with the process.
const ENTER: &str = r#"
set -e
root=$1; shift
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
umount -l sys/fs/cgroup/unified 2>/dev/null || true
mkdir -p .old
pivot_root . .old
busybox umount -l /.old
cd /
exec "$@"
"#;

/// For pods with a network namespace of their own, nothing in it: any CNI plugin of this name says so.
const CNI: &str = r#"#!/bin/sh
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}' ;;
ADD) echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"x"}],"ips":[{"address":"10.88.0.2/24","interface":0}]}' ;;
esac
"#;

/// A running node; everything ends with it.
pub(crate) struct Node {
    /// The root of the newer Debian.
    pub(crate) root: PathBuf,
    /// Profiles, policy, logs.
    pub(crate) dir: PathBuf,
    containerd: Option<Child>,
    pub(crate) plugin: Option<Child>,
    pub(crate) version: String,
    /// Name of the readiness file of the plugin that is started next.
    pub(crate) ready: &'static str,
}

impl Node {
    /// Makes the root if it is not there, starts containerd and loads the image.
    pub(crate) async fn start(suite: &str) -> Result<Node> {
        let root = root(suite)?;
        let dir = std::env::temp_dir().join(format!("oci-ipc-kubernetes-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        prepare(&root)?;
        let version = output(Command::new("chroot").arg(&root).args(["containerd", "--version"]))?;
        let version = version.split_whitespace().nth(2).unwrap_or("?").to_owned();
        let mut node = Node { root, dir, containerd: None, plugin: None, version, ready: "plugin" };
        node.start_containerd().await?;
        node.load_image()?;
        Ok(node)
    }

    pub(crate) async fn start_containerd(&mut self) -> Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("containerd.log"))?;
        let child = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", ENTER, "sh"])
            .arg(&self.root)
            .args(["containerd", "--config", "/etc/containerd/test.toml"])
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()?;
        self.containerd = Some(child);
        let started = Instant::now();
        loop {
            if let Ok(cri) = self.cri().await
                && cri.call::<Empty>("Version", &Empty::new()).await.is_ok()
            {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "containerd does not answer: {}", self.log("containerd.log"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM, as a service manager does. Pods stay.
    pub(crate) fn stop_containerd(&mut self) -> Result<()> {
        if let Some(mut child) = self.containerd.take() {
            signal(&child, nix::sys::signal::Signal::SIGTERM)?;
            child.wait()?;
        }
        Ok(())
    }

    /// Whether containerd is the process that was started, alive.
    pub(crate) fn containerd_runs(&mut self) -> bool {
        self.containerd.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    pub(crate) async fn cri(&self) -> Result<Cri> {
        Cri::connect(&self.root.join("run/test.sock")).await
    }

    pub(crate) fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Starts the plugin and waits until it is registered.
    pub(crate) async fn start_plugin(&mut self) -> Result<()> {
        self.launch_plugin()?;
        let started = Instant::now();
        while !self.plugin_ready()? {
            ensure!(started.elapsed() < PATIENCE, "the plugin does not register: {}", self.log("plugin.log"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    pub(crate) fn launch_plugin(&mut self) -> Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("plugin.log"))?;
        let child = Command::new(binary("oci-ipc-nri"))
            .args(plugin_options(self.root.join("run/nri/nri.sock"), &self.dir, self.ready_file()))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()?;
        self.plugin = Some(child);
        Ok(())
    }

    pub(crate) fn plugin_ready(&self) -> Result<bool> {
        let mut check = Command::new(binary("oci-ipc-nri"));
        check.args(["ready", "--ready-file"]).arg(self.ready_file()).stderr(Stdio::null());
        Ok(check.status()?.success())
    }

    /// Where `doctor` looks on a node.
    fn ready_file(&self) -> PathBuf {
        self.root.join("run/oci-ipc-hook/nri").join(self.ready)
    }

    /// What `doctor` says on this node.
    pub(crate) fn doctor(&self) -> Result<String> {
        fs::copy(binary("oci-ipc-hook"), self.root.join("tmp/oci-ipc-hook"))?;
        let said = Command::new("chroot").arg(&self.root).args(["/tmp/oci-ipc-hook", "doctor"]).output()?;
        Ok(String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
    }

    /// SIGKILL.
    pub(crate) fn kill_plugin(&mut self) -> Result<()> {
        if let Some(mut child) = self.plugin.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Resident memory of the plugin in KiB.
    pub(crate) fn plugin_memory(&self) -> Result<u64> {
        let pid = self.plugin.as_ref().context("no plugin")?.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// A profile of that name.
    pub(crate) fn profile(&self, name: &str, text: &str) -> Result<()> {
        let dir = self.dir.join("profiles.d");
        fs::create_dir_all(&dir)?;
        Ok(fs::write(dir.join(format!("{name}.toml")), format!("format = 1\n{text}"))?)
    }

    /// The image: busybox, which also sleeps as pause. A docker archive, made by hand.
    fn load_image(&self) -> Result<()> {
        let dir = self.root.join("tmp/image");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("fs/bin"))?;
        fs::create_dir_all(dir.join("fs/tmp"))?;
        fs::copy("/bin/busybox", dir.join("fs/bin/busybox"))?;
        for applet in ["sh", "cat", "sleep", "grep", "ipcs", "ipcrm", "id"] {
            std::os::unix::fs::symlink("busybox", dir.join("fs/bin").join(applet))?;
        }
        std::os::unix::fs::symlink("/proc/self/mounts", dir.join("fs/tmp/mounts"))?;
        output(Command::new("chmod").arg("1777").arg(dir.join("fs/tmp")))?;
        output(Command::new("tar").arg("-C").arg(dir.join("fs")).arg("-cf").arg(dir.join("layer.tar")).arg("."))?;
        let sum = output(Command::new("sha256sum").arg(dir.join("layer.tar")))?;
        let sum = sum.split_whitespace().next().context("sha256sum")?;
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Entrypoint": ["/bin/sleep", "1000000000"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
        });
        fs::write(dir.join("config.json"), config.to_string())?;
        let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
        fs::write(dir.join("manifest.json"), manifest.to_string())?;
        let files = ["manifest.json", "config.json", "layer.tar"];
        output(Command::new("tar").arg("-C").arg(&dir).arg("-cf").arg(dir.join("image.tar")).args(files))?;
        let args = ["ctr", "-a", "/run/test.sock", "-n", "k8s.io", "images", "import", "/tmp/image/image.tar"];
        output(Command::new("chroot").arg(&self.root).args(args)).map(drop)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill_plugin();
        let _ = self.stop_containerd();
        // Shims outlive containerd; they were started in our root and nowhere else.
        for shim in shims(&self.root) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL);
        }
        if std::env::var_os("KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Shims of this node's containerd, by their socket's directory in the command line and their root.
fn shims(root: &Path) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let ours = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains("containerd-shim") && line.contains("/run/test.sock") && same_root(*pid, root)
    };
    processes.filter_map(|p| p.ok()?.file_name().to_str()?.parse().ok()).filter(ours).collect()
}

fn same_root(pid: i32, root: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let there = fs::metadata(format!("/proc/{pid}/root/etc/containerd/test.toml"));
    let here = fs::metadata(root.join("etc/containerd/test.toml"));
    matches!((there, here), (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()))
}

/// The root of a Debian suite with containerd, made once and kept under the target directory.
pub(crate) fn root(suite: &str) -> Result<PathBuf> {
    let place = std::env::var_os("KUBERNETES_ROOTS")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes"), PathBuf::from);
    let root = place.join(suite);
    if root.join("usr/bin/containerd").exists() && root.join("usr/bin/kubectl").exists() {
        return Ok(root);
    }
    fs::create_dir_all(&place)?;
    let fresh = place.join(format!("{suite}.new"));
    // Left by a run that was killed; what is still mounted in it is not ours to delete.
    output(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&fresh))?;
    eprintln!("making a {suite} root with containerd; this takes a minute");
    output(
        Command::new("mmdebstrap")
            .args(["--variant=apt", "--include=containerd,runc,busybox-static,kubernetes-client"])
            .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
            .arg(suite)
            .arg(&fresh),
    )?;
    fs::rename(&fresh, &root)?;
    Ok(root)
}

fn prepare(root: &Path) -> Result<()> {
    for state in ["var/lib/test", "run/test", "run/nri", "run/oci-ipc-hook", "run/netns", "var/run/netns"] {
        let _ = fs::remove_dir_all(root.join(state));
    }
    for dir in ["etc/containerd", "opt/cni/bin", "etc/cni/net.d", "run", "tmp"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::write(root.join("etc/containerd/test.toml"), include_str!("containerd.toml"))?;
    for file in ["etc/resolv.conf", "etc/hosts"] {
        fs::write(root.join(file), "")?;
    }
    for name in ["nothing", "loopback"] {
        let path = root.join("opt/cni/bin").join(name);
        fs::write(&path, CNI)?;
        output(Command::new("chmod").arg("755").arg(&path))?;
    }
    let list = r#"{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"nothing"}]}"#;
    Ok(fs::write(root.join("etc/cni/net.d/10-test.conflist"), list)?)
}

/// A binary of this build, or of the directory `OCI_IPC_BINARIES`: to measure what ships.
pub(crate) fn binary(name: &str) -> PathBuf {
    match std::env::var_os("OCI_IPC_BINARIES") {
        Some(dir) => Path::new(&dir).join(name),
        None if name == "oci-ipc-nri" => env!("CARGO_BIN_EXE_oci-ipc-nri").into(),
        None => env!("CARGO_BIN_EXE_oci-ipc-hook").into(),
    }
}

/// The plugin's options, with policy and profiles of `dir`.
pub(crate) fn plugin_options(socket: PathBuf, dir: &Path, ready_file: PathBuf) -> [PathBuf; 10] {
    [
        "--socket".into(),
        socket,
        "--hook".into(),
        binary("oci-ipc-hook"),
        "--config".into(),
        dir.join("config.toml"),
        "--profiles-dir".into(),
        dir.join("profiles.d"),
        "--ready-file".into(),
        ready_file,
    ]
}

/// Standard output of a program that has to succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().with_context(|| program.clone())?;
    if !done.status.success() {
        bail!("{program}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

pub(crate) fn signal(child: &Child, signal: nix::sys::signal::Signal) -> Result<()> {
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(child.id())?), signal)?)
}
