//! Work in a child process, for what cannot be taken back: who has joined a user namespace does not come out again.

use super::SysError;
use super::file::read_all;
use nix::errno::Errno;
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
                _ => Err(SysError::new("child", Errno::EIO)),
            }
        }
    }
}

/// Runs `look` with the number, in `/proc`, of a forked child that has done `enter` and waits, and gives what it returned.
/// To be called while the process has one thread. The child ends with this call, or with this process.
///
/// # Errors
/// No child can be made, `enter` failed, the child ended before it was done (EIO), or the error of `look`.
pub(super) fn beside_child<T>(
    enter: impl FnOnce() -> Result<(), SysError>,
    look: impl FnOnce(i32) -> Result<T, SysError>,
) -> Result<T, SysError> {
    let (answer, answers) = pipe().map_err(|e| SysError::new("pipe", e))?;
    let (held, hold) = pipe().map_err(|e| SysError::new("pipe", e))?;
    // SAFETY: as in `in_child`.
    match unsafe { fork() }.map_err(|e| SysError::new("fork", e))? {
        ForkResult::Child => {
            drop((answer, hold));
            let answer = number_in_proc().and_then(|pid| enter().map(|()| pid));
            let told = answer.unwrap_or_else(|e| -(e.errno as i32));
            let whole = send(&answers, &told.to_ne_bytes());
            drop(answers);
            if whole {
                // Nothing is ever written: its end comes with the parent's word or death.
                let _ = read_all(&held, 1);
            }
            // SAFETY: as in `in_child`.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop((answers, held));
            let told = read_all(&answer, 4).ok().and_then(|told| told.try_into().ok()).map(i32::from_ne_bytes);
            let result = match told {
                Some(pid) if pid > 0 => look(pid),
                Some(errno) => Err(SysError::new("setns", Errno::from_raw(-errno))),
                None => Err(SysError::new("child", Errno::EIO)),
            };
            drop(hold);
            // Where SIGCHLD is ignored there is nobody left to wait for.
            let _ = waitpid(child, None);
            result
        }
    }
}

/// The number of this process in `/proc`, which may be that of another PID namespace than ours.
fn number_in_proc() -> Result<i32, SysError> {
    let call = "readlink /proc/self";
    let name = nix::fcntl::readlink(c"/proc/self").map_err(|e| SysError::new(call, e))?;
    name.to_str().and_then(|name| name.parse().ok()).ok_or_else(|| SysError::new(call, Errno::EBADMSG))
}

fn send(pipe: &OwnedFd, mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        match write(pipe, rest) {
            Ok(n) => rest = &rest[n..],
            Err(Errno::EINTR) => {}
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
    fn a_child_waits_while_it_is_looked_at() {
        let alive = |pid| super::super::life::started(pid).is_some();
        let mut seen = 0;
        let found = beside_child(
            || Ok(()),
            |pid| {
                seen = pid;
                Ok(alive(pid))
            },
        );
        assert_eq!((found, alive(seen)), (Ok(true), false));
        let refused = SysError::new("setns", Errno::EPERM);
        assert_eq!(beside_child(|| Err(refused.clone()), |_| Ok(())), Err(refused.clone()));
        assert_eq!(beside_child(|| Ok(()), |_| Err::<(), _>(refused.clone())), Err(refused));
        // SAFETY: ends the child.
        let dead = beside_child(|| unsafe { libc::_exit(3) }, |_| Ok(()));
        assert_eq!(dead.unwrap_err().call, "child");
    }

    #[test]
    fn a_child_that_dies_is_an_error() {
        // SAFETY: ends the child.
        let dead = in_child(|| unsafe { libc::_exit(3) });
        assert_eq!(dead.unwrap_err().call, "child");
    }
}
