//! Prepares a container's IPC namespace: the library behind the `oci-ipc-hook` command.
//!
//! One request travels in one direction; pure code decides, thin code acts:
//!
//! ```text
//! stdin/args/files ─► oci/ ─► request/ ─► policy/ ─► plan/ ─► apply ─► kernel/
//!                     who      what is      what is    what will  does    the only code that
//!                     asks     asked        allowed    be done    it      touches the kernel
//! ```
//!
//! Everyone may name the nouns of [`ipc`]; `ipc` names no one. `plan` never imports `kernel`; `kernel` knows nothing
//! of TOML, annotations or plans.

pub mod apply;
pub mod cleanup;
pub mod commands;
pub mod containers;
pub mod doc;
pub mod doctor;
pub mod enter;
pub mod error;
pub mod finding;
#[cfg(any(test, feature = "fake-kernel"))]
pub mod fuzzing;
pub mod hook;
pub mod hooksd;
pub mod inject;
pub mod inspect;
pub mod installed;
pub mod ipc;
pub mod kernel;
pub mod log;
pub mod oci;
pub mod plan;
pub mod policy;
pub mod record;
pub mod report;
pub mod request;
pub mod session;
pub mod start;
pub mod text;

pub use error::{Error, Exit, Result};
