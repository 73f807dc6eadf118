//! The report, `oci-ipc-hook.report/1`: what `--json` prints and records hold. A contract; its golden tests are the text.

use crate::apply::{After, Ending, Outcome};
use crate::error::{Error, Exit};
use crate::ipc::{Existing, Kind, NamespaceId, ObjectSpec, Owner, Shape, SysctlValue};
use crate::plan::{Change, Plan, Step};
use crate::text;
use serde::{Serialize, Serializer};

/// Name and version of the format.
pub const FORMAT: &str = "oci-ipc-hook.report/1";

/// An integer that JSON readers keep exact: a number below 2⁵³, a decimal string from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer(pub u64);

impl Serialize for Integer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            n if n < 1 << 53 => serializer.serialize_u64(n),
            n => serializer.serialize_str(&n.to_string()),
        }
    }
}

/// One line of JSON, without a newline, safe to show on a terminal (see [`text::escape_json`]).
pub fn line(value: &impl Serialize) -> String {
    text::escape_json(serde_json::to_string(value).unwrap_or_default())
}

/// JSON for reading, safe to show on a terminal (see [`text::escape_json`]).
pub fn pretty(value: &impl Serialize) -> String {
    text::escape_json(serde_json::to_string_pretty(value).unwrap_or_default())
}

/// What is known of the run besides plan and outcome.
#[derive(Clone, Debug, Default)]
pub struct Subject<'r> {
    /// Container id.
    pub container: Option<&'r str>,
    /// The namespace, once it was found.
    pub namespace: Option<Namespace>,
    /// config.json was read.
    pub spec_checked: bool,
}

/// The namespace of a report.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Namespace {
    dev: Integer,
    ino: Integer,
    id: Option<Integer>,
    shared: bool,
}

impl Namespace {
    /// `unique` is the kernel's never-reused number, where it has one.
    pub fn new(id: NamespaceId, unique: Option<u64>, shared: bool) -> Self {
        Namespace { dev: Integer(id.dev), ino: Integer(id.ino), id: unique.map(Integer), shared }
    }
}

/// A whole report.
#[derive(Debug, Serialize)]
pub struct Report<'r> {
    format: &'static str,
    container: Option<&'r str>,
    namespace: Option<Namespace>,
    spec: &'static str,
    steps: Vec<StepReport>,
    outcome: &'static str,
    error: Option<ErrorReport>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StepReport {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    before: Option<Thing>,
    wanted: Option<Thing>,
    after: Option<Thing>,
    action: &'static str,
    by: String,
}

#[derive(Debug, Serialize)]
struct ErrorReport {
    exit: u8,
    message: String,
}

/// A value of a sysctl or the attributes of an object.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Thing {
    Number(Integer),
    Sem([i32; 4]),
    Object(ObjectThing),
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ObjectThing {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<Integer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nsems: Option<Integer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Vec<u16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<Integer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_messages: Option<Integer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_size: Option<Integer>,
    mode: String,
    uid: u32,
    gid: u32,
}

impl<'r> Report<'r> {
    /// Of a plan that was not carried out.
    pub fn planned(subject: &Subject<'r>, plan: &Plan) -> Report<'r> {
        let steps = plan.steps.iter().map(|s| step(s, None)).collect();
        Report { steps, warnings: plan.warnings.clone(), ..Report::empty(subject, "planned") }
    }

    /// Of a plan that was carried out, or taken back.
    pub fn applied(subject: &Subject<'r>, plan: &Plan, outcome: &Outcome) -> Report<'r> {
        let steps = plan.steps.iter().zip(&outcome.after).map(|(s, after)| step(s, after.as_ref())).collect();
        let word = match outcome.ending {
            Ending::Done => "done",
            Ending::Undone => "undone",
            Ending::Partial => "partial",
        };
        let error = outcome.error.as_ref().map(ErrorReport::new);
        Report { steps, error, warnings: plan.warnings.clone(), ..Report::empty(subject, word) }
    }

    /// Of a request that was refused before anything was changed.
    pub fn refused(subject: &Subject<'r>, error: &Error) -> Report<'r> {
        Report { error: Some(ErrorReport::new(error)), ..Report::empty(subject, "refused") }
    }

    fn empty(subject: &Subject<'r>, outcome: &'static str) -> Report<'r> {
        Report {
            format: FORMAT,
            container: subject.container,
            namespace: subject.namespace,
            spec: if subject.spec_checked { "checked" } else { "unavailable" },
            steps: Vec::new(),
            outcome,
            error: None,
            warnings: Vec::new(),
        }
    }

    /// JSON for reading, over several lines.
    pub fn to_pretty_json(&self) -> String {
        pretty(self)
    }
}

impl ErrorReport {
    fn new(error: &Error) -> Self {
        let exit: Exit = error.exit();
        ErrorReport { exit: exit as u8, message: error.to_string() }
    }
}

fn step(step: &Step, after: Option<&After>) -> StepReport {
    let (kind, name, before, wanted) = match &step.change {
        Change::Sysctl { sysctl, before, wanted } => {
            ("sysctl", sysctl.name().to_owned(), Some(value(*before)), Some(value(*wanted)))
        }
        Change::Object { spec, before, .. } => {
            (spec.id.kind().name(), spec.id.name(), before.as_deref().map(existing), Some(wanted_object(spec)))
        }
    };
    let after = after.map(|a| match a {
        After::Sysctl(v) => value(*v),
        After::Object(object) => existing(object),
    });
    StepReport { kind, name, before, wanted, after, action: step.action.name(), by: step.by.to_string() }
}

fn value(value: SysctlValue) -> Thing {
    match value {
        SysctlValue::Number(n) => Thing::Number(Integer(n)),
        SysctlValue::Sem(fields) => Thing::Sem(fields),
    }
}

fn owned(owner: Owner, mode: String) -> ObjectThing {
    ObjectThing { mode, uid: owner.uid, gid: owner.gid, ..ObjectThing::default() }
}

fn wanted_object(spec: &ObjectSpec) -> Thing {
    let base = owned(spec.owner, spec.mode.to_string());
    Thing::Object(match &spec.shape {
        Shape::Shm { size } => ObjectThing { size: Some(Integer(*size)), ..base },
        Shape::Sem { nsems, values } => ObjectThing {
            nsems: Some(Integer(u64::from(*nsems))),
            values: (!values.is_empty()).then(|| values.clone()),
            ..base
        },
        Shape::Msg { max_bytes } => ObjectThing { max_bytes: max_bytes.map(Integer), ..base },
        Shape::Mqueue { max_messages, message_size } => {
            ObjectThing { max_messages: max_messages.map(Integer), message_size: message_size.map(Integer), ..base }
        }
    })
}

fn existing(object: &Existing) -> Thing {
    let base = ObjectThing { id: object.sysv_id, ..owned(object.owner, object.mode.to_string()) };
    let extent = Some(Integer(object.extent));
    Thing::Object(match object.kind {
        Kind::Shm => ObjectThing { size: extent, ..base },
        Kind::Sem => ObjectThing { nsems: extent, ..base },
        Kind::Msg => ObjectThing { max_bytes: extent, ..base },
        Kind::Mqueue => ObjectThing { max_messages: extent, message_size: Some(Integer(object.message_size)), ..base },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_from_two_to_the_53_are_strings() {
        let show = |n| serde_json::to_string(&Integer(n)).unwrap();
        assert_eq!(show((1 << 53) - 1), "9007199254740991");
        assert_eq!(show(1 << 53), "\"9007199254740992\"");
    }

    #[test]
    fn a_refusal() {
        let subject = Subject { container: Some("x"), ..Subject::default() };
        let report = Report::refused(&subject, &Error::denied("a", "b"));
        assert_eq!(
            line(&report),
            r#"{"format":"oci-ipc-hook.report/1","container":"x","namespace":null,"spec":"unavailable","steps":[],"outcome":"refused","error":{"exit":3,"message":"a: b"},"warnings":[]}"#
        );
    }
}
