//! Where the program starts: C's `main`, without the runtime that Rust's would put before it.
//!
//! That runtime prepares for threads and for a message at stack overflow: a dozen system calls and as many page faults,
//! a tenth of the whole run of a hook. What of it matters here is done by [`prepare`].

use libc::{c_char, c_int};
use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Defines `main`, which calls a function of type `fn(&[OsString]) -> i32` and ends the process with what it gives.
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(argc: i32, argv: *const *const std::ffi::c_char) -> i32 {
            // SAFETY: C's rules for main: `argv` holds `argc` strings that live as long as the process.
            let args = unsafe { $crate::kernel::entry::arguments(argc, argv) };
            $crate::kernel::entry::prepare();
            $crate::kernel::entry::end($run(&args))
        }
    };
}

/// The arguments that C's `main` was given.
///
/// # Safety
/// `argv` must hold `argc` NUL-terminated strings.
pub unsafe fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<OsString> {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: as the caller promises.
    let argument = |i: usize| unsafe { CStr::from_ptr(*argv.add(i)) };
    (0..count).map(|i| OsStr::from_bytes(argument(i).to_bytes()).to_owned()).collect()
}

/// Writing to a pipe that nobody reads is an error, not the end; and the standard descriptors are open, so that no file
/// of ours can get their numbers.
pub fn prepare() {
    // SAFETY: SIG_IGN is no function that could be called.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let mut standard = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: three live records, as the count says.
    let answered = unsafe { libc::poll(standard.as_mut_ptr(), 3, 0) };
    if answered > 0 && standard.iter().any(|s| s.revents & libc::POLLNVAL != 0) {
        open_missing(&standard);
    }
}

/// Ends the process at once: what is still open, the kernel closes faster.
pub fn end(status: i32) -> ! {
    // SAFETY: takes a number and does not return.
    unsafe { libc::_exit(status) }
}

#[cold]
fn open_missing(standard: &[libc::pollfd; 3]) {
    for missing in standard.iter().filter(|s| s.revents & libc::POLLNVAL != 0) {
        // In rising order, so each gets the lowest number that is free: its own.
        // SAFETY: the path is a NUL-terminated string.
        let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        if fd != missing.fd {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::in_child;
    use super::*;

    #[test]
    fn arguments_are_taken_as_they_are() {
        let argv = [c"oci-ipc-hook".as_ptr(), c"\xff".as_ptr(), c"".as_ptr(), std::ptr::null()];
        // SAFETY: three strings.
        let args = unsafe { arguments(3, argv.as_ptr()) };
        assert_eq!(args, ["oci-ipc-hook".as_bytes(), b"\xff", b""].map(OsStr::from_bytes));
        // SAFETY: none are read.
        assert!(unsafe { arguments(0, std::ptr::null()) }.is_empty());
    }

    #[test]
    fn closed_standard_descriptors_are_opened() {
        in_child(|| {
            // SAFETY: nothing here uses them.
            unsafe { (libc::close(0), libc::close(2)) };
            prepare();
            let null = std::fs::metadata("/dev/null").unwrap();
            for fd in [0, 2] {
                let file = std::fs::metadata(format!("/proc/self/fd/{fd}")).unwrap();
                use std::os::unix::fs::MetadataExt as _;
                assert_eq!(file.rdev(), null.rdev());
            }
        });
    }
}
