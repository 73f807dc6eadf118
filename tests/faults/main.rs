//! Faults on the real binary: every system call of a run fails once with every errno that it can plausibly answer, then the
//! run is killed there. What counts is what is left behind: nothing.
//!
//! The runs happen in a namespace that stands for the host's and is compared as well. Needs root and strace(1).

#![allow(clippy::expect_used, clippy::unwrap_used, unreachable_pub)]

mod campaign;
mod plausible;
mod stage;
#[allow(dead_code)]
#[path = "../suite/support/mod.rs"]
mod support;
mod trace;

use campaign::{fail_everywhere, kill_everywhere, lie_everywhere};
use stage::Variant;

#[test]
fn failing_system_calls_of_root() {
    fail_everywhere(Variant::Root);
}

#[test]
fn failing_system_calls_with_a_user_namespace() {
    fail_everywhere(Variant::UserNamespace);
}

#[test]
fn failing_system_calls_without_root() {
    fail_everywhere(Variant::Rootless);
}

#[test]
fn system_calls_that_claim_success() {
    lie_everywhere(Variant::Root);
    lie_everywhere(Variant::UserNamespace);
}

#[test]
fn killed_at_every_system_call() {
    kill_everywhere(Variant::Root);
    kill_everywhere(Variant::UserNamespace);
    kill_everywhere(Variant::Rootless);
}
