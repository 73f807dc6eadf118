//! The messages of NRI, generated from `proto/nri.proto`, and the names around them.

#[allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
}

pub(crate) use generated::nri::*;

/// The service that the plugin offers.
pub(crate) const PLUGIN_SERVICE: &str = "nri.pkg.api.v1alpha1.Plugin";
/// The service that the runtime offers.
pub(crate) const RUNTIME_SERVICE: &str = "nri.pkg.api.v1alpha1.Runtime";

/// The prefix of every annotation that asks for something.
pub(crate) const PREFIX: &str = "io.oci-ipc-hook.";

/// The bit of an event in a subscription.
pub(crate) const fn bit(event: Event) -> i32 {
    1 << (event as i32 - 1)
}

impl PodSandbox {
    /// `namespace/name`, as people know the pod.
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// What the pod asks for: its annotations that are ours, in order.
    pub(crate) fn request(&self) -> Vec<(&str, &str)> {
        let mut asked: Vec<_> = self
            .annotations
            .iter()
            .filter(|(key, _)| key.starts_with(PREFIX))
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        asked.sort_unstable();
        asked
    }

    /// The memory limit of the whole pod in bytes, when the kubelet tells one.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        let limit = self.linux.as_ref()?.pod_resources.as_ref()?.memory.as_ref()?.limit.as_ref()?.value;
        u64::try_from(limit).ok().filter(|bytes| *bytes > 0)
    }

    /// The path of the pod's IPC namespace, where the runtime pins it.
    pub(crate) fn ipc_path(&self) -> Option<&str> {
        ipc_path(&self.linux.as_ref()?.namespaces)
    }
}

impl Container {
    /// The path of the IPC namespace that the container is to join.
    pub(crate) fn ipc_path(&self) -> Option<&str> {
        ipc_path(&self.linux.as_ref()?.namespaces)
    }
}

fn ipc_path(namespaces: &[LinuxNamespace]) -> Option<&str> {
    namespaces.iter().find(|n| n.type_ == "ipc" && !n.path.is_empty()).map(|n| n.path.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_annotations_are_a_request() {
        let mut pod = PodSandbox::new();
        for (key, value) in [
            ("io.oci-ipc-hook.sysctl.kernel.msgmax", "1"),
            ("io.oci-ipc-hook.profile", "db"),
            ("io.oci-ipc-hookx", "no"),
            ("app", "io.oci-ipc-hook.profile"),
        ] {
            pod.annotations.insert(key.into(), value.into());
        }
        assert_eq!(pod.request(), [("io.oci-ipc-hook.profile", "db"), ("io.oci-ipc-hook.sysctl.kernel.msgmax", "1")]);
    }

    #[test]
    fn events_are_numbered_from_one() {
        assert_eq!(bit(Event::RUN_POD_SANDBOX), 1);
        assert_eq!(bit(Event::CREATE_CONTAINER), 8);
    }
}
