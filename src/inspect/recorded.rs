//! What is recorded of a container: why a run failed, and what has changed since one was done.

use super::look::{Found, With};
use super::table::span;
use super::{View, drift, json, table};
use crate::containers;
use crate::error::{Error, Result};
use crate::kernel::life::boot_id;
use crate::record::{Store, Stored};
use crate::text::escape;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Most records that a person is shown, the newest.
const MOST: usize = 10;

/// The records of a container by id, or by the name of one that runs, with its namespace if that is still there.
///
/// # Errors
/// Exit 2: nothing is recorded. Exit 1: records that cannot be read. Exit 4: the namespace may not be looked at.
pub fn text(root: &Path, wanted: &str, as_json: bool) -> Result<Vec<u8>> {
    let store = Store::open(false)?.ok_or_else(|| none(wanted))?;
    let mut records = store.of_container(wanted)?;
    if records.is_empty()
        && let Ok(container) = containers::find(root, wanted)
    {
        records = store.of_container(&container.id)?;
    }
    if records.is_empty() {
        return Err(none(wanted));
    }
    records.sort_by_key(|r| std::cmp::Reverse(r.written));
    let boot = boot_id().map_err(|e| Error::failed("records", e.to_string()))?;
    let live = records.iter().filter(|r| !r.failed).find_map(|r| Some((r, r.find_namespace(&boot)?)));
    let view = match live {
        Some((record, ns)) => Some(look(root, record, Found::recorded(ns))?),
        None => None,
    };
    Ok(match as_json {
        true => document(records, view.as_ref()),
        false => page(&records, view.as_ref()),
    })
}

fn none(wanted: &str) -> Error {
    Error::bad_input(format!("container {wanted}"), "nothing is recorded of it").remedy(
        "records are kept of shared namespaces and of failed runs, and of all runs with 'when = \"always\"' below [record] in the policy",
    )
}

fn look(root: &Path, record: &Stored, found: Found) -> Result<View> {
    let mut view = found.look(&containers::all(root), With::Objects)?;
    let report = report(record);
    let drift = drift::compare(&view, &report);
    view.drift = Some(drift.map_err(|e| Error::failed(format!("record of {}", record.container), e.to_string()))?);
    Ok(view)
}

fn report(record: &Stored) -> Value {
    let whole: Value = serde_json::from_slice(&record.text).unwrap_or_default();
    whole.get("report").cloned().unwrap_or_default()
}

fn document(records: Vec<Stored>, view: Option<&View>) -> Vec<u8> {
    let namespaces: Vec<_> = view.map(json::namespace).into_iter().collect();
    let records: Vec<_> = records.into_iter().map(|r| r.text).collect();
    let mut out = Vec::new();
    // Writing to memory does not fail.
    let _ = json::write_recorded(&mut out, &namespaces, &records);
    out
}

fn page(records: &[Stored], view: Option<&View>) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed());
    let mut text = String::new();
    for record in &records[..records.len().min(MOST)] {
        let kind = match (record.failed, record.unfinished) {
            (true, _) => "failed run",
            (_, true) => "run that was killed or is under way",
            _ => "run",
        };
        let error = report(record)["error"]["message"].as_str().map(|m| format!(": {m}")).unwrap_or_default();
        let line = format!(
            "{kind} of {}, {} ago, outcome {}{error}",
            record.container,
            span(now.saturating_sub(record.written)),
            record.report.outcome
        );
        let _ = writeln!(text, "{}", escape(&line));
    }
    if let Some(more @ 1..) = records.len().checked_sub(MOST) {
        let _ = writeln!(text, "and {more} older ones (--json shows all)");
    }
    let mut out = text.into_bytes();
    match view {
        Some(view) => {
            out.push(b'\n');
            let _ = table::write(&mut out, view);
        }
        None => out.extend(b"its namespace is gone, or nothing was done in it\n"),
    }
    out
}
