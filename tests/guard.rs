//! Keeps the standard run cheap: system calls, page faults, memory and size of the binary that ships, against fixed
//! budgets and against the C floor. All of them are steady on a noisy machine; nothing here looks at a clock.
//!
//! `OCI_IPC_HOOK_BIN` names the static release binary; without it, root, a C compiler and strace there is nothing to
//! measure, and the test says so.

#![allow(missing_docs, dead_code)]

#[path = "../benches/hook/cases.rs"]
mod cases;
#[path = "../benches/hook/data.rs"]
mod data;
#[path = "../benches/hook/lab.rs"]
mod lab;

use anyhow::{Context, Result};
use cases::{Case, Who};
use lab::{Lab, Measured};
use std::path::{Path, PathBuf};

/// System calls of the standard run, from execve to exit.
const CALLS: usize = 125;
/// How many more than the floor makes: looking up before creating, loading profile and policy safely.
const CALLS_ABOVE_FLOOR: usize = 33;
/// Minor page faults of the standard run: 28 to 30 are seen, by what the page cache holds together. More than this: see
/// whether a larger change left `layout/hot.ld` behind (`make layout`).
const FAULTS: u64 = 33;
/// Peak memory of the standard run, in KiB.
const PEAK_KIB: u64 = 3 << 10;
/// Size of the binary, in bytes.
const SIZE: u64 = 2 << 20;

/// The binary that ships, if the caller has built it.
fn shipped() -> Option<PathBuf> {
    let path = std::env::var_os("OCI_IPC_HOOK_BIN").map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: OCI_IPC_HOOK_BIN does not name the static release binary");
    }
    path
}

/// Floor and hook, a few rounds of the standard run; `None` after saying what is missing.
fn standard_run() -> Result<Option<(Lab, Case, Measured)>> {
    let Some(binary) = shipped() else { return Ok(None) };
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: a namespace of another process can be joined by root only");
        return Ok(None);
    }
    if lab::find("musl-gcc").or_else(|| lab::find("cc")).is_none() {
        eprintln!("skipped: no C compiler for the floor");
        return Ok(None);
    }
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guard");
    data::write_all(&data)?;
    let lab = Lab::open(&data)?;
    lab.adopt(&binary, Who::Ours.program())?;
    let mut case = cases::standard(9);
    case.who.truncate(2);
    case.job.commands.truncate(2);
    assert_eq!(case.who, [Who::Floor, Who::Ours]);
    let measured = lab.measure(&case.job)?;
    Ok(Some((lab, case, measured)))
}

#[test]
fn the_standard_run_stays_within_its_budgets() -> Result<()> {
    let Some((lab, case, measured)) = standard_run()? else { return Ok(()) };
    let ours = &measured.runs[1];
    let mut faults: Vec<u64> = ours.iter().map(|run| run.faults).collect();
    faults.sort_unstable();
    assert!(faults[faults.len() / 2] <= FAULTS, "{faults:?} minor page faults, at most {FAULTS} wanted");
    let peak = ours.iter().map(|run| run.peak_kib).max().unwrap_or_default();
    assert!(peak <= PEAK_KIB, "peak memory {peak} KiB, at most {PEAK_KIB} wanted");

    let state = case.job.state.as_deref().context("a state")?;
    let count = |command: &[String]| lab.system_calls(state, command).expect("strace");
    let (floor, first, second) =
        (count(&case.job.commands[0]), count(&case.job.commands[1]), count(&case.job.commands[1]));
    let (Some(floor), Some(first)) = (floor, first) else {
        eprintln!("skipped in part: no strace to count system calls");
        return Ok(());
    };
    assert!(first >= floor, "{first} system calls are fewer than the floor's {floor}: the job was not done");
    assert_eq!(Some(first), second, "system calls differ from run to run");
    assert!(first <= CALLS, "{first} system calls, at most {CALLS} wanted");
    let most = floor + CALLS_ABOVE_FLOOR;
    assert!(first <= most, "{first} system calls, the floor makes {floor}: at most {most} wanted");
    Ok(())
}

#[test]
fn the_binary_stays_small() -> Result<()> {
    let Some(binary) = shipped() else { return Ok(()) };
    let size = std::fs::metadata(&binary)?.len();
    assert!(size <= SIZE, "{size} bytes, at most {SIZE} wanted");
    Ok(())
}
