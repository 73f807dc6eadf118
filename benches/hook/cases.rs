//! What is measured: workloads and who takes part in each.

use crate::data::INSTALLED;
use crate::lab::{Job, SEEN};
use std::fmt;

/// A contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// `twins/empty.c`
    Empty,
    /// `twins/floor.c`
    Floor,
    /// `oci-ipc-hook`
    Ours,
    /// `twins/hook.go`
    Go,
    /// `twins/hook.sh`
    Shell,
    /// A runtime that starts a container without a hook.
    Bare,
    /// The same with `twins/empty.c` as createRuntime hook: what the runtime itself takes for any hook.
    Idle,
    /// The same with `oci-ipc-hook` as createRuntime hook.
    Hooked,
}

impl Who {
    /// The name of its program in the data directory.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Who::Empty => "empty",
            Who::Floor => "floor",
            Who::Go => "hook-go",
            Who::Shell => "hook.sh",
            Who::Ours | Who::Bare | Who::Idle | Who::Hooked => "oci-ipc-hook",
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Who::Empty => "empty C program",
            Who::Floor => "C floor",
            Who::Ours => "oci-ipc-hook",
            Who::Go => "Go twin",
            Who::Shell => "sh twin",
            Who::Bare => "without hook",
            Who::Idle => "with a hook that does nothing",
            Who::Hooked => "with oci-ipc-hook",
        })
    }
}

/// A workload.
pub(crate) struct Case {
    /// Short name, unique; `--only` looks at it.
    pub(crate) name: String,
    /// Who takes part, in the order of [`Job::commands`].
    pub(crate) who: Vec<Who>,
    /// How it is run.
    pub(crate) job: Job,
    /// Whether system calls are counted.
    pub(crate) traced: bool,
}

/// What the hook is asked to do.
enum Ask<'a> {
    Nothing,
    /// A profile by file.
    File(&'a str),
    /// A profile by name, from a directory with many.
    Named,
    /// Whatever the annotations say, profiles from a directory with many.
    Annotated,
}

impl Ask<'_> {
    /// The file, without its extension.
    fn profile(&self) -> &str {
        match self {
            Ask::File(name) => name,
            Ask::Nothing | Ask::Named | Ask::Annotated => "standard",
        }
    }

    fn words(&self, who: Who) -> Vec<String> {
        let program = format!("{SEEN}/bin/{}", who.program());
        let profile = self.profile();
        let (sysctls, objects) = match profile {
            "standard" | "shared" => ("13", "std"),
            "sysctls" => ("13", "0"),
            count => ("0", count),
        };
        let installed = format!("{SEEN}/profiles.d");
        let tail: Vec<String> = match (who, self) {
            (Who::Floor, _) => vec![format!("{SEEN}/profiles/{profile}.toml"), sysctls.into(), objects.into()],
            (Who::Go, _) => vec![format!("{SEEN}/profiles/{profile}.json")],
            (Who::Shell, _) => vec![if objects == "std" { objects } else { "sysctls" }.into()],
            (_, Ask::File(_)) => vec!["--profile-file".into(), format!("{SEEN}/profiles/{profile}.toml")],
            (_, Ask::Named) => {
                vec!["--profile".into(), format!("p{}", INSTALLED / 2), "--profiles-dir".into(), installed]
            }
            (_, Ask::Annotated) => vec!["--profiles-dir".into(), installed],
            (_, Ask::Nothing) => vec![],
        };
        std::iter::once(program).chain(tail).collect()
    }
}

fn case(name: &str, state: &str, rounds: usize, ask: &Ask<'_>, who: &[Who]) -> Case {
    let job = Job::new(&format!("states/{state}.json"), rounds, who.iter().map(|&who| ask.words(who)).collect());
    Case { name: name.to_owned(), who: who.to_vec(), job, traced: true }
}

/// The standard run: what the bars and the guard test are about.
pub(crate) fn standard(rounds: usize) -> Case {
    let who = [Who::Floor, Who::Ours, Who::Go, Who::Shell];
    case("13 sysctls + 4 objects", "podman", rounds, &Ask::File("standard"), &who)
}

/// Every workload; `scale` 1.0 is a full run.
pub(crate) fn all(scale: f64) -> Vec<Case> {
    use Who::{Bare, Empty, Floor, Go, Hooked, Idle, Ours, Shell};
    let rounds = |full: usize| ((full as f64 * scale) as usize).max(3);
    let mut cases = vec![
        case("nothing asked", "podman", rounds(600), &Ask::Nothing, &[Empty, Ours]),
        case("13 sysctls", "podman", rounds(300), &Ask::File("sysctls"), &[Floor, Ours, Go, Shell]),
        standard(rounds(600)),
    ];
    for (count, full, pause_us) in [("10", 300, 1000), ("100", 300, 1000), ("1000", 150, 5000), ("10000", 40, 60_000)] {
        let mut many = case(&format!("{count} objects"), "podman", rounds(full), &Ask::File(count), &[Floor, Ours, Go]);
        many.job.pause_us = pause_us;
        cases.push(many);
    }
    cases.extend([
        case("config.json of 60 KiB", "kubernetes", rounds(300), &Ask::File("standard"), &[Floor, Ours, Go]),
        case("200 annotations", "annotated", rounds(300), &Ask::Annotated, &[Floor, Ours]),
        case("50 profiles installed", "podman", rounds(300), &Ask::Named, &[Floor, Ours]),
    ]);
    for (runtime, unmount) in [("runc", None), ("crun", Some("/sys/fs/cgroup/unified"))] {
        cases.push(runtime_case(runtime, unmount, rounds(200), &[Bare, Idle, Hooked]));
    }
    for (name, state, shared, profile, who) in [
        ("200 at once, own namespaces", "podman", false, "standard", &[Floor, Ours, Go][..]),
        ("200 at once, one namespace", "pod", true, "shared", &[Ours][..]),
    ] {
        let mut at_once = case(name, state, rounds(10), &Ask::File(profile), who);
        at_once.job.burst = Some((200, shared));
        at_once.job.pause_us = 100_000;
        at_once.traced = false;
        cases.push(at_once);
    }
    cases
}

/// The directory of a contender's bundle.
pub(crate) fn bundle(who: Who) -> &'static str {
    match who {
        Who::Idle => "idle",
        Who::Hooked => "hooked",
        _ => "bare",
    }
}

/// `RUNTIME run` of an empty program; the runtime itself is put in by the caller, which knows where it is.
fn runtime_case(runtime: &str, unmount: Option<&'static str>, rounds: usize, who: &[Who]) -> Case {
    let bundle = |who: &Who| format!("{SEEN}/runtime/{}", bundle(*who));
    let commands = who
        .iter()
        .map(|who| vec![runtime.to_owned(), "run".into(), "--bundle".into(), bundle(who), "@ID@".into()])
        .collect();
    Case {
        name: format!("{runtime} run"),
        who: who.to_vec(),
        job: Job { state: None, rounds, pause_us: 20_000, burst: None, unmount, commands },
        traced: false,
    }
}
