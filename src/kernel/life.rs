//! What tells one process, and one run of the machine, from later ones with the same numbers.

use super::SysError;
use super::file::read_all;
use super::sys::{open, proc_path};
use nix::errno::Errno;
use nix::fcntl::OFlag;

/// The id of this run of the machine, which no other has.
pub fn boot_id() -> Result<String, SysError> {
    let call = "read /proc/sys/kernel/random/boot_id";
    let fd = open(call, c"/proc/sys/kernel/random/boot_id", OFlag::O_RDONLY)?;
    let text = read_all(&fd, 256).map_err(|e| SysError::new(call, e.errno()))?;
    Ok(String::from_utf8_lossy(text.trim_ascii()).into_owned())
}

/// When a living process was started, in clock ticks since the machine was: together with its number that names it among
/// all processes of this run of the machine. `None`: there is none, or it has ended and its parent has not noticed.
pub fn started(pid: i32) -> Option<u64> {
    let fd = open("read /proc/PID/stat", proc_path(pid, "/stat").as_c_str(), OFlag::O_RDONLY).ok()?;
    parse_stat(&read_all(&fd, 4096).ok()?)
}

/// The inode of this process's pid namespace, in which numbers of processes are told; `None` where `/proc` is another's.
pub fn pid_namespace() -> Option<u64> {
    super::sys::stat_path("stat /proc/self/ns/pid", c"/proc/self/ns/pid").ok().map(|found| found.st_ino)
}

/// The user that user 0 of this user namespace is in the one around it; `None` when both are the same.
pub fn outer_root() -> Result<Option<u32>, SysError> {
    let call = "read /proc/self/uid_map";
    let fd = open(call, c"/proc/self/uid_map", OFlag::O_RDONLY)?;
    let text = read_all(&fd, 64 << 10).map_err(|e| SysError::new(call, e.errno()))?;
    let map = str::from_utf8(&text).ok().and_then(|text| crate::ipc::IdMap::parse(text).ok());
    let map = map.ok_or_else(|| SysError::new(call, Errno::EBADMSG))?;
    Ok(if map.is_identity() { None } else { map.to_outside(0) })
}

/// The name of the program stands in parentheses and may hold any byte, parentheses too; behind it come the state as field
/// 3 and the start as field 22.
fn parse_stat(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let mut fields = str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_start_behind_any_name() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        for name in ["sh", "a b) S 1", "((", ")"] {
            assert_eq!(parse_stat(format!("7 ({name}) S {rest}\n").as_bytes()), Some(4711), "{name}");
        }
        assert_eq!(parse_stat(format!("7 (sh) Z {rest}").as_bytes()), None);
        assert_eq!(parse_stat(b"7 (sh) S 1 2"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn a_process_keeps_its_start_and_others_have_none() {
        let own = std::process::id().cast_signed();
        assert!(started(own).is_some());
        assert_eq!(started(own), started(own));
        assert_eq!(started(i32::MAX), None);
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
