//! A stand-in for journald: receives the events that the hook sends, so that a case can read them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Mutex;

const SOCKET: &str = "/run/systemd/journal/socket";

/// The log socket of the private `/run`.
pub struct Log {
    socket: UnixDatagram,
    events: Mutex<Vec<String>>,
}

impl Log {
    /// Listens where journald does, for every user.
    pub fn listen() -> std::io::Result<Self> {
        if let Some(directory) = Path::new(SOCKET).parent() {
            fs::create_dir_all(directory)?;
        }
        let socket = UnixDatagram::bind(SOCKET)?;
        fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o666))?;
        socket.set_nonblocking(true)?;
        Ok(Log { socket, events: Mutex::default() })
    }

    /// All events so far that contain `word`. A datagram is in the socket's buffer before its sender goes on, so
    /// there is nothing to wait for.
    pub fn events(&self, word: &str) -> Vec<String> {
        let Ok(mut events) = self.events.lock() else { return Vec::new() };
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            events.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        events.iter().filter(|event| event.contains(word)).cloned().collect()
    }
}
