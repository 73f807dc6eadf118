//! Schemas as the tests use them: validation, and the set of keys that a schema or a document has.

use crate::root;
use jsonschema::Validator;
use oci_ipc_hook::doc::{Node, Place, Table, Value as Parsed, toml};
use serde_json::{Map, Number, Value};
use std::collections::BTreeSet;

/// A committed schema.
pub(crate) struct Schema {
    name: &'static str,
    /// As it is written.
    pub(crate) json: Value,
    validator: Validator,
}

impl Schema {
    /// Reads `schemas/NAME.schema.json`, which must be a valid schema itself.
    pub(crate) fn load(name: &'static str) -> Schema {
        let text = std::fs::read_to_string(root().join(format!("schemas/{name}.schema.json"))).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert!(jsonschema::meta::is_valid(&json), "{name}");
        let validator = jsonschema::validator_for(&json).unwrap_or_else(|e| panic!("{name}: {e}"));
        Schema { name, json, validator }
    }

    /// True when the document is valid.
    pub(crate) fn takes(&self, document: &Value) -> bool {
        self.validator.is_valid(document)
    }

    /// Fails with everything that is wrong.
    #[track_caller]
    pub(crate) fn must_take(&self, what: &str, document: &Value) {
        let errors = self.validator.iter_errors(document);
        let wrong: Vec<_> = errors.map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{what} against {}: {}\n{document:#}", self.name, wrong.join("\n"));
    }

    /// Every key that the schema has, once for each place: `/steps/before/uid`; indices and alternatives are no part of it.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        self.walk(&self.json, "", &mut keys);
        keys
    }

    fn walk(&self, schema: &Value, at: &str, keys: &mut BTreeSet<String>) {
        if let Some(name) = schema["$ref"].as_str() {
            self.walk(self.json.pointer(name.trim_start_matches('#')).unwrap(), at, keys);
        }
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            let at = format!("{at}/{key}");
            self.walk(below, &at, keys);
            keys.insert(at);
        }
        if schema["items"].is_object() {
            self.walk(&schema["items"], at, keys);
        }
        for alternative in ["anyOf", "oneOf"].iter().filter_map(|k| schema[*k].as_array()).flatten() {
            self.walk(alternative, at, keys);
        }
    }
}

/// The same of a document.
pub(crate) fn keys_of(document: &Value, at: &str, keys: &mut BTreeSet<String>) {
    match document {
        Value::Array(items) => items.iter().for_each(|item| keys_of(item, at, keys)),
        Value::Object(map) => {
            for (key, below) in map {
                let at = format!("{at}/{key}");
                keys_of(below, &at, keys);
                keys.insert(at);
            }
        }
        _ => {}
    }
}

/// A TOML text as the JSON that validators look at.
pub(crate) fn toml_as_json(text: &str) -> Value {
    let table = toml::parse(Place { document: "text" }, text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    object(&table)
}

fn object(table: &Table<'_>) -> Value {
    Value::Object(table.iter().map(|(key, node)| (key.name.to_string(), value(node))).collect::<Map<_, _>>())
}

fn value(node: &Node<'_>) -> Value {
    match &node.value {
        Parsed::Text(text) => Value::from(text.as_ref()),
        Parsed::Number(digits) => match digits.strip_prefix("0x") {
            Some(hex) => Value::from(u64::from_str_radix(hex, 16).unwrap()),
            None => Value::Number(digits.parse::<Number>().unwrap()),
        },
        Parsed::Bool(flag) => Value::from(*flag),
        Parsed::Array(nodes) => nodes.iter().map(value).collect(),
        Parsed::Table(table) => object(table),
        Parsed::Other(kind) => panic!("{kind}"),
    }
}
