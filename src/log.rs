//! One event per run, for whoever asks later why a container did not start: crun throws a hook's stderr away.

use crate::apply::{Ending, Outcome};
use crate::error::Error;
use crate::ipc::{NamespaceId, ObjectId};
use crate::plan::render::SpecText;
use crate::plan::{Action, Change, Plan};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use std::fmt::Write as _;
use std::os::fd::AsRawFd;

/// journald's socket for its native protocol.
pub const JOURNAL: &str = "/run/systemd/journal/socket";
/// The socket of a syslog daemon.
pub const SYSLOG: &str = "/dev/log";
/// Most changes that are listed one by one; the record holds all.
const MAX_CHANGES: usize = 100;

/// What is said of a run.
#[derive(Debug)]
pub struct Event<'e> {
    /// Container id.
    pub container: &'e str,
    /// Its namespace, if it was found.
    pub namespace: Option<NamespaceId>,
    /// `done`, `undone`, `partial`, `refused`.
    pub outcome: &'static str,
    /// The error line.
    pub error: Option<&'e Error>,
    /// What was planned; only what was done is listed.
    pub plan: Option<&'e Plan>,
    /// Microseconds since the start of the run.
    pub duration_usec: u64,
}

/// The word for an outcome.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome.ending {
        Ending::Done => "done",
        Ending::Undone => "undone",
        Ending::Partial => "partial",
    }
}

impl Event<'_> {
    /// Sends the event to journald, else to syslog; `false` when neither took it. Never fails a run.
    pub fn send(&self) -> bool {
        send(JOURNAL, self.journal().as_bytes()) || send(SYSLOG, self.syslog().as_bytes())
    }

    fn priority(&self) -> u8 {
        match (self.error, self.plan.is_some_and(|p| !p.warnings.is_empty())) {
            (Some(_), _) => 3,
            (None, true) => 4,
            (None, false) => 6,
        }
    }

    fn message(&self) -> String {
        let container = crate::text::escape(self.container);
        match self.error {
            Some(error) => format!("{container}: {error}"),
            None => {
                let steps = self.plan.map_or(&[][..], |p| &p.steps[..]);
                let count = |action| steps.iter().filter(|s| s.action == action).count();
                format!(
                    "{container}: {} sysctls set, {} objects created, {} replaced, {} as they were",
                    count(Action::Set),
                    count(Action::Create),
                    count(Action::Replace),
                    count(Action::None)
                )
            }
        }
    }

    /// journald's native protocol: `KEY=value` lines; nothing of ours holds a newline, because hostile text is escaped.
    fn journal(&self) -> String {
        let mut out = String::with_capacity(2048);
        let _ = writeln!(out, "MESSAGE={}", self.message());
        let _ = writeln!(out, "PRIORITY={}", self.priority());
        out.push_str("SYSLOG_IDENTIFIER=oci-ipc-hook\n");
        let _ = writeln!(out, "CONTAINER_ID={}", crate::text::escape(self.container));
        if let Some(namespace) = self.namespace {
            let _ = writeln!(out, "IPC_NS={}", namespace.ino);
        }
        let _ = writeln!(out, "OUTCOME={}", self.outcome);
        let _ = writeln!(out, "DURATION_USEC={}", self.duration_usec);
        if let Some(error) = self.error {
            let _ = writeln!(out, "EXIT_STATUS={}", error.exit() as u8);
        }
        self.changes(&mut out);
        for warning in self.plan.map_or(&[][..], |p| &p.warnings[..]) {
            let _ = writeln!(out, "WARNING={}", crate::text::escape(warning));
        }
        out
    }

    fn changes(&self, out: &mut String) {
        let Some(plan) = self.plan.filter(|_| self.error.is_none()) else { return };
        let mut changed = plan.steps.iter().filter(|s| s.action != Action::None);
        for step in changed.by_ref().take(MAX_CHANGES) {
            let _ = match &step.change {
                Change::Sysctl { sysctl, before, wanted } => writeln!(out, "CHANGE={sysctl} {before} -> {wanted}"),
                Change::Object { spec, .. } => {
                    let _ = write!(out, "CHANGE={} ", step.action.name());
                    // Of all that is written here only a queue's name can come from a stranger.
                    match &spec.id {
                        ObjectId::Mqueue(name) => out.extend(["mqueue ", &crate::text::escape(name.as_str())]),
                        id => drop(write!(out, "{id}")),
                    }
                    writeln!(out, ": {}", SpecText(spec))
                }
            };
        }
        match changed.count() {
            0 => {}
            more => drop(writeln!(out, "CHANGE=and {more} more")),
        }
    }

    /// RFC 3164 as local daemons take it; facility daemon.
    fn syslog(&self) -> String {
        let facility_daemon = 3 << 3;
        format!("<{}>oci-ipc-hook[{}]: {}", facility_daemon | self.priority(), std::process::id(), self.message())
    }
}

fn send(path: &str, datagram: &[u8]) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let Ok(fd) = socket(AddressFamily::Unix, SockType::Datagram, flags, None) else { return false };
    UnixAddr::new(path).is_ok_and(|address| sendto(fd.as_raw_fd(), datagram, &address, MsgFlags::MSG_NOSIGNAL).is_ok())
}
