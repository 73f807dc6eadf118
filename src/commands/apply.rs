//! `apply`: the hook's work without a runtime that calls it. With a state it stands for the hook.

use super::cli::ApplyArgs;
use super::output::print;
use super::plan::{order, read_state, show_refusal};
use crate::apply::Outcome;
use crate::error::{Exit, Result};
use crate::hook;
use crate::installed::{self, RequestOptions};
use crate::kernel::clock::microseconds;
use crate::oci::State;
use crate::plan::render;
use crate::report::Report;
use crate::session::{Ready, Session};
use std::path::Path;

pub(super) fn run(args: &ApplyArgs) -> Result<Exit> {
    let start = microseconds();
    let options = args.request.clone().into();
    match &args.state {
        Some(path) => for_container(args, &options, path, start),
        None => by_hand(args, &options),
    }
}

/// For whoever calls it: the exit status is the outcome.
fn by_hand(args: &ApplyArgs, options: &RequestOptions) -> Result<Exit> {
    let order = order(Some(args.target.target()), None, args.bundle.as_deref(), options)?;
    let mut session = Session::new(order);
    let (ready, outcome) = match session.run() {
        Ok(done) => done,
        Err(error) => {
            show_refusal(&session, args.json, &error)?;
            return Err(error);
        }
    };
    show(args, &session, &ready, &outcome)?;
    match outcome.error {
        None => Ok(Exit::Done),
        Some(error) => Err(error),
    }
}

/// For a container that starts, whose runtime has no process to name: logged, and `on-error` of the policy counts.
fn for_container(args: &ApplyArgs, options: &RequestOptions, path: &Path, start: u64) -> Result<Exit> {
    let bytes = read_state(path)?;
    let state = State::parse(&bytes)?;
    let order = match order(Some(args.target.target()), Some(&state), args.bundle.as_deref(), options) {
        Ok(order) => order,
        Err(error) => {
            return Ok(hook::refused(&state, start, &error, installed::read_config(options)));
        }
    };
    Ok(hook::on_behalf(&state, start, order, |session, result| {
        // Where nobody listens, the job is done all the same.
        let _ = match result {
            Ok((ready, outcome)) => show(args, session, ready, outcome),
            Err(error) => show_refusal(session, args.json, error),
        };
    }))
}

fn show(args: &ApplyArgs, session: &Session, ready: &Ready, outcome: &Outcome) -> Result<()> {
    if args.json {
        print(&(Report::applied(&session.subject(), &ready.plan, outcome).to_pretty_json() + "\n"))
    } else if outcome.error.is_none() {
        print(&render::text(&ready.plan))
    } else {
        Ok(())
    }
}
