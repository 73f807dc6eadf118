//! System V message queues.

use super::SysError;
use super::sys::check;
use super::sysv::{IPC_INFO, MSG, MsgInfo, MsgStat, existing, if_exists};
use crate::ipc::{Existing, Key, Kind, Mode, ObjectId, Sysctl, SysctlValue, Usage};
use libc::c_int;
use nix::errno::Errno;

/// MSG_INFO of linux/msg.h.
const MSG_INFO: c_int = 12;

/// Looks a queue up by key.
pub(super) fn find(key: Key) -> Result<Option<Existing>, SysError> {
    let Some(id) = if_exists(get(key, 0))? else { return Ok(None) };
    if_exists(stat(id))
}

/// Creates a queue, owned by the effective ids. Its capacity is the namespace's msgmnb, or `max_bytes`; more than msgmnb
/// needs CAP_SYS_RESOURCE in the initial user namespace (EPERM).
pub(super) fn create(key: Key, max_bytes: Option<u64>, mode: Mode) -> Result<Existing, SysError> {
    let id = get(key, libc::IPC_CREAT | libc::IPC_EXCL | mode.bits() as c_int)?;
    let fill = || {
        let made = MSG.stat::<MsgStat>(id)?;
        match max_bytes {
            Some(bytes) if bytes != made.qbytes => resize(id, made, bytes),
            _ => Ok(made),
        }
    };
    fill().map(|s| describe(id, &s)).map_err(|e| MSG.undo(id, e))
}

/// Reads a queue's state by id.
pub(super) fn stat(id: i32) -> Result<Existing, SysError> {
    Ok(describe(id, &MSG.stat(id)?))
}

/// Queues in use.
pub(super) fn usage(usage: &mut Usage) -> Result<(), SysError> {
    let info: MsgInfo = MSG.info(MSG_INFO)?;
    usage.msg_queues = info.msgpool as u64;
    Ok(())
}

/// What the kernel allows.
pub(super) fn limits() -> Result<[(Sysctl, SysctlValue); 3], SysError> {
    let info: MsgInfo = MSG.info(IPC_INFO)?;
    let number = |n: c_int| SysctlValue::Number(n as u64);
    let MsgInfo { msgmax, msgmnb, msgmni, .. } = info;
    Ok([(Sysctl::Msgmax, number(msgmax)), (Sysctl::Msgmnb, number(msgmnb)), (Sysctl::Msgmni, number(msgmni))])
}

fn describe(id: i32, s: &MsgStat) -> Existing {
    let key = Key::new(s.perm.key).map(ObjectId::Msg);
    Existing { extent: s.qbytes, in_use: s.qnum, ctime: s.ctime, ..existing(Kind::Msg, key, id, &s.perm) }
}

/// IPC_SET of `msg_qbytes`, owner and mode unchanged. The kernel keeps 32 bits of the number and says nothing about the
/// rest, so it is read again and compared.
fn resize(id: i32, mut record: MsgStat, bytes: u64) -> Result<MsgStat, SysError> {
    record.qbytes = bytes;
    MSG.control(id, libc::IPC_SET, &mut record)?;
    let after: MsgStat = MSG.stat(id)?;
    if after.qbytes == bytes { Ok(after) } else { Err(SysError::new("msgctl", Errno::ERANGE)) }
}

fn get(key: Key, flags: c_int) -> Result<i32, SysError> {
    // SAFETY: no pointers are passed.
    Ok(check("msgget", unsafe { libc::syscall(libc::SYS_msgget, key.raw(), flags) })? as i32)
}
