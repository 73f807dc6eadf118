//! What a namespace holds, for people and for programs: looked at by [`look`], shown as [`table`] or [`json`].

pub mod json;
pub mod look;
pub mod table;

use crate::ipc::{IdMaps, NamespaceId, Owner, Sysctl, SysctlValue};
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
    /// Values by [`Sysctl::index`]; `None` where the kernel has no such file.
    pub sysctls: [Option<SysctlValue>; 13],
    /// Its objects, with ids as the listing process saw them.
    pub listing: Listing,
    /// How to read those ids.
    pub ids: Ids,
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

    /// Owner and creator of a System V object.
    pub fn owners(&self, common: &Common) -> (Seen, Seen) {
        (self.ids.seen(common.owner), self.ids.seen(common.creator))
    }
}
