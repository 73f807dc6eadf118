//! Work in a child process, for what cannot be taken back: who has joined a user namespace does not come out again.

use super::SysError;
use super::file::read_all;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pipe, write};
use std::os::fd::OwnedFd;

/// Far more than the text of 32 768 objects of each kind.
const LONGEST_ANSWER: usize = 256 << 20;

/// Runs `work` in a forked child and gives what it returned. To be called while the process has one thread.
///
/// # Errors
/// No child can be made, or it ended before its answer was whole; EIO then.
pub fn in_child(work: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, SysError> {
    let (reader, writer) = pipe().map_err(|e| SysError::new("pipe", e))?;
    // SAFETY: there is one thread, so no lock is held by another; the child leaves with _exit.
    match unsafe { fork() }.map_err(|e| SysError::new("fork", e))? {
        ForkResult::Child => {
            drop(reader);
            let whole = send(&writer, &work());
            // SAFETY: ends this child at once, without the parent's exit handlers.
            unsafe { libc::_exit(i32::from(!whole)) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let answer = read_all(&reader, LONGEST_ANSWER).map_err(|e| SysError::new("read", e.errno()));
            let status = waitpid(child, None).map_err(|e| SysError::new("waitpid", e))?;
            match status {
                nix::sys::wait::WaitStatus::Exited(_, 0) => answer,
                _ => Err(SysError::new("child", nix::errno::Errno::EIO)),
            }
        }
    }
}

fn send(pipe: &OwnedFd, mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        match write(pipe, rest) {
            Ok(n) => rest = &rest[n..],
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_comes_back_whole() {
        let long = vec![b'x'; 1 << 20];
        assert_eq!(in_child(|| long.clone()).unwrap(), long);
        assert_eq!(in_child(Vec::new).unwrap(), b"");
    }

    #[test]
    fn a_child_that_dies_is_an_error() {
        // SAFETY: ends the child.
        let dead = in_child(|| unsafe { libc::_exit(3) });
        assert_eq!(dead.unwrap_err().call, "child");
    }
}
