//! `apply`: the hook's work without a runtime that calls it.

use super::cli::ApplyArgs;
use super::output::print;
use super::plan::{order, refuse};
use crate::error::{Exit, Result};
use crate::plan::render;
use crate::report::Report;
use crate::session::Session;

pub(super) fn run(args: &ApplyArgs) -> Result<Exit> {
    let order =
        order(Some(args.target.target()), args.state.as_deref(), args.bundle.as_deref(), args.request.clone().into())?;
    let mut session = Session::new(order);
    let (ready, outcome) = match session.run() {
        Ok(done) => done,
        Err(error) => return refuse(&session, args.json, error),
    };
    if args.json {
        print(&(Report::applied(&session.subject(), &ready.plan, &outcome).to_pretty_json() + "\n"))?;
    } else if outcome.error.is_none() {
        print(&render::text(&ready.plan))?;
    }
    match outcome.error {
        None => Ok(Exit::Done),
        Some(error) => Err(error),
    }
}
