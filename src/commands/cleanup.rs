//! `cleanup`: what the hook does for a container that has stopped, whatever the state says of it.

use crate::cleanup;
use crate::error::Exit;
use crate::hook::fail;
use crate::oci::State;

/// Never fails the stop: a state that is none is told and left.
pub(super) fn run() -> Exit {
    let bytes = crate::start::read_state(&crate::kernel::file::standard_input());
    match bytes.as_deref().map_err(Clone::clone).and_then(State::parse) {
        Ok(state) => cleanup::run(&state),
        Err(error) => {
            fail(None, &error);
            Exit::Done
        }
    }
}
