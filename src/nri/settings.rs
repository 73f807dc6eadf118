//! From a mounted ConfigMap to where the hook looks: policy, profiles, and for CRI-O the hook itself.
//!
//! A ConfigMap is a directory of symbolic links, which the hook does not follow; here they are followed once, and what
//! they lead to is written to plain files that belong to root.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the hook looks for its policy and profiles.
const CONFIG: &str = "etc/oci-ipc-hook";
/// Where `install` puts the hook.
const HOOK: &str = "opt/oci-ipc-hook/oci-ipc-hook";
/// Where CRI-O looks for hooks.
const HOOKS_D: &str = "etc/containers/oci/hooks.d/50-oci-ipc-hook.json";
/// Larger files are no settings of ours.
const LIMIT: u64 = 1 << 20;

/// Copies `config.toml` and every other `NAME.toml` of `from` below `root`, removes profiles that are not in `from`, and
/// answers what was written.
pub(crate) fn copy(from: &Path, root: &Path) -> Result<Vec<PathBuf>> {
    let to = root.join(CONFIG);
    let profiles = to.join("profiles.d");
    for dir in [&to, &profiles] {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        // A volume may come writable for everybody; the hook would not trust it.
        fs::set_permissions(dir, Permissions::from_mode(0o755)).with_context(|| dir.display().to_string())?;
    }
    let mut written = Vec::new();
    for name in names(from)? {
        let target = if name == "config.toml" { to.join(&name) } else { profiles.join(&name) };
        let source = from.join(&name);
        let size = fs::metadata(&source).with_context(|| source.display().to_string())?.len();
        ensure!(size <= LIMIT, "{}: larger than {LIMIT} bytes", source.display());
        let text = fs::read(&source).with_context(|| source.display().to_string())?;
        place(&target, &text, 0o644)?;
        written.push(target);
    }
    for name in names(&profiles)? {
        let target = profiles.join(&name);
        if !written.contains(&target) {
            fs::remove_file(&target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(written)
}

/// Names of the settings in a directory, sorted.
fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".toml")).collect();
    names.sort();
    Ok(names)
}

/// The hook's records; the hook uses them only if nobody else can look in.
pub(crate) const RECORDS: &str = "/run/oci-ipc-hook";

/// Makes a directory that the kubelet made for everybody to read ours alone. One that is not there, not ours or a link
/// stays as it is.
pub(crate) fn make_private(dir: &Path) -> Result<()> {
    let Ok(found) = fs::symlink_metadata(dir) else { return Ok(()) };
    let ours = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw();
    if ours && found.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).with_context(|| dir.display().to_string())?;
    }
    Ok(())
}

/// Asks the hook what it thinks of the files; the error is what it says.
pub(crate) fn check(hook: &Path, files: &[PathBuf]) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let mut command = Command::new(hook);
    command.arg("check").args(files).env_clear().current_dir("/").stdin(Stdio::null());
    let done = command.output().with_context(|| hook.display().to_string())?;
    if !done.status.success() {
        let said = [done.stdout, done.stderr].concat();
        bail!("settings: {}", String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

/// Puts the hook and the file that makes CRI-O run it below `root`, the file last.
pub(crate) fn install_hook(hook: &Path, root: &Path) -> Result<()> {
    let program = fs::read(hook).with_context(|| hook.display().to_string())?;
    place(&root.join(HOOK), &program, 0o755)?;
    place(&root.join(HOOKS_D), hooks_d().as_bytes(), 0o644)
}

/// A hooks.d file, format 1.0.0. Without a timeout, as the shipped one (docs/troubleshooting.md: `timeout expired`).
fn hooks_d() -> String {
    let file = json!({
        "version": "1.0.0",
        "hook": {"path": format!("/{HOOK}"), "args": ["oci-ipc-hook", "hook"], "env": []},
        "when": {"annotations": {r"^io\.oci-ipc-hook\.": ".*"}},
        "stages": ["createRuntime", "poststop"],
    });
    format!("{file:#}\n")
}

/// Written beside and moved: nobody ever sees half a file.
fn place(target: &Path, content: &[u8], mode: u32) -> Result<()> {
    let dir = target.parent().context("a file has a directory")?;
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let fresh = target.with_extension("new");
    fs::write(&fresh, content).with_context(|| fresh.display().to_string())?;
    fs::set_permissions(&fresh, Permissions::from_mode(mode)).with_context(|| fresh.display().to_string())?;
    fs::rename(&fresh, target).with_context(|| target.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("oci-ipc-nri-{}-settings-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// A volume as the kubelet lays it out: links to links.
    fn config_map(dir: &Path, files: &[(&str, &str)]) -> PathBuf {
        let data = dir.join("map/..2026");
        fs::create_dir_all(&data).unwrap();
        symlink("..2026", dir.join("map/..data")).unwrap();
        for (name, text) in files {
            fs::write(data.join(name), text).unwrap();
            symlink(format!("..data/{name}"), dir.join("map").join(name)).unwrap();
        }
        dir.join("map")
    }

    #[test]
    fn links_become_plain_files_and_old_profiles_go() {
        let dir = scratch("links");
        let map = config_map(&dir, &[("config.toml", "c"), ("db.toml", "d"), ("notes.txt", "n")]);
        let root = dir.join("root");
        let profiles = root.join("etc/oci-ipc-hook/profiles.d");
        fs::create_dir_all(&profiles).unwrap();
        fs::set_permissions(&profiles, Permissions::from_mode(0o777)).unwrap();
        fs::write(profiles.join("old.toml"), "o").unwrap();
        let written = copy(&map, &root).unwrap();
        assert_eq!(written, [root.join("etc/oci-ipc-hook/config.toml"), profiles.join("db.toml")]);
        assert!(fs::symlink_metadata(&written[0]).unwrap().is_file());
        assert_eq!(fs::read_to_string(&written[1]).unwrap(), "d");
        assert_eq!(fs::metadata(&profiles).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(!profiles.join("old.toml").exists());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_directory_made_for_everybody_becomes_private_and_a_links_target_does_not() {
        let dir = scratch("private");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (records, link, target) = (dir.join("records"), dir.join("link"), dir.join("target"));
        for path in [&records, &target] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        symlink(&target, &link).unwrap();
        for path in [&records, &link, &dir.join("none")] {
            make_private(path).unwrap();
        }
        assert_eq!((mode(&records), mode(&target)), (0o700, 0o755));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_hooks_d_file_names_what_was_installed() {
        let dir = scratch("install");
        fs::write(dir.join("hook"), "program").unwrap();
        install_hook(&dir.join("hook"), &dir.join("root")).unwrap();
        let text = fs::read(dir.join("root").join(HOOKS_D)).unwrap();
        let file: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let path = file["hook"]["path"].as_str().unwrap();
        let installed = dir.join("root").join(path.strip_prefix('/').unwrap());
        assert_eq!(fs::metadata(installed).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(file["stages"], json!(["createRuntime", "poststop"]));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_the_hook_says_of_bad_settings_is_kept() {
        let dir = scratch("check");
        let error = check(Path::new("/bin/false"), &[dir.join("x.toml")]).unwrap_err();
        assert!(error.to_string().starts_with("settings:"), "{error}");
        assert!(check(Path::new("/bin/true"), &[dir.join("x.toml")]).is_ok());
        assert!(check(Path::new("/nonexistent"), &[]).is_ok(), "nothing to check");
        fs::remove_dir_all(&dir).unwrap();
    }
}
