//! What is asked: profiles and annotations, merged into one [`Request`].

pub mod amount;
pub mod annotation;
pub mod merge;
pub mod profile;
pub mod sysctl_conf;

pub use amount::{Amount, Memory, Wish, Wished};
pub use merge::{Limit, Range, Request, Target, merge};
pub use profile::{FileWish, IfExists, ObjectWish, OnStop, Profile, SysctlWish};

use std::fmt;
use std::rc::Rc;

/// Where a wish comes from: `profile:db2:12` or `annotation:io.oci-ipc-hook.objects`. Of two that wish the same, the one
/// with more authority sorts first, and stands for both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct By {
    authority: Authority,
    source: Rc<str>,
    line: u32,
}

/// On whose word a wish is made; decides which rules of the policy bind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authority {
    /// The administrator's: a profile in the arguments.
    Administrator,
    /// The administrator's too: an allowed profile that the container names.
    Named,
    /// config.json's `linux.sysctl`: the runtime writes it whatever the hook does.
    Spec,
    /// The container's own annotations.
    Container,
}

impl By {
    /// From a named source; `line` 0 = no line.
    pub fn new(source: Rc<str>, line: u32, authority: Authority) -> By {
        By { authority, source, line }
    }

    /// The same source at another line.
    pub fn at(&self, line: u32) -> By {
        By { line, ..self.clone() }
    }

    /// The source without its line.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// On whose word.
    pub fn authority(&self) -> Authority {
        self.authority
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 { write!(f, ":{}", self.line) } else { Ok(()) }
    }
}
