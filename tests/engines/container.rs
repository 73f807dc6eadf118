//! A container that a case asks an engine for, in words that every engine has.

/// Which IPC namespace the container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipc {
    /// One of its own that nobody else joins.
    Private,
    /// What the engine gives without an option: the pod's in a pod.
    Default,
    /// One of its own that others may join, where the engine makes a difference.
    Shareable,
    /// The host's.
    Host,
    /// The host's, by a path in the ipc entry of config.json.
    HostByPath,
    /// That of a running container of the same engine.
    Join(String),
}

/// The hook as the administrator installs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The stages, such as `createRuntime`.
    pub stages: Vec<&'static str>,
    /// Arguments behind the program's name.
    pub args: Vec<String>,
    /// Only for containers with the annotation `io.oci-ipc-hook.profile` (else for all), where the engine chooses.
    pub gated: bool,
}

/// A container to start.
#[derive(Clone, Debug)]
pub struct Container {
    /// Unique within the run.
    pub name: String,
    /// The workload's uid and gid inside.
    pub user: (u32, u32),
    /// Arguments of the workload.
    pub client: Vec<String>,
    /// Run the workload until [`crate::engine::Engine::stop`].
    pub hold: bool,
    pub hook: Option<Hook>,
    /// Instead of `hook`: installed as `oci-ipc-hook print-config` says.
    pub printed: bool,
    pub annotations: Vec<(String, String)>,
    /// The engine's own sysctl option, `linux.sysctl` in the end.
    pub sysctl: Vec<(String, String)>,
    pub ipc: Ipc,
    /// Further options of this engine's command line.
    pub options: Vec<String>,
}

impl Container {
    /// An ordinary container without a hook, its workload an ordinary user.
    pub fn new(name: impl Into<String>) -> Self {
        Container {
            name: name.into(),
            user: crate::profiles::WORKLOAD,
            client: Vec::new(),
            hold: false,
            hook: None,
            printed: false,
            annotations: Vec::new(),
            sysctl: Vec::new(),
            ipc: Ipc::Private,
            options: Vec::new(),
        }
    }

    /// The hook at createRuntime, for every container.
    pub fn hook(self, args: &[&str]) -> Self {
        self.hook_at(&["createRuntime"], args)
    }

    /// The hook at other stages.
    pub fn hook_at(mut self, stages: &[&'static str], args: &[&str]) -> Self {
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        self.hook = Some(Hook { stages: stages.to_vec(), args, gated: false });
        self
    }

    /// The hook only where the annotation asks for it.
    pub fn gated_hook(mut self, args: &[&str]) -> Self {
        self = self.hook(args);
        if let Some(hook) = &mut self.hook {
            hook.gated = true;
        }
        self
    }

    /// The hook as `print-config` installs it.
    pub fn printed(mut self) -> Self {
        self.printed = true;
        self
    }

    /// Objects for the workload to open, as options of `ipc-client`.
    pub fn opens(mut self, objects: &[&str]) -> Self {
        self.client.extend(objects.iter().map(|o| (*o).to_owned()));
        self
    }

    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn sysctl(mut self, name: &str, value: &str) -> Self {
        self.sysctl.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn ipc(mut self, ipc: Ipc) -> Self {
        self.ipc = ipc;
        self
    }

    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = (uid, gid);
        self
    }

    pub fn hold(mut self) -> Self {
        self.hold = true;
        self
    }

    pub fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|o| (*o).to_owned()));
        self
    }

    /// The workload's whole command line inside the container.
    pub fn command(&self) -> Vec<String> {
        let mut words = vec!["/ipc-client".to_owned()];
        words.extend(self.client.iter().cloned());
        if self.hold {
            words.push("--hold".to_owned());
        }
        words
    }
}
