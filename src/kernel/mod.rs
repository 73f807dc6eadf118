//! The only code that touches the kernel, and the only `unsafe`. Knows nothing of TOML, annotations or plans.
#![allow(unsafe_code)]

pub mod arena;
pub mod cgroup;
pub mod child;
pub mod clock;
pub mod container_file;
pub mod entry;
#[cfg(any(test, feature = "fake-kernel"))]
pub mod fake;
pub mod file;
pub mod identity;
pub mod inherited;
mod joined;
pub mod label;
pub mod life;
pub mod limits;
pub mod listing;
mod lock;
mod mqueue;
mod msg;
pub mod namespace;
pub mod private_dir;
mod process;
mod sem;
mod shm;
mod sys;
mod sysctl;
mod sysv;
pub mod sysvipc;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod traces;

use crate::ipc::{Existing, Kind, ObjectId, ObjectSpec, Sysctl, SysctlValue, Usage};
use nix::errno::Errno;
use std::fmt;
use traces::Traces;

/// A system call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysError {
    /// Name of the call, such as `semget`, or of the file operation, such as `open /proc/sys/kernel/sem`.
    pub call: &'static str,
    /// What the kernel answered.
    pub errno: Errno,
    /// What went wrong while the half-made thing was taken away again, if that failed too.
    pub also: Option<Box<SysError>>,
}

impl SysError {
    /// `call` answered `errno`.
    pub fn new(call: &'static str, errno: Errno) -> Self {
        SysError { call, errno, also: None }
    }
}

/// What helps against an errno that says all by itself; for calls that it has no special meaning for.
pub const fn general_remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::EMFILE => "raise the limit of open files (RLIMIT_NOFILE, ulimit -n) of whoever starts the hook",
        Errno::ENFILE => "raise the machine's limit of open files (sysctl fs.file-max)",
        _ => "see the errno",
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.errno)?;
        if let Some(also) = &self.also {
            write!(f, " (and while cleaning up: {also})")?;
        }
        Ok(())
    }
}

impl std::error::Error for SysError {}

/// One IPC namespace, as far as it can be read and changed. The real one is [`namespace::Joined`]; tests have a fake.
///
/// All ids are those that the container sees.
pub trait Ipc {
    /// Reads a sysctl.
    fn read_sysctl(&mut self, sysctl: Sysctl) -> Result<SysctlValue, SysError>;

    /// Writes a sysctl with exactly one write(2). A short write is an error (EINVAL). The value may have been taken in
    /// part even when an error is returned (`kernel.sem`): read it again.
    fn write_sysctl(&mut self, sysctl: Sysctl, value: SysctlValue) -> Result<(), SysError>;

    /// Looks an object up by key or name; `None` when it does not exist.
    fn find(&mut self, id: &ObjectId) -> Result<Option<Existing>, SysError>;

    /// Creates an object exclusively, with owner, creator, mode, capacity and initial values, a semaphore set marked
    /// initialised, and reads it back from the kernel. On an error nothing of it is left.
    fn create(&mut self, spec: &ObjectSpec) -> Result<Existing, SysError>;

    /// The values of a semaphore set (GETALL).
    fn sem_values(&mut self, set: &Existing) -> Result<Vec<u16>, SysError>;

    /// Who has touched an object, and when.
    fn traces(&mut self, object: &Existing) -> Result<Traces, SysError>;

    /// Removes an object, if it is still the one described: a System V object by its id (not its key), a queue by its
    /// name. An object that is gone already is no error.
    fn remove(&mut self, object: &Existing) -> Result<(), SysError>;

    /// Puts the limits of a System V kind into `values`, by [`Sysctl::index`]: one call (IPC_INFO) tells what up to three
    /// files below `/proc/sys` say. Nothing for POSIX queues.
    fn limits(&mut self, kind: Kind, values: &mut [Option<SysctlValue>; 13]) -> Result<(), SysError>;

    /// How much of the limits is in use, for the kinds asked.
    fn usage(&mut self, kinds: &[Kind]) -> Result<Usage, SysError>;
}
