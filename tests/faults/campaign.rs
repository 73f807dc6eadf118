//! All faults of one kind, one run each.

use crate::plausible::{errnos, excuse, is_start, lie};
use crate::stage::{Stage, Variant};
use crate::support::Ran;
use crate::trace::Call;

/// Every call fails once with every errno: the run fails and nothing is left, or the call does not matter and the run is done.
pub fn fail_everywhere(variant: Variant) {
    let Some(mut stage) = Stage::set(variant) else { return };
    let (calls, done) = stage.rehearse();
    let mut report = Report::default();
    for (at, call) in calls.iter().enumerate() {
        let start = is_start(&calls, at);
        let all = errnos(&call.name);
        for errno in all.iter().take(if start { 1 } else { all.len() }).filter(|e| !call.answered(e)) {
            let what = format!("{} #{} with {errno}: {}", call.name, call.nth, call.line);
            let excused = start || excuse(call, errno).is_some();
            let ran = stage.run(&inject(call, &format!("error={errno}")));
            report.judge(&mut stage, &ran, &done, &Fault { what, excused, silent: start });
        }
    }
    report.close(variant, "failures", calls.len());
}

/// Every call that changes something claims to have done so once: the run notices it.
pub fn lie_everywhere(variant: Variant) {
    let Some(mut stage) = Stage::set(variant) else { return };
    let (calls, done) = stage.rehearse();
    let mut report = Report::default();
    for call in &calls {
        let Some(value) = lie(call) else { continue };
        let what = format!("{} #{} did nothing: {}", call.name, call.nth, call.line);
        let ran = stage.run(&inject(call, &format!("retval={value}")));
        report.judge(&mut stage, &ran, &done, &Fault { what, excused: true, silent: false });
    }
    report.close(variant, "lies", calls.len());
}

/// The run is killed at every call: nothing differs outside the container's namespace, and a second run does the work.
pub fn kill_everywhere(variant: Variant) {
    let Some(mut stage) = Stage::set(variant) else { return };
    let (calls, _) = stage.rehearse();
    let mut report = Report::default();
    for call in calls.iter().filter(|c| c.name != "execve") {
        report.faults += 1;
        let what = format!("killed at {} #{}: {}", call.name, call.nth, call.line);
        // Without --seccomp-bpf, which swallows the signal.
        let ran = stage.run(&inject(call, "signal=KILL")[1..]);
        report.check(ran.code.is_none_or(|code| code > 128), &what, "it is not killed");
        stage.host_is_untouched(&what);
        if stage.everything() != stage.before {
            // The next run takes the lock, finds what is there and finishes it, or says why it cannot.
            let next = stage.run(&[]);
            report.check(
                next.code == Some(0) || is_one_line(&next.stderr),
                &what,
                &format!("then said {:?}", next.stderr),
            );
            stage.host_is_untouched(&what);
            stage.renew();
        }
    }
    report.close(variant, "kills", calls.len());
}

fn inject(call: &Call, fault: &str) -> Vec<String> {
    let name = &call.name;
    vec!["--seccomp-bpf".into(), format!("--trace={name}"), format!("--inject={name}:{fault}:when={}", call.nth)]
}

/// One line of ours that says what went wrong; or that of an allocation that failed.
fn is_one_line(text: &str) -> bool {
    let ours = text.starts_with("oci-ipc-hook: ") || text.starts_with("memory allocation of ");
    ours && text.ends_with('\n') && text.matches('\n').count() == 1
}

/// The lines that are only in one of both.
fn difference(before: &str, after: &str) -> String {
    let only = |a: &str, b: &str, sign| {
        a.lines().filter(|l| !b.lines().any(|m| m == *l)).map(|l| format!("{sign}{l}")).collect::<Vec<_>>()
    };
    [only(before, after, '-'), only(after, before, '+')].concat().join("; ")
}

struct Fault {
    what: String,
    /// The run may succeed, with all its work done.
    excused: bool,
    /// The run may end without a line.
    silent: bool,
}

#[derive(Default)]
struct Report {
    faults: usize,
    findings: Vec<String>,
}

impl Report {
    fn check(&mut self, holds: bool, what: &str, finding: &str) {
        if !holds {
            self.findings.push(format!("{what}\n    {finding}"));
        }
    }

    /// Failed with nothing left, or done in full; and the host as before.
    fn judge(&mut self, stage: &mut Stage, ran: &Ran, done: &str, fault: &Fault) {
        self.faults += 1;
        let what = &fault.what;
        let events = stage.events();
        if ran.code == Some(0) {
            self.check(fault.excused, what, "the run succeeds");
            let outcome = stage.outcome();
            self.check(outcome == done, what, &format!("success without the work: {}", difference(done, &outcome)));
            stage.renew();
        } else {
            let after = stage.everything();
            if after != stage.before {
                self.check(false, what, &format!("left behind: {}", difference(&stage.before, &after)));
                stage.renew();
            }
            self.check(fault.silent || is_one_line(&ran.stderr), what, &format!("said {:?}", ran.stderr));
            let done = events.iter().any(|e| e.contains("OUTCOME=done"));
            self.check(!done && events.len() <= 1, what, &format!("logged {events:?}"));
        }
        stage.host_is_untouched(what);
    }

    fn close(self, variant: Variant, kind: &str, calls: usize) {
        println!(
            "{variant:?}: {calls} system calls, {} {kind}, {} surviving differences",
            self.faults,
            self.findings.len()
        );
        assert!(self.findings.is_empty(), "{} findings:\n{}", self.findings.len(), self.findings.join("\n"));
    }
}
