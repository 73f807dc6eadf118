//! Options of the verbs that look: inspect, check, doctor, profiles.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Options of `inspect`.
#[derive(Clone, Debug, Args)]
pub struct InspectArgs {
    /// Name or id of a container of podman, docker, containerd, CRI-O, runc, crun or youki
    #[arg(value_name = "CONTAINER", group = "whose")]
    pub container: Option<String>,
    /// The namespace of this process
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..), group = "whose")]
    pub pid: Option<i32>,
    /// A namespace file
    #[arg(long, value_name = "PATH", group = "whose")]
    pub ns: Option<PathBuf>,
    /// All namespaces of this machine
    #[arg(long, group = "whose")]
    pub all: bool,
    /// What is recorded of this container, and what has changed since; works for one that has failed or ended
    #[arg(long, value_name = "ID", group = "whose")]
    pub record: Option<String>,
    /// As JSON
    #[arg(long, group = "how")]
    pub json: bool,
    /// As metrics in Prometheus' text format
    #[arg(long, group = "how", conflicts_with = "record")]
    pub prometheus: bool,
    /// As a profile that makes such a namespace
    #[arg(long, group = "how", conflicts_with_all = ["all", "record"])]
    pub as_profile: bool,
    /// Into this file, which is replaced as a whole
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Options of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Policy, profiles (.toml) and hooks.d files (.json); default: everything installed
    pub files: Vec<PathBuf>,
}

/// Options of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// OCI state of a container: would it be prepared?
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Bundle of a container: would it be prepared?
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Annotation of a container: would it be prepared? May stand several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub annotation: Vec<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `profiles`.
#[derive(Clone, Debug, Args)]
pub struct ProfilesArgs {
    /// Profiles instead of the installed ones
    #[arg(long, value_name = "DIR", global = true)]
    pub profiles_dir: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub verb: ProfilesVerb,
}

/// Verbs of `profiles`.
#[derive(Clone, Debug, Subcommand)]
pub enum ProfilesVerb {
    /// Name and description of every profile
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// One profile with its numbers
    Show {
        /// Its name
        name: String,
        /// Memory that formulas are computed from; default: this machine's
        #[arg(long, value_name = "SIZE")]
        memory: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a profile of sysctl.conf files; "-" is standard input
    #[command(after_help = "\
Example:
  oci-ipc-hook profiles import /etc/sysctl.d/97-oracle.conf --at-least > oracle.toml")]
    Import {
        /// Files; later ones win
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Only raise: every value is written with ">="
        #[arg(long)]
        at_least: bool,
    },
    /// Print a profile's sysctls as an engine's own flags or fields
    #[command(after_help = "\
Example:
  eval podman run \"$(oci-ipc-hook profiles export mine --podman)\" image")]
    Export {
        /// Its name
        name: String,
        /// For which engine
        #[command(flatten)]
        format: ExportFormats,
        /// Memory that the container will have, for formulas
        #[arg(long, value_name = "SIZE")]
        memory: Option<String>,
    },
}

/// The engines of `profiles export`.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ExportFormats {
    /// Flags of podman run
    #[arg(long)]
    pub podman: bool,
    /// Flags of docker run
    #[arg(long)]
    pub docker: bool,
    /// A pod's securityContext
    #[arg(long)]
    pub kubernetes: bool,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// `podman run`.
    Podman,
    /// `docker run`.
    Docker,
    /// A pod's securityContext.
    Kubernetes,
}

impl ExportFormats {
    /// The one that was given.
    pub fn chosen(&self) -> ExportFormat {
        match (self.podman, self.docker) {
            (true, _) => ExportFormat::Podman,
            (_, true) => ExportFormat::Docker,
            _ => ExportFormat::Kubernetes,
        }
    }
}

impl std::fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ExportFormat::Podman => "podman",
            ExportFormat::Docker => "docker",
            ExportFormat::Kubernetes => "Kubernetes",
        })
    }
}
