//! A descriptor that the parent left open for us.

use super::SysError;
use nix::errno::Errno;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

/// Takes descriptor `number` over as a descriptor of our own, and closes both in children. Fails with EBADF when the
/// parent left none open.
pub fn take(number: RawFd) -> Result<OwnedFd, SysError> {
    // SAFETY: plain integers; the kernel refuses a number that is not open.
    let ours = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    let ours = Errno::result(ours).map_err(|errno| SysError::new("fcntl F_DUPFD_CLOEXEC", errno))?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    let owned = unsafe { OwnedFd::from_raw_fd(ours) };
    // SAFETY: only the close-on-exec flag of an open descriptor changes; whoever owns it keeps it.
    let marked = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    Errno::result(marked).map_err(|errno| SysError::new("fcntl F_SETFD", errno))?;
    Ok(owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_same_socket_under_a_number_of_our_own() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut taken = UnixStream::from(take(near.as_raw_fd()).unwrap());
        assert_ne!(taken.as_raw_fd(), near.as_raw_fd());
        taken.write_all(b"x").unwrap();
        let mut got = [0];
        far.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"x");
    }

    #[test]
    fn a_number_that_is_not_open_is_refused() {
        assert_eq!(take(1_000_000).unwrap_err().errno, Errno::EBADF);
    }
}
