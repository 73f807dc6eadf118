//! The command: picks the verb; everything else is in the library.

use oci_ipc_hook::kernel::arena::Arena;

#[global_allocator]
static ARENA: Arena = Arena::new();

fn main() {
    let args: Vec<_> = std::env::args_os().collect();
    let exit = oci_ipc_hook::commands::run(&args);
    // Ends at once: what is still open, the kernel closes faster.
    std::process::exit(exit as i32);
}
