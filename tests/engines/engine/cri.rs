//! A CRI client as small as the cases need it: messages written by hand, sent by curl, which speaks HTTP/2 on a Unix
//! socket. Field numbers are those of `runtime.v1` (kubernetes/cri-api, api.proto).

use crate::lab::{Lab, command};
use crate::outcome::{Outcome, Stop};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A protobuf message under construction.
#[derive(Default)]
pub struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A number; 0 is the default and is not sent.
    pub fn number(mut self, field: u64, value: u64) -> Self {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    pub fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, &value.0)
    }

    pub fn texts<'a>(self, field: u64, values: impl IntoIterator<Item = &'a String>) -> Self {
        values.into_iter().fold(self, |message, value| message.text(field, value))
    }

    /// A map of strings.
    pub fn map<'a>(self, field: u64, pairs: impl IntoIterator<Item = &'a (String, String)>) -> Self {
        let entry = |(key, value): &(String, String)| Message::default().text(1, key).text(2, value);
        pairs.into_iter().fold(self, |message, pair| message.message(field, entry(pair)))
    }
}

/// Field 1 of an answer, when it is a string: the id of what was made.
fn first_text(answer: &[u8]) -> Option<String> {
    let (tag, length) = (*answer.first()?, usize::from(*answer.get(1)?));
    // Ids have 64 characters, so that their length is one byte.
    let text = answer.get(2..2 + length).filter(|_| tag == 0x0a && length < 0x80)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// A connection's address.
pub struct Cri {
    socket: PathBuf,
}

impl Cri {
    pub fn new(socket: &Path) -> Self {
        Cri { socket: socket.to_owned() }
    }

    /// Calls a method of the runtime service; the answer's first string, or the runtime's message.
    pub fn call(&self, lab: &Lab, method: &str, message: &Message) -> Outcome<String> {
        let stem = lab.scratch.join(lab.unique("cri"));
        crate::launch::output(self.command(&stem, method, message)?)?;
        let (head, answer) = (stem.with_extension("head"), stem.with_extension("answer"));
        let head = fs::read_to_string(&head)?;
        match header(&head, "grpc-status").as_deref() {
            Some("0") => {
                let answer = fs::read(&answer)?;
                Ok(answer.get(5..).and_then(first_text).unwrap_or_default())
            }
            status => {
                let message = header(&head, "grpc-message").unwrap_or_default();
                Err(Stop::Fail(format!("{method}: grpc status {status:?}: {}", unescape(&message))))
            }
        }
    }
}

impl Cri {
    /// The call as a command, which leaves `STEM.head` and `STEM.answer`.
    pub fn command(&self, stem: &Path, method: &str, message: &Message) -> Outcome<Command> {
        let request = stem.with_extension("request");
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.0.len()).map_err(|e| Stop::Fail(e.to_string()))?.to_be_bytes());
        frame.extend(&message.0);
        fs::write(&request, frame)?;
        let mut curl = command("curl", &["--silent", "--show-error", "--http2-prior-knowledge", "--max-time", "120"]);
        curl.args(["--header", "content-type: application/grpc", "--header", "te: trailers", "--header", "expect:"]);
        curl.arg("--unix-socket").arg(&self.socket).arg("--data-binary").arg(format!("@{}", request.display()));
        curl.arg("--dump-header").arg(stem.with_extension("head"));
        curl.arg("--output").arg(stem.with_extension("answer"));
        curl.arg(format!("http://localhost/runtime.v1.RuntimeService/{method}"));
        Ok(curl)
    }
}

/// The value of a header or trailer.
fn header(head: &str, name: &str) -> Option<String> {
    let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
    head.lines().rev().find_map(value)
}

/// Undoes the percent-encoding of gRPC messages.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, hex) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
