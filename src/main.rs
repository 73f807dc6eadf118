//! The command: picks the verb; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    ExitCode::from(oci_ipc_hook::commands::run(&args) as u8)
}
