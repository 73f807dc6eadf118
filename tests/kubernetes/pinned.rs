//! A runtime without pause processes, as CRI-O: the pod's namespace is a pinned file, seen through the runtime's root.

use crate::api::{LinuxNamespace, LinuxPodSandbox, PodSandbox};
use crate::manifests::Test;
use crate::node::{binary, output, plugin_options};
use crate::runtime::Connection;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tokio::net::UnixListener;

pub(crate) const TESTS: &[Test] = &[
    ("a pinned namespace without any process is prepared", |_| run(prepared())),
    ("a pinned namespace that cannot be prepared refuses containers, or not with on-error = warn", |_| run(refused())),
];

/// A pinned IPC namespace and a plugin; both end with it.
struct Pinned {
    dir: PathBuf,
    plugin: Option<Child>,
}

impl Pinned {
    fn namespace(&self) -> PathBuf {
        self.dir.join("ipc")
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(plugin) = &mut self.plugin {
            let _ = plugin.kill();
            let _ = plugin.wait();
        }
        let _ = Command::new("umount").arg(self.namespace()).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn run(test: impl Future<Output = Result<()>>) -> Result<String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)?;
    Ok(String::new())
}

impl Pinned {
    fn new(name: &str, policy: &str, profile: &str) -> Result<Pinned> {
        let dir = std::env::temp_dir().join(format!("oci-ipc-pinned-{name}-{}", std::process::id()));
        fs::create_dir_all(dir.join("profiles.d"))?;
        let pinned = Pinned { dir, plugin: None };
        fs::write(pinned.dir.join("profiles.d/app.toml"), format!("format = 1\n{profile}"))?;
        fs::write(pinned.dir.join("config.toml"), format!("format = 1\n[policy]\n{policy}\n"))?;
        fs::write(pinned.namespace(), "")?;
        output(Command::new("unshare").arg(format!("--ipc={}", pinned.namespace().display())).arg("true"))?;
        Ok(pinned)
    }

    /// Starts the plugin, and hands the pod to it. The answer is that to its first container.
    async fn start(&mut self) -> Result<std::result::Result<(), String>> {
        let listener = UnixListener::bind(self.dir.join("nri.sock"))?;
        // The record of the pod stays in a /run of the plugin's own.
        let plugin = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount -t tmpfs -o mode=755 tmpfs /run && exec \"$0\" \"$@\"")
            .arg(binary("oci-ipc-nri"))
            .args(plugin_options(self.dir.join("nri.sock"), &self.dir, self.dir.join("ready")))
            .stderr(Stdio::null())
            .spawn()?;
        self.plugin = Some(plugin);
        let (stream, _) = listener.accept().await?;
        let mut connection = Connection::over(stream).await;
        connection.greet(60_000, Vec::new(), Vec::new()).await;
        let pod = pod(&self.namespace());
        connection.run_pod(&pod).await.map_err(anyhow::Error::msg)?;
        Ok(connection.create_container(&pod).await.map(drop))
    }

    /// msgmax and the segments of the namespace.
    fn seen(&self) -> Result<String> {
        let enter = format!("--ipc={}", self.namespace().display());
        output(Command::new("nsenter").arg(enter).args(["cat", "/proc/sys/kernel/msgmax", "/proc/sysvipc/shm"]))
    }
}

async fn prepared() -> Result<()> {
    let profile = "[sysctl]\n\"kernel.msgmax\" = 65536\n[[shm]]\nkey = 0x51\nsize = 4096\nowner = \"7:7\"\n";
    let mut pinned = Pinned::new("good", "", profile)?;
    pinned.start().await?.map_err(anyhow::Error::msg).context("CreateContainer")?;
    let seen = pinned.seen()?;
    ensure!(seen.starts_with("65536\n"), "{seen}");
    ensure!(seen.lines().last().is_some_and(|row| row.split_whitespace().next() == Some("81")), "{seen}");
    Ok(())
}

/// The object has no owner, which is an error where no config.json tells the user.
async fn refused() -> Result<()> {
    let profile = "[sysctl]\n\"kernel.msgmax\" = 65536\n[[shm]]\nkey = 0x51\nsize = 4096\n";
    for (policy, starts) in [("on-error = \"fail\"", false), ("on-error = \"warn\"", true)] {
        let mut pinned = Pinned::new("bad", policy, profile)?;
        match pinned.start().await? {
            Ok(()) => ensure!(starts, "{policy}: the container starts"),
            Err(line) => ensure!(!starts && line.contains("owner"), "{policy}: {line}"),
        }
        let seen = pinned.seen()?;
        ensure!(seen.starts_with("8192\n") && seen.lines().count() == 2, "{policy}: {seen}");
    }
    Ok(())
}

fn pod(namespace: &Path) -> PodSandbox {
    let mut pod = PodSandbox { id: "p1".into(), name: "p".into(), namespace: "n".into(), ..PodSandbox::default() };
    pod.annotations.insert("io.oci-ipc-hook.profile".into(), "app".into());
    let path = namespace.to_string_lossy().into_owned();
    let ipc = LinuxNamespace { type_: "ipc".into(), path, ..LinuxNamespace::default() };
    pod.linux = Some(LinuxPodSandbox { namespaces: vec![ipc], ..LinuxPodSandbox::default() }).into();
    pod
}
