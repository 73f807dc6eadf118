//! The engine configured by the very text that `print-config` prints (a bundle: by `inject`), with the system's directories of profiles.

use super::{Bench, Case};
use crate::engine::Need;
use crate::launch::Launch;
use crate::outcome::{Outcome, ensure};
use crate::profiles::{FULL, FULL_OBJECTS, WORKLOAD, full_is_there, nothing_is_there};
use std::fs;

pub(super) const CASES: &[Case] = &[
    Case { name: "configured by print-config; a bundle by inject", run: printed },
    Case { name: "a bundle by inject: a slow runtime sees the hook's end", run: slow },
];

fn printed(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Printed])?;
    install()?;
    let container = || bench.container().printed().opens(&FULL_OBJECTS);
    let asked = bench.run(&container().annotation("io.oci-ipc-hook.profile", "printed"));
    let silent = bench.run(&container());
    fs::remove_dir_all("/etc/oci-ipc-hook")?;
    full_is_there(&asked?.seen, WORKLOAD)?;
    nothing_is_there(&silent?.seen)
}

/// With a timeout crun waits for a signal, of which a second one is lost: docs/troubleshooting.md, `timeout expired`.
fn slow(bench: &Bench) -> Outcome {
    let bundle = bench.bundle()?;
    bench.needs(&[Need::Prepare])?;
    install()?;
    let container = bench.container().printed().opens(&FULL_OBJECTS).annotation("io.oci-ipc-hook.profile", "printed");
    let finished = bundle.launch_slowly(bench.lab, &container).and_then(Launch::finish);
    fs::remove_dir_all("/etc/oci-ipc-hook")?;
    let finished = finished?;
    ensure(finished.success, || format!("{}: {}", finished.status, finished.text))?;
    full_is_there(&finished.seen, WORKLOAD)
}

fn install() -> Outcome {
    fs::create_dir_all("/etc/oci-ipc-hook/profiles.d")?;
    Ok(fs::write("/etc/oci-ipc-hook/profiles.d/printed.toml", FULL)?)
}
