//! `doctor`: whether containers on this machine would be prepared, and why not.

use super::cli::DoctorArgs;
use super::output::print;
use crate::doctor::{Question, examine};
use crate::error::{Exit, Result};
use crate::report;
use std::path::Path;

pub(super) fn run(args: &DoctorArgs) -> Result<Exit> {
    let asked = args.state.is_some() || args.bundle.is_some() || !args.annotation.is_empty();
    let question =
        asked.then(|| Question::new(args.state.as_deref(), args.bundle.as_deref(), &args.annotation)).transpose()?;
    let diagnosis = examine(Path::new("/"), question.as_ref());
    match args.json {
        true => print(&(report::pretty(&diagnosis) + "\n"))?,
        false => print(&diagnosis.text())?,
    }
    Ok(diagnosis.exit())
}
