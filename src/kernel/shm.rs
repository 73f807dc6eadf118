//! System V shared memory segments.

use super::SysError;
use super::sys::check;
use super::sysv::{IPC_INFO, SHM, ShmInfo, ShmLimits, ShmStat, existing, if_exists};
use crate::ipc::{Existing, Key, Kind, Mode, ObjectId, Sysctl, SysctlValue, Usage};
use libc::c_int;
use nix::errno::Errno;

/// SHM_INFO of linux/shm.h, which libc does not have.
const SHM_INFO: c_int = 14;

/// Looks a segment up by key.
pub(super) fn find(key: Key) -> Result<Option<Existing>, SysError> {
    // Without mode bits the kernel asks for no right, and size 0 fits every segment.
    let Some(id) = if_exists(get(key, 0, 0))? else { return Ok(None) };
    if_exists(stat(id))
}

/// Creates a segment of `size` bytes, owned by the effective ids.
pub(super) fn create(key: Key, size: u64, mode: Mode) -> Result<Existing, SysError> {
    let id = get(key, size, libc::IPC_CREAT | libc::IPC_EXCL | mode.bits() as c_int)?;
    stat(id).map_err(|e| SHM.undo(id, e))
}

/// Reads a segment's state by id.
pub(super) fn stat(id: i32) -> Result<Existing, SysError> {
    let s: ShmStat = SHM.stat(id)?;
    let key = Key::new(s.perm.key).map(ObjectId::Shm);
    Ok(Existing { extent: s.size, in_use: s.nattch, ctime: s.ctime, ..existing(Kind::Shm, key, id, &s.perm) })
}

/// Segments and pages in use.
pub(super) fn usage(usage: &mut Usage) -> Result<(), SysError> {
    let info: ShmInfo = SHM.info(SHM_INFO)?;
    usage.shm_segments = info.used_ids as u64;
    usage.shm_pages = info.total_pages;
    Ok(())
}

/// What the kernel allows.
pub(super) fn limits() -> Result<[(Sysctl, SysctlValue); 3], SysError> {
    let info: ShmLimits = SHM.info(IPC_INFO)?;
    let number = SysctlValue::Number;
    let ShmLimits { shmmax, shmmni, shmall, .. } = info;
    Ok([(Sysctl::Shmmax, number(shmmax)), (Sysctl::Shmmni, number(shmmni)), (Sysctl::Shmall, number(shmall))])
}

fn get(key: Key, size: u64, flags: c_int) -> Result<i32, SysError> {
    let size = usize::try_from(size).map_err(|_| SysError::new("shmget", Errno::EINVAL))?;
    // SAFETY: no pointers are passed.
    Ok(check("shmget", unsafe { libc::syscall(libc::SYS_shmget, key.raw(), size, flags) })? as i32)
}
