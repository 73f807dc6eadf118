//! Adds the hook to a config.json without touching what it does not know: every other part stays as it is written.

use crate::error::{Error, Result};
use crate::ipc::Sysctl;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::fmt;

/// A hook entry of the runtime spec. The environment is always empty: the hook needs none, and without the key it would
/// inherit the runtime's. There is no timeout: the hook bounds its own waits, and crun fails starts at random with one
/// (docs/troubleshooting.md: `timeout expired`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookEntry {
    path: String,
    args: Vec<String>,
    env: [String; 0],
}

impl HookEntry {
    /// The hook at `path` with its arguments, the first of which is the program's name.
    pub fn new(path: String, args: Vec<String>) -> HookEntry {
        HookEntry { path, args, env: [] }
    }
}

/// An object as pairs in their order, values as they are written.
struct Object<'s>(Vec<(String, &'s RawValue)>);

impl<'de: 's, 's> Deserialize<'de> for Object<'s> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Object<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(k, v)| (k, v)))
    }
}

/// The config.json `text` with the hook added at the end of each stage's list, and with `sysctls` in `linux.sysctl`. A hook
/// that is there already is not added again; existing hooks stay, in their order.
///
/// # Errors
/// Not JSON, or a part that is to be changed has another type than the runtime spec says, or stands twice.
pub fn inject(text: &str, stages: &[&str], hook: &HookEntry, sysctls: &[(Sysctl, String)]) -> Result<String> {
    let text = edit(text, "hooks", "config.json", |hooks| {
        let mut hooks = hooks.unwrap_or("{}").to_owned();
        for stage in stages {
            hooks = edit(&hooks, stage, "hooks", |list| append(list.unwrap_or("[]"), stage, hook))?;
        }
        Ok(hooks)
    })?;
    if sysctls.is_empty() {
        return Ok(text);
    }
    edit(&text, "linux", "config.json", |linux| {
        edit(linux.unwrap_or("{}"), "sysctl", "linux", |map| {
            let mut map = map.unwrap_or("{}").to_owned();
            for (sysctl, value) in sysctls {
                map = edit(&map, sysctl.name(), "linux.sysctl", |_| raw(value).map(|r| r.get().to_owned()))?;
            }
            Ok(map)
        })
    })
}

/// Replaces the value of `key` in the object `text`, or adds it at the end. `null` counts as absent.
fn edit(text: &str, key: &str, place: &str, change: impl FnOnce(Option<&str>) -> Result<String>) -> Result<String> {
    let object: Object<'_> = serde_json::from_str(text).map_err(|e| unlike(place, "an object", text, &e))?;
    if object.0.iter().filter(|(k, _)| k == key).count() > 1 {
        return Err(Error::bad_input(format!("{place}: {key}"), "stands twice"));
    }
    let index = object.0.iter().position(|(k, _)| k == key);
    let old = index.map(|i| object.0[i].1.get()).filter(|v| *v != "null");
    let new = RawValue::from_string(change(old)?).map_err(|e| Error::bad_input(place, e.to_string()))?;
    let mut pairs = object.0;
    match index {
        Some(i) => pairs[i].1 = &new,
        None => pairs.push((key.to_owned(), &new)),
    }
    raw(&Object(pairs)).map(|r| r.get().to_owned())
}

fn append(list: &str, stage: &str, hook: &HookEntry) -> Result<String> {
    let mut hooks: Vec<&RawValue> =
        serde_json::from_str(list).map_err(|e| unlike(&format!("hooks: {stage}"), "an array", list, &e))?;
    let ours = raw(hook)?;
    if !hooks.iter().any(|there| same(there, hook)) {
        hooks.push(&ours);
    }
    raw(&hooks).map(|r| r.get().to_owned())
}

/// Why `text` was not read as what was wanted. Only of the whole file does serde's position say where.
fn unlike(place: &str, wanted: &str, text: &str, error: &serde_json::Error) -> Error {
    if !error.is_data() {
        return Error::bad_input(place, format!("not JSON: {error}"));
    }
    let found = match text.trim_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    };
    Error::bad_input(place, "of the wrong kind").wanted(wanted).found(found)
}

/// The same program with the same arguments.
fn same(there: &RawValue, hook: &HookEntry) -> bool {
    #[derive(Deserialize)]
    struct Known {
        path: String,
        #[serde(default)]
        args: Vec<String>,
    }
    serde_json::from_str::<Known>(there.get()).is_ok_and(|k| k.path == hook.path && k.args == hook.args)
}

fn raw<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>> {
    to_raw_value(value).map_err(|e| Error::bad_input("config.json", e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook() -> HookEntry {
        HookEntry::new("/h".into(), vec!["h".into(), "--profile".into(), "p".into()])
    }

    const OURS: &str = r#"{"path":"/h","args":["h","--profile","p"],"env":[]}"#;

    #[test]
    fn appends_and_keeps_everything_else_as_written() {
        let config = r#"{ "ociVersion": "1.0.2", "z": 1.0e3, "big": 123456789012345678901234567890,
            "hooks": {"prestart": [{"path":"/x","args":["x", "\u0041"]}], "createRuntime": null}, "a\/b": [ 1,  2 ] }"#;
        let got = inject(config, &["prestart", "createRuntime"], &hook(), &[]).unwrap();
        assert_eq!(
            got,
            format!(
                r#"{{"ociVersion":"1.0.2","z":1.0e3,"big":123456789012345678901234567890,"hooks":{{"prestart":[{{"path":"/x","args":["x", "\u0041"]}},{OURS}],"createRuntime":[{OURS}]}},"a/b":[ 1,  2 ]}}"#
            )
        );
        assert_eq!(
            inject(&got, &["prestart", "createRuntime"], &hook(), &[]).unwrap(),
            got,
            "a second time adds nothing"
        );
    }

    #[test]
    fn writes_sysctls() {
        let config = r#"{"linux":{"sysctl":{"net.x":"1","kernel.msgmax":"5"},"y":2}}"#;
        let got = inject(
            config,
            &["createRuntime"],
            &hook(),
            &[(Sysctl::Msgmax, "6".into()), (Sysctl::Sem, "1 2 3 4".into())],
        );
        assert_eq!(
            got.unwrap(),
            format!(
                r#"{{"linux":{{"sysctl":{{"net.x":"1","kernel.msgmax":"6","kernel.sem":"1 2 3 4"}},"y":2}},"hooks":{{"createRuntime":[{OURS}]}}}}"#
            )
        );
    }

    #[test]
    fn refuses_what_it_would_break() {
        for (config, says) in [
            ("", "config.json: not JSON"),
            ("{\n]", "config.json: not JSON: key must be a string at line 2 column 1"),
            ("[]", "config.json: wanted an object, found an array: of the wrong kind"),
            (r#"{"hooks":[]}"#, "hooks: wanted an object, found an array: of the wrong kind"),
            (r#"{"hooks": true}"#, "hooks: wanted an object, found true or false: of the wrong kind"),
            (r#"{"hooks":{"createRuntime":{}}}"#, "hooks: createRuntime: wanted an array, found an object: of"),
            (r#"{"hooks":{"createRuntime":"x"}}"#, "hooks: createRuntime: wanted an array, found a string: of"),
            (r#"{"hooks":{},"hooks":{}}"#, "config.json: hooks: stands twice"),
        ] {
            let error = inject(config, &["createRuntime"], &hook(), &[]).unwrap_err().to_string();
            assert!(error.starts_with(says), "{config}: {error}");
        }
    }
}
