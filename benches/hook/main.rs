//! `cargo bench --bench hook [-- [--write DIR] [--quick] [--only TEXT] [--layout FILE]]`: whole processes against the floor and against
//! what users do today, each run in a fresh IPC namespace, contenders in turn. Needs root and a C compiler; Go, strace,
//! runc and crun join in when they are there.
//!
//! `--layout FILE` measures nothing but writes the linker script with the functions that a hook runs.
//! `--write DIR` writes `benchmarks.md` and `benchmarks.svg` there; `--quick` takes a tenth of the rounds; `--only TEXT`
//! takes the workloads whose name holds TEXT. `OCI_IPC_HOOK_BIN` names the binary to measure.

#![allow(missing_docs)]

mod bars;
mod cases;
mod chart;
mod data;
mod lab;
mod layout;
mod machine;
mod report;
mod stats;

use anyhow::{Context, Result, ensure};
use cases::{Case, Who};
use lab::{Lab, Measured, find};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A workload with what came out.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) who: Vec<Who>,
    pub(crate) measured: Measured,
    /// System calls of one run, for each contender.
    pub(crate) calls: Vec<Option<usize>>,
}

/// Everything that a report shows.
pub(crate) struct Results {
    pub(crate) outcomes: Vec<Outcome>,
    /// Sizes of the programs, in bytes.
    pub(crate) sizes: Vec<(Who, u64)>,
    /// What did not take part, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) compiler: &'static str,
}

struct Options {
    write: Option<PathBuf>,
    scale: f64,
    only: String,
    layout: Option<PathBuf>,
}

fn options() -> Result<Options> {
    let mut options = Options { write: None, scale: 1.0, only: String::new(), layout: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--write" => options.write = Some(words.next().context("--write needs a directory")?.into()),
            "--only" => options.only = words.next().context("--only needs a text")?,
            "--layout" => options.layout = Some(words.next().context("--layout needs a file")?.into()),
            "--quick" => options.scale = 0.1,
            // cargo says so to every bench
            "--bench" => {}
            other => {
                anyhow::bail!("{other}: not an option; there are --write DIR, --only TEXT, --layout FILE and --quick")
            }
        }
    }
    Ok(options)
}

fn main() -> Result<()> {
    let options = options()?;
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    data::write_all(&data)?;
    let lab = Lab::open(&data)?;
    if let Some(file) = options.layout {
        return layout::write(&lab, &file);
    }
    let mut results = Results { outcomes: vec![], sizes: vec![], left_out: vec![], compiler: lab.compiler };
    let absent = gather(&lab, &mut results)?;
    for case in cases::all(options.scale).into_iter().filter(|case| case.name.contains(&options.only)) {
        if let Some(case) = present(case, &absent, &mut results.left_out) {
            eprintln!("{} …", case.name);
            let name = case.name.clone();
            match run(&lab, case) {
                Ok(outcome) => {
                    print!("{}", report::table(&outcome));
                    results.outcomes.push(outcome);
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    let line = why.lines().next().unwrap_or_default();
                    eprintln!("left out: {line}");
                    results.left_out.push(format!("{name}: {line}"));
                }
            }
        }
    }
    println!("\n{}", report::bars(&results));
    if let Some(dir) = options.write {
        std::fs::create_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
        let put = |name: &str, text: String| std::fs::write(dir.join(name), text).with_context(|| name.to_owned());
        put("benchmarks.md", report::page(&results))?;
        put("benchmarks.svg", chart::draw(&results))?;
    }
    Ok(())
}

/// Puts every contender's program into the data directory; says who is absent.
fn gather(lab: &Lab, results: &mut Results) -> Result<Vec<Who>> {
    let mut absent = vec![];
    match shipped() {
        Ok((binary, note)) => {
            lab.adopt(&binary, Who::Ours.program())?;
            results.left_out.extend(note);
        }
        Err(error) => {
            results.left_out.push(format!("oci-ipc-hook: {error:#}"));
            absent.push(Who::Ours);
        }
    }
    if let Err(why) = build_go(&lab.data) {
        results.left_out.push(format!("Go twin: {why:#}"));
        absent.push(Who::Go);
    }
    let lacking: Vec<&str> =
        ["nsenter", "sysctl", "ipcmk", "ipcs"].into_iter().filter(|tool| find(tool).is_none()).collect();
    if lacking.is_empty() {
        lab.adopt(&twin("hook.sh"), Who::Shell.program())?;
    } else {
        results.left_out.push(format!("sh twin: no {} here", lacking.join(", ")));
        absent.push(Who::Shell);
    }
    if find("strace").is_none() {
        results.left_out.push("system calls: no strace here".into());
    }
    for who in [Who::Empty, Who::Floor, Who::Ours, Who::Go, Who::Shell] {
        if let Ok(file) = std::fs::metadata(lab.data.join("bin").join(who.program())) {
            results.sizes.push((who, file.len()));
        }
    }
    make_runtime_bundles(&lab.data)?;
    Ok(absent)
}

fn twin(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/twins").join(name)
}

/// What ships, a static musl binary: built here unless its path is given. Second: what to say when it is another.
fn shipped() -> Result<(PathBuf, Option<String>)> {
    if let Some(path) = std::env::var_os("OCI_IPC_HOOK_BIN") {
        return Ok((path.into(), None));
    }
    let target = static_target();
    if build_static().output().context("cargo")?.status.success() {
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let target_dir = tmp.parent().context("target directory")?;
        return Ok((target_dir.join(&target).join("release/oci-ipc-hook"), None));
    }
    let note =
        format!("static musl build: the target {target} is missing; measured is the build for this machine instead");
    Ok((env!("CARGO_BIN_EXE_oci-ipc-hook").into(), Some(note)))
}

/// What ships is built for it.
pub(crate) fn static_target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// Builds what ships.
pub(crate) fn build_static() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--bin", "oci-ipc-hook", "--target", &static_target()]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

fn build_go(data: &Path) -> Result<()> {
    let go = find("go").context("no go here")?;
    let output = Command::new(go)
        .args(["build", "-ldflags", "-s -w", "-o"])
        .arg(data.join("bin").join(Who::Go.program()))
        .arg(twin("hook.go"))
        .env("CGO_ENABLED", "0")
        .env("GO111MODULE", "off")
        .env("GOCACHE", data.join("gocache"))
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Bundles for `runc run` and `crun run`: the same container without a hook, with an empty one, and with ours.
fn make_runtime_bundles(data: &Path) -> Result<()> {
    for who in [Who::Bare, Who::Idle, Who::Hooked] {
        let bundle = data.join("runtime").join(cases::bundle(who));
        std::fs::create_dir_all(bundle.join("rootfs/proc"))?;
        std::fs::copy(data.join("bin").join(Who::Empty.program()), bundle.join("rootfs/true"))?;
        std::fs::write(bundle.join("config.json"), data::runtime_config(who))?;
    }
    Ok(())
}

/// The case without the contenders that are absent; `None` when nothing is left to compare.
fn present(mut case: Case, absent: &[Who], left_out: &mut Vec<String>) -> Option<Case> {
    if case.who.contains(&Who::Hooked) {
        let runtime = case.job.commands[0][0].clone();
        let Some(path) = find(&runtime) else {
            left_out.push(format!("{}: no {runtime} here", case.name));
            return None;
        };
        if absent.contains(&Who::Ours) {
            return None;
        }
        for command in &mut case.job.commands {
            command[0] = path.display().to_string();
        }
        return Some(case);
    }
    let keep: Vec<bool> = case.who.iter().map(|who| !absent.contains(who)).collect();
    let mut of_who = keep.iter();
    case.who.retain(|_| of_who.next() == Some(&true));
    let mut of_commands = keep.iter();
    case.job.commands.retain(|_| of_commands.next() == Some(&true));
    (!case.who.is_empty()).then_some(case)
}

fn run(lab: &Lab, case: Case) -> Result<Outcome> {
    let measured = lab.measure(&case.job).with_context(|| case.name.clone())?;
    let mut calls = vec![None; case.who.len()];
    if let (true, Some(state)) = (case.traced, &case.job.state) {
        for (count, command) in calls.iter_mut().zip(&case.job.commands) {
            *count = lab.system_calls(state, command)?;
        }
    }
    Ok(Outcome { name: case.name, who: case.who, measured, calls })
}
