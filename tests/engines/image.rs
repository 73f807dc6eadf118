//! The image that engines load: the root file system as an archive in the form of `docker save`.

use crate::lab::command;
use crate::launch::output;
use crate::outcome::Outcome;
use serde_json::json;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};

/// The image's name in every engine; without a command it is a process that stays.
pub const IMAGE: &str = "localhost/ipc-client:1";

/// Makes the archive of [`IMAGE`].
pub fn archive(scratch: &Path, rootfs: &Path) -> Outcome<PathBuf> {
    let parts = scratch.join("image");
    fs::create_dir(&parts)?;
    let layer = parts.join("layer.tar");
    output(command("tar", &["-C", &rootfs.to_string_lossy(), "-cf", &layer.to_string_lossy(), "."]))?;
    pack(&parts, &scratch.join("image.tar"), IMAGE, "")
}

/// Makes the archive of the same image with a user for its workload, unless it exists.
pub fn with_user(scratch: &Path, user: (u32, u32)) -> Outcome<(String, PathBuf)> {
    let name = format!("localhost/ipc-client:{}-{}", user.0, user.1);
    let archive = scratch.join(format!("image-{}-{}.tar", user.0, user.1));
    if !archive.exists() {
        pack(&scratch.join("image"), &archive, &name, &format!("{}:{}", user.0, user.1))?;
    }
    Ok((name, archive))
}

fn pack(parts: &Path, archive: &Path, name: &str, user: &str) -> Outcome<PathBuf> {
    let sum = output(command("sha256sum", &[&parts.join("layer.tar").to_string_lossy()]))?;
    let sum = sum.split(' ').next().unwrap_or_default();
    let architecture = if ARCH == "aarch64" { "arm64" } else { "amd64" };
    let config = json!({"architecture": architecture, "os": "linux",
        "config": {"Cmd": ["/ipc-client", "--hold"], "User": user, "Env": ["PATH=/"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]}});
    fs::write(parts.join("config.json"), config.to_string())?;
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    fs::write(parts.join("manifest.json"), manifest.to_string())?;
    let (from, to) = (parts.to_string_lossy(), archive.to_string_lossy());
    output(command("tar", &["-C", &from, "-cf", &to, "manifest.json", "config.json", "layer.tar"]))?;
    Ok(archive.to_owned())
}
