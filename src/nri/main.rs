//! `oci-ipc-nri`: prepares the IPC namespace of every annotated Kubernetes pod, as a plugin of containerd's or CRI-O's
//! Node Resource Interface (NRI).
//!
//! The plugin decides nothing and touches no namespace: for a pod that asks for something it runs `oci-ipc-hook` with
//! the pod's sandbox as container, so that there is one tested path. It listens, hands over, and remembers failures:
//!
//! ```text
//! NRI socket ─► mux ─► plugin ─► pods ─► runner ─► oci-ipc-hook
//!               frames  calls    what    a child
//!                                is due  with a deadline
//! ```
//!
//! A pod's failure is never returned from `RunPodSandbox`: containerd leaks the sandbox of such a pod and may then not
//! restart. It is remembered and returned from `CreateContainer`, for every retry, until the pod goes.

mod api;
mod connection;
mod log;
mod metrics;
mod mux;
mod node;
mod options;
mod plugin;
mod pods;
mod ready;
mod runner;
mod settings;

use clap::Parser;
use options::{Options, Verb};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.verb {
        Some(Verb::Ready) => ready::check(&options.ready_file()),
        Some(Verb::Install { host }) => install(&options, host),
        None => serve(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error("stopped", &[("error", &format!("{error:#}"))]);
            ExitCode::FAILURE
        }
    }
}

/// Installs, then holds the readiness file until told to stop: a DaemonSet's container does not end.
fn install(options: &Options, host: &Path) -> anyhow::Result<()> {
    let hook = options.hook()?;
    if let Some(from) = &options.settings {
        let files = settings::copy(from, host)?;
        settings::check(&hook, &files)?;
    }
    settings::install_hook(&hook, host)?;
    log::info("installed", &[("host", &host.display().to_string())]);
    let mut ready = ready::Ready::new(options.ready_file());
    ready.set();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(connection::told_to_stop())
}

/// Takes the host's view while there is one thread, then serves until told to stop.
fn serve(options: Options) -> anyhow::Result<()> {
    let inherited = connection::inherited()?;
    settings::make_private(Path::new(settings::RECORDS))?;
    let fit = settings(&options)?;
    node::take_the_hosts_view();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(connection::run(options, inherited, fit))
}

/// Whether the settings are good. With bad ones the plugin still serves, so that annotated pods fail and say why, but it
/// is not ready: a rollout stops at its first node.
fn settings(options: &Options) -> anyhow::Result<bool> {
    let Some(from) = &options.settings else { return Ok(true) };
    let files = settings::copy(from, Path::new("/"))?;
    let checked = settings::check(&options.hook()?, &files);
    if let Err(error) = &checked {
        log::error("not ready", &[("error", &format!("{error:#}"))]);
    }
    Ok(checked.is_ok())
}
