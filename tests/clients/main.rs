//! Software that nobody here wrote, on objects that were prepared for it. `tests/run/clients all` installs what it needs.

#![allow(clippy::expect_used, clippy::unwrap_used, unreachable_pub)]

mod postgresql;
mod python;
#[path = "../suite/support/mod.rs"]
#[allow(dead_code)]
mod support;
mod util_linux;

use std::path::PathBuf;

/// A Python with sysv_ipc and posix_ipc.
pub fn python() -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/bin/python"));
    path.is_file().then_some(path)
}

/// A Python script in the container's namespace; its output.
pub fn run_python(container: &support::Container, script: &str) -> String {
    let dir = support::Dir::new();
    let file = dir.file("script.py", script);
    let python = python().expect("a Python");
    container.sh(&format!("{} {file}", python.display()))
}
