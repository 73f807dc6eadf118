//! What a namespace holds. Filled by `kernel/`, compared by `plan/`, shown by `inspect`.

use super::object::{Existing, Kind};
use super::sysctl::{Sysctl, SysctlValue};
use std::fmt;

/// Identity of a namespace: where its nsfs inode lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId {
    /// Device of nsfs.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

impl NamespaceId {
    /// Inode of the initial IPC namespace on every kernel (`PROC_IPC_INIT_INO`).
    pub const INITIAL_INO: u64 = 0xEFFF_FFFF;
}

impl fmt::Display for NamespaceId {
    /// As lsns(8) and readlink(1) print it: `ipc:[4026531839]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ipc:[{}]", self.ino)
    }
}

/// How much of the limits is in use (SHM_INFO, SEM_INFO, MSG_INFO).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Segments.
    pub shm_segments: u64,
    /// Pages of all segments.
    pub shm_pages: u64,
    /// Semaphore sets.
    pub sem_sets: u64,
    /// Semaphores in all sets.
    pub sems: u64,
    /// System V message queues.
    pub msg_queues: u64,
}

impl Usage {
    /// False when there is no object of this kind at all, as in most new namespaces. Queues are not counted.
    pub fn may_hold(&self, kind: Kind) -> bool {
        match kind {
            Kind::Shm => self.shm_segments > 0,
            Kind::Sem => self.sem_sets > 0,
            Kind::Msg => self.msg_queues > 0,
            Kind::Mqueue => true,
        }
    }
}

/// The part of a namespace that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Values by [`Sysctl::index`]; `None` = not looked at.
    pub sysctls: [Option<SysctlValue>; 13],
    /// Objects that exist, in the order in which they were found.
    pub objects: Vec<Existing>,
    /// Use of the limits.
    pub usage: Usage,
}

impl Snapshot {
    /// The value of a sysctl that was looked at.
    pub fn sysctl(&self, sysctl: Sysctl) -> Option<SysctlValue> {
        self.sysctls[sysctl.index()]
    }
}
