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
    text.push_str(PROFILE);
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

/// Measured by hand with clock readings between the phases of floor and hook; the tables above are of every run.
const PROFILE: &str = "
## Where the time goes

What the standard run costs beyond the floor, phase by phase, from clock readings put into both programs (medians of 400
pairs on 2 virtual processors, Linux 6.18; floor 380 µs):

| phase | µs above the floor | what it is |
|---|--:|---|
| exec to main | 37 | a static-pie of 1.8 MiB: 8 pages of addresses are relocated, each a copied page; the floor is not relocatable. Kept: ASLR |
| reading the state | 26 | descriptors closed, no new privileges; first use of five pieces of code |
| parsing the state, annotations, policy | 11 | JSON of 2 KiB; looking for a policy that is not there |
| config.json | 14 | 9 µs for 10 KiB of JSON, the rest is code used for the first time |
| profile | 31 | directory and file are opened and their owners checked (5), TOML parsed (12 warm, 25 cold), wishes built |
| finding the namespace | 10 | who the process is (a sandboxed runtime is refused) |
| merging, joining | 31 | user namespaces compared (14), capabilities read, namespace identity read once more after joining |
| looking, planning, applying | 22 | limits and uses read before anything is created, each set's values read back |
| log | 20 | every change by name; the floor sends one short line |

- A page fault costs 2.2 to 2.5 µs on this machine (a C program that touches 20 and 40 more pages than another). 20 of
  them above the floor are 50 µs: code in pieces of 64 KiB, relocated pages, stack, memory.
- About 70 µs are code that runs once, from a cold cache: the same parsing repeated in the same process takes half.
- 10 to 1 000 objects: the limits that govern them are read from seven sysctls before the first is created, and the first
  sysctl of a new namespace costs 50 µs alone; the C loop reads none. Each object is looked up by key only when the
  namespace holds any of its kind. What remains is memory: about 1 KiB for each object in parsing, plan and outcome.
- Nothing asked: an empty C program has 6 page faults; relocation alone adds 8 to that.

What was done: an arena in .bss instead of a general allocator (−140 µs), C's `main` (−25), code that a hook does not run
put behind the rest (−25), no closing of descriptors at the end (−15), opt-level s (−13 and a third of the size).
";

const ALWAYS_LEFT_OUT: &str = "\
- the sh twin makes no POSIX queue (there is no tool) and lets the kernel choose keys (ipcmk takes none); it reads no
  profile and no config.json
- the C floor and the Go twin look nothing up before they create, undo nothing and know no policy
- the C floor and the Go twin cannot run twice in one namespace, so the shared burst has no one to compare with
- real journald: the datagram goes to a socket that is drained between runs
";
