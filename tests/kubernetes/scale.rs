//! Figures: what a pod's start costs with the plugin, and what the plugin needs on a full node.

use crate::cases::setup;
use crate::cri::Cri;
use crate::node::Node;
use crate::pod::Pod;
use crate::{Case, Outcome};
use anyhow::Result;
use std::time::{Duration, Instant};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("latency of a pod's start, with and without the plugin", |n| Box::pin(latency(n))),
    ("250 pods on the node: the plugin's memory", |n| Box::pin(full_node(n))),
];

/// Pairs of starts in turn: the same pod with the plugin registered and with no plugin at all.
async fn latency(node: &mut Node) -> Result<Outcome> {
    let cri = node.cri().await?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        setup(node).await?;
        starts(&cri, &mut with).await?;
        node.kill_plugin()?;
        starts(&cri, &mut without).await?;
    }
    let (with, without, hook) = (Figures::of(with), Figures::of(without), Figures::of(hook_times(node)?));
    Ok(Outcome::Passed(format!("RunPodSandbox {with} with, {without} without; the hook {hook} of it")))
}

/// What the plugin's log says of each pod of this case.
fn hook_times(node: &Node) -> Result<Vec<Duration>> {
    let log = std::fs::read_to_string(node.dir.join("plugin.log"))?;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let ours = lines.filter(|line| line["pod"].as_str().is_some_and(|pod| pod.starts_with("test/latency-")));
    let times = ours.filter_map(|line| line["took_ms"].as_str()?.parse::<f64>().ok());
    let times: Vec<_> = times.map(|ms| Duration::from_secs_f64(ms / 1000.0)).collect();
    anyhow::ensure!(times.len() == 100, "{} of 100 pods were prepared", times.len());
    Ok(times)
}

async fn starts(cri: &Cri, times: &mut Vec<Duration>) -> Result<()> {
    for _ in 0..10 {
        let started = Instant::now();
        let sandbox = Pod::new("latency").profile("app").run(cri).await?;
        times.push(started.elapsed());
        sandbox.remove(cri).await?;
    }
    Ok(())
}

struct Figures {
    median: Duration,
    p99: Duration,
}

impl Figures {
    fn of(mut times: Vec<Duration>) -> Figures {
        times.sort_unstable();
        Figures { median: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |d: Duration| d.as_secs_f64() * 1000.0;
        write!(f, "{:.1} ms (p99 {:.1})", ms(self.median), ms(self.p99))
    }
}

async fn full_node(node: &mut Node) -> Result<Outcome> {
    setup(node).await?;
    let cri = node.cri().await?;
    let before = node.plugin_memory()?;
    for _ in 0..250 {
        Pod::new("full").profile("app").run(&cri).await?;
    }
    let after = node.plugin_memory()?;
    Ok(Outcome::Passed(format!("{before} KiB without pods, {after} KiB with 250")))
}
