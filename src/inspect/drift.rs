//! What has changed in a namespace since a run's record was written.

use super::View;
use crate::ipc::{Existing, Kind, Sysctl, SysctlValue};
use crate::report::Integer;
use crate::text::escape;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One sysctl or object of the record, then and now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// `sysctl`, `shm`, `sem`, `msg`, `mqueue`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name, key or queue name.
    pub name: String,
    /// As the record has it.
    pub recorded: Value,
    /// The same attributes as they are; `null` = it is not there.
    pub now: Value,
    /// Both are the same.
    pub same: bool,
}

/// A report, as far as it is needed here.
#[derive(Deserialize)]
struct Report {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    wanted: Value,
    #[serde(default)]
    after: Value,
}

/// Compares every step of a report with the namespace. What a run left unfinished is held against what it wanted.
///
/// # Errors
/// The text is not a report.
pub fn compare(view: &View, report: &Value) -> Result<Vec<Drift>, serde_json::Error> {
    let report = Report::deserialize(report)?;
    let objects = objects(view);
    let one = |step: Step| {
        let mut recorded = if step.after.is_null() { step.wanted } else { step.after };
        if let Value::Object(attributes) = &mut recorded {
            // Initial values: a semaphore's change all the time.
            attributes.remove("values");
        }
        let now = match step.name.parse::<Sysctl>() {
            Ok(sysctl) => view.sysctl(sysctl).map(sysctl_value),
            Err(_) => objects.get(&format!("{} {}", step.kind, step.name)).map(|found| attributes(view, found)),
        };
        let now = now.map_or(Value::Null, |now| only_of(&recorded, now));
        Drift { same: recorded == now, kind: step.kind, name: step.name, recorded, now }
    };
    Ok(report.steps.into_iter().map(one).collect())
}

/// For people: what has changed, and how much has not.
pub fn text(drift: &[Drift]) -> String {
    let mut out = String::new();
    let same = drift.iter().filter(|d| d.same).count();
    let _ = writeln!(out, "\nSince the record: {same} as recorded, {} changed", drift.len() - same);
    for d in drift.iter().filter(|d| !d.same) {
        let what = if d.kind == "sysctl" { d.name.clone() } else { format!("{} {}", d.kind, d.name) };
        let line = match (&d.recorded, &d.now) {
            (_, Value::Null) => format!("  {what}: gone"),
            (Value::Object(then), Value::Object(now)) => {
                let changed = then.iter().filter(|(key, value)| now.get(*key) != Some(value));
                let changed = changed.map(|(k, v)| format!("{k} {v} → {}", now.get(k).unwrap_or(&Value::Null)));
                format!("  {what}: {}", changed.collect::<Vec<_>>().join(", "))
            }
            (then, now) => format!("  {what}: {then} → {now}"),
        };
        let _ = writeln!(out, "{}", escape(&line));
    }
    out
}

/// Only what the record knows of: that of a run that was not finished lacks some.
fn only_of(recorded: &Value, now: Value) -> Value {
    match (recorded, now) {
        (Value::Object(then), Value::Object(now)) => {
            Value::Object(now.into_iter().filter(|(key, _)| then.contains_key(key)).collect())
        }
        (_, now) => now,
    }
}

fn sysctl_value(value: SysctlValue) -> Value {
    match value {
        SysctlValue::Sem(fields) => json!(fields),
        SysctlValue::Number(n) => json!(Integer(n)),
    }
}

/// Every object that has a key or name, by kind and that.
fn objects(view: &View) -> BTreeMap<String, Existing> {
    let listing = &view.listing;
    let all = listing.shm.iter().map(Existing::from).chain(listing.sem.iter().map(Existing::from));
    let all = all.chain(listing.msg.iter().map(Existing::from)).chain(listing.mqueue.iter().map(Existing::from));
    all.filter_map(|object| Some((object.id.as_ref()?.to_string(), object))).collect()
}

/// As a report has them.
fn attributes(view: &View, object: &Existing) -> Value {
    let owner = view.ids.seen(object.owner).inside;
    let mut now = json!({ "mode": object.mode.to_string(), "uid": owner.uid, "gid": owner.gid });
    let extent = json!(Integer(object.extent));
    match object.kind {
        Kind::Shm => now["size"] = extent,
        Kind::Sem => now["nsems"] = extent,
        Kind::Msg => now["max-bytes"] = extent,
        Kind::Mqueue => {
            now["max-messages"] = extent;
            now["message-size"] = json!(Integer(object.message_size));
        }
    }
    if let Some(id) = object.sysv_id {
        now["id"] = json!(id);
    }
    now
}
