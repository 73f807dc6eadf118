//! The demonstration's container process: makes its namespaces (unless a runtime did), waits, prints what it sees.

use super::super::output::print;
use super::PROFILE;
use crate::error::{Error, Exit, Result};
use crate::ipc::{Existing, Kind, ObjectId, Sysctl};
use crate::kernel::Ipc as _;
use crate::kernel::namespace::{Joined, NamespaceFd};
use crate::request::Profile;
use crate::request::profile::administrators;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use std::fmt::Write as _;
use std::io::Read as _;

/// The line after which the workload waits for the end of its input.
pub(super) const READY: &str = "ready";

pub(super) fn run() -> Result<Exit> {
    let in_container = NamespaceFd::own().is_ok_and(|id| id.ino != crate::ipc::NamespaceId::INITIAL_INO);
    if !in_container {
        new_namespaces()?;
        print(&(look()? + READY + "\n"))?;
        let mut rest = Vec::new();
        std::io::stdin().read_to_end(&mut rest).map_err(|e| Error::failed("standard input", e.to_string()))?;
    }
    print(&look()?)?;
    Ok(Exit::Done)
}

/// An IPC namespace; for an ordinary user inside a user namespace of its own, as root there.
fn new_namespaces() -> Result<()> {
    let ids = (nix::unistd::getuid(), nix::unistd::getgid());
    let failed = |what: &str, e: &dyn std::fmt::Display| Error::unsupported(what, e.to_string());
    match unshare(CloneFlags::CLONE_NEWIPC) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => {}
        Err(e) => return Err(failed("unshare", &e)),
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWIPC).map_err(|e| failed("unshare", &e))?;
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {} 1", ids.0)),
        ("/proc/self/gid_map", format!("0 {} 1", ids.1)),
    ] {
        std::fs::write(file, text).map_err(|e| failed(file, &e))?;
    }
    Ok(())
}

/// All sysctls, and the objects of the demonstration's profile.
fn look() -> Result<String> {
    let mut ns = Joined::join_self().map_err(|e| Error::failed("own namespace", e.to_string()))?;
    let mut out = String::new();
    for sysctl in Sysctl::ALL {
        match ns.read_sysctl(sysctl) {
            Ok(value) => drop(writeln!(out, "{:<26} {value}", sysctl.name())),
            Err(e) => drop(writeln!(out, "{:<26} not here ({e})", sysctl.name())),
        }
    }
    for file in ["shm", "sem", "msg"] {
        let text = std::fs::read_to_string(format!("/proc/sysvipc/{file}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split_ascii_whitespace().take(4).collect();
            let _ = writeln!(out, "/proc/sysvipc/{file}: key id mode size… = {}", words.join(" "));
        }
    }
    for wish in Profile::parse_toml("demo.toml", PROFILE, &administrators("demo"))?.objects {
        if let Some(object) = ns.find(&wish.id).map_err(|e| Error::failed(wish.id.to_string(), e.to_string()))? {
            let values = match object.kind {
                Kind::Sem => ns.sem_values(&object).map_err(|e| Error::failed("semctl", e.to_string()))?,
                _ => Vec::new(),
            };
            let _ = writeln!(out, "{}", describe(&wish.id, &object, &values));
        }
    }
    Ok(out)
}

fn describe(id: &ObjectId, object: &Existing, values: &[u16]) -> String {
    let Existing { owner, mode, extent, message_size, otime, .. } = object;
    let shape = match object.kind {
        Kind::Shm => format!("{extent} bytes"),
        Kind::Sem => format!("values {values:?}, initialised: {}", if *otime > 0 { "yes" } else { "no" }),
        Kind::Msg => format!("holds {extent} bytes"),
        Kind::Mqueue => format!("holds {extent} messages of {message_size} bytes"),
    };
    format!("{id}: {shape}, mode {mode}, owner {owner}")
}
