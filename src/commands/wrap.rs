//! `wrap`: stands in for an OCI runtime where the engine has no hooks (Docker, containerd): adds the hook to the bundle's
//! config.json at `create` and `run`, then becomes the real runtime. Everything else passes through untouched.

use super::cli::WrapArgs;
use super::inject::entry;
use super::output::replace;
use crate::error::{Error, Exit, Result};
use crate::hook;
use crate::inject::inject;
use crate::installed::{self, RequestOptions};
use crate::kernel::file::read_regular;
use crate::oci::bundle::MAX_CONFIG;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
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

/// Options of runc, crun and youki before the verb that take a value in a word of its own.
const WITH_VALUE: [&str; 8] = ["--root", "-r", "--log", "-l", "--log-format", "--log-level", "--criu", "--rootless"];

pub(super) fn run(args: &WrapArgs) -> Result<Exit> {
    as_runtime(args.runtime.as_deref(), &args.request.clone().into(), &args.args)
}

/// Becomes the runtime; returns only when that fails.
pub(super) fn as_runtime(runtime: Option<&Path>, options: &RequestOptions, args: &[OsString]) -> Result<Exit> {
    let call = Call::parse(args);
    match prepare(runtime, options, &call) {
        Ok(runtime) => {
            let error = Command::new(&runtime).arg0(&runtime).args(args).exec();
            Ok(call.refuse(&Error::failed(runtime.to_string_lossy(), format!("cannot be started ({error})"))))
        }
        // Fails closed: the runtime would start an unprepared container.
        Err(error) => Ok(call.refuse(&error)),
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
        add_hook(bundle, options)?;
    }
    Ok(runtime)
}

fn add_hook(bundle: &Path, options: &RequestOptions) -> Result<()> {
    let path = bundle.join("config.json");
    let name = path.to_string_lossy();
    let bytes = read_regular(&path, MAX_CONFIG).map_err(|e| installed::unreadable(&name, &e))?;
    let new = inject(installed::text(&name, &bytes)?, &["createRuntime", "poststop"], &entry(options)?, &[])?;
    if new.as_bytes() != bytes {
        replace(&path, new.as_bytes())?;
    }
    Ok(())
}

/// The parts of a runtime's command line that matter.
#[derive(Debug, Default, PartialEq, Eq)]
struct Call {
    /// Bundle of a verb that makes a container.
    bundle: Option<PathBuf>,
    /// `--log`: where the engine looks for the reason.
    log: Option<PathBuf>,
}

impl Call {
    fn parse(args: &[OsString]) -> Call {
        let mut call = Call::default();
        let mut words = args.iter();
        let mut verb = None;
        while let Some(word) = words.next() {
            if let Some(value) = value_of(word, &["--log", "-l"], &mut words) {
                call.log = Some(value.into());
            } else if WITH_VALUE.iter().any(|option| *word == **option) {
                words.next();
            } else if !word.as_bytes().starts_with(b"-") {
                verb = Some(word.clone());
                break;
            }
        }
        if verb.is_some_and(|v| v == "create" || v == "run") {
            // Without --bundle: the current directory, as all runtimes have it.
            let mut bundle = PathBuf::from(".");
            while let Some(word) = words.next() {
                if let Some(value) = value_of(word, &["--bundle", "-b"], &mut words) {
                    bundle = value.into();
                }
            }
            call.bundle = Some(bundle);
        }
        call
    }

    /// Says why, where the engine looks for it.
    fn refuse(&self, error: &Error) -> Exit {
        if let Some(log) = &self.log {
            let message = format!("oci-ipc-hook: {error}");
            let line = serde_json::json!({ "level": "error", "msg": message, "time": now() }).to_string() + "\n";
            let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
            let _ = file.and_then(|mut f| f.write_all(line.as_bytes()));
        }
        hook::fail(None, error)
    }
}

/// The value of `--name VALUE` or `--name=VALUE`.
fn value_of<'w>(word: &OsStr, names: &[&str], words: &mut impl Iterator<Item = &'w OsString>) -> Option<OsString> {
    let bytes = word.as_bytes();
    for name in names {
        match bytes.strip_prefix(name.as_bytes()) {
            Some(b"") => return words.next().cloned(),
            Some([b'=', value @ ..]) => return Some(OsStr::from_bytes(value).to_owned()),
            _ => {}
        }
    }
    None
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

    fn call(words: &str) -> Call {
        let args: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        Call::parse(&args)
    }

    #[test]
    fn finds_bundle_and_log_as_engines_write_them() {
        let docker = call(
            "--root /r --log /b/log.json --log-format json create --bundle /b --pid-file /p --console-socket /s ID",
        );
        assert_eq!(docker, Call { bundle: Some("/b".into()), log: Some("/b/log.json".into()) });
        assert_eq!(call("--log=/l run -b /b ID"), Call { bundle: Some("/b".into()), log: Some("/l".into()) });
        assert_eq!(call("--debug --systemd-cgroup create --bundle=/b ID").bundle, Some("/b".into()));
        assert_eq!(call("create ID").bundle, Some(".".into()));
    }

    #[test]
    fn other_verbs_have_no_bundle() {
        for words in [
            "start ID",
            "--root create delete --force ID",
            "exec --process /f ID",
            "features",
            "--version",
            "",
            "kill ID create",
        ] {
            assert_eq!(call(words).bundle, None, "{words}");
        }
    }

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(20_782), (2026, 11, 25));
    }
}
