//! System V semaphore sets.

use super::SysError;
use super::sys::check;
use super::sysv::{IPC_INFO, SEM, SemInfo, SemStat, existing, if_exists};
use crate::ipc::{Existing, Key, Kind, Mode, ObjectId, Sysctl, SysctlValue, Usage};
use libc::{c_int, c_short, sembuf};
use nix::errno::Errno;

/// SEM_INFO of linux/sem.h.
const SEM_INFO: c_int = 19;

/// Looks a set up by key.
pub(super) fn find(key: Key) -> Result<Option<Existing>, SysError> {
    let Some(id) = if_exists(get(key, 0, 0))? else { return Ok(None) };
    if_exists(stat(id))
}

/// Creates a set of `nsems` with these values (empty = all zero), owned by the effective ids and marked initialised.
pub(super) fn create(key: Key, nsems: u32, values: &[u16], mode: Mode) -> Result<Existing, SysError> {
    if !values.is_empty() && values.len() as u64 != u64::from(nsems) {
        return Err(SysError::new("semget", Errno::EINVAL));
    }
    let id = get(key, nsems, libc::IPC_CREAT | libc::IPC_EXCL | mode.bits() as c_int)?;
    let fill = || {
        if values.iter().any(|v| *v != 0) {
            set_all(id, values)?;
        }
        mark(id, values.first().copied().unwrap_or(0))?;
        stat(id)
    };
    fill().map_err(|e| SEM.undo(id, e))
}

/// Reads a set's state by id.
pub(super) fn stat(id: i32) -> Result<Existing, SysError> {
    let s: SemStat = SEM.stat(id)?;
    let key = Key::new(s.perm.key).map(ObjectId::Sem);
    Ok(Existing { extent: s.nsems, ctime: s.ctime, otime: s.otime, ..existing(Kind::Sem, key, id, &s.perm) })
}

/// The values of a set with `nsems` semaphores. One semaphore needs no buffer, so nothing has to be known of the set.
pub(super) fn values(id: i32, nsems: u64) -> Result<Vec<u16>, SysError> {
    if nsems != 1 {
        return all_values(id, nsems);
    }
    // SAFETY: no pointers are passed.
    let value = check("semctl", unsafe { libc::syscall(libc::SYS_semctl, id, 0, libc::GETVAL) })?;
    Ok(vec![value as u16])
}

/// GETALL of a set with `nsems` semaphores. The kernel copies as many as the set has: a set never changes its size, but an
/// id may come back for another set, so the size is checked before and after.
fn all_values(id: i32, nsems: u64) -> Result<Vec<u16>, SysError> {
    let changed = || SysError::new("semctl", Errno::EIDRM);
    // A set has at most SEMMSL semaphores, an int; more cannot be true.
    let count = usize::try_from(nsems).ok().filter(|n| *n <= i32::MAX as usize).ok_or_else(changed)?;
    let mut values = vec![0u16; count];
    if SEM.stat::<SemStat>(id)?.nsems != nsems {
        return Err(changed());
    }
    // SAFETY: `values` has room for every semaphore of the set, whose size was read just above. The hook holds the
    // namespace's lock, and ids carry a sequence number, so no larger set takes the id in between.
    check("semctl", unsafe { libc::syscall(libc::SYS_semctl, id, 0, libc::GETALL, values.as_mut_ptr()) })?;
    Ok(values)
}

/// Sets and semaphores in use.
pub(super) fn usage(usage: &mut Usage) -> Result<(), SysError> {
    let info: SemInfo = SEM.info(SEM_INFO)?;
    usage.sem_sets = info.semusz as u64;
    usage.sems = info.semaem as u64;
    Ok(())
}

/// What the kernel allows.
pub(super) fn limits() -> Result<[(Sysctl, SysctlValue); 1], SysError> {
    let info: SemInfo = SEM.info(IPC_INFO)?;
    Ok([(Sysctl::Sem, SysctlValue::Sem([info.semmsl, info.semmns, info.semopm, info.semmni]))])
}

fn get(key: Key, nsems: u32, flags: c_int) -> Result<i32, SysError> {
    let nsems = c_int::try_from(nsems).map_err(|_| SysError::new("semget", Errno::EINVAL))?;
    // SAFETY: no pointers are passed.
    Ok(check("semget", unsafe { libc::syscall(libc::SYS_semget, key.raw(), nsems, flags) })? as i32)
}

/// SETALL; all or nothing in the kernel. `values` has one value for each semaphore of the set.
fn set_all(id: i32, values: &[u16]) -> Result<(), SysError> {
    // SAFETY: the kernel reads one u16 for each semaphore of the set, which was created with `values.len()` of them.
    check("semctl", unsafe { libc::syscall(libc::SYS_semctl, id, 0, libc::SETALL, values.as_ptr()) }).map(drop)
}

/// Sets `sem_otime` without changing a value: programs wait for it to become non-zero before they trust a set that
/// another process creates, and only semop sets it, SETALL does not. `first` is the value of semaphore 0.
///
/// No SEM_UNDO: its effect would end with this process.
fn mark(id: i32, first: u16) -> Result<(), SysError> {
    if first == 0 {
        return semop(id, &mut [op(0)]);
    }
    // Down first: up would overflow 32767.
    match semop(id, &mut [op(-1), op(1)]) {
        // SEMOPM is 1: one after the other, which nobody can have noticed before the mark is there.
        Err(e) if e.errno == Errno::E2BIG => semop(id, &mut [op(-1)]).and_then(|()| semop(id, &mut [op(1)])),
        other => other,
    }
}

fn op(change: c_short) -> sembuf {
    sembuf { sem_num: 0, sem_op: change, sem_flg: libc::IPC_NOWAIT as c_short }
}

fn semop(id: i32, ops: &mut [sembuf]) -> Result<(), SysError> {
    // SAFETY: `ops` holds `ops.len()` operations.
    check("semop", unsafe { libc::syscall(libc::SYS_semop, id, ops.as_mut_ptr(), ops.len()) }).map(drop)
}
