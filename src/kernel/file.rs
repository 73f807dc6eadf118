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
    /// Opens a directory that must, as its files, belong to root or the running user and not be writable by others; its
    /// group may write only if that is root's. No link is followed on the way to it.
    ///
    /// `built_in`: one of the program's own directories. In a user namespace root's files there show the overflow id, which
    /// then counts as root's if neither group nor others may write.
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
    if is_trusted((stat.st_uid, stat.st_gid, stat.st_mode), own, overflow_is_root) {
        Ok(())
    } else {
        let directory = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
        Err(FileError::Untrusted { owner: stat.st_uid, mode: stat.st_mode & 0o7777, directory })
    }
}

/// The rule itself, for a file of this owner, group and mode.
fn is_trusted(
    (uid, gid, mode): (u32, u32, u32),
    own: impl FnOnce() -> u32,
    overflow_is_root: impl FnOnce() -> bool,
) -> bool {
    if mode & 0o002 != 0 {
        return false;
    }
    let group_writes = mode & 0o020 != 0;
    if uid == 0 || uid == own() {
        return !group_writes || gid == 0;
    }
    uid == OVERFLOW_ID && !group_writes && overflow_is_root()
}

/// True in a user namespace that maps ids to others.
pub(super) fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !crate::ipc::IdMap::parse(&map).is_ok_and(|map| map.is_identity())
}

pub(super) fn stat(fd: &OwnedFd) -> Result<FileStat, FileError> {
    fstat(fd).map_err(|e| FileError::Io("fstat", e))
}

pub(super) fn read_known(fd: &OwnedFd, stat: &FileStat, limit: usize) -> Result<Vec<u8>, FileError> {
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Err(FileError::NotRegular);
    }
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
mod tests {
    use super::super::testing::{in_child, is_root};
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::path::PathBuf;

    /// A directory that goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("oci-ipc-hook-file-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Scratch(path)
        }

        fn file(&self, name: &str, content: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, content).unwrap();
            set_mode(&path, 0o644);
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn reads_up_to_the_limit_and_not_beyond() {
        let dir = Scratch::new("limit");
        for size in [0, 1, 4095, 4096, 4097, 10_000] {
            let content = vec![b'x'; size];
            let file = dir.file("f", &content);
            assert_eq!(read_regular(&file, size).unwrap(), content);
            assert_eq!(read_trusted(&file, false, size + 1).unwrap(), content);
            if size > 0 {
                assert_eq!(read_regular(&file, size - 1), Err(FileError::TooLarge(size - 1)));
            }
        }
    }

    #[test]
    fn reads_pipes_and_files_without_a_size_to_their_end() {
        for size in [0, 1, 4095, 4096, 4097, 60_000] {
            let (reader, writer) = nix::unistd::pipe().unwrap();
            let content = vec![b'y'; size];
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // In pieces, so that one read does not get all.
                    for piece in content.chunks(1000) {
                        nix::unistd::write(&writer, piece).unwrap();
                    }
                    drop(writer);
                });
                assert_eq!(read_all(&reader, size).unwrap(), content);
            });
        }
        let (reader, writer) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&writer, &[0; 5000]).unwrap();
        assert_eq!(read_all(&reader, 4999), Err(FileError::TooLarge(4999)));
        let mounts = read_regular(Path::new("/proc/self/mountinfo"), 1 << 20).unwrap();
        assert!(mounts.ends_with(b"\n"));
    }

    #[test]
    fn only_regular_files_are_read() {
        let dir = Scratch::new("kinds");
        nix::unistd::mkfifo(&dir.0.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.0.join("socket")).unwrap();
        for other in [dir.0.join("fifo"), dir.0.join("socket"), dir.0.clone(), "/dev/zero".into()] {
            assert_eq!(read_regular(&other, 10), Err(FileError::NotRegular), "{}", other.display());
        }
        assert_eq!(read_trusted(&dir.0.join("fifo"), false, 10), Err(FileError::NotRegular));
        assert_eq!(read_regular(&dir.0.join("none"), 10), Err(FileError::NotFound));
        assert_eq!(TrustedDir::open(&dir.0.join("none"), false).unwrap_err(), FileError::NotFound);
        let file = dir.file("f", b"");
        assert_eq!(TrustedDir::open(&file, false).unwrap_err(), FileError::Io("open directory", Errno::ENOTDIR));
    }

    #[test]
    fn no_link_is_followed() {
        let dir = Scratch::new("links");
        let file = dir.file("f", b"content");
        symlink(&file, dir.0.join("link")).unwrap();
        symlink(&dir.0, dir.0.join("dir")).unwrap();
        assert_eq!(read_regular(&dir.0.join("link"), 10), Err(FileError::Link));
        let open = TrustedDir::open(&dir.0, false).unwrap();
        assert_eq!(open.read(Path::new("f"), 10).unwrap(), b"content");
        assert_eq!(open.read(Path::new("link"), 10), Err(FileError::Link));
        assert_eq!(open.read(Path::new("dir/f"), 10), Err(FileError::Link));
        assert_eq!(read_trusted(&dir.0.join("dir/f"), false, 10), Err(FileError::Link));
        for outside in ["../f", "/etc/passwd", ".."] {
            assert!(open.read(Path::new(outside), 1 << 20).is_err(), "{outside}");
        }
    }

    #[test]
    fn others_may_not_have_written_it() {
        let dir = Scratch::new("trust");
        let file = dir.file("f", b"content");
        let read = || read_trusted(&file, false, 10);
        assert_eq!(read().unwrap(), b"content");
        let own = nix::unistd::geteuid().as_raw();
        set_mode(&file, 0o646);
        assert_eq!(read(), Err(FileError::Untrusted { owner: own, mode: 0o646, directory: false }));
        set_mode(&file, 0o600);
        set_mode(&dir.0, 0o1777);
        assert_eq!(read(), Err(FileError::Untrusted { owner: own, mode: 0o1777, directory: true }), "sticky or not");
        set_mode(&dir.0, 0o755);
        assert!(read().is_ok());
        if is_root() {
            chown(&file, Some(1234), None).unwrap();
            assert_eq!(read(), Err(FileError::Untrusted { owner: 1234, mode: 0o600, directory: false }));
            in_child(|| {
                nix::unistd::seteuid(1234.into()).unwrap();
                assert_eq!(read().unwrap(), b"content", "the running user's own, in root's directory");
            });
            chown(&dir.0, Some(1235), None).unwrap();
            chown(&file, Some(0), None).unwrap();
            assert_eq!(read(), Err(FileError::Untrusted { owner: 1235, mode: 0o755, directory: true }));
        }
    }

    #[test]
    fn the_rule_of_trust() {
        let trusted = |stat, overflow| is_trusted(stat, || 1000, || overflow);
        for good in [(0, 0, 0o644), (0, 0, 0o664), (1000, 1000, 0o600), (1000, 0, 0o660), (0, 5, 0o640)] {
            assert!(trusted(good, false), "{good:?}");
        }
        for bad in [
            (0, 0, 0o646),
            (0, 5, 0o660),
            (1000, 1000, 0o664),
            (1001, 0, 0o600),
            (OVERFLOW_ID, 0, 0o600),
            (1000, 0, 0o602),
        ] {
            assert!(!trusted(bad, false), "{bad:?}");
        }
        assert!(trusted((OVERFLOW_ID, OVERFLOW_ID, 0o644), true));
        assert!(!trusted((OVERFLOW_ID, 0, 0o664), true));
        assert!(!trusted((OVERFLOW_ID, 0, 0o646), true));
        assert!(!trusted((1001, 0, 0o600), true));
    }

    #[test]
    fn in_a_user_namespace_root_is_the_overflow_id_in_built_in_directories() {
        if !is_root() {
            return;
        }
        let dir = Scratch::new("overflow");
        dir.file("f", b"content");
        in_child(|| {
            // SAFETY: no pointers are passed. Nothing is mapped: all files show the overflow id, so do we.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWUSER) }, 0);
            let outcome = |built_in| is_trusted((OVERFLOW_ID, 0, 0o644), || 5, || built_in && in_user_namespace());
            assert!(outcome(true) && !outcome(false));
            assert!(TrustedDir::open(&dir.0, true).unwrap().read(Path::new("f"), 10).is_ok());
        });
        assert!(!in_user_namespace());
    }
}
