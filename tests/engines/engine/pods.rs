//! containerd's CRI plugin as a kubelet uses it: pods over the real socket, the hook in `base_runtime_spec`.
//!
//! The plugin reads its specs once, at start. So the hook is installed with one directory of profiles and one policy
//! file, and a case's arguments become files there and annotations of the container.

use super::containerd::Containerd;
use super::cri::{Cri, Message};
use super::{Column, Engine, Need, find};
use crate::container::{Container, Hook, Ipc};
use crate::image::IMAGE;
use crate::lab::{Lab, command};
use crate::launch::{Launch, output};
use crate::outcome::{Outcome, Stop};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const NAMESPACE: &str = "k8s.io";

/// `NamespaceMode` of the API.
const CONTAINER: u64 = 1;
const NODE: u64 = 2;

struct Pods {
    name: &'static str,
    containerd: Containerd,
    cri: Cri,
    /// By the container's name: its pod and its id.
    known: Mutex<HashMap<String, (String, String)>>,
}

/// The handlers: name, stages of the hook, and whether it looks into the system's directories instead of the case's.
const HANDLERS: [(&str, &[&str], bool); 5] = [
    ("plain", &[], false),
    ("hook", &["createRuntime", "poststop"], false),
    ("system", &["createRuntime", "poststop"], true),
    ("prestart", &["prestart"], false),
    ("createcontainer", &["createContainer"], false),
];

pub(super) fn columns(runtimes: &[&'static str]) -> Vec<Column> {
    let column = |runtime: &&'static str| {
        let runtime = *runtime;
        let open = move |lab: &Lab| Ok(Box::new(Pods::open(lab, runtime)?) as Box<dyn Engine>);
        Column::new(format!("containerd CRI, {runtime}, root"), open)
    };
    runtimes.iter().map(column).collect()
}

impl Pods {
    fn open(lab: &Lab, runtime: &'static str) -> Outcome<Self> {
        find("curl")?;
        let name = format!("cri-{runtime}");
        let directory = lab.scratch.join(&name);
        for place in ["specs", "profiles", "logs"] {
            fs::create_dir_all(directory.join(place))?;
        }
        fs::write(directory.join("policy.toml"), "format = 1\n")?;
        let base: Value = serde_json::from_str(&output(command("ctr", &["oci", "spec"]))?)
            .map_err(|e| Stop::Fail(format!("ctr oci spec: {e}")))?;
        let printed = output(command(&lab.programs.tool.to_string_lossy(), &["print-config", "containerd"]))?;
        let mut configuration = format!(
            "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{IMAGE}\"\n\
             restrict_oom_score_adj = true\ndisable_apparmor = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\ndefault_runtime_name = \"plain\"\n"
        );
        for (handler, stages, system) in HANDLERS {
            let spec = directory.join(format!("specs/{handler}.json"));
            fs::write(&spec, with_hook(lab, base.clone(), stages, (!system).then_some(&directory)).to_string())?;
            let section = format!("[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{handler}");
            let text = write!(
                configuration,
                "{section}]\nruntime_type = \"io.containerd.runc.v2\"\nbase_runtime_spec = \"{}\"\n\
                 pod_annotations = [\"io.oci-ipc-hook.*\"]\ncontainer_annotations = [\"io.oci-ipc-hook.*\"]\n\
                 {section}.options]\nBinaryName = \"{}\"\n",
                spec.display(),
                find(runtime)?.display()
            );
            text.map_err(|e| Stop::Fail(e.to_string()))?;
        }
        // Put into the file as its reader would; the version is said once.
        configuration.push_str(&printed.replace("version = 2\n", ""));
        let containerd = Containerd::start(lab, &name, &configuration)?;
        let mut import = containerd.ctr(NAMESPACE, &["image", "import", "--snapshotter=native"]);
        import.arg(&lab.image);
        output(import)?;
        let cri = Cri::new(&containerd.socket());
        Ok(Pods { name: runtime, containerd, cri, known: Mutex::default() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.containerd.directory.join(name)
    }

    /// Makes the arguments of the hook true: profiles and policy where it looks, and the names to ask for.
    fn install(&self, lab: &Lab, hook: &Hook) -> Outcome<Vec<String>> {
        let (mut names, mut policy) = (Vec::new(), "format = 1\n".to_owned());
        for pair in hook.args.chunks(2) {
            match (pair[0].as_str(), pair.get(1)) {
                ("--profile-file", Some(file)) => {
                    let name = lab.unique("p");
                    fs::copy(file, self.path("profiles").join(format!("{name}.toml")))?;
                    names.push(name);
                }
                ("--profiles-dir", Some(directory)) => {
                    for entry in fs::read_dir(directory)? {
                        let entry = entry?;
                        fs::copy(entry.path(), self.path("profiles").join(entry.file_name()))?;
                    }
                }
                ("--config", Some(file)) => policy = fs::read_to_string(file)?,
                (other, _) => return Err(Stop::Fail(format!("the CRI engine has no way to pass {other}"))),
            }
        }
        // Other containers may be reading it.
        if fs::read_to_string(self.path("policy.toml"))? != policy {
            let new = self.path(&lab.unique("policy"));
            fs::write(&new, policy)?;
            fs::rename(new, self.path("policy.toml"))?;
        }
        Ok(names)
    }

    fn handler(container: &Container) -> &'static str {
        if container.printed {
            return "ipc";
        }
        match &container.hook {
            None if container.ipc == Ipc::Private => "plain",
            // Others will join this pod, and may have the hook.
            None => "hook",
            Some(hook) if hook.args.is_empty() => "system",
            Some(hook) => match hook.stages[0] {
                "prestart" => "prestart",
                "createContainer" => "createcontainer",
                _ => "hook",
            },
        }
    }

    /// The pod's configuration; the same for its containers.
    fn pod(&self, lab: &Lab, name: &str, container: &Container) -> Message {
        let metadata = Message::default().text(1, name).text(2, name).text(3, "default");
        let linux = Message::default()
            .text(1, &format!("/{}", lab.cgroup()))
            .message(2, Message::default().message(1, namespaces(container)))
            .map(3, &container.sysctl);
        Message::default().message(1, metadata).text(3, &self.path("logs").to_string_lossy()).message(8, linux)
    }

    fn remember(&self, container: &Container, pod: &str, id: &str) -> Outcome {
        let mut known = self.known.lock().map_err(|e| Stop::Fail(e.to_string()))?;
        known.insert(container.name.clone(), (pod.to_owned(), id.to_owned()));
        Ok(())
    }

    fn known(&self, name: &str) -> Outcome<(String, String)> {
        let known = self.known.lock().map_err(|e| Stop::Fail(e.to_string()))?;
        known.get(name).cloned().ok_or_else(|| Stop::Fail(format!("there is no container {name}")))
    }

    /// Removes the container when it has ended, and the pod that was made for it: its objects count against their owner's
    /// limits on the whole host.
    fn with_removal(&self, lab: &Lab, container: &Container, launch: Launch, pod: &str, id: &str) -> Outcome<Launch> {
        let own_pod = !matches!(container.ipc, Ipc::Join(_));
        let steps =
            [("RemoveContainer", id, true), ("StopPodSandbox", pod, own_pod), ("RemovePodSandbox", pod, own_pod)];
        steps.into_iter().filter(|(_, id, wanted)| *wanted && !id.is_empty()).try_fold(
            launch,
            |launch, (method, id, _)| {
                let stem = lab.scratch.join(lab.unique("remove"));
                Ok(launch.then(self.cri.command(&stem, method, &Message::default().text(1, id))?))
            },
        )
    }

    /// Creates the container in its pod and starts it.
    fn start(&self, lab: &Lab, container: &Container, annotations: &[(String, String)]) -> Outcome {
        let config = self.pod(lab, &container.name, container);
        let pod = match &container.ipc {
            Ipc::Join(name) => self.known(name)?.0,
            _ => {
                let request = Message::default().message(1, self.pod(lab, &container.name, container));
                self.cri.call(lab, "RunPodSandbox", &request.text(2, Self::handler(container)))?
            }
        };
        self.remember(container, &pod, "")?;
        let user = |id: u32| Message::default().number(1, id.into());
        let (uid, gid) = container.user;
        let security =
            Message::default().message(3, namespaces(container)).message(5, user(uid)).message(12, user(gid));
        let app = Message::default()
            .message(1, Message::default().text(1, &container.name))
            .message(2, Message::default().text(1, IMAGE))
            .texts(3, &container.command())
            .map(10, annotations)
            .text(11, &log_name(container))
            .message(15, Message::default().message(2, security));
        let request = Message::default().text(1, &pod).message(2, app).message(3, config);
        let id = self.cri.call(lab, "CreateContainer", &request)?;
        self.remember(container, &pod, &id)?;
        self.cri.call(lab, "StartContainer", &Message::default().text(1, &id)).map(drop)
    }
}

fn log_name(container: &Container) -> String {
    format!("{}.log", container.name)
}

fn namespaces(container: &Container) -> Message {
    let ipc = if container.ipc == Ipc::Host { NODE } else { 0 };
    Message::default().number(1, NODE).number(2, CONTAINER).number(3, ipc)
}

/// The base spec with the hook, its files below `directory`, or in the system's places.
fn with_hook(lab: &Lab, mut spec: Value, stages: &[&str], directory: Option<&PathBuf>) -> Value {
    let mut args = vec!["oci-ipc-hook".to_owned()];
    if let Some(directory) = directory {
        let place = directory.display();
        args.extend(["--profiles-dir".to_owned(), format!("{place}/profiles")]);
        args.extend(["--config".to_owned(), format!("{place}/policy.toml")]);
    }
    // The daemon's own limits hold; root may lack the right to raise them.
    if let Some(process) = spec["process"].as_object_mut() {
        process.remove("rlimits");
    }
    for stage in stages {
        spec["hooks"][*stage] = json!([{"path": lab.programs.tool, "args": args, "env": ["none="]}]);
    }
    spec
}

impl Engine for Pods {
    fn cannot(&self, need: Need) -> Option<String> {
        match need {
            Need::Hundred if self.name != "runc" => {
                Some("a hundred containers: done once for this engine, with runc".to_owned())
            }
            Need::SysctlOption => Some(
                "Kubernetes writes a pod's sysctls for the sandbox only, before any hook; no conflict is left"
                    .to_owned(),
            ),
            Need::HostIpcByPath => {
                Some("Kubernetes takes no path; hostIPC is a path to the host's by itself".to_owned())
            }
            Need::Stage("startContainer") => Some(
                "base_runtime_spec names the host's files, which a hook inside the container cannot see".to_owned(),
            ),
            Need::Gate => Some("base_runtime_spec hooks run for every container".to_owned()),
            Need::Printed if self.name != "runc" => Some(
                "print-config containerd leaves the choice of the runtime to the wrapper, which finds runc".to_owned(),
            ),
            Need::Lower => Some("every container shares the pod's namespace with pause".to_owned()),
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

    /// Namespace, pod and container.
    fn known_as(&self, container: &Container) -> String {
        format!("default/{0}/{0}", container.name)
    }

    fn launch(&self, lab: &Lab, container: &Container) -> Outcome<Launch> {
        let mut annotations = container.annotations.clone();
        if let Some(hook) = &container.hook {
            let names = self.install(lab, hook)?;
            if !names.is_empty() {
                annotations.push(("io.oci-ipc-hook.profile".to_owned(), names.join(",")));
            }
        }
        // A named pipe in the place of the log: its reader sees the end when the container is gone.
        let log = self.path("logs").join(log_name(container));
        let log = log.to_string_lossy();
        output(command("mkfifo", &[&log]))?;
        let reader = command("sed", &["-u", "s/^[^ ]* std[a-z]* [FP] //", &log]);
        let launch = Launch::start_beside(reader, || self.start(lab, container, &annotations))?;
        match self.known(&container.name) {
            // Returns when the runtime has deleted it, poststop hooks included.
            Ok((pod, id)) => self.with_removal(lab, container, launch, &pod, &id),
            Err(_) => Ok(launch),
        }
    }

    fn stop(&self, lab: &Lab, container: &Container) -> Outcome {
        let (_, id) = self.known(&container.name)?;
        self.cri.call(lab, "StopContainer", &Message::default().text(1, &id).number(2, 10)).map(drop)
    }

    fn logged_name(&self, container: &Container) -> Outcome<String> {
        Ok(self.known(&container.name)?.1)
    }
}
