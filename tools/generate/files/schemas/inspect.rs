//! `oci-ipc-hook.inspect/1`, as `src/inspect/json.rs` writes it.

#![allow(dead_code)]

use super::record::Record;
use super::report::{Found, Kind};
use super::value::{Integer, Sysctls, key, mode};
use schemars::JsonSchema;

/// What is in IPC namespaces. Times are seconds since the epoch, 0 for never.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Output of oci-ipc-hook inspect --json")]
pub(super) struct Inspect {
    /// Name and version of this format.
    #[schemars(extend("const" = "oci-ipc-hook.inspect/1"))]
    format: String,
    namespaces: Vec<Looked>,
    /// With --record: the container's records, as they lie below /run.
    #[schemars(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<Record>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Looked {
    At(Box<Namespace>),
    Refused(Refused),
}

/// A namespace that could not be looked at.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Refused {
    dev: Integer,
    ino: Integer,
    pids: Vec<i32>,
    error: String,
}

/// A namespace.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case")]
struct Namespace {
    /// Device of its file.
    dev: Integer,
    /// Inode of its file.
    ino: Integer,
    /// The kernel's number that is never used again, where the kernel has one.
    id: Option<Integer>,
    /// It is the host's.
    host: bool,
    /// Processes in it.
    pids: Vec<i32>,
    /// Containers in it, as far as they are known.
    containers: Vec<Container>,
    /// RLIMIT_MSGQUEUE of its first process; null for no limit.
    rlimit_msgqueue: Option<Integer>,
    sysctl: Sysctls,
    usage: Usage,
    shm: Vec<Shm>,
    sem: Vec<Sem>,
    msg: Vec<Msg>,
    mqueue: Vec<Mqueue>,
    /// Why POSIX queues could not be listed.
    mqueue_error: Option<String>,
    /// With --record: what has changed since the record was written.
    #[schemars(skip_serializing_if = "Option::is_none")]
    drift: Option<Vec<Drift>>,
}

/// A sysctl or object of a record, then and now: a number, the fields of kernel.sem, or attributes as in a report.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Drift {
    r#type: Kind,
    /// Name of the sysctl or queue, key of the object.
    name: String,
    recorded: Found,
    /// Null: it is not there.
    now: Option<Found>,
    /// Both are the same.
    same: bool,
}

/// A container that uses the namespace.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Container {
    engine: String,
    id: String,
    names: Vec<String>,
    pid: i32,
}

/// What counts against a limit.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Usage {
    /// System V message queues.
    msgmni: Use,
    /// System V segments.
    shmmni: Use,
    /// Pages of all segments.
    shmall: Use,
    /// Semaphore sets.
    semmni: Use,
    /// Semaphores of all sets.
    semmns: Use,
    /// POSIX queues.
    queues_max: Use,
}

/// How much of a limit is used.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Use {
    used: Integer,
    limit: Option<Integer>,
    percent: Option<f64>,
}

/// A System V object: what all kinds have, and what is its own.
macro_rules! sysv {
    ($(#[$about:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(JsonSchema)]
        #[schemars(deny_unknown_fields, rename_all = "kebab-case")]
        struct $name {
            #[schemars(schema_with = "key")]
            key: String,
            id: i32,
            /// Owner, as the container sees it.
            uid: u32,
            /// Owner's group, as the container sees it.
            gid: u32,
            /// Owner, as the host sees it; there when the container has ids of its own.
            #[schemars(skip_serializing_if = "Option::is_none")]
            host_uid: Option<u32>,
            /// Owner's group, as the host sees it.
            #[schemars(skip_serializing_if = "Option::is_none")]
            host_gid: Option<u32>,
            /// Creator.
            cuid: u32,
            /// Creator's group.
            cgid: u32,
            /// Creator, as the host sees it.
            #[schemars(skip_serializing_if = "Option::is_none")]
            host_cuid: Option<u32>,
            /// Creator's group, as the host sees it.
            #[schemars(skip_serializing_if = "Option::is_none")]
            host_cgid: Option<u32>,
            #[schemars(schema_with = "mode")]
            mode: String,
            /// Last change of owner or mode.
            ctime: i64,
            $($(#[$meta])* $field: $kind,)*
        }
    };
}

sysv! {
    /// A System V shared memory segment.
    Shm {
        size: Integer,
        /// Attachments.
        nattch: u64,
        /// Bytes in memory.
        rss: Integer,
        /// Bytes in swap.
        swap: Integer,
        /// Marked for removal: it goes with its last attachment.
        removed: bool,
        /// Locked into memory.
        locked: bool,
        /// Process that created it.
        cpid: i32,
        /// Process of the last shmat(2) or shmdt(2).
        lpid: i32,
        /// Last shmat(2).
        atime: i64,
        /// Last shmdt(2).
        dtime: i64,
    }
}

sysv! {
    /// A System V semaphore set.
    Sem {
        /// Semaphores in it.
        nsems: u64,
        /// Last semop(2); 0 means that nobody has initialised it.
        otime: i64,
    }
}

sysv! {
    /// A System V message queue.
    Msg {
        /// Bytes in the queue.
        used_bytes: Integer,
        /// Messages in the queue.
        messages: u64,
        /// Capacity; null when it may not be read.
        max_bytes: Option<Integer>,
        /// Process of the last msgsnd(2).
        lspid: i32,
        /// Process of the last msgrcv(2).
        lrpid: i32,
        /// Last msgsnd(2).
        stime: i64,
        /// Last msgrcv(2).
        rtime: i64,
    }
}

/// A POSIX message queue. The last four are null when it may not be opened.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case")]
struct Mqueue {
    /// With its slash.
    name: String,
    /// Owner, as the container sees it.
    uid: u32,
    /// Owner's group, as the container sees it.
    gid: u32,
    /// Owner, as the host sees it; there when the container has ids of its own.
    #[schemars(skip_serializing_if = "Option::is_none")]
    host_uid: Option<u32>,
    /// Owner's group, as the host sees it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    host_gid: Option<u32>,
    #[schemars(schema_with = "mode")]
    mode: String,
    /// Messages that it holds at most.
    max_messages: Option<u64>,
    /// Bytes of a message at most.
    message_size: Option<u64>,
    /// Messages in the queue.
    messages: Option<u64>,
    /// Bytes in the queue.
    used_bytes: Option<u64>,
}
