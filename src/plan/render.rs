//! A plan for people: one line a step, aligned, with who asks for it.

use super::{Change, Plan, Step, build::describe};
use crate::ipc::{ObjectSpec, Shape};
use std::fmt::Write as _;

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
    let shape = match &spec.shape {
        Shape::Shm { size } => format!("size {size}"),
        Shape::Sem { nsems, values } if values.is_empty() => format!("nsems {nsems}"),
        Shape::Sem { values, .. } => {
            let shown: Vec<_> = values.iter().take(8).map(u16::to_string).collect();
            format!("values {}{}", shown.join(","), if values.len() > 8 { ",…" } else { "" })
        }
        Shape::Msg { max_bytes: Some(bytes) } => format!("max-bytes {bytes}"),
        Shape::Msg { max_bytes: None } => "max-bytes kernel.msgmnb".to_owned(),
        Shape::Mqueue { max_messages, message_size } => {
            format!("max-messages {}, message-size {}", max_messages.unwrap_or(0), message_size.unwrap_or(0))
        }
    };
    format!("{shape}, mode {}, owner {}", spec.mode, spec.owner)
}
