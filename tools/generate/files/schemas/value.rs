//! Schemas of single values: amounts in the notation of profiles, and integers as they are printed.

use oci_ipc_hook::ipc::sysctl::Unit;
use oci_ipc_hook::ipc::{SemField, Sysctl};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use std::borrow::Cow;

const NUMBER: &str = "(0|[1-9][0-9]*)";
const SIZE: &str = "(0|[1-9][0-9]*) *(KiB|MiB|GiB|TiB|KB|MB|GB|TB|B)";
const BOUND: &str = "((>=|<=) *)?";

/// A number of things, as digits or in a string.
pub(super) fn count(min: u64, max: u64) -> Value {
    let string = json!({ "type": "string", "pattern": format!("^{NUMBER}$") });
    json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, string] })
}

/// Bytes, or a string with a unit.
pub(super) fn size(min: u64, max: u64) -> Value {
    let string = json!({ "type": "string", "pattern": format!("^({NUMBER}|{SIZE})$") });
    json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, string] })
}

/// The notations of an amount of this unit.
fn amounts(unit: Unit, memory_sized: bool) -> String {
    let mut forms = vec![NUMBER];
    if matches!(unit, Unit::Bytes | Unit::Pages) {
        forms.push(SIZE);
    }
    if memory_sized {
        forms.extend(["([1-9][0-9]{0,2}|1000) *%", "unlimited"]);
    }
    if unit == Unit::Count {
        forms.push("[1-9][0-9]* +per GiB");
    }
    forms.join("|")
}

/// What a profile may want of a sysctl.
pub(super) fn wish(sysctl: Sysctl) -> Value {
    if sysctl == Sysctl::Sem {
        let fields = SemField::ALL.map(|f| (f.name().to_owned(), scalar(Unit::Count, f.range(), BOUND, "")));
        let fields: serde_json::Map<_, _> = fields.into_iter().collect();
        let object =
            json!({ "type": "object", "properties": fields, "additionalProperties": false, "minProperties": 1 });
        return json!({ "anyOf": [four_numbers("(>=|<=)?"), object] });
    }
    scalar(sysctl.unit(), sysctl.range(), BOUND, "")
}

/// What the policy may put above a sysctl: no bound, no formula of memory.
pub(super) fn ceiling(sysctl: Sysctl) -> Value {
    if sysctl == Sysctl::Sem {
        return json!({ "anyOf": [four_numbers(""), { "const": "denied" }] });
    }
    scalar_of(sysctl.range(), &format!("^({})$", ceiling_forms(sysctl)))
}

fn ceiling_forms(sysctl: Sysctl) -> String {
    let mut forms = vec![NUMBER, "denied"];
    if matches!(sysctl.unit(), Unit::Bytes | Unit::Pages) {
        forms.push(SIZE);
    }
    if sysctl.range().1 == u64::MAX {
        forms.push("unlimited");
    }
    forms.join("|")
}

fn four_numbers(bound: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^{bound}[ \\t]*{NUMBER}([ \\t]+{NUMBER}){{3}}[ \\t]*$") })
}

fn scalar(unit: Unit, range: (u64, u64), bound: &str, end: &str) -> Value {
    scalar_of(range, &format!("^{bound}({}){end}$", amounts(unit, range.1 == u64::MAX)))
}

fn scalar_of((min, max): (u64, u64), pattern: &str) -> Value {
    json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, { "type": "string", "pattern": pattern }] })
}

/// An integer as it is printed: a number below 2^53, a decimal string from there on.
pub(super) struct Integer;

impl JsonSchema for Integer {
    fn schema_name() -> Cow<'static, str> {
        "Integer".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number below 2^53, a decimal string from there on: JSON readers keep it exact.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": (1_u64 << 53) - 1 },
                { "type": "string", "pattern": "^[1-9][0-9]{15,19}$" }
            ]
        })
    }
}

/// `0600`.
pub(super) fn mode(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "description": "Permission bits, in octal.", "type": "string", "pattern": "^0[0-7]{3}$" })
}

/// `0x4d510001`.
pub(super) fn key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "As ipcs(1) shows it; zeros for a private object.",
        "type": "string",
        "pattern": "^0x[0-9a-f]{8}$"
    })
}

/// Every sysctl; `null` for one that this kernel does not have.
pub(super) struct Sysctls;

impl JsonSchema for Sysctls {
    fn schema_name() -> Cow<'static, str> {
        "Sysctls".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let number = generator.subschema_for::<Option<Integer>>();
        let four = json!({
            "description": "SEMMSL, SEMMNS, SEMOPM, SEMMNI.",
            "type": ["array", "null"],
            "items": { "type": "integer" },
            "minItems": 4,
            "maxItems": 4
        });
        let value = |s: Sysctl| if s == Sysctl::Sem { four.clone() } else { number.clone().to_value() };
        let properties: serde_json::Map<_, _> = Sysctl::ALL.iter().map(|s| (s.name().to_owned(), value(*s))).collect();
        json_schema!({
            "description": "Sysctls with their values; null for one that this kernel does not have.",
            "type": "object",
            "properties": properties,
            "required": Sysctl::ALL.map(Sysctl::name),
            "additionalProperties": false
        })
    }
}
