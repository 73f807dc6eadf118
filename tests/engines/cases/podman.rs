//! What only podman has: pods, kube play, restart, id mappings, and how it shows a failed hook.

use super::{Bench, Case};
use crate::container::{Container, Ipc};
use crate::engine::podman::Podman;
use crate::image::IMAGE;
use crate::launch::output;
use crate::outcome::{Outcome, Stop, ensure, equal};
use crate::profiles::{
    FULL, FULL_OBJECTS, FULL_SYSCTLS, IMPOSSIBLE, IMPOSSIBLE_REASON, WORKLOAD, at_least, full_is_there,
    nothing_is_there,
};
use crate::seen::Seen;
use serde_json::json;
use std::path::PathBuf;

pub(super) const CASES: &[Case] = &[
    Case { name: "podman --ipc=none", run: ipc_none },
    Case { name: "podman --uidmap", run: uidmap },
    Case { name: "podman --userns=keep-id", run: keep_id },
    Case { name: "podman pod --share ipc", run: pod },
    Case { name: "podman pod, hook for all: the infra container prepares it", run: pod_always },
    Case { name: "podman pod, a member restarted", run: restart_in_pod },
    Case { name: "podman restart of a private namespace", run: restart },
    Case { name: "podman kube play with annotations", run: kube_play },
    Case { name: "podman precreate: inject - as a filter", run: precreate },
    Case { name: "podman shows a failed hook", run: failed_hook },
    Case { name: "podman inspect after a failed hook", run: failed_state },
];

fn full(bench: &Bench) -> Outcome<Container> {
    let profile = bench.file(FULL)?;
    Ok(bench.container().hook(&["--profile-file", &profile]).opens(&FULL_OBJECTS))
}

fn ipc_none(bench: &Bench) -> Outcome {
    bench.podman()?;
    let container = full(bench)?.options(&["--ipc=none"]);
    full_is_there(&bench.run(&container)?.seen, WORKLOAD)
}

fn uidmap(bench: &Bench) -> Outcome {
    let podman = bench.podman()?;
    // Rootless, the ids on the right are those of the user's own namespace.
    let map = if podman.rootless { "0:1:60000" } else { "0:200000:60000" };
    let container = full(bench)?.options(&["--uidmap", map, "--gidmap", map]);
    full_is_there(&bench.run(&container)?.seen, WORKLOAD)
}

fn keep_id(bench: &Bench) -> Outcome {
    if !bench.podman()?.rootless {
        return Err(Stop::NotHere("keep-id is for rootless podman".to_owned()));
    }
    let container = full(bench)?.options(&["--userns=keep-id"]);
    full_is_there(&bench.run(&container)?.seen, WORKLOAD)
}

/// A pod that shares its IPC namespace.
struct Pod<'a> {
    bench: &'a Bench<'a>,
    podman: &'a Podman,
    name: String,
    hooks: PathBuf,
}

impl<'a> Pod<'a> {
    fn new(bench: &'a Bench<'a>) -> Outcome<Self> {
        let podman = bench.podman()?;
        let name = bench.lab.unique("pod");
        let hooks = podman.hooks_dir(bench.lab, None)?;
        let pod = Pod { bench, podman, name, hooks };
        let image = format!("--infra-image={IMAGE}");
        pod.podman(&["pod", "create", "--name", &pod.name, "--share=ipc", "--network=none", &image])?;
        Ok(pod)
    }

    fn podman(&self, args: &[&str]) -> Outcome<String> {
        let hooks = self.hooks.to_string_lossy().into_owned();
        let args: Vec<&str> = ["--hooks-dir", &hooks].into_iter().chain(args.iter().copied()).collect();
        output(self.podman.podman(self.bench.lab, &args))
    }

    fn member(&self, container: Container) -> Container {
        container.ipc(Ipc::Default).options(&["--pod", &self.name])
    }

    fn remove(&self) -> Outcome {
        self.podman(&["pod", "rm", "--force", "--time=5", &self.name]).map(drop)
    }
}

fn pod(bench: &Bench) -> Outcome {
    let pod = Pod::new(bench)?;
    let result = pod_members(bench, &pod);
    pod.remove()?;
    result
}

/// A hook for members that name a profile. The infra container has no annotation.
fn member_hook(bench: &Bench, container: Container) -> Outcome<Container> {
    let profiles = bench.profiles(&[("full", FULL), ("more", &at_least("kernel.shmmni", 2048))])?;
    Ok(container.gated_hook(&["--profiles-dir", &profiles]).opens(&FULL_OBJECTS))
}

fn pod_members(bench: &Bench, pod: &Pod) -> Outcome {
    let member = |profiles| {
        let container = member_hook(bench, bench.container())?.annotation("io.oci-ipc-hook.profile", profiles);
        Ok::<_, Stop>(bench.run(&pod.member(container))?.seen)
    };
    let first = member("full")?;
    full_is_there(&first, WORKLOAD)?;
    // The second member asks for the same and for no less of one thing.
    let second = member("full,more")?;
    full_is_there(&second, WORKLOAD)?;
    equal("namespace", second.namespace()?, first.namespace()?)?;
    let third = bench.run(&pod.member(bench.container()))?.seen;
    third.sysctls_are(&FULL_SYSCTLS)
}

/// A hook for all containers also runs for the infra container, first; its user owns what names no owner.
fn pod_always(bench: &Bench) -> Outcome {
    let pod = Pod::new(bench)?;
    let result = (|| {
        let profile = bench.file("format = 1\n[[msg]]\nkey = 0x77\nmode = \"0666\"\n")?;
        let container = bench.container().hook(&["--profile-file", &profile]).opens(&["--msg", "0x77"]);
        bench.run(&pod.member(container))?.seen.object_is("msg", "0x77", &json!({"uid": 0, "cuid": 0}))
    })();
    pod.remove()?;
    result
}

/// The last report in a container's log.
fn last_report(log: &str) -> Seen {
    let mut seen = Seen::default();
    for line in log.lines() {
        if line.contains("\"type\":\"process\"") {
            seen = Seen::default();
        }
        seen.add(line);
    }
    seen
}

/// Starts the container detached, restarts it with the same hooks, and returns both reports.
fn restarted(bench: &Bench, podman: &Podman, container: &Container) -> Outcome<(Seen, Seen)> {
    let hooks = podman.hooks_dir(bench.lab, container.hook.as_ref())?;
    let hooks = hooks.to_string_lossy();
    let name = &container.name;
    let launch = bench.start(container)?;
    output(podman.podman(bench.lab, &["--hooks-dir", &hooks, "stop", "--time=10", name]))?;
    let first = launch.finish()?.seen;
    output(podman.podman(bench.lab, &["--hooks-dir", &hooks, "start", name]))?;
    let again = bench.start_attached(podman.podman(bench.lab, &["logs", "--follow", name]), 2)?;
    output(podman.podman(bench.lab, &["rm", "--force", "--time=10", name]))?;
    Ok((first, last_report(&again)))
}

fn restart(bench: &Bench) -> Outcome {
    let podman = bench.podman()?;
    let container = full(bench)?.hold().options(&["--rm=false"]);
    full_is_there(&restarted(bench, podman, &container)?.1, WORKLOAD)
}

fn restart_in_pod(bench: &Bench) -> Outcome {
    let pod = Pod::new(bench)?;
    let result = (|| {
        let container = member_hook(bench, bench.container())?.annotation("io.oci-ipc-hook.profile", "full");
        let container = pod.member(container).hold().options(&["--rm=false"]);
        let (before, after) = restarted(bench, pod.podman, &container)?;
        equal("namespace", after.namespace()?, before.namespace()?)?;
        full_is_there(&after, WORKLOAD)
    })();
    pod.remove()?;
    result
}

fn kube_play(bench: &Bench) -> Outcome {
    let podman = bench.podman()?;
    for (annotation, prepared) in [("io.oci-ipc-hook.profile: full", true), ("example.com/other: full", false)] {
        let seen = play(bench, podman, annotation)?;
        if prepared { full_is_there(&seen, WORKLOAD)? } else { nothing_is_there(&seen)? }
    }
    Ok(())
}

fn play(bench: &Bench, podman: &Podman, annotation: &str) -> Outcome<Seen> {
    let profiles = bench.profiles(&[("full", FULL)])?;
    let hooked = bench.container().gated_hook(&["--profiles-dir", &profiles]);
    let hooks = podman.hooks_dir(bench.lab, hooked.hook.as_ref())?;
    let hooks = hooks.to_string_lossy();
    let name = bench.lab.unique("kube");
    let args = serde_json::to_string(&FULL_OBJECTS).map_err(|e| Stop::Fail(e.to_string()))?;
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  annotations:\n    {annotation}\n\
         spec:\n  restartPolicy: Never\n  containers:\n  - name: app\n    image: {IMAGE}\n    imagePullPolicy: Never\n\
         \x20   command: [/ipc-client, --hold]\n    args: {args}\n\
         \x20   securityContext:\n      runAsUser: {}\n      runAsGroup: {}\n",
        WORKLOAD.0, WORKLOAD.1
    );
    let manifest = bench.file(&manifest)?;
    output(podman.podman(bench.lab, &["--hooks-dir", &hooks, "kube", "play", "--network=none", &manifest]))?;
    let app = format!("{name}-app");
    let log = bench.start_attached(podman.podman(bench.lab, &["logs", "--follow", &app]), 1);
    output(podman.podman(bench.lab, &["--hooks-dir", &hooks, "kube", "down", &manifest]))?;
    Ok(last_report(&log?))
}

/// The sysctls are podman's own when the runtime comes, whichever order it has; the objects are left to the hook.
fn precreate(bench: &Bench) -> Outcome {
    bench.podman()?;
    let profile = bench.file(FULL)?;
    let container = bench.container().hook_at(&["precreate"], &["--profile-file", &profile]).opens(&FULL_OBJECTS);
    full_is_there(&bench.run(&container)?.seen, WORKLOAD)?;
    let bound = bench.file(&at_least("kernel.msgmax", 20000))?;
    let container = bench.container().hook_at(&["precreate"], &["--profile-file", &bound]);
    bench.run(&container.sysctl("kernel.msgmax", "33333"))?.seen.sysctls_are(&[("kernel.msgmax", "33333")])
}

fn failed_hook(bench: &Bench) -> Outcome {
    bench.podman()?;
    let profile = bench.file(IMPOSSIBLE)?;
    let container = bench.container().hook(&["--profile-file", &profile]);
    let finished = bench.engine.launch(bench.lab, &container)?.finish()?;
    // podman's status for "the runtime could not start it".
    equal("exit status of podman", finished.status.code(), Some(126))?;
    ensure(finished.text.contains("OCI runtime error"), || format!("podman said: {}", finished.text))?;
    let reason = bench.reason(&container, &finished);
    ensure(IMPOSSIBLE_REASON.iter().all(|word| reason.contains(word)), || format!("no reason in: {reason}"))
}

fn failed_state(bench: &Bench) -> Outcome {
    let podman = bench.podman()?;
    let profile = bench.file(IMPOSSIBLE)?;
    let container = bench.container().hook(&["--profile-file", &profile]).options(&["--rm=false"]);
    let finished = bench.engine.launch(bench.lab, &container)?.finish()?;
    let format = "--format={{.State.Status}}";
    let status = output(podman.podman(bench.lab, &["inspect", format, &container.name]));
    output(podman.podman(bench.lab, &["rm", "--force", &container.name]))?;
    ensure(!finished.success, || "the container started".to_owned())?;
    equal("state", status?.trim(), "created")
}
