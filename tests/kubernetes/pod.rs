//! Pods as a kubelet makes them.

use crate::cri::*;
use crate::node::IMAGE;
use anyhow::{Context as _, Result};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A pod to be made.
#[derive(Clone)]
pub(crate) struct Pod {
    config: PodSandboxConfig,
    options: NamespaceOption,
}

/// A pod's sandbox.
#[derive(Clone)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pod: Pod,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Pod {
    pub(crate) fn new(name: &str) -> Pod {
        let number = NUMBER.fetch_add(1, Relaxed);
        let mut config = PodSandboxConfig::new();
        let metadata = PodSandboxMetadata {
            name: format!("{name}-{number}"),
            uid: format!("uid-{number}"),
            namespace: "test".into(),
            ..PodSandboxMetadata::default()
        };
        config.metadata = Some(metadata).into();
        config.hostname = name.into();
        Pod { config, options: NamespaceOption { pid: NamespaceMode::CONTAINER.into(), ..NamespaceOption::default() } }
    }

    /// Asks for profiles.
    pub(crate) fn profile(self, names: &str) -> Pod {
        self.annotation("profile", names)
    }

    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Pod {
        self.config.annotations.insert(format!("io.oci-ipc-hook.{key}"), value.into());
        self
    }

    pub(crate) fn host_ipc(mut self) -> Pod {
        self.options.ipc = NamespaceMode::NODE.into();
        self
    }

    pub(crate) fn host_pid(mut self) -> Pod {
        self.options.pid = NamespaceMode::NODE.into();
        self
    }

    /// Container ids from 0 are host ids from `first`.
    pub(crate) fn user_namespace(mut self, first: u32) -> Pod {
        let map = vec![IDMapping { host_id: first, container_id: 0, length: 65536, ..IDMapping::default() }];
        let users = UserNamespace { uids: map.clone(), gids: map, ..UserNamespace::default() };
        self.options.userns_options = Some(users).into();
        self
    }

    pub(crate) fn sysctl(mut self, name: &str, value: &str) -> Pod {
        self.linux().sysctls.insert(name.into(), value.into());
        self
    }

    /// The sum of the containers' limits, as the kubelet tells it.
    pub(crate) fn memory(mut self, bytes: i64) -> Pod {
        let resources = LinuxContainerResources { memory_limit_in_bytes: bytes, ..LinuxContainerResources::default() };
        self.linux().resources = Some(resources).into();
        self
    }

    fn linux(&mut self) -> &mut LinuxPodSandboxConfig {
        self.config.linux.mut_or_insert_default()
    }

    pub(crate) async fn run(mut self, cri: &Cri) -> Result<Sandbox> {
        let options = self.options.clone();
        let context = LinuxSandboxSecurityContext {
            namespace_options: Some(options).into(),
            ..LinuxSandboxSecurityContext::default()
        };
        self.linux().security_context = Some(context).into();
        let request =
            RunPodSandboxRequest { config: Some(self.config.clone()).into(), ..RunPodSandboxRequest::default() };
        let made: RunPodSandboxResponse = cri.call("RunPodSandbox", &request).await?;
        Ok(Sandbox { id: made.pod_sandbox_id, pod: self })
    }
}

impl Sandbox {
    /// Creates a container that runs `script`; its id.
    pub(crate) async fn create(&self, cri: &Cri, name: &str, script: &str) -> Result<String> {
        let context = LinuxContainerSecurityContext {
            namespace_options: Some(self.pod.options.clone()).into(),
            ..LinuxContainerSecurityContext::default()
        };
        let linux = LinuxContainerConfig { security_context: Some(context).into(), ..LinuxContainerConfig::default() };
        let attempt = NUMBER.fetch_add(1, Relaxed);
        let metadata = ContainerMetadata { name: name.into(), attempt, ..ContainerMetadata::default() };
        let config = ContainerConfig {
            metadata: Some(metadata).into(),
            image: Some(ImageSpec { image: IMAGE.into(), ..ImageSpec::default() }).into(),
            command: vec!["/bin/sh".into(), "-c".into(), script.into()],
            linux: Some(linux).into(),
            ..ContainerConfig::default()
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config).into(),
            sandbox_config: Some(self.pod.config.clone()).into(),
            ..CreateContainerRequest::default()
        };
        let made: CreateContainerResponse = cri.call("CreateContainer", &request).await?;
        Ok(made.container_id)
    }

    /// Starts a container of another image, with a read-only root and the default seccomp profile; its id.
    pub(crate) async fn start_image(
        &self,
        cri: &Cri,
        image: &str,
        mut config: ContainerConfig,
        capabilities: Option<Capability>,
        user: Option<i64>,
    ) -> Result<String> {
        let context = LinuxContainerSecurityContext {
            namespace_options: Some(self.pod.options.clone()).into(),
            capabilities: capabilities.into(),
            run_as_user: user.map(|value| Int64Value { value, ..Int64Value::default() }).into(),
            readonly_rootfs: true,
            seccomp: Some(SecurityProfile::default()).into(),
            ..LinuxContainerSecurityContext::default()
        };
        let linux = LinuxContainerConfig { security_context: Some(context).into(), ..LinuxContainerConfig::default() };
        let attempt = NUMBER.fetch_add(1, Relaxed);
        config.metadata = Some(ContainerMetadata { name: "it".into(), attempt, ..ContainerMetadata::default() }).into();
        config.image = Some(ImageSpec { image: image.into(), ..ImageSpec::default() }).into();
        config.linux = Some(linux).into();
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config).into(),
            sandbox_config: Some(self.pod.config.clone()).into(),
            ..CreateContainerRequest::default()
        };
        let made: CreateContainerResponse = cri.call("CreateContainer", &request).await?;
        start(cri, &made.container_id).await?;
        Ok(made.container_id)
    }

    /// Starts a container whose first instruction writes down what it sees of `show`, and hands that back.
    pub(crate) async fn first_view(&self, cri: &Cri, name: &str, show: &str) -> Result<String> {
        let script = format!("{{ {show}; }} > /tmp/v 2>&1; /bin/busybox mv /tmp/v /tmp/view; exec sleep 1000000");
        let container = self.create(cri, name, &script).await?;
        start(cri, &container).await?;
        exec(cri, &container, "until [ -f /tmp/view ]; do :; done; cat /tmp/view").await
    }

    /// Ends the pod.
    pub(crate) async fn remove(&self, cri: &Cri) -> Result<()> {
        let request = SandboxRequest { pod_sandbox_id: self.id.clone(), ..SandboxRequest::default() };
        let _: Empty = cri.call("StopPodSandbox", &request).await?;
        let _: Empty = cri.call("RemovePodSandbox", &request).await?;
        Ok(())
    }

    /// Its pause process.
    pub(crate) async fn pid(&self, cri: &Cri) -> Result<u32> {
        let request = SandboxRequest { pod_sandbox_id: self.id.clone(), verbose: true, ..SandboxRequest::default() };
        let status: PodSandboxStatusResponse = cri.call("PodSandboxStatus", &request).await?;
        let info: serde_json::Value = serde_json::from_str(status.info.get("info").context("info")?)?;
        Ok(u32::try_from(info["pid"].as_u64().context("pid")?)?)
    }
}

pub(crate) async fn start(cri: &Cri, container: &str) -> Result<()> {
    let request = ContainerRequest { container_id: container.into(), ..ContainerRequest::default() };
    let _: Empty = cri.call("StartContainer", &request).await?;
    Ok(())
}

/// What a shell in the container prints.
pub(crate) async fn exec(cri: &Cri, container: &str, script: &str) -> Result<String> {
    let request = ExecSyncRequest {
        container_id: container.into(),
        cmd: vec!["/bin/sh".into(), "-c".into(), script.into()],
        timeout: 60,
        ..ExecSyncRequest::default()
    };
    let done: ExecSyncResponse = cri.call("ExecSync", &request).await?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Ends every pod of the node.
pub(crate) async fn remove_all(cri: &Cri) -> Result<()> {
    let list: ListPodSandboxResponse = cri.call("ListPodSandbox", &Empty::new()).await?;
    for pod in list.items {
        let request = SandboxRequest { pod_sandbox_id: pod.id, ..SandboxRequest::default() };
        let _: Empty = cri.call("StopPodSandbox", &request).await?;
        let _: Empty = cri.call("RemovePodSandbox", &request).await?;
    }
    Ok(())
}
