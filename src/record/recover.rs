//! Takes back what a run did that was killed in the middle: its journal tells what it meant to change, the kernel what of
//! it is there.

use super::stored::{StoredStep, number, object_id};
use super::{Maker, Stored};
use crate::apply::explain;
use crate::error::{Error, Result};
use crate::ipc::{Existing, IdMaps, Kind, ObjectId, Sysctl, SysctlValue};
use crate::kernel::Ipc;
use crate::kernel::life::started;
use crate::kernel::traces::{By, Traces};
use serde_json::Value;

/// Puts the namespace back to what it was before the run of `journal`, newest change first, and tells what stays.
/// Doing it twice does no harm. `here` is the inode of this process's pid namespace; `maps` are those of the ids that `ipc`
/// shows.
pub(super) fn recover(journal: &Stored, here: Option<u64>, ipc: &mut dyn Ipc, maps: &IdMaps) -> Vec<Error> {
    let mut stays = Vec::new();
    for step in journal.report.steps.iter().rev() {
        let result = match (step.action.as_str(), step.kind.as_str()) {
            ("set", _) => restore(step, ipc),
            ("create", kind) => {
                object_id(kind, &step.name).map_or(Ok(()), |id| take_away(journal, here, step, &id, ipc, maps))
            }
            ("replace", kind) => object_id(kind, &step.name).map_or(Ok(()), |id| replaced(step, &id, ipc)),
            _ => Ok(()),
        };
        stays.extend(result.err().map(|error| error.within(format!("killed run of {}", journal.container))));
    }
    stays
}

/// Writes the value before back, unless somebody has set another one since. `kernel.sem` may hold a mixture of both.
fn restore(step: &StoredStep, ipc: &mut dyn Ipc) -> Result<()> {
    let parsed = step.name.parse::<Sysctl>().ok();
    let Some((sysctl, before, wanted)) =
        parsed.and_then(|s| Some((s, sysctl_value(&step.before)?, sysctl_value(&step.wanted)?)))
    else {
        return Ok(());
    };
    let now = ipc.read_sysctl(sysctl).map_err(|e| explain::read(sysctl, &e))?;
    if now == before {
        return Ok(());
    }
    let of_the_run = (0..4).all(|i| now.field(i) == before.field(i) || now.field(i) == wanted.field(i));
    if !of_the_run {
        return Err(Error::failed(sysctl.name(), "not restored: somebody has set it since").wanted(before).found(now));
    }
    ipc.write_sysctl(sysctl, before).map_err(|e| explain::write(sysctl, now, before, &e))?;
    match ipc.read_sysctl(sysctl).map_err(|e| explain::read(sysctl, &e))? {
        found if found == before => Ok(()),
        found => Err(Error::failed(sysctl.name(), "not restored").wanted(before).found(found)),
    }
}

fn take_away(
    journal: &Stored,
    here: Option<u64>,
    step: &StoredStep,
    id: &ObjectId,
    ipc: &mut dyn Ipc,
    maps: &IdMaps,
) -> Result<()> {
    let Some(there) = ipc.find(id).map_err(|e| explain::removal(id, &e))? else { return Ok(()) };
    let stays = |why: &str| Err(Error::failed(id.to_string(), format!("not removed: {why}")));
    if !looks_like(journal, step, &there, maps) {
        return stays("it does not look as that run made it");
    }
    if there.in_use > 0 {
        return stays("it is in use");
    }
    let traces = ipc.traces(&there).map_err(|e| explain::removal(id, &e))?;
    let maker = journal.maker.filter(|maker| here == Some(maker.pid_namespace));
    match traces.by {
        By::Users => return stays("it has been used since"),
        By::Process(_) if maker.is_none() => return stays("the journal does not tell which process made it"),
        By::Process(pid) if !maker.is_some_and(|maker| maker.may_be(pid)) => {
            let other = if pid == 0 { "a process of another pid namespace".to_owned() } else { format!("pid {pid}") };
            return stays(&format!("{other} made it or uses it, not that run"));
        }
        By::Nobody if there.kind == Kind::Sem && !has_values_of(step, &ipc.sem_values(&there).unwrap_or_default()) => {
            return stays("it holds other values than that run sets");
        }
        By::Process(_) | By::Nobody => {}
    }
    if !within(journal, &traces) {
        return stays("it was made or changed at another time");
    }
    ipc.remove(&there).map_err(|e| explain::removal(id, &e))
}

impl Maker {
    /// Whether the process of this number was the run's. Of its children it is known only that they have ended.
    fn may_be(self, pid: i32) -> bool {
        if self.children { pid > 0 && started(pid).is_none() } else { pid == self.pid }
    }
}

/// True when nothing happened to the object before the run could make it, nor after the run's last sign of life: the journal
/// is given the present time before each creation. That is the only thing that tells a queue of the run's from one that
/// somebody made under the same key and has not used yet. Where the clock was set meanwhile, the object stays.
fn within(journal: &Stored, traces: &Traces) -> bool {
    // The kernel's clock for objects lags by up to a tick, and one creation may take a moment.
    let (first, last) = (journal.written - 1, journal.last_sign + 1);
    (first..=last).contains(&traces.changed) && traces.used <= last
}

/// A set with no trace of any process has not been set yet. Before Linux 4.12 setting all values left no trace.
fn has_values_of(step: &StoredStep, found: &[u16]) -> bool {
    let wanted = step.wanted.get("values").and_then(Value::as_array);
    let as_wanted =
        || wanted.is_some_and(|w| w.iter().map(Value::as_u64).eq(found.iter().map(|v| Some(u64::from(*v)))));
    !found.is_empty() && (found.iter().all(|value| *value == 0) || as_wanted())
}

/// The object was not there when the journal was written. Its maker has had no time to note its number, so the object must
/// look as it was to be made, and by whom.
fn looks_like(journal: &Stored, step: &StoredStep, there: &Existing, maps: &IdMaps) -> bool {
    let Some(intended) = there.id.as_ref().and_then(|id| journal.object(id)) else { return false };
    let wanted = |attribute: &str| step.wanted.get(attribute).and_then(number);
    let is_or_unset = |wanted: Option<u64>, found| wanted.is_none_or(|w| w == found);
    let measures = match there.kind {
        Kind::Shm => is_or_unset(wanted("size"), there.extent),
        Kind::Sem => is_or_unset(wanted("nsems"), there.extent),
        // Its capacity is set by a second call.
        Kind::Msg => true,
        Kind::Mqueue => {
            is_or_unset(wanted("max-messages"), there.extent) && is_or_unset(wanted("message-size"), there.message_size)
        }
    };
    let creator = maps.to_outside(there.creator).unwrap_or(there.creator);
    let mode = step.wanted.get("mode").and_then(Value::as_str);
    measures && creator == intended.creator() && mode == Some(there.mode.to_string().as_str())
}

/// What `replace` destroyed cannot be brought back, and what it has made serves the users better than nothing.
fn replaced(step: &StoredStep, id: &ObjectId, ipc: &mut dyn Ipc) -> Result<()> {
    let before = step.before.get("id").and_then(Value::as_i64);
    let there = ipc.find(id).map_err(|e| explain::removal(id, &e))?;
    match there {
        Some(there) if before.is_some() && there.sysv_id.map(i64::from) == before => Ok(()),
        Some(_) if before.is_none() => Ok(()),
        _ => Err(Error::failed(id.to_string(), "its content was destroyed by if-exists = \"replace\"")),
    }
}

fn sysctl_value(value: &Value) -> Option<SysctlValue> {
    if let Some(fields) = value.as_array() {
        let mut sem = [0i32; 4];
        for (field, value) in sem.iter_mut().zip(fields) {
            *field = i32::try_from(value.as_i64()?).ok()?;
        }
        return (fields.len() == 4).then_some(SysctlValue::Sem(sem));
    }
    number(value).map(SysctlValue::Number)
}

#[cfg(test)]
mod tests;
