//! The command: picks the verb; everything else is in the library.
#![cfg_attr(not(test), no_main)]

use oci_ipc_hook::kernel::arena::Arena;

#[global_allocator]
static ARENA: Arena = Arena::new();

#[cfg(not(test))]
oci_ipc_hook::entry!(run);

#[cfg(not(test))]
fn run(args: &[std::ffi::OsString]) -> i32 {
    oci_ipc_hook::start::run(args) as i32
}
