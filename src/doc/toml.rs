//! TOML 1.1 into the tree, from the events of `toml_parser`. Table redefinition follows the TOML specification.

use super::{Key, MAX_DEPTH, MAX_KEYS, Node, Place, Position, Table, Value};
use crate::error::Error;
use std::borrow::Cow;
use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::lexer::{Lexer, Token, TokenKind};
use toml_parser::parser::{EventReceiver, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ErrorSink, ParseError, Source, Span};

/// Fewest tokens that are given to the parser at once.
const PIECE: usize = 400;

/// Reads a whole document.
pub fn parse<'s>(place: Place<'_>, text: &'s str) -> Result<Table<'s>, Error> {
    let source = Source::new(text);
    let mut first: Option<ParseError> = None;
    let mut builder = Builder::new(source);
    {
        let mut guard = RecursionGuard::new(&mut builder, MAX_DEPTH);
        let mut receiver = ValidateWhitespace::new(&mut guard, source);
        let (mut tokens, mut piece) = (source.lex(), Vec::new());
        while next_piece(&mut tokens, &mut piece) {
            parse_document(&piece, &mut receiver, &mut first);
        }
    }
    let syntax = first.map(|e| {
        let at = e.unexpected().or(e.context()).map_or(Position::default(), |s| position(text, s.start()));
        (at, e.description().to_owned())
    });
    match [syntax, builder.error].into_iter().flatten().min_by_key(|(at, _)| (at.line, at.column)) {
        Some((at, why)) => Err(place.error(at, "", why)),
        None => Ok(builder.root),
    }
}

/// Takes tokens up to the end of a line that stands outside of all brackets; `false` = there are none left. All tokens of a
/// document with thousands of objects would need more memory than everything else together.
fn next_piece(tokens: &mut Lexer<'_>, piece: &mut Vec<Token>) -> bool {
    piece.clear();
    let mut depth = 0;
    for token in tokens {
        depth += match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => 1,
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => -1,
            _ => 0,
        };
        piece.push(token);
        if depth == 0 && token.kind() == TokenKind::Newline && piece.len() >= PIECE {
            break;
        }
    }
    !piece.is_empty()
}

/// Line and column of a byte offset.
fn position(text: &str, offset: usize) -> Position {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|b| **b == b'\n').count();
    let column = before.iter().rev().take_while(|b| **b != b'\n').count();
    Position { line: line as u32 + 1, column: column as u32 + 1 }
}

/// How a table came to be; decides what may still be added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// By `[x.y]` for x.
    Implied,
    /// By its own header.
    Header,
    /// By `x.y = …` for x.
    Dotted,
    /// An array of tables, by `[[x]]`: new elements may follow.
    Array,
}

/// An inline array or table that is still open.
enum Open<'s> {
    Array(Vec<Node<'s>>, Position),
    Inline(Table<'s>, Position, Vec<Key<'s>>),
}

struct Builder<'s> {
    source: Source<'s>,
    root: Table<'s>,
    /// Table that `key = value` lines go to, as indices from the root (into an array's last element where it is one).
    current: Vec<usize>,
    /// How the tables of the document were made, by address (position of the key that made them).
    made: Vec<(Position, Made)>,
    keys: Vec<Key<'s>>,
    open: Vec<Open<'s>>,
    header: Option<bool>,
    error: Option<(Position, String)>,
    cursor: Cursor,
}

/// Finds line and column of ever larger offsets in one pass.
#[derive(Default)]
struct Cursor {
    offset: usize,
    line_start: usize,
    line: u32,
}

impl Cursor {
    fn at(&mut self, text: &str, offset: usize) -> Position {
        if offset < self.offset {
            return position(text, offset);
        }
        for (i, byte) in text.as_bytes()[self.offset..offset].iter().enumerate() {
            if *byte == b'\n' {
                self.line += 1;
                self.line_start = self.offset + i + 1;
            }
        }
        self.offset = offset;
        Position { line: self.line + 1, column: (offset - self.line_start) as u32 + 1 }
    }
}

impl<'s> Builder<'s> {
    fn new(source: Source<'s>) -> Self {
        Builder {
            source,
            root: Vec::new(),
            current: Vec::new(),
            made: Vec::new(),
            keys: Vec::new(),
            open: Vec::new(),
            header: None,
            error: None,
            cursor: Cursor::default(),
        }
    }

    fn at(&mut self, span: Span) -> Position {
        self.cursor.at(self.source.input(), span.start())
    }

    fn fail(&mut self, at: Position, why: impl Into<String>) {
        self.error.get_or_insert((at, why.into()));
    }

    fn made(&self, at: Position) -> Option<Made> {
        self.made.iter().rev().find(|(p, _)| *p == at).map(|(_, m)| *m)
    }

    /// Puts a finished value where it belongs: the innermost open array or inline table, else the current table.
    fn place(&mut self, node: Node<'s>) {
        match self.open.last_mut() {
            Some(Open::Array(nodes, _)) => nodes.push(node),
            Some(Open::Inline(table, _, keys)) => {
                if let Err((at, why)) = insert(table, keys, node, &mut self.made) {
                    self.fail(at, why);
                }
            }
            None => {
                let table = descend(&mut self.root, &self.current);
                if let Err((at, why)) = insert(table, &mut self.keys, node, &mut self.made) {
                    self.fail(at, why);
                }
            }
        }
    }

    /// `[a.b]` or `[[a.b]]` is complete: finds or makes the table.
    fn enter(&mut self, array: bool) -> Result<(), (Position, String)> {
        let mut keys = std::mem::take(&mut self.keys);
        let Some((last, parents)) = keys.split_last() else { return Ok(()) };
        // Room that was used before: a document may have thousands of tables.
        let mut path = std::mem::take(&mut self.current);
        path.clear();
        for key in parents {
            let table = descend(&mut self.root, &path);
            let index = match table.iter().position(|(k, _)| k.name == key.name) {
                Some(index) => index,
                None => {
                    push(table, key.clone(), Node { at: key.at, value: Value::Table(Vec::new()) })?;
                    self.made.push((key.at, Made::Implied));
                    table.len() - 1
                }
            };
            let (k, node) = &table[index];
            let (made_at, is_container) = (k.at, matches!(node.value, Value::Table(_) | Value::Array(_)));
            if !is_container || self.made(made_at).is_none() {
                return Err((key.at, format!("'{}' is already a value", key.name)));
            }
            path.push(index);
        }
        let table = descend(&mut self.root, &path);
        let index = match table.iter().position(|(k, _)| k.name == last.name) {
            Some(index) => {
                let first_at = table[index].0.at;
                let wanted = if array { Made::Array } else { Made::Implied };
                if self.made(first_at) != Some(wanted) {
                    return Err((last.at, format!("'{}' is defined twice", last.name)));
                }
                if !array {
                    self.made.push((first_at, Made::Header));
                }
                index
            }
            None => {
                let value = if array { Value::Array(Vec::new()) } else { Value::Table(Vec::new()) };
                push(table, last.clone(), Node { at: last.at, value })?;
                let index = table.len() - 1;
                self.made.push((last.at, if array { Made::Array } else { Made::Header }));
                index
            }
        };
        path.push(index);
        if let Value::Array(nodes) = &mut node_at(&mut self.root, &path).value {
            nodes.push(Node { at: last.at, value: Value::Table(Vec::with_capacity(2)) });
        }
        self.current = path;
        keys.clear();
        self.keys = keys;
        Ok(())
    }

    fn scalar_node(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) -> Node<'s> {
        let at = self.at(span);
        let raw = match self.source.get(span) {
            Some(raw) => toml_parser::Raw::new_unchecked(raw.as_str(), encoding, span),
            None => return Node { at, value: Value::Other("nothing") },
        };
        let mut text = Cow::Borrowed("");
        let value = match raw.decode_scalar(&mut text, error) {
            ScalarKind::String => Value::Text(text),
            ScalarKind::Boolean(b) => Value::Bool(b),
            ScalarKind::DateTime => Value::Other("a date"),
            // In its own digits: what notation is welcome depends on the key.
            ScalarKind::Float | ScalarKind::Integer(_) => Value::Number(Cow::Borrowed(raw.as_str())),
        };
        Node { at, value }
    }
}

/// The table at a path of indices; arrays on the way stand for their last element.
fn descend<'t, 's>(root: &'t mut Table<'s>, path: &[usize]) -> &'t mut Table<'s> {
    let mut table = root;
    for &index in path {
        let node = match &mut table[index].1 {
            Node { value: Value::Array(nodes), .. } => nodes.last_mut(),
            node => Some(node),
        };
        table = match node {
            Some(Node { value: Value::Table(inner), .. }) => inner,
            _ => unreachable!("a path leads through tables only"),
        };
    }
    table
}

/// The node at a path of indices that is not empty.
fn node_at<'t, 's>(root: &'t mut Table<'s>, path: &[usize]) -> &'t mut Node<'s> {
    match path.split_last() {
        Some((last, parents)) => &mut descend(root, parents)[*last].1,
        None => unreachable!("a header has a key"),
    }
}

fn push<'s>(table: &mut Table<'s>, key: Key<'s>, node: Node<'s>) -> Result<(), (Position, String)> {
    if table.len() >= MAX_KEYS {
        return Err((key.at, format!("more than {MAX_KEYS} keys in one table")));
    }
    table.push((key, node));
    Ok(())
}

/// `a.b = node` within a table; takes the keys out and leaves their room for the next line.
fn insert<'s>(
    table: &mut Table<'s>,
    keys: &mut Vec<Key<'s>>,
    node: Node<'s>,
    made: &mut Vec<(Position, Made)>,
) -> Result<(), (Position, String)> {
    let Some(last) = keys.pop() else { return Ok(()) };
    let mut table = table;
    for key in keys.drain(..) {
        let index = match table.iter().position(|(k, _)| k.name == key.name) {
            Some(index) => {
                if !made.iter().any(|(p, m)| *p == table[index].0.at && *m == Made::Dotted) {
                    return Err((key.at, format!("'{}' is defined twice", key.name)));
                }
                index
            }
            None => {
                made.push((key.at, Made::Dotted));
                push(table, key.clone(), Node { at: key.at, value: Value::Table(Vec::new()) })?;
                table.len() - 1
            }
        };
        table = match &mut table[index].1.value {
            Value::Table(inner) => inner,
            _ => return Err((key.at, format!("'{}' is already a value", key.name))),
        };
    }
    if table.iter().any(|(k, _)| k.name == last.name) {
        return Err((last.at, format!("'{}' is defined twice", last.name)));
    }
    push(table, last, node)
}

impl EventReceiver for Builder<'_> {
    fn std_table_open(&mut self, _span: Span, _error: &mut dyn ErrorSink) {
        self.keys.clear();
        self.header = Some(false);
    }

    fn std_table_close(&mut self, _span: Span, _error: &mut dyn ErrorSink) {
        self.header = None;
        if let Err((at, why)) = self.enter(false) {
            self.fail(at, why);
        }
    }

    fn array_table_open(&mut self, _span: Span, _error: &mut dyn ErrorSink) {
        self.keys.clear();
        self.header = Some(true);
    }

    fn array_table_close(&mut self, _span: Span, _error: &mut dyn ErrorSink) {
        self.header = None;
        if let Err((at, why)) = self.enter(true) {
            self.fail(at, why);
        }
    }

    fn inline_table_open(&mut self, span: Span, _error: &mut dyn ErrorSink) -> bool {
        let at = self.at(span);
        self.open.push(Open::Inline(Vec::new(), at, Vec::new()));
        true
    }

    fn inline_table_close(&mut self, _span: Span, _error: &mut dyn ErrorSink) {
        if let Some(Open::Inline(table, at, _)) = self.open.pop() {
            self.place(Node { at, value: Value::Table(table) });
        }
    }

    fn array_open(&mut self, span: Span, _error: &mut dyn ErrorSink) -> bool {
        let at = self.at(span);
        self.open.push(Open::Array(Vec::new(), at));
        true
    }

    fn array_close(&mut self, _span: Span, _error: &mut dyn ErrorSink) {
        if let Some(Open::Array(nodes, at)) = self.open.pop() {
            self.place(Node { at, value: Value::Array(nodes) });
        }
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let at = self.at(span);
        let mut name = Cow::Borrowed("");
        if let Some(raw) = self.source.get(span) {
            toml_parser::Raw::new_unchecked(raw.as_str(), encoding, span).decode_key(&mut name, error);
        }
        let key = Key { name, at };
        match self.open.last_mut() {
            Some(Open::Inline(_, _, keys)) if self.header.is_none() => keys.push(key),
            _ => self.keys.push(key),
        }
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let node = self.scalar_node(span, encoding, error);
        self.place(node);
    }
}

#[cfg(test)]
mod tests;
