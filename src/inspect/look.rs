//! Looks at a namespace and changes nothing in it. Unlike the hook it also looks at the host's.

use super::{Ids, View};
use crate::containers::Container;
use crate::enter::{Target, entry_error};
use crate::error::{Error, Result};
use crate::ipc::{Existing, IdMaps, NamespaceId, Sysctl, SysctlValue};
use crate::kernel::identity::{CapSet, Capabilities};
use crate::kernel::limits::page_size;
use crate::kernel::listing::list_outside;
use crate::kernel::namespace::{Joined, NamespaceFd, OwnIds, OwnThread, Process, owner_maps};
use crate::kernel::{Ipc as _, SysError};
use nix::errno::Errno;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A namespace that was found and can be looked at.
#[derive(Debug)]
pub struct Found {
    what: String,
    process: Option<Process>,
    ns: NamespaceFd,
    pids: Vec<i32>,
}

impl Found {
    /// Finds the namespace of `target`.
    ///
    /// # Errors
    /// Exit 4: no such process or file, no permission to look.
    pub fn find(target: &Target) -> Result<Found> {
        let (what, process, ns) = match target {
            Target::Pid(pid) => {
                let what = format!("pid {pid}");
                let process = Process::open(*pid).map_err(|e| entry_error(&what, &e))?;
                let ns = process.ipc_namespace().map_err(|e| entry_error(&what, &e))?;
                (what, Some(process), ns)
            }
            Target::Path(path) => {
                let what = path.to_string_lossy().into_owned();
                let ns = NamespaceFd::from_path(path).map_err(|e| entry_error(&what, &e))?;
                (what, None, ns)
            }
            Target::Own => {
                let what = "own IPC namespace".to_owned();
                let ns = NamespaceFd::of_self().map_err(|e| entry_error(&what, &e))?;
                (what, None, ns)
            }
        };
        let pids = ns.members();
        Ok(Found { what, process, ns, pids })
    }

    /// One of several namespaces, by a process in it or by its file.
    ///
    /// # Errors
    /// As [`Found::find`].
    pub(super) fn one_of(id: NamespaceId, pids: Vec<i32>, path: Option<&Path>) -> Result<Found> {
        let what = id.to_string();
        let mut refused = SysError::new("open /proc/PID/ns/ipc", Errno::ESRCH);
        for pid in &pids {
            match Process::open(*pid).and_then(|p| p.ipc_namespace().map(|ns| (p, ns))) {
                Ok((process, ns)) if ns.id() == id => return Ok(Found { what, process: Some(process), ns, pids }),
                Ok(_) => {}
                Err(e) => refused = e,
            }
        }
        match path.map(NamespaceFd::from_path) {
            Some(Ok(ns)) if ns.id() == id => Ok(Found { what, process: None, ns, pids }),
            Some(Err(e)) => Err(entry_error(&what, &e)),
            _ => Err(entry_error(&what, &refused)),
        }
    }

    /// The namespace of a record.
    pub fn recorded(ns: NamespaceFd) -> Found {
        let (what, pids) = (ns.id().to_string(), ns.members());
        Found { what, process: None, ns, pids }
    }

    /// Joins it, if it is not this process's own, and looks. There need be no way back. `containers` are all there are.
    ///
    /// # Errors
    /// Exit 4: joining is not permitted. Exit 1: what the kernel shows cannot be read.
    pub fn look(self, containers: &[Container], with: With) -> Result<View> {
        let own = NamespaceFd::own().map_err(|e| entry_error(&self.what, &e))?;
        let (mut joined, ids) = if own == self.ns.id() {
            (Joined::join_self().map_err(|e| entry_error(&self.what, &e))?, Ids::new(IdMaps::identity(), false))
        } else {
            self.join()?
        };
        let failed = |e: SysError| Error::failed(&*self.what, e.to_string());
        let mut sysctls = [None; 13];
        for sysctl in Sysctl::ALL {
            sysctls[sysctl.index()] = read(&mut joined, sysctl).map_err(failed)?;
        }
        // Reading can have taken the place of the files' owner; as that one less is to be seen.
        joined.resume_identity().map_err(failed)?;
        let listing = list_outside(&joined).map_err(failed)?;
        let sem_values = match with {
            With::Objects => Vec::new(),
            With::Values => listing.sem.iter().map(|set| joined.sem_values(&Existing::from(set)).ok()).collect(),
        };
        let asked = self.process.as_ref().map(Process::pid);
        Ok(View {
            id: self.ns.id(),
            unique: self.ns.unique_id(),
            containers: containers.iter().filter(|c| self.pids.contains(&c.pid)).cloned().collect(),
            msgqueue_limit: asked.or(self.pids.first().copied()).and_then(msgqueue_limit),
            sysctls,
            listing,
            sem_values,
            ids,
            drift: None,
            pids: self.pids,
            page_size: page_size(),
            now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed()),
        })
    }

    fn join(&self) -> Result<(Joined, Ids)> {
        let refused = |e: SysError| entry_error(&self.what, &e);
        // A path alone does not tell whose ids the objects have: the user namespace that owns it does.
        let maps = match &self.process {
            Some(process) => process.id_maps(OwnIds::All).map_err(refused)?,
            None => owner_maps(&self.ns, OwnIds::All).map_err(refused)?,
        };
        Capabilities::own().and_then(|mut c| c.keep(CapSet::WORK)).map_err(refused)?;
        let thread = OwnThread::open().map_err(refused)?;
        let joined = Joined::join(self.process.as_ref(), &self.ns, maps.clone(), &thread).map_err(refused)?;
        let listed_inside = *joined.maps() != maps;
        Ok((joined, Ids::new(maps, listed_inside)))
    }
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Limits and objects.
    Objects,
    /// The values of semaphores too: one system call for each set.
    Values,
}

/// RLIMIT_MSGQUEUE of a process: `Max msgqueue size  819200  819200  bytes` in `/proc/PID/limits`.
fn msgqueue_limit(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let soft = text.lines().find_map(|l| l.strip_prefix("Max msgqueue size"))?.split_ascii_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// A kernel without System V IPC or without POSIX queues has not all the files.
fn read(joined: &mut Joined, sysctl: Sysctl) -> std::result::Result<Option<SysctlValue>, SysError> {
    match joined.read_sysctl(sysctl) {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.errno == Errno::ENOENT => Ok(None),
        Err(e) => Err(e),
    }
}
