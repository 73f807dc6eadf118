//! Everything that lies in a namespace, for people who look at it.

use super::SysError;
use super::file::read_all;
use super::mqueue::attributes;
use super::namespace::Joined;
use super::sys::{check, check_fd, file_system, open, open_below, stat_fd};
use super::sysv::{MSG, MsgStat, if_exists};
use super::sysvipc::{Common, MsgRecord, SemRecord, ShmRecord, parse_msg, parse_sem, parse_shm};
use crate::ipc::{Existing, IdMaps, Kind, Mode, ObjectId, Owner, ValueError};
use libc::c_uint;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, fstatat};
use nix::sys::statfs::FsType;
use nix::unistd::read;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr::null;

/// Far more than 32 768 lines have.
const LONGEST_LIST: usize = 64 << 20;

/// `include/uapi/linux/mount.h`
const FSOPEN_CLOEXEC: c_uint = 1;
const FSCONFIG_CMD_CREATE: c_uint = 6;
const FSMOUNT_CLOEXEC: c_uint = 1;
const MOUNT_ATTR_NOSUID_NODEV_NOEXEC: c_uint = 2 | 4 | 8;

/// `MQUEUE_MAGIC` of ipc/mqueue.c.
const MQUEUE_MAGIC: FsType = FsType(0x1980_0202);

/// A POSIX message queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqueueRecord {
    /// With its slash; any bytes but NUL.
    pub name: Vec<u8>,
    /// Owner.
    pub owner: Owner,
    /// Permission bits.
    pub mode: Mode,
    /// Number of its inode.
    pub inode: u64,
    /// `None` when we may not open it.
    pub content: Option<MqueueContent>,
}

/// What only an open queue tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MqueueContent {
    /// Most messages.
    pub max_messages: u64,
    /// Most bytes of one message.
    pub message_size: u64,
    /// Messages in the queue.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// All objects of a namespace. Ids are those that the container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Segments, in the kernel's order.
    pub shm: Vec<ShmRecord>,
    /// Semaphore sets, in the kernel's order.
    pub sem: Vec<SemRecord>,
    /// Message queues, in the kernel's order.
    pub msg: Vec<MsgRecord>,
    /// POSIX queues by name.
    pub mqueue: Vec<MqueueRecord>,
    /// Why POSIX queues could not be listed, if so.
    pub mqueue_error: Option<SysError>,
}

impl From<&MqueueRecord> for Existing {
    /// A name that is not UTF-8 gives no id; what is not known is 0.
    fn from(r: &MqueueRecord) -> Existing {
        let content = r.content.unwrap_or(MqueueContent { max_messages: 0, message_size: 0, messages: 0, bytes: 0 });
        Existing {
            id: str::from_utf8(&r.name).ok().and_then(|name| name.parse().ok()).map(ObjectId::Mqueue),
            kind: Kind::Mqueue,
            sysv_id: None,
            owner: r.owner,
            creator: r.owner,
            mode: r.mode,
            extent: content.max_messages,
            message_size: content.message_size,
            in_use: content.messages,
            ctime: 0,
            otime: 0,
            inode: r.inode,
        }
    }
}

/// Lists everything in the namespace that was joined. A kernel without System V IPC or without POSIX queues has none.
pub fn list_all(ns: &Joined) -> Result<Listing, SysError> {
    let mut listing = list_outside(ns)?;
    let commons = listing.shm.iter_mut().map(|r| &mut r.common);
    let commons = commons.chain(listing.sem.iter_mut().map(|r| &mut r.common));
    commons.chain(listing.msg.iter_mut().map(|r| &mut r.common)).for_each(|c| translate(c, ns.maps()));
    listing.mqueue.iter_mut().for_each(|q| q.owner = ns.maps().to_inside(q.owner));
    Ok(listing)
}

/// The same with the ids that this process sees, which [`Joined::maps`] translates.
pub fn list_outside(ns: &Joined) -> Result<Listing, SysError> {
    let mut listing = Listing {
        shm: read_list(c"/proc/sysvipc/shm", parse_shm)?,
        sem: read_list(c"/proc/sysvipc/sem", parse_sem)?,
        msg: read_list(c"/proc/sysvipc/msg", parse_msg)?,
        ..Listing::default()
    };
    for queue in &mut listing.msg {
        queue.qbytes = if_exists(MSG.stat::<MsgStat>(queue.common.id))?.map(|s| s.qbytes);
    }
    match list_mqueues(ns.is_own()) {
        Ok(queues) => listing.mqueue = queues,
        Err(e) => listing.mqueue_error = Some(e),
    }
    Ok(listing)
}

fn translate(common: &mut Common, maps: &IdMaps) {
    common.owner = maps.to_inside(common.owner);
    common.creator = maps.to_inside(common.creator);
}

fn read_list<T>(path: &CStr, parse: fn(&[u8]) -> Result<Vec<T>, ValueError>) -> Result<Vec<T>, SysError> {
    let call = "read /proc/sysvipc";
    match open(call, path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW) {
        Ok(fd) => {
            let text = read_all(&fd, LONGEST_LIST).map_err(|e| SysError::new(call, e.errno()))?;
            parse(&text).map_err(|_| SysError::new(call, Errno::EBADMSG))
        }
        Err(e) if e.errno == Errno::ENOENT => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// All POSIX queues, by name. The mqueue file system of the namespace is mounted for ourselves alone, at no place of any
/// mount table. `own`: it is the namespace that this process was started in.
fn list_mqueues(own: bool) -> Result<Vec<MqueueRecord>, SysError> {
    let dir = match mount_mqueue() {
        Ok(dir) => dir,
        // ENODEV: a kernel without POSIX queues.
        Err(e) if e.errno == Errno::ENODEV => return Ok(Vec::new()),
        Err(e) if own => mounted_mqueue().ok_or(e)?,
        Err(e) => return Err(e),
    };
    let call = "read mqueue directory";
    let failed = |e: std::io::Error| SysError::new(call, Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)));
    let mut queues = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/thread-self/fd/{}", dir.as_raw_fd())).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = CString::new(name.as_bytes()).map_err(|_| SysError::new(call, Errno::EINVAL))?;
        // One that has gone in the meantime is not there.
        queues.extend(if_exists(describe(&dir, &name))?);
    }
    queues.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(queues)
}

fn mount_mqueue() -> Result<OwnedFd, SysError> {
    let context = match fsopen() {
        // Mounting is a right in the user namespace of our mount namespace; one of our own is in our user namespace.
        Err(e) if e.errno == Errno::EPERM => {
            // SAFETY: no pointers are passed.
            check("unshare", unsafe { libc::unshare(libc::CLONE_NEWNS) }.into()).map_err(|_| e)?;
            fsopen()
        }
        other => other,
    }?;
    let fd = context.as_raw_fd();
    // SAFETY: this command takes neither a key nor a value.
    let created = unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, null::<u8>(), null::<u8>(), 0) };
    check("fsconfig", created)?;
    // SAFETY: no pointers are passed.
    let mount = unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID_NODEV_NOEXEC) };
    check_fd("fsmount", mount)
}

fn fsopen() -> Result<OwnedFd, SysError> {
    // SAFETY: the name ends with a NUL.
    check_fd("fsopen", unsafe { libc::syscall(libc::SYS_fsopen, c"mqueue".as_ptr(), FSOPEN_CLOEXEC) })
}

/// Within a container, where nothing may be mounted, the mount that it was given.
fn mounted_mqueue() -> Option<OwnedFd> {
    let dir = open("open /dev/mqueue", c"/dev/mqueue", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).ok()?;
    (file_system(&dir).ok()? == MQUEUE_MAGIC).then_some(dir)
}

fn describe(dir: &OwnedFd, name: &CStr) -> Result<MqueueRecord, SysError> {
    let record = |stat: FileStat, content| MqueueRecord {
        name: [b"/", name.to_bytes()].concat(),
        owner: Owner { uid: stat.st_uid, gid: stat.st_gid },
        mode: Mode::from_kernel(stat.st_mode),
        inode: stat.st_ino,
        content,
    };
    match open_below("open queue", dir, name, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW) {
        Ok(queue) => {
            let a = attributes(&queue)?;
            let content = MqueueContent {
                max_messages: a.max_messages as u64,
                message_size: a.message_size as u64,
                messages: a.messages as u64,
                bytes: queued_bytes(&queue)?,
            };
            Ok(record(stat_fd(&queue)?, Some(content)))
        }
        Err(e) if e.errno == Errno::EACCES => {
            let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|e| SysError::new("stat queue", e))?;
            Ok(record(stat, None))
        }
        Err(e) => Err(e),
    }
}

/// A queue's file reads as `QSIZE:129 NOTIFY:0 SIGNO:0 NOTIFY_PID:0`; reading takes no message out.
fn queued_bytes(queue: &OwnedFd) -> Result<u64, SysError> {
    let mut text = [0u8; 128];
    let length = read(queue, &mut text).map_err(|e| SysError::new("read queue", e))?;
    let size = str::from_utf8(&text[..length]).ok().and_then(|t| t.strip_prefix("QSIZE:")?.split(' ').next());
    size.and_then(|s| s.parse().ok()).ok_or_else(|| SysError::new("read queue", Errno::EBADMSG))
}
