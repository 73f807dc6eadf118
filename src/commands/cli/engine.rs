//! Options of the verbs that engines and their administrators use: inject, wrap, print-config, demo.

use super::RequestArgs;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Options of `inject`.
#[derive(Clone, Debug, Args)]
pub struct InjectArgs {
    /// Directory of the config.json that is changed in place
    #[arg(long, value_name = "DIR", required_unless_present = "filter")]
    pub bundle: Option<PathBuf>,
    /// "-": standard input to standard output
    #[arg(value_parser = ["-"], hide_possible_values = true, value_name = "-", conflicts_with = "bundle")]
    pub filter: Option<String>,
    /// Stage at which the hook is called
    #[arg(long, value_enum, default_value = "createRuntime")]
    pub stage: Stage,
    /// What is asked for
    #[command(flatten)]
    pub request: RequestArgs,
}

/// Stages at which the hook works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// The right one
    #[value(name = "createRuntime")]
    CreateRuntime,
    /// Its predecessor, for old runtimes
    #[value(name = "prestart")]
    Prestart,
}

/// Options of `wrap`.
#[derive(Clone, Debug, Args)]
pub struct WrapArgs {
    /// The real runtime, by its whole path; default: runc or crun in the usual places
    #[arg(long, value_name = "PATH")]
    pub runtime: Option<PathBuf>,
    /// What is asked for
    #[command(flatten)]
    pub request: RequestArgs,
    /// Arguments of the runtime
    #[arg(last = true, value_name = "RUNTIME-ARGS")]
    pub args: Vec<OsString>,
}

/// Options of `print-config`.
#[derive(Clone, Debug, Args)]
pub struct PrintConfigArgs {
    /// Whose configuration
    #[arg(value_enum)]
    pub engine: Engine,
    /// Podman, CRI-O: an argument of the hook; docker: one more runtime for this profile; may stand several times
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
}

/// Engines that need to be told of the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// hooks.d
    Podman,
    /// daemon.json
    Docker,
    /// config.toml
    Containerd,
    /// hooks.d
    Crio,
}

/// Options of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Use a real container of this runtime (runc, crun, youki)
    #[arg(long, value_name = "NAME")]
    pub runtime: Option<String>,
    /// What the demonstration's container runs: prints what it sees
    #[arg(long, hide = true)]
    pub workload: bool,
}
