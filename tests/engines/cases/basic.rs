//! A private namespace, prepared before the workload's first instruction; and left alone when nobody asks.

use super::{Bench, Case};
use crate::engine::Need;
use crate::outcome::{Outcome, equal};
use crate::profiles::{FORCED, FULL, FULL_OBJECTS, LOWER, LOWER_SYSCTLS, WORKLOAD, full_is_there, nothing_is_there};

pub(super) const CASES: &[Case] = &[
    Case { name: "harness: a container without a hook is as the kernel made it", run: no_hook },
    Case { name: "13 sysctls and 4 objects before the first instruction, createRuntime", run: create_runtime },
    Case { name: "13 sysctls and 4 objects before the first instruction, prestart", run: prestart },
    Case { name: "shm_rmid_forced", run: forced },
    Case { name: "hardening: limits below the kernel's defaults", run: lower },
    Case { name: "profile named by annotation", run: annotation },
    Case { name: "profile and policy from the system's directories", run: system_profile },
    Case { name: "no annotation, hook for all: untouched", run: nothing_asked },
    Case { name: "no annotation, hook by annotation: untouched", run: gate },
];

fn no_hook(bench: &Bench) -> Outcome {
    let finished = bench.run(&bench.container().opens(&FULL_OBJECTS))?;
    equal("pid", finished.seen.process("pid"), Some(1))?;
    equal("uid", finished.seen.process("uid"), Some(i64::from(WORKLOAD.0)))?;
    nothing_is_there(&finished.seen)
}

fn prepared(bench: &Bench, stage: &'static str) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Stage(stage)])?;
    let profile = bench.file(FULL)?;
    let container = bench.container().hook_at(&[stage], &["--profile-file", &profile]).opens(&FULL_OBJECTS);
    full_is_there(&bench.run(&container)?.seen, WORKLOAD)
}

fn create_runtime(bench: &Bench) -> Outcome {
    prepared(bench, "createRuntime")
}

fn prestart(bench: &Bench) -> Outcome {
    prepared(bench, "prestart")
}

fn forced(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare])?;
    let profile = bench.file(FORCED)?;
    let finished = bench.run(&bench.container().hook(&["--profile-file", &profile]))?;
    finished.seen.sysctls_are(&[("kernel.shm_rmid_forced", "1")])
}

fn lower(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Lower])?;
    let profile = bench.file(LOWER)?;
    let finished = bench.run(&bench.container().hook(&["--profile-file", &profile]))?;
    finished.seen.sysctls_are(&LOWER_SYSCTLS)
}

fn annotation(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Annotations])?;
    let profiles = bench.profiles(&[("full", FULL)])?;
    let container = bench.container().gated_hook(&["--profiles-dir", &profiles]).opens(&FULL_OBJECTS);
    let finished = bench.run(&container.annotation("io.oci-ipc-hook.profile", "full"))?;
    full_is_there(&finished.seen, WORKLOAD)
}

fn system_profile(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Annotations])?;
    // Root's files, which in a rootless engine's user namespace belong to nobody it knows.
    std::fs::create_dir_all("/etc/oci-ipc-hook/profiles.d")?;
    std::fs::write("/etc/oci-ipc-hook/profiles.d/system-full.toml", FULL)?;
    std::fs::write("/etc/oci-ipc-hook/config.toml", "format = 1\n[policy]\nallowed-profiles = [\"system-*\"]\n")?;
    let container = || bench.container().gated_hook(&[]).opens(&FULL_OBJECTS);
    let allowed = bench.run(&container().annotation("io.oci-ipc-hook.profile", "system-full"));
    let denied = bench.refused(&container().annotation("io.oci-ipc-hook.profile", "other"), Some(3), &["other"]);
    std::fs::remove_dir_all("/etc/oci-ipc-hook")?;
    denied?;
    full_is_there(&allowed?.seen, WORKLOAD)
}

fn nothing_asked(bench: &Bench) -> Outcome {
    let container = bench.container().hook(&[]).opens(&FULL_OBJECTS);
    nothing_is_there(&bench.run(&container)?.seen)
}

fn gate(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Gate])?;
    // The profile would be applied if the hook ran.
    let profile = bench.file(FULL)?;
    let container = bench.container().gated_hook(&["--profile-file", &profile]).opens(&FULL_OBJECTS);
    nothing_is_there(&bench.run(&container)?.seen)
}
