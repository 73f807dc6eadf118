//! Why each step of a plan is allowed, in words: the rule of the policy and where it stands. What is denied makes no plan,
//! its error names the rule.

use super::{Action, Change, Plan, Step, charge};
use crate::policy::Config;
use crate::request::Authority;
use std::fmt::Write as _;

/// Most steps that are named for one rule.
const MAX_NAMES: usize = 8;

/// A line for each rule that allows steps of the plan, in their order, and one for the kernel memory they cost. Empty when
/// nothing is to be done.
pub fn text(plan: &Plan, policy: &Config) -> String {
    let mut rules: Vec<(String, Vec<String>)> = Vec::new();
    for step in plan.steps.iter().filter(|s| s.action != Action::None) {
        let why = reason(step, policy);
        match rules.iter_mut().find(|(rule, _)| *rule == why) {
            Some((_, steps)) => steps.push(step.what()),
            None => rules.push((why, vec![step.what()])),
        }
    }
    let mut out = String::new();
    for (why, steps) in &rules {
        let more = match steps.len().checked_sub(MAX_NAMES) {
            Some(more @ 1..) => format!(" and {more} more"),
            _ => String::new(),
        };
        let names = steps[..steps.len().min(MAX_NAMES)].join(", ");
        let _ = writeln!(out, "allowed: {}", crate::text::escape(&format!("{names}{more}: {why}")));
    }
    let memory = charge::kernel_memory(plan);
    if memory > 0 {
        let payer = match charge::is_due(memory, policy) {
            true => "charged to the container's memory cgroup",
            false => "charged to the hook's own memory cgroup",
        };
        let (most, above) = (&policy.ceiling.kernel_memory, &policy.charge_above);
        let _ = writeln!(
            out,
            "kernel memory: {memory} bytes of at most {} ({}), {payer} (above {}: {})",
            most.value,
            policy.place_of(most),
            above.value,
            policy.place_of(above)
        );
    }
    out
}

fn reason(step: &Step, policy: &Config) -> String {
    match step.by.authority() {
        Authority::Administrator => "asked for by the arguments, which are the administrator's word".to_owned(),
        Authority::Named => format!(
            "profile named by the container ({}; {})",
            policy.place_of(&policy.annotations),
            policy.place_of(&policy.allowed_profiles)
        ),
        Authority::Container => {
            let inline = policy.place_of(&policy.annotations);
            match &step.change {
                Change::Sysctl { sysctl, .. } => {
                    let rule = &policy.ceiling.sysctls[sysctl.index()];
                    let most = rule.value.map_or_else(|| "denied".to_owned(), |most| most.to_string());
                    format!("written out by the container ({inline}), at most {most} ({})", policy.place_of(rule))
                }
                Change::Object { .. } => {
                    let (objects, bytes) = (&policy.ceiling.objects, &policy.ceiling.shm_bytes);
                    format!(
                        "written out by the container ({inline}), at most {} objects ({}) and {} bytes of segments ({})",
                        objects.value,
                        policy.place_of(objects),
                        bytes.value,
                        policy.place_of(bytes)
                    )
                }
            }
        }
    }
}
