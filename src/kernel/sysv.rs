//! What the three System V kinds share: the kernel's structures and the calls around them.
//!
//! The structures are the kernel's own (`ipc64_perm` and friends), not a libc's: musl has no `semid_ds` and names fields
//! differently. The calls are made raw for the same reason.

use super::SysError;
use super::sys::check;
use crate::ipc::{Existing, Kind, Mode, ObjectId, Owner};
use libc::{c_int, c_long};
use nix::errno::Errno;
use std::mem::size_of;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the System V structures below are those of x86_64 and aarch64");

/// `struct ipc64_perm`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Perm {
    pub(super) key: i32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) cuid: u32,
    pub(super) cgid: u32,
    pub(super) mode: u32,
    seq: u16,
    pad: u16,
    unused: [u64; 2],
}

/// `struct shmid64_ds`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShmStat {
    pub(super) perm: Perm,
    pub(super) size: u64,
    pub(super) atime: i64,
    pub(super) dtime: i64,
    pub(super) ctime: i64,
    pub(super) cpid: i32,
    pub(super) lpid: i32,
    pub(super) nattch: u64,
    unused: [u64; 2],
}

/// `struct semid64_ds`. x86_64 keeps a hole behind each time, a left-over of its 32-bit layout.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SemStat {
    pub(super) perm: Perm,
    pub(super) otime: i64,
    #[cfg(target_arch = "x86_64")]
    hole1: u64,
    pub(super) ctime: i64,
    #[cfg(target_arch = "x86_64")]
    hole2: u64,
    pub(super) nsems: u64,
    unused: [u64; 2],
}

/// `struct msqid64_ds`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MsgStat {
    pub(super) perm: Perm,
    pub(super) stime: i64,
    pub(super) rtime: i64,
    pub(super) ctime: i64,
    cbytes: u64,
    pub(super) qnum: u64,
    pub(super) qbytes: u64,
    pub(super) lspid: i32,
    pub(super) lrpid: i32,
    unused: [u64; 2],
}

/// `struct shm_info`, the answer to SHM_INFO.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShmInfo {
    pub(super) used_ids: c_int,
    pub(super) total_pages: u64,
    resident: u64,
    swapped: u64,
    attempts: u64,
    successes: u64,
}

/// `struct shminfo64`, the answer to IPC_INFO for segments.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShmLimits {
    pub(super) shmmax: u64,
    shmmin: u64,
    pub(super) shmmni: u64,
    shmseg: u64,
    pub(super) shmall: u64,
    unused: [u64; 4],
}

/// `struct seminfo`, the answer to IPC_INFO and SEM_INFO. For the latter `semusz` counts sets, `semaem` semaphores.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SemInfo {
    semmap: c_int,
    pub(super) semmni: c_int,
    pub(super) semmns: c_int,
    semmnu: c_int,
    pub(super) semmsl: c_int,
    pub(super) semopm: c_int,
    semume: c_int,
    pub(super) semusz: c_int,
    semvmx: c_int,
    pub(super) semaem: c_int,
}

/// `struct msginfo`, the answer to IPC_INFO and MSG_INFO. For the latter `msgpool` counts queues.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MsgInfo {
    pub(super) msgpool: c_int,
    msgmap: c_int,
    pub(super) msgmax: c_int,
    pub(super) msgmnb: c_int,
    pub(super) msgmni: c_int,
    msgssz: c_int,
    msgtql: c_int,
    msgseg: u16,
}

const _: () = assert!(size_of::<Perm>() == 48);
const _: () = assert!(size_of::<ShmStat>() == 112);
const _: () = assert!(size_of::<SemStat>() == if cfg!(target_arch = "x86_64") { 104 } else { 88 });
const _: () = assert!(size_of::<MsgStat>() == 120);
const _: () = assert!(size_of::<ShmInfo>() == 48);
const _: () = assert!(size_of::<ShmLimits>() == 72);
const _: () = assert!(size_of::<SemInfo>() == 40);
const _: () = assert!(size_of::<MsgInfo>() == 32);

/// IPC_STAT, IPC_SET and the *_INFO commands fit this shape for all three kinds.
pub(super) struct Calls {
    pub(super) kind: Kind,
    /// `shmctl`, `semctl` or `msgctl`, for errors.
    name: &'static str,
    number: c_long,
    /// SHM_STAT_ANY and its likes: IPC_STAT without the permission check (Linux 4.17).
    stat_any: c_int,
}

/// IPC_INFO of linux/ipc.h: the limits, for all three kinds.
pub(super) const IPC_INFO: c_int = 3;

pub(super) const SHM: Calls = Calls { kind: Kind::Shm, name: "shmctl", number: libc::SYS_shmctl, stat_any: 15 };
pub(super) const SEM: Calls = Calls { kind: Kind::Sem, name: "semctl", number: libc::SYS_semctl, stat_any: 20 };
pub(super) const MSG: Calls = Calls { kind: Kind::Msg, name: "msgctl", number: libc::SYS_msgctl, stat_any: 13 };

/// A structure that one of the ctl calls reads or fills, and that any bytes make valid.
///
/// # Safety
/// The implementor is `repr(C)`, made of integers only, and at least as large as what the kernel writes for the
/// commands it is used with.
pub(super) unsafe trait Record: Default {}
// SAFETY: the kernel's own layouts, integers only; their sizes are asserted above.
unsafe impl Record for ShmStat {}
// SAFETY: as above.
unsafe impl Record for SemStat {}
// SAFETY: as above.
unsafe impl Record for MsgStat {}
// SAFETY: as above.
unsafe impl Record for ShmInfo {}
// SAFETY: as above.
unsafe impl Record for ShmLimits {}
// SAFETY: as above.
unsafe impl Record for SemInfo {}
// SAFETY: as above.
unsafe impl Record for MsgInfo {}

impl Calls {
    /// `command` with a record that the kernel reads or fills.
    pub(super) fn control<R: Record>(&self, id: i32, command: c_int, record: &mut R) -> Result<c_long, SysError> {
        let record: *mut R = record;
        // SAFETY: `record` is a live, writable record of the kind that the command works on (see `Record`). semctl takes
        // it as its fourth argument, behind a semaphore number that these commands ignore.
        let result = unsafe {
            match self.kind {
                Kind::Sem => libc::syscall(self.number, id, 0, command, record),
                _ => libc::syscall(self.number, id, command, record),
            }
        };
        check(self.name, result)
    }

    /// IPC_STAT by id; without the right to read the object, the STAT_ANY command, which asks for none.
    pub(super) fn stat<R: Record>(&self, id: i32) -> Result<R, SysError> {
        let mut record = R::default();
        match self.control(id, libc::IPC_STAT, &mut record) {
            Ok(_) => Ok(record),
            // STAT_ANY looks at the index within the id only and answers with the whole id.
            Err(e) if e.errno == Errno::EACCES => match self.control(id, self.stat_any, &mut record) {
                Ok(found) if found == c_long::from(id) => Ok(record),
                Ok(_) => Err(SysError::new(self.name, Errno::EIDRM)),
                Err(_) => Err(e),
            },
            Err(e) => Err(e),
        }
    }

    /// The answer to IPC_INFO or one of the other *_INFO commands.
    pub(super) fn info<R: Record>(&self, command: c_int) -> Result<R, SysError> {
        let mut record = R::default();
        self.control(0, command, &mut record)?;
        Ok(record)
    }

    /// IPC_RMID; an object that is gone already is no error.
    pub(super) fn remove(&self, id: i32) -> Result<(), SysError> {
        // SAFETY: IPC_RMID follows no pointer.
        let result = unsafe {
            match self.kind {
                Kind::Sem => libc::syscall(self.number, id, 0, libc::IPC_RMID, 0),
                _ => libc::syscall(self.number, id, libc::IPC_RMID, 0),
            }
        };
        match check(self.name, result) {
            Err(e) if !is_gone(e.errno) => Err(e),
            _ => Ok(()),
        }
    }

    /// Takes a half-made object away again and gives the error that was the reason, with a second one behind it.
    pub(super) fn undo(&self, id: i32, reason: SysError) -> SysError {
        match self.remove(id) {
            Ok(()) => reason,
            Err(second) => SysError { also: Some(Box::new(second)), ..reason },
        }
    }
}

/// What the kernel says about an id or key whose object does not exist (any more).
pub(super) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::EIDRM | Errno::EINVAL)
}

/// `None` when the answer is that the object does not exist.
pub(super) fn if_exists<T>(result: Result<T, SysError>) -> Result<Option<T>, SysError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(e) if is_gone(e.errno) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The part of [`Existing`] that all three kinds fill alike; ids as this process sees them.
pub(super) fn existing(kind: Kind, id: Option<ObjectId>, sysv_id: i32, perm: &Perm) -> Existing {
    Existing {
        id,
        kind,
        sysv_id: Some(sysv_id),
        owner: Owner { uid: perm.uid, gid: perm.gid },
        creator: Owner { uid: perm.cuid, gid: perm.cgid },
        mode: Mode::from_kernel(perm.mode),
        extent: 0,
        message_size: 0,
        in_use: 0,
        ctime: 0,
        otime: 0,
        inode: 0,
    }
}
