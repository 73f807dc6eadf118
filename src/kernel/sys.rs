//! Thin wrappers: one system call each, typed errors, no allocation.

use super::SysError;
use libc::{c_int, c_long, c_ulong};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, stat};
use nix::sys::statfs::{FsType, fstatfs};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The result of a raw system call: −1 becomes the error that `errno` holds.
pub(super) fn check(call: &'static str, result: c_long) -> Result<c_long, SysError> {
    if result == -1 { Err(SysError::new(call, Errno::last())) } else { Ok(result) }
}

/// As [`check`], for calls whose answer is a new descriptor that nobody else owns.
pub(super) fn check_fd(call: &'static str, result: c_long) -> Result<OwnedFd, SysError> {
    let fd = check(call, result)? as RawFd;
    // SAFETY: the kernel has just made this descriptor for us; no one else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens `path` from the root. Always `openat`: musl's `open` costs a second call for O_CLOEXEC.
pub(super) fn open(call: &'static str, path: &CStr, flags: OFlag) -> Result<OwnedFd, SysError> {
    openat(nix::fcntl::AT_FDCWD, path, flags | OFlag::O_CLOEXEC, Mode::empty()).map_err(|e| SysError::new(call, e))
}

/// Opens `name` below `dir`.
pub(super) fn open_below(call: &'static str, dir: &OwnedFd, name: &CStr, flags: OFlag) -> Result<OwnedFd, SysError> {
    openat(dir, name, flags | OFlag::O_CLOEXEC, Mode::empty()).map_err(|e| SysError::new(call, e))
}

/// `stat` of an open file.
pub(super) fn stat_fd(fd: &impl AsFd) -> Result<FileStat, SysError> {
    fstat(fd).map_err(|e| SysError::new("fstat", e))
}

/// `stat`, following links (the magic links below `/proc/PID/ns` are meant to be followed).
pub(super) fn stat_path(call: &'static str, path: &CStr) -> Result<FileStat, SysError> {
    stat(path).map_err(|e| SysError::new(call, e))
}

/// The kind of file system that an open file lies on.
pub(super) fn file_system(fd: &OwnedFd) -> Result<FsType, SysError> {
    fstatfs(fd).map(|s| s.filesystem_type()).map_err(|e| SysError::new("fstatfs", e))
}

/// An ioctl without an argument.
pub(super) fn ioctl(call: &'static str, fd: &OwnedFd, request: u32) -> Result<c_long, SysError> {
    // SAFETY: the requests used here take no argument, so the kernel follows no pointer.
    check(call, unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), request as c_ulong, 0 as c_ulong) })
}

/// Moves this thread into the namespace that `fd` stands for.
pub(super) fn setns(fd: &OwnedFd, kind: c_int) -> Result<(), SysError> {
    // SAFETY: no pointers are passed.
    check("setns", unsafe { libc::setns(fd.as_raw_fd(), kind) }.into()).map(drop)
}

/// A short text on the stack, for paths and numbers that the hot path must not allocate. What does not fit is dropped,
/// so `N` must be chosen for the longest text.
pub(super) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub(super) const fn new() -> Self {
        Text { bytes: [0; N], len: 0 }
    }

    pub(super) fn push(mut self, text: &str) -> Self {
        // One byte stays free: it is the NUL of `as_c_str`.
        let free = N - 1 - self.len;
        let text = &text.as_bytes()[..text.len().min(free)];
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
        self
    }

    pub(super) fn push_u64(self, mut n: u64) -> Self {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        self.push(str::from_utf8(&digits[at..]).unwrap_or_default())
    }

    pub(super) fn push_i32(self, n: i32) -> Self {
        let sign = if n < 0 { "-" } else { "" };
        self.push(sign).push_u64(n.unsigned_abs().into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Up to the first NUL.
    pub(super) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

/// `/proc/PID` and what follows, such as `/ns/ipc`.
pub(super) fn proc_path(pid: i32, rest: &str) -> Text<64> {
    Text::new().push("/proc/").push_i32(pid).push(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_renders_numbers_and_never_overflows() {
        assert_eq!(
            Text::<64>::new().push_u64(u64::MAX).push(" ").push_i32(i32::MIN).push_u64(0).as_bytes(),
            b"18446744073709551615 -21474836480"
        );
        let cut = Text::<4>::new().push("abcdef").push("g");
        assert_eq!((cut.as_bytes(), cut.as_c_str().to_bytes()), (&b"abc"[..], &b"abc"[..]));
        assert_eq!(proc_path(17, "/ns/ipc").as_c_str().to_bytes(), b"/proc/17/ns/ipc");
    }
}
