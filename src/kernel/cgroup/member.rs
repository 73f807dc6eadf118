//! The memory control group of a process as the one to pay: what it has left, and joining it.

use super::{Group, Version, parse_limit, paying_group};
use crate::kernel::SysError;
use crate::kernel::file::read_regular;
use crate::kernel::process::Process;
use crate::kernel::sys::{file_system, open, open_below};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC};
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a group, or one above it, has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLeft {
    /// Bytes below the limit; file cache that the kernel drops without effort counts as free.
    pub free: u64,
    /// The limit, in bytes.
    pub limit: u64,
    /// The directory of the group that has it.
    pub group: PathBuf,
}

/// The group that pays for the memory of a process.
#[derive(Debug)]
pub struct MemoryGroup {
    group: Group,
    /// This process is a member already.
    own: bool,
}

impl MemoryGroup {
    /// The group of `process`; `None` = it cannot be seen from here, or the kernel has no memory controller.
    pub fn of(process: &Process) -> Result<Option<MemoryGroup>, SysError> {
        let theirs = process.read_proc("read /proc/PID/cgroup", "/cgroup")?;
        let read =
            |call, path: &str, limit| read_regular(Path::new(path), limit).map_err(|e| SysError::new(call, e.errno()));
        let ours = read("read /proc/self/cgroup", "/proc/self/cgroup", 64 << 10)?;
        let mounts = read("read /proc/self/mountinfo", "/proc/self/mountinfo", 4 << 20)?;
        let own = paying_group(&ours, &mounts);
        Ok(paying_group(&theirs, &mounts).map(|group| MemoryGroup { own: own.as_ref() == Some(&group), group }))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.group.path
    }

    /// What the group and those above it have left, where that is least; `None` = there is no limit.
    pub fn left(&self) -> Result<Option<MemoryLeft>, SysError> {
        let above = self.group.path.ancestors().take_while(|dir| dir.starts_with(&self.group.mount));
        let mut least: Option<MemoryLeft> = None;
        for dir in above {
            if let Some(left) = left_in(dir, self.group.version)?
                && least.as_ref().is_none_or(|l| left.free < l.free)
            {
                least = Some(left);
            }
        }
        Ok(least)
    }

    /// Makes this process a member: what it allocates from now on is the group's to pay. EBUSY: groups below it have
    /// controllers, then the unified hierarchy lets no process in beside them. EACCES: the group is somebody else's.
    pub fn join(&self) -> Result<(), SysError> {
        if self.own {
            return Ok(());
        }
        let call = "write cgroup.procs";
        let path =
            CString::new(self.group.path.as_os_str().as_bytes()).map_err(|_| SysError::new(call, Errno::EINVAL))?;
        let dir = open("open control group", &path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)?;
        if ![CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&file_system(&dir)?) {
            return Err(SysError::new("open control group", Errno::EBADF));
        }
        let procs = open_below(call, &dir, c"cgroup.procs", OFlag::O_WRONLY | OFlag::O_NOFOLLOW)?;
        write_once(call, &procs, b"0")
    }
}

/// Offers this process to the kernel first when memory runs out: better the hook than the container's first process, which
/// may be larger and would otherwise be taken.
pub fn die_first() -> Result<(), SysError> {
    let call = "write /proc/self/oom_score_adj";
    let file = open(call, c"/proc/thread-self/oom_score_adj", OFlag::O_WRONLY)?;
    write_once(call, &file, b"1000")
}

fn write_once(call: &'static str, file: &OwnedFd, text: &[u8]) -> Result<(), SysError> {
    match nix::unistd::write(file, text) {
        Ok(n) if n == text.len() => Ok(()),
        Ok(_) => Err(SysError::new(call, Errno::EIO)),
        Err(e) => Err(SysError::new(call, e)),
    }
}

fn left_in(dir: &Path, version: Version) -> Result<Option<MemoryLeft>, SysError> {
    let call = "read memory usage";
    let number = |name: &str| match read_regular(&dir.join(name), 64) {
        Ok(text) => parse_limit(&text).ok_or_else(|| SysError::new(call, Errno::EBADMSG)),
        // The unified root group, and groups without the memory controller.
        Err(e) if e.errno() == Errno::ENOENT => Ok(None),
        Err(e) => Err(SysError::new(call, e.errno())),
    };
    let Some(limit) = number(version.limit_file())? else { return Ok(None) };
    let Some(usage) = number(version.usage_file())? else { return Ok(None) };
    let stat = read_regular(&dir.join("memory.stat"), 64 << 10).map_err(|e| SysError::new(call, e.errno()))?;
    let used = usage.saturating_sub(inactive_file(&stat, version).unwrap_or(0));
    Ok(Some(MemoryLeft { free: limit.saturating_sub(used), limit, group: dir.to_owned() }))
}

/// File cache that was read once: what the kernel gives up first. Kubernetes counts in the same way ("working set").
fn inactive_file(stat: &[u8], version: Version) -> Option<u64> {
    let name: &[u8] = match version {
        Version::V1 => b"total_inactive_file ",
        Version::V2 => b"inactive_file ",
    };
    let value = stat.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name))?;
    str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A hierarchy of ordinary files: `pod` and `pod/c` below a mount point.
    struct Hierarchy {
        top: PathBuf,
        version: Version,
    }

    impl Hierarchy {
        fn new(version: Version) -> Hierarchy {
            let top = std::env::temp_dir().join(format!("oci-ipc-hook-member-{version:?}-{}", std::process::id()));
            fs::create_dir_all(top.join("pod/c")).unwrap();
            Hierarchy { top, version }
        }

        fn write(&self, dir: &str, limit: &str, usage: &str, stat: &str) {
            let dir = self.top.join(dir);
            fs::write(dir.join(self.version.limit_file()), limit).unwrap();
            fs::write(dir.join(self.version.usage_file()), usage).unwrap();
            fs::write(dir.join("memory.stat"), stat).unwrap();
        }

        fn group(&self) -> MemoryGroup {
            let group = Group { version: self.version, mount: self.top.clone(), path: self.top.join("pod/c") };
            MemoryGroup { group, own: false }
        }
    }

    impl Drop for Hierarchy {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.top);
        }
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        for (version, stat) in [
            (Version::V1, "inactive_file 1\ntotal_inactive_file 300\n"),
            (Version::V2, "anon 5\ninactive_file 300\nactive_file 7\n"),
        ] {
            let tree = Hierarchy::new(version);
            assert_eq!(tree.group().left().unwrap(), None, "no controller anywhere");
            tree.write("pod/c", "max\n", "5000\n", "");
            assert_eq!(tree.group().left().unwrap(), None, "no limit anywhere");
            tree.write("pod", "10000\n", "8000\n", stat);
            let left = tree.group().left().unwrap().unwrap();
            assert_eq!(left, MemoryLeft { free: 2300, limit: 10000, group: tree.top.join("pod") }, "{version:?}");
            tree.write("pod/c", "5500\n", "5000\n", "");
            assert_eq!(tree.group().left().unwrap().unwrap().free, 500, "its own limit is tighter");
            tree.write("pod", "10000\n", "20000\n", "");
            assert_eq!(tree.group().left().unwrap().unwrap().free, 0, "a limit lowered below the usage");
            tree.write("pod", "10000\n", "many\n", "");
            assert_eq!(tree.group().left().unwrap_err().errno, Errno::EBADMSG);
        }
    }

    #[test]
    fn only_a_control_group_is_joined() {
        let tree = Hierarchy::new(Version::V2);
        let bait = tree.top.join("pod/c/cgroup.procs");
        fs::write(&bait, "").unwrap();
        assert_eq!(tree.group().join().unwrap_err().errno, Errno::EBADF);
        assert_eq!(fs::read(&bait).unwrap(), b"");
        assert_eq!(MemoryGroup { own: true, ..tree.group() }.join(), Ok(()), "nothing to do");
    }

    #[test]
    fn the_group_of_this_process_is_its_own() {
        let own = Process::open(std::process::id() as i32).unwrap();
        if let Some(group) = MemoryGroup::of(&own).unwrap() {
            assert!(group.own, "{group:?}");
        }
    }
}
