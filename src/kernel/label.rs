//! SELinux labels: an object carries that of the process that made it, and the container may use its own only.
//!
//! A process that has taken the container's label may no longer do what the hook may, undoing included. So the label is
//! taken in a child, which creates one object and ends.

use super::SysError;
use super::child::in_child;
use super::file::read_regular;
use super::sys::open;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::write;
use std::path::Path;

/// Name of the call that takes a label, for errors.
pub const TAKE: &str = "write /proc/thread-self/attr/current";

/// True when SELinux is loaded and enforces its policy.
pub fn selinux_enforces() -> bool {
    read_regular(Path::new("/sys/fs/selinux/enforce"), 16).is_ok_and(|text| text.starts_with(b"1"))
}

/// Runs `work` in a child that has taken `label`.
pub(super) fn with_label(label: &str, work: impl FnOnce() -> Result<(), SysError>) -> Result<(), SysError> {
    let answer = in_child(|| match take(label).and_then(|()| work()) {
        Ok(()) => Vec::new(),
        Err(e) => tell(&e).into_bytes(),
    })?;
    if answer.is_empty() {
        return Ok(());
    }
    Err(understand(&String::from_utf8_lossy(&answer)).unwrap_or_else(|| SysError::new("child", Errno::EIO)))
}

fn take(label: &str) -> Result<(), SysError> {
    let fd = open(TAKE, c"/proc/thread-self/attr/current", OFlag::O_WRONLY)?;
    match write(&fd, label.as_bytes()) {
        Ok(n) if n == label.len() => Ok(()),
        Ok(_) => Err(SysError::new(TAKE, Errno::EINVAL)),
        Err(e) => Err(SysError::new(TAKE, e)),
    }
}

/// An error and the one that came with it, a line each: errno and call.
fn tell(error: &SysError) -> String {
    let also = error.also.as_ref().map(|e| tell(e)).unwrap_or_default();
    format!("{} {}\n{also}", error.errno as i32, error.call)
}

fn understand(text: &str) -> Option<SysError> {
    let (line, rest) = text.split_once('\n')?;
    let (errno, call) = line.split_once(' ')?;
    // A name of ours, told by a child whose run ends here too.
    let call = Box::leak(Box::<str>::from(call));
    Some(SysError { also: understand(rest).map(Box::new), ..SysError::new(call, Errno::from_raw(errno.parse().ok()?)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_back_from_the_child() {
        let error = SysError {
            also: Some(Box::new(SysError::new("semctl", Errno::EIDRM))),
            ..SysError::new(TAKE, Errno::EACCES)
        };
        assert_eq!(understand(&tell(&error)), Some(error));
        assert_eq!(understand("nonsense"), None);
    }

    #[test]
    fn a_label_that_cannot_be_taken_is_an_error() {
        let error = with_label("not a label", || Ok(())).unwrap_err();
        assert_eq!(error.call, TAKE);
    }
}
