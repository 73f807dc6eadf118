//! Why each step of a plan is allowed, in words: the rule of the policy and where it stands. What is denied makes no plan,
//! its error names the rule.

use super::{Action, Change, Plan, Step, charge};
use crate::policy::Config;
use crate::request::Authority;
use std::fmt::Write as _;

/// Most steps that are named for one rule.
const MAX_NAMES: usize = 8;

/// What decides beside the plan and the policy.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Others use the namespace too.
    pub shared: bool,
    /// The container's control group pays for the kernel memory.
    pub container_pays: bool,
}

/// A line for each rule that allows steps of the plan, in their order, and one for the kernel memory they cost. Empty when
/// nothing is to be done.
pub fn text(plan: &Plan, policy: &Config, setting: Setting) -> String {
    let mut rules: Vec<(String, Vec<String>)> = Vec::new();
    for step in plan.steps.iter().filter(|s| s.action != Action::None) {
        let mut why = reason(step, policy);
        if setting.shared && lowers(step) {
            let _ =
                write!(why, "; lowers a limit of a shared namespace ({})", policy.place_of(&policy.lower_in_shared));
        }
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
        let payer = if setting.container_pays { "the container's" } else { "the hook's own" };
        let (most, above) = (&policy.ceiling.kernel_memory, &policy.charge_above);
        let _ = writeln!(
            out,
            "kernel memory: {memory} bytes of at most {} ({}), charged to {payer} memory cgroup (the container's above {}: {})",
            most.value,
            policy.place_of(most),
            above.value,
            policy.place_of(above)
        );
    }
    out
}

fn lowers(step: &Step) -> bool {
    match step.change {
        Change::Sysctl { before, wanted, .. } => (0..4).any(|index| wanted.field(index) < before.field(index)),
        Change::Object { .. } => false,
    }
}

fn reason(step: &Step, policy: &Config) -> String {
    match step.by.authority() {
        Authority::Administrator => "asked for by the arguments, which are the administrator's word".to_owned(),
        Authority::Named => format!(
            "profile named by the container ({}; {})",
            policy.place_of(&policy.annotations),
            policy.place_of(&policy.allowed_profiles)
        ),
        Authority::Spec => "config.json's linux.sysctl, which the runtime writes as well".to_owned(),
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
