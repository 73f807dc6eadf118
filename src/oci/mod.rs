//! What the runtime tells us: the state on stdin and the parts of config.json that matter.

pub mod bundle;
pub mod state;

pub use bundle::{IpcNamespace, Spec, SpecSysctl};
pub use state::{Annotation, Moment, State};

use serde::Deserialize;
use std::borrow::Cow;

/// A string that borrows from the document where it has no escapes, also within an `Option`, where serde's own
/// `borrow` attribute would copy.
#[derive(Debug, Deserialize)]
struct Text<'s>(#[serde(borrow)] Cow<'s, str>);
