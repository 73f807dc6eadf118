//! Device and inode of a container's file as its own processes see them. Through the mounts of the hook they would be
//! others: a volume is mounted for the container only, and an image has another device at each mount.

use super::SysError;
use super::file::read_all;
use super::process::Process;
use super::sys::{Text, open, proc_path, stat_fd};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

/// The root directory of a container.
#[derive(Debug)]
pub struct ContainerRoot {
    fd: OwnedFd,
    /// Whose list of mounts the root is in; `None` = our own.
    pid: Option<i32>,
}

/// A file of a container, as stat(2) shows it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerFile {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// Where it comes from.
    pub origin: FileOrigin,
}

/// Whether other containers that have the file see the same device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOrigin {
    /// The mount of the root directory: the image, which has a device of its own at each mount.
    Image,
    /// A file system that is mounted outside of the container too: a volume, bound into it.
    Volume,
    /// A file system that was made for this container alone, such as its `/tmp`.
    Private,
}

impl ContainerRoot {
    /// The root of a process. Before the runtime has made it the process's own (pivot_root comes after createRuntime), it is
    /// the directory `rootfs` in the process's mount namespace. ENOENT: `rootfs` is needed and not given, or not there.
    pub fn of(process: &Process, rootfs: Option<&Path>) -> Result<ContainerRoot, SysError> {
        let call = "open /proc/PID/root";
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let root = open(call, proc_path(process.pid(), "/root").as_c_str(), flags)?;
        process.still_alive()?;
        let (theirs, ours) = (stat_fd(&root)?, stat_fd(&open(call, c"/", flags)?)?);
        let pid = Some(process.pid());
        if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino) {
            return Ok(ContainerRoot { fd: root, pid });
        }
        let call = "open root.path";
        let rootfs = rootfs.ok_or_else(|| SysError::new(call, Errno::ENOENT))?;
        let fd = openat2(&root, rootfs, inside(flags)).map_err(|e| SysError::new(call, e))?;
        Ok(ContainerRoot { fd, pid })
    }

    /// The root of this process, which is in the container.
    pub fn own() -> Result<ContainerRoot, SysError> {
        let fd = open("open /", c"/", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        Ok(ContainerRoot { fd, pid: None })
    }

    /// Looks at a file; links are followed within the container. It is not opened for anything but its status.
    pub fn file(&self, path: &str) -> Result<ContainerFile, SysError> {
        let fd = openat2(&self.fd, path, inside(OFlag::O_PATH)).map_err(|e| SysError::new("openat2", e))?;
        let stat = stat_fd(&fd)?;
        let (mount, root_mount) = (mount_id(&fd)?, mount_id(&self.fd)?);
        let origin = if mount == root_mount { FileOrigin::Image } else { self.origin(mount)? };
        Ok(ContainerFile { device: stat.st_dev, inode: stat.st_ino, origin })
    }

    /// The mount's file system is looked for among our own mounts. Its device is compared as the lists of mounts show it: that
    /// of btrfs is another one than stat's. From inside the container there is no other list to compare with: there a mount
    /// of a part of a file system counts, which only a bind mount is.
    fn origin(&self, mount: u64) -> Result<FileOrigin, SysError> {
        let call = "read mountinfo";
        let read = |path: &std::ffi::CStr| {
            let fd = open(call, path, OFlag::O_RDONLY)?;
            read_all(&fd, 16 << 20).map_err(|e| SysError::new(call, e.errno()))
        };
        let ours = read(c"/proc/self/mountinfo")?;
        let theirs = self.pid.map(|pid| read(proc_path(pid, "/mountinfo").as_c_str())).transpose()?;
        let there = mounts(theirs.as_deref().unwrap_or(&ours)).find(|m| m.id == mount);
        let there = there.ok_or_else(|| SysError::new(call, Errno::ENOENT))?;
        let bound = match theirs {
            Some(_) => mounts(&ours).any(|m| m.device == there.device),
            None => there.root != b"/",
        };
        Ok(if bound { FileOrigin::Volume } else { FileOrigin::Private })
    }
}

/// Nothing outside of the directory is reached, whatever links there are.
fn inside(flags: OFlag) -> OpenHow {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve)
}

/// The number of the mount that a descriptor was opened through.
fn mount_id(fd: &OwnedFd) -> Result<u64, SysError> {
    let call = "read /proc/self/fdinfo";
    let path = Text::<64>::new().push("/proc/thread-self/fdinfo/").push_i32(fd.as_raw_fd());
    let info = open(call, path.as_c_str(), OFlag::O_RDONLY)?;
    let text = read_all(&info, 4096).map_err(|e| SysError::new(call, e.errno()))?;
    let text = str::from_utf8(&text).unwrap_or_default();
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| SysError::new(call, Errno::EBADMSG))
}

/// A line of a list of mounts.
#[derive(Debug, PartialEq, Eq)]
struct Mount<'l> {
    id: u64,
    device: &'l [u8],
    /// What of the file system is mounted.
    root: &'l [u8],
}

/// The mounts of a list: lines of `36 35 98:0 /root /place …`, whose paths may hold any byte but a blank.
fn mounts(list: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    list.split(|b| *b == b'\n').filter_map(|line| {
        let mut words = line.split(|b| *b == b' ');
        let id = str::from_utf8(words.next()?).ok()?.parse().ok()?;
        Some(Mount { id, device: words.nth(1)?, root: words.next()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_of_mounts() {
        let list = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n\
                     37 36 0:5 / /dev\xff rw - devtmpfs d rw\n\nx y\n";
        let found: Vec<_> = mounts(list).collect();
        let mount = |id, device, root| Mount { id, device, root };
        assert_eq!(found, [mount(36, b"98:0", b"/mnt1"), mount(37, b"0:5", b"/")]);
    }

    #[test]
    fn a_file_is_the_one_that_stat_shows() {
        use std::os::unix::fs::MetadataExt as _;
        let root = ContainerRoot::own().unwrap();
        let shown = std::fs::metadata("/etc/passwd").unwrap();
        let found = root.file("/etc/passwd").unwrap();
        assert_eq!((found.device, found.inode), (shown.dev(), shown.ino()));
        assert_eq!(root.file("/etc/../../etc/passwd").unwrap(), found, "nothing lies above the root");
        assert_eq!(root.file("/proc/self/fd").unwrap().origin, FileOrigin::Private);
        assert_eq!(root.file("/none").unwrap_err().errno, Errno::ENOENT);
        assert_eq!(root.file("/proc/self/exe").unwrap_err().errno, Errno::ELOOP, "no magic link is followed");
    }
}
