//! The connection to the runtime: made, registered, served, made again.

use crate::api::{Event, PLUGIN_SERVICE, RUNTIME_SERVICE, RegisterPluginRequest};
use crate::log;
use crate::metrics;
use crate::mux;
use crate::options::Options;
use crate::plugin::{Call, Plugin, Refusal};
use crate::ready::Ready;
use crate::runner::Runner;
use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream;
use protobuf::Message as _;
use std::collections::HashMap;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use ttrpc::r#async::transport::{Listener, Socket};
use ttrpc::r#async::{Client, MethodHandler, Server, Service, TtrpcContext};
use ttrpc::proto::{Code, Request, Response, Status};

/// The name under which the plugin registers itself.
const NAME: &str = "oci-ipc-nri";
/// Time for the runtime to answer a registration.
const REGISTRATION: Duration = Duration::from_secs(5);
/// Pauses between attempts to connect grow from the first to the last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A socket that the runtime opened before it started us, and the identity that it gave us.
pub(crate) struct Inherited {
    stream: StdStream,
    name: String,
    index: String,
}

/// The runtime's environment for plugins that it starts itself; `None` for a plugin that has to register itself.
pub(crate) fn inherited() -> anyhow::Result<Option<Inherited>> {
    let Ok(number) = std::env::var("NRI_PLUGIN_SOCKET") else { return Ok(None) };
    let number =
        number.parse().ok().filter(|n| *n > 2).with_context(|| format!("NRI_PLUGIN_SOCKET={number}: no descriptor"))?;
    let fd = oci_ipc_hook::kernel::inherited::take(number).with_context(|| format!("NRI_PLUGIN_SOCKET={number}"))?;
    let text = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    Ok(Some(Inherited { stream: fd.into(), name: text("NRI_PLUGIN_NAME", NAME), index: text("NRI_PLUGIN_IDX", "50") }))
}

/// Serves until a signal, or until the runtime that started us closes the socket.
///
/// A plugin that is not `fit` serves but never becomes ready.
pub(crate) async fn run(options: Options, inherited: Option<Inherited>, fit: bool) -> anyhow::Result<()> {
    let plugin = Arc::new(Plugin::new(runner(&options)?));
    let ready = fit.then(|| Ready::new(options.ready_file()));
    let ready = Arc::new(Mutex::new(ready));
    if let Some(address) = options.metrics {
        tokio::spawn(metrics::serve(address, plugin.clone()));
    }
    let end = tokio::select! {
        end = serve(&options, inherited, &plugin, &ready) => end,
        end = told_to_stop() => end,
    };
    unready(&ready);
    plugin.drain().await;
    log::info("ended", &[]);
    end
}

/// Until SIGTERM or SIGINT.
pub(crate) async fn told_to_stop() -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// The readiness file, if this plugin may ever be ready.
type Readiness = Arc<Mutex<Option<Ready>>>;

fn unready(ready: &Readiness) {
    if let Some(ready) = &mut *ready.lock().unwrap_or_else(PoisonError::into_inner) {
        ready.clear();
    }
}

fn runner(options: &Options) -> anyhow::Result<Runner> {
    let hook = options.hook().context("/proc/self/exe")?;
    let pairs: [(&str, &Option<PathBuf>); 2] =
        [("--config", &options.config), ("--profiles-dir", &options.profiles_dir)];
    let given = pairs.into_iter().filter_map(|(name, value)| Some([name.into(), value.as_ref()?.into()]));
    Ok(Runner { hook, options: given.flatten().collect() })
}

async fn serve(
    options: &Options,
    inherited: Option<Inherited>,
    plugin: &Arc<Plugin>,
    ready: &Readiness,
) -> anyhow::Result<()> {
    if let Some(given) = inherited {
        given.stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(given.stream)?;
        return session(stream, &given.name, &given.index, plugin, ready).await;
    }
    let mut pause = PAUSE.0;
    let mut last = String::new();
    loop {
        let before = plugin.metrics.registrations.load(Relaxed);
        let end = match UnixStream::connect(&options.socket).await {
            Ok(stream) => session(stream, NAME, &options.index, plugin, ready).await,
            Err(error) => Err(error).with_context(|| options.socket.display().to_string()),
        };
        let why = end.err().map_or("the runtime closed the connection".to_owned(), |error| format!("{error:#}"));
        let registered = plugin.metrics.registrations.load(Relaxed) > before;
        if registered || why != last {
            log::warn("not connected", &[("error", &why)]);
            last = why;
        }
        pause = if registered { PAUSE.0 } else { (pause * 2).min(PAUSE.1) };
        tokio::time::sleep(pause).await;
    }
}

/// One connection, until it ends.
async fn session(
    stream: UnixStream,
    name: &str,
    index: &str,
    plugin: &Arc<Plugin>,
    ready: &Readiness,
) -> anyhow::Result<()> {
    let runtime = stream.peer_cred()?.pid().unwrap_or(0);
    let streams = mux::open(stream);
    let once = stream::once(async { Ok(streams.plugin) }).chain(stream::pending());
    let mut server = Server::new().add_listener(Listener::new(once)).register_service(service(plugin, ready, runtime));
    server.start().await?;
    let client = Client::new(Socket::new(streams.runtime));
    let registered = register(&client, name, index).await;
    let end = match registered {
        Ok(()) => streams.done.await.context("connection")?.context("connection"),
        Err(error) => Err(error),
    };
    plugin.metrics.connected.store(false, Relaxed);
    unready(ready);
    end
}

async fn register(client: &Client, name: &str, index: &str) -> anyhow::Result<()> {
    let mut message = RegisterPluginRequest::new();
    message.plugin_name = name.to_owned();
    message.plugin_idx = index.to_owned();
    let mut request = Request::new();
    request.service = RUNTIME_SERVICE.to_owned();
    request.method = "RegisterPlugin".to_owned();
    request.timeout_nano = i64::try_from(REGISTRATION.as_nanos()).unwrap_or(i64::MAX);
    request.payload = message.write_to_bytes()?;
    match client.request(request).await {
        Ok(_) => Ok(()),
        Err(error) => bail!("the runtime refuses the plugin: {error}"),
    }
}

/// The methods of NRI's plugin service that matter here. A runtime that calls another is told that it is not there.
const METHODS: [&str; 8] = [
    "Configure",
    "Synchronize",
    "Shutdown",
    "StateChange",
    "RunPodSandbox",
    "StopPodSandbox",
    "RemovePodSandbox",
    "CreateContainer",
];

fn service(plugin: &Arc<Plugin>, ready: &Readiness, runtime: i32) -> HashMap<String, Service> {
    let methods = METHODS.into_iter().map(|name| {
        let method = Method { name, plugin: plugin.clone(), ready: ready.clone(), runtime };
        (name.to_owned(), Box::new(method) as Box<dyn MethodHandler + Send + Sync>)
    });
    let service = Service { methods: methods.collect(), streams: HashMap::new() };
    HashMap::from([(PLUGIN_SERVICE.to_owned(), service)])
}

struct Method {
    name: &'static str,
    plugin: Arc<Plugin>,
    ready: Readiness,
    runtime: i32,
}

impl Method {
    async fn call(&self, call: Call, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
        let plugin = &self.plugin;
        match self.name {
            "Configure" => plugin.configure(payload),
            "Synchronize" => {
                let (answer, last) = plugin.synchronize(payload)?;
                if last {
                    plugin.metrics.registrations.fetch_add(1, Relaxed);
                    plugin.metrics.connected.store(true, Relaxed);
                    if let Some(ready) = &mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner) {
                        ready.set();
                    }
                }
                Ok(answer)
            }
            "StateChange" => plugin.state_change(call, payload).await,
            "RunPodSandbox" => plugin.pod_request(call, Event::RUN_POD_SANDBOX, payload).await,
            "StopPodSandbox" => plugin.pod_request(call, Event::STOP_POD_SANDBOX, payload).await,
            "RemovePodSandbox" => plugin.pod_request(call, Event::REMOVE_POD_SANDBOX, payload).await,
            "CreateContainer" => plugin.create_container(call, payload).await,
            _ => Ok(Vec::new()),
        }
    }
}

impl MethodHandler for Method {
    fn handler<'s, 'f>(&'s self, context: TtrpcContext, request: Request) -> BoxFuture<'f, ttrpc::Result<Response>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let timeout = Duration::from_nanos(u64::try_from(context.timeout_nano).unwrap_or(0));
            let call = Call { runtime: self.runtime, timeout, started: Instant::now() };
            let mut response = Response::new();
            match self.call(call, &request.payload).await {
                Ok(payload) => response.payload = payload,
                Err(Refusal::Pod(line)) => response.status = Some(status(Code::FAILED_PRECONDITION, &line)).into(),
                Err(Refusal::Malformed(error)) => {
                    response.status = Some(status(Code::INVALID_ARGUMENT, &error.to_string())).into();
                }
            }
            Ok(response)
        })
    }
}

fn status(code: Code, message: &str) -> Status {
    let mut status = Status::new();
    status.code = code.into();
    status.message = message.to_owned();
    status
}
