//! From "this container" to "inside its IPC namespace": identity checks, lock, capabilities, setns.

mod keys;

use crate::error::{Error, Result};
use crate::ipc::{IdMaps, NamespaceId, Owner};
use crate::kernel::cgroup::MemoryGroup;
use crate::kernel::identity::{CapSet, Capabilities, effective_ids};
use crate::kernel::namespace::{Joined, LockResult, NamespaceFd, OwnIds, OwnThread, Patience, Process, owner_maps};
use crate::kernel::{SysError, general_remedy};
use crate::kernel::{cgroup, limits};
use crate::oci::{IpcNamespace, Spec};
use crate::report::Namespace;
use crate::request::Memory;
use nix::errno::Errno;
use std::path::PathBuf;
use std::time::Duration;

/// How long a run waits for others in the same namespace. Each needs milliseconds.
const PATIENCE: Patience = Patience { holder: Duration::from_secs(1), total: Duration::from_secs(10) };

/// Whose namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// That of a process.
    Pid(i32),
    /// A namespace file.
    Path(PathBuf),
    /// Our own: we are in the container.
    Own,
}

/// A namespace that was found and locked, not yet joined.
#[derive(Debug)]
pub struct Found {
    process: Option<Process>,
    ns: NamespaceFd,
    /// This one, which joins.
    thread: OwnThread,
    /// Others use it too.
    pub shared: bool,
    own: bool,
}

impl Found {
    /// Finds the namespace and makes sure that it is not the host's.
    ///
    /// # Errors
    /// Exit 4: host IPC, a dead process, a kernel without IPC namespaces, no permission to look. Exit 1: somebody holds
    /// the lock.
    pub fn find(target: &Target, spec: Option<&Spec>) -> Result<Found> {
        let (process, ns) = match target {
            Target::Pid(pid) => {
                let refused = |e: SysError| entry_error(&format!("pid {pid}"), &e);
                let process = Process::open(*pid).map_err(refused)?;
                let ns = process.ipc_namespace().map_err(refused)?;
                (Some(process), ns)
            }
            Target::Path(path) => {
                let ns = NamespaceFd::from_path(path).map_err(|e| entry_error(&path.to_string_lossy(), &e))?;
                (None, ns)
            }
            Target::Own => (None, NamespaceFd::of_self().map_err(|e| entry_error("own IPC namespace", &e))?),
        };
        let thread = OwnThread::open().map_err(|e| entry_error("own process", &e))?;
        let own_id = thread.ipc_namespace().map_err(|e| entry_error("own IPC namespace", &e))?;
        let own = *target == Target::Own;
        refuse_host(&ns.id(), &own_id, own, spec, process.as_ref())?;
        let shared = match (spec.map(|s| &s.ipc), &process) {
            (Some(IpcNamespace::Path(_)), _) => true,
            (Some(_), _) => false,
            (None, Some(process)) => used_by_others(process, &ns)?,
            (None, None) => true,
        };
        Ok(Found { process, ns, thread, shared, own })
    }

    /// Keeps other runs out of this namespace until this one ends.
    ///
    /// # Errors
    /// Exit 1 when another run holds the lock for a second, naming it; or after ten seconds, whoever held it.
    pub fn lock(&self) -> Result<()> {
        match self.ns.lock(PATIENCE).map_err(|e| self.refused(&e))? {
            LockResult::Locked => Ok(()),
            LockResult::Busy(holder) => {
                let holder = holder.map_or_else(|| "another process".to_owned(), |pid| format!("pid {pid}"));
                Err(Error::failed(
                    self.ns.id().to_string(),
                    "another run holds the lock of this namespace for more than a second",
                )
                .found(format!("locked by {holder}"))
                .remedy("see what that process does, and start the container again"))
            }
        }
    }

    /// The namespace itself.
    pub fn namespace(&self) -> &NamespaceFd {
        &self.ns
    }

    /// Which namespace.
    pub fn id(&self) -> NamespaceId {
        self.ns.id()
    }

    /// For reports.
    pub fn report(&self) -> Namespace {
        Namespace::new(self.ns.id(), self.ns.unique_id(), self.shared)
    }

    /// Memory that formulas are computed from: the smallest of the one stated, config.json's limit,
    /// the cgroups' and all there is.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn memory(&self, spec: Option<&Spec>, stated: Option<u64>) -> Result<Memory> {
        let memory = host_memory(spec, stated)?;
        let Some(process) = &self.process else { return Ok(memory) };
        let limit = cgroup::memory_limit(process, self.shared);
        let limit = limit.map_err(|e| Error::failed("memory limit of the cgroup", e.to_string()))?;
        Ok(smaller(memory, limit, "the memory limit of its cgroup"))
    }

    /// The control group that pays for the memory of the container's process; `None` = not known.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn memory_group(&self) -> Result<Option<MemoryGroup>> {
        let Some(process) = &self.process else { return Ok(None) };
        MemoryGroup::of(process).map_err(|e| Error::failed("control group of the container", e.to_string()))
    }

    /// True when nothing is joined: we are in the container, and so is our control group.
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// Owner of objects that name none, in the container's ids.
    pub fn default_owner(&self, spec: Option<&Spec>) -> Option<Owner> {
        match spec {
            Some(spec) => Some(spec.user.unwrap_or(Owner { uid: 0, gid: 0 })),
            None => self.own.then(effective_ids),
        }
    }

    fn refused(&self, error: &SysError) -> Error {
        entry_error(&self.ns.id().to_string(), error)
    }

    /// Joins the namespace. There is no way back for this process. `own` is what must be known of this process's own ids
    /// where they are the container's too.
    ///
    /// # Errors
    /// Exit 4: not permitted, with what is missing; the ids of a namespace given by its file have no meaning yet.
    pub fn join(&self, own: OwnIds) -> Result<Joined> {
        if self.own {
            return own.maps().and_then(Joined::stay).map_err(|e| self.refused(&e));
        }
        let mut capabilities = Capabilities::own().map_err(|e| self.refused(&e))?;
        capabilities.keep(CapSet::WORK).map_err(|e| self.refused(&e))?;
        let maps = match &self.process {
            Some(process) => process.id_maps(own).map_err(|e| self.refused(&e))?,
            None => self.owner_maps(own)?,
        };
        Joined::join(self.process.as_ref(), &self.ns, maps, &self.thread).map_err(|e| self.refused(&e))
    }

    fn owner_maps(&self, own: OwnIds) -> Result<IdMaps> {
        let maps = owner_maps(&self.ns, own).map_err(|e| self.refused(&e))?;
        if maps.uid.is_empty() || maps.gid.is_empty() {
            let why = "the user namespace that owns it has no id maps yet, so that owners mean nothing there";
            return Err(Error::unsupported(self.ns.id().to_string(), why)
                .remedy("write its uid_map and gid_map first, see user_namespaces(7)"));
        }
        Ok(maps)
    }
}

/// The smallest of config.json's memory limit, the one stated, and all memory of the machine.
///
/// # Errors
/// The kernel does not tell.
pub fn host_memory(spec: Option<&Spec>, stated: Option<u64>) -> Result<Memory> {
    let total = limits::memory_total().map_err(|e| Error::failed("memory", e.to_string()))?;
    let memory = Memory { bytes: total, from: "MemTotal".to_owned(), page_size: limits::page_size() };
    let memory = smaller(memory, spec.and_then(|s| s.memory_limit), "linux.resources.memory.limit of config.json");
    Ok(smaller(memory, stated, "--memory"))
}

fn smaller(memory: Memory, limit: Option<u64>, from: &str) -> Memory {
    match limit {
        Some(bytes) if bytes < memory.bytes => Memory { bytes, from: from.to_owned(), ..memory },
        _ => memory,
    }
}

/// Without config.json: a member of the IPC namespace that lives in another PID namespace is another container's.
fn used_by_others(process: &Process, ns: &NamespaceFd) -> Result<bool> {
    let pid_ns = process.pid_namespace().map_err(|e| entry_error(&format!("pid {}", process.pid()), &e))?;
    Ok(ns.member_outside(pid_ns).is_some())
}

fn refuse_host(
    id: &NamespaceId,
    own: &NamespaceId,
    is_self: bool,
    spec: Option<&Spec>,
    process: Option<&Process>,
) -> Result<()> {
    let what = || process.map_or_else(|| "IPC namespace".to_owned(), |p| format!("pid {}", p.pid()));
    if id.ino == NamespaceId::INITIAL_INO || (!is_self && id == own) {
        let why = match spec.map(|s| &s.ipc) {
            Some(IpcNamespace::Host) => "config.json has no ipc namespace: the container shares the host's",
            Some(IpcNamespace::Path(_)) => "the path of config.json's ipc namespace is the host's",
            Some(IpcNamespace::New) => {
                "its ipc namespace is the host's although config.json asks for a new one (a sandboxed runtime such as Kata keeps its own inside)"
            }
            None => "it is the host's IPC namespace",
        };
        return Err(Error::unsupported(what(), format!("{why}; the host's sysctls and objects are never touched"))
            .wanted("an IPC namespace of the container's own")
            .found(id)
            .remedy(
                "start the container without --ipc=host (hostIPC: true), or set the values on the host with sysctl(8)",
            ));
    }
    match process.and_then(Process::executable) {
        Some(exe) if exe.rsplit('/').next().is_some_and(|name| name.starts_with("runsc")) => Err(Error::unsupported(
            what(),
            "gVisor keeps its own IPC objects inside its sandbox, out of the kernel's sight",
        )
        .found(exe)
        .remedy("use another runtime for containers that need prepared IPC")),
        _ => Ok(()),
    }
}

/// What a failing call on the way in means.
pub(crate) fn entry_error(what: &str, error: &SysError) -> Error {
    let (why, remedy) = match (error.call, error.errno) {
        ("pidfd_open", Errno::ESRCH | Errno::EINVAL) | (_, Errno::ESRCH) => (
            "there is no such process, or it has ended",
            "the runtime must call the hook while the container's first process waits",
        ),
        ("pidfd_open", Errno::ENOSYS) => ("this kernel has no pidfd_open", "Linux 5.3 or later is needed"),
        (call, Errno::ENOENT) if call.contains("ns/ipc") => {
            ("this kernel has no IPC namespaces, or the process has ended", "a kernel with CONFIG_IPC_NS is needed")
        }
        ("setns" | "ioctl NS_GET_USERNS", Errno::EPERM) => (
            "joining the namespace is not permitted",
            "run the hook as root (CAP_SYS_ADMIN), or as the owner of the container's user namespace",
        ),
        (_, Errno::EACCES | Errno::EPERM) => (
            "looking into the process is not permitted",
            "run the hook as root or as the container's user; rootless crun forbids it at createRuntime: use podman or runc",
        ),
        ("open namespace", Errno::EINVAL) => ("it is not an IPC namespace", "name a file such as /proc/PID/ns/ipc"),
        ("open namespace", Errno::ENOENT) => ("there is no such file", "see whether the path is right"),
        _ => ("the namespace cannot be entered", general_remedy(error.errno)),
    };
    Error::unsupported(what, format!("{why} ({error})")).remedy(remedy)
}
