//! The lock that makes runs in one namespace wait for each other: flock(2), with a bound on the wait.

use super::SysError;
use super::clock::microseconds;
use super::sys::check;
use crate::ipc::NamespaceId;
use libc::{c_int, c_long};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// After a wait is over the alarm rings on: the first ring may come before the kernel has put us into the queue.
const ALARM_AGAIN: Duration = Duration::from_millis(10);

/// The outcome of taking the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockResult {
    /// Held until the open file is closed.
    Locked,
    /// Somebody else held it all the time: a process, if it can be seen from here.
    Busy(Option<i32>),
}

/// When to give up.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long one and the same process may hold the lock. A queue that moves is no reason to give up.
    pub holder: Duration,
    /// How long to wait in all, whoever holds it.
    pub total: Duration,
}

/// Takes the exclusive lock on an open file. The kernel keeps the queue: who has waited longest is next. A free lock costs
/// one system call.
///
/// While it waits it uses the alarm clock (ITIMER_REAL, SIGALRM) of this process, which must have one thread.
///
/// # Errors
/// The file system has no locks.
pub(super) fn lock(fd: &OwnedFd, id: NamespaceId, patience: Patience) -> Result<LockResult, SysError> {
    if try_lock(fd)? { Ok(LockResult::Locked) } else { queue(fd, id, patience) }
}

#[cold]
fn queue(fd: &OwnedFd, id: NamespaceId, patience: Patience) -> Result<LockResult, SysError> {
    let end = microseconds() + patience.total.as_micros() as u64;
    let mut holder = holder(id);
    loop {
        if wait(fd, patience.holder)? || try_lock(fd)? {
            return Ok(LockResult::Locked);
        }
        // The place in the queue is lost, but so is that of all who came before and are still here.
        match (self::holder(id), microseconds() < end) {
            (next, true) if next != holder => holder = next,
            (last, _) => return Ok(LockResult::Busy(last)),
        }
    }
}

fn try_lock(fd: &OwnedFd) -> Result<bool, SysError> {
    match flock(fd, libc::LOCK_EX | libc::LOCK_NB) {
        Err(e) if e.errno == Errno::EWOULDBLOCK => Ok(false),
        result => result.map(|()| true),
    }
}

/// Stands in the queue until the lock is ours or the time is over.
fn wait(fd: &OwnedFd, time: Duration) -> Result<bool, SysError> {
    let deadline = microseconds() + time.as_micros() as u64;
    let _alarm = Alarm::set(time)?;
    loop {
        match flock(fd, libc::LOCK_EX) {
            Err(e) if e.errno == Errno::EINTR && microseconds() < deadline => {}
            Err(e) if e.errno == Errno::EINTR => return Ok(false),
            result => return result.map(|()| true),
        }
    }
}

/// Who holds the lock. `None`: nobody, or a process that cannot be seen from here.
fn holder(id: NamespaceId) -> Option<i32> {
    find_holder(&std::fs::read_to_string("/proc/locks").ok()?, id)
}

fn flock(fd: &OwnedFd, operation: c_int) -> Result<(), SysError> {
    // SAFETY: no pointers are passed.
    check("flock", unsafe { libc::flock(fd.as_raw_fd(), operation) }.into()).map(drop)
}

/// Interrupts a system call that waits; taken back when dropped.
struct Alarm {
    action: SigAction,
    mask: SigSet,
}

impl Alarm {
    fn set(after: Duration) -> Result<Alarm, SysError> {
        // Without SA_RESTART, so that the call ends instead of beginning anew.
        let interrupt = SigAction::new(SigHandler::Handler(ignore), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing, so it is safe wherever it comes in.
        let action = unsafe { sigaction(Signal::SIGALRM, &interrupt) }.map_err(|e| SysError::new("sigaction", e))?;
        let mut alarm = Alarm { action, mask: SigSet::empty() };
        // crun blocks all signals, and its hooks inherit that.
        let ours = SigSet::from(Signal::SIGALRM);
        sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&ours), Some(&mut alarm.mask))
            .map_err(|e| SysError::new("sigprocmask", e))?;
        // Zero would mean no alarm at all.
        set_timer(after.max(Duration::from_micros(1)), ALARM_AGAIN)?;
        Ok(alarm)
    }
}

impl Drop for Alarm {
    /// In this order: a signal that is on its way must not meet its default action, which is to end the process.
    fn drop(&mut self) {
        let _ = set_timer(Duration::ZERO, Duration::ZERO);
        // SAFETY: the action is the one that was there before.
        let _ = unsafe { sigaction(Signal::SIGALRM, &self.action) };
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None);
    }
}

extern "C" fn ignore(_: c_int) {}

/// As the kernel has it (`struct __kernel_old_itimerval`): the types of libc differ between musl's versions.
#[repr(C)]
struct Timer {
    interval: [c_long; 2],
    value: [c_long; 2],
}

fn set_timer(first: Duration, then: Duration) -> Result<(), SysError> {
    let parts = |time: Duration| [time.as_secs() as c_long, time.subsec_micros() as c_long];
    let timer = Timer { interval: parts(then), value: parts(first) };
    let none = std::ptr::null_mut::<Timer>();
    // SAFETY: one live record of the kernel's layout; the old one is not asked for.
    check("setitimer", unsafe { libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &raw const timer, none) })
        .map(drop)
}

/// The holder of the flock on a file, from the text of `/proc/locks`: lines of
/// `1: FLOCK  ADVISORY  WRITE 1234 00:04:4026532177 0 EOF`. Lines with `->` wait.
fn find_holder(locks: &str, id: NamespaceId) -> Option<i32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        (words.next()? == "FLOCK").then_some(())?;
        let pid = words.nth(2)?.parse().ok()?;
        let mut place = words.next()?.split(':');
        let major = u64::from_str_radix(place.next()?, 16).ok()?;
        let minor = u64::from_str_radix(place.next()?, 16).ok()?;
        let here = (libc::makedev(major as u32, minor as u32), place.next()?.parse().ok()?) == (id.dev, id.ino);
        // 0 or −1: a process that cannot be seen from here.
        (here && pid > 0).then_some(pid)
    })
}

#[cfg(test)]
mod tests;
