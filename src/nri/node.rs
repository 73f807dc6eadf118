//! The host's view of `/proc/sys` and of the cgroup tree, for the hook that runs as our child.
//!
//! In a container that is not privileged `/proc/sys` is read-only and cgroup paths begin at the container. With
//! CAP_SYS_ADMIN and the host's pid namespace both can be had without more privileges; elsewhere nothing is done.

use crate::log;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

/// Must be called while there is one thread. What fails is logged; the hook then says why it cannot work.
pub(crate) fn take_the_hosts_view() {
    if sysctls_are_read_only()
        && let Err(errno) = mount_proc()
    {
        log::warn("/proc/sys is read-only: no sysctl can be set", &[("error", errno.desc())]);
    }
    if let Err(error) = join_the_hosts_cgroups() {
        log::warn("the pods' memory limits cannot be read", &[("error", &error.to_string())]);
    }
}

fn sysctls_are_read_only() -> bool {
    statvfs("/proc/sys/kernel").is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY))
}

/// A fresh procfs over the old one, seen by us and our children alone.
fn mount_proc() -> nix::Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, NONE)
}

/// The inode number of the initial cgroup namespace, the same on every kernel.
const INITIAL_CGROUP_NAMESPACE: u64 = 0xEFFF_FFFB;

/// The cgroup namespace of process 1: with the host's pid namespace that is the host's.
fn join_the_hosts_cgroups() -> std::io::Result<()> {
    if std::fs::metadata("/proc/self/ns/cgroup")?.ino() == INITIAL_CGROUP_NAMESPACE {
        return Ok(());
    }
    let host = File::open("/proc/1/ns/cgroup")?;
    if host.metadata()?.ino() == INITIAL_CGROUP_NAMESPACE {
        setns(host, CloneFlags::CLONE_NEWCGROUP)?;
    }
    Ok(())
}
