//! What is nearly or wholly used up, what will fail because of it, and the cure.

use super::{Use, View};
use crate::finding::{Finding, Level};
use crate::ipc::{SemField, Sysctl};

/// From this part of a limit on it is said.
const NEARLY: f64 = 90.0;

/// One resource that runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What is so, such as `SEMMNI: 32 of 32 semaphore sets`.
    pub found: String,
    /// What fails, as the program that fails sees it.
    pub effect: String,
    /// What can be done.
    pub cure: String,
    /// Nothing is left.
    pub used_up: bool,
}

/// Everything that is to be said of a namespace.
pub fn advice(view: &View) -> Vec<Advice> {
    view.usage().iter().filter_map(|u| one(view, u)).collect()
}

/// The same as findings about the namespace.
pub fn findings(view: &View) -> Vec<Finding> {
    let containers: Vec<_> = view.containers.iter().map(|c| format!("{} {}", c.engine, c.short())).collect();
    let whose = match (containers.is_empty(), view.pids.first()) {
        (false, _) => containers.join(", "),
        (true, Some(pid)) if !view.is_initial() => format!("pid {pid}"),
        _ => "host".to_owned(),
    };
    let what = format!("{} ({whose})", view.id);
    let one = |a: Advice| {
        let level = if a.used_up { Level::Problem } else { Level::Warning };
        Finding { level, ..Finding::warning(&what, format!("{}, {}", a.found, a.effect), a.cure) }
    };
    advice(view).into_iter().map(one).collect()
}

/// The sysctl of a resource, the field of `kernel.sem`, what it counts, the call that fails, and what frees some.
fn about(name: &str) -> Option<(Sysctl, Option<SemField>, &'static str, &'static str, &'static str)> {
    Some(match name {
        "msgmni" => (Sysctl::Msgmni, None, "message queues", "msgget", "ipcrm -q"),
        "shmmni" => (Sysctl::Shmmni, None, "segments", "shmget", "ipcrm -m"),
        "shmall" => (Sysctl::Shmall, None, "pages of segments", "shmget", "ipcrm -m"),
        "semmni" => (Sysctl::Sem, Some(SemField::Semmni), "semaphore sets", "semget", "ipcrm -s"),
        "semmns" => (Sysctl::Sem, Some(SemField::Semmns), "semaphores", "semget", "ipcrm -s"),
        "queues_max" => (Sysctl::MqQueuesMax, None, "POSIX queues", "mq_open", "rm in /dev/mqueue"),
        _ => return None,
    })
}

fn one(view: &View, u: &Use) -> Option<Advice> {
    let limit = u.limit?;
    let percent = u.percent().filter(|p| *p >= NEARLY)?;
    let (sysctl, field, counts, call, remove) = about(u.name)?;
    let used_up = u.used >= limit;
    let when = if used_up { "used up: the next" } else { "nearly used up: then" };
    let found = format!("{}: {} of {limit} {counts} ({percent:.0}%)", u.name.to_uppercase(), u.used);
    let effect =
        format!("{when} {call} fails with ENOSPC \"No space left on device\", which means this limit and no disk");
    let cure = match enough(u, sysctl, field) {
        None => format!("{limit} is the most that this kernel has; remove what nobody uses ({remove})"),
        Some(_) => {
            let whose = match view.pids.first() {
                Some(pid) if !view.is_initial() => {
                    format!("'oci-ipc-hook apply --pid {pid} --profile-file FILE' raises it now")
                }
                _ => format!("on the host itself 'sysctl -w {sysctl}=…'"),
            };
            format!("write {} into its profile; {whose}; or remove what nobody uses ({remove})", wish(view, sysctl))
        }
    };
    Some(Advice { found, effect, cure, used_up })
}

/// Twice what there is, if the kernel has that much.
fn enough(u: &Use, sysctl: Sysctl, field: Option<SemField>) -> Option<u64> {
    let most = field.map_or(sysctl.range(), SemField::range).1;
    let more = u.limit?.max(u.used).saturating_mul(2).clamp(1, most);
    (more > u.limit?).then_some(more)
}

/// The line of a profile; for `kernel.sem` with every field that runs out.
fn wish(view: &View, sysctl: Sysctl) -> String {
    let usage = view.usage();
    let tight = usage.iter().filter(|u| u.percent().is_some_and(|p| p >= NEARLY));
    let mine = tight.filter_map(|u| about(u.name).filter(|a| a.0 == sysctl).map(|a| (a.1, u)));
    let wanted: Vec<_> = mine.filter_map(|(field, u)| Some((field, enough(u, sysctl, field)?))).collect();
    match &wanted[..] {
        [(None, more)] => format!("\"{sysctl}\" = \">= {more}\""),
        fields => {
            let named = fields.iter().filter_map(|(field, more)| Some(format!("{} = \">= {more}\"", (*field)?.name())));
            format!("\"{sysctl}\" = {{ {} }}", named.collect::<Vec<_>>().join(", "))
        }
    }
}
