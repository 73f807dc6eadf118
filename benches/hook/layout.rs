//! `--layout FILE`: which functions a hook runs, written as a linker script that puts them side by side. The kernel maps
//! a program's code in pieces when they are first used; the fewer there are, the sooner a run is done.

use crate::cases::{self, Case};
use crate::lab::{Job, Lab, SEEN, compile, find};
use crate::{build_static, static_target};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workloads whose code is wanted side by side, in this order.
const RUNS: [&str; 3] = ["nothing asked", "13 sysctls + 4 objects", "10 objects"];

/// Runs the hook in the workloads of [`RUNS`] instruction by instruction and writes the script.
pub(crate) fn write(lab: &Lab, to: &Path) -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "the instruction counter is read as x86_64 has it");
    let nm = find("nm").context("no nm here: install binutils")?;
    compile(lab.compiler, "steps", &lab.data.join("bin"))?;
    let binary = with_symbols()?;
    lab.adopt(&binary, cases::Who::Ours.program())?;
    let symbols = symbols(&nm, &binary)?;
    let mut patterns: Vec<String> = Vec::new();
    let all = cases::all(0.0);
    for case in RUNS.iter().filter_map(|name| all.iter().find(|case| case.name == *name)) {
        for address in steps(lab, case)? {
            let Some((_, name)) = symbols.range(..=address).next_back() else { continue };
            let pattern = pattern(name);
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
    }
    std::fs::write(to, script(&patterns)).with_context(|| to.display().to_string())
}

/// What ships, with its symbols.
fn with_symbols() -> Result<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layout");
    let mut cargo = build_static();
    cargo.arg("--target-dir").arg(&dir).env("CARGO_PROFILE_RELEASE_STRIP", "none");
    ensure!(cargo.status().context("cargo")?.success(), "the static binary cannot be built");
    Ok(dir.join(static_target()).join("release/oci-ipc-hook"))
}

/// Functions by address.
fn symbols(nm: &Path, binary: &Path) -> Result<BTreeMap<u64, String>> {
    let output = Command::new(nm).args(["--numeric-sort", "--defined-only"]).arg(binary).output().context("nm")?;
    let text = String::from_utf8(output.stdout)?;
    let function = |line: &str| {
        let [address, kind, name] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().ok()?;
        let code = matches!(kind, "t" | "T" | "w" | "W");
        code.then_some((u64::from_str_radix(address, 16).ok()?, name.to_owned()))
    };
    Ok(text.lines().filter_map(function).collect())
}

/// The addresses that one run of the hook comes by.
fn steps(lab: &Lab, case: &Case) -> Result<Vec<u64>> {
    let ours = case.who.iter().position(|who| *who == cases::Who::Ours).context("a hook")?;
    let (state, command) = (case.job.state.as_deref().context("a state")?, &case.job.commands[ours]);
    let traced: Vec<String> =
        [format!("{SEEN}/bin/steps"), format!("{SEEN}/steps")].into_iter().chain(command.iter().cloned()).collect();
    lab.measure(&Job::new(state, 1, vec![traced]))?;
    let text = std::fs::read_to_string(lab.data.join("steps")).context("steps")?;
    text.lines().map(|line| u64::from_str_radix(line, 16).with_context(|| line.to_owned())).collect()
}

/// What the linker finds a function by, whatever the compiler's version: hashes become wildcards. C's functions have their
/// names from their object files, which musl keeps one in each.
fn pattern(symbol: &str) -> String {
    if let Some((name, hash)) = symbol.rsplit_once("17h")
        && symbol.starts_with("_ZN")
        && hash.len() == 17
    {
        return format!("*(.text*{}17h*)", name.replace('$', "?"));
    }
    if symbol.starts_with("_R") {
        return format!("*(.text*{})", without_crate_hashes(symbol).replace('$', "?"));
    }
    match symbol {
        "_start" | "_start_c" | "_dlstart_c" | "__dls2" => "*rcrt1.o(.text .text.*)".to_owned(),
        "main" => "*(.text*.main)".to_owned(),
        "_init" | "__do_init" => "*crtbegin*.o(.text .text.*)".to_owned(),
        name => format!("*:{}.lo(.text .text.*)", object_file(name)),
    }
}

/// `Cs4f2hQp_` names a crate's build in Rust's newer mangling.
fn without_crate_hashes(symbol: &str) -> String {
    let mut out = String::new();
    let mut rest = symbol;
    while let Some(at) = rest.find("Cs") {
        let (before, after) = rest.split_at(at + 2);
        let hash = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        out.push_str(before);
        if after[hash..].starts_with('_') {
            out.push('*');
            rest = &after[hash..];
        } else {
            rest = after;
        }
    }
    out + rest
}

/// The object file of musl that holds a function of another name.
fn object_file(function: &str) -> &str {
    match function {
        "__init_libc" | "libc_start_main_stage2" | "libc_start_init" => "__libc_start_main",
        "static_init_tls" | "__copy_tls" | "__init_tp" => "__init_tls",
        "__libc_sigaction" => "sigaction",
        "sccp" => "__syscall_cp",
        "__syscall_ret" => "syscall_ret",
        "fstatfs" => "statvfs",
        other => other,
    }
}

fn script(patterns: &[String]) -> String {
    let mut out = String::from(
        "/*\n * Written by `make layout`: the functions that a hook runs, in the order of their first use, side by side. The\n \
         * kernel maps a program's code in pieces of 64 KiB when they are first used, at 2 to 3 microseconds each.\n \
         * A pattern that fits nothing does no harm.\n */\nSECTIONS\n{\n  .text.hot :\n  {\n",
    );
    for pattern in patterns {
        let _ = writeln!(out, "    {pattern}");
    }
    out + "  }\n}\nINSERT BEFORE .text;\n"
}
