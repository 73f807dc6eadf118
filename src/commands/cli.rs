//! The command line, as `-h` shows it.

mod engine;
mod look;

pub use engine::{DemoArgs, Engine, InjectArgs, PrintConfigArgs, Stage, WrapArgs};
pub use look::{CheckArgs, DoctorArgs, ExportFormat, ExportFormats, InspectArgs, ProfilesArgs, ProfilesVerb};

use crate::enter::Target;
use crate::installed::RequestOptions;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Prepares a container's IPC namespace: System V and message queue sysctls, shared memory, semaphores and queues.
#[derive(Debug, Parser)]
#[command(name = "oci-ipc-hook", version, args_conflicts_with_subcommands = true, after_help = HOOK_EXAMPLES)]
pub struct Cli {
    /// Without a verb: `hook`.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// Options of `hook`.
    #[command(flatten)]
    pub request: RequestArgs,
}

const HOOK_EXAMPLES: &str = "\
Without a verb it is the hook: it reads the OCI state on standard input.

Examples:
  oci-ipc-hook demo                                 see it work, without root and without a runtime
  oci-ipc-hook --profile db2 < state.json           what a runtime calls at createRuntime
  oci-ipc-hook plan --pid 4711 --profile db2        what would be done to that container
  oci-ipc-hook inspect --pid 4711                   what that container has

Exit status: 0 done, 1 could not apply (undone), 2 bad input, 3 denied by policy, 4 not supported here.";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Prepare the container whose OCI state is on standard input
    #[command(after_help = "\
Example of a hook in config.json:
  \"createRuntime\": [{ \"path\": \"/usr/libexec/oci/hooks.d/oci-ipc-hook\", \"args\": [\"oci-ipc-hook\", \"--profile\", \"db2\"], \"env\": [] }]")]
    Hook(RequestArgs),
    /// Remove what the hook left for a container that has stopped
    #[command(after_help = "\
It reads the OCI state on standard input, as the hook does at the poststop stage, and always ends with 0: what could not
be removed is told on standard error.

Examples:
  oci-ipc-hook cleanup < state.json
  echo '{\"id\":\"web\",\"bundle\":\"/run/bundles/web\"}' | oci-ipc-hook cleanup")]
    Cleanup,
    /// Show what would be done, change nothing
    #[command(after_help = "\
Examples:
  oci-ipc-hook plan --pid 4711 --profile ibm-mq
  oci-ipc-hook plan --state state.json --json       the annotations of a container
  oci-ipc-hook plan --self --profile mine           in an entrypoint: exit 10 when something is missing

Exit status: 0 nothing to do, 10 changes are needed, 1 to 4 as the hook.")]
    Plan(PlanArgs),
    /// Prepare a namespace that exists
    #[command(after_help = "\
With --state it stands for the hook, where the state leads to no process: the run is logged, and on-error of the policy
decides what a failure means. Without, the exit status is the outcome.

Examples:
  oci-ipc-hook apply --pid 4711 --profile ibm-mq
  oci-ipc-hook apply --ns /run/ipcns/0b1c --state state.json      a pod without pause process
  oci-ipc-hook apply --self --profile-file /config/queues.toml    in an init container: objects, without any privilege")]
    Apply(ApplyArgs),
    /// Show limits, use and objects of a namespace
    #[command(after_help = "\
Examples:
  oci-ipc-hook inspect --all                        all namespaces, and the containers in them
  oci-ipc-hook inspect web                          that of a container
  oci-ipc-hook inspect --ns /run/ipcns/0b1c --json
  oci-ipc-hook inspect --pid 4711 --as-profile      a profile that makes one like it
  oci-ipc-hook inspect --all --prometheus --output /var/lib/node_exporter/textfile/ipc.prom
  oci-ipc-hook inspect --record web                 why it failed, or what has changed since it was prepared
  oci-ipc-hook inspect                              the namespace one is in")]
    Inspect(InspectArgs),
    /// Check policy, profiles and hooks.d files
    #[command(after_help = "\
Profiles and files that the arguments in a hooks.d file name are looked up here, as the hook does where it runs.

Examples:
  oci-ipc-hook check                                everything that is installed
  oci-ipc-hook check mine.toml 50-ipc.json")]
    Check(CheckArgs),
    /// Find out whether containers here would be prepared, and why not
    #[command(after_help = "\
Examples:
  oci-ipc-hook doctor                                             kernel, privileges, installation, engines, namespaces
  oci-ipc-hook doctor --annotation io.oci-ipc-hook.profile=db2    would such a container be prepared?
  oci-ipc-hook doctor --bundle /run/bundle

Exit status: 0 all is well (warnings aside), 1 a problem, 4 something cannot be told from here.")]
    Doctor(DoctorArgs),
    /// List profiles, or show one with its numbers
    #[command(after_help = "\
Examples:
  oci-ipc-hook profiles list
  oci-ipc-hook profiles show db2 --memory 16GiB")]
    Profiles(ProfilesArgs),
    /// Add the hook to a config.json
    #[command(after_help = "\
Examples:
  oci-ipc-hook inject --bundle /run/bundle --profile db2
  oci-ipc-hook inject - --profile db2 < config.json > new.json")]
    Inject(InjectArgs),
    /// Be a runtime that adds the hook: for Docker and containerd
    #[command(after_help = "\
It adds the hook to the bundle at create and run, then becomes the real runtime with the same arguments. Also when it is
called as oci-ipc-runtime. When it cannot add the hook it starts nothing: so too when crun's --config names another file
than the bundle's config.json, which the hook reads. The paths of profiles and policy must be absolute.

Examples:
  oci-ipc-hook wrap -- create --bundle /b ID
  oci-ipc-hook wrap --runtime /usr/bin/crun --profile db2 -- run --bundle /b ID
  oci-ipc-hook print-config docker                  the daemon.json that uses it")]
    Wrap(WrapArgs),
    /// Print what an engine's configuration needs, from this installation
    #[command(after_help = "\
Examples:
  oci-ipc-hook print-config podman > /usr/share/containers/oci/hooks.d/50-oci-ipc-hook.json
  oci-ipc-hook print-config docker --profile db2    a runtime ipc-db2, for daemons that pass no annotations")]
    PrintConfig(PrintConfigArgs),
    /// The whole job in a namespace of its own, shown step by step
    #[command(after_help = "\
Examples:
  oci-ipc-hook demo
  oci-ipc-hook demo --runtime runc                  in a real container (as root)")]
    Demo(DemoArgs),
}

/// What is asked for.
#[derive(Clone, Debug, Default, Args)]
pub struct RequestArgs {
    /// Profile by name; may stand several times
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Profile by file; may stand several times
    #[arg(long, value_name = "FILE")]
    pub profile_file: Vec<PathBuf>,
    /// Policy instead of /etc/oci-ipc-hook/config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Profiles instead of the installed ones
    #[arg(long, value_name = "DIR")]
    pub profiles_dir: Option<PathBuf>,
    /// A memory limit for formulas, besides those that are found
    #[arg(long, value_name = "SIZE", value_parser = crate::request::amount::parse_size)]
    pub memory: Option<u64>,
}

impl From<RequestArgs> for RequestOptions {
    fn from(args: RequestArgs) -> Self {
        RequestOptions {
            profiles: args.profile,
            profile_files: args.profile_file,
            config: args.config,
            profiles_dir: args.profiles_dir,
            memory: args.memory,
        }
    }
}

/// A process that may be a container's.
fn container_pid(text: &str) -> Result<i32, String> {
    let pid: i32 = text.parse().map_err(|_| "not the number of a process")?;
    match pid {
        ..=0 => Err("not the number of a process".to_owned()),
        1 => Err("process 1 is init, whose namespace is never changed: name a process of the container".to_owned()),
        pid => Ok(pid),
    }
}

/// Whose namespace.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct TargetArgs {
    /// The namespace of this process
    #[arg(long, value_name = "N", value_parser = container_pid)]
    pub pid: Option<i32>,
    /// A namespace file
    #[arg(long, value_name = "PATH")]
    pub ns: Option<PathBuf>,
    /// The container's own namespace, from inside
    #[arg(long = "self")]
    pub own: bool,
}

impl TargetArgs {
    /// The one that was given.
    pub fn target(&self) -> Target {
        match (self.pid, &self.ns) {
            (Some(pid), _) => Target::Pid(pid),
            (None, Some(path)) => Target::Path(path.clone()),
            (None, None) => Target::Own,
        }
    }
}

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// The namespace of this process
    #[arg(long, value_name = "N", value_parser = container_pid, group = "whose")]
    pub pid: Option<i32>,
    /// A namespace file
    #[arg(long, value_name = "PATH", group = "whose")]
    pub ns: Option<PathBuf>,
    /// The container's own namespace, from inside
    #[arg(long = "self", group = "whose")]
    pub own: bool,
    /// OCI state of the container; its annotations count ("-": standard input)
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Bundle of the container
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// What is asked for
    #[command(flatten)]
    pub request: RequestArgs,
    /// The report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `apply`.
#[derive(Clone, Debug, Args)]
pub struct ApplyArgs {
    /// Whose namespace
    #[command(flatten)]
    pub target: TargetArgs,
    /// OCI state of the container; its id and annotations count ("-": standard input)
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Bundle of the container
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// What is asked for
    #[command(flatten)]
    pub request: RequestArgs,
    /// The report as JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_first_process_is_refused_with_the_reason() {
        for verb in [["oci-ipc-hook", "plan", "--pid"], ["oci-ipc-hook", "apply", "--pid"]] {
            let given = |pid| Cli::try_parse_from([&verb[..], &[pid]].concat()).map(drop).map_err(|e| e.to_string());
            assert!(given("2").is_ok());
            let first = given("1").unwrap_err();
            assert!(
                first.contains("'--pid <N>': process 1 is init, whose namespace is never changed: name"),
                "{first}"
            );
            for pid in ["0", "x", "4294967296"] {
                assert!(given(pid).unwrap_err().contains("not the number of a process"), "{pid}");
            }
        }
    }

    #[test]
    fn every_verb_shows_an_example() {
        for verb in Cli::command().get_subcommands_mut() {
            let help = verb.render_help().to_string();
            assert!(help.contains("Example"), "{}: {help}", verb.get_name());
        }
    }
}
