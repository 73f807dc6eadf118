//! Namespaces of their own for tests: everything dangerous happens in a forked child.

use super::namespace::Joined;
use libc::c_int;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe, read, write};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// True when the tests run as root, so that several ids are at hand.
pub(super) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs `test` in a forked child. Its panic becomes this thread's.
pub(super) fn in_child(test: impl FnOnce()) {
    let (reader, writer) = pipe().unwrap();
    // SAFETY: the child runs the test and leaves with _exit; it waits for no lock that another thread may have held at
    // the time of the fork but those of the allocator, which both libcs make usable again.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(reader);
            // Where another thread is panicking right now, std's hook stays locked for ever.
            nix::unistd::alarm::set(300);
            std::panic::set_hook(Box::new(move |info| {
                let _ = write(&writer, info.to_string().as_bytes());
            }));
            let outcome = catch_unwind(AssertUnwindSafe(test));
            // SAFETY: ends this child at once.
            unsafe { libc::_exit(outcome.is_err().into()) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let said = super::file::read_all(&reader, 1 << 20).unwrap();
            let status = waitpid(child, None).unwrap();
            assert!(status == WaitStatus::Exited(child, 0), "{status:?}: {}", String::from_utf8_lossy(&said));
        }
    }
}

/// Runs `test` in a forked child that is alone in a fresh IPC namespace, as root of some user namespace.
pub(super) fn in_fresh_namespace(test: impl FnOnce(&mut Joined)) {
    in_child(|| {
        unshare_ipc();
        test(&mut Joined::join_self().unwrap());
    });
}

/// A fresh IPC namespace for this process, which must be a forked child.
pub(super) fn unshare_ipc() {
    if is_root() {
        return unshare(libc::CLONE_NEWIPC);
    }
    let own = (nix::unistd::getuid(), nix::unistd::getgid());
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWIPC);
    std::fs::write("/proc/self/setgroups", "deny").unwrap();
    std::fs::write("/proc/self/uid_map", format!("0 {} 1", own.0)).unwrap();
    std::fs::write("/proc/self/gid_map", format!("0 {} 1", own.1)).unwrap();
}

fn unshare(flags: c_int) {
    // SAFETY: no pointers are passed.
    assert_eq!(unsafe { libc::unshare(flags) }, 0, "unshare: {}", nix::errno::Errno::last());
}

/// A process that does nothing but hold fresh namespaces, as a container's init.
pub(super) struct Container {
    pid: Pid,
    /// Its end makes the process end.
    release: Option<OwnedFd>,
}

impl Container {
    /// In its own IPC namespace and, with ids outside, in its own user namespace that maps 0 … 65535 to them.
    pub(super) fn start(maps: Option<(u32, u32)>) -> Container {
        let user = if maps.is_some() { libc::CLONE_NEWUSER } else { 0 };
        let container = Container::hold(|| unshare(libc::CLONE_NEWIPC | user));
        if let Some((uid, gid)) = maps {
            let write = |file, outside| {
                std::fs::write(format!("/proc/{}/{file}", container.pid), format!("0 {outside} 65536")).unwrap();
            };
            write("uid_map", uid);
            write("gid_map", gid);
        }
        container
    }

    /// As [`Container::start`], by the plain user `id`, who can map nothing but himself.
    pub(super) fn start_rootless(id: u32) -> Container {
        Container::hold(|| {
            become_user(id);
            // SAFETY: a number is passed. The change of ids has made /proc/self root's, where the maps are written.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) }, 0);
            assert!(!is_root());
            unshare_ipc();
        })
    }

    fn hold(prepare: impl FnOnce()) -> Container {
        let (ready, tell) = pipe().unwrap();
        let (wait, release) = pipe().unwrap();
        // SAFETY: as in `in_child`.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                drop((ready, release));
                if catch_unwind(AssertUnwindSafe(prepare)).is_ok() {
                    let _ = write(&tell, b"!");
                    let _ = read(&wait, &mut [0]);
                }
                // SAFETY: ends this child at once.
                unsafe { libc::_exit(0) }
            }
            ForkResult::Parent { child } => {
                drop((tell, wait));
                assert_eq!(read(&ready, &mut [0]), Ok(1), "the container did not start");
                Container { pid: child, release: Some(release) }
            }
        }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.release.take());
        let _ = waitpid(self.pid, None);
    }
}

/// Gives up root for good.
pub(super) fn become_user(id: u32) {
    nix::unistd::setgroups(&[]).unwrap();
    nix::unistd::setresgid(id.into(), id.into(), id.into()).unwrap();
    nix::unistd::setresuid(id.into(), id.into(), id.into()).unwrap();
}
