//! This program's own installation.

use crate::finding::Finding;
use crate::installed::{self, CONFIG_FILE, RequestOptions};
use crate::request::annotation::ProfileName;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

pub(super) fn findings() -> Vec<Finding> {
    let options = RequestOptions::default();
    let mut all = vec![binary(), policy(&options)];
    all.extend(profiles(&options));
    all.push(log());
    all.extend(failures());
    all
}

fn binary() -> Finding {
    let what = "program";
    let found = std::env::current_exe().and_then(|path| Ok((std::fs::metadata(&path)?, path)));
    match found {
        Ok((meta, path)) if meta.mode() & 0o022 != 0 || ![0, own_uid()].contains(&meta.uid()) => Finding::problem(
            what,
            format!(
                "{} belongs to uid {} with mode {:04o}: others can change what runs as root",
                path.display(),
                meta.uid(),
                meta.mode() & 0o7777
            ),
            "chown it to root and chmod go-w it",
        ),
        Ok((_, path)) => Finding::ok(what, format!("{} {}", path.display(), env!("CARGO_PKG_VERSION"))),
        Err(e) => Finding::unknown(what, format!("its own file cannot be seen ({e})"), "is /proc mounted?"),
    }
}

fn own_uid() -> u32 {
    crate::kernel::identity::effective_ids().uid
}

fn policy(options: &RequestOptions) -> Finding {
    match installed::read_config(options) {
        Ok(config) if config.file.is_none() => {
            Finding::ok("policy", format!("{CONFIG_FILE} is not there: annotations may name any installed profile"))
        }
        Ok(_) => Finding::ok("policy", format!("{CONFIG_FILE} is valid")),
        Err(error) => Finding::error("policy", &error),
    }
}

fn profiles(options: &RequestOptions) -> Vec<Finding> {
    let (mut good, mut bad) = (0, Vec::new());
    let mut seen = Vec::new();
    for dir in installed::directories(options) {
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path());
        for path in entries.filter(|p| p.extension().is_some_and(|e| e == "toml")) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if seen.contains(&stem) {
                continue;
            }
            match stem.parse::<ProfileName>() {
                Ok(name) => match installed::named(options, &name, crate::request::Authority::Administrator) {
                    Ok(_) => good += 1,
                    Err(error) => bad.push(Finding::error(format!("profile {name}"), &error)),
                },
                Err(why) => bad.push(Finding::warning(path.to_string_lossy(), why.to_string(), "rename it")),
            }
            seen.push(stem);
        }
    }
    match (good, bad.is_empty()) {
        (0, true) => bad.push(Finding::warning(
            "profiles",
            format!("none in {}", installed::PROFILE_DIRS.join(" or ")),
            "install the package's profiles ('make install'), or write one and give it with --profile-file",
        )),
        (0, false) => {}
        _ => bad.insert(0, Finding::ok("profiles", format!("{good} are valid"))),
    }
    bad
}

/// Who hears of a failure under a runtime that throws the hook's stderr away.
fn log() -> Finding {
    let is_socket = |path: &str| std::fs::metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if is_socket(crate::log::JOURNAL) {
        Finding::ok("log", "journald: journalctl -t oci-ipc-hook")
    } else if is_socket(crate::log::SYSLOG) {
        Finding::ok("log", "syslog, as oci-ipc-hook")
    } else {
        Finding::warning(
            "log",
            "neither journald nor syslog listens: crun throws away what a hook prints, so failures are seen in records only",
            "look below /run/oci-ipc-hook/failed, or run a log daemon",
        )
    }
}

/// Starts that failed since boot.
fn failures() -> Option<Finding> {
    let dir = Path::new("/run/oci-ipc-hook/failed");
    let count =
        std::fs::read_dir(dir).ok()?.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "json")).count();
    (count > 0).then(|| {
        Finding::warning(
            "failed runs",
            format!("{count} are recorded in {}", dir.display()),
            "'oci-ipc-hook inspect --record ID' tells why, with the container's id, which starts the file's name",
        )
    })
}
