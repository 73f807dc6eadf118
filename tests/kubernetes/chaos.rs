//! What happens when things end at the wrong moment.

use crate::cases::{DEFAULTS, PREPARED, SHOW, same, setup};
use crate::cri::Cri;
use crate::node::Node;
use crate::pod::Pod;
use crate::{Case, Outcome};
use anyhow::{Context as _, Result, bail, ensure};
use futures::future::join_all;
use std::time::Duration;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("50 pods at once", |n| Box::pin(parallel(n))),
    ("containerd restarts: the plugin comes back", |n| Box::pin(containerd_restart(n))),
    ("an update: two plugins at once, then the new one alone", |n| Box::pin(update(n))),
    ("pods from before the plugin are left alone", |n| Box::pin(found(n))),
    ("kill -9 of the plugin at random over 100 pod starts", |n| Box::pin(kill(n))),
];

async fn parallel(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let cri = node.cri().await?;
    let starts = (0..50).map(|_| async {
        let sandbox = Pod::new("parallel").profile("app").run(&cri).await?;
        sandbox.first_view(&cri, "app", SHOW).await
    });
    for seen in join_all(starts).await {
        same(&seen?, PREPARED)?;
    }
    Ok(Outcome::Passed(String::new()))
}

async fn containerd_restart(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let cri = node.cri().await?;
    let old = Pod::new("old").profile("app").run(&cri).await?;
    let bad = Pod::new("bad").profile("nosuch").run(&cri).await?;
    node.stop_containerd()?;
    node.start_containerd().await?;
    ready(node).await?;
    let cri = node.cri().await?;
    same(&old.first_view(&cri, "app", SHOW).await?, PREPARED)?;
    ensure!(bad.create(&cri, "app", "exit 0").await.is_err(), "the failed pod was forgotten");
    let new = Pod::new("new").profile("app").run(&cri).await?;
    same(&new.first_view(&cri, "app", SHOW).await?, PREPARED)?;
    Ok(Outcome::Passed(String::new()))
}

async fn update(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let old = node.plugin.take();
    node.ready = "second";
    let second = node.start_plugin().await;
    let done = async {
        second?;
        let cri = node.cri().await?;
        let both = Pod::new("both").profile("app").run(&cri).await?;
        same(&both.first_view(&cri, "app", SHOW).await?, PREPARED).context("with both")?;
        Ok::<_, anyhow::Error>(cri)
    };
    let cri = done.await;
    if let Some(mut old) = old {
        crate::node::signal(&old, nix::sys::signal::Signal::SIGTERM)?;
        old.wait()?;
    }
    let cri = cri?;
    ensure!(node.plugin_ready()?, "the new plugin is no longer ready");
    let new = Pod::new("new").profile("app").run(&cri).await?;
    same(&new.first_view(&cri, "app", SHOW).await?, PREPARED).context("with the new one")?;
    Ok(Outcome::Passed(String::new()))
}

/// Until the plugin is registered again.
async fn ready(node: &Node) -> Result<()> {
    for _ in 0..1000 {
        if node.plugin_ready()? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("the plugin does not come back")
}

async fn found(node: &mut Node) -> Result<Outcome> {
    let cri = node.cri().await?;
    let old = Pod::new("found").profile("app").run(&cri).await?;
    same(&old.first_view(&cri, "app", SHOW).await?, DEFAULTS)?;
    setup(node).await?;
    let pid = old.pid(&cri).await?;
    let args = ["-t", &pid.to_string(), "-i", "cat", "/proc/sys/kernel/msgmax"];
    same(&crate::node::output(std::process::Command::new("nsenter").args(args))?, "8192\n")?;
    Ok(Outcome::Passed(String::new()))
}

/// Pods one after the other as fast as they start, while the plugin is killed at random moments and started again. No
/// pod is removed meanwhile: containerd 2.1.9 itself hangs when a plugin registers while a sandbox is being removed
/// (RemovePodSandbox takes its lock for plugins a second time inside StopPodSandbox).
async fn kill(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let cri = node.cri().await?;
    let starting = tokio::spawn(start_many(cri.clone(), 100));
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut kills = 0;
    while !starting.is_finished() {
        ready(node).await?;
        tokio::time::sleep(Duration::from_micros(random.next() % 400_000)).await;
        node.kill_plugin()?;
        kills += 1;
        tokio::time::sleep(Duration::from_micros(random.next() % 200_000)).await;
        node.launch_plugin()?;
    }
    let views = starting.await??;
    ensure!(node.containerd_runs(), "containerd has ended");
    let prepared = views.iter().filter(|view| *view == PREPARED).count();
    let missed = views.iter().filter(|view| *view == DEFAULTS).count();
    ensure!(prepared + missed == 100, "half prepared: {views:?}");
    ready(node).await?;
    let after = Pod::new("after").profile("app").run(&cri).await?;
    same(&after.first_view(&cri, "app", SHOW).await.context("after the kills")?, PREPARED)?;
    Ok(Outcome::Passed(format!("{kills} kills: {prepared} pods prepared, {missed} started without, 0 half, 0 lost")))
}

async fn start_many(cri: Cri, count: usize) -> Result<Vec<String>> {
    let mut views = Vec::with_capacity(count);
    for _ in 0..count {
        let sandbox = Pod::new("kill").profile("app").run(&cri).await?;
        views.push(sandbox.first_view(&cri, "app", SHOW).await?);
    }
    Ok(views)
}

/// xorshift64: the same moments in every run, as far as the machine lets them be.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
