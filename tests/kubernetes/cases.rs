//! What one pod sees.

use crate::node::Node;
use crate::pod::{Pod, Sandbox, exec, start};
use crate::{Case, Outcome};
use anyhow::{Context as _, Result, ensure};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("an annotated pod has its profile in its first container", |n| Box::pin(profile(n))),
    ("objects are there for every container of the pod", |n| Box::pin(objects(n))),
    ("a pod that asks for nothing keeps the kernel's defaults", |n| Box::pin(plain(n))),
    ("memory formulas use the pod's limit", |n| Box::pin(memory(n))),
    ("a failing pod says why at each container, then goes", |n| Box::pin(failing(n))),
    ("on-error = warn lets the pod start, undone", |n| Box::pin(warning(n))),
    ("the policy denies inline requests", |n| Box::pin(denied(n))),
    ("an object without owner is an error", |n| Box::pin(ownerless(n))),
    ("a value that the pod set itself is not lowered", |n| Box::pin(pod_sysctl(n))),
    ("hostIPC is refused", |n| Box::pin(host_ipc(n))),
    ("a pod with a user namespace", |n| Box::pin(user_namespace(n))),
    ("a restarted container finds the namespace right", |n| Box::pin(container_restart(n))),
    ("without the plugin pods start unprepared; doctor says so", |n| Box::pin(no_plugin(n))),
];

/// Everything a container can see of what is asked here.
pub(crate) const SHOW: &str = "cat /proc/sys/kernel/msgmax /proc/sys/kernel/sem /proc/sys/fs/mqueue/msg_max";
pub(crate) const DEFAULTS: &str = "8192\n32000\t1024000000\t500\t32000\n10\n";
pub(crate) const PREPARED: &str = "65536\n32000\t1024000000\t500\t32001\n64\n";

/// The policy and the profile that most cases use, and a registered plugin.
pub(crate) async fn setup(node: &mut Node) -> Result<()> {
    policy(node, "annotations = \"profiles\"")?;
    node.profile("app", APP)?;
    node.start_plugin().await
}

pub(crate) const APP: &str = r#"
[sysctl]
"kernel.msgmax" = 65536
"kernel.sem" = { semmni = ">= 32001" }
"fs.mqueue.msg_max" = 64
[[shm]]
key = 0x51
size = "64KiB"
owner = "1000:1000"
[[sem]]
key = 0x52
nsems = 3
owner = "1000:1000"
[[msg]]
key = 0x53
owner = "1000:1000"
[[mqueue]]
name = "/orders"
max-messages = 8
message-size = 128
owner = "1000:1000"
"#;

fn policy(node: &Node, text: &str) -> Result<()> {
    Ok(std::fs::write(node.dir.join("config.toml"), format!("format = 1\n[policy]\n{text}\n"))?)
}

fn passed() -> Result<Outcome> {
    Ok(Outcome::Passed(String::new()))
}

pub(crate) fn same(found: &str, wanted: &str) -> Result<()> {
    ensure!(found == wanted, "wanted {wanted:?}, found {found:?}");
    Ok(())
}

async fn profile(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let cri = node.cri().await?;
    let sandbox = Pod::new("profile").profile("app").run(&cri).await?;
    same(&sandbox.first_view(&cri, "app", SHOW).await?, PREPARED)?;
    passed()
}

async fn objects(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let cri = node.cri().await?;
    let sandbox = Pod::new("objects").profile("app").run(&cri).await?;
    for container in ["init", "producer", "consumer"] {
        let seen =
            sandbox.first_view(&cri, container, "cat /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg").await?;
        for (key, kind) in [("81", "segment"), ("82", "semaphore set"), ("83", "message queue")] {
            let row = seen.lines().find(|line| line.split_whitespace().next() == Some(key));
            let row = row.with_context(|| format!("{container}: no {kind} in {seen}"))?;
            ensure!(row.contains(" 1000 "), "{container}: owner of the {kind}: {row}");
        }
    }
    let queue = mqueue(&cri, &sandbox).await?;
    ensure!(queue == 1, "{queue} POSIX queues");
    passed()
}

/// Number of POSIX queues in the pod's namespace, seen from outside.
async fn mqueue(cri: &crate::cri::Cri, sandbox: &Sandbox) -> Result<usize> {
    let pid = sandbox.pid(cri).await?.to_string();
    let script = "mount -t mqueue none /mnt && ls /mnt";
    let mut command = std::process::Command::new("nsenter");
    command.args(["-t", &pid, "-i", "unshare", "-m", "--propagation", "private", "sh", "-c", script]);
    Ok(crate::node::output(&mut command)?.split_whitespace().count())
}

async fn plain(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let cri = node.cri().await?;
    let sandbox = Pod::new("plain").run(&cri).await?;
    same(&sandbox.first_view(&cri, "app", SHOW).await?, DEFAULTS)?;
    passed()
}

async fn memory(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    node.profile("half", "[sysctl]\n\"kernel.shmmax\" = \"50%\"")?;
    let cri = node.cri().await?;
    let sandbox = Pod::new("memory").profile("half").memory(256 << 20).run(&cri).await?;
    same(&sandbox.first_view(&cri, "app", "cat /proc/sys/kernel/shmmax").await?, "134217728\n")?;
    passed()
}

async fn failing(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let cri = node.cri().await?;
    let sandbox = Pod::new("failing").profile("nosuch").run(&cri).await.context("the sandbox itself must start")?;
    for _ in 0..3 {
        let error = refused(&cri, &sandbox).await?;
        ensure!(error.contains("nosuch"), "{error}");
    }
    sandbox.remove(&cri).await?;
    node.stop_containerd()?;
    node.start_containerd().await.context("containerd must start again after a failed pod")?;
    passed()
}

/// The error of creating a container in the pod.
async fn refused(cri: &crate::cri::Cri, sandbox: &Sandbox) -> Result<String> {
    match sandbox.create(cri, "app", "exit 0").await {
        Ok(_) => anyhow::bail!("the container was created"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

async fn warning(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    policy(node, "on-error = \"warn\"")?;
    node.profile(
        "late",
        "[sysctl]\n\"kernel.msgmax\" = 65536\n[[shm]]\nkey = 1\nsize = \"1KiB\"\nif-exists = \"fail\"",
    )?;
    let cri = node.cri().await?;
    let sandbox = Pod::new("warning").profile("late").run(&cri).await?;
    same(&sandbox.first_view(&cri, "app", "cat /proc/sys/kernel/msgmax").await?, "8192\n")?;
    passed()
}

async fn denied(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let cri = node.cri().await?;
    let sandbox = Pod::new("denied").annotation("sysctl.kernel.msgmax", "9000").run(&cri).await?;
    let error = refused(&cri, &sandbox).await?;
    ensure!(error.contains("annotations") || error.contains("policy"), "{error}");
    passed()
}

async fn ownerless(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    node.profile("bare", "[[shm]]\nkey = 1\nsize = \"1KiB\"")?;
    let cri = node.cri().await?;
    let sandbox = Pod::new("ownerless").profile("bare").run(&cri).await?;
    let error = refused(&cri, &sandbox).await?;
    ensure!(error.contains("owner"), "{error}");
    passed()
}

async fn pod_sysctl(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    node.profile("raise", "[sysctl]\n\"kernel.msgmax\" = \">= 65536\"")?;
    let cri = node.cri().await?;
    let sandbox = Pod::new("sysctl").sysctl("kernel.msgmax", "100000").profile("raise").run(&cri).await?;
    same(&sandbox.first_view(&cri, "app", "cat /proc/sys/kernel/msgmax").await?, "100000\n")?;
    let sandbox = Pod::new("sysctl").sysctl("kernel.msgmax", "30000").profile("raise").run(&cri).await?;
    same(&sandbox.first_view(&cri, "app", "cat /proc/sys/kernel/msgmax").await?, "65536\n")?;
    passed()
}

async fn host_ipc(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let before = std::fs::read_to_string("/proc/sys/kernel/msgmax")?;
    let cri = node.cri().await?;
    let sandbox = Pod::new("hostipc").host_ipc().profile("app").run(&cri).await?;
    let error = refused(&cri, &sandbox).await?;
    ensure!(error.to_lowercase().contains("host"), "{error}");
    same(&std::fs::read_to_string("/proc/sys/kernel/msgmax")?, &before)?;
    passed()
}

async fn user_namespace(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let cri = node.cri().await?;
    let sandbox = match Pod::new("userns").user_namespace(200_000).profile("app").run(&cri).await {
        Ok(sandbox) => sandbox,
        Err(error) => return Ok(Outcome::Skipped(format!("no such pods here: {error:#}"))),
    };
    let show = format!("{SHOW}; cat /proc/self/uid_map /proc/sysvipc/shm");
    let seen = sandbox.first_view(&cri, "app", &show).await?;
    ensure!(seen.starts_with(PREPARED), "{seen}");
    ensure!(seen.contains("200000"), "no user namespace: {seen}");
    ensure!(seen.lines().last().is_some_and(|row| row.contains(" 1000 ")), "owner: {seen}");
    passed()
}

async fn container_restart(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let cri = node.cri().await?;
    let sandbox = Pod::new("restart").profile("app").run(&cri).await?;
    let first = sandbox.create(&cri, "app", "exec sleep 1000000").await?;
    start(&cri, &first).await?;
    let id = exec(&cri, &first, "cat /proc/sysvipc/shm").await?;
    let request = crate::cri::ContainerRequest { container_id: first, ..Default::default() };
    let _: crate::cri::Empty = cri.call("RemoveContainer", &request).await?;
    let seen = sandbox.first_view(&cri, "app", &format!("{SHOW}; cat /proc/sysvipc/shm")).await?;
    same(&seen, &format!("{PREPARED}{id}"))?;
    passed()
}

async fn no_plugin(node: &mut Node) -> Result<Outcome> {
    let cri = node.cri().await?;
    let sandbox = Pod::new("alone").profile("app").run(&cri).await?;
    same(&sandbox.first_view(&cri, "app", SHOW).await?, DEFAULTS)?;
    ensure!(!node.plugin_ready()?, "the readiness check sees a plugin");
    setup(node).await?;
    let said = node.doctor()?;
    ensure!(said.contains("an NRI plugin is registered"), "{said}");
    node.kill_plugin()?;
    let said = node.doctor()?;
    ensure!(said.contains("annotated pods start unprepared"), "{said}");
    passed()
}
