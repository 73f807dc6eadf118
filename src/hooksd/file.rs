//! One hooks.d file.

use super::when::When;
use crate::doc::{Node, Place, Table, Value, json};
use crate::error::Result;

/// A hooks.d file of schema 1.0.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookFile {
    /// The program.
    pub path: String,
    /// Its arguments, its own name first; empty = the path alone.
    pub args: Vec<String>,
    /// Its environment; `None` = the runtime's.
    pub env: Option<Vec<String>>,
    /// Seconds after which the runtime kills it.
    pub timeout: Option<u64>,
    /// For which containers.
    pub when: When,
    /// When in a container's life.
    pub stages: Vec<String>,
    /// Keys that engines pass over in silence, such as misspelt ones, with what was perhaps meant.
    pub unknown: Vec<(String, Option<&'static str>)>,
}

const KEYS: [&str; 4] = ["version", "hook", "when", "stages"];
const HOOK_KEYS: [&str; 4] = ["path", "args", "env", "timeout"];
const WHEN_KEYS: [&str; 4] = ["always", "annotations", "commands", "hasBindMounts"];

impl HookFile {
    /// Reads a file.
    ///
    /// # Errors
    /// What makes an engine refuse it: not JSON, another version, a missing or mistyped key.
    pub fn parse(document: &str, text: &str) -> Result<HookFile> {
        let place = Place { document };
        let root = json::parse(place, text)?;
        let table = place.table(&root, "")?;
        let mut unknown = Vec::new();
        note_unknown(table, "", &KEYS, &mut unknown);
        let required = |key: &'static str| get(table, key).ok_or_else(|| place.error(root.at, key, "is missing"));
        let version = place.text(required("version")?, "version")?;
        if version != "1.0.0" {
            return Err(place
                .error(root.at, "version", "only this version of the schema is current (oci-hooks(5))")
                .wanted("\"1.0.0\"")
                .found(format!("\"{version}\"")));
        }
        let hook = place.table(required("hook")?, "hook")?;
        note_unknown(hook, "hook.", &HOOK_KEYS, &mut unknown);
        let path = get(hook, "path").ok_or_else(|| place.error(root.at, "hook.path", "is missing"))?;
        let when = match get(table, "when") {
            Some(node) => read_when(place, node, &mut unknown)?,
            None => When::default(),
        };
        Ok(HookFile {
            path: place.text(path, "hook.path")?.to_owned(),
            args: get(hook, "args").map(|n| texts(place, n, "hook.args")).transpose()?.unwrap_or_default(),
            env: get(hook, "env").map(|n| texts(place, n, "hook.env")).transpose()?,
            timeout: get(hook, "timeout").map(|n| place.number(n, "hook.timeout")).transpose()?,
            when,
            stages: texts(place, required("stages")?, "stages")?,
            unknown,
        })
    }
}

fn read_when(place: Place<'_>, node: &Node<'_>, unknown: &mut Vec<(String, Option<&'static str>)>) -> Result<When> {
    let table = place.table(node, "when")?;
    note_unknown(table, "when.", &WHEN_KEYS, unknown);
    let mut when = When {
        always: get(table, "always").map(|n| place.boolean(n, "when.always")).transpose()?,
        has_bind_mounts: get(table, "hasBindMounts").map(|n| place.boolean(n, "when.hasBindMounts")).transpose()?,
        commands: get(table, "commands").map(|n| texts(place, n, "when.commands")).transpose()?.unwrap_or_default(),
        annotations: Vec::new(),
    };
    if let Some(node) = get(table, "annotations") {
        for (key, value) in place.table(node, "when.annotations")? {
            when.annotations.push((key.name.to_string(), place.text(value, "when.annotations")?.to_owned()));
        }
    }
    Ok(when)
}

/// Engines read keys whatever their case.
fn get<'t, 's>(table: &'t Table<'s>, key: &str) -> Option<&'t Node<'s>> {
    table
        .iter()
        .find(|(k, _)| k.name.eq_ignore_ascii_case(key))
        .map(|(_, node)| node)
        .filter(|n| n.value != Value::Other("null"))
}

fn note_unknown(
    table: &Table<'_>,
    prefix: &str,
    known: &'static [&'static str],
    unknown: &mut Vec<(String, Option<&'static str>)>,
) {
    for (key, _) in table.iter().filter(|(k, _)| !known.iter().any(|n| k.name.eq_ignore_ascii_case(n))) {
        unknown.push((format!("{prefix}{}", key.name), crate::text::nearest(&key.name, known.iter().copied())));
    }
}

fn texts(place: Place<'_>, node: &Node<'_>, what: &str) -> Result<Vec<String>> {
    place.array(node, what)?.iter().map(|n| place.text(n, what).map(str::to_owned)).collect()
}
