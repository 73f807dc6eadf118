//! A plan for people: one line a step, aligned, with who asks for it.

use super::{Change, Plan, Step, build::describe};
use crate::ipc::{ObjectSpec, Shape};
use std::fmt::{self, Write as _};

/// The steps and warnings as text, each line ending in a newline.
pub fn text(plan: &Plan) -> String {
    let rows: Vec<[String; 4]> = plan.steps.iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let (action, what, change) = (width(0), width(1), width(2).min(72));
    let mut out = String::new();
    for [a, w, c, by] in &rows {
        let line = format!("{a:<action$}  {w:<what$}  {c:<change$}  {by}");
        let _ = writeln!(out, "{}", crate::text::escape(&line));
    }
    for warning in &plan.warnings {
        let _ = writeln!(out, "warning: {}", crate::text::escape(warning));
    }
    out
}

fn row(step: &Step) -> [String; 4] {
    let change = match &step.change {
        Change::Sysctl { before, wanted, .. } if before == wanted => before.to_string(),
        Change::Sysctl { before, wanted, .. } => format!("{before} → {wanted}"),
        Change::Object { spec, before: None, .. } => spec_text(spec),
        Change::Object { spec, before: Some(before), .. } => match step.action {
            super::Action::None => describe(before),
            _ => format!("{} → {}", describe(before), spec_text(spec)),
        },
    };
    [step.action.name().to_owned(), step.what(), change, step.by.to_string()]
}

/// What an object will be, in a few words.
pub fn spec_text(spec: &ObjectSpec) -> String {
    SpecText(spec).to_string()
}

/// The same, to be written where it belongs.
pub(crate) struct SpecText<'s>(pub(crate) &'s ObjectSpec);

impl fmt::Display for SpecText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectSpec { shape, mode, owner, .. } = self.0;
        match shape {
            Shape::Shm { size } => write!(f, "size {size}")?,
            Shape::Sem { nsems, values } if values.is_empty() => write!(f, "nsems {nsems}")?,
            Shape::Sem { values, .. } => {
                for (i, value) in values.iter().take(8).enumerate() {
                    write!(f, "{}{value}", if i == 0 { "values " } else { "," })?;
                }
                f.write_str(if values.len() > 8 { ",…" } else { "" })?;
            }
            Shape::Msg { max_bytes: Some(bytes) } => write!(f, "max-bytes {bytes}")?,
            Shape::Msg { max_bytes: None } => f.write_str("max-bytes kernel.msgmnb")?,
            Shape::Mqueue { max_messages, message_size } => {
                let (messages, size) = (max_messages.unwrap_or(0), message_size.unwrap_or(0));
                write!(f, "max-messages {messages}, message-size {size}")?;
            }
        }
        write!(f, ", mode {mode}, owner {owner}")
    }
}
