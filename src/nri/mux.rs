//! NRI's multiplexing: several byte streams over one socket. Each frame is the stream's number and the payload's length,
//! both 32 bits big endian, and the payload.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;

/// The stream on which the runtime calls the plugin.
pub(crate) const PLUGIN: u32 = 1;
/// The stream on which the plugin calls the runtime.
pub(crate) const RUNTIME: u32 = 2;

/// The other side's reader takes a whole frame into its buffer of this size, or fails.
const FRAME: usize = 4096;
/// Bytes that wait inside for a stream's reader.
const BUFFER: usize = 16 * 1024;
/// A frame carries at most one ttrpc message: a header of 10 bytes and 4 MiB.
const LIMIT: u32 = 10 + (4 << 20);

/// Both streams of a connection, to be used like sockets.
pub(crate) struct Streams {
    pub(crate) plugin: DuplexStream,
    pub(crate) runtime: DuplexStream,
    /// Ends when the connection ends, and says why.
    pub(crate) done: tokio::task::JoinHandle<Result<()>>,
}

/// Starts carrying frames over `trunk`.
pub(crate) fn open(trunk: UnixStream) -> Streams {
    let (plugin, plugin_inside) = duplex(BUFFER);
    let (runtime, runtime_inside) = duplex(BUFFER);
    Streams { plugin, runtime, done: tokio::spawn(carry(trunk, plugin_inside, runtime_inside)) }
}

/// Until one direction ends; the streams then read end of file.
async fn carry(trunk: UnixStream, plugin: DuplexStream, runtime: DuplexStream) -> Result<()> {
    let (from_trunk, to_trunk) = trunk.into_split();
    let to_trunk = Arc::new(Mutex::new(to_trunk));
    let (from_plugin, to_plugin) = split(plugin);
    let (from_runtime, to_runtime) = split(runtime);
    tokio::select! {
        end = sort(from_trunk, to_plugin, to_runtime) => end,
        end = wrap(PLUGIN, from_plugin, &to_trunk) => end,
        end = wrap(RUNTIME, from_runtime, &to_trunk) => end,
    }
}

/// Takes frames apart. Streams that nobody opened are skipped, as the other side does.
async fn sort(
    mut trunk: OwnedReadHalf,
    mut plugin: WriteHalf<DuplexStream>,
    mut runtime: WriteHalf<DuplexStream>,
) -> Result<()> {
    let mut buffer = [0; FRAME];
    loop {
        let stream = match trunk.read_u32().await {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut left = trunk.read_u32().await?;
        if left > LIMIT {
            return Err(Error::new(ErrorKind::InvalidData, format!("frame of {left} bytes, more than {LIMIT}")));
        }
        while left > 0 {
            let want = buffer.len().min(left as usize);
            let part = &mut buffer[..want];
            trunk.read_exact(part).await?;
            left -= part.len() as u32;
            match stream {
                PLUGIN => plugin.write_all(part).await?,
                RUNTIME => runtime.write_all(part).await?,
                _ => {}
            }
        }
    }
}

/// Puts one stream's bytes into frames.
async fn wrap(stream: u32, mut from: ReadHalf<DuplexStream>, trunk: &Mutex<OwnedWriteHalf>) -> Result<()> {
    let mut frame = vec![0; 8 + FRAME];
    frame[..4].copy_from_slice(&stream.to_be_bytes());
    loop {
        let length = from.read(&mut frame[8..]).await?;
        if length == 0 {
            return Ok(());
        }
        frame[4..8].copy_from_slice(&(length as u32).to_be_bytes());
        trunk.lock().await.write_all(&frame[..8 + length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    fn frame(stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u32;
        [&stream.to_be_bytes()[..], &length.to_be_bytes(), payload].concat()
    }

    #[test]
    fn frames_reach_their_stream_and_unknown_ones_are_skipped() {
        run(async {
            let (mut far, near) = UnixStream::pair().unwrap();
            let mut streams = open(near);
            let mut bytes = frame(7, b"nobody");
            bytes.extend(frame(RUNTIME, b"two"));
            bytes.extend(frame(PLUGIN, &[b'x'; 3 * FRAME + 1]));
            far.write_all(&bytes).await.unwrap();
            let mut two = [0; 3];
            streams.runtime.read_exact(&mut two).await.unwrap();
            assert_eq!(&two, b"two");
            let mut long = [0; 3 * FRAME + 1];
            streams.plugin.read_exact(&mut long).await.unwrap();
            assert!(long.iter().all(|byte| *byte == b'x'));
        });
    }

    #[test]
    fn no_frame_is_larger_than_the_other_sides_buffer() {
        run(async {
            let (mut far, near) = UnixStream::pair().unwrap();
            let mut streams = open(near);
            streams.plugin.write_all(&[1; 10_000]).await.unwrap();
            let mut got = 0;
            while got < 10_000 {
                assert_eq!(far.read_u32().await.unwrap(), PLUGIN);
                let length = far.read_u32().await.unwrap() as usize;
                assert!((1..=4096).contains(&length), "{length}");
                far.read_exact(&mut vec![0; length]).await.unwrap();
                got += length;
            }
        });
    }

    #[test]
    fn a_frame_beyond_every_message_ends_the_connection() {
        run(async {
            let (mut far, near) = UnixStream::pair().unwrap();
            let streams = open(near);
            far.write_all(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
            assert_eq!(streams.done.await.unwrap().unwrap_err().kind(), ErrorKind::InvalidData);
        });
    }

    #[test]
    fn both_streams_end_with_the_socket() {
        run(async {
            let (far, near) = UnixStream::pair().unwrap();
            let mut streams = open(near);
            drop(far);
            assert!(streams.done.await.unwrap().is_ok());
            let mut rest = Vec::new();
            assert_eq!(streams.plugin.read_to_end(&mut rest).await.unwrap(), 0);
            assert_eq!(streams.runtime.read_to_end(&mut rest).await.unwrap(), 0);
        });
    }
}
