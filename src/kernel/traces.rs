//! What an object tells of those who have touched it.

use super::sys::{check, stat_fd};
use super::sysv::{MSG, MsgStat, SEM, SHM, SemStat, ShmStat};
use super::{SysError, mqueue};
use crate::ipc::{Existing, Kind, ObjectId};
use libc::c_int;
use nix::errno::Errno;

/// Who has left traces on an object. Numbers of processes are those of this process's pid namespace, 0 where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// No process: a queue without messages that nothing was sent to, a set of which no value was set.
    Nobody,
    /// This one alone: it made a segment that nobody has attached since, or set values of a set.
    Process(i32),
    /// A program that uses it.
    Users,
}

/// Who has touched an object, and when: seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Who.
    pub by: By,
    /// Last change: creation, IPC_SET, values of a set that were set without semop; of a POSIX queue every use.
    pub changed: i64,
    /// Last use as far as another time tells it; 0 = none.
    pub used: i64,
}

/// Reads the traces of what is there under the object's number or name.
pub(super) fn of(object: &Existing) -> Result<Traces, SysError> {
    match (object.kind, object.sysv_id, &object.id) {
        (Kind::Shm, Some(id), _) => Ok(of_segment(&SHM.stat(id)?)),
        (Kind::Sem, Some(id), _) => of_set(id),
        (Kind::Msg, Some(id), _) => Ok(of_queue(&MSG.stat(id)?)),
        (_, _, Some(ObjectId::Mqueue(name))) => {
            let queue = mqueue::open_any(name)?;
            let (found, stat) = (mqueue::attributes(&queue)?, stat_fd(&queue)?);
            let by = if found.messages == 0 { By::Nobody } else { By::Users };
            Ok(Traces { by, changed: stat.st_ctime.max(stat.st_mtime), used: 0 })
        }
        _ => Err(SysError::new("traces", Errno::EINVAL)),
    }
}

fn of_segment(s: &ShmStat) -> Traces {
    let attached = s.lpid != 0 || s.nattch != 0;
    let by = if attached { By::Users } else { By::Process(s.cpid) };
    Traces { by, changed: s.ctime, used: s.atime.max(s.dtime) }
}

fn of_queue(s: &MsgStat) -> Traces {
    let used = s.qnum != 0 || s.lspid != 0 || s.lrpid != 0;
    Traces { by: if used { By::Users } else { By::Nobody }, changed: s.ctime, used: s.stime.max(s.rtime) }
}

/// The kernel notes who last set each semaphore, and who waits for it.
fn of_set(id: i32) -> Result<Traces, SysError> {
    let s: SemStat = SEM.stat(id)?;
    let mut by = By::Nobody;
    for number in 0..c_int::try_from(s.nsems).unwrap_or(c_int::MAX) {
        let waiting = ask(id, number, libc::GETNCNT)? + ask(id, number, libc::GETZCNT)?;
        by = match (by, ask(id, number, libc::GETPID)?) {
            _ if waiting != 0 => By::Users,
            (by, 0) => by,
            (By::Nobody, pid) => By::Process(pid),
            (By::Process(one), pid) if one == pid => By::Process(one),
            _ => By::Users,
        };
        if by == By::Users {
            break;
        }
    }
    Ok(Traces { by, changed: s.ctime, used: s.otime })
}

fn ask(id: i32, number: c_int, command: c_int) -> Result<i32, SysError> {
    // SAFETY: no pointers are passed.
    Ok(check("semctl", unsafe { libc::syscall(libc::SYS_semctl, id, number, command) })? as i32)
}
