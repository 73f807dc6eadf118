//! Containers that must not start: the host's namespace, the wrong stage, a hook that cannot do what is asked.

use super::{Bench, Case};
use crate::container::Ipc;
use crate::engine::Need;
use crate::outcome::{Outcome, Stop, ensure};
use crate::profiles::{FULL, IMPOSSIBLE, IMPOSSIBLE_REASON};

pub(super) const CASES: &[Case] = &[
    Case { name: "host IPC is refused: no ipc namespace", run: host },
    Case { name: "host IPC is refused: path to the host's namespace", run: host_by_path },
    Case { name: "host IPC without a request: untouched", run: host_nothing_asked },
    Case { name: "createContainer is refused, the right stage named", run: create_container },
    Case { name: "startContainer is refused, the right stage named", run: start_container },
    Case { name: "failing hook: the user finds the reason", run: reason },
    Case { name: "failing hook: the log has the reason", run: logged },
    Case { name: "a runtime that lets no hook join: explained", run: forbidden },
    Case { name: "unknown profile in the annotation", run: unknown_profile },
    Case { name: "bad profile file", run: bad_profile },
];

fn host(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Stage("createRuntime"), Need::HostIpc])?;
    let profile = bench.file(FULL)?;
    let container = bench.container().hook(&["--profile-file", &profile]).ipc(Ipc::Host);
    bench.refused(&container, Some(4), &["host"])
}

fn host_by_path(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Stage("createRuntime"), Need::HostIpcByPath])?;
    let profile = bench.file(FULL)?;
    let container = bench.container().hook(&["--profile-file", &profile]).ipc(Ipc::HostByPath);
    bench.refused(&container, Some(4), &["host"])
}

fn host_nothing_asked(bench: &Bench) -> Outcome {
    bench.needs(&[Need::HostIpc])?;
    bench.run(&bench.container().hook(&[]).ipc(Ipc::Host)).map(drop)
}

fn wrong_stage(bench: &Bench, stage: &'static str) -> Outcome {
    bench.needs(&[Need::Stage(stage)])?;
    let profile = match stage {
        // Looked up inside the container, where the image has one.
        "startContainer" => "/etc/full.toml".to_owned(),
        _ => bench.file(FULL)?,
    };
    let container = bench.container().hook_at(&[stage], &["--profile-file", &profile]);
    // crun hides what the hook prints, and there is no log inside the container: only the status is left.
    let hidden = stage == "startContainer" && !bench.engine.shows_reason();
    bench.refused(&container, Some(4), if hidden { &[] } else { &["createRuntime"] })
}

fn create_container(bench: &Bench) -> Outcome {
    wrong_stage(bench, "createContainer")
}

fn start_container(bench: &Bench) -> Outcome {
    wrong_stage(bench, "startContainer")
}

fn reason(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare])?;
    let profile = bench.file(IMPOSSIBLE)?;
    let container = bench.container().hook(&["--profile-file", &profile]);
    bench.refused(&container, None, &IMPOSSIBLE_REASON)
}

fn logged(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare])?;
    let profile = bench.file(IMPOSSIBLE)?;
    let container = bench.container().hook(&["--profile-file", &profile]);
    bench.refused(&container, None, &[])?;
    let events = bench.lab.log.events(&bench.engine.logged_name(&container)?);
    ensure(events.iter().any(|event| IMPOSSIBLE_REASON.iter().all(|word| event.contains(word))), || {
        format!("the log should have the reason of {}: {events:?}", container.name)
    })
}

fn forbidden(bench: &Bench) -> Outcome {
    if bench.engine.cannot(Need::Prepare).is_none() {
        return Err(Stop::NotHere("the hook can join here".to_owned()));
    }
    let profile = bench.file(FULL)?;
    let container = bench.container().hook(&["--profile-file", &profile]);
    bench.refused(&container, Some(4), &["not permitted", "rootless crun", "podman or runc"])
}

fn unknown_profile(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Annotations])?;
    let profiles = bench.profiles(&[("full", FULL)])?;
    let container = bench.container().gated_hook(&["--profiles-dir", &profiles]);
    bench.refused(&container.annotation("io.oci-ipc-hook.profile", "nosuch"), Some(2), &["nosuch"])
}

fn bad_profile(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Stage("createRuntime")])?;
    let profile = bench.file("format = 1\n[sysctl]\n\"kernel.msgmx\" = 1\n")?;
    let container = bench.container().hook(&["--profile-file", &profile]);
    bench.refused(&container, Some(2), &["kernel.msgmx", ":3"])
}
