//! hooks.d files (oci-hooks(5), schema 1.0.0): read as podman and CRI-O read them, and looked over for what makes them do
//! nothing in silence.

mod file;
mod lint;
mod when;

pub use file::HookFile;
pub use lint::{calls_us, lint, lint_file};
pub use when::{Container, When};

/// Where podman (the first only, unless told otherwise) and CRI-O look for hooks.
pub const HOOKS_DIRS: [&str; 2] = ["/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"];

/// Largest hooks.d file that is read, in bytes.
pub const MAX_HOOK_FILE: usize = 1 << 20;
