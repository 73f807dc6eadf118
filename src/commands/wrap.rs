//! `wrap`: stands in for an OCI runtime where the engine has no hooks (Docker, containerd): adds the hook to the bundle's
//! config.json at `create` and `run`, then becomes the real runtime. Everything else passes through untouched.

mod call;

use super::cli::WrapArgs;
use super::inject::entry;
use super::output::replace;
use crate::error::{Error, Exit, Result};
use crate::hook;
use crate::inject::inject;
use crate::installed::{self, RequestOptions};
use crate::kernel::file::read_regular;
use crate::oci::bundle::MAX_CONFIG;
use call::Call;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a runtime is looked for; PATH is not trusted.
const RUNTIMES: [&str; 6] = [
    "/usr/bin/runc",
    "/usr/sbin/runc",
    "/usr/local/bin/runc",
    "/usr/local/sbin/runc",
    "/usr/bin/crun",
    "/usr/local/bin/crun",
];

pub(super) fn run(args: &WrapArgs) -> Result<Exit> {
    as_runtime(args.runtime.as_deref(), &args.request.clone().into(), &args.args)
}

/// Becomes the runtime; returns only when that fails.
pub(super) fn as_runtime(runtime: Option<&Path>, options: &RequestOptions, args: &[OsString]) -> Result<Exit> {
    let call = Call::parse(args);
    let log = call.log.as_deref();
    match prepare(runtime, options, &call) {
        Ok(runtime) => {
            let error = Command::new(&runtime).arg0(&runtime).args(args).exec();
            Ok(refuse(log, &Error::failed(runtime.to_string_lossy(), format!("cannot be started ({error})"))))
        }
        // Fails closed: the runtime would start an unprepared container.
        Err(error) => Ok(refuse(log, &error)),
    }
}

fn prepare(runtime: Option<&Path>, options: &RequestOptions, call: &Call) -> Result<PathBuf> {
    let runtime = match runtime {
        Some(path) if path.is_absolute() => path.to_owned(),
        Some(path) => return Err(Error::bad_input("--runtime", "not an absolute path").found(path.display())),
        None => RUNTIMES.iter().map(PathBuf::from).find(|p| p.exists()).ok_or_else(|| {
            Error::unsupported("wrap", format!("no runtime found at {}", RUNTIMES.join(", ")))
                .remedy("name it: wrap --runtime /path/to/runc --")
        })?,
    };
    if let Some(bundle) = &call.bundle {
        add_hook(bundle, call.config.as_deref(), options)?;
    }
    Ok(runtime)
}

fn add_hook(bundle: &Path, config: Option<&Path>, options: &RequestOptions) -> Result<()> {
    // The working directory is the engine's choice.
    options.must_be_absolute()?;
    let path = bundle.join("config.json");
    // crun takes that very name as the one in the bundle.
    if let Some(config) = config.filter(|config| *config != path && *config != Path::new("config.json")) {
        return Err(Error::bad_input("--config", "the hook reads the config.json of the bundle, not another file")
            .wanted(path.display())
            .found(config.display())
            .remedy("put the file there, and leave the option out"));
    }
    let name = path.to_string_lossy();
    let bytes = read_regular(&path, MAX_CONFIG).map_err(|e| installed::unreadable(&name, &e))?;
    let new = inject(installed::text(&name, &bytes)?, &["createRuntime", "poststop"], &entry(options)?, &[])?;
    if new.as_bytes() != bytes {
        replace(&path, new.as_bytes())?;
    }
    Ok(())
}

/// Says why, where the engine looks for it.
fn refuse(log: Option<&Path>, error: &Error) -> Exit {
    if let Some(log) = log {
        let message = format!("oci-ipc-hook: {error}");
        let line = serde_json::json!({ "level": "error", "msg": message, "time": now() }).to_string() + "\n";
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let _ = file.and_then(|mut f| f.write_all(line.as_bytes()));
    }
    hook::fail(None, error)
}

/// RFC 3339 in UTC, as the engines' log readers expect.
fn now() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of a number of days since 1970 (proleptic Gregorian calendar, eras of 400 years from March).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(20_782), (2026, 11, 25));
    }
}
