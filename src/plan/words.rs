//! A plan in words: why each sysctl changes, and which limits its objects need.

use super::limits::{self, Taken};
use super::{Action, Change, Plan};
use crate::ipc::{Bound, Kind, ObjectSpec, Shape, Snapshot, Sysctl, SysctlValue};
use crate::policy::budget;
use crate::request::{Memory, Request, Target};
use crate::text::escape;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the plan came from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'o> {
    /// What was asked.
    pub request: &'o Request,
    /// What was there.
    pub snapshot: &'o Snapshot,
    /// Memory that formulas were computed from, when one was used.
    pub memory: Option<&'o Memory>,
    /// RLIMIT_MSGQUEUE; `None` = no limit.
    pub msgqueue_limit: Option<u64>,
    /// Bytes of a page.
    pub page_size: u64,
}

/// Lines `why:` for sysctls that change, `needs:` for the limits of new objects, `memory:` where a formula was used. Empty
/// when nothing is to be done.
pub fn text(plan: &Plan, origin: &Origin<'_>) -> String {
    let mut lines = Vec::new();
    if plan.is_noop() {
        return String::new();
    }
    lines.extend(origin.memory.map(|m| format!("memory: {} bytes, from {}", m.bytes, m.from)));
    for step in plan.steps.iter().filter(|s| s.action == Action::Set) {
        if let Change::Sysctl { sysctl, before, wanted } = step.change
            && let Some(target) = origin.request.sysctls.iter().find(|t| t.sysctl == sysctl)
        {
            lines.extend(why(target, before, wanted));
        }
    }
    lines.extend(needs(plan, origin));
    lines.iter().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "{}", escape(line));
        out
    })
}

/// One line for each number that changes, with everyone who has a say in it.
fn why(target: &Target, before: SysctlValue, wanted: SysctlValue) -> Vec<String> {
    let changed = target.asked().filter(|(index, _)| before.field(*index) != wanted.field(*index));
    changed
        .map(|(index, range)| {
            let says = range.limits().map(|(bound, limit)| {
                let must = match bound {
                    Bound::Exact => "must be",
                    Bound::AtLeast => "must be at least",
                    Bound::AtMost => "must be at most",
                };
                format!("{must} {} ({})", limit.value, limit.by)
            });
            let says = says.collect::<Vec<_>>().join(" and ");
            format!("why: {} is {} and {says}", target.field_name(index), before.field(index))
        })
        .collect()
}

/// The most that one new object needs of a limit, and which one that is.
#[derive(Default)]
struct Largest(BTreeMap<&'static str, (u64, String, u64)>);

impl Largest {
    fn of(&mut self, limit: &'static str, needed: u64, spec: &ObjectSpec, holds: u64) {
        let entry = self.0.entry(limit).or_insert_with(|| (needed, spec.id.to_string(), holds));
        if needed > entry.0 {
            *entry = (needed, spec.id.to_string(), holds);
        }
    }
}

fn needs(plan: &Plan, origin: &Origin<'_>) -> Vec<String> {
    let made = plan.steps.iter().filter_map(|step| match &step.change {
        Change::Object { spec, .. } if matches!(step.action, Action::Create | Action::Replace) => Some((spec, step)),
        _ => None,
    });
    let mut largest = Largest::default();
    let (mut new, mut pages, mut sems) = ([0u64; 4], Taken::default(), Taken::default());
    let mut queues: BTreeMap<u32, u64> = BTreeMap::new();
    for (spec, step) in made {
        new[spec.id.kind() as usize] += u64::from(step.action == Action::Create);
        let replaced = limits::replaced(step);
        let holds = |sysctl, field| after(plan, origin.snapshot, sysctl).field(field);
        match &spec.shape {
            Shape::Shm { size } => {
                largest.of("kernel.shmmax", *size, spec, holds(Sysctl::Shmmax, 0));
                let in_pages = |bytes: u64| bytes.div_ceil(origin.page_size.max(1));
                pages.step(in_pages(*size), in_pages(replaced));
            }
            Shape::Sem { nsems, .. } => {
                largest.of("kernel.sem.semmsl", u64::from(*nsems), spec, holds(Sysctl::Sem, 0));
                sems.step(u64::from(*nsems), replaced);
            }
            Shape::Msg { max_bytes } => {
                if let Some(bytes) = max_bytes {
                    largest.of("kernel.msgmnb", *bytes, spec, holds(Sysctl::Msgmnb, 0));
                }
            }
            Shape::Mqueue { max_messages, message_size } => {
                let (messages, size) = (max_messages.unwrap_or(0), message_size.unwrap_or(0));
                largest.of("fs.mqueue.msg_max", messages, spec, holds(Sysctl::MqMsgMax, 0));
                largest.of("fs.mqueue.msgsize_max", size, spec, holds(Sysctl::MqMsgsizeMax, 0));
                *queues.entry(spec.owner.uid).or_default() += budget::msgqueue_bytes(messages, size);
            }
        }
    }
    let one = |(limit, (needed, what, holds)): (&&str, &(u64, String, u64))| {
        format!("needs: {limit} {needed} for {what}, of {holds}")
    };
    let mut lines: Vec<_> = largest.0.iter().map(one).collect();
    lines.extend(totals(plan, origin, new, pages.most(), sems.most()));
    for (uid, bytes) in queues {
        let limit = origin.msgqueue_limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
        lines.push(format!("needs: RLIMIT_MSGQUEUE {bytes} for all new queues of uid {uid}, of {limit} for all its queues on this machine"));
    }
    lines
}

/// Limits that count all objects of a namespace together.
fn totals(plan: &Plan, origin: &Origin<'_>, new: [u64; 4], pages: u64, sems: u64) -> Vec<String> {
    let usage = &origin.snapshot.usage;
    [
        (Kind::Shm, "kernel.shmmni", "segments", new[0], usage.shm_segments, Sysctl::Shmmni, 0),
        (Kind::Shm, "kernel.shmall", "pages", pages, usage.shm_pages, Sysctl::Shmall, 0),
        (Kind::Sem, "kernel.sem.semmni", "sets", new[1], usage.sem_sets, Sysctl::Sem, 3),
        (Kind::Sem, "kernel.sem.semmns", "semaphores", sems, usage.sems, Sysctl::Sem, 1),
        (Kind::Msg, "kernel.msgmni", "queues", new[2], usage.msg_queues, Sysctl::Msgmni, 0),
        (Kind::Mqueue, "fs.mqueue.queues_max", "queues", new[3], 0, Sysctl::MqQueuesMax, 0),
    ]
    .into_iter()
    .filter(|(kind, _, _, added, ..)| *added > 0 && new[*kind as usize] > 0)
    .map(|(_, limit, counts, added, used, sysctl, field)| {
        let there = if used > 0 { format!(" and {used} for those that are there") } else { String::new() };
        format!(
            "needs: {limit} {added} for new {counts}{there}, of {}",
            after(plan, origin.snapshot, sysctl).field(field)
        )
    })
    .collect()
}

/// The value once the plan is carried out.
fn after(plan: &Plan, snapshot: &Snapshot, wanted: Sysctl) -> SysctlValue {
    let planned = plan.steps.iter().find_map(|step| match step.change {
        Change::Sysctl { sysctl, wanted: value, .. } if sysctl == wanted => Some(value),
        _ => None,
    });
    planned.or_else(|| snapshot.sysctl(wanted)).unwrap_or(wanted.kernel_default())
}
