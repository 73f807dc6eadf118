//! A stand-in for journald: receives the events that the hook sends, so that a case can read them.

use std::fs;
use std::io::Result;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Sent to ourselves to learn that all events before it are in.
const MARK: &[u8] = b"mark";

/// The log socket of the private `/run`.
pub struct Log {
    inbox: Mutex<Inbox>,
}

struct Inbox {
    arriving: Receiver<Vec<u8>>,
    events: Vec<String>,
}

impl Log {
    /// Listens where journald does, for every user. A thread keeps the socket's short queue empty.
    pub fn listen() -> Result<Self> {
        if let Some(directory) = Path::new(SOCKET).parent() {
            fs::create_dir_all(directory)?;
        }
        let socket = UnixDatagram::bind(SOCKET)?;
        fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o666))?;
        let (sender, arriving) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            while let Ok(length) = socket.recv(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Log { inbox: Mutex::new(Inbox { arriving, events: Vec::new() }) })
    }

    /// All events so far of the container with this name.
    pub fn events(&self, container: &str) -> Vec<String> {
        let Ok(mut inbox) = self.inbox.lock() else { return Vec::new() };
        if UnixDatagram::unbound().and_then(|socket| socket.send_to(MARK, SOCKET)).is_ok() {
            while let Ok(event) = inbox.arriving.recv() {
                if event == MARK {
                    break;
                }
                inbox.events.push(String::from_utf8_lossy(&event).into_owned());
            }
        }
        inbox.events.iter().filter(|event| event.contains(container)).cloned().collect()
    }
}
