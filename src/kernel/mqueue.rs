//! POSIX message queues.
//!
//! The system calls are made raw: they take the name without its slash, which the libcs check in different ways. No mount of
//! the mqueue file system is needed; the calls use the namespace's own.

use super::SysError;
use super::sys::{check, check_fd, stat_fd};
use crate::ipc::{Existing, Kind, Mode, ObjectId, Owner, QueueName};
use libc::{c_int, c_long};
use nix::errno::Errno;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

/// The kernel's `struct mq_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes {
    flags: c_long,
    /// Most messages.
    pub(super) max_messages: c_long,
    /// Most bytes of one message.
    pub(super) message_size: c_long,
    /// Messages in the queue.
    pub(super) messages: c_long,
    reserved: [c_long; 4],
}

/// Looks a queue up by name.
pub(super) fn find(name: &QueueName) -> Result<Option<Existing>, SysError> {
    match open_any(name) {
        Ok(queue) => describe(name, &queue).map(Some),
        Err(e) if e.errno == Errno::ENOENT => Ok(None),
        Err(e) => Err(e),
    }
}

/// Opens a queue to look at it.
pub(super) fn open_any(name: &QueueName) -> Result<OwnedFd, SysError> {
    open(name, libc::O_RDONLY, 0, None).or_else(|e| match e.errno {
        // Without the right to read, the right to write is as good.
        Errno::EACCES => open(name, libc::O_WRONLY, 0, None).map_err(|_| e),
        _ => Err(e),
    })
}

/// Creates a queue, owned by the effective ids. `capacity` is the number of messages and the bytes of one; `None` = the
/// namespace's defaults. The umask must be 0, or the mode comes out smaller.
pub(super) fn create(name: &QueueName, capacity: Option<(u64, u64)>, mode: Mode) -> Result<Existing, SysError> {
    let attributes = capacity
        .map(|(messages, size)| {
            let number = |n| c_long::try_from(n).map_err(|_| SysError::new("mq_open", Errno::EINVAL));
            Ok(Attributes { max_messages: number(messages)?, message_size: number(size)?, ..Attributes::default() })
        })
        .transpose()?;
    let queue = open(name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, mode.bits(), attributes.as_ref())?;
    describe(name, &queue).map_err(|e| match remove(name) {
        Ok(()) => e,
        Err(second) => SysError { also: Some(Box::new(second)), ..e },
    })
}

/// Unlinks a queue; one that is gone already is no error.
pub(super) fn remove(name: &QueueName) -> Result<(), SysError> {
    with_name(name, |bare| {
        // SAFETY: `bare` ends with a NUL.
        match check("mq_unlink", unsafe { libc::syscall(libc::SYS_mq_unlink, bare.as_ptr()) }) {
            Err(e) if e.errno != Errno::ENOENT => Err(e),
            _ => Ok(()),
        }
    })
}

/// `mq_getattr` of an open queue.
pub(super) fn attributes(queue: &OwnedFd) -> Result<Attributes, SysError> {
    let mut found = Attributes::default();
    let none: *const Attributes = std::ptr::null();
    // SAFETY: the kernel reads nothing through the null pointer and fills `found`, which has its layout.
    check("mq_getattr", unsafe { libc::syscall(libc::SYS_mq_getsetattr, queue.as_raw_fd(), none, &raw mut found) })?;
    Ok(found)
}

fn describe(name: &QueueName, queue: &OwnedFd) -> Result<Existing, SysError> {
    let found = attributes(queue)?;
    let stat = stat_fd(queue)?;
    let owner = Owner { uid: stat.st_uid, gid: stat.st_gid };
    Ok(Existing {
        id: Some(ObjectId::Mqueue(name.clone())),
        kind: Kind::Mqueue,
        sysv_id: None,
        owner,
        creator: owner,
        mode: Mode::from_kernel(stat.st_mode),
        extent: found.max_messages as u64,
        message_size: found.message_size as u64,
        in_use: found.messages as u64,
        ctime: 0,
        otime: 0,
        inode: stat.st_ino,
    })
}

fn open(name: &QueueName, flags: c_int, mode: u32, attributes: Option<&Attributes>) -> Result<OwnedFd, SysError> {
    let attributes = attributes.map_or(std::ptr::null(), std::ptr::from_ref);
    with_name(name, |bare| {
        // SAFETY: `bare` ends with a NUL, `attributes` is null or a live record of the kernel's layout.
        check_fd("mq_open", unsafe {
            libc::syscall(libc::SYS_mq_open, bare.as_ptr(), flags | libc::O_CLOEXEC, mode, attributes)
        })
    })
}

/// Hands the name without its slash to `call`, NUL-terminated on the stack.
fn with_name<T>(name: &QueueName, call: impl FnOnce(&CStr) -> Result<T, SysError>) -> Result<T, SysError> {
    let bare = name.bare().as_bytes();
    let mut buffer = [0u8; 256];
    match buffer.get_mut(..bare.len()).map(|b| b.copy_from_slice(bare)) {
        Some(()) => {
            call(CStr::from_bytes_until_nul(&buffer).map_err(|_| SysError::new("mq_open", Errno::ENAMETOOLONG))?)
        }
        None => Err(SysError::new("mq_open", Errno::ENAMETOOLONG)),
    }
}
