//! A hundred containers, ten at a time: in one shared namespace, and each in its own.

use super::{Bench, Case};
use crate::container::{Container, Ipc};
use crate::engine::Need;
use crate::launch::Finished;
use crate::outcome::{Outcome, Stop, ensure, equal};
use crate::profiles::{FULL, FULL_OBJECTS, WORKLOAD, full_is_there};
use serde_json::Value;
use std::fs;
use std::thread;

pub(super) const CASES: &[Case] = &[
    Case { name: "100 containers, 10 at a time, join one namespace", run: joined },
    Case { name: "100 containers, 10 at a time, a namespace each", run: private },
];

const AT_A_TIME: usize = 10;
const ROUNDS: usize = 10;

/// Runs all of them; every one must succeed.
fn hundred(bench: &Bench, container: impl Fn() -> Container + Sync) -> Outcome<Vec<Finished>> {
    let row = || (0..ROUNDS).map(|_| bench.run(&container())).collect::<Outcome<Vec<_>>>();
    let rows = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(row)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| Stop::Fail("a thread panicked".to_owned())))
            .collect::<Vec<_>>()
    });
    let mut all = Vec::new();
    for row in rows {
        all.extend(row??);
    }
    Ok(all)
}

/// Ids of the objects: the same objects have the same.
fn ids(finished: &Finished) -> Outcome<Vec<Value>> {
    [("shm", "0x4d510001"), ("sem", "0x5101"), ("msg", "0x77")]
        .iter()
        .map(|(kind, name)| Ok(finished.seen.object(kind, name)?["id"].clone()))
        .collect()
}

fn joined(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Join, Need::Hundred])?;
    let profile = bench.file(FULL)?;
    let hooked = || bench.container().hook_at(&["createRuntime", "poststop"], &["--profile-file", &profile]);
    let holder = hooked().ipc(Ipc::Shareable).opens(&FULL_OBJECTS).hold();
    let launch = bench.start(&holder)?;
    let all = hundred(bench, || hooked().ipc(Ipc::Join(holder.name.clone())).opens(&FULL_OBJECTS));
    let first = bench.stop(&holder, launch)?;
    let all = all?;
    equal("containers", all.len(), AT_A_TIME * ROUNDS)?;
    for finished in &all {
        full_is_there(&finished.seen, WORKLOAD)?;
        equal("namespace", finished.seen.namespace()?, first.seen.namespace()?)?;
        equal("object ids", ids(finished)?, ids(&first)?)?;
    }
    no_record_is_left()
}

fn private(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Hundred])?;
    let profile = bench.file(FULL)?;
    let hooked = || bench.container().hook_at(&["createRuntime", "poststop"], &["--profile-file", &profile]);
    let all = hundred(bench, || hooked().opens(&FULL_OBJECTS))?;
    equal("containers", all.len(), AT_A_TIME * ROUNDS)?;
    all.iter().try_for_each(|finished| full_is_there(&finished.seen, WORKLOAD))?;
    no_record_is_left()
}

/// Records of failures stay on purpose; all others go with their container.
fn no_record_is_left() -> Outcome {
    let users = fs::read_dir("/run/user")?.flatten().map(|user| user.path().join("oci-ipc-hook"));
    for directory in users.chain(["/run/oci-ipc-hook".into()]) {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let left: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        ensure(left.is_empty(), || format!("{} records are left, one is {}", left.len(), left[0].display()))?;
    }
    Ok(())
}
