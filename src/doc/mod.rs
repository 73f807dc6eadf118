//! Documents with positions: TOML and JSON read into one small tree that remembers line and column of everything.

pub mod json;
pub mod toml;

use crate::error::Error;
use crate::ipc::ValueError;
use crate::text;
use std::borrow::Cow;
use std::fmt;

/// Most keys of one table; nothing we read has as many, and it keeps the search for duplicates short.
const MAX_KEYS: usize = 100;
/// Deepest nesting of tables and arrays.
const MAX_DEPTH: u32 = 8;

/// Where something stands in its document; both count from 1, 0 = the whole document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column, in bytes.
    pub column: u32,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'s> {
    /// Where it starts.
    pub at: Position,
    /// What it is.
    pub value: Value<'s>,
}

/// The kinds of value that a profile or a policy may hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'s> {
    /// A string, escapes resolved.
    Text(Cow<'s, str>),
    /// A number in its own digits, such as `0x4d51`, `1_000` or `1.5`: what is allowed depends on the key.
    Number(Cow<'s, str>),
    /// `true` or `false`.
    Bool(bool),
    /// An array, or TOML's `[[name]]`.
    Array(Vec<Node<'s>>),
    /// A table or JSON object, in the order of the document, no key twice.
    Table(Table<'s>),
    /// JSON's `null` or a TOML date: never wanted, named in the error.
    Other(&'static str),
}

/// Keys and values in the order of the document.
pub type Table<'s> = Vec<(Key<'s>, Node<'s>)>;

/// What stands below these keys, one table in the other.
pub fn find<'n, 's>(table: &'n Table<'s>, keys: &[&str]) -> Option<&'n Node<'s>> {
    let (first, rest) = keys.split_first()?;
    let node = &table.iter().find(|(key, _)| key.name == *first)?.1;
    match (&node.value, rest) {
        (_, []) => Some(node),
        (Value::Table(table), rest) => find(table, rest),
        _ => None,
    }
}

/// A key and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Key<'s> {
    /// The key itself.
    pub name: Cow<'s, str>,
    /// Where it stands.
    pub at: Position,
}

impl<'s> Value<'s> {
    /// The kind in words, for error texts.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Number(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

/// The document's name in messages, and the way to errors that name file, line and column.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    /// File name, or `annotation …`.
    pub document: &'p str,
}

impl Place<'_> {
    /// An error about `what` at a position.
    pub fn error(&self, at: Position, what: &str, why: impl Into<String>) -> Error {
        let place = match at.line {
            0 => self.document.to_owned(),
            _ => format!("{}:{}:{}", self.document, at.line, at.column),
        };
        Error::bad_input(if what.is_empty() { place } else { format!("{place}: {what}") }, why)
    }

    /// A value that does not parse.
    pub fn bad_value(&self, node: &Node<'_>, what: impl fmt::Display, why: &ValueError) -> Error {
        let error = self.error(node.at, &what.to_string(), why.to_string());
        match &node.value {
            Value::Text(text) => error.found(format!("\"{}\"", text::shorten(text, 80))),
            Value::Number(digits) => error.found(text::shorten(digits, 80)),
            other => error.found(other.kind()),
        }
    }

    /// A key that is not one of `known`.
    pub fn unknown_key(&self, key: &Key<'_>, table: &str, known: &[&str]) -> Error {
        let what = if table.is_empty() { key.name.to_string() } else { format!("{table}.{}", key.name) };
        let error = self.error(key.at, &text::shorten(&what, 120), "unknown key");
        match text::nearest(&key.name, known.iter().copied()) {
            Some(near) => error.remedy(format!("did you mean '{near}'?")),
            None => error.remedy(format!("known here: {}", known.join(", "))),
        }
    }

    /// A sysctl that stands unquoted as a key of `table`: TOML takes `kernel.sem` for a table `kernel`.
    pub fn unquoted_sysctl(&self, key: &Key<'_>, node: &Node<'_>, table: &str) -> Option<Error> {
        let unquoted = matches!(node.value, Value::Table(_)) && matches!(key.name.as_ref(), "kernel" | "fs");
        unquoted.then(|| {
            let error = self.error(key.at, &format!("{table}.{}", key.name), "a sysctl's name stands in quotes");
            error.remedy("write \"kernel.shmmax\" = …, with the quotes")
        })
    }

    /// The string, or an error.
    pub fn text<'n>(&self, node: &'n Node<'_>, what: impl fmt::Display) -> Result<&'n str, Error> {
        match &node.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong_kind(node, what, "a string")),
        }
    }

    /// The table, or an error.
    pub fn table<'n, 's>(&self, node: &'n Node<'s>, what: impl fmt::Display) -> Result<&'n Table<'s>, Error> {
        match &node.value {
            Value::Table(table) => Ok(table),
            _ => Err(self.wrong_kind(node, what, "a table")),
        }
    }

    /// The array's elements, or an error.
    pub fn array<'n, 's>(&self, node: &'n Node<'s>, what: impl fmt::Display) -> Result<&'n [Node<'s>], Error> {
        match &node.value {
            Value::Array(nodes) => Ok(nodes),
            _ => Err(self.wrong_kind(node, what, "an array")),
        }
    }

    /// `true` or `false`, or an error.
    pub fn boolean(&self, node: &Node<'_>, what: impl fmt::Display) -> Result<bool, Error> {
        match node.value {
            Value::Bool(b) => Ok(b),
            _ => Err(self.wrong_kind(node, what, "true or false")),
        }
    }

    /// An unsigned decimal number as digits or string, or an error.
    pub fn number(&self, node: &Node<'_>, what: impl fmt::Display) -> Result<u64, Error> {
        match &node.value {
            Value::Text(digits) | Value::Number(digits) => {
                crate::ipc::value::parse_decimal(digits).map_err(|why| self.bad_value(node, what, &why))
            }
            _ => Err(self.wrong_kind(node, what, "a number")),
        }
    }

    /// Nothing if this is the number of the one format that there is so far, of profiles and of the policy.
    pub fn format(&self, node: &Node<'_>) -> Result<(), Error> {
        match self.number(node, "format")? {
            1 => Ok(()),
            other => Err(self
                .error(node.at, "format", "not a format that this version reads")
                .wanted("1")
                .found(other)
                .remedy("write format = 1, or use the version of the hook that the file is for")),
        }
    }

    /// A value of the wrong kind.
    pub fn wrong_kind(&self, node: &Node<'_>, what: impl fmt::Display, wanted: &str) -> Error {
        self.error(node.at, &what.to_string(), "of the wrong kind").wanted(wanted).found(node.value.kind())
    }
}
