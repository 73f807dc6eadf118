//! The command line.

use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Prepares the IPC namespace of annotated pods: a plugin for containerd's and CRI-O's NRI.
///
/// Started by the runtime (a link NN-oci-ipc-nri in its plugin directory) it takes the socket it is given; otherwise it
/// registers itself and registers again whenever the runtime restarts.
#[derive(Debug, Parser)]
#[command(name = "oci-ipc-nri", version)]
pub(crate) struct Options {
    /// The runtime's NRI socket.
    #[arg(long, value_name = "PATH", default_value = "/var/run/nri/nri.sock")]
    pub(crate) socket: PathBuf,

    /// Two digits that order the plugins of a node; lower ones are called first.
    #[arg(long, value_name = "NN", default_value = "50", value_parser = index)]
    pub(crate) index: String,

    /// The hook to run; the default is the `oci-ipc-hook` beside this program.
    #[arg(long, value_name = "PATH")]
    pub(crate) hook: Option<PathBuf>,

    /// Handed to the hook: the policy file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Handed to the hook: the directory with the profiles.
    #[arg(long, value_name = "DIR")]
    pub(crate) profiles_dir: Option<PathBuf>,

    /// A mounted ConfigMap: `config.toml` is the policy, every other `NAME.toml` a profile. Copied to
    /// /etc/oci-ipc-hook, where the hook looks.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) settings: Option<PathBuf>,

    /// Exists, and is locked, while the plugin is registered. Default: what the environment's READY_FILE says (probes
    /// of Kubernetes cannot name a pod), else /run/oci-ipc-hook/nri/plugin.
    #[arg(long, value_name = "FILE", global = true)]
    ready_file: Option<PathBuf>,

    /// Serve counters and latencies as Prometheus text; a loopback address.
    #[arg(long, value_name = "ADDR:PORT", value_parser = loopback)]
    pub(crate) metrics: Option<SocketAddr>,

    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

impl Options {
    /// The readiness file.
    pub(crate) fn ready_file(&self) -> PathBuf {
        let stated = self.ready_file.clone().or_else(|| std::env::var_os("READY_FILE").map(PathBuf::from));
        stated.unwrap_or_else(|| PathBuf::from("/run/oci-ipc-hook/nri/plugin"))
    }

    /// The hook's path.
    pub(crate) fn hook(&self) -> std::io::Result<PathBuf> {
        match &self.hook {
            Some(hook) => Ok(hook.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("oci-ipc-hook")),
        }
    }
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Verb {
    /// Exit 0 if a plugin is registered at this moment, 1 if not: for a readiness probe.
    Ready,
    /// For CRI-O: put the hook, its hooks.d file and the settings onto the host, then wait for the end.
    Install {
        /// The host's root, as it is mounted here.
        #[arg(long, value_name = "DIR", default_value = "/host")]
        host: PathBuf,
    },
}

fn index(text: &str) -> Result<String, String> {
    match text.as_bytes() {
        [a, b] if a.is_ascii_digit() && b.is_ascii_digit() => Ok(text.to_owned()),
        _ => Err("two digits are needed".to_owned()),
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "ADDR:PORT is needed, such as 127.0.0.1:9641".to_owned())?;
    if address.ip().is_loopback() { Ok(address) } else { Err(format!("{} is no loopback address", address.ip())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["oci-ipc-nri"], args].concat())
    }

    #[test]
    fn metrics_stay_on_the_loopback() {
        assert!(parse(&["--metrics", "127.0.0.1:9641"]).is_ok());
        assert!(parse(&["--metrics", "[::1]:9641"]).is_ok());
        assert!(parse(&["--metrics", "0.0.0.0:9641"]).is_err());
        assert!(parse(&["--metrics", "9641"]).is_err());
    }

    #[test]
    fn the_index_has_two_digits() {
        assert_eq!(parse(&["--index", "07"]).unwrap().index, "07");
        for bad in ["7", "100", "x1", ""] {
            assert!(parse(&["--index", bad]).is_err(), "{bad}");
        }
    }
}
