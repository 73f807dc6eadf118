//! The wrapper in the place of the runtime: transparent where it has nothing to do, and never silent when it cannot do it.

use super::{Bench, Case};
use crate::container::Container;
use crate::launch::output;
use crate::outcome::{Outcome, ensure, equal};
use crate::profiles::{FULL, FULL_OBJECTS, WORKLOAD, full_is_there};
use crate::seen::Seen;
use serde_json::json;

pub(super) const CASES: &[Case] = &[
    Case { name: "docker: exec, pause, top, update, kill pass through the wrapper", run: pass_through },
    Case { name: "docker: the workload's exit status passes through the wrapper", run: exit_status },
    Case { name: "docker: a wrapper that cannot do its work starts nothing", run: fails_closed },
];

fn hooked(bench: &Bench) -> Outcome<Container> {
    let profile = bench.file(FULL)?;
    Ok(bench.container().hook(&["--profile-file", &profile]).opens(&FULL_OBJECTS))
}

fn pass_through(bench: &Bench) -> Outcome {
    let docker = bench.docker()?;
    let container = hooked(bench)?.hold();
    let launch = bench.start(&container)?;
    let name = container.name.as_str();
    let user = format!("{}:{}", WORKLOAD.0, WORKLOAD.1);
    let mut exec = vec!["exec", "--user", &user, name, "/ipc-client"];
    exec.extend(FULL_OBJECTS);
    let inside = output(docker.docker(&exec));
    let others = [&["pause", name][..], &["unpause", name], &["top", name]];
    let others = others.iter().try_for_each(|args| output(docker.docker(args)).map(drop));
    let update = |name: &str| output(docker.docker(&["update", "--cpu-shares=512", name])).is_ok();
    let wrapped = update(name);
    let killed = output(docker.docker(&["kill", "--signal=TERM", name]));
    let end = launch.finish()?;
    others?;
    killed?;
    // Not every runtime can do it on every machine; the wrapper must make no difference.
    let plain = docker.register(json!({"path": docker.runtime}), bench.lab)?;
    let plain = bench.container().options(&["--runtime", &plain]).hold();
    let launch = bench.start(&plain)?;
    let unwrapped = update(&plain.name);
    bench.stop(&plain, launch)?;
    equal("docker update succeeds", wrapped, unwrapped)?;
    ensure(end.success, || format!("after SIGTERM: {}: {}", end.status, end.text))?;
    let mut seen = Seen::default();
    inside?.lines().for_each(|line| seen.add(line));
    full_is_there(&seen, WORKLOAD)
}

fn exit_status(bench: &Bench) -> Outcome {
    bench.docker()?;
    let container = hooked(bench)?.opens(&["--no-such-option"]);
    let finished = bench.engine.launch(bench.lab, &container)?.finish()?;
    equal("exit status", finished.status.code(), Some(1))?;
    ensure(finished.text.contains("unknown option --no-such-option"), || finished.text.clone())
}

fn fails_closed(bench: &Bench) -> Outcome {
    let docker = bench.docker()?;
    let runtime = docker.register_tool(bench.lab, &["wrap", "--runtime", "not/absolute", "--"])?;
    let container = bench.container().options(&["--runtime", &runtime]);
    let finished = bench.engine.launch(bench.lab, &container)?.finish()?;
    ensure(finished.seen.process("pid").is_none(), || "the workload ran unprepared".to_owned())?;
    // Docker's status for "the daemon could not start it"; the text is from the log that the wrapper writes.
    equal("exit status", finished.status.code(), Some(125))?;
    ensure(finished.text.contains("not an absolute path"), || format!("the user sees: {}", finished.text))
}
