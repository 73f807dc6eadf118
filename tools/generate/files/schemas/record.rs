//! `oci-ipc-hook.record/1`, as `src/record.rs` writes it.

#![allow(dead_code)]

use super::report::{Kind, Report};
use super::value::Integer;
use schemars::JsonSchema;

/// What was done to the namespace of a container, kept below /run/oci-ipc-hook until the container stops.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case", title = "Record of oci-ipc-hook")]
pub(super) struct Record {
    /// Name and version of this format.
    #[schemars(extend("const" = "oci-ipc-hook.record/1"))]
    format: String,
    /// The kernel's boot id: a record of another boot means nothing.
    boot: String,
    /// Container id.
    container: String,
    /// Directory of its config.json; empty when the state named none.
    bundle: String,
    /// The container's first process.
    process: Option<Life>,
    /// Where the namespace was to be found.
    ipc_path: Option<String>,
    /// The process that this path names.
    ipc_path_process: Option<Life>,
    /// The hook's own process; null once its run is over, or where its pid namespace is not known.
    maker: Option<Maker>,
    /// When it was written, seconds since the epoch.
    written: i64,
    /// Objects that were asked for.
    objects: Vec<Object>,
    report: Report,
}

/// The process that makes the objects, as the kernel will name it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case")]
struct Maker {
    pid: i32,
    /// Children of it make them, one each, as SELinux wants it.
    children: bool,
    /// Inode of the pid namespace in which it has that number.
    pid_namespace: u64,
}

/// A process that cannot be mistaken for a later one of the same number.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Life {
    pid: i32,
    /// Clock ticks between the machine's start and its own.
    started: u64,
}

/// An object, with what tells it from a later one of the same name.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case")]
struct Object {
    r#type: Kind,
    /// Key, or name of a queue.
    name: String,
    /// Identifier of System V; null before it was made, and for POSIX queues.
    id: Option<i32>,
    /// Inode of a POSIX queue.
    inode: Option<Integer>,
    /// Creator, as the host sees it.
    cuid: u32,
    /// Creator's group, as the host sees it.
    cgid: u32,
    /// Last change of owner or mode; null before it was made, and for POSIX queues.
    ctime: Option<i64>,
    /// What happens to it when the container stops.
    on_stop: OnStop,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum OnStop {
    Keep,
    Remove,
}
