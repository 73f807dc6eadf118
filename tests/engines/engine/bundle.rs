//! A runtime run directly on a bundle: runc, crun, youki.

use super::{Column, Engine, Need, find};
use crate::container::{Container, Hook, Ipc};
use crate::lab::{Lab, SUB_IDS, USER_ID, chown, command};
use crate::launch::{Launch, output};
use crate::outcome::{Outcome, Stop};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who runs the runtime, and whether the container has a user namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As root, ids inside are the host's.
    Root,
    /// As root, the container in a user namespace of its own.
    Userns,
    /// As an ordinary user.
    Rootless,
}

/// A runtime in a mode, with a directory for its bundles.
pub struct Bundle {
    name: &'static str,
    runtime: PathBuf,
    mode: Mode,
    directory: PathBuf,
}

pub(super) fn columns(runtime: &'static str) -> Vec<Column> {
    let modes = [(Mode::Root, "root"), (Mode::Userns, "root, user namespace"), (Mode::Rootless, "rootless")];
    let column = |(mode, title)| {
        Column::new(format!("bundle, {runtime}, {title}"), move |lab| Ok(Box::new(Bundle::open(lab, runtime, mode)?)))
    };
    modes.into_iter().map(column).collect()
}

impl Engine for Bundle {
    fn cannot(&self, need: Need) -> Option<String> {
        let rootless = self.mode == Mode::Rootless;
        match need {
            Need::PodSysctl => Some("only Kubernetes has sysctls of a pod".to_owned()),
            Need::Gate => Some("a bundle names its hooks itself; nothing chooses among them".to_owned()),
            Need::Prepare | Need::HostIpc if rootless && self.name != "runc" => Some(format!(
                "{} run by an ordinary user: /proc/PID/ns/ipc is closed to the hook, so nothing can join",
                self.name
            )),
            Need::Join if rootless => Some(
                "runc run by an ordinary user: a container that joins a user namespace by path is closed to the hook"
                    .to_owned(),
            ),
            Need::HostIpcByPath if self.mode != Mode::Root => {
                Some("a container in a user namespace may not join the host's IPC namespace by path".to_owned())
            }
            _ => None,
        }
    }

    fn is_quick(&self) -> bool {
        true
    }

    fn shows_reason(&self) -> bool {
        self.name != "crun"
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn launch(&self, lab: &Lab, container: &Container) -> Outcome<Launch> {
        self.prepare(lab, container)?;
        self.start(lab, container)
    }

    fn as_bundle(&self) -> Option<&Bundle> {
        Some(self)
    }

    fn stop(&self, lab: &Lab, container: &Container) -> Outcome {
        let mut kill = self.runtime(lab);
        kill.args(["kill", &container.name, "TERM"]);
        output(kill).map(drop)
    }
}

impl Bundle {
    /// Finds the runtime and makes the directory.
    pub fn open(lab: &Lab, runtime: &'static str, mode: Mode) -> Outcome<Self> {
        let directory = match mode {
            Mode::Rootless => lab.scratch.join("home").join(runtime),
            Mode::Root => lab.scratch.join(runtime),
            Mode::Userns => lab.scratch.join(format!("{runtime}-userns")),
        };
        fs::create_dir(&directory)?;
        if mode == Mode::Rootless {
            chown(&directory)?;
        }
        Ok(Bundle { name: runtime, runtime: find(runtime)?, mode, directory })
    }

    fn prepare(&self, lab: &Lab, container: &Container) -> Outcome {
        let config = self.config(lab, container)?;
        let bundle = self.write(container, &config)?;
        if container.printed {
            // What print-config is for an engine, inject is for a bundle.
            let mut inject = if self.mode == Mode::Rootless {
                lab.as_user(&lab.programs.tool)
            } else {
                command(&lab.programs.tool.to_string_lossy(), &[])
            };
            inject.args(["inject", "--bundle"]).arg(&bundle);
            output(inject)?;
        }
        Ok(())
    }

    /// As [`Engine::launch`], with a runtime that comes to each wait for a child only after the hook has ended long ago.
    pub fn launch_slowly(&self, lab: &Lab, container: &Container) -> Outcome<Launch> {
        if self.mode == Mode::Rootless {
            return Err(Stop::NotHere("newuidmap does nothing under strace of an ordinary user".to_owned()));
        }
        self.prepare(lab, container)?;
        let waits = "rt_sigtimedwait,wait4,waitid";
        let (trace, inject) = (format!("trace={waits}"), format!("inject={waits}:delay_enter=100000"));
        let strace = find("strace")?;
        let strace = strace.to_string_lossy();
        self.start_below(lab, container, &[&strace, "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject])
    }

    /// Makes the container's bundle with this config.json.
    pub fn write(&self, container: &Container, config: &Value) -> Outcome<PathBuf> {
        let bundle = self.bundle(container);
        fs::create_dir(&bundle)?;
        fs::write(bundle.join("config.json"), config.to_string())?;
        if self.mode == Mode::Rootless {
            chown(&bundle)?;
            chown(&bundle.join("config.json"))?;
        }
        Ok(bundle)
    }

    /// Runs the container from its bundle.
    pub fn start(&self, lab: &Lab, container: &Container) -> Outcome<Launch> {
        self.start_below(lab, container, &[])
    }

    /// The same below another program.
    fn start_below(&self, lab: &Lab, container: &Container, program: &[&str]) -> Outcome<Launch> {
        let bundle = self.bundle(container);
        // As engines do it. In one step crun is in its own list only after the workload has begun, and youki waits for
        // ever when the workload ends during a poststart hook.
        let script = "b=$1 n=$2; shift 2; \"$@\" create --bundle \"$b\" \"$n\" && \"$@\" start \"$n\"";
        let runtime = self.runtime(lab);
        let mut steps = command("sh", &["-c", script, "sh", &bundle.to_string_lossy(), &container.name]);
        steps.args(program).arg(runtime.get_program()).args(runtime.get_args());
        let mut delete = self.runtime(lab);
        delete.args(["delete", "--force", &container.name]);
        // While youki starts a container it writes its state anew, which nobody else may read in that moment.
        Ok(Launch::start(steps)?.command_ended()?.then(delete))
    }

    /// The container's bundle.
    pub fn bundle(&self, container: &Container) -> PathBuf {
        self.directory.join(&container.name)
    }

    fn runtime(&self, lab: &Lab) -> Command {
        let mut runtime = match self.mode {
            Mode::Rootless => lab.as_user(&self.runtime),
            _ => command(&self.runtime.to_string_lossy(), &[]),
        };
        runtime.arg("--root").arg(self.directory.join("state"));
        runtime
    }

    fn pid(&self, lab: &Lab, name: &str) -> Outcome<u64> {
        let mut state = self.runtime(lab);
        state.args(["state", name]);
        let state: Value = serde_json::from_str(&output(state)?).map_err(|e| Stop::Fail(e.to_string()))?;
        state["pid"].as_u64().ok_or_else(|| Stop::Fail(format!("no pid in the state of {name}")))
    }

    /// The container as a config.json.
    pub fn config(&self, lab: &Lab, container: &Container) -> Outcome<Value> {
        let mut namespaces = vec![json!({"type": "pid"}), json!({"type": "mount"})];
        let mut user = json!({"type": "user"});
        match &container.ipc {
            Ipc::Private | Ipc::Shareable | Ipc::Default => namespaces.push(json!({"type": "ipc"})),
            Ipc::Host => {}
            Ipc::HostByPath => namespaces.push(json!({"type": "ipc", "path": "/proc/self/ns/ipc"})),
            Ipc::Join(name) => {
                let pid = self.pid(lab, name)?;
                namespaces.push(json!({"type": "ipc", "path": format!("/proc/{pid}/ns/ipc")}));
                // The namespace belongs to the other's user namespace; only there is joining allowed.
                user["path"] = format!("/proc/{pid}/ns/user").into();
            }
        }
        let mut linux = json!({});
        if self.mode != Mode::Root {
            namespaces.push(user);
            let maps = self.mappings();
            linux["uidMappings"] = maps.clone();
            linux["gidMappings"] = maps;
        }
        if self.mode != Mode::Rootless {
            linux["cgroupsPath"] = format!("/{}/{}", lab.cgroup(), container.name).into();
        } else if self.name == "youki" {
            // It insists on a cgroup; this one is the user's.
            linux["cgroupsPath"] = format!("/{}/user/{}", lab.cgroup(), container.name).into();
        }
        linux["namespaces"] = namespaces.into();
        if !container.sysctl.is_empty() {
            linux["sysctl"] = container.sysctl.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
        }
        let (uid, gid) = container.user;
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": uid, "gid": gid}, "args": container.command(), "env": ["PATH=/"], "cwd": "/",
                "noNewPrivileges": true},
            "root": {"path": lab.rootfs, "readonly": true},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}],
            "linux": linux,
        });
        if let Some(hook) = &container.hook {
            config["hooks"] = hooks(lab, hook);
        }
        if !container.annotations.is_empty() {
            let pairs = container.annotations.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str())));
            config["annotations"] = pairs.collect();
        }
        Ok(config)
    }

    fn mappings(&self) -> Value {
        match self.mode {
            Mode::Rootless => json!([{"containerID": 0, "hostID": USER_ID, "size": 1},
                {"containerID": 1, "hostID": SUB_IDS, "size": 65535}]),
            _ => json!([{"containerID": 0, "hostID": SUB_IDS, "size": 65536}]),
        }
    }
}

/// The `hooks` of config.json.
fn hooks(lab: &Lab, hook: &Hook) -> Value {
    let mut hooks = json!({});
    for stage in &hook.stages {
        let mut args = vec!["oci-ipc-hook".to_owned()];
        args.extend(hook.args.iter().cloned());
        hooks[*stage] = json!([{"path": lab.programs.tool, "args": args, "env": []}]);
    }
    hooks
}
