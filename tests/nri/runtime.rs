//! A runtime's end of NRI: the plugin's binary under test at the other end of a socket, with real frames.

use crate::api::*;
use crate::mux;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream;
use protobuf::Message;
use std::collections::HashMap;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use ttrpc::r#async::transport::{Listener, Socket};
use ttrpc::r#async::{Client, MethodHandler, Server, Service, TtrpcContext};
use ttrpc::proto::{Request, Response};

/// What a test gives a call before it is lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One connection of a registered plugin.
pub(crate) struct Connection {
    client: Client,
    _server: Server,
    registrations: mpsc::UnboundedReceiver<RegisterPluginRequest>,
    trunk: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Connection {
    pub(crate) async fn over(stream: UnixStream) -> Connection {
        let streams = mux::open(stream);
        let (sender, registrations) = mpsc::unbounded_channel();
        let method: Box<dyn MethodHandler + Send + Sync> = Box::new(Register(sender));
        let service =
            Service { methods: HashMap::from([("RegisterPlugin".to_owned(), method)]), streams: HashMap::new() };
        let once = stream::once(async { Ok(streams.runtime) }).chain(stream::pending());
        let mut server = Server::new()
            .add_listener(Listener::new(once))
            .register_service(HashMap::from([(RUNTIME_SERVICE.to_owned(), service)]));
        server.start().await.unwrap();
        Connection {
            client: Client::new(Socket::new(streams.plugin)),
            _server: server,
            registrations,
            trunk: streams.done,
        }
    }

    /// The registration, Configure with the request timeout given in milliseconds, and Synchronize.
    pub(crate) async fn greet(&mut self, timeout: i64, pods: Vec<PodSandbox>, containers: Vec<Container>) {
        self.registration().await;
        self.configure(timeout).await;
        let request = SynchronizeRequest { pods, containers, ..SynchronizeRequest::default() };
        let _: SynchronizeResponse = self.call("Synchronize", &request).await.unwrap();
    }

    pub(crate) async fn registration(&mut self) -> RegisterPluginRequest {
        tokio::time::timeout(PATIENCE, self.registrations.recv()).await.unwrap().unwrap()
    }

    pub(crate) async fn configure(&self, timeout: i64) -> ConfigureResponse {
        let mut request = ConfigureRequest::new();
        request.runtime_name = "test".into();
        request.request_timeout = timeout;
        self.call("Configure", &request).await.unwrap()
    }

    /// The answer, or the message of the error.
    pub(crate) async fn call<A: Message>(&self, method: &str, request: &impl Message) -> Result<A, String> {
        let payload = self.raw(method, request.write_to_bytes().unwrap()).await?;
        Ok(A::parse_from_bytes(&payload).unwrap())
    }

    pub(crate) async fn raw(&self, method: &str, payload: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut request = Request::new();
        request.service = PLUGIN_SERVICE.into();
        request.method = method.into();
        request.timeout_nano = PATIENCE.as_nanos() as i64;
        request.payload = payload;
        match self.client.request(request).await {
            Ok(response) => Ok(response.payload),
            Err(ttrpc::Error::RpcStatus(status)) => Err(status.message),
            Err(error) => panic!("{method}: {error}"),
        }
    }

    pub(crate) async fn run_pod(&self, pod: &PodSandbox) -> Result<Empty, String> {
        self.call("RunPodSandbox", &PodRequest { pod: Some(pod.clone()).into(), ..PodRequest::default() }).await
    }

    pub(crate) async fn remove_pod(&self, pod: &PodSandbox) -> Result<Empty, String> {
        self.call("RemovePodSandbox", &PodRequest { pod: Some(pod.clone()).into(), ..PodRequest::default() }).await
    }

    pub(crate) async fn create_container(&self, pod: &PodSandbox) -> Result<Empty, String> {
        let container = Container { name: "app".into(), pod_sandbox_id: pod.id.clone(), ..Container::default() };
        let request = CreateContainerRequest {
            pod: Some(pod.clone()).into(),
            container: Some(container).into(),
            ..CreateContainerRequest::default()
        };
        self.call("CreateContainer", &request).await
    }

    /// Closes the socket, as a runtime that ends does.
    pub(crate) async fn close(self) {
        self.trunk.abort();
        let _ = self.trunk.await;
    }

    /// Waits until the plugin closes the socket.
    pub(crate) async fn closed(self) {
        let _ = tokio::time::timeout(PATIENCE, self.trunk).await.unwrap();
    }
}

struct Register(mpsc::UnboundedSender<RegisterPluginRequest>);

impl MethodHandler for Register {
    fn handler<'s, 'f>(&'s self, _: TtrpcContext, request: Request) -> BoxFuture<'f, ttrpc::Result<Response>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let message = RegisterPluginRequest::parse_from_bytes(&request.payload).unwrap();
            let _ = self.0.send(message);
            Ok(Response::new())
        })
    }
}
