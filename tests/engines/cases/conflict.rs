//! The same sysctl in the engine's own option and in the profile: runc and youki write theirs after the hook, crun
//! before it, so that only a bound which the other value satisfies can hold.

use super::{Bench, Case};
use crate::engine::Need;
use crate::outcome::Outcome;
use crate::profiles::{at_least, exactly};
use serde_json::json;

pub(super) const CASES: &[Case] = &[
    Case { name: "engine's sysctl satisfies the profile's bound", run: satisfied },
    Case { name: "engine's sysctl below the profile's bound: both named", run: too_small },
    Case { name: "engine's sysctl against an exact value: both named", run: different },
    Case { name: "engine's sysctl next to another key of the profile", run: disjoint },
    Case { name: "engine's sysctl makes room for a queue of the profile", run: room },
    Case { name: "sysctl of the pod: raised, never lowered", run: pod },
    Case { name: "engine's kernel.sem, blanks and tabs", run: four_numbers },
];

const KEY: &str = "kernel.msgmax";

fn satisfied(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::SysctlOption])?;
    let profile = bench.file(&at_least(KEY, 20000))?;
    let container = bench.container().hook(&["--profile-file", &profile]).sysctl(KEY, "33333");
    bench.run(&container)?.seen.sysctls_are(&[(KEY, "33333")])
}

fn too_small(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::SysctlOption])?;
    let profile = bench.file(&at_least(KEY, 20000))?;
    let container = bench.container().hook(&["--profile-file", &profile]).sysctl(KEY, "11111");
    bench.refused(&container, None, &[KEY, "20000", "11111"])
}

fn different(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::SysctlOption])?;
    let profile = bench.file(&exactly(KEY, 20000))?;
    let container = bench.container().hook(&["--profile-file", &profile]).sysctl(KEY, "22222");
    bench.refused(&container, None, &[KEY, "20000", "22222"])
}

fn disjoint(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::SysctlOption])?;
    let profile = bench.file(&exactly(KEY, 20000))?;
    let container = bench.container().hook(&["--profile-file", &profile]).sysctl("kernel.shmmni", "5000");
    bench.run(&container)?.seen.sysctls_are(&[(KEY, "20000"), ("kernel.shmmni", "5000")])
}

/// runc and youki write it after the hook, crun before.
fn room(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::SysctlOption])?;
    let profile = bench.file("format = 1\n[[mqueue]]\nname = \"/orders\"\nmax-messages = 64\nmessage-size = 128\n")?;
    let container = bench
        .container()
        .hook(&["--profile-file", &profile])
        .sysctl("fs.mqueue.msg_max", "64")
        .opens(&["--mqueue", "/orders"]);
    let seen = bench.run(&container)?.seen;
    seen.sysctls_are(&[("fs.mqueue.msg_max", "64")])?;
    seen.object_is("mqueue", "/orders", &json!({"max-messages": 64, "message-size": 128}))
}

fn pod(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::PodSysctl])?;
    let bound = bench.file(&at_least(KEY, 20000))?;
    let hooked = |value| bench.container().hook(&["--profile-file", &bound]).sysctl(KEY, value);
    bench.run(&hooked("11111"))?.seen.sysctls_are(&[(KEY, "20000")])?;
    bench.run(&hooked("33333"))?.seen.sysctls_are(&[(KEY, "33333")])?;
    let exact = bench.file(&exactly(KEY, 20000))?;
    let container = bench.container().hook(&["--profile-file", &exact]).sysctl(KEY, "33333");
    bench.refused(&container, Some(3), &[KEY, "20000", "33333", "lower-in-shared"])
}

fn four_numbers(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::SysctlOption])?;
    let profile = bench.file("format = 1\n[sysctl]\n\"kernel.sem\" = \">= 250 32000 100 128\"\n")?;
    let container = bench.container().hook(&["--profile-file", &profile]);
    let container = container.sysctl("kernel.sem", "300\t64000 200\t\t256");
    bench.run(&container)?.seen.sysctls_are(&[("kernel.sem", "300 64000 200 256")])
}
