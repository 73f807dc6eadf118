//! The developers' generator: writes `oci-ipc-hook.8`, the shells' completions and the JSON Schemas into the source tree.
//!
//! `make generate` calls it; the test `manual` fails while a committed file differs from what it writes.

mod files;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in files::all() {
        let path = root.join(&file.path);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == file.text) {
            continue;
        }
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(&path, &file.text)?;
        println!("{}", file.path);
    }
    Ok(())
}
