//! A daemon started by hand: its log is read for the lines that say it is ready, and it ends with this value.

use crate::lab::command;
use crate::launch::output;
use crate::outcome::{Outcome, Stop};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long a daemon may stay silent before it counts as broken.
const GIVE_UP: Duration = Duration::from_secs(60);

/// A running daemon.
pub struct Daemon {
    child: Child,
    log: Mutex<Receiver<String>>,
}

impl Daemon {
    /// Starts it and waits for a line of its log that contains `ready`.
    pub fn start(mut command: Command, ready: &str) -> Outcome<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|e| Stop::Fail(format!("{}: {e}", command.get_program().to_string_lossy())))?;
        let (sender, log) = channel();
        if let Some(stderr) = child.stderr.take() {
            // Reads to the end whatever happens: a daemon must never block on its log.
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        let daemon = Daemon { child, log: Mutex::new(log) };
        daemon.wait_for(ready)?;
        Ok(daemon)
    }

    /// Waits for a line that contains `words` and was logged after those seen before.
    pub fn wait_for(&self, words: &str) -> Outcome {
        let log = self.log.lock().map_err(|e| Stop::Fail(e.to_string()))?;
        let mut last = String::new();
        loop {
            match log.recv_timeout(GIVE_UP) {
                Ok(line) if line.contains(words) => return Ok(()),
                Ok(line) => last = line,
                Err(e) => {
                    return Err(Stop::Fail(format!("the daemon never said '{words}' ({e}); its last line: {last}")));
                }
            }
        }
    }

    /// Asks it to read its configuration again.
    pub fn reload(&self) -> Outcome {
        output(command("kill", &["-HUP", &self.child.id().to_string()])).map(drop)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A daemon that is gone already needs no end.
        let _ = output(command("kill", &["-TERM", &self.child.id().to_string()]));
        let _ = self.child.wait();
    }
}
