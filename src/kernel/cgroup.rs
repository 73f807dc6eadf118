//! The memory that a process's control groups leave it, and who pays for memory.

mod member;

pub use member::{MemoryGroup, MemoryLeft, die_first};

use super::SysError;
use super::file::read_regular;
use super::process::Process;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// cgroup v1 shows "no limit" as the largest multiple of the page size below 2⁶³.
const V1_UNLIMITED: u64 = 1 << 62;

/// A directory of a memory hierarchy, and the mount it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    version: Version,
    /// Where the hierarchy is mounted: no limit lies above.
    mount: PathBuf,
    /// The process's own group.
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Version {
    const fn limit_file(self) -> &'static str {
        match self {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        }
    }

    const fn usage_file(self) -> &'static str {
        match self {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        }
    }
}

/// The smallest memory limit in bytes of the control groups that the process is in; `None` = no limit, or none that can be
/// seen from here. `above_own` starts with the parent of its own group: what containers of one pod have in common.
pub fn memory_limit(process: &Process, above_own: bool) -> Result<Option<u64>, SysError> {
    let membership = process.read_proc("read /proc/PID/cgroup", "/cgroup")?;
    // A host with many containers has a long list of mounts.
    let mounts = read_regular(Path::new("/proc/self/mountinfo"), 4 << 20)
        .map_err(|e| SysError::new("read /proc/self/mountinfo", e.errno()))?;
    smallest_limit(&memory_groups(&membership, &mounts), above_own)
}

fn smallest_limit(groups: &[Group], above_own: bool) -> Result<Option<u64>, SysError> {
    let mut smallest: Option<u64> = None;
    for group in groups {
        for dir in group.path.ancestors().skip(above_own.into()).take_while(|dir| dir.starts_with(&group.mount)) {
            if let Some(limit) = read_limit(&dir.join(group.version.limit_file()))? {
                smallest = Some(smallest.map_or(limit, |s| s.min(limit)));
            }
        }
    }
    Ok(smallest)
}

fn read_limit(file: &Path) -> Result<Option<u64>, SysError> {
    let call = "read memory limit";
    match read_regular(file, 64) {
        Ok(text) => parse_limit(&text).ok_or_else(|| SysError::new(call, Errno::EBADMSG)),
        // The root group and groups without the memory controller have no such file.
        Err(e) if e.errno() == Errno::ENOENT => Ok(None),
        Err(e) => Err(SysError::new(call, e.errno())),
    }
}

/// The text of a limit file: a number of bytes, or one of the ways to say that there is no limit. The outer `None` = neither.
fn parse_limit(text: &[u8]) -> Option<Option<u64>> {
    match text.trim_ascii() {
        b"max" => Some(None),
        number => {
            let limit: u64 = str::from_utf8(number).ok()?.parse().ok()?;
            Some((limit < V1_UNLIMITED).then_some(limit))
        }
    }
}

/// The groups whose memory limits bind a process: of v1's memory hierarchy and of the unified one, as far as mounted.
/// `membership` is the text of `/proc/PID/cgroup`, `mounts` that of `/proc/self/mountinfo`.
fn memory_groups(membership: &[u8], mounts: &[u8]) -> Vec<Group> {
    [Version::V1, Version::V2].into_iter().filter_map(|version| locate(version, membership, mounts)).collect()
}

/// The group that pays: v1's if the kernel has its memory controller there, for then the unified hierarchy has none.
fn paying_group(membership: &[u8], mounts: &[u8]) -> Option<Group> {
    let version = if member_path(Version::V1, membership).is_some() { Version::V1 } else { Version::V2 };
    locate(version, membership, mounts)
}

fn locate(version: Version, membership: &[u8], mounts: &[u8]) -> Option<Group> {
    let path = member_path(version, membership)?;
    let mut mounts = mounts.split(|b| *b == b'\n').filter_map(Mount::parse).filter(|m| m.is(version));
    // One that shows another part of the hierarchy does not help.
    mounts.find_map(|mount| mount.locate(version, path))
}

/// The path in `/proc/PID/cgroup`: of v1's memory controller, or of the unified hierarchy.
fn member_path(version: Version, membership: &[u8]) -> Option<&[u8]> {
    membership.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |b| *b == b':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let hit = match version {
            Version::V1 => controllers.split(|b| *b == b',').any(|c| c == b"memory"),
            Version::V2 => number == b"0" && controllers.is_empty(),
        };
        hit.then_some(path)
    })
}

/// A line of mountinfo: `31 23 0:28 ROOT POINT options [optional…] - TYPE source SUPER-OPTIONS`.
struct Mount<'l> {
    root: &'l [u8],
    point: &'l [u8],
    kind: &'l [u8],
    options: &'l [u8],
}

impl<'l> Mount<'l> {
    fn parse(line: &'l [u8]) -> Option<Mount<'l>> {
        let mut fields = line.split(|b| *b == b' ');
        let root = fields.nth(3)?;
        let point = fields.next()?;
        let mut tail = fields.skip_while(|f| *f != b"-").skip(1);
        let kind = tail.next()?;
        Some(Mount { root, point, kind, options: tail.nth(1)? })
    }

    fn is(&self, version: Version) -> bool {
        match version {
            Version::V1 => self.kind == b"cgroup" && self.options.split(|b| *b == b',').any(|o| o == b"memory"),
            Version::V2 => self.kind == b"cgroup2",
        }
    }

    /// The group `path` below this mount; `None` when the mount shows another part of the hierarchy.
    fn locate(&self, version: Version, path: &[u8]) -> Option<Group> {
        let path = Path::new(OsStr::from_bytes(path));
        // Seen from within a cgroup namespace, groups outside it start with "/..".
        if path.components().any(|c| c == Component::ParentDir) {
            return None;
        }
        let below = path.strip_prefix(Path::new(OsStr::from_bytes(&unescape(self.root)))).ok()?;
        let mount = PathBuf::from(OsStr::from_bytes(&unescape(self.point)));
        Some(Group { version, path: mount.join(below), mount })
    }
}

/// mountinfo writes blanks, newlines and backslashes as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn paths(membership: &str, mounts: &str) -> Vec<String> {
        memory_groups(membership.as_bytes(), mounts.as_bytes())
            .into_iter()
            .map(|g| format!("{:?} {} {}", g.version, g.mount.display(), g.path.display()))
            .collect()
    }

    #[test]
    fn finds_both_hierarchies() {
        let membership = "9:name=systemd:/x\n4:hugetlb,memory:/pod/c:1\n1:cpu:/y\n0::/u\n";
        assert_eq!(
            paths(membership, HYBRID),
            [
                "V1 /sys/fs/cgroup/memory /sys/fs/cgroup/memory/pod/c:1",
                "V2 /sys/fs/cgroup/unified /sys/fs/cgroup/unified/u"
            ]
        );
        let unified = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(paths("0::/a.slice/b.scope\n", unified), ["V2 /sys/fs/cgroup /sys/fs/cgroup/a.slice/b.scope"]);
        assert_eq!(paths("0::/\n", unified), ["V2 /sys/fs/cgroup /sys/fs/cgroup/"]);
    }

    #[test]
    fn minds_which_part_is_mounted() {
        let part = "30 23 0:26 /docker/ab /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n";
        assert_eq!(paths("0::/docker/ab/c\n", part), ["V2 /mnt/my groups /mnt/my groups/c"]);
        assert!(paths("0::/docker/abc\n", part).is_empty(), "compares whole names");
        assert!(paths("0::/other\n", part).is_empty());
        assert!(paths("0::/../docker/ab\n", part).is_empty());
        assert!(paths("0::/docker/ab/../../..\n", part).is_empty());
        let whole = "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(paths("0::/other\n", &format!("{part}{whole}")), ["V2 /sys/fs/cgroup /sys/fs/cgroup/other"]);
    }

    #[test]
    fn one_group_pays() {
        let group = |membership: &str, mounts: &str| paying_group(membership.as_bytes(), mounts.as_bytes());
        let both = "4:memory:/pod/c\n0::/u\n";
        assert_eq!(group(both, HYBRID).unwrap().path, Path::new("/sys/fs/cgroup/memory/pod/c"));
        let without = HYBRID.replace("rw,memory", "rw,pids");
        assert_eq!(group(both, &without), None, "v1 has the controller, so the unified hierarchy has not");
        let unified = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(group("0::/a\n", unified).unwrap().path, Path::new("/sys/fs/cgroup/a"));
        assert_eq!(group("", unified), None);
    }

    #[test]
    fn hostile_text_finds_nothing() {
        for text in ["", "\n\n", "0", "0:", "0::", "::::", "4:memory", "x:memory:", "30 23 0:26 / /p - cgroup2"] {
            assert!(paths(text, HYBRID).iter().all(|p| !p.contains("..")), "{text}");
            assert!(paths("0::/a\n", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn limits_are_numbers_or_none() {
        assert_eq!(parse_limit(b"1048576\n"), Some(Some(1 << 20)));
        assert_eq!(parse_limit(b"0\n"), Some(Some(0)));
        for none in ["max\n", "9223372036854771712\n", "18446744073709551615\n"] {
            assert_eq!(parse_limit(none.as_bytes()), Some(None), "{none}");
        }
        for bad in ["", "-1", "1k", "18446744073709551616"] {
            assert_eq!(parse_limit(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn octal_escapes_are_undone_and_others_kept() {
        assert_eq!(unescape(b"a\\040b\\134\\777\\04"), b"a b\\\\777\\04");
    }

    #[test]
    fn the_smallest_on_the_way_up_counts() {
        let top = std::env::temp_dir().join(format!("oci-ipc-hook-cgroup-{}", std::process::id()));
        let (v1, v2) = (top.join("v1"), top.join("v2"));
        let write = |dir: &Path, file, text| {
            std::fs::create_dir_all(dir).unwrap();
            std::fs::write(dir.join(file), text).unwrap();
        };
        // Above the mount, as bait.
        write(&top, "memory.max", "1\n");
        write(&v2.join("pod"), "memory.max", "5000\n");
        write(&v2.join("pod/c"), "memory.max", "3000\n");
        write(&v1.join("pod/c"), "memory.limit_in_bytes", "4000\n");
        let group = |version, mount: &Path| Group { version, mount: mount.into(), path: mount.join("pod/c") };
        let (v1, v2) = (group(Version::V1, &v1), group(Version::V2, &v2));
        let both = [v1.clone(), v2.clone()];
        assert_eq!(smallest_limit(&both, false), Ok(Some(3000)));
        assert_eq!(smallest_limit(&both, true), Ok(Some(5000)));
        assert_eq!(smallest_limit(std::slice::from_ref(&v1), false), Ok(Some(4000)));
        assert_eq!(smallest_limit(&[v1], true), Ok(None));
        write(&v2.path, "memory.max", "many\n");
        assert_eq!(smallest_limit(&[v2], false).unwrap_err().errno, Errno::EBADMSG);
        std::fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn the_limit_of_a_running_process_can_be_asked_for() {
        let own = Process::open(std::process::id() as i32).unwrap();
        assert!(memory_limit(&own, false).is_ok());
    }
}
