//! The figures to reach, and whether they were.

use crate::cases::Who;
use crate::stats::{median, microseconds, paired_ratio};
use crate::{Outcome, Results};

/// One figure to reach.
pub(crate) struct Bar {
    /// What is measured.
    pub(crate) what: String,
    /// What it should be.
    pub(crate) wanted: String,
    /// What it is; "not measured" when a contender was absent.
    pub(crate) found: String,
    /// `None`: not measured.
    pub(crate) met: Option<bool>,
    /// `found` / `wanted` for a figure that should be small, the inverse for one that should be large.
    pub(crate) share: Option<f64>,
}

impl Outcome {
    fn index(&self, who: Who) -> Option<usize> {
        self.who.iter().position(|&other| other == who)
    }

    /// Median of `a`/`b` in pairs.
    pub(crate) fn ratio(&self, a: Who, b: Who) -> Option<f64> {
        Some(paired_ratio(&self.measured.runs[self.index(a)?], &self.measured.runs[self.index(b)?]))
    }

    /// Median duration, in microseconds.
    pub(crate) fn median_us(&self, who: Who) -> Option<f64> {
        Some(median(&microseconds(&self.measured.runs[self.index(who)?])))
    }

    /// Median of minor page faults.
    pub(crate) fn faults(&self, who: Who) -> Option<f64> {
        let faults: Vec<f64> = self.measured.runs[self.index(who)?].iter().map(|run| run.faults as f64).collect();
        Some(median(&faults))
    }

    /// Largest peak of memory, in MiB.
    pub(crate) fn peak_mib(&self, who: Who) -> Option<f64> {
        self.measured.runs[self.index(who)?].iter().map(|run| run.peak_kib).max().map(|kib| kib as f64 / 1024.0)
    }

    fn calls_of(&self, who: Who) -> Option<f64> {
        self.calls[self.index(who)?].map(|calls| calls as f64)
    }
}

impl Results {
    /// A workload by name.
    pub(crate) fn named(&self, name: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.name == name)
    }

    fn binary_mib(&self) -> Option<f64> {
        self.sizes.iter().find(|(who, _)| *who == Who::Ours).map(|&(_, bytes)| bytes as f64 / f64::from(1 << 20))
    }
}

fn at_most(what: &str, bar: f64, unit: &str, found: Option<f64>) -> Bar {
    bar_of(what, format!("≤ {bar}{unit}"), unit, found, found.map(|found| found / bar))
}

fn at_least(what: &str, bar: f64, unit: &str, found: Option<f64>) -> Bar {
    bar_of(what, format!("≥ {bar}{unit}"), unit, found, found.map(|found| bar / found))
}

fn bar_of(what: &str, wanted: String, unit: &str, found: Option<f64>, share: Option<f64>) -> Bar {
    let digits = if unit.is_empty() { 0 } else { 2 };
    let found = found.map_or("not measured".to_owned(), |found| format!("{found:.digits$}{unit}"));
    Bar { what: what.to_owned(), wanted, found, met: share.map(|share| share <= 1.0), share }
}

/// Every figure to reach.
pub(crate) fn all(results: &Results) -> Vec<Bar> {
    use Who::{Bare, Empty, Floor, Go, Hooked, Ours, Shell};
    let ratio = |name: &str, a: Who, b: Who| results.named(name).and_then(|outcome| outcome.ratio(a, b));
    let standard = results.named("13 sysctls + 4 objects");
    let large = results.named("10000 objects");
    let mut bars = vec![
        at_most(
            "13 sysctls + 4 objects, against the C floor",
            1.15,
            " ×",
            ratio("13 sysctls + 4 objects", Ours, Floor),
        ),
        at_most("nothing asked, against an empty C program", 1.3, " ×", ratio("nothing asked", Ours, Empty)),
        at_least(
            "faster than nsenter + sysctl + ipcmk in sh",
            14.0,
            " ×",
            ratio("13 sysctls + 4 objects", Shell, Ours),
        ),
        at_least("faster than the same hook in Go", 3.0, " ×", ratio("13 sysctls + 4 objects", Go, Ours)),
    ];
    for count in ["10", "100", "1000", "10000"] {
        let found = ratio(&format!("{count} objects"), Ours, Floor);
        bars.push(at_most(&format!("{count} objects, against a C loop"), 1.3, " ×", found));
    }
    let each = |count: &str| results.named(&format!("{count} objects")).and_then(|outcome| outcome.median_us(Ours));
    let growth = match (each("100"), each("1000"), each("10000")) {
        (Some(few), Some(some), Some(many)) => Some((many - some) / 9000.0 / ((some - few) / 900.0)),
        _ => None,
    };
    bars.push(at_most("one more object at 10 000 against one more at 1 000 (linear)", 1.3, " ×", growth));
    bars.push(at_most("runc run with the hook / without", 1.03, " ×", ratio("runc run", Hooked, Bare)));
    bars.extend([
        at_most("system calls of the standard run", 125.0, "", standard.and_then(|outcome| outcome.calls_of(Ours))),
        at_most("minor page faults of the standard run", 30.0, "", standard.and_then(|outcome| outcome.faults(Ours))),
        at_most("peak memory of the standard run", 3.0, " MiB", standard.and_then(|outcome| outcome.peak_mib(Ours))),
        at_most("peak memory at 10 000 objects", 10.0, " MiB", large.and_then(|outcome| outcome.peak_mib(Ours))),
        at_most("size of the binary", 2.0, " MiB", results.binary_mib()),
    ]);
    bars
}
