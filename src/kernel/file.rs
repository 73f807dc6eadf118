//! Files that others may have prepared: read with a bound, opened without following links, trusted by their owner.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::read;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What stat shows for ids that the user namespace does not map (`kernel.overflowuid`).
pub const OVERFLOW_ID: u32 = 65534;

/// Why a file was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// There is none.
    NotFound,
    /// It, or a directory on the way to it, is a symbolic link.
    Link,
    /// It, or its directory, belongs to somebody else, or others may write to it.
    Untrusted {
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
        /// It is the directory that is meant, not the file.
        directory: bool,
    },
    /// It is larger than this many bytes.
    TooLarge(usize),
    /// It is a directory, a device, a FIFO or a socket.
    NotRegular,
    /// A system call failed.
    Io(&'static str, Errno),
}

impl FileError {
    /// The kernel's answer, or the one that comes nearest.
    pub fn errno(&self) -> Errno {
        match self {
            FileError::NotFound => Errno::ENOENT,
            FileError::Link => Errno::ELOOP,
            FileError::Untrusted { .. } => Errno::EACCES,
            FileError::TooLarge(_) => Errno::EFBIG,
            FileError::NotRegular => Errno::EINVAL,
            FileError::Io(_, errno) => *errno,
        }
    }

    pub(super) fn from_open(call: &'static str, errno: Errno) -> FileError {
        match errno {
            Errno::ENOENT => FileError::NotFound,
            Errno::ELOOP => FileError::Link,
            // A socket cannot be opened.
            Errno::ENXIO => FileError::NotRegular,
            errno => FileError::Io(call, errno),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::NotFound => f.write_str("no such file"),
            FileError::Link => f.write_str("is reached through a symbolic link, which is not followed"),
            FileError::Untrusted { owner, mode, directory } => write!(
                f,
                "{} belongs to uid {owner} with mode {mode:04o}, and must belong to root or to the running user, with nobody \
                 else able to write to it",
                if *directory { "its directory" } else { "it" }
            ),
            FileError::TooLarge(limit) => write!(f, "larger than {limit} bytes"),
            FileError::NotRegular => f.write_str("not a regular file"),
            FileError::Io(call, errno) => write!(f, "{call}: {errno}"),
        }
    }
}

impl std::error::Error for FileError {}

/// Standard input, without the buffer that `std::io::stdin` puts before it.
pub fn standard_input() -> BorrowedFd<'static> {
    // SAFETY: nothing in the program closes descriptor 0.
    unsafe { BorrowedFd::borrow_raw(0) }
}

/// Reads to the end and forgets what it read.
pub fn drain(fd: &impl AsFd) -> Result<(), FileError> {
    let mut bytes = vec![0u8; 64 << 10];
    loop {
        match read(fd, &mut bytes) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(FileError::Io("read", e)),
        }
    }
}

/// Reads to the end, at most `limit` bytes.
pub fn read_all(fd: &impl AsFd, limit: usize) -> Result<Vec<u8>, FileError> {
    read_to_end(fd, 4096, None, limit)
}

/// Reads a regular file of at most `limit` bytes. It may not be a link; directories before it may.
pub fn read_regular(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let fd = nix::fcntl::openat(AT_FDCWD, path, flags, nix::sys::stat::Mode::empty())
        .map_err(|e| FileError::from_open("open", e))?;
    let stat = stat(&fd)?;
    read_known(&fd, &stat, limit)
}

/// A directory whose files are trusted as far as they belong to the right user (see [`TrustedDir::open`]).
#[derive(Debug)]
pub struct TrustedDir {
    fd: OwnedFd,
    built_in: bool,
}

impl TrustedDir {
    /// Opens a directory that must, as its files, belong to root or the running user and not be writable by its group or
    /// others. No link is followed on the way to it.
    ///
    /// `built_in`: one of the program's own directories. In a user namespace root's files there show the overflow id, which
    /// then counts as root's.
    pub fn open(path: &Path, built_in: bool) -> Result<TrustedDir, FileError> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let fd = openat2(AT_FDCWD, path, how).map_err(|e| FileError::from_open("open directory", e))?;
        check_trust(&stat(&fd)?, built_in)?;
        Ok(TrustedDir { fd, built_in })
    }

    /// Reads a file of at most `limit` bytes directly below the directory.
    pub fn read(&self, name: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH);
        let fd = openat2(&self.fd, name, how).map_err(|e| FileError::from_open("open", e))?;
        let stat = stat(&fd)?;
        regular(&stat)?;
        check_trust(&stat, self.built_in)?;
        read_known(&fd, &stat, limit)
    }
}

/// Reads a trusted file by its whole path; the rules are those of [`TrustedDir::open`], for its directory too.
pub fn read_trusted(path: &Path, built_in: bool, limit: usize) -> Result<Vec<u8>, FileError> {
    let name = Path::new(path.file_name().ok_or(FileError::NotRegular)?);
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    TrustedDir::open(dir, built_in)?.read(name, limit)
}

fn check_trust(stat: &FileStat, built_in: bool) -> Result<(), FileError> {
    let own = || nix::unistd::geteuid().as_raw();
    let overflow_is_root = || built_in && in_user_namespace();
    if is_trusted((stat.st_uid, stat.st_mode), own, overflow_is_root) {
        Ok(())
    } else {
        let directory = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
        Err(FileError::Untrusted { owner: stat.st_uid, mode: stat.st_mode & 0o7777, directory })
    }
}

/// The rule itself, for a file of this owner and mode. Whatever the group is: a POSIX ACL that lets somebody else write
/// shows as the group's right.
fn is_trusted((uid, mode): (u32, u32), own: impl FnOnce() -> u32, overflow_is_root: impl FnOnce() -> bool) -> bool {
    mode & 0o022 == 0 && (uid == 0 || uid == own() || (uid == OVERFLOW_ID && overflow_is_root()))
}

/// The command that makes a file or directory of this owner trusted.
pub fn correct_rights(owner: u32, path: &str) -> String {
    let own = [0, nix::unistd::geteuid().as_raw()].contains(&owner);
    let chown = if own { String::new() } else { format!("chown root:root {path} && ") };
    format!("{chown}chmod go-w {path}")
}

/// True in a user namespace that maps ids to others.
pub(super) fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !crate::ipc::IdMap::parse(&map).is_ok_and(|map| map.is_identity())
}

pub(super) fn stat(fd: &OwnedFd) -> Result<FileStat, FileError> {
    fstat(fd).map_err(|e| FileError::Io("fstat", e))
}

fn regular(stat: &FileStat) -> Result<(), FileError> {
    match stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits() {
        true => Ok(()),
        false => Err(FileError::NotRegular),
    }
}

pub(super) fn read_known(fd: &OwnedFd, stat: &FileStat, limit: usize) -> Result<Vec<u8>, FileError> {
    regular(stat)?;
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if size > limit {
        return Err(FileError::TooLarge(limit));
    }
    // With room for one byte more, a file of that size needs one call: a regular file gives less than asked only at its
    // end. Files of procfs and cgroupfs say 0 and are read until they give nothing.
    let expected = (size > 0).then_some(size);
    read_to_end(fd, expected.map_or(4096, |size| size + 1), expected, limit)
}

/// Reads until there is nothing more, or until `expected` bytes came at once.
fn read_to_end(fd: &impl AsFd, room: usize, expected: Option<usize>, limit: usize) -> Result<Vec<u8>, FileError> {
    let mut bytes = vec![0u8; room.min(limit + 1)];
    let mut filled = 0;
    loop {
        match read(fd, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::EINTR) => continue,
            Err(e) => return Err(FileError::Io("read", e)),
        }
        if filled > limit {
            return Err(FileError::TooLarge(limit));
        }
        if Some(filled) == expected {
            break;
        }
        if filled == bytes.len() {
            bytes.resize((2 * filled).min(limit + 1), 0);
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
