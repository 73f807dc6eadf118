//! JSON Schemas (draft 2020-12) of what is read and of what is printed.
//!
//! Profile and policy are read by a parser of the project's own; their schemas are put together from the tables that the
//! parser uses. What is printed is declared once more in types of its own: that these agree with the program is what the
//! test `manual` looks at, in both directions.

mod config;
mod doctor;
mod inspect;
mod profile;
mod record;
mod report;
mod value;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Name and schema of each format.
pub(crate) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("profile", headed("profile", 1, profile::schema())),
        ("config", headed("config", 1, config::schema())),
        ("report", headed("report", 1, derived::<report::Report>())),
        ("record", headed("record", 1, derived::<record::Record>())),
        ("doctor", headed("doctor", 1, derived::<doctor::Diagnosis>())),
        ("inspect", headed("inspect", 1, derived::<inspect::Inspect>())),
    ]
}

/// With the keys that every schema of ours begins with.
fn headed(name: &str, version: u32, mut schema: Value) -> Value {
    schema["$schema"] = json!(DRAFT);
    schema["$id"] = json!(format!("urn:oci-ipc-hook:schema:{name}:{version}"));
    schema
}

/// The schema of a type as it is written.
fn derived<T: JsonSchema>() -> Value {
    let schema: Schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    schema.to_value()
}
