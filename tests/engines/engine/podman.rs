//! podman, as root and as an ordinary user, with its hooks.d.

use super::{Column, Engine, Need, find};
use crate::container::{Container, Hook, Ipc};
use crate::image::IMAGE;
use crate::lab::{Lab, chown, command};
use crate::launch::{Launch, output};
use crate::outcome::{Outcome, Stop};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// podman with a runtime. Containers of all runtimes of one user are in one storage.
pub struct Podman {
    name: &'static str,
    podman: PathBuf,
    runtime: PathBuf,
    /// Run by the ordinary user.
    pub rootless: bool,
    unusable: Option<String>,
    directory: PathBuf,
}

/// Without the limits a root that lacks CAP_SYS_RESOURCE starts nothing.
const CONFIGURATION: &str = "[containers]\n\
    default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
    log_driver = \"k8s-file\"\n\
    [engine]\n\
    infra_image = \"localhost/ipc-client:1\"\n";

pub(super) fn columns(runtimes: &[&'static str]) -> Vec<Column> {
    let column = |runtime: &'static str, rootless: bool| {
        let mode = if rootless { "rootless" } else { "root" };
        let open = move |lab: &Lab| Ok(Box::new(Podman::open(lab, runtime, rootless)?) as Box<dyn Engine>);
        Column::new(format!("podman, {runtime}, {mode}"), open)
    };
    let all = [false, true].into_iter().flat_map(|rootless| runtimes.iter().map(move |runtime| (*runtime, rootless)));
    all.map(|(runtime, rootless)| column(runtime, rootless)).collect()
}

impl Podman {
    fn open(lab: &Lab, runtime: &'static str, rootless: bool) -> Outcome<Self> {
        let place = if rootless { lab.scratch.join("home") } else { lab.scratch.clone() };
        let directory = place.join("podman");
        let mut podman = Podman {
            name: runtime,
            podman: find("podman")?,
            runtime: find(runtime)?,
            rootless,
            unusable: None,
            directory,
        };
        if !podman.directory.exists() {
            fs::create_dir(&podman.directory)?;
            fs::write(podman.directory.join("containers.conf"), CONFIGURATION)?;
            if rootless {
                chown(&podman.directory)?;
            }
        }
        if output(podman.podman(lab, &["image", "exists", IMAGE])).is_err() {
            output(podman.podman(lab, &["load", "--quiet", "--input", &lab.image.to_string_lossy()]))?;
        }
        let probe = podman.launch(lab, &Container::new(lab.unique("probe")))?.finish()?;
        let no_cgroup =
            ["CreateDir", "PermissionDenied", "/sys/fs/cgroup/"].iter().all(|word| probe.text.contains(word));
        if runtime == "youki" && rootless && no_cgroup {
            // It is a matter of this machine: with version 2 a user has cgroups to give.
            let reason = "youki wants a cgroup, and rootless podman has none with cgroups version 1";
            podman.unusable = Some(reason.to_owned());
        }
        Ok(podman)
    }

    /// podman with its global options and these arguments.
    pub fn podman(&self, lab: &Lab, args: &[&str]) -> Command {
        let mut podman = if self.rootless { lab.as_user("env") } else { command("env", &[]) };
        let path = |name: &str| self.directory.join(name);
        podman.arg(format!("CONTAINERS_CONF={}", path("containers.conf").display())).arg(&self.podman);
        podman.arg("--root").arg(path("storage")).arg("--runroot").arg(path("run")).arg("--tmpdir").arg(path("tmp"));
        podman.args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file"]);
        podman.arg("--runtime").arg(&self.runtime).args(args);
        podman
    }

    /// A directory for `--hooks-dir` with the filter that podman passes each config.json through.
    pub fn filter_dir(&self, lab: &Lab, options: &[&str]) -> Outcome<PathBuf> {
        let directory = self.directory.join(lab.unique("filters"));
        fs::create_dir(&directory)?;
        let mut args = vec!["oci-ipc-hook", "inject"];
        args.extend(options);
        args.push("-");
        let hook = json!({"version": "1.0.0", "when": {"always": true}, "stages": ["precreate"],
            "hook": {"path": lab.programs.tool, "args": args, "env": ["none="]}});
        fs::write(directory.join("50-oci-ipc-hook.json"), hook.to_string())?;
        Ok(directory)
    }

    /// A directory for `--hooks-dir`: with the hook, or empty, so that no hook of the machine has a say.
    pub fn hooks_dir(&self, lab: &Lab, hook: Option<&Hook>) -> Outcome<PathBuf> {
        let directory = self.directory.join(lab.unique("hooks"));
        fs::create_dir(&directory)?;
        if let Some(hook) = hook {
            let mut args = vec!["oci-ipc-hook".to_owned()];
            args.extend(hook.args.iter().cloned());
            let when = if hook.gated {
                json!({"annotations": {"^io\\.oci-ipc-hook\\.profile$": ".*"}})
            } else {
                json!({"always": true})
            };
            let hook = json!({"version": "1.0.0", "when": when, "stages": hook.stages,
                "hook": {"path": lab.programs.tool, "args": args, "env": []}});
            fs::write(directory.join("50-oci-ipc-hook.json"), hook.to_string())?;
        }
        Ok(directory)
    }

    fn id_file(&self, container: &Container) -> PathBuf {
        self.directory.join(format!("{}.id", container.name))
    }
}

/// podman 4 takes the option's value as a line of comma-separated values, quoted as in CSV.
fn field(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

impl Engine for Podman {
    fn cannot(&self, need: Need) -> Option<String> {
        match need {
            Need::Hundred if self.name != "runc" => {
                Some("a hundred containers: done once for this engine, with runc".to_owned())
            }
            Need::PodSysctl => Some("only Kubernetes has sysctls of a pod".to_owned()),
            Need::HostIpcByPath if self.rootless => {
                Some("a container in a user namespace may not join the host's IPC namespace by path".to_owned())
            }
            _ => None,
        }
    }

    fn unusable(&self) -> Option<String> {
        self.unusable.clone()
    }

    fn shows_reason(&self) -> bool {
        self.name != "crun"
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn places(&self, lab: &Lab) -> Option<(PathBuf, String)> {
        let (storage, run) = (self.directory.join("storage"), self.directory.join("run"));
        let text = format!("[storage]\ngraphroot = \"{}\"\nrunroot = \"{}\"\n", storage.display(), run.display());
        match self.rootless {
            true => Some((lab.scratch.join("home/.config/containers/storage.conf"), text)),
            false => Some(("/etc/containers/storage.conf".into(), text)),
        }
    }

    fn launch(&self, lab: &Lab, container: &Container) -> Outcome<Launch> {
        let hooks = match &container.hook {
            Some(hook) if hook.stages == ["precreate"] => {
                self.filter_dir(lab, &hook.args.iter().map(String::as_str).collect::<Vec<_>>())?
            }
            hook => self.hooks_dir(lab, hook.as_ref())?,
        };
        if container.printed {
            let text = output(command(&lab.programs.tool.to_string_lossy(), &["print-config", "podman"]))?;
            fs::write(hooks.join("50-oci-ipc-hook.json"), text)?;
        }
        let mut run = self.podman(lab, &["--hooks-dir", &hooks.to_string_lossy(), "run", "--rm", "--network=none"]);
        run.args(["--pull=never", "--name", &container.name]);
        let log = self.directory.join(format!("{}.log", container.name));
        run.arg("--log-opt").arg(format!("path={}", log.display()));
        run.arg("--cidfile").arg(self.id_file(container));
        run.arg(format!("--user={}:{}", container.user.0, container.user.1));
        if !self.rootless {
            run.arg(format!("--cgroup-parent=/{}", lab.cgroup()));
        }
        run.args(match &container.ipc {
            Ipc::Default => None,
            Ipc::Private => Some("--ipc=private".to_owned()),
            Ipc::Shareable => Some("--ipc=shareable".to_owned()),
            Ipc::Host => Some("--ipc=host".to_owned()),
            Ipc::HostByPath => Some("--ipc=ns:/proc/1/ns/ipc".to_owned()),
            Ipc::Join(name) => Some(format!("--ipc=container:{name}")),
        });
        for (key, value) in &container.annotations {
            run.arg("--annotation").arg(field(&format!("{key}={value}")));
        }
        for (name, value) in &container.sysctl {
            run.arg(format!("--sysctl={name}={value}"));
        }
        run.args(&container.options).arg(IMAGE).args(container.command());
        Ok(Launch::start(run)?.logged(log))
    }

    fn stop(&self, lab: &Lab, container: &Container) -> Outcome {
        output(self.podman(lab, &["stop", "--time=10", &container.name])).map(drop)
    }

    fn logged_name(&self, container: &Container) -> Outcome<String> {
        let id = fs::read_to_string(self.id_file(container));
        id.map_err(|e| Stop::Fail(format!("the id of {}: {e}", container.name)))
    }

    fn as_podman(&self) -> Option<&Podman> {
        Some(self)
    }
}
