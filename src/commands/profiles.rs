use super::cli::ProfilesArgs;
use crate::error::{Exit, Result};
pub(super) fn run(_a: &ProfilesArgs) -> Result<Exit> {
    Ok(Exit::Done)
}
