//! A process, held by a pidfd so that its number cannot come to mean another one.

use super::SysError;
use super::child::beside_child;
use super::identity::effective_ids;
use super::namespace::NamespaceFd;
use super::sys::{check, check_fd, ioctl, open, proc_path, setns, stat_fd, stat_path};
use crate::ipc::{IdMap, IdMaps, NamespaceId};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::FileStat;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `PIDFD_GET_IPC_NAMESPACE` and `PIDFD_GET_USER_NAMESPACE` of linux/pidfd.h (Linux 6.11).
const PIDFD_GET_IPC_NAMESPACE: u32 = 0xff02;
const PIDFD_GET_USER_NAMESPACE: u32 = 0xff09;

/// `PROC_USER_INIT_INO` of linux/proc_ns.h.
const INITIAL_USER_INO: u64 = 0xEFFF_FFFD;
/// `PIDFD_THREAD` of linux/pidfd.h (Linux 6.9).
const PIDFD_THREAD: libc::c_int = libc::O_EXCL;

/// The calling thread, as the way to its own namespaces. By a pidfd they are found in a third of the time that the path
/// through `/proc` takes.
#[derive(Debug)]
pub struct OwnThread {
    /// `None` before Linux 6.9.
    pidfd: Option<OwnedFd>,
}

impl OwnThread {
    /// The thread that calls, which is also the only one to ask the result anything.
    pub fn open() -> Result<OwnThread, SysError> {
        // SAFETY: no pointers are passed.
        let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::gettid(), PIDFD_THREAD) };
        match check_fd("pidfd_open", pidfd) {
            Ok(pidfd) => Ok(OwnThread { pidfd: Some(pidfd) }),
            Err(e) if e.errno == Errno::EINVAL => Ok(OwnThread { pidfd: None }),
            Err(e) => Err(e),
        }
    }

    /// Identity of the IPC namespace that it is in now. ENOENT: a kernel without IPC namespaces.
    pub fn ipc_namespace(&self) -> Result<NamespaceId, SysError> {
        let by_pidfd = self.pidfd.as_ref().map(|pidfd| namespace_of(pidfd, PIDFD_GET_IPC_NAMESPACE)).transpose()?;
        match by_pidfd.flatten() {
            Some(fd) => NamespaceFd::trusted(fd).map(|ns| ns.id()),
            None => NamespaceFd::own(),
        }
    }
}

/// A namespace of a process. `None`: the kernel does not give it by pidfd (before Linux 6.11).
fn namespace_of(pidfd: &OwnedFd, request: u32) -> Result<Option<OwnedFd>, SysError> {
    match ioctl("ioctl PIDFD_GET_NAMESPACE", pidfd, request) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        Err(e) if matches!(e.errno, Errno::ENOTTY | Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A process that was alive when it was opened.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    pidfd: OwnedFd,
}

impl Process {
    /// Opens a process by its number, which must be larger than 1. ESRCH: there is none.
    pub fn open(pid: i32) -> Result<Process, SysError> {
        // SAFETY: no pointers are passed.
        let pidfd = check_fd("pidfd_open", unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        Ok(Process { pid, pidfd })
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// False once it has ended, even while its parent has not waited for it.
    pub fn alive(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live record, as the count says. A pidfd becomes readable when the process ends.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 0 }
    }

    /// Its IPC namespace. ENOENT: a kernel without IPC namespaces; ESRCH: it has ended; EACCES: we may not look into it.
    pub fn ipc_namespace(&self) -> Result<NamespaceFd, SysError> {
        let fd = self.namespace("open /proc/PID/ns/ipc", PIDFD_GET_IPC_NAMESPACE, "/ns/ipc")?;
        NamespaceFd::trusted(fd)
    }

    /// Its user namespace.
    pub(super) fn user_namespace(&self) -> Result<OwnedFd, SysError> {
        self.namespace("open /proc/PID/ns/user", PIDFD_GET_USER_NAMESPACE, "/ns/user")
    }

    /// The id maps of its user namespace, as seen from ours. When both are the same, every id maps to itself, or with
    /// [`OwnIds::Mapped`] every id that there is.
    pub fn id_maps(&self, own: OwnIds) -> Result<IdMaps, SysError> {
        match relation(&stat_fd(&self.user_namespace()?)?)? {
            Relation::Initial => return Ok(IdMaps::identity()),
            Relation::Ours => return own.maps(),
            Relation::Other => {}
        }
        let maps = maps_of(self.pid)?;
        self.still_alive()?;
        Ok(maps)
    }

    /// The file it executes, as `/proc/PID/exe` names it; `None` where we may not look or it is a kernel thread.
    pub fn executable(&self) -> Option<String> {
        let name = nix::fcntl::readlink(proc_path(self.pid, "/exe").as_c_str()).ok()?;
        name.into_string().ok()
    }

    /// The inode of its PID namespace.
    pub fn pid_namespace(&self) -> Result<u64, SysError> {
        let stat = stat_path("stat /proc/PID/ns/pid", proc_path(self.pid, "/ns/pid").as_c_str())?;
        self.still_alive()?;
        Ok(stat.st_ino)
    }

    /// A file below `/proc/PID`, such as `/cgroup`, read whole up to 64 KiB.
    pub(super) fn read_proc(&self, call: &'static str, rest: &str) -> Result<Vec<u8>, SysError> {
        let fd = open(call, proc_path(self.pid, rest).as_c_str(), OFlag::O_RDONLY)?;
        self.still_alive()?;
        super::file::read_all(&fd, 64 << 10).map_err(|e| SysError::new(call, e.errno()))
    }

    /// What was just read below `/proc/PID` is of this process and not of a later one with its number.
    pub(super) fn still_alive(&self) -> Result<(), SysError> {
        if self.alive() { Ok(()) } else { Err(SysError::new("pidfd", Errno::ESRCH)) }
    }

    fn namespace(&self, call: &'static str, request: u32, rest: &str) -> Result<OwnedFd, SysError> {
        if let Some(fd) = namespace_of(&self.pidfd, request)? {
            return Ok(fd);
        }
        let fd = open(call, proc_path(self.pid, rest).as_c_str(), OFlag::O_RDONLY);
        self.still_alive()?;
        fd
    }
}

/// What is asked about the ids of this process's own user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnIds {
    /// Nothing: nobody else's are to be taken.
    All,
    /// Which of them there are. That takes a look at two files.
    Mapped,
}

impl OwnIds {
    /// Every id that was asked for maps to itself.
    pub fn maps(self) -> Result<IdMaps, SysError> {
        match self {
            OwnIds::All => Ok(IdMaps::identity()),
            OwnIds::Mapped => {
                let (uid, gid) = (id_map(c"/proc/self/uid_map")?, id_map(c"/proc/self/gid_map")?);
                Ok(IdMaps { uid, gid }.inside())
            }
        }
    }
}

/// The id maps of the user namespace that owns `ns`, as seen from ours; no process need be in it. For as long as they are
/// read, a child of this process is there, which must have one thread. `own` as for [`Process::id_maps`].
///
/// EPERM: it may not be entered.
pub fn owner_maps(ns: &NamespaceFd, own: OwnIds) -> Result<IdMaps, SysError> {
    let user = ns.owning_user_namespace()?;
    match relation(&stat_fd(&user)?)? {
        Relation::Initial => return Ok(IdMaps::identity()),
        Relation::Ours => return own.maps(),
        Relation::Other => {}
    }
    let enter = || {
        if effective_ids().uid == 0 {
            // Who has rights in that user namespace must not reach what the child has from us.
            // SAFETY: a number is passed.
            check("prctl", unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) }.into())?;
        }
        setns(&user, libc::CLONE_NEWUSER)
    };
    beside_child(enter, maps_of)
}

/// A user namespace, seen from this process's own.
enum Relation {
    Initial,
    Ours,
    Other,
}

fn relation(theirs: &FileStat) -> Result<Relation, SysError> {
    // From a lower user namespace nobody gets into the initial one, so there is no need to look which one ours is.
    if theirs.st_ino == INITIAL_USER_INO {
        return Ok(Relation::Initial);
    }
    let ours = stat_path("stat /proc/self/ns/user", c"/proc/self/ns/user")?;
    let same = (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino);
    Ok(if same { Relation::Ours } else { Relation::Other })
}

fn maps_of(pid: i32) -> Result<IdMaps, SysError> {
    let map = |rest| id_map(proc_path(pid, rest).as_c_str());
    Ok(IdMaps { uid: map("/uid_map")?, gid: map("/gid_map")? })
}

fn id_map(path: &CStr) -> Result<IdMap, SysError> {
    let call = "read /proc/PID/uid_map";
    let fd = open(call, path, OFlag::O_RDONLY)?;
    let text = super::file::read_all(&fd, 64 << 10).map_err(|e| SysError::new(call, e.errno()))?;
    let map = str::from_utf8(&text).ok().and_then(|text| IdMap::parse(text).ok());
    map.ok_or_else(|| SysError::new(call, Errno::EBADMSG))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{in_child, is_root};
    use super::*;

    #[test]
    fn a_thread_finds_the_namespace_it_is_in_both_ways() {
        in_child(|| {
            if !is_root() {
                return;
            }
            let before = NamespaceFd::own().unwrap();
            let inside = std::thread::spawn(|| {
                let thread = OwnThread::open().unwrap();
                // SAFETY: no pointers are passed.
                assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWIPC) }, 0);
                let (found, old_kernel) = (thread.ipc_namespace().unwrap(), OwnThread { pidfd: None });
                assert_eq!((found, found), (NamespaceFd::own().unwrap(), old_kernel.ipc_namespace().unwrap()));
                found
            });
            assert_ne!(inside.join().unwrap(), before);
            assert_eq!(OwnThread::open().unwrap().ipc_namespace().unwrap(), before, "the main thread stays");
        });
    }
}
