//! `oci-ipc-hook.report/1`, as `src/report.rs` writes it.

#![allow(dead_code)]

use super::value::{Integer, mode};
use schemars::JsonSchema;

/// What a run did, or would do.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Report of oci-ipc-hook")]
pub(super) struct Report {
    /// Name and version of this format.
    #[schemars(extend("const" = "oci-ipc-hook.report/1"))]
    format: String,
    /// Container id.
    container: Option<String>,
    /// The namespace, once it was found.
    namespace: Option<Namespace>,
    /// Whether config.json was compared with the request.
    spec: Spec,
    /// In the order in which they are carried out.
    steps: Vec<Step>,
    outcome: Outcome,
    error: Option<Failure>,
    /// What did not fail the run but should be known.
    warnings: Vec<String>,
}

/// An IPC namespace.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Namespace {
    /// Device of its file.
    dev: Integer,
    /// Inode of its file.
    ino: Integer,
    /// The kernel's number that is never used again, where the kernel has one.
    id: Option<Integer>,
    /// Other containers use it too.
    shared: bool,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Spec {
    Checked,
    Unavailable,
}

/// How the run ended.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Outcome {
    /// Nothing was done, only planned.
    Planned,
    Done,
    /// A step failed; what had been done was taken back.
    Undone,
    /// A replacement failed after everything else: an object's content is lost.
    Partial,
    /// Nothing was done, because it is not allowed or not possible.
    Refused,
}

/// One sysctl or object.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Step {
    r#type: Kind,
    /// Name of the sysctl or queue, key of the object.
    name: String,
    /// As it was found; null for an object that was not there.
    before: Option<Found>,
    wanted: Option<Wanted>,
    /// As it was read back; null when nothing was done.
    after: Option<Found>,
    action: Action,
    /// Who asked, such as profile:db2:12.
    by: String,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Kind {
    Sysctl,
    Shm,
    Sem,
    Msg,
    Mqueue,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Action {
    Set,
    Create,
    Replace,
    None,
}

/// The value of a sysctl, or the attributes of an object that is there.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Found {
    Number(Integer),
    /// kernel.sem: SEMMSL, SEMMNS, SEMOPM, SEMMNI.
    Sem([i32; 4]),
    Object(FoundObject),
}

/// The value of a sysctl, or the attributes of an object that shall be there.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Wanted {
    Number(Integer),
    /// kernel.sem: SEMMSL, SEMMNS, SEMOPM, SEMMNI.
    Sem([i32; 4]),
    Object(WantedObject),
}

macro_rules! object {
    ($name:ident { $($(#[$meta:meta])* $field:ident: $kind:ty,)* }) => {
        /// Attributes of an object; those that its kind has.
        #[derive(JsonSchema)]
        #[schemars(deny_unknown_fields, rename_all = "kebab-case")]
        pub(super) struct $name {
            $($(#[$meta])* #[schemars(skip_serializing_if = "Option::is_none")] $field: Option<$kind>,)*
            #[schemars(skip_serializing_if = "Option::is_none")]
            size: Option<Integer>,
            #[schemars(skip_serializing_if = "Option::is_none")]
            nsems: Option<Integer>,
            #[schemars(skip_serializing_if = "Option::is_none")]
            max_bytes: Option<Integer>,
            #[schemars(skip_serializing_if = "Option::is_none")]
            max_messages: Option<Integer>,
            #[schemars(skip_serializing_if = "Option::is_none")]
            message_size: Option<Integer>,
            #[schemars(schema_with = "mode")]
            mode: String,
            /// As the container sees it.
            uid: u32,
            /// As the container sees it.
            gid: u32,
        }
    };
}

object! {
    FoundObject {
        /// Identifier of System V.
        id: i32,
    }
}

object! {
    WantedObject {
        /// Initial values, when they are not all 0.
        values: Vec<u16>,
    }
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Failure {
    /// Exit status of the run.
    exit: u8,
    /// One line, as it was printed.
    message: String,
}
