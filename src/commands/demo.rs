use super::cli::DemoArgs;
use crate::error::{Exit, Result};
pub(super) fn run(_a: &DemoArgs) -> Result<Exit> {
    Ok(Exit::Done)
}
