//! Where records lie: `/run/oci-ipc-hook`, or `/run/user/<uid>/oci-ipc-hook` for a user who is not root.

use super::Stored;
use crate::error::{Error, Result};
use crate::kernel::file::{FileError, correct_rights};
use crate::kernel::life::outer_root;
use crate::kernel::private_dir::{PrivateDir, half_written};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Name of the directory.
const NAME: &str = "oci-ipc-hook";
/// Directory of what is left of runs that failed.
const FAILED: &str = "failed";
/// How many of them stay.
const MOST_FAILED: usize = 64;
/// Above this many records those whose container has gone without a word are looked for.
const MANY: usize = 256;
/// How old, in seconds, such a record must be: its container may be stopping right now.
const FORGOTTEN: i64 = 3600;
/// Largest record that is read: ten thousand objects take a tenth of it.
const MAX_RECORD: usize = 64 << 20;

/// A finished run's record.
pub(crate) const RECORD: &str = ".json";
/// What a run that is under way means to change; one whose run was killed stays.
pub(crate) const JOURNAL: &str = ".journal";

/// The directory of records.
#[derive(Debug)]
pub struct Store {
    dir: PrivateDir,
    path: PathBuf,
}

impl Store {
    /// Opens the directory, and makes it if `create` says so. `None`: it is not there, or this user has no place below
    /// `/run`.
    ///
    /// # Errors
    /// It is a link, or it is not ours alone.
    pub fn open(create: bool) -> Result<Option<Store>> {
        let own = nix::unistd::geteuid().as_raw();
        let user = match own {
            0 => outer_root().map_err(|e| Error::failed("records", e.to_string()))?,
            other => Some(other),
        };
        let parent = user.map_or_else(|| PathBuf::from("/run"), |uid| PathBuf::from(format!("/run/user/{uid}")));
        let path = parent.join(NAME);
        match PrivateDir::open(&parent, NAME, create) {
            Ok(dir) => Ok(dir.map(|dir| Store { dir, path })),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    /// Reads one file; `None` when it is not there.
    ///
    /// # Errors
    /// Others may have written it, or it is not a record.
    pub(crate) fn load(&self, name: &str) -> Result<Option<Stored>> {
        let path = self.path.join(name);
        match self.dir.read(name, MAX_RECORD) {
            Ok(bytes) => Stored::parse(bytes).map(Some).map_err(|why| not_a_record(&path, &why)),
            Err(FileError::NotFound) => Ok(None),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    /// Writes one file, whole or not at all, and leaves it open for writing.
    ///
    /// # Errors
    /// No room, or no permission.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<OwnedFd> {
        self.dir.write(name, text.as_bytes()).map_err(|e| failed(&self.path.join(name), &e))
    }

    /// When a file was last written, seconds since the epoch.
    pub(crate) fn modified(&self, name: &str) -> Option<i64> {
        self.dir.modified(name).ok().map(|(seconds, _)| seconds)
    }

    /// Removes one file; it need not be there.
    ///
    /// # Errors
    /// No permission.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.dir.remove(name).map_err(|e| failed(&self.path.join(name), &e))
    }

    /// Removes everything of a container, but no failure's record.
    ///
    /// # Errors
    /// No permission.
    pub(crate) fn forget(&self, stem: &str) -> Result<()> {
        for suffix in [RECORD, JOURNAL] {
            let name = format!("{stem}{suffix}");
            self.remove(&half_written(&name))?;
            self.remove(&name)?;
        }
        Ok(())
    }

    /// Names of all records and journals.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let mut names = self.dir.names().map_err(|e| failed(&self.path, &e))?;
        names.retain(|name| name.ends_with(RECORD) || name.ends_with(JOURNAL));
        Ok(names)
    }

    /// Removes records whose containers ended long ago, when there are many: not every engine says that a container has
    /// stopped.
    pub(crate) fn prune(&self, names: &[String], boot: &str, now: i64) {
        if names.len() <= MANY {
            return;
        }
        for name in names {
            let old = self.dir.modified(name).is_ok_and(|(seconds, _)| seconds < now - FORGOTTEN);
            if old && !matches!(self.load(name), Ok(Some(stored)) if stored.is_needed(boot)) {
                let _ = self.remove(name);
            }
        }
    }

    /// Keeps the record of a failed run, and the newest of the others.
    ///
    /// # Errors
    /// No room, or no permission.
    pub(crate) fn keep_failure(&self, stem: &str, text: &str) -> Result<()> {
        let path = self.path.join(FAILED);
        let Some(dir) = self.dir.subdir(FAILED, true).map_err(|e| failed(&path, &e))? else { return Ok(()) };
        dir.write(&format!("{stem}{RECORD}"), text.as_bytes()).map_err(|e| failed(&path, &e))?;
        let names = dir.names().map_err(|e| failed(&path, &e))?;
        if let Some(surplus) = names.len().checked_sub(MOST_FAILED).filter(|n| *n > 0) {
            let mut aged: Vec<_> =
                names.into_iter().map(|name| (dir.modified(&name).unwrap_or_default(), name)).collect();
            aged.sort_unstable();
            for (_, name) in &aged[..surplus] {
                dir.remove(name).map_err(|e| failed(&path.join(name), &e))?;
            }
        }
        Ok(())
    }

    /// Everything that is kept of a container, wherever its bundle lies: records, unfinished runs and failures.
    ///
    /// # Errors
    /// The directory cannot be read, or one of the files is not a record of ours.
    pub fn of_container(&self, id: &str) -> Result<Vec<Stored>> {
        let mut found = Vec::new();
        for name in self.names()?.into_iter().filter(|name| super::may_be_of(name, id)) {
            if let Some(mut stored) = self.load(&name)?.filter(|stored| stored.container == id) {
                stored.unfinished = name.ends_with(JOURNAL);
                found.push(stored);
            }
        }
        let path = self.path.join(FAILED);
        if let Some(dir) = self.dir.subdir(FAILED, false).map_err(|e| failed(&path, &e))? {
            let names = dir.names().map_err(|e| failed(&path, &e))?;
            for name in names.into_iter().filter(|name| super::may_be_of(name, id)) {
                let bytes = dir.read(&name, MAX_RECORD).map_err(|e| failed(&path.join(&name), &e))?;
                let mut stored = Stored::parse(bytes).map_err(|why| not_a_record(&path.join(&name), &why))?;
                stored.failed = true;
                found.extend(Some(stored).filter(|stored| stored.container == id));
            }
        }
        Ok(found)
    }
}

fn failed(path: &Path, error: &FileError) -> Error {
    let name = path.to_string_lossy();
    let remedy = match error {
        FileError::Untrusted { directory: true, owner, .. } => {
            let dir = path.parent().unwrap_or(path).to_string_lossy();
            return Error::failed(name, error.to_string()).remedy(correct_rights(*owner, &dir));
        }
        FileError::Link | FileError::NotRegular => "remove it: it is not the hook's",
        FileError::Untrusted { .. } => "remove it: only its user may have access to what the hook keeps there",
        FileError::TooLarge(_) => "remove it: the hook writes none of that size",
        _ => "see whether there is room and permission below /run",
    };
    Error::failed(name, error.to_string()).remedy(remedy)
}

fn not_a_record(path: &Path, why: &str) -> Error {
    Error::failed(path.to_string_lossy(), format!("not a record of the hook: {why}")).remedy("remove it")
}
