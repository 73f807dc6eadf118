//! The engines: what they can do, and how they start a container.

pub mod bundle;
mod containerd;
mod cri;
mod daemon;
pub mod docker;
pub mod podman;
mod pods;

use crate::container::Container;
use crate::lab::Lab;
use crate::launch::Launch;
use crate::outcome::{Outcome, Stop};
use crate::select::Selection;
use std::env;
use std::path::{Path, PathBuf};

/// Something that a case is about and that not every engine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The hook joins the namespace at createRuntime.
    Prepare,
    /// The hook at this stage.
    Stage(&'static str),
    /// Annotations of the user reach the hook.
    Annotations,
    /// The engine decides by annotation whether the hook runs at all.
    Gate,
    /// An option that sets `linux.sysctl`.
    SysctlOption,
    /// The host's IPC namespace, without an ipc entry in config.json.
    HostIpc,
    /// The host's IPC namespace, by path.
    HostIpcByPath,
    /// The container has a namespace that nobody else is in, so that limits may go down.
    Lower,
    /// The IPC namespace of another container.
    Join,
    /// Sysctls of a pod, written for its sandbox before any hook.
    PodSysctl,
    /// Configured by the text of `print-config`.
    Printed,
    /// A hundred containers within the time of `make test`.
    Hundred,
}

/// An engine with a runtime in a mode: a column of the matrix.
pub trait Engine: Sync {
    /// Why this engine cannot do it, if so.
    fn cannot(&self, need: Need) -> Option<String>;

    /// The user sees the hook's stderr when it fails.
    fn shows_reason(&self) -> bool;

    /// An existing directory that belongs to the user who runs the hook, for its profiles and policy.
    fn directory(&self) -> &Path;

    /// Starts the container; returns when the workload has reported or the start has failed.
    fn launch(&self, lab: &Lab, container: &Container) -> Outcome<Launch>;

    /// Why nothing at all can be started here, if so.
    fn unusable(&self) -> Option<String> {
        None
    }

    /// A hundred containers take seconds.
    fn is_quick(&self) -> bool {
        false
    }

    /// The container's name in the state that the hook gets, and so in the log.
    fn logged_name(&self, container: &Container) -> Outcome<String> {
        Ok(container.name.clone())
    }

    /// Its configuration file, and what that has to say of where the engine keeps what it knows; `None` if it has none.
    fn places(&self, _lab: &Lab) -> Option<(PathBuf, String)> {
        None
    }

    /// What a user calls the container.
    fn known_as(&self, container: &Container) -> String {
        container.name.clone()
    }

    /// Asks a held container to end.
    fn stop(&self, lab: &Lab, container: &Container) -> Outcome;

    /// The runtime itself, for the cases that are about how it calls the hook.
    fn as_bundle(&self) -> Option<&bundle::Bundle> {
        None
    }

    /// Docker itself, for the cases that are about its own commands.
    fn as_docker(&self) -> Option<&docker::Docker> {
        None
    }

    /// podman itself, for the cases that are about its own commands.
    fn as_podman(&self) -> Option<&podman::Podman> {
        None
    }
}

type Open = Box<dyn Fn(&Lab) -> Outcome<Box<dyn Engine>>>;

/// A column before its engine is started.
pub struct Column {
    /// Engine, runtime and mode.
    pub title: String,
    open: Open,
}

impl Column {
    fn new(title: String, open: impl Fn(&Lab) -> Outcome<Box<dyn Engine>> + 'static) -> Self {
        Column { title, open: Box::new(open) }
    }

    /// Starts the engine; the error says what is missing.
    pub fn open(&self, lab: &Lab) -> Result<Box<dyn Engine>, String> {
        (self.open)(lab).map_err(|stop| stop.text().to_owned())
    }
}

/// The columns of a selection, in printing order.
pub fn columns(selection: &Selection) -> Vec<Column> {
    let runtimes: Vec<&'static str> = ["runc", "crun", "youki"].into_iter().filter(|r| selection.has(r)).collect();
    let mut columns: Vec<Column> = runtimes.iter().flat_map(|runtime| bundle::columns(runtime)).collect();
    let below: Vec<&'static str> = if runtimes.is_empty() { vec!["runc", "crun"] } else { runtimes };
    if selection.has("podman") {
        columns.extend(podman::columns(&below));
    }
    if selection.has("docker") {
        columns.extend(docker::columns(&below));
    }
    if selection.has("containerd") {
        columns.extend(containerd::columns(&below));
        columns.extend(pods::columns(&below));
    }
    columns
}

/// A program of the machine, or of `cargo install --root TARGET/youki`.
pub fn find(program: &str) -> Outcome<PathBuf> {
    let mut places: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    places.extend(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from));
    if let Ok(target) = crate::build::target_directory() {
        places.push(target.join(program).join("bin"));
    }
    let found = places.into_iter().map(|place| place.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| Stop::Fail(format!("{program} is not installed")))
}
