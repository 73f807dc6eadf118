//! Pods over CRI on a real containerd with the real plugin and hook; the manifests; the image. Prints a table.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod admission;
#[path = "../../src/nri/api.rs"]
#[allow(dead_code, unused_imports, reason = "the plugin's module, of which one case needs a part")]
mod api;
mod cases;
mod chaos;
mod cri;
mod image;
mod manifests;
#[path = "../../src/nri/mux.rs"]
#[allow(dead_code, unused_imports, reason = "its own tests run elsewhere")]
mod mux;
mod node;
mod pinned;
mod pod;
#[path = "../nri/runtime.rs"]
#[allow(dead_code, reason = "the plugin's own tests need all of it")]
mod runtime;
mod scale;

use anyhow::Result;
use futures::future::BoxFuture;
use node::Node;
use std::process::ExitCode;
use std::time::Instant;

/// What becomes of a case.
pub(crate) enum Outcome {
    /// Passed, with something worth telling.
    Passed(String),
    Skipped(String),
}

type Case = for<'n> fn(&'n mut Node) -> BoxFuture<'n, Result<Outcome>>;

/// Counts and prints.
#[derive(Default)]
struct Table {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Table {
    fn row(&mut self, group: &str, name: &str, started: Instant, outcome: Result<Outcome>) {
        let (word, note) = match outcome {
            Ok(Outcome::Passed(note)) => {
                self.passed += 1;
                ("pass", note)
            }
            Ok(Outcome::Skipped(why)) => {
                self.skipped += 1;
                ("skip", why)
            }
            Err(error) => {
                self.failed += 1;
                ("FAIL", format!("{error:#}"))
            }
        };
        println!("{group:<18} {name:<52} {word} {:>6} ms  {note}", started.elapsed().as_millis());
    }
}

fn main() -> ExitCode {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let suites = std::env::var("KUBERNETES_SUITES").unwrap_or_else(|_| "trixie".to_owned());
    if let Some(first) = suites.split_whitespace().next() {
        offline(first, &filter, &mut table);
    }
    for suite in suites.split_whitespace() {
        runtime.block_on(on_containerd(suite, &filter, &mut table));
    }
    println!("{} passed, {} failed, {} skipped", table.passed, table.failed, table.skipped);
    if table.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Why nothing can run here; a machine that is meant to run everything fails instead.
fn unavailable(suite: &str) -> Option<String> {
    if std::env::var_os("OCI_IPC_HOOK_REQUIRE").is_some() {
        return None;
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("root is needed".to_owned());
    }
    node::root(suite).err().map(|error| format!("no root of {suite} can be made: {error:#}"))
}

/// Manifests, policy and image, with the kubectl of a suite's root.
fn offline(suite: &str, filter: &str, table: &mut Table) {
    let groups = [
        ("manifests", manifests::TESTS),
        ("admission", admission::TESTS),
        ("image", image::TESTS),
        ("CRI-O", pinned::TESTS),
    ];
    let tests = groups.iter().flat_map(|(group, tests)| tests.iter().map(move |(name, test)| (*group, *name, *test)));
    let unavailable = unavailable(suite);
    let mut root: Option<std::path::PathBuf> = None;
    for (group, name, test) in tests.filter(|(_, name, _)| name.contains(filter)) {
        let started = Instant::now();
        if let Some(why) = &unavailable {
            table.row(group, name, started, Ok(Outcome::Skipped(why.clone())));
            continue;
        }
        let outcome = match &root {
            Some(root) => test(root),
            None => node::root(suite).and_then(|found| test(root.insert(found))),
        };
        let outcome = outcome.map(|note| match note.strip_prefix("SKIP: ") {
            Some(why) => Outcome::Skipped(why.to_owned()),
            None => Outcome::Passed(note),
        });
        table.row(group, name, started, outcome);
    }
}

/// Every case on a node of its own suite, one after the other.
async fn on_containerd(suite: &str, filter: &str, table: &mut Table) {
    let cases: Vec<(&str, Case)> = [cases::CASES, image::CASES, chaos::CASES, scale::CASES].concat();
    let cases: Vec<_> = cases.into_iter().filter(|(name, _)| name.contains(filter)).collect();
    if cases.is_empty() {
        return;
    }
    let started = Instant::now();
    if let Some(why) = unavailable(suite) {
        return table.row(suite, "all", started, Ok(Outcome::Skipped(why)));
    }
    let mut node = match Node::start(suite).await {
        Ok(node) => node,
        Err(error) => return table.row(suite, "a node", started, Err(error)),
    };
    let group = format!("containerd {}", node.version);
    for (name, case) in cases {
        let started = Instant::now();
        let outcome = case(&mut node).await;
        if outcome.is_err() {
            eprintln!("plugin's log:\n{}\ncontainerd's log:\n{}", node.log("plugin.log"), node.log("containerd.log"));
        }
        table.row(&group, name, started, outcome);
        if let Err(error) = tidy(&mut node).await {
            return table.row(&group, "tidying up", started, Err(error));
        }
    }
}

/// The next case finds no pods, and a plugin only if it starts one.
async fn tidy(node: &mut Node) -> Result<()> {
    if !node.containerd_runs() {
        node.start_containerd().await?;
    }
    node.kill_plugin()?;
    node.ready = "plugin";
    pod::remove_all(&node.cri().await?).await
}
