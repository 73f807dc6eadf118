//! The cases. Each is a function over an engine and is run for every column of the matrix.

mod basic;
mod conflict;
mod found;
mod installed;
mod podman;
mod refusal;
mod scale;
mod shared;
mod wrapper;

use crate::container::Container;
use crate::engine::bundle::Bundle;
use crate::engine::docker::Docker;
use crate::engine::podman::Podman;
use crate::engine::{Engine, Need};
use crate::lab::Lab;
use crate::launch::{self, Finished, Launch};
use crate::outcome::{Outcome, Stop, ensure, fail};
use crate::select::Selection;
use std::fs;
use std::process::Command;

/// One row of the matrix.
pub struct Case {
    pub name: &'static str,
    run: fn(&Bench) -> Outcome,
}

/// All cases, in printing order.
pub const ALL: &[&[Case]] = &[
    basic::CASES,
    conflict::CASES,
    refusal::CASES,
    shared::CASES,
    podman::CASES,
    wrapper::CASES,
    installed::CASES,
    found::CASES,
    scale::CASES,
];

/// The cases of a selection.
pub fn chosen(selection: &Selection) -> impl Iterator<Item = &'static Case> {
    ALL.iter().copied().flatten().filter(|case| selection.wants(case.name))
}

/// Runs a case; whatever it did, the host's namespace must be as before.
pub fn run(case: &Case, lab: &Lab, engine: &dyn Engine) -> Outcome {
    if let Some(reason) = engine.unusable() {
        return Err(Stop::NotHere(reason));
    }
    let outcome = (case.run)(&Bench { lab, engine });
    outcome.and(lab.host_is_unchanged())
}

/// What a case works with.
pub struct Bench<'a> {
    pub lab: &'a Lab,
    pub engine: &'a dyn Engine,
}

impl Bench<'_> {
    /// Ends the case as not applicable unless the engine has all of it.
    pub fn needs(&self, needs: &[Need]) -> Outcome {
        let reason = needs.iter().find_map(|need| match need {
            Need::Hundred if !self.lab.everything && !self.engine.is_quick() => {
                Some("takes minutes with this engine: only when all engines are asked for (make test-all)".to_owned())
            }
            need => self.engine.cannot(*need),
        });
        reason.map_or(Ok(()), |reason| Err(Stop::NotHere(reason)))
    }

    /// A runtime run on a bundle, or the end of the case as not applicable.
    pub fn bundle(&self) -> Outcome<&Bundle> {
        self.engine.as_bundle().ok_or_else(|| Stop::NotHere("is about a runtime run directly on a bundle".to_owned()))
    }

    /// podman, or the end of the case as not applicable.
    pub fn podman(&self) -> Outcome<&Podman> {
        self.engine.as_podman().ok_or_else(|| Stop::NotHere("is about podman's own commands".to_owned()))
    }

    /// Docker, or the end of the case as not applicable.
    pub fn docker(&self) -> Outcome<&Docker> {
        self.engine.as_docker().ok_or_else(|| Stop::NotHere("is about Docker's own commands".to_owned()))
    }

    /// A container with a name of its own.
    pub fn container(&self) -> Container {
        Container::new(self.lab.unique("c"))
    }

    /// A file for the hook, readable for and owned by the user who runs it; returns its path.
    pub fn file(&self, text: &str) -> Outcome<String> {
        let path = self.engine.directory().join(self.lab.unique("f"));
        self.write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// A directory with profiles, given as name and text; returns its path.
    pub fn profiles(&self, profiles: &[(&str, &str)]) -> Outcome<String> {
        let directory = self.engine.directory().join(self.lab.unique("profiles"));
        fs::create_dir(&directory)?;
        self.give(&directory)?;
        for (name, text) in profiles {
            self.write(&directory.join(format!("{name}.toml")), text)?;
        }
        Ok(directory.to_string_lossy().into_owned())
    }

    fn write(&self, path: &std::path::Path, text: &str) -> Outcome {
        fs::write(path, text)?;
        self.give(path)
    }

    fn give(&self, path: &std::path::Path) -> Outcome {
        use std::os::unix::fs::MetadataExt;
        let owner = fs::metadata(self.engine.directory())?;
        Ok(std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()))?)
    }

    /// Starts a container that stays until [`Bench::stop`]; a failed start fails the case.
    pub fn start(&self, container: &Container) -> Outcome<Launch> {
        let launch = self.engine.launch(self.lab, container)?;
        if launch.seen.complete {
            return Ok(launch);
        }
        let finished = launch.finish()?;
        fail(format!("{} did not start: {} {}", container.name, finished.status, self.reason(container, &finished)))
    }

    /// Runs a command that follows a container's log until the workload has reported `times`; returns the log so far.
    pub fn start_attached(&self, command: Command, times: usize) -> Outcome<String> {
        launch::follow(command, times)
    }

    /// Ends a held container.
    pub fn stop(&self, container: &Container, launch: Launch) -> Outcome<Finished> {
        self.engine.stop(self.lab, container)?;
        launch.finish()
    }

    /// Runs a container to its end, which must be a success.
    pub fn run(&self, container: &Container) -> Outcome<Finished> {
        let finished = self.engine.launch(self.lab, container)?.finish()?;
        ensure(finished.success, || {
            format!("{} failed: {} {}", container.name, finished.status, self.reason(container, &finished))
        })?;
        Ok(finished)
    }

    /// Runs a container whose start must fail because the hook did, with this exit status and these words in its
    /// reason; the workload must not have run at all.
    pub fn refused(&self, container: &Container, status: Option<u8>, words: &[&str]) -> Outcome {
        let finished = self.engine.launch(self.lab, container)?.finish()?;
        let reason = self.reason(container, &finished);
        ensure(!finished.success && finished.seen.process("pid").is_none(), || {
            format!("{} should have been refused, but the workload ran: {reason}", container.name)
        })?;
        if let Some(status) = status {
            // As runc, crun and youki say it, or, where the engine hides it, the log.
            let forms = ["status ", "status: ", "code: ", "code ", "ExitCode(", "EXIT_STATUS="];
            let shown = forms.iter().any(|form| reason.contains(&format!("{form}{status}")));
            ensure(shown, || format!("the hook's exit status should be {status}: {reason}"))?;
        }
        let missing = words.iter().find(|word| !reason.contains(**word));
        missing.map_or(Ok(()), |word| fail(format!("the reason should contain '{word}': {reason}")))
    }

    /// What a user can find out about a failed start: the engine's text, or, where that hides it, the log.
    pub fn reason(&self, container: &Container, finished: &Finished) -> String {
        if self.engine.shows_reason() {
            return finished.text.clone();
        }
        let name = self.engine.logged_name(container).unwrap_or_else(|_| container.name.clone());
        let mut events = self.lab.log.events(&name);
        events.insert(0, finished.text.clone());
        events.join("\n")
    }
}
