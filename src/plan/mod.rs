//! What will be done: a list of steps that can be printed, and is all that `apply` follows.

pub mod allowed;
pub mod build;
pub mod charge;
mod check;
mod limits;
pub mod render;
pub mod words;

pub use build::build;

use crate::ipc::{Existing, IdMaps, Kind, ObjectSpec, Owner, Snapshot, Sysctl, SysctlValue};
use crate::oci::SpecSysctl;
use crate::policy::Config;
use crate::request::{Authority, By, Limit, OnStop, Range, Request, Target};
use std::rc::Rc;

/// The steps, in the order in which they are done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Sysctls first, then creations by kind and key, replacements last.
    pub steps: Vec<Step>,
    /// What a reader should know; nothing of it stops the run.
    pub warnings: Vec<String>,
}

/// One sysctl or object.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Who asks.
    pub by: By,
    /// What is done.
    pub action: Action,
    /// To what.
    pub change: Change,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: it is as wanted.
    None,
    /// Writes a sysctl.
    Set,
    /// Creates an object.
    Create,
    /// Destroys an object with its content and creates it anew.
    Replace,
}

impl Action {
    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Action::None => "none",
            Action::Set => "set",
            Action::Create => "create",
            Action::Replace => "replace",
        }
    }
}

/// What a step changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A sysctl.
    Sysctl {
        /// Which.
        sysctl: Sysctl,
        /// Its value now.
        before: SysctlValue,
        /// Its value afterwards.
        wanted: SysctlValue,
    },
    /// An object.
    Object {
        /// As it will be.
        spec: ObjectSpec,
        /// As it is now, if it is there.
        before: Option<Box<Existing>>,
        /// What clean-up does with it.
        on_stop: OnStop,
    },
}

impl Step {
    /// The object or sysctl, for messages.
    pub fn what(&self) -> String {
        match &self.change {
            Change::Sysctl { sysctl, .. } => sysctl.name().to_owned(),
            Change::Object { spec, .. } => spec.id.to_string(),
        }
    }
}

impl Plan {
    /// True when every step does nothing.
    pub fn is_noop(&self) -> bool {
        self.steps.iter().all(|s| s.action == Action::None)
    }
}

/// Everything a plan depends on besides the request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f> {
    /// What the namespace holds, at least all that [`needs`] names; objects sorted by id.
    pub snapshot: &'f Snapshot,
    /// Others use the namespace too.
    pub shared: bool,
    /// `linux.sysctl` of config.json; `None` = no config.json at hand.
    pub spec: Option<&'f [SpecSysctl]>,
    /// The administrator's rules.
    pub policy: &'f Config,
    /// Owner of objects that name none.
    pub default_owner: Option<Owner>,
    /// The container's id maps.
    pub maps: &'f IdMaps,
    /// Bytes of a page.
    pub page_size: u64,
    /// RLIMIT_MSGQUEUE that holds for the creation of queues; `None` = no limit.
    pub msgqueue_limit: Option<u64>,
}

/// What must be looked at before a plan can be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Sysctls to read from their files, by [`Sysctl::index`]: those that may be changed, and those that nothing else tells.
    pub sysctls: [bool; 13],
    /// Kinds whose limits are to be asked for; see [`Sysctl::told_with`].
    pub limits: Vec<Kind>,
    /// Kinds whose usage counts.
    pub kinds: Vec<Kind>,
}

/// Adds the sysctls of config.json that limit the objects that are asked for, in a namespace of the container's own: some
/// runtimes write them before the hook and some after it, and the objects are to come out the same.
pub fn follow(request: &mut Request, spec: &[SpecSysctl]) {
    let limits = |sysctl: Sysctl| request.objects.iter().any(|o| limits::governing(o.id.kind()).contains(&sysctl));
    let asked = |sysctl: Sysctl| request.sysctls.iter().any(|target| target.sysctl == sysctl);
    let more: Vec<_> = spec.iter().filter(|s| limits(s.sysctl) && !asked(s.sysctl)).filter_map(followed).collect();
    request.sysctls.extend(more);
    request.sysctls.sort_by_key(|target| target.sysctl);
}

/// Exactly the fields that config.json sets; `None` when it sets none.
fn followed(entry: &SpecSysctl) -> Option<Target> {
    let value = entry.value_over(entry.sysctl.kernel_default())?;
    let by = By::new(Rc::from("config.json"), 0, Authority::Spec);
    let mut fields: [Range; 4] = Default::default();
    for (index, _) in entry.text.split_ascii_whitespace().enumerate().take(value.fields()) {
        fields[index].exact = Some(Limit { value: value.field(index), by: by.clone() });
    }
    fields[0].exact.is_some().then_some(Target { sysctl: entry.sysctl, fields })
}

/// What must be looked at for `request`.
pub fn needs(request: &Request) -> Needs {
    let mut needs = Needs::default();
    for target in &request.sysctls {
        needs.sysctls[target.sysctl.index()] = true;
    }
    for partner in request.sysctls.iter().filter_map(|target| check::partner(target.sysctl)) {
        needs.look_at(partner);
    }
    for kind in Kind::ALL {
        if request.objects.iter().any(|o| o.id.kind() == kind) {
            needs.kinds.push(kind);
            limits::governing(kind).iter().for_each(|sysctl| needs.look_at(*sysctl));
        }
    }
    if needs.sysctls[Sysctl::ShmRmidForced.index()] && !needs.kinds.contains(&Kind::Shm) {
        needs.kinds.push(Kind::Shm);
    }
    needs
}

impl Needs {
    /// A value that nobody wants to change: the cheaper way will do.
    fn look_at(&mut self, sysctl: Sysctl) {
        match sysctl.told_with() {
            _ if self.sysctls[sysctl.index()] => {}
            Some(kind) if !self.limits.contains(&kind) => self.limits.push(kind),
            Some(_) => {}
            None => self.sysctls[sysctl.index()] = true,
        }
    }
}

/// The value a sysctl will have once the plan is applied.
fn value_after(plan: &Plan, facts: &Facts<'_>, sysctl: Sysctl) -> Option<SysctlValue> {
    let planned = plan.steps.iter().find_map(|step| match &step.change {
        Change::Sysctl { sysctl: s, wanted, .. } if *s == sysctl => Some(*wanted),
        _ => None,
    });
    planned.or_else(|| facts.snapshot.sysctl(sysctl))
}

#[cfg(test)]
mod tests;
