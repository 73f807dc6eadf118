//! A CRI client as small as the tests need it: gRPC over HTTP/2 on a Unix socket, unary calls only.

use anyhow::{Context as _, Result, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request, Version};
use protobuf::Message;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;

#[allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
}
pub(crate) use generated::cri::*;

/// What a call may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection; clones share it.
#[derive(Clone)]
pub(crate) struct Cri(SendRequest<Bytes>);

impl Cri {
    pub(crate) async fn connect(socket: &Path) -> Result<Cri> {
        let stream = UnixStream::connect(socket).await.with_context(|| socket.display().to_string())?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Cri(sender))
    }

    /// The answer, or the runtime's own message.
    pub(crate) async fn call<A: Message>(&self, method: &str, message: &impl Message) -> Result<A> {
        tokio::time::timeout(PATIENCE, self.unary(method, message)).await.with_context(|| method.to_owned())?
    }

    async fn unary<A: Message>(&self, method: &str, message: &impl Message) -> Result<A> {
        let request = Request::post(format!("http://localhost/runtime.v1.RuntimeService/{method}"))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (response, mut body) = self.0.clone().ready().await?.send_request(request, false)?;
        body.send_data(frame(message)?, true)?;
        let (head, mut stream) = response.await?.into_parts();
        let mut data = BytesMut::new();
        while let Some(chunk) = stream.data().await {
            let chunk = chunk?;
            stream.flow_control().release_capacity(chunk.len())?;
            data.put(chunk);
        }
        let trailers = stream.trailers().await?.unwrap_or(head.headers);
        if let Some(message) = failure(&trailers) {
            bail!(message);
        }
        Ok(A::parse_from_bytes(data.get(5..).context("no answer")?)?)
    }
}

/// One gRPC message: not compressed, its length, its bytes.
fn frame(message: &impl Message) -> Result<Bytes> {
    let payload = message.write_to_bytes()?;
    let mut frame = BytesMut::with_capacity(5 + payload.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(payload.len())?);
    frame.put_slice(&payload);
    Ok(frame.freeze())
}

fn failure(trailers: &HeaderMap) -> Option<String> {
    let text = |name| trailers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => None,
        code => Some(format!("grpc status {code}: {}", text("grpc-message"))),
    }
}
