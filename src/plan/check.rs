//! Rules that forbid a plan: conflicts with config.json, with other users of the namespace, and with the policy.

use super::{Action, Change, Facts, Plan, charge, value_after};
use crate::error::{Error, Result};
use crate::ipc::sysctl::UNLIMITED;
use crate::ipc::{Kind, Shape, Sysctl, SysctlValue};
use crate::request::{Authority, Target};

/// A key that config.json sets too. runc and youki write it after the hook, crun before: so its value must satisfy the
/// request, and then is what the plan sets as well.
pub(super) fn spec_value(target: &Target, before: SysctlValue, facts: &Facts<'_>) -> Result<Option<SysctlValue>> {
    let Some(entry) = facts.spec.and_then(|list| list.iter().find(|s| s.sysctl == target.sysctl)) else {
        return Ok(None);
    };
    let name = target.sysctl.name();
    let Some(value) = entry.value_over(before) else {
        return Err(Error::bad_input(name, "the kernel refuses the value of config.json's linux.sysctl")
            .found(format!("\"{}\"", entry.text))
            .remedy("correct it there"));
    };
    for (index, range) in target.asked() {
        let there = value.field(index);
        let wanted = range.nearest(there);
        if wanted != there {
            let by = range.by(there).map(ToString::to_string).unwrap_or_default();
            return Err(Error::bad_input(
                target.field_name(index),
                format!(
                    "config.json's linux.sysctl sets it too, and runtimes differ in who comes last (asked by {by})"
                ),
            )
            .wanted(wanted)
            .found(format!("{there} in config.json"))
            .remedy("remove one of the two, or make them agree"));
        }
    }
    Ok(Some(value))
}

/// Lowering, or setting exactly, what others rely on.
pub(super) fn sysctl_in_shared(
    target: &Target,
    before: SysctlValue,
    wanted: SysctlValue,
    facts: &Facts<'_>,
) -> Result<()> {
    if !facts.shared {
        return Ok(());
    }
    for (index, range) in target.asked() {
        let (from, to) = (before.field(index), wanted.field(index));
        let set_by_someone = before.field(index) != target.sysctl.kernel_default().field(index);
        if facts.spec.is_none() && set_by_someone && from != to && (to < from || range.exact.is_some()) {
            return Err(Error::failed(
                target.field_name(index),
                "another user of this shared namespace has set it, and only raising it with '>=' is safe",
            )
            .wanted(to)
            .found(from)
            .remedy("write the value with '>=', or make the users agree"));
        }
        if to < from && !facts.policy.lower_in_shared.value {
            let rule = &facts.policy.lower_in_shared;
            return Err(facts
                .policy
                .denied(
                    &target.field_name(index),
                    "lowering a limit of a shared namespace takes it from its other users",
                    rule,
                )
                .wanted(to)
                .found(from)
                .remedy("write the value with '>=', or set lower-in-shared = true"));
        }
    }
    Ok(())
}

/// A value that a container wrote out itself against the administrator's ceiling.
pub(super) fn ceiling(target: &Target, before: SysctlValue, wanted: SysctlValue, facts: &Facts<'_>) -> Result<()> {
    if !target.by_container() {
        return Ok(());
    }
    let rule = &facts.policy.ceiling.sysctls[target.sysctl.index()];
    let Some(ceiling) = rule.value else {
        return Err(facts
            .policy
            .denied(target.sysctl.name(), "annotations may not set it", rule)
            .wanted(wanted)
            .found(before));
    };
    for (index, range) in target.asked() {
        let (from, to, most) = (before.field(index), wanted.field(index), ceiling.field(index));
        let by_container = range.by(from).is_some_and(|by| by.authority() == Authority::Container);
        if by_container && to > from && to > most {
            return Err(facts
                .policy
                .denied(&target.field_name(index), &format!("above the ceiling of {most}"), rule)
                .wanted(to)
                .found(from)
                .remedy("ask for less, or raise the ceiling"));
        }
    }
    Ok(())
}

/// No order lets a segment survive `shm_rmid_forced = 1` unattached.
pub(super) fn rmid_forced(plan: &Plan, facts: &Facts<'_>) -> Result<()> {
    let forced = value_after(plan, facts, Sysctl::ShmRmidForced).is_some_and(|v| v.number() == 1);
    let in_spec = facts.spec.is_some_and(|list| {
        list.iter().any(|s| {
            s.sysctl == Sysctl::ShmRmidForced && s.value_over(SysctlValue::Number(0)) == Some(SysctlValue::Number(1))
        })
    });
    if !forced && !in_spec {
        return Ok(());
    }
    let shm =
        plan.steps.iter().find(|s| matches!(&s.change, Change::Object { spec, .. } if spec.id.kind() == Kind::Shm));
    if let Some(step) = shm {
        let origin = if in_spec { "config.json's linux.sysctl sets it to 1" } else { "it is, or would be, 1" };
        return Err(Error::bad_input(
            step.what(),
            format!("kernel.shm_rmid_forced destroys every segment that nobody is attached to, and {origin}"),
        )
        .wanted("a segment that lasts until the workload attaches it")
        .remedy("remove the segment from the profile, or keep kernel.shm_rmid_forced at 0"));
    }
    let sets_it = plan.steps.iter().any(|s| {
        s.action == Action::Set
            && matches!(s.change, Change::Sysctl { sysctl: Sysctl::ShmRmidForced, wanted, .. } if wanted.number() == 1)
    });
    if sets_it && facts.snapshot.usage.shm_segments > 0 {
        return Err(Error::failed(
            Sysctl::ShmRmidForced.name(),
            "setting it to 1 would destroy segments of this namespace that nobody is attached to right now",
        )
        .found(format!("{} segments", facts.snapshot.usage.shm_segments))
        .remedy("remove the segments first"));
    }
    Ok(())
}

/// Totals of the policy: objects and bytes of inline requests, kernel memory of all.
pub(super) fn totals(plan: &Plan, facts: &Facts<'_>) -> Result<()> {
    let (mut objects, mut shm_bytes) = (0u64, 0u64);
    for step in &plan.steps {
        let Change::Object { spec, .. } = &step.change else { continue };
        if step.action == Action::None {
            continue;
        }
        if step.by.authority() == Authority::Container {
            objects += 1;
            if let Shape::Shm { size } = spec.shape {
                shm_bytes = shm_bytes.saturating_add(size);
            }
        }
    }
    let ceiling = &facts.policy.ceiling;
    for (what, wanted, rule) in [
        ("objects", objects, &ceiling.objects),
        ("shm bytes", shm_bytes, &ceiling.shm_bytes),
        ("kernel memory", charge::kernel_memory(plan), &ceiling.kernel_memory),
    ] {
        if wanted > rule.value {
            return Err(facts
                .policy
                .denied(what, &format!("above the ceiling of {}", rule.value), rule)
                .wanted(wanted)
                .remedy("ask for less, or raise the ceiling"));
        }
    }
    Ok(())
}

/// The sysctl that [`warn`] compares with this one.
pub(super) const fn partner(sysctl: Sysctl) -> Option<Sysctl> {
    match sysctl {
        Sysctl::Shmall => Some(Sysctl::Shmmax),
        Sysctl::Shmmax => Some(Sysctl::Shmall),
        Sysctl::Msgmax => Some(Sysctl::Msgmnb),
        Sysctl::Msgmnb => Some(Sysctl::Msgmax),
        _ => None,
    }
}

/// What does not fail but surprises.
pub(super) fn warn(plan: &mut Plan, facts: &Facts<'_>) {
    let number = |sysctl| value_after(plan, facts, sysctl).map(SysctlValue::number);
    let mut warnings = Vec::new();
    if let (Some(all), Some(max)) = (number(Sysctl::Shmall), number(Sysctl::Shmmax))
        && max < UNLIMITED
        && u128::from(all) * u128::from(facts.page_size) < u128::from(max)
        && touches(plan, &[Sysctl::Shmall, Sysctl::Shmmax])
    {
        let bytes = u128::from(all) * u128::from(facts.page_size);
        warnings.push(format!(
            "kernel.shmall: {all} pages are {bytes} bytes, less than kernel.shmmax {max}: no segment can reach shmmax (is shmall in bytes by mistake?)"
        ));
    }
    if let (Some(max), Some(mnb)) = (number(Sysctl::Msgmax), number(Sysctl::Msgmnb))
        && max > mnb
        && touches(plan, &[Sysctl::Msgmax, Sysctl::Msgmnb])
    {
        warnings.push(format!(
            "kernel.msgmax: {max} is more than kernel.msgmnb {mnb}: sending such a message to a new queue would wait for ever"
        ));
    }
    plan.warnings.append(&mut warnings);
}

fn touches(plan: &Plan, sysctls: &[Sysctl]) -> bool {
    plan.steps.iter().any(|s| matches!(s.change, Change::Sysctl { sysctl, .. } if sysctls.contains(&sysctl)))
}
