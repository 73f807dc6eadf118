//! Objects against the limits that will hold, so that the first failing call is not the one that tells.

use super::{Action, Change, Facts, Plan, Step, value_after};
use crate::error::{Error, Result};
use crate::ipc::{Kind, Owner, Shape, Sysctl, SysctlValue};
use crate::policy::budget;
use std::collections::BTreeMap;

/// The sysctls that limit objects of a kind.
pub(super) fn governing(kind: Kind) -> &'static [Sysctl] {
    match kind {
        Kind::Shm => &[Sysctl::Shmmax, Sysctl::Shmall, Sysctl::Shmmni, Sysctl::ShmRmidForced],
        Kind::Sem => &[Sysctl::Sem],
        Kind::Msg => &[Sysctl::Msgmni, Sysctl::Msgmnb],
        Kind::Mqueue => &[
            Sysctl::MqMsgMax,
            Sysctl::MqMsgsizeMax,
            Sysctl::MqMsgDefault,
            Sysctl::MqMsgsizeDefault,
            Sysctl::MqQueuesMax,
        ],
    }
}

/// Attributes that the profile leaves out. Queues take msg_default and msgsize_default, cut at their maxima, as the plan's
/// sysctls will be (`mq_create`); a System V queue takes msgmnb by itself.
pub(super) fn with_defaults(shape: &Shape, plan: &Plan, facts: &Facts<'_>) -> Shape {
    let Shape::Mqueue { max_messages, message_size } = shape else { return shape.clone() };
    let number = |sysctl: Sysctl| value_after(plan, facts, sysctl).unwrap_or(sysctl.kernel_default()).number();
    let messages = number(Sysctl::MqMsgDefault).min(number(Sysctl::MqMsgMax));
    let size = number(Sysctl::MqMsgsizeDefault).min(number(Sysctl::MqMsgsizeMax));
    Shape::Mqueue {
        max_messages: Some(max_messages.unwrap_or(messages)),
        message_size: Some(message_size.unwrap_or(size)),
    }
}

/// What is taken while the steps are done one by one: what is replaced is removed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    now: i128,
    most: i128,
}

impl Taken {
    /// One more step.
    pub(super) fn step(&mut self, takes: u64, gives_back: u64) {
        self.now += i128::from(takes) - i128::from(gives_back);
        self.most = self.most.max(self.now);
    }

    /// The most that is taken at any time, over what was there before.
    pub(super) fn most(self) -> u64 {
        u64::try_from(self.most).unwrap_or(u64::MAX)
    }
}

/// What a step's object held that it replaces, in bytes or semaphores.
pub(super) fn replaced(step: &Step) -> u64 {
    match &step.change {
        Change::Object { before: Some(before), .. } if step.action == Action::Replace => before.extent,
        _ => 0,
    }
}

/// Sums over the objects that will be made.
#[derive(Default)]
struct Totals {
    new: [u64; 4],
    pages: Taken,
    sems: Taken,
    queue_bytes: BTreeMap<u32, (Owner, u64)>,
}

/// Checks every new object and their sums.
///
/// # Errors
/// Names the limit, and the value to which it must be raised.
pub(super) fn check(plan: &Plan, facts: &Facts<'_>) -> Result<()> {
    let limit = |sysctl: Sysctl| value_after(plan, facts, sysctl).unwrap_or(sysctl.kernel_default());
    let mut totals = Totals::default();
    let shm = (limit(Sysctl::Shmmax).number(), facts.page_size.max(1));
    let sem = limit(Sysctl::Sem);
    let msgmnb = limit(Sysctl::Msgmnb).number();
    let queue = (limit(Sysctl::MqMsgMax).number(), limit(Sysctl::MqMsgsizeMax).number());
    for step in &plan.steps {
        let Change::Object { spec, .. } = &step.change else { continue };
        if step.action == Action::None {
            continue;
        }
        let within = |name: &str, wanted: u64, limit: u64| {
            if wanted <= limit { Ok(()) } else { Err(too_small(step.what(), name, wanted, limit)) }
        };
        if step.action == Action::Create {
            totals.new[spec.id.kind() as usize] += 1;
        }
        match &spec.shape {
            Shape::Shm { size } => {
                within("kernel.shmmax", *size, shm.0)?;
                totals.pages.step(size.div_ceil(shm.1), replaced(step).div_ceil(shm.1));
            }
            Shape::Sem { nsems, values } => {
                within("kernel.sem (SEMMSL)", u64::from(*nsems), sem.field(0))?;
                let marking = if values.first().is_some_and(|v| *v > 0) { 2 } else { 1 };
                within("kernel.sem (SEMOPM)", marking, sem.field(2))?;
                totals.sems.step(u64::from(*nsems), replaced(step));
            }
            Shape::Msg { max_bytes } => within("kernel.msgmnb", max_bytes.unwrap_or(0), msgmnb)?,
            Shape::Mqueue { max_messages, message_size } => {
                let (messages, size) = (max_messages.unwrap_or(0), message_size.unwrap_or(0));
                within("fs.mqueue.msg_max", messages, queue.0)?;
                within("fs.mqueue.msgsize_max", size, queue.1)?;
                let entry = totals.queue_bytes.entry(spec.owner.uid).or_insert((spec.owner, 0));
                entry.1 = entry.1.saturating_add(budget::msgqueue_bytes(messages, size));
            }
        }
    }
    sums(&totals, plan, facts)
}

fn sums(totals: &Totals, plan: &Plan, facts: &Facts<'_>) -> Result<()> {
    let limit = |sysctl: Sysctl| value_after(plan, facts, sysctl).unwrap_or(sysctl.kernel_default());
    let usage = &facts.snapshot.usage;
    let sem: SysctlValue = limit(Sysctl::Sem);
    for (kind, what, name, new, used, limit) in [
        (Kind::Shm, "segments", "kernel.shmmni", totals.new[0], usage.shm_segments, limit(Sysctl::Shmmni).number()),
        (
            Kind::Shm,
            "pages of segments",
            "kernel.shmall",
            totals.pages.most(),
            usage.shm_pages,
            limit(Sysctl::Shmall).number(),
        ),
        (Kind::Sem, "semaphore sets", "kernel.sem (SEMMNI)", totals.new[1], usage.sem_sets, sem.field(3)),
        (Kind::Sem, "semaphores", "kernel.sem (SEMMNS)", totals.sems.most(), usage.sems, sem.field(1)),
        (Kind::Msg, "message queues", "kernel.msgmni", totals.new[2], usage.msg_queues, limit(Sysctl::Msgmni).number()),
        (Kind::Mqueue, "POSIX queues", "fs.mqueue.queues_max", totals.new[3], 0, limit(Sysctl::MqQueuesMax).number()),
    ] {
        let wanted = new.saturating_add(used);
        if new > 0 && wanted > limit {
            let all = if used > 0 { format!("{new} new and {used} existing {what}") } else { format!("{new} {what}") };
            return Err(too_small(format!("{kind}: {all}"), name, wanted, limit));
        }
    }
    let Some(limit) = facts.msgqueue_limit else { return Ok(()) };
    for (owner, bytes) in totals.queue_bytes.values() {
        if *bytes > limit {
            return Err(Error::failed(
                format!("mqueue: queues of uid {}", owner.uid),
                "RLIMIT_MSGQUEUE bounds the bytes of all queues of a user id, over all containers of the host",
            )
            .wanted(format!("{bytes} bytes"))
            .found(format!("a limit of {limit}"))
            .remedy(format!(
                "raise the limit of the runtime that calls the hook to at least {bytes} (LimitMSGQUEUE=, ulimit -q), or ask for fewer or smaller queues"
            )));
        }
    }
    Ok(())
}

fn too_small(what: String, name: &str, wanted: u64, limit: u64) -> Error {
    Error::failed(what, format!("more than the limit {name} = {limit}"))
        .wanted(wanted)
        .found(format!("{name} = {limit}"))
        .remedy(format!("raise {name} to at least {wanted} in the profile"))
}
