//! What this process may use and what the machine has.

use super::SysError;
use super::sys::check;
use libc::{c_int, c_uint, c_ulong};
use std::mem::MaybeUninit;

/// RLIMIT_MSGQUEUE: bytes that all POSIX queues of the real user id may take, across all namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimit {
    /// What counts; 18446744073709551615 = no limit.
    pub soft: u64,
    /// What the soft one may be raised to without CAP_SYS_RESOURCE.
    pub hard: u64,
}

#[repr(C)]
#[derive(Default)]
struct Rlimit64 {
    soft: u64,
    hard: u64,
}

impl QueueLimit {
    /// This process's own.
    pub fn own() -> Result<QueueLimit, SysError> {
        let mut found = Rlimit64::default();
        prlimit(std::ptr::null(), &raw mut found)?;
        Ok(QueueLimit { soft: found.soft, hard: found.hard })
    }

    /// Makes sure that the soft limit is at least `bytes`; the hard one is raised only if it must be. EPERM: that needs
    /// CAP_SYS_RESOURCE. No system call when it is large enough.
    pub fn raise_to(&mut self, bytes: u64) -> Result<(), SysError> {
        if self.soft >= bytes {
            return Ok(());
        }
        let new = Rlimit64 { soft: bytes, hard: self.hard.max(bytes) };
        prlimit(&raw const new, std::ptr::null_mut())?;
        *self = QueueLimit { soft: new.soft, hard: new.hard };
        Ok(())
    }
}

fn prlimit(new: *const Rlimit64, old: *mut Rlimit64) -> Result<(), SysError> {
    // SAFETY: each pointer is null or that of a live record of the kernel's layout.
    check("prlimit", unsafe { libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_MSGQUEUE as c_int, new, old) })
        .map(drop)
}

/// All memory of the machine, in bytes (MemTotal of `/proc/meminfo`).
pub fn memory_total() -> Result<u64, SysError> {
    let mut info = MaybeUninit::<libc::sysinfo>::uninit();
    // SAFETY: `info` has room for what the kernel writes.
    check("sysinfo", unsafe { libc::sysinfo(info.as_mut_ptr()) }.into())?;
    // SAFETY: sysinfo has succeeded, so the kernel has filled it.
    let info = unsafe { info.assume_init() };
    Ok(info.totalram.saturating_mul(info.mem_unit.into()))
}

/// Bytes of a page. No system call: the kernel put it next to the program's arguments.
pub fn page_size() -> u64 {
    // SAFETY: reads the auxiliary vector.
    match unsafe { libc::getauxval(libc::AT_PAGESZ) } {
        0 => 4096,
        size => size,
    }
}

/// Closes every descriptor from `first` on: what the runtime left open is none of our business. ENOSYS before Linux 5.9.
pub fn close_from(first: c_uint) -> Result<(), SysError> {
    // SAFETY: no pointers are passed. Called at the start, when nothing of ours is open yet.
    check("close_range", unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, 0) }).map(drop)
}

/// No program that this process might execute can gain rights.
pub fn set_no_new_privileges() -> Result<(), SysError> {
    let zero: c_ulong = 0;
    // SAFETY: PR_SET_NO_NEW_PRIVS takes numbers.
    let result = unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, zero, zero, zero) };
    check("prctl", result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{become_user, in_child, is_root};
    use super::*;
    use nix::errno::Errno;
    use nix::sys::resource::{Resource, setrlimit};
    use std::os::fd::AsRawFd;

    #[test]
    fn the_queue_limit_rises_up_to_the_hard_one() {
        in_child(|| {
            if is_root() {
                become_user(1234);
            }
            let hard = QueueLimit::own().unwrap().hard;
            setrlimit(Resource::RLIMIT_MSGQUEUE, 1000, hard).unwrap();
            let mut limit = QueueLimit::own().unwrap();
            assert_eq!(limit, QueueLimit { soft: 1000, hard });
            limit.raise_to(999).unwrap();
            assert_eq!(QueueLimit::own().unwrap().soft, 1000, "never lowered");
            limit.raise_to(1001).unwrap();
            assert_eq!(QueueLimit::own().unwrap(), QueueLimit { soft: 1001, hard });
            limit.raise_to(hard).unwrap();
            assert_eq!(QueueLimit::own().unwrap(), QueueLimit { soft: hard, hard });
            assert_eq!(limit, QueueLimit { soft: hard, hard });
            if hard < u64::MAX {
                assert_eq!(limit.raise_to(hard + 1).unwrap_err().errno, Errno::EPERM);
                assert_eq!(limit, QueueLimit { soft: hard, hard });
            }
        });
    }

    #[test]
    fn memory_is_what_meminfo_says() {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let kib: u64 = text.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
        assert_eq!(memory_total().unwrap(), kib * 1024);
        assert!(page_size().is_power_of_two() && page_size() >= 4096);
    }

    #[test]
    fn closes_all_that_was_left_open() {
        in_child(|| {
            let file = std::fs::File::open("/").unwrap();
            close_from(file.as_raw_fd() as c_uint).unwrap();
            assert_eq!(nix::sys::stat::fstat(&file).unwrap_err(), Errno::EBADF);
            // Not closed a second time by its owner.
            std::mem::forget(file);
        });
    }

    #[test]
    fn no_new_privileges_shows_in_status() {
        in_child(|| {
            set_no_new_privileges().unwrap();
            assert!(std::fs::read_to_string("/proc/self/status").unwrap().contains("NoNewPrivs:\t1\n"));
        });
    }
}
