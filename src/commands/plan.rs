//! `plan`: what would be done.

use super::cli::PlanArgs;
use super::output::print;
use crate::enter::Target;
use crate::error::{Error, Exit, Result};
use crate::hook::read_bundle;
use crate::installed::{self, RequestOptions};
use crate::kernel::file::standard_input;
use crate::oci::{Moment, State};
use crate::plan::{allowed, render, words};
use crate::report::Report;
use crate::request::annotation::Annotations;
use crate::session::{Order, Session};
use std::path::Path;

pub(super) fn run(args: &PlanArgs) -> Result<Exit> {
    let target = match (args.pid, &args.ns, args.own) {
        (Some(pid), _, _) => Some(Target::Pid(pid)),
        (_, Some(path), _) => Some(Target::Path(path.clone())),
        (_, _, true) => Some(Target::Own),
        _ if args.state.is_some() => None,
        _ => {
            return Err(Error::bad_input("plan", "whose namespace is not said")
                .remedy("give one of --pid, --ns, --state, --self"));
        }
    };
    let bytes = args.state.as_deref().map(read_state).transpose()?;
    let state = bytes.as_deref().map(State::parse).transpose()?;
    let order = order(target, state.as_ref(), args.bundle.as_deref(), &args.request.clone().into())?;
    let mut session = Session::new(order);
    match session.ready() {
        Ok(ready) => {
            let text = match args.json {
                true => Report::planned(&session.subject(), &ready.plan).to_pretty_json() + "\n",
                false => [
                    render::text(&ready.plan),
                    words::text(&ready.plan, &ready.origin()),
                    allowed::text(&ready.plan, session.config(), session.setting(&ready)),
                ]
                .concat(),
            };
            print(&text)?;
            Ok(if ready.plan.is_noop() { Exit::Done } else { Exit::ChangesNeeded })
        }
        Err(error) => {
            show_refusal(&session, args.json, &error)?;
            Err(error)
        }
    }
}

/// With `--json` the report holds the error too.
pub(super) fn show_refusal(session: &Session, json: bool, error: &Error) -> Result<()> {
    match json {
        true => print(&(Report::refused(&session.subject(), error).to_pretty_json() + "\n")),
        false => Ok(()),
    }
}

/// Makes the order of `plan` and `apply`. `target` may be left to the state.
pub(super) fn order(
    target: Option<Target>,
    state: Option<&State<'_>>,
    bundle: Option<&Path>,
    options: &RequestOptions,
) -> Result<Order> {
    let annotations = match state {
        Some(state) => Annotations::parse(&state.annotations)?,
        None => Annotations::default(),
    };
    if annotations.is_empty() && !options.asks() {
        return Err(Error::bad_input("request", "nothing is asked for")
            .remedy("give --profile, --profile-file, or a state with annotations"));
    }
    let (mut late, mut target) = (false, target);
    if target.is_none()
        && let Some(state) = state
    {
        target = match state.moment()? {
            Moment::Prepare { pid, late: running } => {
                late = running;
                Some(Target::Pid(pid))
            }
            Moment::CleanUp => {
                return Err(Error::unsupported("state", "the container has stopped: there is no namespace to look at"));
            }
        };
    }
    let Some(target) = target else { return Err(Error::bad_input("request", "whose namespace is not said")) };
    let config = installed::read_config(options)?;
    config.admit(&annotations)?;
    let bundle = bundle.map(std::path::absolute).transpose();
    let bundle = bundle.map_err(|e| Error::bad_input("--bundle", e.to_string()))?;
    let bundle = bundle.as_deref().map(|b| b.to_string_lossy()).or(state.and_then(|s| s.bundle.clone()));
    let spec = bundle.as_deref().map(read_bundle).transpose()?;
    let profiles = installed::read_profiles(options, annotations)?;
    let (bundle, memory) = (bundle.map(|b| b.into_owned()), options.memory);
    let container = state.map(|s| s.id.to_string());
    Ok(Order { target, container, bundle, spec, config, profiles, memory, late })
}

pub(super) fn read_state(path: &Path) -> Result<Vec<u8>> {
    use crate::kernel::file::read_regular;
    use crate::oci::state::MAX_STATE;
    if path == Path::new("-") {
        return crate::start::read_state(&standard_input());
    }
    read_regular(path, MAX_STATE).map_err(|e| installed::unreadable(&path.to_string_lossy(), &e))
}
