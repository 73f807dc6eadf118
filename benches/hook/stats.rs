//! Medians, percentiles and ratios of pairs.

use crate::lab::Run;
use std::collections::BTreeMap;

/// The value below which `share` of the sorted values lie (nearest rank); 0 for none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Durations of runs, in microseconds.
pub(crate) fn microseconds(runs: &[Run]) -> Vec<f64> {
    runs.iter().map(|run| run.nanoseconds as f64 / 1e3).collect()
}

/// Median of `a`/`b` over the runs that stood next to each other.
pub(crate) fn paired_ratio(a: &[Run], b: &[Run]) -> f64 {
    let by_round: BTreeMap<usize, u64> = b.iter().map(|run| (run.round, run.nanoseconds)).collect();
    let ratios: Vec<f64> = a
        .iter()
        .filter_map(|run| by_round.get(&run.round).map(|&other| run.nanoseconds as f64 / other as f64))
        .collect();
    median(&ratios)
}
