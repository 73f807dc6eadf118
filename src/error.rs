//! The one error of the program: which object, what was wanted and found, why, and what to do about it.

use crate::text;
use std::borrow::Cow;
use std::fmt;

/// Longest part of a message, in characters: a stranger's text must not fill the log.
const MAX_PART: usize = 500;

fn escape(part: &str) -> Cow<'_, str> {
    match text::shorten(part, MAX_PART) {
        Cow::Borrowed(part) => text::escape(part),
        Cow::Owned(part) => Cow::Owned(text::escape(&part).into_owned()),
    }
}

/// Exit statuses of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Could not be applied; what was done is undone.
    Failed = 1,
    /// Bad input: state, config.json, profile, policy file or arguments.
    BadInput = 2,
    /// Denied by the administrator's policy.
    Denied = 3,
    /// Not supported here: kernel, privileges, hook stage, host IPC.
    Unsupported = 4,
    /// `plan` only: changes are needed.
    ChangesNeeded = 10,
}

/// One line for a person: `<what>: wanted X, found Y: <why>; <remedy>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Parts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    exit: Exit,
    what: String,
    wanted: Option<String>,
    found: Option<String>,
    why: String,
    remedy: Option<String>,
    also: Vec<String>,
}

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error about `what` (an object, a file with line, an option), for the reason `why`.
    pub fn new(exit: Exit, what: impl Into<String>, why: impl Into<String>) -> Self {
        Error(Box::new(Parts {
            exit,
            what: what.into(),
            wanted: None,
            found: None,
            why: why.into(),
            remedy: None,
            also: Vec::new(),
        }))
    }

    /// Exit 1.
    pub fn failed(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what, why)
    }

    /// Exit 2.
    pub fn bad_input(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Exit::BadInput, what, why)
    }

    /// Exit 3.
    pub fn denied(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Exit::Denied, what, why)
    }

    /// Exit 4.
    pub fn unsupported(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Exit::Unsupported, what, why)
    }

    /// What was asked for.
    pub fn wanted(mut self, wanted: impl ToString) -> Self {
        self.0.wanted = Some(wanted.to_string());
        self
    }

    /// What is there instead.
    pub fn found(mut self, found: impl ToString) -> Self {
        self.0.found = Some(found.to_string());
        self
    }

    /// What the reader can do about it.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Puts `place` (a file, a container) in front of what the error is about.
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        self.0.what = format!("{place}: {}", self.0.what);
        self
    }

    /// Adds a second failure, such as one of the undoing, behind the first.
    pub fn also(mut self, other: &Error) -> Self {
        self.0.also.push(other.to_string());
        self
    }

    /// The exit status it leads to.
    pub fn exit(&self) -> Exit {
        self.0.exit
    }

    /// The same error with another exit status.
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.0.exit = exit;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { what, wanted, found, why, remedy, also, .. } = &*self.0;
        write!(f, "{}: ", escape(what))?;
        match (wanted, found) {
            (Some(w), Some(x)) => write!(f, "wanted {}, found {}: ", escape(w), escape(x))?,
            (Some(w), None) => write!(f, "wanted {}: ", escape(w))?,
            (None, Some(x)) => write!(f, "found {}: ", escape(x))?,
            (None, None) => {}
        }
        f.write_str(&escape(why))?;
        if let Some(remedy) = remedy {
            write!(f, "; {}", escape(remedy))?;
        }
        for other in also {
            write!(f, "; also: {other}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_all_parts_in_one_line() {
        let e = Error::failed("kernel.sem", "SEMMNI is at most 32768")
            .wanted("1 2 3 99999")
            .found("32000 1024000000 500 32000")
            .remedy("ask for at most 32768");
        assert_eq!(
            e.to_string(),
            "kernel.sem: wanted 1 2 3 99999, found 32000 1024000000 500 32000: SEMMNI is at most 32768; ask for at most 32768"
        );
        assert_eq!(e.exit(), Exit::Failed);
    }

    #[test]
    fn a_strangers_text_does_not_fill_the_log() {
        let long = "x".repeat(1 << 20);
        let line = Error::bad_input(long.clone(), long.clone()).found(&long).wanted(&long).remedy(long).to_string();
        assert!(line.len() < 3000, "{}", line.len());
    }

    #[test]
    fn escapes_hostile_parts_and_appends_second_failures() {
        let e = Error::bad_input("a\nb", "c\u{1b}").also(&Error::failed("undo", "x"));
        assert_eq!(e.to_string(), "a\\nb: c\\x1b; also: undo: x");
    }
}
