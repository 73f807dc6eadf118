//! Printing that survives a closed pipe.

use crate::error::{Error, Result};
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write as _};

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
