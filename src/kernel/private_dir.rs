//! Directories of our own below `/run`: opened without following links, used by nobody else, written so that a reader sees
//! a whole file or none.

use super::SysError;
use super::file::{FileError, in_user_namespace, read_known, stat};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::sys::uio::pwrite;
use nix::unistd::{UnlinkatFlags, unlinkat, write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// A directory with mode 0700 that belongs to the running user.
#[derive(Debug)]
pub struct PrivateDir {
    fd: OwnedFd,
    /// Files must belong to the running user too. In a user namespace those that were written from within a container's
    /// show another id; there the directory's mode has to do.
    own_files: bool,
}

impl PrivateDir {
    /// Opens `name` below the directory `parent`, and makes it first if `create` says so. `None`: `parent` is not there, or
    /// `name` is not and was not to be made.
    ///
    /// # Errors
    /// A link on the way; a directory that others may write to, or that belongs to somebody else.
    pub fn open(parent: &Path, name: &str, create: bool) -> Result<Option<PrivateDir>, FileError> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let fd = match openat2(AT_FDCWD, parent, how) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(e) => return Err(FileError::from_open("open directory", e)),
        };
        let found = stat(&fd)?;
        let own = nix::unistd::geteuid().as_raw();
        if (found.st_uid != 0 && found.st_uid != own) || found.st_mode & 0o022 != 0 {
            return Err(untrusted(&found, true));
        }
        below(&fd, name, create, !in_user_namespace())
    }

    /// As [`PrivateDir::open`], below this one.
    pub fn subdir(&self, name: &str, create: bool) -> Result<Option<PrivateDir>, FileError> {
        below(&self.fd, name, create, self.own_files)
    }

    /// Names of everything in it that does not start with a dot, in no order.
    pub fn names(&self) -> Result<Vec<String>, FileError> {
        let failed =
            |e: std::io::Error| FileError::Io("read directory", Errno::from_raw(e.raw_os_error().unwrap_or(0)));
        let mut names = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/thread-self/fd/{}", self.fd.as_raw_fd())).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string()
                && !name.starts_with('.')
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Reads a file of at most `limit` bytes that nobody else can have written.
    pub fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, FileError> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH);
        let fd = openat2(&self.fd, name, how).map_err(|e| FileError::from_open("open", e))?;
        let found = stat(&fd)?;
        let foreign = self.own_files && found.st_uid != nix::unistd::geteuid().as_raw();
        if foreign || found.st_mode & 0o077 != 0 || (is_regular(&found) && found.st_nlink != 1) {
            return Err(untrusted(&found, false));
        }
        read_known(&fd, &found, limit)
    }

    /// Writes a file, mode 0600, in the place of one that may be there. Whoever is killed meanwhile leaves the old one.
    /// The file stays open for writing as long as its caller wants.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<OwnedFd, FileError> {
        let new = half_written(name);
        let fd = match self.create(&new) {
            // Left behind by somebody who was killed.
            Err(FileError::Io(_, Errno::EEXIST)) => {
                self.remove(&new)?;
                self.create(&new)?
            }
            other => other?,
        };
        let written = write_all(&fd, bytes)
            .and_then(|()| renameat(&self.fd, new.as_str(), &self.fd, name).map_err(|e| FileError::Io("rename", e)));
        if written.is_err() {
            let _ = self.remove(&new);
        }
        written.map(|()| fd)
    }

    /// Removes a file, and what [`PrivateDir::write`] may have left of it. One that is not there is no error.
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(FileError::Io("unlink", e)),
        }
    }

    /// When a file was last written: seconds and nanoseconds since the epoch.
    pub fn modified(&self, name: &str) -> Result<(i64, i64), FileError> {
        let found =
            fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|e| FileError::from_open("stat", e))?;
        Ok((found.st_mtime, found.st_mtime_nsec))
    }

    fn create(&self, name: &str) -> Result<OwnedFd, FileError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|e| FileError::Io("create", e))
    }
}

/// Gives an open file the present time without changing it: its first byte is `first` already, and is written again. Unlike
/// utimensat this asks for no right beyond the open file, and unlike a longer file for no room.
pub fn touch(file: &OwnedFd, first: u8) -> Result<(), SysError> {
    match pwrite(file, &[first], 0) {
        Ok(1) => Ok(()),
        Ok(_) => Err(SysError::new("pwrite", Errno::EIO)),
        Err(e) => Err(SysError::new("pwrite", e)),
    }
}

/// The name under which a file grows until it is whole.
pub fn half_written(name: &str) -> String {
    format!(".{name}.new")
}

fn below(parent: &OwnedFd, name: &str, create: bool, own_files: bool) -> Result<Option<PrivateDir>, FileError> {
    if create {
        match mkdirat(parent, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(FileError::Io("mkdir", e)),
        }
    }
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH);
    let fd = match openat2(parent, name, how) {
        Ok(fd) => fd,
        Err(Errno::ENOENT) => return Ok(None),
        Err(e) => return Err(FileError::from_open("open directory", e)),
    };
    let found = stat(&fd)?;
    if found.st_uid != nix::unistd::geteuid().as_raw() || found.st_mode & 0o077 != 0 {
        return Err(untrusted(&found, false));
    }
    Ok(Some(PrivateDir { fd, own_files }))
}

fn is_regular(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits()
}

/// `parent`: not what was to be opened, but the directory that it lies in.
fn untrusted(stat: &FileStat, parent: bool) -> FileError {
    FileError::Untrusted { owner: stat.st_uid, mode: stat.st_mode & 0o7777, directory: parent }
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> Result<(), FileError> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::EINTR) => {}
            Err(e) => return Err(FileError::Io("write", e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("oci-ipc-hook-private-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn writes_reads_lists_and_removes() {
        let scratch = Scratch::new("use");
        assert!(PrivateDir::open(&scratch.0.join("none"), "d", true).unwrap().is_none());
        assert!(PrivateDir::open(&scratch.0, "d", false).unwrap().is_none());
        let dir = PrivateDir::open(&scratch.0, "d", true).unwrap().unwrap();
        let path = scratch.0.join("d");
        assert_eq!(mode(&path), 0o700);
        dir.write("f", b"one").unwrap();
        dir.write("f", b"two").unwrap();
        assert_eq!((dir.read("f", 3).unwrap(), mode(&path.join("f"))), (b"two".to_vec(), 0o600));
        assert_eq!(dir.read("f", 2), Err(FileError::TooLarge(2)));
        // What a killed writer leaves does not count and does not disturb.
        fs::write(path.join(half_written("f")), "half").unwrap();
        assert_eq!(dir.names().unwrap(), ["f"]);
        dir.write("f", b"three").unwrap();
        assert!(!path.join(half_written("f")).exists());
        let again = PrivateDir::open(&scratch.0, "d", true).unwrap().unwrap();
        assert_eq!(again.read("f", 9).unwrap(), b"three");
        dir.remove("f").unwrap();
        dir.remove("f").unwrap();
        assert_eq!(dir.read("f", 9), Err(FileError::NotFound));
    }

    #[test]
    fn refuses_what_others_may_have_planted() {
        let scratch = Scratch::new("planted");
        let open = |name| PrivateDir::open(&scratch.0, name, true).map(|d| d.is_some());
        fs::create_dir(scratch.0.join("real")).unwrap();
        symlink("real", scratch.0.join("link")).unwrap();
        assert_eq!(open("link"), Err(FileError::Link));
        fs::set_permissions(scratch.0.join("real"), fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(open("real"), Err(FileError::Untrusted { mode: 0o750, directory: false, .. })));
        fs::write(scratch.0.join("file"), "").unwrap();
        assert_eq!(open("file"), Err(FileError::Io("open directory", Errno::ENOTDIR)));
        assert!(open("../x").is_err() || !scratch.0.join("../x").exists());

        let dir = PrivateDir::open(&scratch.0, "d", true).unwrap().unwrap();
        let path = scratch.0.join("d");
        fs::write(scratch.0.join("secret"), "content").unwrap();
        fs::set_permissions(scratch.0.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("../secret", path.join("link")).unwrap();
        assert_eq!(dir.read("link", 99), Err(FileError::Link));
        fs::hard_link(scratch.0.join("secret"), path.join("hard")).unwrap();
        assert!(matches!(dir.read("hard", 99), Err(FileError::Untrusted { .. })));
        nix::unistd::mkfifo(&path.join("fifo"), Mode::S_IRUSR).unwrap();
        assert_eq!(dir.read("fifo", 99), Err(FileError::NotRegular));
        fs::write(path.join("open"), "x").unwrap();
        fs::set_permissions(path.join("open"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(dir.read("open", 99), Err(FileError::Untrusted { mode: 0o644, .. })));
        // A link in the place of a new file is replaced, not followed.
        dir.write("link", b"new").unwrap();
        assert_eq!(fs::read(scratch.0.join("secret")).unwrap(), b"content");
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(open("d"), Err(FileError::Untrusted { mode: 0o777, directory: true, .. })));
    }
}
