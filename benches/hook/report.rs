//! Tables in Markdown.

use crate::cases::Who;
use crate::stats::{median, microseconds, paired_ratio, quantile};
use crate::{Outcome, Results, bars, machine};
use std::fmt::Write as _;

/// A duration in microseconds, with a unit that suits it.
fn duration(us: f64) -> String {
    if us < 10_000.0 { format!("{us:.0} µs") } else { format!("{:.1} ms", us / 1e3) }
}

/// One workload: a line for each contender, compared with the hook, or with the first where the hook is not there.
pub(crate) fn table(outcome: &Outcome) -> String {
    let mut text = format!("\n### {}\n\n", outcome.name);
    let runs = &outcome.measured.runs;
    let burst = outcome.measured.bursts.iter().any(|bursts| !bursts.is_empty());
    let base =
        outcome.who.iter().position(|&who| who == Who::Floor || who == Who::Empty || who == Who::Bare).unwrap_or(0);
    let reference = outcome.who[base];
    text.push_str("| | median | p99 |");
    text.push_str(if burst { " hooks per second |\n|---|--:|--:|--:|\n" } else { "" });
    if !burst {
        let _ =
            writeln!(text, " ÷ {reference} | page faults | system calls | peak KiB |\n|---|--:|--:|--:|--:|--:|--:|");
    }
    for (index, who) in outcome.who.iter().enumerate() {
        let times = microseconds(&runs[index]);
        let _ = write!(text, "| {who} | {} | {} |", duration(median(&times)), duration(quantile(&times, 0.99)));
        if burst {
            let rates: Vec<f64> = outcome.measured.bursts[index]
                .iter()
                .map(|burst| burst.count as f64 / (burst.nanoseconds as f64 / 1e9))
                .collect();
            let _ = writeln!(text, " {:.0} |", median(&rates));
        } else {
            let ratio = paired_ratio(&runs[index], &runs[base]);
            let faults = outcome.faults(*who).unwrap_or_default();
            let calls = outcome.calls[index].map_or("–".to_owned(), |calls| calls.to_string());
            let peak = runs[index].iter().map(|run| run.peak_kib).max().unwrap_or_default();
            let _ = writeln!(text, " {ratio:.2} | {faults:.0} | {calls} | {peak} |");
        }
    }
    text
}

/// Every figure to reach.
pub(crate) fn bars(results: &Results) -> String {
    let mut text = String::from("| what | bar | found | met |\n|---|--:|--:|---|\n");
    for bar in bars::all(results) {
        let met = match bar.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        let _ = writeln!(text, "| {} | {} | {} | {met} |", bar.what, bar.wanted, bar.found);
    }
    text
}

/// The whole page.
pub(crate) fn page(results: &Results) -> String {
    let mut text = String::from(INTRODUCTION);
    text.push_str("\n## Figures to reach\n\n");
    text.push_str(&bars(results));
    text.push_str("\n## The machine\n\n| | |\n|---|---|\n");
    for (what, which) in machine::describe(results.compiler) {
        let _ = writeln!(text, "| {what} | {which} |");
    }
    text.push_str(
        "\n## Workloads\n\nA ratio is the median over runs that stood next to each other, not a ratio of medians.\n",
    );
    for outcome in &results.outcomes {
        text.push_str(&table(outcome));
    }
    text.push_str("\n## Size of the programs\n\n| | bytes |\n|---|--:|\n");
    for (who, bytes) in &results.sizes {
        let _ = writeln!(text, "| {who} | {bytes} |");
    }
    text.push_str("\n## Left out\n\n");
    for line in &results.left_out {
        let _ = writeln!(text, "- {line}");
    }
    text.push_str(ALWAYS_LEFT_OUT);
    text
}

const INTRODUCTION: &str = "\
# Benchmarks

Written by `make bench`; do not edit.

![the standard run, objects, and every figure to reach](benchmarks.svg)

Whole processes, from vfork to the reaped exit. Contenders are started in turn (A B C A B C …), each in a fresh IPC
namespace, with the same state on a pipe, the same config.json and the same profile. The **C floor** (`benches/twins/floor.c`)
is a static program with every value hard-coded and the same duties: it reads state, config.json and profile in full,
opens a pidfd, checks the namespace's identity, locks it, drops capabilities, joins, reads, writes and reads each
sysctl, creates each object and stats it, marks the semaphore set, and sends one datagram to the log. The **Go twin** does
this with its standard library's parsers, the **sh twin** with nsenter, sysctl, ipcmk and ipcs.

System calls are counted in a run of their own under strace, from execve to exit, children included.
";

const ALWAYS_LEFT_OUT: &str = "\
- the sh twin makes no POSIX queue (there is no tool) and lets the kernel choose keys (ipcmk takes none); it reads no
  profile and no config.json
- the C floor and the Go twin look nothing up before they create, undo nothing and know no policy
- the C floor and the Go twin cannot run twice in one namespace, so the shared burst has no one to compare with
- real journald: the datagram goes to a socket that is drained between runs
";
