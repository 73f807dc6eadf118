//! The hook's own way in: its options, a clean start, the state from standard input. The command line parser would cost
//! more than the whole run.

use crate::commands;
use crate::error::{Error, Exit};
use crate::hook;
use crate::installed::RequestOptions;
use crate::kernel::clock::microseconds;
use crate::kernel::file::{FileError, drain, read_all, standard_input};
use crate::kernel::{SysError, limits};
use crate::oci::State;
use crate::oci::state::MAX_STATE;
use crate::policy::Config;
use crate::request::amount::parse_size;
use nix::errno::Errno;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// The name under which the program is a runtime: `wrap`.
pub const RUNTIME_NAME: &str = "oci-ipc-runtime";

/// Runs the command line `args` (the program's name first) and returns its exit status.
pub fn run(args: &[OsString]) -> Exit {
    match hook_options(args) {
        Some(options) if !is_runtime(args) => run_hook(&options),
        _ => {
            let exit = commands::run(args);
            // Nothing else does it: the process ends without Rust's runtime.
            let _ = std::io::stdout().flush();
            exit
        }
    }
}

/// Whether the program was called as a runtime.
pub fn is_runtime(args: &[OsString]) -> bool {
    let name = args.first().map_or(&b""[..], |path| path.as_encoded_bytes());
    name.rsplit(|byte| *byte == b'/').next() == Some(RUNTIME_NAME.as_bytes())
}

/// The options of `hook`, when the command line holds nothing else; anything unusual is left to the parser with its
/// messages.
pub(crate) fn hook_options(args: &[OsString]) -> Option<RequestOptions> {
    let mut options = RequestOptions::default();
    let mut words = args.iter().skip(1).peekable();
    if words.peek().is_some_and(|w| *w == "hook") {
        words.next();
    }
    while let Some(word) = words.next() {
        let word = word.to_str()?;
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, OsString::from(value)),
            None => (word, words.next()?.clone()),
        };
        match name {
            "--profile" => options.profiles.push(value.into_string().ok()?),
            "--profile-file" => options.profile_files.push(value.into()),
            "--config" if options.config.is_none() => options.config = Some(value.into()),
            "--profiles-dir" if options.profiles_dir.is_none() => options.profiles_dir = Some(PathBuf::from(value)),
            "--memory" if options.memory.is_none() => options.memory = Some(parse_size(value.to_str()?).ok()?),
            _ => return None,
        }
    }
    Some(options)
}

/// Runs the hook on the state that standard input holds.
pub(crate) fn run_hook(options: &RequestOptions) -> Exit {
    if let Err(error) = start_clean() {
        return hook::fail(None, &error);
    }
    let stdin = standard_input();
    if stdin.is_terminal() {
        let error = Error::bad_input("standard input", "is a terminal, not an OCI state")
            .remedy("the container runtime calls the hook; see 'oci-ipc-hook --help' and 'oci-ipc-hook demo'");
        return hook::fail(None, &error);
    }
    match read_state(&stdin) {
        Ok(bytes) => hook::run(options, &bytes),
        Err(error) => hook::fail(None, &error),
    }
}

/// A hook with wrong arguments: the state is read all the same, so that whoever looks for the container finds the reason.
/// From a terminal it is nobody's hook.
pub(crate) fn refuse_hook(error: &Error) -> Exit {
    let (start, stdin) = (microseconds(), standard_input());
    let bytes = if stdin.is_terminal() { Vec::new() } else { read_state(&stdin).unwrap_or_default() };
    match State::parse(&bytes) {
        Ok(state) => hook::refused(&state, start, error, Ok(Config::default())),
        Err(_) => hook::fail(None, error),
    }
}

/// Nothing inherited stays open, and nothing that might ever be executed gains rights.
fn start_clean() -> Result<(), Error> {
    let failed = |e: SysError| Error::failed("start", e.to_string());
    match limits::close_from(3) {
        // Before Linux 5.9 there is no such call: what is inherited stays open, and is not used.
        Err(e) if e.errno != Errno::ENOSYS => return Err(failed(e)),
        _ => {}
    }
    limits::set_no_new_privileges().map_err(failed)
}

/// Reads the state, and drains what is beyond the limit: some runtimes fail the start when the pipe breaks.
pub(crate) fn read_state(input: &impl AsFd) -> Result<Vec<u8>, Error> {
    let failed = |e: FileError| Error::bad_input("state", format!("standard input cannot be read ({e})"));
    match read_all(input, MAX_STATE) {
        Err(FileError::TooLarge(_)) => {
            drain(input).map_err(failed)?;
            Err(Error::bad_input("state", "larger than 1 MiB")
                .remedy("the runtime passes the OCI state as JSON on standard input"))
        }
        other => other.map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use commands::cli::Cli;

    fn options(words: &[&str]) -> Option<RequestOptions> {
        let args: Vec<OsString> = ["oci-ipc-hook"].iter().chain(words).map(Into::into).collect();
        hook_options(&args)
    }

    #[test]
    fn the_fast_path_takes_the_hooks_own_options_only() {
        assert_eq!(options(&[]), Some(RequestOptions::default()));
        assert_eq!(options(&["hook"]), Some(RequestOptions::default()));
        let words = ["--profile", "a", "--profile=b", "--profile-file", "/p", "--config=/c", "--profiles-dir", "/d"];
        let got = options(&[&words[..], &["--memory", "1GiB"]].concat());
        let expected = RequestOptions {
            profiles: vec!["a".into(), "b".into()],
            profile_files: vec!["/p".into()],
            config: Some("/c".into()),
            profiles_dir: Some("/d".into()),
            memory: Some(1 << 30),
        };
        assert_eq!(got, Some(expected));
        for other in [
            &["plan"][..],
            &["--help"],
            &["hook", "-h"],
            &["--profile"],
            &["--config", "a", "--config", "b"],
            &["--memory", "x"],
            &["x"],
        ] {
            assert_eq!(options(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_runtime_is_known_by_its_name() {
        for (name, is) in [("/usr/bin/oci-ipc-runtime", true), ("oci-ipc-runtime", true), ("/oci-ipc-runtime/x", false)]
        {
            assert_eq!(is_runtime(&[name.into()]), is, "{name}");
        }
        assert!(!is_runtime(&[]));
    }

    #[test]
    fn both_ways_agree() {
        let words = ["oci-ipc-hook", "--profile", "a", "--profile-file", "/p", "--config", "/c"];
        let args: Vec<OsString> = words.iter().map(Into::into).collect();
        let cli = Cli::try_parse_from(words).unwrap();
        assert_eq!(Some(RequestOptions::from(cli.request)), hook_options(&args));
    }

    #[test]
    fn a_long_state_is_drained() {
        let (input, mut output) = std::io::pipe().unwrap();
        let writer = std::thread::spawn(move || output.write_all(&vec![b' '; 3 * MAX_STATE]));
        assert!(read_state(&input).unwrap_err().to_string().starts_with("state: larger than 1 MiB"));
        writer.join().unwrap().expect("nobody breaks the pipe");
    }
}
