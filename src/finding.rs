//! What `check` and `doctor` have to say: one line each, with its remedy.

use crate::error::Error;
use crate::text::escape;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Cannot be found out from here.
    Unknown,
    /// Works, but perhaps not as meant.
    Warning,
    /// Does not work.
    Problem,
}

impl Level {
    /// The word that starts the line.
    pub const fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Unknown => "unknown",
            Level::Warning => "warning",
            Level::Problem => "problem",
        }
    }
}

/// One line about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about: a file, a feature, an engine.
    pub what: String,
    /// What was found.
    pub found: String,
    /// What the reader can do about it.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(what: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding { level: Level::Ok, what: what.into(), found: found.into(), remedy: None }
    }

    /// It cannot be told.
    pub fn unknown(what: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { level: Level::Unknown, remedy: Some(remedy.into()), ..Finding::ok(what, found) }
    }

    /// It may surprise.
    pub fn warning(what: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { level: Level::Warning, remedy: Some(remedy.into()), ..Finding::ok(what, found) }
    }

    /// It does not work.
    pub fn problem(what: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { level: Level::Problem, remedy: Some(remedy.into()), ..Finding::ok(what, found) }
    }

    /// An error that says all by itself, about `what`.
    pub fn error(what: impl Into<String>, error: &Error) -> Finding {
        Finding { level: Level::Problem, ..Finding::ok(what, error.to_string()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}: {}", self.level.word(), escape(&self.what), escape(&self.found))?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {}", escape(remedy)),
            None => Ok(()),
        }
    }
}
