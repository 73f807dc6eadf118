//! Several containers in one IPC namespace, and what is left when they stop.

use super::{Bench, Case};
use crate::container::Ipc;
use crate::engine::Need;
use crate::outcome::{Outcome, equal, fail};
use crate::profiles::{FULL, FULL_OBJECTS, FULL_SYSCTLS, WORKLOAD, at_least, exactly, full_is_there};
use serde_json::json;

pub(super) const CASES: &[Case] = &[
    Case { name: "shared namespace: two containers with different users", run: two_users },
    Case { name: "shared namespace: the joining container prepares it", run: joiner_prepares },
    Case { name: "shared namespace: a later container raises, never lowers", run: raise_only },
    Case { name: "shared namespace: on-stop = remove at poststop", run: removed_at_stop },
    Case { name: "poststop after a private namespace never fails", run: private_stop },
];

fn two_users(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Join])?;
    let profile = bench.file(FULL)?;
    let args = ["--profile-file", &profile];
    let first = bench.container().hook(&args).opens(&FULL_OBJECTS).ipc(Ipc::Shareable).hold();
    let launch = bench.start(&first)?;
    full_is_there(&launch.seen, WORKLOAD)?;

    let own = bench.file("format = 1\n[[msg]]\nkey = 0x99\n")?;
    let second = bench.container().ipc(Ipc::Join(first.name.clone())).user(2001, 2002);
    let second =
        second.hook(&["--profile-file", &profile, "--profile-file", &own]).opens(&["--msg", "0x99", "--msg", "0x77"]);
    let joined = bench.run(&second);
    let first_end = bench.stop(&first, launch)?;
    let joined = joined?;
    equal("namespace", joined.seen.namespace()?, first_end.seen.namespace()?)?;
    joined.seen.sysctls_are(&FULL_SYSCTLS)?;
    let owner = json!({"uid": 2001, "gid": 2002, "cuid": 2001, "cgid": 2002});
    joined.seen.object_is("msg", "0x99", &owner)?;
    // The first container's queue is still its own.
    match joined.seen.object("msg", "0x77")?["error"].as_str() {
        Some(error) if error.contains("Permission denied") => Ok(()),
        other => fail(format!("opening the other user's queue should be denied, was {other:?}")),
    }
}

fn joiner_prepares(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Join])?;
    let first = bench.container().ipc(Ipc::Shareable).hold();
    let launch = bench.start(&first)?;
    let join = || bench.container().ipc(Ipc::Join(first.name.clone())).opens(&FULL_OBJECTS);
    let full = bench.file(FULL)?;
    let prepared = bench.run(&join().hook(&["--profile-file", &full]));
    // Another container may count on a limit that this one wants lower; the policy has to allow that.
    let lower = bench.file("format = 1\n[sysctl]\n\"kernel.msgmax\" = 9000\n")?;
    let denied = bench.refused(&join().hook(&["--profile-file", &lower]), Some(3), &["lower-in-shared"]);
    let policy = bench.file("format = 1\n[policy]\nlower-in-shared = true\n")?;
    let lowered = bench.run(&join().hook(&["--profile-file", &lower, "--config", &policy]));
    bench.stop(&first, launch)?;
    full_is_there(&prepared?.seen, WORKLOAD)?;
    denied?;
    lowered?.seen.sysctls_are(&[("kernel.msgmax", "9000")])
}

fn raise_only(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Join])?;
    let set = bench.file(&exactly("kernel.msgmax", 20000))?;
    let first = bench.container().hook(&["--profile-file", &set]).ipc(Ipc::Shareable).hold();
    let launch = bench.start(&first)?;
    let join = || bench.container().ipc(Ipc::Join(first.name.clone()));
    let raise = bench.file(&at_least("kernel.msgmax", 30000))?;
    let raised = bench.run(&join().hook(&["--profile-file", &raise]));
    let lower = bench.file(&exactly("kernel.msgmax", 10000))?;
    let lowered = bench.refused(&join().hook(&["--profile-file", &lower]), None, &["kernel.msgmax", "10000", "30000"]);
    let after = bench.run(&join());
    bench.stop(&first, launch)?;
    raised?.seen.sysctls_are(&[("kernel.msgmax", "30000")])?;
    lowered?;
    after?.seen.sysctls_are(&[("kernel.msgmax", "30000")])
}

const PASSING: &str = "format = 1\n[[shm]]\nkey = 0x61\nsize = \"64KiB\"\non-stop = \"remove\"\n\
    [[sem]]\nkey = 0x62\nnsems = 3\non-stop = \"remove\"\n[[msg]]\nkey = 0x63\non-stop = \"remove\"\n\
    [[mqueue]]\nname = \"/passing\"\nmax-messages = 4\nmessage-size = 128\non-stop = \"remove\"\n\
    [[msg]]\nkey = 0x64\n";

fn removed_at_stop(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Join, Need::Stage("poststop")])?;
    let first = bench.container().ipc(Ipc::Shareable).hold();
    let launch = bench.start(&first)?;
    let objects = ["--shm", "0x61", "--sem", "0x62", "--msg", "0x63", "--mqueue", "/passing", "--msg", "0x64"];
    let profile = bench.file(PASSING)?;
    let join = || bench.container().ipc(Ipc::Join(first.name.clone())).opens(&objects);
    let second = join().hook_at(&["createRuntime", "poststop"], &["--profile-file", &profile]);
    let during = bench.run(&second);
    let after = bench.run(&join());
    bench.stop(&first, launch)?;
    let (during, after) = (during?.seen, after?.seen);
    during.object_is("shm", "0x61", &json!({"size": 65536}))?;
    during.object_is("sem", "0x62", &json!({"values": [0, 0, 0]}))?;
    during.object_is("mqueue", "/passing", &json!({"max-messages": 4}))?;
    for (kind, name) in [("shm", "0x61"), ("sem", "0x62"), ("msg", "0x63"), ("mqueue", "/passing")] {
        after.object_is_absent(kind, name)?;
    }
    after.object_is("msg", "0x64", &json!({"messages": 0}))
}

fn private_stop(bench: &Bench) -> Outcome {
    bench.needs(&[Need::Prepare, Need::Stage("poststop")])?;
    let profile = bench.file(FULL)?;
    let container = bench.container().hook_at(&["createRuntime", "poststop"], &["--profile-file", &profile]);
    full_is_there(&bench.run(&container.opens(&FULL_OBJECTS))?.seen, WORKLOAD)
}
