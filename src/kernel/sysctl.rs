//! The sysctl files below `/proc/sys`, opened once each and never by a name that comes from outside.
//!
//! To be used after the namespace was joined: since Linux 5.19 a file belongs to the namespace of the process that opened
//! it, at the time it did.

use super::SysError;
use super::identity::Identity;
use super::sys::{Text, file_system, open, open_below, stat_fd};
use crate::ipc::{Owner, Sysctl, SysctlValue};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::statfs::PROC_SUPER_MAGIC;
use nix::sys::uio::{pread, pwrite};
use std::ffi::CStr;
use std::os::fd::OwnedFd;

/// The longest text is that of `kernel.sem`: four ints of 11 characters, three blanks and a newline.
const LONGEST: usize = 64;

/// The files that were opened so far.
#[derive(Debug, Default)]
pub(super) struct Files {
    kernel: Option<OwnedFd>,
    mqueue: Option<OwnedFd>,
    files: [Option<File>; 13],
    /// Root of the container in our ids, if it has one.
    root: Option<Owner>,
}

#[derive(Debug)]
struct File {
    fd: OwnedFd,
    /// Why it could not be opened for writing.
    read_only: Option<Errno>,
    /// Who opened it: the kernel asks for the same effective user id again at each write.
    opener: Owner,
}

impl Files {
    /// Nothing is open yet. `root` is the container's, in our ids.
    pub(super) fn of(root: Option<Owner>) -> Files {
        Files { root, ..Files::default() }
    }

    /// Reads a value with one pread.
    pub(super) fn read(&mut self, sysctl: Sysctl, identity: &mut Identity) -> Result<SysctlValue, SysError> {
        let file = self.file(sysctl, identity)?;
        let mut buffer = [0u8; LONGEST];
        let length = pread(&file.fd, &mut buffer, 0).map_err(|e| SysError::new("pread", e))?;
        str::from_utf8(&buffer[..length])
            .ok()
            .and_then(|text| sysctl.parse_kernel(text).ok())
            .ok_or_else(|| SysError::new("pread", Errno::EBADMSG))
    }

    /// Writes a value with one pwrite. A short write means that the kernel found more than it wanted.
    pub(super) fn write(
        &mut self,
        sysctl: Sysctl,
        value: SysctlValue,
        identity: &mut Identity,
    ) -> Result<(), SysError> {
        let file = self.file(sysctl, identity)?;
        if let Some(errno) = file.read_only {
            return Err(SysError::new("open", errno));
        }
        identity.assume(file.opener)?;
        let text = render(sysctl, value)?;
        match pwrite(&file.fd, text.as_bytes(), 0) {
            Ok(written) if written == text.as_bytes().len() => Ok(()),
            Ok(_) => Err(SysError::new("pwrite", Errno::EINVAL)),
            Err(e) => Err(SysError::new("pwrite", e)),
        }
    }

    /// The open file of a sysctl.
    fn file(&mut self, sysctl: Sysctl, identity: &mut Identity) -> Result<&File, SysError> {
        let slot = &mut self.files[sysctl.index()];
        if slot.is_none() {
            let dir = if sysctl.is_mqueue() {
                directory(&mut self.mqueue, c"/proc/sys/fs/mqueue")?
            } else {
                directory(&mut self.kernel, c"/proc/sys/kernel")?
            };
            *slot = Some(open_file(dir, sysctl, self.root, identity)?);
        }
        slot.as_ref().ok_or_else(|| SysError::new("open", Errno::EBADF))
    }
}

/// A directory of `/proc/sys`, opened once and seen to be procfs and nothing that was mounted over it.
fn directory<'d>(slot: &'d mut Option<OwnedFd>, path: &CStr) -> Result<&'d OwnedFd, SysError> {
    match slot {
        Some(dir) => Ok(dir),
        None => {
            let dir = open("open /proc/sys", path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)?;
            if file_system(&dir)? != PROC_SUPER_MAGIC {
                return Err(SysError::new("open /proc/sys", Errno::EXDEV));
            }
            Ok(slot.insert(dir))
        }
    }
}

/// Opens a file for reading and writing: as who we are, else as the file's owner (a namespace that belongs to a child user
/// namespace answers to that one's root only), else as `root`: a file that somebody looked at before the id maps were
/// written shows the host's root as its owner ever after. What cannot be written is opened for reading, with the reason
/// kept.
fn open_file(dir: &OwnedFd, sysctl: Sysctl, root: Option<Owner>, identity: &mut Identity) -> Result<File, SysError> {
    let name = Text::<32>::new().push(sysctl.file_name());
    let attempt = |flags| open_below("open", dir, name.as_c_str(), flags | OFlag::O_NOFOLLOW);
    let refused = match attempt(OFlag::O_RDWR) {
        Ok(fd) => return Ok(File { fd, read_only: None, opener: identity.current() }),
        Err(e) if matches!(e.errno, Errno::EACCES | Errno::EPERM | Errno::EROFS) => e.errno,
        Err(e) => return Err(e),
    };
    let fd = attempt(OFlag::O_RDONLY)?;
    if refused != Errno::EROFS {
        let stat = stat_fd(&fd)?;
        let shown = Owner { uid: stat.st_uid, gid: stat.st_gid };
        let before = identity.current();
        for owner in [Some(shown), root.filter(|root| *root != shown)].into_iter().flatten() {
            if owner == before {
                continue;
            }
            if identity.assume(owner).is_ok()
                && let Ok(fd) = attempt(OFlag::O_RDWR)
            {
                return Ok(File { fd, read_only: None, opener: owner });
            }
            identity.resume()?;
        }
    }
    Ok(File { fd, read_only: Some(refused), opener: identity.current() })
}

/// The decimal text to write.
fn render(sysctl: Sysctl, value: SysctlValue) -> Result<Text<LONGEST>, SysError> {
    match (sysctl, value) {
        (Sysctl::Sem, SysctlValue::Sem([a, b, c, d])) => {
            Ok(Text::new().push_i32(a).push(" ").push_i32(b).push(" ").push_i32(c).push(" ").push_i32(d))
        }
        (Sysctl::Sem, _) | (_, SysctlValue::Sem(_)) => Err(SysError::new("pwrite", Errno::EINVAL)),
        // The kernel reads an int here, and −1 is the largest.
        (Sysctl::MqQueuesMax, SysctlValue::Number(n)) => match u32::try_from(n) {
            Ok(n) => Ok(Text::new().push_i32(n as i32)),
            Err(_) => Err(SysError::new("pwrite", Errno::EINVAL)),
        },
        (_, SysctlValue::Number(n)) => Ok(Text::new().push_u64(n)),
    }
}
