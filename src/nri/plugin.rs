//! The calls of the runtime, and what is answered.

use crate::api::{
    ConfigureRequest, ConfigureResponse, Container, CreateContainerRequest, Event, PodRequest, PodSandbox,
    StateChangeEvent, SynchronizeRequest, SynchronizeResponse, bit,
};
use crate::log;
use crate::metrics::Metrics;
use crate::pods::{Pods, Step};
use crate::runner::{Job, Runner, Sandbox};
use protobuf::Message;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::timeout_at;

/// What runtimes give a plugin for one call when they do not say, in milliseconds.
const DEFAULT_LIMIT: u64 = 2000;

/// Everything that outlives a connection.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) runner: Runner,
    pub(crate) pods: Pods,
    pub(crate) metrics: Metrics,
    /// Time for one call in milliseconds, as told by Configure.
    limit: AtomicU64,
    /// Hooks at work.
    busy: AtomicUsize,
    idle: Notify,
}

/// One call, with what the connection knows.
pub(crate) struct Call {
    /// The runtime's process, in our pid namespace; 0 when it cannot be seen.
    pub(crate) runtime: i32,
    /// The caller's own time for this call; zero when it did not say.
    pub(crate) timeout: Duration,
    pub(crate) started: Instant,
}

/// Why a call is answered with an error.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The message cannot be read.
    Malformed(protobuf::Error),
    /// The pod is not fit to run a container.
    Pod(Arc<str>),
}

impl From<protobuf::Error> for Refusal {
    fn from(error: protobuf::Error) -> Self {
        Refusal::Malformed(error)
    }
}

type Answer = Result<Vec<u8>, Refusal>;

impl Plugin {
    pub(crate) fn new(runner: Runner) -> Self {
        Plugin {
            runner,
            pods: Pods::default(),
            metrics: Metrics::default(),
            limit: AtomicU64::new(DEFAULT_LIMIT),
            busy: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }

    pub(crate) fn configure(&self, payload: &[u8]) -> Answer {
        let request = ConfigureRequest::parse_from_bytes(payload)?;
        let limit = u64::try_from(request.request_timeout).ok().filter(|ms| *ms > 0).unwrap_or(DEFAULT_LIMIT);
        self.limit.store(limit, Relaxed);
        let fields = [
            ("runtime", &*request.runtime_name),
            ("version", &request.runtime_version),
            ("limit_ms", &limit.to_string()),
        ];
        log::info("configured", &fields);
        if !request.config.is_empty() {
            log::warn("the runtime's configuration for the plugin is not used", &[]);
        }
        let mut response = ConfigureResponse::new();
        response.events = bit(Event::RUN_POD_SANDBOX)
            | bit(Event::STOP_POD_SANDBOX)
            | bit(Event::REMOVE_POD_SANDBOX)
            | bit(Event::CREATE_CONTAINER);
        Ok(response.write_to_bytes()?)
    }

    /// Pods that were there before are reported; nothing is done to them. Answers whether this was the last part.
    pub(crate) fn synchronize(&self, payload: &[u8]) -> Result<(Vec<u8>, bool), Refusal> {
        let request = SynchronizeRequest::parse_from_bytes(payload)?;
        let busy: HashSet<&str> = request.containers.iter().map(|c| c.pod_sandbox_id.as_str()).collect();
        let annotated: Vec<_> = request.pods.iter().filter(|pod| !pod.request().is_empty()).collect();
        let part = annotated.iter().map(|pod| (pod.id.as_str(), busy.contains(pod.id.as_str())));
        let found = self.pods.synchronize(part, !request.more);
        self.metrics.found.fetch_add(found as u64, Relaxed);
        log::info(
            "synchronized",
            &[
                ("pods", &request.pods.len().to_string()),
                ("annotated", &annotated.len().to_string()),
                ("ran_before_the_plugin", &found.to_string()),
            ],
        );
        let mut response = SynchronizeResponse::new();
        response.more = request.more;
        Ok((response.write_to_bytes()?, !request.more))
    }

    pub(crate) async fn state_change(self: &Arc<Self>, call: Call, payload: &[u8]) -> Answer {
        let event = StateChangeEvent::parse_from_bytes(payload)?;
        let kind = event.event.enum_value_or(Event::UNKNOWN);
        self.pod_event(call, kind, event.pod.as_ref()).await;
        Ok(Vec::new())
    }

    pub(crate) async fn pod_request(self: &Arc<Self>, call: Call, kind: Event, payload: &[u8]) -> Answer {
        let request = PodRequest::parse_from_bytes(payload)?;
        self.pod_event(call, kind, request.pod.as_ref()).await;
        Ok(Vec::new())
    }

    /// Never an error: see the crate's documentation.
    async fn pod_event(self: &Arc<Self>, call: Call, kind: Event, pod: Option<&PodSandbox>) {
        let Some(pod) = pod else { return };
        if pod.request().is_empty() {
            return;
        }
        match kind {
            Event::RUN_POD_SANDBOX => drop(self.ensure(&call, pod, None).await),
            Event::STOP_POD_SANDBOX => self.clean_up(&call, pod),
            Event::REMOVE_POD_SANDBOX => self.pods.forget(&pod.id),
            _ => {}
        }
    }

    /// A pod whose start was missed (the plugin was away) is prepared now; one that failed is refused.
    pub(crate) async fn create_container(self: &Arc<Self>, call: Call, payload: &[u8]) -> Answer {
        let request = CreateContainerRequest::parse_from_bytes(payload)?;
        let Some(pod) = request.pod.as_ref().filter(|pod| !pod.request().is_empty()) else { return Ok(Vec::new()) };
        match self.ensure(&call, pod, request.container.as_ref()).await {
            Ok(()) => Ok(Vec::new()),
            Err(line) => {
                self.metrics.refused.fetch_add(1, Relaxed);
                let container = request.container.as_ref().map_or("", |c| &c.name);
                log::error("container refused", &[("pod", &pod.title()), ("container", container), ("error", &line)]);
                Err(Refusal::Pod(line))
            }
        }
    }

    /// Until the pod is prepared or has failed, within the time of this call.
    async fn ensure(
        self: &Arc<Self>,
        call: &Call,
        pod: &PodSandbox,
        container: Option<&Container>,
    ) -> Result<(), Arc<str>> {
        let deadline = call.started + self.limit(call);
        loop {
            let mut wait = match self.pods.step(&pod.id) {
                Step::Known(end) => return end,
                Step::Wait(done) => done,
                Step::Run { done, found } => {
                    let waiting = done.subscribe();
                    self.start(call, deadline, pod, container, done);
                    if found {
                        // Its containers run already: they are not held up by a failure, only by the hook's time.
                        let mut waiting = waiting;
                        let _ = timeout_at(deadline.into(), waiting.changed()).await;
                        return Ok(());
                    }
                    waiting
                }
            };
            if timeout_at(deadline.into(), wait.changed()).await.is_err() {
                return Err(format!("oci-ipc-nri: {}: the hook is still at work; try again", pod.id).into());
            }
        }
    }

    /// Runs the hook in a task of its own: a connection that ends does not stop it half way.
    fn start(
        self: &Arc<Self>,
        call: &Call,
        deadline: Instant,
        pod: &PodSandbox,
        container: Option<&Container>,
        done: watch::Sender<()>,
    ) {
        let plugin = self.clone();
        let (id, title, late) = (pod.id.clone(), pod.title(), container.is_some());
        let job = job(call.runtime, pod, container);
        let limit = deadline.saturating_duration_since(Instant::now());
        self.busy.fetch_add(1, Relaxed);
        tokio::spawn(async move {
            let started = Instant::now();
            let end = match &job {
                Ok(job) => plugin.runner.prepare(job, limit).await,
                Err(why) => Err(format!("oci-ipc-nri: {id}: {why}")),
            };
            let took = started.elapsed();
            plugin.report(&title, &id, took, late, &end);
            plugin.pods.finish(&id, end.map_err(Arc::from));
            drop(done);
            plugin.release();
        });
    }

    fn report(&self, title: &str, id: &str, took: Duration, late: bool, end: &Result<(), String>) {
        self.metrics.took(took);
        if late {
            self.metrics.late.fetch_add(1, Relaxed);
        }
        let ms = format!("{:.1}", took.as_secs_f64() * 1000.0);
        let stage = if late { "CreateContainer" } else { "RunPodSandbox" };
        let fields = [("pod", title), ("sandbox", id), ("stage", stage), ("took_ms", &ms)];
        match end {
            Ok(()) => {
                self.metrics.prepared.fetch_add(1, Relaxed);
                log::info("pod prepared", &fields);
            }
            Err(line) => {
                self.metrics.failed.fetch_add(1, Relaxed);
                log::error("pod not prepared", &[&fields[..], &[("error", line)]].concat());
            }
        }
    }

    /// In the background: stopping a pod waits for nobody.
    fn clean_up(self: &Arc<Self>, call: &Call, pod: &PodSandbox) {
        let (plugin, id, title, limit) = (self.clone(), pod.id.clone(), pod.title(), self.limit(call));
        self.busy.fetch_add(1, Relaxed);
        tokio::spawn(async move {
            if let Err(line) = plugin.runner.clean_up(&id, limit).await {
                log::warn("not cleaned up", &[("pod", &title), ("sandbox", &id), ("error", &line)]);
            }
            plugin.release();
        });
    }

    fn release(&self) {
        if self.busy.fetch_sub(1, Relaxed) == 1 {
            self.idle.notify_waiters();
        }
    }

    /// Waits for the hooks at work, at most as long as one call may take.
    pub(crate) async fn drain(&self) {
        let idle = self.idle.notified();
        if self.busy.load(Relaxed) > 0 {
            let _ = tokio::time::timeout(Duration::from_millis(self.limit.load(Relaxed)), idle).await;
        }
    }

    /// Nine tenths of what the runtime allows: the answer has to travel too.
    fn limit(&self, call: &Call) -> Duration {
        let told = Duration::from_millis(self.limit.load(Relaxed));
        let own = if call.timeout.is_zero() { told } else { told.min(call.timeout) };
        own * 9 / 10
    }
}

/// The pod's sandbox: its pause process, else the namespace's file as the runtime sees it.
fn job(runtime: i32, pod: &PodSandbox, container: Option<&Container>) -> Result<Job, String> {
    let sandbox = if pod.pid > 1 {
        Sandbox::Pid(pod.pid)
    } else {
        let path = pod.ipc_path().or_else(|| container?.ipc_path());
        let path = path.ok_or("the runtime tells neither a process nor an IPC namespace of this pod")?;
        if runtime <= 0 {
            return Err("the runtime's process cannot be seen; the plugin needs the host's pid namespace".to_owned());
        }
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!("{path}: the IPC namespace's path must be absolute"));
        }
        Sandbox::Path(PathBuf::from(format!("/proc/{runtime}/root{path}")))
    };
    let annotations = pod.request().into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    Ok(Job { id: pod.id.clone(), annotations, sandbox, memory: pod.memory_limit() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{LinuxNamespace, LinuxPodSandbox};

    fn pod(pid: u32, path: &str) -> PodSandbox {
        let mut linux = LinuxPodSandbox::new();
        linux.namespaces = vec![LinuxNamespace { type_: "ipc".into(), path: path.into(), ..LinuxNamespace::default() }];
        PodSandbox { id: "p".into(), pid, linux: Some(linux).into(), ..PodSandbox::default() }
    }

    #[test]
    fn a_pause_process_comes_before_a_path() {
        assert_eq!(job(9, &pod(42, "/run/x"), None).unwrap().sandbox, Sandbox::Pid(42));
        let path = job(9, &pod(0, "/var/run/ipcns/x"), None).unwrap().sandbox;
        assert_eq!(path, Sandbox::Path("/proc/9/root/var/run/ipcns/x".into()));
    }

    #[test]
    fn the_answer_comes_before_the_runtimes_time_is_up() {
        let plugin = Plugin::new(Runner { hook: "/none".into(), options: Vec::new() });
        let limit = |timeout| plugin.limit(&Call { runtime: 1, timeout, started: Instant::now() });
        assert_eq!(limit(Duration::ZERO), Duration::from_millis(1800), "runtimes that do not say mean two seconds");
        let told = ConfigureRequest { request_timeout: 5000, ..ConfigureRequest::default() };
        plugin.configure(&told.write_to_bytes().unwrap()).unwrap();
        assert_eq!(limit(Duration::ZERO), Duration::from_millis(4500));
        assert_eq!(limit(Duration::from_secs(1)), Duration::from_millis(900), "a call may say less");
        assert_eq!(limit(Duration::from_secs(60)), Duration::from_millis(4500), "but not more");
    }

    #[test]
    fn without_a_way_to_the_namespace_it_says_which_is_missing() {
        assert!(job(9, &pod(0, ""), None).unwrap_err().contains("neither a process nor"));
        assert!(job(0, &pod(0, "/run/x"), None).unwrap_err().contains("host's pid namespace"));
        assert!(job(9, &pod(0, "run/x"), None).unwrap_err().contains("absolute"));
        assert!(job(9, &pod(0, "/run/../x"), None).unwrap_err().contains("absolute"));
    }
}
