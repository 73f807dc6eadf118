//! `check`: reads files as the hook would and names what is wrong, file by file.

use super::cli::CheckArgs;
use super::output::print;
use crate::doc::{self, Place};
use crate::error::{Error, Exit, Result};
use crate::finding::Level;
use crate::hooksd::{self, HOOKS_DIRS, MAX_HOOK_FILE};
use crate::installed::{self, CONFIG_FILE, PROFILE_DIRS, RequestOptions};
use crate::kernel::file::{FileError, read_regular, read_trusted};
use crate::kernel::limits::page_size;
use crate::policy::Config;
use crate::request::Profile;
use crate::request::annotation::ProfileName;
use crate::request::profile::administrators;
use std::path::{Path, PathBuf};

pub(super) fn run(args: &CheckArgs) -> Result<Exit> {
    let files = if args.files.is_empty() { installed_files() } else { args.files.clone() };
    let mut exit = Exit::Done;
    for file in &files {
        if file.extension().is_some_and(|e| e == "json") {
            if hooks_file(file)? != Exit::Done {
                exit = Exit::BadInput;
            }
            continue;
        }
        match check(file) {
            Ok(kind) => print(&format!("ok       {kind:<8} {}\n", file.display()))?,
            Err(error) => {
                exit = Exit::BadInput;
                print(&format!("problem  {error}\n"))?;
            }
        }
    }
    if files.is_empty() {
        print("nothing is installed: the built-in policy applies and there are no profiles\n")?;
    }
    Ok(exit)
}

/// Everything below the built-in directories.
fn installed_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    if Path::new(CONFIG_FILE).exists() {
        files.push(PathBuf::from(CONFIG_FILE));
    }
    for dir in PROFILE_DIRS {
        files.extend(in_directory(dir, "toml").unwrap_or_default());
    }
    for dir in HOOKS_DIRS {
        let ours = |path: &PathBuf| std::fs::read_to_string(path).is_ok_and(|t| t.contains("oci-ipc-hook"));
        files.extend(in_directory(dir, "json").unwrap_or_default().into_iter().filter(ours));
    }
    files
}

/// Files of a directory with an extension, sorted.
pub(super) fn in_directory(dir: impl AsRef<Path>, extension: &str) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir)?.flatten();
    let mut files: Vec<_> =
        entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    Ok(files)
}

/// Prints what is to be said of a hooks.d file; exit 2 when it does not work.
fn hooks_file(path: &Path) -> Result<Exit> {
    let name = path.to_string_lossy();
    let read = read_regular(path, MAX_HOOK_FILE).map_err(|e| installed::unreadable(&name, &e));
    let findings = match read.and_then(|bytes| installed::text(&name, &bytes).map(|text| hooksd::lint(path, text))) {
        Ok(findings) if findings.is_empty() => {
            print(&format!("ok       {:<8} {name}\n", "hook"))?;
            return Ok(Exit::Done);
        }
        Ok(findings) => findings,
        Err(error) => {
            print(&format!("problem  {error}\n"))?;
            return Ok(Exit::BadInput);
        }
    };
    for finding in &findings {
        print(&format!("{finding}\n"))?;
    }
    let problem = findings.iter().any(|f| f.level == Level::Problem);
    Ok(if problem { Exit::BadInput } else { Exit::Done })
}

fn check(path: &Path) -> Result<&'static str> {
    let name = path.to_string_lossy();
    let absolute = std::path::absolute(path).map_err(|e| Error::bad_input(&*name, e.to_string()))?;
    let dir = absolute.parent();
    let of_profiles = PROFILE_DIRS.iter().any(|d| Some(Path::new(d)) == dir);
    let built_in = of_profiles || Path::new(CONFIG_FILE).parent() == dir;
    if of_profiles {
        can_be_named(&absolute)?;
    }
    let bytes = read_trusted(&absolute, built_in, 1 << 20).map_err(|e: FileError| installed::unreadable(&name, &e))?;
    let text = installed::text(&name, &bytes)?;
    let table = doc::toml::parse(Place { document: &name }, text)?;
    let policy = table.iter().any(|(key, _)| matches!(key.name.as_ref(), "policy" | "charge" | "record"));
    if !of_profiles && (policy || path.file_name().is_some_and(|n| n == "config.toml")) {
        Config::parse(&name, text, page_size()).map(|_| "policy")
    } else {
        Profile::parse_toml(&name, text, &administrators("profile")).map(|_| "profile")
    }
}

/// In a directory of profiles the hook finds a file by its name alone.
fn can_be_named(path: &Path) -> Result<()> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.parse::<ProfileName>().map(drop).map_err(|why| {
        Error::bad_input(path.to_string_lossy(), format!("no request can name it: {why}")).remedy("rename it")
    })
}

/// The options that stand for "everything installed".
pub(super) fn installed_options(profiles_dir: Option<&PathBuf>) -> RequestOptions {
    RequestOptions { profiles_dir: profiles_dir.cloned(), ..RequestOptions::default() }
}
