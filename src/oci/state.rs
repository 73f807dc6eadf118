//! The OCI state (runtime-spec, "State"), read tolerantly: unknown keys and statuses are fine, `\/` is fine, order is
//! free. oci-spec's own type refuses crun's `starting` and takes a missing status for `stopped`.

use super::Text;
use crate::error::{Error, Result};
use crate::text;
use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Largest state that is read, in bytes.
pub const MAX_STATE: usize = 1 << 20;
/// Longest container id, in bytes: runtimes name a directory after it, so theirs have 255 at most.
pub const MAX_ID: usize = 1024;
/// Prefix of the annotations that are ours.
pub const ANNOTATION_PREFIX: &str = "io.oci-ipc-hook.";

/// What the runtime says of the container.
#[derive(Debug)]
pub struct State<'s> {
    /// Container id.
    pub id: Cow<'s, str>,
    /// Process whose namespaces are the container's; absent at some stages.
    pub pid: Option<i64>,
    /// `creating`, `created`, `running`, `stopped`, or what else a runtime says.
    pub status: Cow<'s, str>,
    /// Directory of config.json.
    pub bundle: Option<Cow<'s, str>>,
    /// Our annotations only, in the order of the document.
    pub annotations: Vec<Annotation<'s>>,
}

/// One annotation whose key starts with [`ANNOTATION_PREFIX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation<'s> {
    /// The whole key.
    pub key: Cow<'s, str>,
    /// Its value.
    pub value: Cow<'s, str>,
}

/// What a state calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Prepare the namespace of this process.
    Prepare {
        /// Host pid, > 1.
        pid: i32,
        /// The workload may be running already (poststart).
        late: bool,
    },
    /// The container has stopped: clean up.
    CleanUp,
}

#[derive(Deserialize)]
struct Raw<'s> {
    #[serde(borrow)]
    id: Option<Text<'s>>,
    pid: Option<i64>,
    #[serde(borrow)]
    status: Option<Text<'s>>,
    #[serde(borrow)]
    bundle: Option<Text<'s>>,
    #[serde(borrow)]
    annotations: Option<Ours<'s>>,
}

impl<'s> State<'s> {
    /// Reads a state.
    ///
    /// # Errors
    /// Not UTF-8, not JSON, too large, without an id, or with one that no runtime gives.
    pub fn parse(bytes: &'s [u8]) -> Result<State<'s>> {
        let bad = |why: String| {
            Error::bad_input("state", why).remedy("the runtime passes the OCI state as JSON on standard input")
        };
        if bytes.len() > MAX_STATE {
            return Err(bad("larger than 1 MiB".into()));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| bad(format!("not UTF-8 at byte {}", e.valid_up_to())))?;
        if text.trim_ascii().is_empty() {
            return Err(bad("empty".into()));
        }
        let raw: Raw<'s> = serde_json::from_str(text).map_err(|e| bad(format!("not an OCI state: {e}")))?;
        let id = raw.id.filter(|id| !id.0.is_empty()).ok_or_else(|| bad("has no id".into()))?;
        if id.0.len() > MAX_ID {
            return Err(bad(format!("an id of more than {MAX_ID} bytes")));
        }
        Ok(State {
            id: id.0,
            pid: raw.pid,
            status: raw.status.map(|s| s.0).unwrap_or_default(),
            bundle: raw.bundle.map(|b| b.0).filter(|b| !b.is_empty()),
            annotations: raw.annotations.map(|a| a.0).unwrap_or_default(),
        })
    }

    /// True when the container has stopped, whatever else the state says.
    pub fn is_stopped(&self) -> bool {
        self.status == "stopped"
    }

    /// What is to be done now.
    ///
    /// # Errors
    /// A pid that is no pid is bad input; a pid that names nobody outside the container (0, 1, none: createContainer and
    /// startContainer) is not supported, with the right stage named.
    pub fn moment(&self) -> Result<Moment> {
        if self.is_stopped() {
            return Ok(Moment::CleanUp);
        }
        let what = format!("state of {}", text::shorten(&self.id, 64));
        match self.pid {
            Some(pid) if pid < 0 => Err(Error::bad_input(what, "a pid is not negative").found(format!("pid {pid}"))),
            Some(pid) if pid > i64::from(i32::MAX) => {
                Err(Error::bad_input(what, "larger than any pid").found(format!("pid {pid}")))
            }
            Some(pid) if pid > 1 => Ok(Moment::Prepare { pid: pid as i32, late: self.status == "running" }),
            other => Err(Error::unsupported(
                what,
                "this is a createContainer or startContainer hook, where the pid does not name the container's process",
            )
            .found(other.map_or_else(|| "no pid".to_owned(), |pid| format!("pid {pid}")))
            .remedy("configure the hook at the createRuntime (or prestart) stage")),
        }
    }
}

/// The annotations object, reduced to our keys while it is read.
#[derive(Debug)]
struct Ours<'s>(Vec<Annotation<'s>>);

impl<'de: 's, 's> Deserialize<'de> for Ours<'s> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Ours<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Ours<'de>, A::Error> {
                let mut ours: Vec<Annotation<'de>> = Vec::new();
                while let Some(Text(key)) = map.next_key()? {
                    if !key.starts_with(ANNOTATION_PREFIX) {
                        map.next_value::<serde::de::IgnoredAny>()?;
                        continue;
                    }
                    if ours.iter().any(|a| a.key == key) {
                        return Err(A::Error::custom(format!("annotation '{key}' stands twice")));
                    }
                    if ours.len() >= MAX_OURS {
                        return Err(A::Error::custom(format!(
                            "more than {MAX_OURS} annotations of {ANNOTATION_PREFIX}*"
                        )));
                    }
                    let Text(value) = map.next_value()?;
                    ours.push(Annotation { key, value });
                }
                Ok(Ours(ours))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Most annotations of ours: one for each sysctl, the profile list, the objects, and room for mistakes to be named.
const MAX_OURS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn err(text: &[u8]) -> String {
        State::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_what_runtimes_write() {
        let runc = br#"{"ociVersion":"1.0.2-dev","id":"x","status":"creating","pid":18080,"bundle":"/b","annotations":{"a.b/c":"d"}}"#;
        let state = State::parse(runc).unwrap();
        assert_eq!((state.id.as_ref(), state.bundle.as_deref()), ("x", Some("/b")));
        assert!(state.annotations.is_empty());
        assert_eq!(state.moment().unwrap(), Moment::Prepare { pid: 18080, late: false });
        let pretty = b"{\n  \"id\": \"x\",\n \"pid\": 7,\n \"root\":\"rootfs\", \"bundle\": \"\\/run\\/b\",\"status\":\"created\",\n\"annotations\":{\"io.oci-ipc-hook.profile\":\"a\\/b\"}}\n";
        let state = State::parse(pretty).unwrap();
        assert_eq!(state.bundle.as_deref(), Some("/run/b"));
        assert_eq!(state.annotations[0].value, "a/b");
    }

    #[test]
    fn refuses_what_is_no_state() {
        assert_eq!(err(b""), "state: empty; the runtime passes the OCI state as JSON on standard input");
        assert!(err(b"{\"id\":").starts_with("state: not an OCI state: EOF"));
        assert!(err(b"\xff\xfe").starts_with("state: not UTF-8 at byte 0"));
        assert!(err(b"{\"pid\":3}").starts_with("state: has no id"));
        assert!(err(&b"[".repeat(10_000)).starts_with("state: not an OCI state"));
        assert!(
            err(format!("{{\"id\":\"x\",\"y\":{}", "[".repeat(10_000)).as_bytes())
                .starts_with("state: not an OCI state")
        );
        assert!(err(&vec![b' '; MAX_STATE + 1]).starts_with("state: larger than 1 MiB"));
        assert!(err(br#"{"id":"x","pid":1.5}"#).starts_with("state: not an OCI state"));
        assert!(err(br#"{"id":"x","id":"y"}"#).contains("duplicate field"));
        assert!(err(br#"{"id":"x","annotations":{"io.oci-ipc-hook.profile":1}}"#).contains("invalid type"));
        assert!(err(br#"{"id":"x","annotations":{"io.oci-ipc-hook.a":"","io.oci-ipc-hook.a":""}}"#).contains("twice"));
    }

    #[test]
    fn tolerates_foreign_annotations_of_any_kind() {
        let state = State::parse(br#"{"id":"x","pid":2,"annotations":{"a":{"b":[1]},"io.oci-ipc-hooks":5}}"#).unwrap();
        assert!(state.annotations.is_empty());
        assert!(State::parse(br#"{"id":"x","annotations":null}"#).is_ok());
    }

    #[test]
    fn decides_by_pid_and_status() {
        for (state, expect) in [
            (r#"{"id":"x","pid":5,"status":"stopped"}"#, "clean up"),
            (r#"{"id":"x","status":"stopped"}"#, "clean up"),
            (r#"{"id":"x","pid":5,"status":"running"}"#, "late 5"),
            (r#"{"id":"x","pid":2147483647,"status":"frobbing"}"#, "prepare 2147483647"),
            (r#"{"id":"x","pid":0,"status":"created"}"#, "exit Unsupported"),
            (r#"{"id":"x","pid":1,"status":"creating"}"#, "exit Unsupported"),
            (r#"{"id":"x","status":"creating"}"#, "exit Unsupported"),
            (r#"{"id":"x","pid":-1,"status":"created"}"#, "exit BadInput"),
            (r#"{"id":"x","pid":2147483648,"status":"created"}"#, "exit BadInput"),
        ] {
            let got = match State::parse(state.as_bytes()).unwrap().moment() {
                Ok(Moment::CleanUp) => "clean up".to_owned(),
                Ok(Moment::Prepare { pid, late: true }) => format!("late {pid}"),
                Ok(Moment::Prepare { pid, late: false }) => format!("prepare {pid}"),
                Err(e) => format!("exit {:?}", e.exit()),
            };
            assert_eq!(got, expect, "{state}");
        }
    }
}
