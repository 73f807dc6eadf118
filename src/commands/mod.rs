//! The verbs, and the command line parser that finds them. The hook has its own way in: [`crate::start`].

mod apply;
mod check;
mod cleanup;
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
use crate::start::{self, is_runtime};
use clap::Parser as _;
use cli::{Cli, Verb};
use std::ffi::OsString;

/// Runs the command line `args` (the program's name first) and returns its exit status.
#[cold]
pub fn run(args: &[OsString]) -> Exit {
    if is_runtime(args) {
        let runtime = wrap::as_runtime(None, &RequestOptions::default(), &args[1..]);
        return runtime.unwrap_or_else(|error| hook::fail(None, &error));
    }
    match Cli::try_parse_from(args) {
        Ok(cli) => verb(cli.verb.unwrap_or(Verb::Hook(cli.request))),
        Err(error) => not_parsed(args, &error),
    }
}

/// Help that was asked for, or what is wrong with the arguments.
fn not_parsed(args: &[OsString], error: &clap::Error) -> Exit {
    use clap::error::ErrorKind;
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return if error.use_stderr() { Exit::BadInput } else { Exit::Done };
    }
    let (why, tip) = one_line(error);
    let remedy = tip.unwrap_or_else(|| "see 'oci-ipc-hook --help' or oci-ipc-hook(8)".to_owned());
    let error = Error::bad_input("arguments", why).remedy(remedy);
    let first = args.get(1).map_or(&b"-"[..], |word| word.as_encoded_bytes());
    match first.starts_with(b"-") || first == b"hook" {
        true => start::refuse_hook(&error),
        false => hook::fail(None, &error),
    }
}

/// What clap says is wrong, without the usage, and its tip.
fn one_line(error: &clap::Error) -> (String, Option<String>) {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim);
    let why: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let tip = lines.find_map(|line| line.strip_prefix("tip: ").map(str::to_owned));
    (why.join(" ").trim_start_matches("error: ").to_owned(), tip)
}

fn verb(verb: Verb) -> Exit {
    let result = match verb {
        Verb::Hook(request) => return start::run_hook(&request.into()),
        Verb::Cleanup => return cleanup::run(),
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

/// What arguments in a configuration, the program's name first, ask the hook for; `None` when they name another verb.
///
/// # Errors
/// The command line would be refused, and why.
pub(crate) fn hook_arguments(args: &[OsString]) -> Result<Option<RequestOptions>, String> {
    if let Some(options) = start::hook_options(args) {
        return Ok(Some(options));
    }
    match Cli::try_parse_from(args) {
        Ok(Cli { verb: None, request }) | Ok(Cli { verb: Some(Verb::Hook(request)), .. }) => Ok(Some(request.into())),
        Ok(_) => Ok(None),
        Err(error) => Err(one_line(&error).0),
    }
}
