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

/// Measured by hand, by the kernel's own trace of system calls in both programs; the tables above are of every run.
const PROFILE: &str = "
## Where the time goes

What the standard run costs beyond the floor, phase by phase, from the kernel's trace of system calls in both programs
(medians of 205 runs, raw_syscalls of ftrace, Linux 6.18, 2 virtual processors; the trace itself adds about 0.3 µs a call):

| phase | floor | ours | what the difference is |
|---|--:|--:|---|
| start, up to reading the state | 14 | 42 | addresses relocated: 10 copied pages and 25 000 instructions (20); descriptors closed, no new privileges (5) |
| state, policy | 8 | 18 | JSON of 2 KiB parsed; a policy is looked for |
| config.json | 15 | 26 | 10 KiB of JSON parsed instead of skipped |
| profile, wishes merged | 7 | 29 | directory and file are opened and their owners checked (5); TOML parsed, wishes built and merged, most of it code that runs for the first time |
| namespace found and checked | 30 | 33 | who the process is (a sandboxed runtime is refused, 8); the rest is cheaper, by pidfd |
| lock to setns | 4 | 17 | capabilities read, user namespaces compared |
| joined, to the first sysctl | 5 | 11 | namespace's identity read once more |
| sysctls read, planned, written, read | 161 | 175 | uses and the limit of queues asked for, plan made and checked, rights given up |
| objects | 21 | 24 | the set's values read back |
| log, end | 15 | 30 | every change by name in one datagram, where the floor sends one short line; more pages to take down |

- A page fault costs 1.7 to 2.4 µs here (traced one by one; a C program that touches 20 and 40 more pages gives the same).
  The standard run has 16 more than the floor: 10 are pages of addresses that a position-independent program relocates
  and so copies at its start (kept: ASLR), 4 are the state, config.json and profile in memory, 2 are stack.
- It runs 330 000 instructions, counted one by one: 118 000 skip through 10 KiB of config.json (10 µs), 25 000 relocate
  (5 µs), the rest is 90 000 bytes of code that each runs once, from a cold cache and with cold branch predictors: the same
  parsing, done a second time in the same process, takes half.
- **10 to 1 000 objects**: the loop in C has no profile to parse, no limits to read and nothing to remember. One more object
  costs the loop 2.3 to 2.8 µs (three system calls) and the hook 1.1 to 1.3 µs more: 0.4 µs of memory (600 bytes in
  document, request, plan and outcome, for undo and report), the rest for parsing, sorting and checking it. At 10 000 the
  loop's own calls slow down, so the ratio falls. At 10 it is the fixed cost that stands against a floor without one.
- **runc run**: a hook that does nothing already takes the 3 in 100 that are allowed (its row in the table): the runtime writes
  the state, starts a process and waits for it. What ours adds to that is its own half millisecond.
- **Nothing asked**: an empty C program has 6 page faults; relocation alone adds 10, and the state has to be read to know that
  nothing is asked.

A sysctl file is slow to open while many other IPC namespaces live (the kernel walks all their entries of the same name:
7 µs with a few, 50 µs with 75 containers), so limits that are only looked at are asked for by IPC_INFO.

What was done, each measured in pairs: an arena in .bss instead of a general allocator (−140 µs), C's `main` (−25), code that
a hook runs side by side and the rest behind it (−30), own and user namespaces by pidfd instead of /proc (−30), packed
relocations (−12), no closing of descriptors at the end (−15), opt-level s (−13 and a third of the size); opt-level 2 or 3 for
the parsers or for everything gave nothing.
";

const ALWAYS_LEFT_OUT: &str = "\
- the sh twin makes no POSIX queue (there is no tool) and lets the kernel choose keys (ipcmk takes none); it reads no
  profile and no config.json
- the C floor and the Go twin look nothing up before they create, undo nothing and know no policy
- the C floor and the Go twin cannot run twice in one namespace, so the shared burst has no one to compare with
- real journald: the datagram goes to a socket that is drained between runs
";
