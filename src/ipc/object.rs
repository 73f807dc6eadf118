//! The four kinds of object that live in an IPC namespace.

use super::value::{Key, Mode, Owner, QueueName};
use std::fmt;

/// Kind of object; the order is that of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// System V shared memory segment.
    Shm,
    /// System V semaphore set.
    Sem,
    /// System V message queue.
    Msg,
    /// POSIX message queue.
    Mqueue,
}

impl Kind {
    /// In order of creation.
    pub const ALL: [Kind; 4] = [Kind::Shm, Kind::Sem, Kind::Msg, Kind::Mqueue];

    /// The name of its table in profiles and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Shm => "shm",
            Kind::Sem => "sem",
            Kind::Msg => "msg",
            Kind::Mqueue => "mqueue",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What names an object within its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectId {
    /// Segment by key.
    Shm(Key),
    /// Semaphore set by key.
    Sem(Key),
    /// Message queue by key.
    Msg(Key),
    /// POSIX queue by name.
    Mqueue(QueueName),
}

impl ObjectId {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            ObjectId::Shm(_) => Kind::Shm,
            ObjectId::Sem(_) => Kind::Sem,
            ObjectId::Msg(_) => Kind::Msg,
            ObjectId::Mqueue(_) => Kind::Mqueue,
        }
    }

    /// Key or name alone, as reports print it.
    pub fn name(&self) -> String {
        match self {
            ObjectId::Shm(k) | ObjectId::Sem(k) | ObjectId::Msg(k) => k.to_string(),
            ObjectId::Mqueue(n) => n.to_string(),
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectId::Shm(k) | ObjectId::Sem(k) | ObjectId::Msg(k) => write!(f, "{} {k}", self.kind()),
            ObjectId::Mqueue(n) => write!(f, "mqueue {n}"),
        }
    }
}

/// What an object is made of, as far as it can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Size in bytes, 1 … SHMMAX.
    Shm {
        /// Bytes.
        size: u64,
    },
    /// Initial values; their number is the set's size.
    Sem {
        /// Number of semaphores, 1 … SEMMSL.
        nsems: u32,
        /// Initial values, 0 … 32767 each; empty = all zero.
        values: Vec<u16>,
    },
    /// Capacity.
    Msg {
        /// `msg_qbytes`; `None` = the namespace's msgmnb at creation.
        max_bytes: Option<u64>,
    },
    /// Capacity.
    Mqueue {
        /// `mq_maxmsg`; `None` = the namespace's msg_default.
        max_messages: Option<u64>,
        /// `mq_msgsize` in bytes; `None` = the namespace's msgsize_default.
        message_size: Option<u64>,
    },
}

/// An object to create: everything decided, ids as the container sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSpec {
    /// Which.
    pub id: ObjectId,
    /// Of what shape.
    pub shape: Shape,
    /// Permission bits.
    pub mode: Mode,
    /// Owner and creator.
    pub owner: Owner,
}

/// An object that exists, as the kernel tells it. Ids are those the container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Key or name; `None` for a private or removed System V object.
    pub id: Option<ObjectId>,
    /// Its kind.
    pub kind: Kind,
    /// `shmid`, `semid`, `msqid`; `None` for POSIX queues.
    pub sysv_id: Option<i32>,
    /// Owner.
    pub owner: Owner,
    /// Creator; equals the owner for POSIX queues.
    pub creator: Owner,
    /// Permission bits.
    pub mode: Mode,
    /// Size in bytes, number of semaphores, `msg_qbytes`, or `mq_maxmsg`.
    pub extent: u64,
    /// `mq_msgsize`; 0 for the others.
    pub message_size: u64,
    /// Attached processes of a segment, messages in a queue; 0 for semaphores.
    pub in_use: u64,
    /// Time of the last change, seconds since the epoch (creation, IPC_SET); 0 for POSIX queues.
    pub ctime: i64,
    /// `sem_otime`; 0 for the others and for a set that no semop has touched.
    pub otime: i64,
    /// Inode of a POSIX queue, which a later one of that name does not have; 0 for the others.
    pub inode: u64,
}
