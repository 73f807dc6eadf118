//! A hundred containers, ten at a time: in one shared namespace, and each in its own.

use super::{Bench, Case};
use crate::container::{Container, Ipc};
use crate::engine::Need;
use crate::launch::Finished;
use crate::outcome::{Outcome, Stop, ensure, equal};
use crate::profiles::{FULL, FULL_OBJECTS, WORKLOAD, full_is_there};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
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
    let before = records()?;
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
    no_more_than(&before)
}

fn private(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Hundred])?;
    let profile = bench.file(FULL)?;
    let hooked = || bench.container().hook_at(&["createRuntime", "poststop"], &["--profile-file", &profile]);
    let before = records()?;
    let all = hundred(bench, || hooked().opens(&FULL_OBJECTS))?;
    equal("containers", all.len(), AT_A_TIME * ROUNDS)?;
    all.iter().try_for_each(|finished| full_is_there(&finished.seen, WORKLOAD))?;
    no_more_than(&before)
}

/// The records that are there. Those of failures are elsewhere, and stay on purpose.
fn records() -> Outcome<BTreeSet<PathBuf>> {
    let users = fs::read_dir("/run/user")?.flatten().map(|user| user.path().join("oci-ipc-hook"));
    let directories = users.chain(["/run/oci-ipc-hook".into()]);
    let entries = directories.flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten());
    Ok(entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

/// Every record goes with its container; those of containers without a poststop hook, from other cases, were there before.
fn no_more_than(before: &BTreeSet<PathBuf>) -> Outcome {
    let now = records()?;
    let left: Vec<_> = now.difference(before).collect();
    ensure(left.is_empty(), || format!("{} records are left, one is {}", left.len(), left[0].display()))?;
    Ok(())
}
