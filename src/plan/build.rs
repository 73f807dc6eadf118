//! Request and facts become steps. Pure: same input, same plan, byte for byte.

use super::{Action, Change, Facts, Plan, Step, check, limits};
use crate::error::{Error, Result};
use crate::ipc::{Existing, Mode, ObjectId, ObjectSpec, Shape, SysctlValue};
use crate::request::{IfExists, ObjectWish, Request, Target};

/// Makes the plan, or says why there is none.
///
/// # Errors
/// A conflict with config.json, with the namespace's users, with the policy, with a limit, or with an object that is
/// there: the rules are in `check.rs` and `limits.rs`.
pub fn build(request: &Request, facts: &Facts<'_>) -> Result<Plan> {
    if let Some(wish) = request.by_file.first() {
        return Err(Error::failed(wish.file.to_string(), "its key has not been looked up"));
    }
    let mut plan = Plan {
        steps: Vec::with_capacity(request.sysctls.len() + request.objects.len()),
        warnings: request.notes.clone(),
    };
    for target in &request.sysctls {
        plan.steps.push(sysctl_step(target, facts)?);
    }
    let mut replacements = Vec::new();
    for wish in &request.objects {
        let step = object_step(wish, &plan, facts)?;
        match step.action {
            Action::Replace => replacements.push(step),
            _ => plan.steps.push(step),
        }
    }
    plan.steps.append(&mut replacements);
    // First what may not be, then what cannot be.
    check::totals(&plan, facts)?;
    check::rmid_forced(&plan, facts)?;
    limits::check(&plan, facts)?;
    check::warn(&mut plan, facts);
    Ok(plan)
}

fn sysctl_step(target: &Target, facts: &Facts<'_>) -> Result<Step> {
    let sysctl = target.sysctl;
    let before = facts.snapshot.sysctl(sysctl).ok_or_else(|| {
        Error::unsupported(sysctl.name(), "this kernel does not have it").remedy(match sysctl.is_mqueue() {
            true => "a kernel with CONFIG_POSIX_MQUEUE and CONFIG_POSIX_MQUEUE_SYSCTL is needed",
            false => "a kernel with CONFIG_SYSVIPC and CONFIG_SYSVIPC_SYSCTL is needed",
        })
    })?;
    let wanted = match check::spec_value(target, before, facts)? {
        Some(value) => value,
        None => nearest(target, before),
    };
    let moved = (0..4).find(|i| before.field(*i) != wanted.field(*i) && !target.fields[*i].is_empty());
    let by = moved
        .and_then(|i| target.fields[i].by(before.field(i)))
        .or_else(|| target.asked().find_map(|(i, range)| range.by(before.field(i))))
        .cloned()
        .ok_or_else(|| Error::bad_input(sysctl.name(), "nothing is asked of it"))?;
    let action = if wanted == before { Action::None } else { Action::Set };
    if action == Action::Set {
        check::sysctl_in_shared(target, before, wanted, facts)?;
        check::ceiling(target, before, wanted, facts)?;
    }
    Ok(Step { by, action, change: Change::Sysctl { sysctl, before, wanted } })
}

/// The value nearest to the one that is there.
fn nearest(target: &Target, before: SysctlValue) -> SysctlValue {
    match before {
        SysctlValue::Number(n) => SysctlValue::Number(target.fields[0].nearest(n)),
        SysctlValue::Sem(fields) => {
            let mut wanted = fields;
            for (index, range) in target.asked() {
                wanted[index] = i32::try_from(range.nearest(before.field(index))).unwrap_or(i32::MAX);
            }
            SysctlValue::Sem(wanted)
        }
    }
}

fn object_step(wish: &ObjectWish, plan: &Plan, facts: &Facts<'_>) -> Result<Step> {
    let before = existing(&wish.id, facts);
    let action = match (before, wish.if_exists) {
        (None, _) => Action::Create,
        (Some(there), IfExists::Keep) => {
            same_shape(wish, there)?;
            Action::None
        }
        (Some(there), IfExists::Fail) => {
            return Err(Error::failed(wish.id.to_string(), "it exists already and if-exists is \"fail\"")
                .found(describe(there))
                .remedy("remove it, or use if-exists = \"keep\""));
        }
        (Some(there), IfExists::Replace) => {
            if matches!(wish.shape, Shape::Shm { .. }) && there.in_use > 0 {
                return Err(Error::failed(
                    wish.id.to_string(),
                    "a segment that processes are attached to is not replaced",
                )
                .found(format!("{} attached", there.in_use))
                .remedy("stop its users first, or use if-exists = \"keep\""));
            }
            Action::Replace
        }
    };
    let spec = match (before, action) {
        (Some(there), Action::None) => kept(wish, there),
        _ => new_spec(wish, plan, facts)?,
    };
    let change = Change::Object { spec, before: before.map(|b| Box::new(b.clone())), on_stop: wish.on_stop };
    Ok(Step { by: wish.by.clone(), action, change })
}

fn existing<'f>(id: &ObjectId, facts: &Facts<'f>) -> Option<&'f Existing> {
    let objects = &facts.snapshot.objects;
    objects.binary_search_by(|e| e.id.as_ref().cmp(&Some(id))).ok().map(|index| &objects[index])
}

/// What a new object will be, with owner and defaults decided; the plan has the sysctls already.
fn new_spec(wish: &ObjectWish, plan: &Plan, facts: &Facts<'_>) -> Result<ObjectSpec> {
    let what = || wish.id.to_string();
    let owner = wish.owner.or(facts.default_owner).ok_or_else(|| {
        Error::bad_input(
            what(),
            format!("it names no owner ({}) and no config.json tells the container's user", wish.by),
        )
        .remedy("write owner = \"uid:gid\" in the profile")
    })?;
    if facts.maps.to_outside(owner).is_none() {
        return Err(Error::bad_input(what(), "the container's user namespace does not map this id")
            .wanted(format!("owner {owner}"))
            .remedy("name an owner that is mapped, see /proc/PID/uid_map and gid_map"));
    }
    Ok(ObjectSpec {
        id: wish.id.clone(),
        shape: limits::with_defaults(&wish.shape, plan, facts),
        mode: wish.mode.unwrap_or(Mode::DEFAULT),
        owner,
    })
}

/// An object that stays: what was asked for, and what it is where nothing was asked.
fn kept(wish: &ObjectWish, there: &Existing) -> ObjectSpec {
    let shape = match &wish.shape {
        Shape::Msg { .. } => Shape::Msg { max_bytes: Some(there.extent) },
        Shape::Mqueue { .. } => {
            Shape::Mqueue { max_messages: Some(there.extent), message_size: Some(there.message_size) }
        }
        other => other.clone(),
    };
    ObjectSpec { id: wish.id.clone(), shape, mode: there.mode, owner: there.owner }
}

/// `keep`: compares only what the profile writes, and never what a workload changes (values, depth, msg_qbytes).
fn same_shape(wish: &ObjectWish, there: &Existing) -> Result<()> {
    let differs = |attribute: &str, wanted: String, found: String| {
        Error::failed(wish.id.to_string(), format!("it exists already with another {attribute}"))
            .wanted(format!("{attribute} {wanted}"))
            .found(format!("{attribute} {found}"))
            .remedy("remove it, change the profile, or use if-exists = \"replace\"")
    };
    let mut pairs: Vec<(&str, Option<u64>, u64)> = Vec::with_capacity(2);
    match &wish.shape {
        Shape::Shm { size } => pairs.push(("size", Some(*size), there.extent)),
        Shape::Sem { nsems, .. } => pairs.push(("nsems", Some(u64::from(*nsems)), there.extent)),
        Shape::Msg { .. } => {}
        Shape::Mqueue { max_messages, message_size } => {
            pairs.push(("max-messages", *max_messages, there.extent));
            pairs.push(("message-size", *message_size, there.message_size));
        }
    }
    for (attribute, wanted, found) in pairs {
        if let Some(wanted) = wanted.filter(|w| *w != found) {
            return Err(differs(attribute, wanted.to_string(), found.to_string()));
        }
    }
    if let Some(mode) = wish.mode.filter(|m| *m != there.mode) {
        return Err(differs("mode", mode.to_string(), there.mode.to_string()));
    }
    if let Some(owner) = wish.owner.filter(|o| *o != there.owner) {
        return Err(differs("owner", owner.to_string(), there.owner.to_string()));
    }
    Ok(())
}

/// An existing object in a few words.
pub(crate) fn describe(there: &Existing) -> String {
    let Existing { mode, owner, extent, message_size, .. } = there;
    match there.kind {
        crate::ipc::Kind::Shm => format!("size {extent}, mode {mode}, owner {owner}"),
        crate::ipc::Kind::Sem => format!("nsems {extent}, mode {mode}, owner {owner}"),
        crate::ipc::Kind::Msg => format!("max-bytes {extent}, mode {mode}, owner {owner}"),
        crate::ipc::Kind::Mqueue => {
            format!("max-messages {extent}, message-size {message_size}, mode {mode}, owner {owner}")
        }
    }
}
