//! The readiness file: there and locked while the plugin is registered. A killed plugin leaves the file, not the lock.

use crate::log;
use anyhow::{Context as _, bail};
use std::fs::{DirBuilder, File, TryLockError, remove_file, rename};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How every readiness file begins, so that no other file is ever taken for one.
const MARK: &str = "oci-ipc-nri ";

/// One plugin's word that it is registered.
pub(crate) struct Ready {
    path: PathBuf,
    held: Option<File>,
}

impl Ready {
    pub(crate) fn new(path: PathBuf) -> Self {
        Ready { path, held: None }
    }

    /// From now on the plugin is ready. A file that cannot be written makes it look unready, which is logged.
    pub(crate) fn set(&mut self) {
        match self.write() {
            Ok(file) => self.held = Some(file),
            Err(error) => log::warn("no readiness file", &[("error", &format!("{error:#}"))]),
        }
    }

    /// A new file each time, moved into place when it is locked: there is no moment with an unlocked one.
    fn write(&self) -> anyhow::Result<File> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        // The default lies in the hook's own directory, which is nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(parent).with_context(|| parent.display().to_string())?;
        let fresh = self.path.with_extension(format!("{}", std::process::id()));
        let mut file = File::create(&fresh).with_context(|| fresh.display().to_string())?;
        file.try_lock().with_context(|| format!("lock {}", fresh.display()))?;
        writeln!(file, "{MARK}{}", std::process::id())?;
        rename(&fresh, &self.path).with_context(|| self.path.display().to_string())?;
        sweep(parent, &self.path);
        Ok(file)
    }

    /// No longer. A file that another plugin has put there meanwhile stays.
    pub(crate) fn clear(&mut self) {
        if let Some(file) = self.held.take()
            && let (Ok(ours), Ok(there)) = (file.metadata(), std::fs::metadata(&self.path))
            && ours.ino() == there.ino()
        {
            let _ = remove_file(&self.path);
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Removes files of plugins that were killed: nobody holds them. Half-made ones have an extension and are left alone.
fn sweep(dir: &Path, own: &Path) {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in files.filter(|path| path != own && path.extension().is_none()) {
        let Ok(mut file) = File::options().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(&path)
        else {
            continue;
        };
        let mut start = [0; MARK.len()];
        if file.read_exact(&mut start).is_ok() && start == MARK.as_bytes() && file.try_lock().is_ok() {
            let _ = remove_file(&path);
        }
    }
}

/// Whether some living plugin holds the file.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("no plugin is registered: {}", path.display()))?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(()),
        Ok(()) => bail!("no plugin is registered: nobody holds {}", path.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::create_dir_all;

    /// A readiness file in a directory that goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            Scratch(std::env::temp_dir().join(format!("oci-ipc-nri-{}-{name}", std::process::id())).join("ready"))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
        }
    }

    #[test]
    fn ready_only_between_set_and_clear() {
        let scratch = Scratch::new("between");
        let path = scratch.0.clone();
        let mut ready = Ready::new(path.clone());
        assert!(check(&path).is_err());
        ready.set();
        assert!(check(&path).is_ok());
        ready.clear();
        assert!(check(&path).is_err());
    }

    #[test]
    fn a_file_left_by_a_dead_plugin_is_not_ready() {
        let scratch = Scratch::new("dead");
        let path = scratch.0.clone();
        create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        assert!(check(&path).unwrap_err().to_string().contains("nobody holds"));
    }

    #[test]
    fn files_of_killed_plugins_are_swept_and_living_ones_stay() {
        let scratch = Scratch::new("sweep");
        let path = scratch.0.clone();
        let (dead, other) = (path.with_file_name("dead"), path.with_file_name("other"));
        create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&dead, format!("{MARK}1\n")).unwrap();
        let stranger = path.with_file_name("stranger");
        std::fs::write(&stranger, "not ours").unwrap();
        let (mut first, mut second) = (Ready::new(other.clone()), Ready::new(path.clone()));
        first.set();
        second.set();
        assert!(!dead.exists() && stranger.exists());
        assert!(check(&other).is_ok() && check(&path).is_ok());
    }

    #[test]
    fn the_old_plugin_does_not_take_the_new_ones_file() {
        let scratch = Scratch::new("two");
        let path = scratch.0.clone();
        let (mut old, mut new) = (Ready::new(path.clone()), Ready::new(path.clone()));
        old.set();
        new.set();
        old.clear();
        assert!(check(&path).is_ok());
    }
}
