//! The verbs. The hook's own way in is found without the command line parser, which costs more than the whole run.

mod apply;
mod check;
pub mod cli;
mod demo;
mod doctor;
mod inject;
mod inspect;
mod output;
mod plan;
mod print_config;
mod profiles;
mod wrap;

use crate::error::{Error, Exit};
use crate::hook;
use crate::installed::RequestOptions;
use crate::kernel::file::{FileError, drain, read_all, standard_input};
use crate::kernel::{SysError, limits};
use crate::oci::state::MAX_STATE;
use crate::request::amount::parse_size;
use clap::Parser as _;
use cli::{Cli, Verb};
use nix::errno::Errno;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Runs the command line `args` (the program's name first) and returns its exit status.
pub fn run(args: &[OsString]) -> Exit {
    if args.first().and_then(|name| Path::new(name).file_name()).is_some_and(|name| name == wrap::RUNTIME_NAME) {
        let runtime = wrap::as_runtime(None, &RequestOptions::default(), &args[1..]);
        return runtime.unwrap_or_else(|error| hook::fail(None, &error));
    }
    if let Some(options) = hook_options(args) {
        return run_hook(&options);
    }
    match Cli::try_parse_from(args) {
        Ok(cli) => verb(cli.verb.unwrap_or(Verb::Hook(cli.request))),
        Err(error) => {
            let _ = error.print();
            if error.use_stderr() { Exit::BadInput } else { Exit::Done }
        }
    }
}

fn verb(verb: Verb) -> Exit {
    let result = match verb {
        Verb::Hook(request) => return run_hook(&request.into()),
        Verb::Plan(args) => plan::run(&args),
        Verb::Apply(args) => apply::run(&args),
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Profiles(args) => profiles::run(&args),
        Verb::Inject(args) => inject::run(&args),
        Verb::Wrap(args) => wrap::run(&args),
        Verb::PrintConfig(args) => print_config::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Demo(args) => demo::run(&args),
    };
    result.unwrap_or_else(|error| hook::fail(None, &error))
}

/// The options of `hook`, when the command line holds nothing else; anything unusual is left to the parser with its
/// messages.
fn hook_options(args: &[OsString]) -> Option<RequestOptions> {
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

/// What arguments in a configuration, the program's name first, ask the hook for; `None` when they name another verb.
///
/// # Errors
/// The command line would be refused, and why.
pub(crate) fn hook_arguments(args: &[OsString]) -> Result<Option<RequestOptions>, String> {
    if let Some(options) = hook_options(args) {
        return Ok(Some(options));
    }
    match Cli::try_parse_from(args) {
        Ok(Cli { verb: None, request }) | Ok(Cli { verb: Some(Verb::Hook(request)), .. }) => Ok(Some(request.into())),
        Ok(_) => Ok(None),
        Err(error) => {
            Err(error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
        }
    }
}

fn run_hook(options: &RequestOptions) -> Exit {
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
fn read_state(input: &impl AsFd) -> Result<Vec<u8>, Error> {
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
    use std::io::Write as _;

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
