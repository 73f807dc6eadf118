//! IPC namespaces: finding, identifying and locking one. Joining it is [`Joined`]'s business.

pub use super::joined::Joined;
pub use super::lock::{LockResult, Patience};
pub use super::process::{OwnIds, OwnThread, Process, owner_maps};

use super::SysError;
use super::lock;
use super::sys::{file_system, ioctl, open, proc_path, stat_fd, stat_path};
use crate::ipc::NamespaceId;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::FileStat;
use nix::sys::statfs::NSFS_MAGIC;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `_IO(0xb7, n)` of linux/nsfs.h.
const NS_GET_USERNS: u32 = 0xb701;
const NS_GET_NSTYPE: u32 = 0xb703;
/// `_IOR(0xb7, 13, __u64)`: a number that no other namespace ever gets (Linux 6.18).
const NS_GET_ID: libc::c_ulong = 0x8008_b70d;

/// An open IPC namespace. It lives as long as this does.
#[derive(Debug)]
pub struct NamespaceFd {
    fd: OwnedFd,
    id: NamespaceId,
}

impl NamespaceFd {
    /// Opens a namespace file such as `/proc/1/ns/ipc` or a bind mount of one. EINVAL: it is no IPC namespace.
    pub fn from_path(path: &Path) -> Result<NamespaceFd, SysError> {
        let not_one = SysError::new("open namespace", Errno::EINVAL);
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| not_one.clone())?;
        // O_NONBLOCK: a FIFO in its place must not hold us up. Links are followed, because those of procfs are magic; what
        // counts is what comes out.
        let fd = open("open namespace", &path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
        if file_system(&fd)? != NSFS_MAGIC
            || ioctl("ioctl NS_GET_NSTYPE", &fd, NS_GET_NSTYPE)? != i64::from(libc::CLONE_NEWIPC)
        {
            return Err(not_one);
        }
        NamespaceFd::trusted(fd)
    }

    /// This thread's own namespace. ENOENT: a kernel without IPC namespaces.
    pub fn of_self() -> Result<NamespaceFd, SysError> {
        NamespaceFd::trusted(open("open /proc/thread-self/ns/ipc", OWN, OFlag::O_RDONLY)?)
    }

    /// A descriptor that the kernel gave out as that of an IPC namespace.
    pub(super) fn trusted(fd: OwnedFd) -> Result<NamespaceFd, SysError> {
        let id = identify(&stat_fd(&fd)?);
        Ok(NamespaceFd { fd, id })
    }

    /// Identity of this thread's own namespace. ENOENT: a kernel without IPC namespaces.
    pub fn own() -> Result<NamespaceId, SysError> {
        stat_path("stat /proc/thread-self/ns/ipc", OWN).map(|s| identify(&s))
    }

    /// Device and inode. They come back for other namespaces after this one has died.
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// A number that no other namespace ever gets, where the kernel has it.
    pub fn unique_id(&self) -> Option<u64> {
        let mut id = 0u64;
        // SAFETY: the kernel writes one u64.
        let result = unsafe { libc::syscall(libc::SYS_ioctl, self.fd.as_raw_fd(), NS_GET_ID, &raw mut id) };
        (result == 0).then_some(id)
    }

    /// The user namespace that owns it. EPERM: that one lies outside ours.
    pub(super) fn owning_user_namespace(&self) -> Result<OwnedFd, SysError> {
        let fd = ioctl("ioctl NS_GET_USERNS", &self.fd, NS_GET_USERNS)?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Takes the lock on the namespace that makes runs wait for each other, in the order in which they came. It is held
    /// until the [`NamespaceFd`] is dropped. The process must have one thread.
    pub fn lock(&self, patience: Patience) -> Result<LockResult, SysError> {
        lock::lock(&self.fd, self.id, patience)
    }

    /// Finds a namespace that some process is in. `None`: no process that can be seen from here.
    pub fn by_id(id: NamespaceId) -> Option<NamespaceFd> {
        processes().find_map(|pid| {
            let path = proc_path(pid, "/ns/ipc");
            stat_path("stat", path.as_c_str()).ok().filter(|s| identify(s) == id)?;
            let fd = open("open /proc/PID/ns/ipc", path.as_c_str(), OFlag::O_RDONLY).ok()?;
            NamespaceFd::trusted(fd).ok().filter(|ns| ns.id == id)
        })
    }

    /// All processes in this namespace that can be seen from here.
    pub fn members(&self) -> Vec<i32> {
        processes().filter(|pid| self.has_member(*pid)).collect()
    }

    /// A process of this namespace that is in another PID namespace than `inode`: a sign that the IPC namespace is shared
    /// between containers.
    pub fn member_outside(&self, pid_namespace: u64) -> Option<i32> {
        processes().filter(|pid| self.has_member(*pid)).find(|pid| {
            stat_path("stat", proc_path(*pid, "/ns/pid").as_c_str()).is_ok_and(|s| s.st_ino != pid_namespace)
        })
    }

    fn has_member(&self, pid: i32) -> bool {
        stat_path("stat", proc_path(pid, "/ns/ipc").as_c_str()).is_ok_and(|s| identify(&s) == self.id)
    }
}

/// Every IPC namespace that a visible process is in, with those processes.
pub fn in_use() -> BTreeMap<NamespaceId, Vec<i32>> {
    let mut found: BTreeMap<NamespaceId, Vec<i32>> = BTreeMap::new();
    for pid in processes() {
        if let Ok(stat) = stat_path("stat", proc_path(pid, "/ns/ipc").as_c_str()) {
            found.entry(identify(&stat)).or_default().push(pid);
        }
    }
    found
}

/// `/proc/self` would be the main thread, which need not be in the same namespace.
const OWN: &std::ffi::CStr = c"/proc/thread-self/ns/ipc";

fn identify(stat: &FileStat) -> NamespaceId {
    NamespaceId { dev: stat.st_dev, ino: stat.st_ino }
}

/// The process numbers in `/proc`.
pub(super) fn processes() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok())
}
