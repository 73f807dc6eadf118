//! What a namespace holds, for people and for programs: looked at by [`look`], or all of them by [`all`], and shown as
//! [`table`], [`json`], [`prometheus`] or [`profile`].

pub mod advice;
pub mod all;
pub mod drift;
pub mod json;
pub mod look;
pub mod profile;
pub mod prometheus;
pub mod recorded;
pub mod table;
#[cfg(test)]
mod tests;

use crate::containers::Container;
use crate::ipc::{IdMap, IdMaps, NamespaceId, Owner, Sysctl, SysctlValue};
use crate::kernel::listing::Listing;
use crate::kernel::sysvipc::Common;

/// One namespace as it was at a moment.
#[derive(Clone, Debug)]
pub struct View {
    /// Which.
    pub id: NamespaceId,
    /// The kernel's never-reused number, where it has one.
    pub unique: Option<u64>,
    /// Its processes, as far as they can be seen.
    pub pids: Vec<i32>,
    /// Containers whose first process is one of them.
    pub containers: Vec<Container>,
    /// RLIMIT_MSGQUEUE of the process that was asked for, or of the first: bytes of all POSIX queues of a user.
    pub msgqueue_limit: Option<u64>,
    /// Values by [`Sysctl::index`]; `None` where the kernel has no such file.
    pub sysctls: [Option<SysctlValue>; 13],
    /// Its objects, with ids as the listing process saw them.
    pub listing: Listing,
    /// Values of the semaphore sets, in the listing's order, if they were asked for; `None` = they may not be read.
    pub sem_values: Vec<Option<Vec<u16>>>,
    /// How to read those ids.
    pub ids: Ids,
    /// What has changed since a record, if one was asked for.
    pub drift: Option<Vec<drift::Drift>>,
    /// Bytes of a page.
    pub page_size: u64,
    /// When it was looked at, seconds since the epoch.
    pub now: i64,
}

/// Owners in the container's ids and in the host's.
#[derive(Clone, Debug)]
pub struct Ids {
    maps: IdMaps,
    listed_inside: bool,
}

/// An owner as both sides see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// As the container sees it; unmapped ids show as 65534.
    pub inside: Owner,
    /// As the host sees it; `None` when both sides see the same.
    pub outside: Option<Owner>,
}

impl Ids {
    /// `maps` are the container's; `listed_inside`: the listing was made in its user namespace.
    pub fn new(maps: IdMaps, listed_inside: bool) -> Ids {
        Ids { maps, listed_inside }
    }

    /// True when container and host see the same ids.
    pub fn are_same(&self) -> bool {
        self.maps.uid.is_identity() && self.maps.gid.is_identity()
    }

    /// True when the container has an id for this owner of the listing.
    pub fn are_mapped(&self, listed: Owner) -> bool {
        let known = |map: &IdMap, id| if self.listed_inside { map.to_outside(id) } else { map.to_inside(id) }.is_some();
        known(&self.maps.uid, listed.uid) && known(&self.maps.gid, listed.gid)
    }

    /// Both sides of an owner of the listing.
    pub fn seen(&self, listed: Owner) -> Seen {
        if self.are_same() {
            return Seen { inside: listed, outside: None };
        }
        if self.listed_inside {
            return Seen { inside: listed, outside: self.maps.to_outside(listed) };
        }
        Seen { inside: self.maps.to_inside(listed), outside: Some(listed) }
    }
}

/// How much of one limit is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The resource's name in lsipc(1), in small letters; the file's name for POSIX queues.
    pub name: &'static str,
    /// In use.
    pub used: u64,
    /// The limit; `None` where the kernel has no such file.
    pub limit: Option<u64>,
}

impl Use {
    /// Part of the limit in percent; 100 when nothing is allowed, `None` without a limit.
    pub fn percent(&self) -> Option<f64> {
        match self.limit? {
            0 => Some(100.0),
            limit => Some(self.used as f64 * 100.0 / limit as f64),
        }
    }
}

impl View {
    /// The value of a sysctl.
    pub fn sysctl(&self, sysctl: Sysctl) -> Option<SysctlValue> {
        self.sysctls[sysctl.index()]
    }

    /// True for the namespace that the machine was started with.
    pub fn is_initial(&self) -> bool {
        self.id.ino == NamespaceId::INITIAL_INO
    }

    /// Use of every limit that counts something, in lsipc's order.
    pub fn usage(&self) -> [Use; 6] {
        let limit = |sysctl, field| self.sysctl(sysctl).map(|v: SysctlValue| v.field(field));
        let Listing { shm, sem, msg, mqueue, .. } = &self.listing;
        let pages = shm.iter().map(|s| s.size.div_ceil(self.page_size.max(1))).sum();
        let count = |name, used, limit| Use { name, used, limit };
        [
            count("msgmni", msg.len() as u64, limit(Sysctl::Msgmni, 0)),
            count("shmmni", shm.len() as u64, limit(Sysctl::Shmmni, 0)),
            count("shmall", pages, limit(Sysctl::Shmall, 0)),
            count("semmni", sem.len() as u64, limit(Sysctl::Sem, 3)),
            count("semmns", sem.iter().map(|s| s.nsems).sum(), limit(Sysctl::Sem, 1)),
            count("queues_max", mqueue.len() as u64, limit(Sysctl::MqQueuesMax, 0)),
        ]
    }

    /// The limit that is nearest to being used up, with its percentage.
    pub fn fullest(&self) -> Option<(Use, f64)> {
        let measured = self.usage().into_iter().filter(|u| u.used > 0).filter_map(|u| Some((u, u.percent()?)));
        measured.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Owner and creator of a System V object.
    pub fn owners(&self, common: &Common) -> (Seen, Seen) {
        (self.ids.seen(common.owner), self.ids.seen(common.creator))
    }
}
