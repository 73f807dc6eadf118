//! Docker: the real dockerd with `oci-ipc-hook wrap` as a runtime of daemon.json, one for each set of arguments.

use super::daemon::Daemon;
use super::{Column, Engine, Need, find};
use crate::container::{Container, Hook, Ipc};
use crate::image::IMAGE;
use crate::lab::{Lab, command};
use crate::launch::{Launch, output};
use crate::outcome::{Outcome, Stop};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// A dockerd of its own, with one runtime below it.
pub struct Docker {
    name: &'static str,
    /// The runtime below.
    pub runtime: PathBuf,
    client: PathBuf,
    daemon: Daemon,
    directory: PathBuf,
    /// `runtimes` of daemon.json.
    runtimes: Mutex<Map<String, Value>>,
    annotations: bool,
}

pub(super) fn columns(runtimes: &[&'static str]) -> Vec<Column> {
    let column = |runtime: &&'static str| {
        let runtime = *runtime;
        let open = move |lab: &Lab| Ok(Box::new(Docker::open(lab, runtime)?) as Box<dyn Engine>);
        Column::new(format!("docker, {runtime}, root"), open)
    };
    runtimes.iter().map(column).collect()
}

impl Docker {
    fn open(lab: &Lab, runtime: &'static str) -> Outcome<Self> {
        let (dockerd, client, path) = (find("dockerd")?, docker_client()?, find(runtime)?);
        let directory = lab.scratch.join(format!("docker-{runtime}"));
        fs::create_dir(&directory)?;
        write_configuration(lab, &directory, &Map::new())?;
        let mut command = command(&dockerd.to_string_lossy(), &["--config-file"]);
        command.arg(directory.join("daemon.json"));
        let daemon = Daemon::start(command, "API listen on")?;
        let runtimes = Mutex::default();
        let mut docker =
            Docker { name: runtime, runtime: path, client, daemon, directory, runtimes, annotations: false };
        output(docker.docker(&["load", "--quiet", "--input", &lab.image.to_string_lossy()]))?;
        let version = output(docker.docker(&["version", "--format", "{{.Server.APIVersion}}"]))?;
        let minor = version.trim().split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        docker.annotations = minor.is_some_and(|minor| minor >= 43);
        Ok(docker)
    }

    /// The client with these arguments.
    pub fn docker(&self, args: &[&str]) -> Command {
        let mut docker = command(&self.client.to_string_lossy(), &["--host"]);
        docker.arg(format!("unix://{}/socket", self.directory.display())).args(args);
        docker.env("DOCKER_CONFIG", &self.directory);
        docker
    }

    /// Registers what `print-config docker` prints for a profile; the name of its runtime.
    fn printed(&self, lab: &Lab, profile: &str) -> Outcome<String> {
        let tool = lab.programs.tool.to_string_lossy();
        let text = output(command(&tool, &["print-config", "docker", "--profile", profile]))?;
        let text: Value = serde_json::from_str(&text).map_err(|e| Stop::Fail(format!("print-config: {e}: {text}")))?;
        let mut runtimes = self.runtimes.lock().map_err(|e| Stop::Fail(e.to_string()))?;
        runtimes.extend(text["runtimes"].as_object().cloned().unwrap_or_default());
        self.configure(lab, &runtimes)?;
        Ok(format!("ipc-{profile}"))
    }

    fn configure(&self, lab: &Lab, runtimes: &Map<String, Value>) -> Outcome {
        write_configuration(lab, &self.directory, runtimes)?;
        self.daemon.reload()?;
        self.daemon.wait_for("Reloaded configuration")
    }

    /// The name of the runtime in daemon.json that runs `wrap` with the hook's arguments; registered if it is new.
    fn registered(&self, lab: &Lab, hook: &Hook) -> Outcome<String> {
        let runtime = self.runtime.to_string_lossy();
        let mut args = vec!["wrap", "--runtime", &runtime];
        args.extend(hook.args.iter().map(String::as_str));
        args.push("--");
        self.register_tool(lab, &args)
    }

    /// The name of the runtime in daemon.json that runs the tool with these arguments.
    pub fn register_tool(&self, lab: &Lab, args: &[&str]) -> Outcome<String> {
        self.register(json!({"path": lab.programs.tool, "runtimeArgs": args}), lab)
    }

    /// The name of this runtime in daemon.json.
    pub fn register(&self, entry: Value, lab: &Lab) -> Outcome<String> {
        let mut runtimes = self.runtimes.lock().map_err(|e| Stop::Fail(e.to_string()))?;
        if let Some((name, _)) = runtimes.iter().find(|(_, known)| **known == entry) {
            return Ok(name.clone());
        }
        let name = lab.unique("ipc");
        runtimes.insert(name.clone(), entry);
        self.configure(lab, &runtimes)?;
        Ok(name)
    }

    fn id_file(&self, container: &Container) -> PathBuf {
        self.directory.join(format!("{}.id", container.name))
    }
}

/// The client that belongs to the distribution's daemon, before any other.
fn docker_client() -> Outcome<PathBuf> {
    let packaged = PathBuf::from("/usr/bin/docker");
    if packaged.exists() { Ok(packaged) } else { find("docker") }
}

fn write_configuration(lab: &Lab, directory: &Path, runtimes: &Map<String, Value>) -> Outcome {
    let configuration = json!({
        "data-root": directory.join("data"),
        "exec-root": directory.join("run"),
        "pidfile": directory.join("pid"),
        "hosts": [format!("unix://{}/socket", directory.display())],
        "storage-driver": "vfs",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": format!("/{}", lab.cgroup()),
        "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false, "ip-masq": false,
        "userland-proxy": false,
        "runtimes": runtimes,
    });
    Ok(fs::write(directory.join("daemon.json"), configuration.to_string())?)
}

impl Engine for Docker {
    fn cannot(&self, need: Need) -> Option<String> {
        match need {
            Need::Hundred if self.name != "runc" => {
                Some("a hundred containers: done once for this engine, with runc".to_owned())
            }
            Need::PodSysctl => Some("only Kubernetes has sysctls of a pod".to_owned()),
            Need::Annotations if !self.annotations => {
                Some("this Docker passes no annotations (API before 1.43): one runtime for each profile".to_owned())
            }
            Need::Gate => Some("Docker's user chooses the runtime; nothing chooses the hook".to_owned()),
            Need::Printed if self.name != "runc" => {
                Some("print-config docker leaves the choice of the runtime to the wrapper, which finds runc".to_owned())
            }
            Need::HostIpcByPath => Some("Docker takes no path to a namespace".to_owned()),
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
        &self.directory
    }

    fn places(&self, _lab: &Lab) -> Option<(PathBuf, String)> {
        let text = json!({"data-root": self.directory.join("data"), "exec-root": self.directory.join("run")});
        Some(("/etc/docker/daemon.json".into(), text.to_string()))
    }

    fn launch(&self, lab: &Lab, container: &Container) -> Outcome<Launch> {
        let mut run = self.docker(&["run", "--rm", "--network=none", "--name", &container.name]);
        if let Some(hook) = &container.hook {
            run.arg(format!("--runtime={}", self.registered(lab, hook)?));
        }
        if container.printed {
            // Without annotations each profile has its own runtime.
            let profile = container.annotations.iter().find(|(key, _)| key == "io.oci-ipc-hook.profile");
            if let Some((_, profile)) = profile {
                run.arg(format!("--runtime={}", self.printed(lab, profile)?));
            }
        }
        run.arg("--cidfile").arg(self.id_file(container));
        run.arg(format!("--user={}:{}", container.user.0, container.user.1));
        match &container.ipc {
            Ipc::Default => {}
            Ipc::Private => drop(run.arg("--ipc=private")),
            Ipc::Shareable => drop(run.arg("--ipc=shareable")),
            Ipc::Host => drop(run.arg("--ipc=host")),
            Ipc::HostByPath => return Err(Stop::Fail("Docker takes no path".to_owned())),
            Ipc::Join(name) => drop(run.arg(format!("--ipc=container:{name}"))),
        }
        for (key, value) in container.annotations.iter().filter(|_| self.annotations) {
            run.arg(format!("--annotation={key}={value}"));
        }
        for (name, value) in &container.sysctl {
            run.arg(format!("--sysctl={name}={value}"));
        }
        run.args(&container.options).arg(IMAGE).args(container.command());
        Launch::start(run)
    }

    fn stop(&self, _lab: &Lab, container: &Container) -> Outcome {
        output(self.docker(&["stop", "--time=10", &container.name])).map(drop)
    }

    fn as_docker(&self) -> Option<&Docker> {
        Some(self)
    }

    fn logged_name(&self, container: &Container) -> Outcome<String> {
        let id = fs::read_to_string(self.id_file(container));
        id.map_err(|e| Stop::Fail(format!("the id of {}: {e}", container.name)))
    }
}
