//! Follows a plan, step by step, and takes everything back when one fails. The only place where anything changes.

pub(crate) mod explain;

use crate::error::{Error, Result};
use crate::ipc::{Existing, ObjectSpec, Shape, Sysctl, SysctlValue};
use crate::kernel::Ipc;
use crate::plan::{Action, Change, Plan, Step};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything is as planned, read back from the kernel.
    Done,
    /// Something failed and everything is as before.
    Undone,
    /// Something failed after an object's content was destroyed by `replace`, or could not be taken back.
    Partial,
}

/// What is there after the run, step by step, and how it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// By step of the plan; `None` where the step was not reached or was taken back.
    pub after: Vec<Option<After>>,
    /// Why it did not get done.
    pub error: Option<Error>,
}

/// What the kernel showed when it was read back.
#[derive(Clone, Debug, PartialEq)]
pub enum After {
    /// A sysctl's value.
    Sysctl(SysctlValue),
    /// An object.
    Object(Existing),
}

/// Does what `plan` says.
pub fn apply(plan: &Plan, ipc: &mut dyn Ipc) -> Outcome {
    let steps = plan.steps.len();
    let mut run = Run { plan, ipc, after: vec![None; steps], journal: Vec::with_capacity(steps), lost: Vec::new() };
    for index in 0..steps {
        if let Err(error) = run.step(index) {
            return run.undo(error);
        }
    }
    Outcome { ending: Ending::Done, after: run.after, error: None }
}

struct Run<'k> {
    plan: &'k Plan,
    ipc: &'k mut dyn Ipc,
    after: Vec<Option<After>>,
    /// Steps that have changed something, to be taken back.
    journal: Vec<usize>,
    lost: Vec<String>,
}

impl Run<'_> {
    fn step(&mut self, index: usize) -> Result<()> {
        let Step { change, action, .. } = &self.plan.steps[index];
        match (change, action) {
            (Change::Sysctl { before, .. }, Action::None) => self.after[index] = Some(After::Sysctl(*before)),
            (Change::Sysctl { sysctl, before, wanted }, _) => self.set(index, *sysctl, *before, *wanted)?,
            (Change::Object { before: Some(before), .. }, Action::None) => {
                self.after[index] = Some(After::Object(before.as_ref().clone()));
            }
            (Change::Object { spec, before: Some(before), .. }, Action::Replace) => {
                self.ipc.remove(before).map_err(|e| explain::removal(&spec.id, &e))?;
                self.lost.push(spec.id.to_string());
                self.create(index, spec)?;
            }
            (Change::Object { spec, .. }, _) => self.create(index, spec)?,
        }
        Ok(())
    }

    fn set(&mut self, index: usize, sysctl: Sysctl, before: SysctlValue, wanted: SysctlValue) -> Result<()> {
        // In the journal before the write: a failing write of kernel.sem may have changed some of its fields.
        self.journal.push(index);
        self.ipc.write_sysctl(sysctl, wanted).map_err(|e| explain::write(sysctl, before, wanted, &e))?;
        let found = self.ipc.read_sysctl(sysctl).map_err(|e| explain::read(sysctl, &e))?;
        if found != wanted {
            return Err(Error::failed(sysctl.name(), "the kernel took the write but shows another value")
                .wanted(wanted)
                .found(found)
                .remedy("see whether another program writes to this namespace at the same time"));
        }
        self.after[index] = Some(After::Sysctl(found));
        Ok(())
    }

    fn create(&mut self, index: usize, spec: &ObjectSpec) -> Result<()> {
        let made = self.ipc.create(spec).map_err(|e| explain::creation(spec, &e))?;
        // One that is not as wanted is taken back too.
        self.journal.push(index);
        let checked = self.check(spec, &made);
        self.after[index] = Some(After::Object(made));
        checked
    }

    /// Compares a new object with what was asked for.
    fn check(&mut self, spec: &ObjectSpec, made: &Existing) -> Result<()> {
        verify(spec, made)?;
        let Shape::Sem { values, .. } = &spec.shape else { return Ok(()) };
        // A set for which nothing was written holds what the kernel gives every new one.
        if !values.is_empty() {
            let found = self.ipc.sem_values(made).map_err(|e| explain::creation(spec, &e))?;
            if found != *values {
                return Err(Error::failed(spec.id.to_string(), "the new set holds other values than were set")
                    .wanted(format!("{values:?}"))
                    .found(format!("{found:?}")));
            }
        }
        if made.otime == 0 {
            return Err(Error::failed(spec.id.to_string(), "the new set is not marked as initialised")
                .wanted("sem_otime set")
                .found("sem_otime 0"));
        }
        Ok(())
    }

    /// Takes everything back, newest first, and reports the first error with those of the undoing.
    fn undo(mut self, mut error: Error) -> Outcome {
        let mut clean = true;
        for index in std::mem::take(&mut self.journal).into_iter().rev() {
            if self.is_replacement(index) {
                // The old one is gone; the new one serves its users better than none.
                continue;
            }
            match self.take_back(index) {
                Ok(()) => self.after[index] = None,
                Err(second) => {
                    clean = false;
                    error = error.also(&second);
                }
            }
        }
        if !self.lost.is_empty() {
            let names = self.lost.join(", ");
            error = error
                .also(&Error::failed(names, "its content was destroyed by if-exists = \"replace\" before the failure"));
        }
        let ending = if clean && self.lost.is_empty() { Ending::Undone } else { Ending::Partial };
        Outcome { ending, after: self.after, error: Some(error) }
    }

    fn is_replacement(&self, index: usize) -> bool {
        self.plan.steps[index].action == Action::Replace
    }

    fn take_back(&mut self, index: usize) -> Result<()> {
        match (&self.plan.steps[index].change, &self.after[index]) {
            (Change::Sysctl { sysctl, before, .. }, _) => self.restore(*sysctl, *before),
            (Change::Object { spec, .. }, Some(After::Object(made))) => {
                self.ipc.remove(made).map_err(|e| explain::removal(&spec.id, &e).within("undo"))
            }
            (Change::Object { spec, .. }, _) => Err(Error::failed(spec.id.to_string(), "lost sight of").within("undo")),
        }
    }

    fn restore(&mut self, sysctl: Sysctl, before: SysctlValue) -> Result<()> {
        let now = self.ipc.read_sysctl(sysctl).map_err(|e| explain::read(sysctl, &e).within("undo"))?;
        if now == before {
            return Ok(());
        }
        self.ipc.write_sysctl(sysctl, before).map_err(|e| explain::write(sysctl, now, before, &e).within("undo"))?;
        match self.ipc.read_sysctl(sysctl) {
            Ok(found) if found == before => Ok(()),
            Ok(found) => Err(Error::failed(sysctl.name(), "not restored").wanted(before).found(found).within("undo")),
            Err(e) => Err(explain::read(sysctl, &e).within("undo")),
        }
    }
}

/// Compares a new object, as the kernel shows it, with what was asked for.
fn verify(spec: &ObjectSpec, made: &Existing) -> Result<()> {
    let differs = |attribute: &str, wanted: String, found: String| {
        Err(Error::failed(spec.id.to_string(), format!("the kernel made it with another {attribute}"))
            .wanted(format!("{attribute} {wanted}"))
            .found(format!("{attribute} {found}")))
    };
    let numbers = match &spec.shape {
        Shape::Shm { size } => [("size", Some(*size), made.extent), ("", None, 0)],
        Shape::Sem { nsems, .. } => [("nsems", Some(u64::from(*nsems)), made.extent), ("", None, 0)],
        Shape::Msg { max_bytes } => [("max-bytes", *max_bytes, made.extent), ("", None, 0)],
        Shape::Mqueue { max_messages, message_size } => {
            [("max-messages", *max_messages, made.extent), ("message-size", *message_size, made.message_size)]
        }
    };
    for (attribute, wanted, found) in numbers {
        if let Some(wanted) = wanted.filter(|w| *w != found) {
            return differs(attribute, wanted.to_string(), found.to_string());
        }
    }
    if made.mode != spec.mode {
        return differs("mode", spec.mode.to_string(), made.mode.to_string());
    }
    if made.owner != spec.owner || made.creator != spec.owner {
        return differs("owner", spec.owner.to_string(), made.owner.to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
