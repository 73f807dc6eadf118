//! containerd started by hand, and its client `ctr` with the wrapper in the place of runc.

use super::daemon::Daemon;
use super::{Column, Engine, Need, find};
use crate::container::{Container, Hook, Ipc};
use crate::lab::{Lab, command};
use crate::launch::{Launch, output};
use crate::outcome::{Outcome, Stop};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A containerd with its own directories.
pub struct Containerd {
    pub directory: PathBuf,
    ctr: PathBuf,
    // Ends with this value.
    _daemon: Daemon,
}

impl Containerd {
    /// Starts it with these sections for plugins.
    pub fn start(lab: &Lab, name: &str, cri: &str) -> Outcome<Self> {
        let (containerd, ctr) = (find("containerd")?, find("ctr")?);
        let directory = lab.scratch.join(name);
        fs::create_dir_all(&directory)?;
        let place = directory.display();
        let configuration = format!(
            "version = 2\nroot = \"{place}/root\"\nstate = \"{place}/state\"\n\
             disabled_plugins = [\"io.containerd.internal.v1.opt\"]\n[grpc]\naddress = \"{place}/socket\"\n{cri}"
        );
        fs::write(directory.join("config.toml"), configuration)?;
        let mut command = command(&containerd.to_string_lossy(), &["--config"]);
        command.arg(directory.join("config.toml"));
        let daemon = Daemon::start(command, "containerd successfully booted")?;
        Ok(Containerd { directory, ctr, _daemon: daemon })
    }

    /// What its configuration says of places, where that usually lies.
    pub fn places(&self) -> Option<(PathBuf, String)> {
        let text = format!("version = 2\nstate = \"{}/state\"\n", self.directory.display());
        Some(("/etc/containerd/config.toml".into(), text))
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// `ctr` in a namespace of containerd.
    pub fn ctr(&self, namespace: &str, args: &[&str]) -> Command {
        let mut ctr = command(&self.ctr.to_string_lossy(), &["--address"]);
        ctr.arg(self.socket()).args(["--namespace", namespace]).args(args);
        ctr
    }

    /// Imports the image whose workload runs as `user`; returns its name.
    pub fn import(&self, lab: &Lab, namespace: &str, user: (u32, u32)) -> Outcome<String> {
        let (name, archive) = lab.image_for(user)?;
        let known = output(self.ctr(namespace, &["image", "ls", "--quiet"]))?;
        if !known.lines().any(|line| line == name) {
            let mut import = self.ctr(namespace, &["image", "import", "--snapshotter=native"]);
            import.arg(archive);
            output(import)?;
        }
        Ok(name)
    }
}

const NAMESPACE: &str = "test";

struct Ctr {
    name: &'static str,
    runtime: PathBuf,
    containerd: Containerd,
}

pub(super) fn columns(runtimes: &[&'static str]) -> Vec<Column> {
    let column = |runtime: &&'static str| {
        let runtime = *runtime;
        Column::new(format!("containerd ctr, {runtime}, root"), move |lab| {
            let containerd = Containerd::start(lab, &format!("ctr-{runtime}"), "")?;
            Ok(Box::new(Ctr { name: runtime, runtime: find(runtime)?, containerd }) as Box<dyn Engine>)
        })
    };
    runtimes.iter().map(column).collect()
}

impl Ctr {
    /// A program that containerd calls in the place of runc. Without arguments it is the tool under its second name.
    fn wrapper(&self, lab: &Lab, hook: Option<&Hook>) -> Outcome<PathBuf> {
        let Some(hook) = hook else { return Ok(self.runtime.clone()) };
        let directory = self.containerd.directory.join(lab.unique("wrapper"));
        fs::create_dir(&directory)?;
        let path = directory.join("oci-ipc-runtime");
        if hook.args.is_empty() && self.name == "runc" {
            symlink(&lab.programs.tool, &path)?;
            return Ok(path);
        }
        let args = hook.args.join(" ");
        let (tool, runtime) = (lab.programs.tool.display(), self.runtime.display());
        fs::write(&path, format!("#!/bin/sh\nexec {tool} wrap --runtime {runtime} {args} -- \"$@\"\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    fn pid(&self, name: &str) -> Outcome<String> {
        let tasks = output(self.containerd.ctr(NAMESPACE, &["task", "ls"]))?;
        let row = tasks
            .lines()
            .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
            .find(|row| row.first() == Some(&name));
        let pid = row.and_then(|row| row.get(1).map(|pid| (*pid).to_owned()));
        pid.ok_or_else(|| Stop::Fail(format!("{name} is not in: {tasks}")))
    }
}

impl Engine for Ctr {
    fn cannot(&self, need: Need) -> Option<String> {
        match need {
            Need::Hundred if self.name != "runc" => {
                Some("a hundred containers: done once for this engine, with runc".to_owned())
            }
            Need::PodSysctl => Some("only Kubernetes has sysctls of a pod".to_owned()),
            Need::SysctlOption => Some("ctr has no option for sysctls".to_owned()),
            Need::HostIpc => Some("ctr always writes an ipc entry".to_owned()),
            Need::Printed => {
                Some("print-config containerd is about CRI; ctr takes its runtime as an option".to_owned())
            }
            Need::Gate => Some("ctr's user chooses the runtime; nothing chooses the hook".to_owned()),
            Need::Stage(stage) if !["createRuntime", "poststop"].contains(&stage) => {
                Some("the wrapper chooses the stage: createRuntime and poststop".to_owned())
            }
            _ => None,
        }
    }

    fn shows_reason(&self) -> bool {
        self.name == "runc"
    }

    fn directory(&self) -> &Path {
        &self.containerd.directory
    }

    fn places(&self, _lab: &Lab) -> Option<(PathBuf, String)> {
        self.containerd.places()
    }

    fn launch(&self, lab: &Lab, container: &Container) -> Outcome<Launch> {
        let image = self.containerd.import(lab, NAMESPACE, container.user)?;
        let wrapper = self.wrapper(lab, container.hook.as_ref())?;
        let mut run = self.containerd.ctr(NAMESPACE, &["run", "--rm", "--snapshotter=native"]);
        run.arg("--runc-binary").arg(wrapper);
        run.arg("--cgroup").arg(format!("/{}/{}", lab.cgroup(), container.name));
        match &container.ipc {
            Ipc::Private | Ipc::Shareable | Ipc::Default => {}
            Ipc::Host => return Err(Stop::Fail("ctr always writes an ipc entry".to_owned())),
            Ipc::HostByPath => drop(run.arg("--with-ns=ipc:/proc/1/ns/ipc")),
            Ipc::Join(name) => drop(run.arg(format!("--with-ns=ipc:/proc/{}/ns/ipc", self.pid(name)?))),
        }
        for (key, value) in &container.annotations {
            run.arg(format!("--annotation={key}={value}"));
        }
        run.args(&container.options).arg(image).arg(&container.name).args(container.command());
        Launch::start(run)
    }

    fn stop(&self, _lab: &Lab, container: &Container) -> Outcome {
        output(self.containerd.ctr(NAMESPACE, &["task", "kill", "--signal", "TERM", &container.name])).map(drop)
    }
}
