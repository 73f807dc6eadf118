//! Printing that survives a closed pipe.

use crate::error::{Error, Result};
use std::io::{ErrorKind, Write as _};

/// Prints to stdout; a reader that went away is no error.
///
/// # Errors
/// stdout cannot be written to, such as a full disk.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::failed("standard output", e.to_string())),
        _ => Ok(()),
    }
}
