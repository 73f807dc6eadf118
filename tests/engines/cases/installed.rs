//! The engine configured by the very text that `print-config` prints (a bundle: by `inject`), with the system's directories of profiles.

use super::{Bench, Case};
use crate::engine::Need;
use crate::outcome::Outcome;
use crate::profiles::{FULL, FULL_OBJECTS, WORKLOAD, full_is_there, nothing_is_there};
use std::fs;

pub(super) const CASES: &[Case] = &[Case { name: "configured by print-config; a bundle by inject", run: printed }];

fn printed(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Printed])?;
    fs::create_dir_all("/etc/oci-ipc-hook/profiles.d")?;
    fs::write("/etc/oci-ipc-hook/profiles.d/printed.toml", FULL)?;
    let container = || bench.container().printed().opens(&FULL_OBJECTS);
    let asked = bench.run(&container().annotation("io.oci-ipc-hook.profile", "printed"));
    let silent = bench.run(&container());
    fs::remove_dir_all("/etc/oci-ipc-hook")?;
    full_is_there(&asked?.seen, WORKLOAD)?;
    nothing_is_there(&silent?.seen)
}
