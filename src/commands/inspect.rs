//! `inspect`: what a namespace holds.

use super::cli::InspectArgs;
use super::output::write;
use crate::enter::Target;
use crate::error::{Exit, Result};
use crate::inspect::look::Found;
use crate::inspect::{json, table};

pub(super) fn run(args: &InspectArgs) -> Result<Exit> {
    let target = match (args.pid, &args.ns) {
        (Some(pid), _) => Target::Pid(pid),
        (None, Some(path)) => Target::Path(path.clone()),
        (None, None) => Target::Own,
    };
    let view = Found::find(&target)?.look()?;
    write(|out| match args.json {
        true => json::write(out, &[view]),
        false => table::write(out, &view),
    })?;
    Ok(Exit::Done)
}
