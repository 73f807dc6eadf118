//! Printing that survives a closed pipe.

use crate::error::{Error, Result};
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

/// Prints to stdout; a reader that went away is no error.
///
/// # Errors
/// stdout cannot be written to, such as a full disk.
pub(super) fn print(text: &str) -> Result<()> {
    write(|out| out.write_all(text.as_bytes()))
}

/// The same for what is better written piece by piece.
///
/// # Errors
/// As [`print`].
pub(super) fn write(pieces: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> io::Result<()>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match pieces(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::failed("standard output", e.to_string())),
        _ => Ok(()),
    }
}

/// Replaces a file as a whole, so that nobody ever reads half of it. The new one has the owner and mode of the old one, or
/// mode 0644.
///
/// # Errors
/// It is no regular file, or it cannot be written or renamed; the old one is then as it was.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e: io::Error| Error::failed(path.to_string_lossy(), e.to_string());
    let old = match fs::symlink_metadata(path) {
        Ok(old) if !old.is_file() => {
            return Err(Error::bad_input(path.to_string_lossy(), "it would be replaced, and is no regular file")
                .remedy("name a regular file; without --output everything goes to standard output"));
        }
        Ok(old) => Some(old),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(failed(e)),
    };
    let mode = old.as_ref().map_or(0o644, |old| old.mode() & 0o777);
    let name = path.file_name().ok_or_else(|| Error::bad_input(path.to_string_lossy(), "is not the name of a file"))?;
    // Readers such as node_exporter take names that end in theirs; this one does not.
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(hidden);
    let written = File::options().write(true).create_new(true).mode(0o600).open(&temporary).map_err(failed).and_then(
        |mut file| {
            file.write_all(bytes).map_err(failed)?;
            if let Some(old) = &old {
                hand_over(&file, old).map_err(|e| e.within(path.display()))?;
            }
            file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
            fs::rename(&temporary, path).map_err(failed)
        },
    );
    written.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// Gives a new file to the owner and group of the old one.
fn hand_over(new: &File, old: &Metadata) -> Result<()> {
    let own = new.metadata().map_err(|e| Error::failed("owner", e.to_string()))?;
    // Some file systems know one owner only, and refuse even that one.
    if (own.uid(), own.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    fchown(new, Some(old.uid()), Some(old.gid())).map_err(|e| {
        Error::failed("owner", format!("the new file cannot be given to the owner of the old one ({e})"))
            .wanted(format!("uid {}, gid {}", old.uid(), old.gid()))
            .found(format!("uid {}, gid {}", own.uid(), own.gid()))
            .remedy("run it as that user or as root")
    })
}
