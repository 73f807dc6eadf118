//! JSON into the tree. Duplicate keys are errors; positions are those of the whole document, since serde tells no more.

use super::{Key, MAX_DEPTH, MAX_KEYS, Node, Place, Position, Value};
use crate::error::Error;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Reads a whole document.
pub fn parse<'s>(place: Place<'_>, text: &'s str) -> Result<Node<'s>, Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let result = Depth(0).deserialize(&mut reader).and_then(|node| reader.end().map(|()| node));
    result.map_err(|e| {
        let at = Position { line: e.line() as u32, column: e.column() as u32 };
        let mut why = e.to_string();
        if let Some(end) = why.rfind(" at line ") {
            why.truncate(end);
        }
        place.error(at, "", why)
    })
}

/// How deep the value stands.
struct Depth(u32);

impl Depth {
    fn inner<E: serde::de::Error>(&self) -> Result<Depth, E> {
        if self.0 >= MAX_DEPTH { Err(E::custom("nested too deeply")) } else { Ok(Depth(self.0 + 1)) }
    }
}

impl<'s> DeserializeSeed<'s> for Depth {
    type Value = Node<'s>;

    fn deserialize<D: serde::Deserializer<'s>>(self, deserializer: D) -> Result<Node<'s>, D::Error> {
        let value = deserializer.deserialize_any(self)?;
        Ok(Node { at: Position::default(), value })
    }
}

impl<'s> Visitor<'s> for Depth {
    type Value = Value<'s>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value<'s>, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value<'s>, E> {
        Ok(Value::Number(v.to_string().into()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value<'s>, E> {
        Ok(Value::Number(v.to_string().into()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value<'s>, E> {
        Ok(Value::Number(format!("{v:?}").into()))
    }

    fn visit_borrowed_str<E>(self, v: &'s str) -> Result<Value<'s>, E> {
        Ok(Value::Text(Cow::Borrowed(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value<'s>, E> {
        Ok(Value::Text(Cow::Owned(v.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Value<'s>, E> {
        Ok(Value::Other("null"))
    }

    fn visit_seq<A: SeqAccess<'s>>(self, mut seq: A) -> Result<Value<'s>, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element_seed(self.inner()?)? {
            nodes.push(node);
        }
        Ok(Value::Array(nodes))
    }

    fn visit_map<A: MapAccess<'s>>(self, mut map: A) -> Result<Value<'s>, A::Error> {
        let mut table: Vec<(Key<'s>, Node<'s>)> = Vec::new();
        while let Some(KeyText(name)) = map.next_key()? {
            if table.iter().any(|(k, _)| k.name == name) {
                return Err(A::Error::custom(format!("'{name}' is defined twice")));
            }
            if table.len() >= MAX_KEYS {
                return Err(A::Error::custom(format!("more than {MAX_KEYS} keys in one object")));
            }
            let node = map.next_value_seed(self.inner()?)?;
            table.push((Key { name, at: Position::default() }, node));
        }
        Ok(Value::Table(table))
    }
}

/// A key, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct KeyText<'s>(#[serde(borrow)] Cow<'s, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_ok(text: &str) -> Value<'_> {
        parse(Place { document: "annotation x" }, text).unwrap().value
    }

    fn parse_err(text: &str) -> String {
        parse(Place { document: "annotation x" }, text).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_kind() {
        let Value::Table(table) = parse_ok(r#"{"a": [1, -2, "x\n"], "b": true, "c": null, "d": 1.5, "e": {}}"#) else {
            panic!("not a table")
        };
        let kinds: Vec<_> = table.iter().map(|(k, n)| (k.name.as_ref(), n.value.kind())).collect();
        assert_eq!(
            kinds,
            [("a", "an array"), ("b", "true or false"), ("c", "null"), ("d", "a number"), ("e", "a table")]
        );
    }

    #[test]
    fn says_where_it_is_wrong() {
        assert_eq!(parse_err("{\n \"a\": }"), "annotation x:2:7: expected value");
        assert!(parse_err(r#"{"a":1,"a":2}"#).contains("'a' is defined twice"));
        assert!(parse_err("{} {}").contains("trailing characters"));
        assert!(parse_err(&"[".repeat(10_000)).contains("nested too deeply"));
    }
}
