//! How a case ends when it does not simply pass.

use std::fmt;

/// Why a case stopped before its end.
pub enum Stop {
    /// What was seen is not what was promised.
    Fail(String),
    /// This engine, runtime or mode cannot do what the case is about, for the reason given.
    NotHere(String),
}

/// The result of a case, or of a step of it.
pub type Outcome<T = ()> = Result<T, Stop>;

impl Stop {
    /// The text, whatever the kind.
    pub fn text(&self) -> &str {
        let (Stop::Fail(text) | Stop::NotHere(text)) = self;
        text
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Stop::Fail(message)
    }
}

impl From<std::io::Error> for Stop {
    fn from(e: std::io::Error) -> Self {
        Stop::Fail(e.to_string())
    }
}

/// A failure of the case with this text.
pub fn fail<T>(message: impl fmt::Display) -> Outcome<T> {
    Err(Stop::Fail(message.to_string()))
}

/// A failure unless `condition` holds.
pub fn ensure(condition: bool, message: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(Stop::Fail(message())) }
}

/// A failure that shows both sides unless they are equal.
pub fn equal<A, B>(what: impl fmt::Display, found: A, wanted: B) -> Outcome
where
    A: fmt::Debug + PartialEq<B>,
    B: fmt::Debug,
{
    if found == wanted { Ok(()) } else { fail(format!("{what}: wanted {wanted:?}, found {found:?}")) }
}
