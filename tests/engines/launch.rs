//! A container's foreground command: started, read up to the end of the workload's report, ended.

use crate::outcome::{Outcome, Stop};
use crate::seen::Seen;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::mem;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long an engine may take before a case gives it up; not a measure of anything.
const GIVE_UP: Duration = Duration::from_secs(120);

/// A started container: over, or held until it is stopped.
pub struct Launch {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
    after: Vec<Command>,
    notes: String,
    log: Option<PathBuf>,
    /// What the workload has reported so far.
    pub seen: Seen,
}

/// A container that has come to its end.
pub struct Finished {
    pub seen: Seen,
    /// The engine said so, and the workload came to its end.
    pub success: bool,
    pub status: ExitStatus,
    /// The engine's stderr, and stdout as far as it is not the workload's report.
    pub text: String,
}

impl Launch {
    /// Starts `command` and reads until the workload's report is complete or its output ends.
    pub fn start(command: Command) -> Outcome<Self> {
        let mut launch = Launch::spawn(command)?;
        launch.read(|seen| seen.complete)?;
        Ok(launch)
    }

    /// Starts `command`, which only carries the workload's output, and beside it the container by `action`, whose error
    /// is the engine's text of a failed start.
    pub fn start_beside(command: Command, action: impl FnOnce() -> Outcome) -> Outcome<Self> {
        let mut launch = Launch::spawn(command)?;
        match action() {
            Ok(()) => launch.read(|seen| seen.complete)?,
            Err(stop) => {
                launch.child.kill()?;
                launch.notes.push_str(stop.text());
            }
        }
        Ok(launch)
    }

    fn spawn(mut command: Command) -> Outcome<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|e| Stop::Fail(format!("{}: {e}", command.get_program().to_string_lossy())))?;
        let (line_sender, lines) = channel();
        let (error_sender, errors) = channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if line_sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        if let Some(mut stderr) = child.stderr.take() {
            thread::spawn(move || {
                let mut text = Vec::new();
                // A read error ends the text early; what came before is still worth showing.
                let _ = stderr.read_to_end(&mut text);
                error_sender.send(String::from_utf8_lossy(&text).into_owned())
            });
        }
        Ok(Launch { child, lines, errors, after: Vec::new(), notes: String::new(), log: None, seen: Seen::default() })
    }

    /// The same when the command itself has ended; the container may live on.
    pub fn command_ended(mut self) -> Outcome<Self> {
        self.child.wait()?;
        Ok(self)
    }

    /// The same, with a command to run when the container has ended.
    pub fn then(mut self, after: Command) -> Self {
        self.after.push(after);
        self
    }

    /// The same, with the engine's log of the workload, for engines that may lose what a quick workload prints.
    pub fn logged(mut self, log: PathBuf) -> Self {
        self.log = Some(log);
        self
    }

    fn read_log(&mut self) -> Outcome {
        let Some(log) = self.log.as_ref().filter(|log| !self.seen.complete && log.exists()) else { return Ok(()) };
        // TIME STREAM F TEXT
        for line in fs::read_to_string(log)?.lines() {
            if let Some(text) = line.splitn(4, ' ').nth(3) {
                self.seen.add(text);
            }
        }
        Ok(())
    }

    fn read(&mut self, enough: impl Fn(&Seen) -> bool) -> Outcome {
        while !enough(&self.seen) {
            match self.lines.recv_timeout(GIVE_UP) {
                Ok(line) => self.seen.add(&line),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    self.child.kill()?;
                    return Err(Stop::Fail(format!("no end of output within {} s", GIVE_UP.as_secs())));
                }
            }
        }
        Ok(())
    }

    /// Reads on to the end and waits for the command.
    pub fn finish(mut self) -> Outcome<Finished> {
        self.read(|_| false)?;
        let status = self.child.wait()?;
        self.read_log()?;
        let mut text = self.errors.recv_timeout(GIVE_UP).unwrap_or_default();
        text.push_str(&self.notes);
        for mut after in mem::take(&mut self.after) {
            let out = after.output()?;
            text.push_str(&String::from_utf8_lossy(&out.stderr));
        }
        for line in &self.seen.other {
            text.push_str(line);
            text.push('\n');
        }
        Ok(Finished { success: status.success() && self.seen.complete, status, seen: self.seen, text })
    }
}

/// Reads what `command` prints until the workload's report has ended `times`, then ends the command.
pub fn follow(command: Command, times: usize) -> Outcome<String> {
    let (mut text, mut ends) = (String::new(), 0);
    let mut launch = Launch::spawn(command)?;
    while ends < times {
        let Ok(line) = launch.lines.recv_timeout(GIVE_UP) else { break };
        ends += usize::from(line.contains("\"type\":\"end\""));
        text.push_str(&line);
        text.push('\n');
    }
    launch.child.kill()?;
    launch.child.wait()?;
    if ends < times {
        text.push_str(&launch.errors.recv_timeout(GIVE_UP).unwrap_or_default());
        return Err(Stop::Fail(format!("the log has {ends} reports instead of {times}: {text}")));
    }
    Ok(text)
}

/// Runs a command to its end; its stdout, or a failure that shows what it printed.
pub fn output(mut command: Command) -> Outcome<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().map_err(|e| Stop::Fail(format!("{program}: {e}")))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    let text = [&out.stderr[..], &out.stdout[..]].map(String::from_utf8_lossy).concat();
    Err(Stop::Fail(format!("{program} {}: {}: {}", args.join(" "), out.status, text.trim())))
}
