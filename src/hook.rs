//! The hook: state on stdin → request → plan → apply → log; or, for a container that has stopped, the clean-up.

use crate::apply::{Ending, Outcome};
use crate::cleanup;
use crate::enter::Target;
use crate::error::{Error, Exit, Result};
use crate::installed::{self, RequestOptions};
use crate::kernel::clock::microseconds;
use crate::kernel::file::{FileError, read_regular};
use crate::log::{self, Event};
use crate::oci::{Moment, Spec, State, bundle};
use crate::policy::{Config, OnError};
use crate::record::{self, About};
use crate::report::{Report, Subject};
use crate::request::annotation::Annotations;
use crate::session::{Order, Ready, Session};
use std::mem::ManuallyDrop;
use std::path::Path;

/// Runs the hook on the text of stdin and prints an error once.
pub fn run(options: &RequestOptions, stdin: &[u8]) -> Exit {
    let start = microseconds();
    let state = match State::parse(stdin) {
        Ok(state) => state,
        Err(error) => return fail(None, &error),
    };
    if state.is_stopped() {
        return cleanup::run(&state);
    }
    match order(options, &state) {
        Ok(Some(order)) => on_behalf(&state, start, order, |_, _| ()),
        Ok(None) => Exit::Done,
        Err(error) => {
            let policy = options.must_be_absolute().and_then(|()| installed::read_config(options));
            refused(&state, start, &error, policy)
        }
    }
}

/// What was refused before there was a namespace: logged, kept, and told as the policy says; one that cannot be read allows
/// nothing.
pub(crate) fn refused(state: &State<'_>, start: u64, error: &Error, policy: Result<Config>) -> Exit {
    Event { error: Some(error), ..event(state, start) }.send();
    keep_refusal(state, error);
    settle(state, error, policy.map_or(OnError::Fail, |config| config.on_error.value))
}

/// Does the job for the container of the state: logs it, keeps a failure, and ends as the policy says. `show` is for who
/// wants to see more.
pub(crate) fn on_behalf(
    state: &State<'_>,
    start: u64,
    order: Order,
    show: impl FnOnce(&Session, &Result<(Ready, Outcome)>),
) -> Exit {
    // The process ends with the run: the kernel closes and frees all of it at once, faster than one by one.
    let mut session = ManuallyDrop::new(Session::new(order));
    let result = ManuallyDrop::new(session.run());
    let (plan, outcome, error) = match &*result {
        Ok((ready, outcome)) => (Some(&ready.plan), log::word(outcome), outcome.error.as_ref()),
        Err(error) => (None, "refused", Some(error)),
    };
    Event { namespace: session.namespace_id(), outcome, error, plan, ..event(state, start) }.send();
    show(&session, &result);
    let Some(error) = error else { return Exit::Done };
    // That the failure cannot be kept is not what failed.
    let _ = match &*result {
        Ok((ready, outcome)) => session.keep_failure(&Report::applied(&session.subject(), &ready.plan, outcome)),
        Err(error) => session.keep_failure(&Report::refused(&session.subject(), error)),
    };
    match &*result {
        // A namespace that could not be put back is no place to start in.
        Ok((_, outcome)) if outcome.ending == Ending::Partial => fail(Some(&state.id), error),
        _ => settle(state, error, session.config().on_error.value),
    }
}

/// Keeps what was refused before a namespace was looked for; not of a state that asks for nothing possible.
fn keep_refusal(state: &State<'_>, error: &Error) {
    if state.moment().is_ok() {
        let container = Some(state.id.to_string());
        let bundle = state.bundle.as_deref().map(str::to_owned);
        let subject = Subject { container: container.as_deref(), ..Subject::default() };
        let report = Report::refused(&subject, error);
        let _ = record::keep_failure(&About { container: container.clone(), bundle, ..About::default() }, &report);
    }
}

/// Prints the error; what it means for the container is the administrator's choice.
fn settle(state: &State<'_>, error: &Error, on_error: OnError) -> Exit {
    match (fail(Some(&state.id), error), on_error) {
        (_, OnError::Warn) => Exit::Done,
        (exit, OnError::Fail) => exit,
    }
}

/// What the state asks for; `None` when it asks for nothing.
fn order(options: &RequestOptions, state: &State<'_>) -> Result<Option<Order>> {
    options.must_be_absolute()?;
    let annotations = Annotations::parse(&state.annotations)?;
    if annotations.is_empty() && !options.asks() {
        return Ok(None);
    }
    let Moment::Prepare { pid, late } = state.moment()? else { return Ok(None) };
    let config = installed::read_config(options)?;
    config.admit(&annotations)?;
    let spec = state.bundle.as_deref().map(read_bundle).transpose()?;
    let profiles = installed::read_profiles(options, annotations)?;
    let (target, container, memory) = (Target::Pid(pid), Some(state.id.to_string()), options.memory);
    let bundle = state.bundle.as_deref().map(str::to_owned);
    Ok(Some(Order { target, container, bundle, spec, config, profiles, memory, late }))
}

/// Reads config.json of a bundle; `root.path` comes out absolute.
///
/// # Errors
/// Not an absolute path, not there, a link, too large, or not a configuration.
pub fn read_bundle(dir: &str) -> Result<Spec> {
    if !dir.starts_with('/') {
        return Err(Error::bad_input("bundle", "not an absolute path").found(dir));
    }
    let path = Path::new(dir).join("config.json");
    let name = path.to_string_lossy();
    let bytes = read_regular(&path, bundle::MAX_CONFIG).map_err(|e| match e {
        FileError::NotFound => Error::bad_input(&*name, "no such file")
            .remedy("the state's bundle must be the directory of config.json; createRuntime is the stage where it is"),
        e => installed::unreadable(&name, &e),
    })?;
    let mut spec = Spec::parse(&bytes, &name)?;
    // Relative to the bundle, or absolute.
    spec.root = spec.root.map(|root| Path::new(dir).join(root).to_string_lossy().into_owned());
    Ok(spec)
}

fn event<'e>(state: &'e State<'_>, start: u64) -> Event<'e> {
    Event {
        container: &state.id,
        namespace: None,
        outcome: "refused",
        error: None,
        plan: None,
        duration_usec: microseconds().saturating_sub(start),
    }
}

/// Prints an error line; a closed stderr does not matter.
pub fn fail(container: Option<&str>, error: &Error) -> Exit {
    use std::io::Write as _;
    let line = match container {
        Some(id) => format!("oci-ipc-hook: {}: {error}\n", crate::text::escape(&crate::text::shorten(id, 64))),
        None => format!("oci-ipc-hook: {error}\n"),
    };
    let _ = std::io::stderr().write_all(line.as_bytes());
    error.exit()
}
