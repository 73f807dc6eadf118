//! Finds out whether containers on this machine would be prepared, and why not. Each part gives findings; only `container`
//! needs to be asked for.

mod container;
mod engines;
mod install;
mod kernel;
mod namespaces;
mod programs;
mod rights;

pub use container::Question;

use crate::error::Exit;
use crate::finding::{Finding, Level};
use crate::text::escape;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// Name and version of the JSON format.
pub const FORMAT: &str = "oci-ipc-hook.doctor/1";

/// Findings about one part.
#[derive(Debug, Serialize)]
pub struct Section {
    /// Which part.
    pub name: &'static str,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    format: &'static str,
    /// The parts.
    pub sections: Vec<Section>,
}

/// Looks at everything below `root` (`/`) and answers `question`, if there is one.
pub fn examine(root: &Path, question: Option<&Question>) -> Diagnosis {
    let programs = programs::find(root);
    let mut sections = vec![
        Section { name: "kernel", findings: kernel::findings() },
        Section { name: "privileges", findings: rights::findings() },
        Section { name: "installation", findings: install::findings() },
        Section { name: "engines", findings: engines::findings(root, &programs) },
        Section { name: "namespaces", findings: namespaces::findings(root) },
    ];
    if let Some(question) = question {
        sections.push(Section { name: "container", findings: question.findings(root) });
    }
    Diagnosis { format: FORMAT, sections }
}

impl Diagnosis {
    fn count(&self, level: Level) -> usize {
        self.sections.iter().flat_map(|s| &s.findings).filter(|f| f.level == level).count()
    }

    /// 1 with a problem, 4 when something could not be told, else 0.
    pub fn exit(&self) -> Exit {
        match (self.count(Level::Problem), self.count(Level::Unknown)) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::Unsupported,
            _ => Exit::Failed,
        }
    }

    /// For people: a line for each finding, its remedy below it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for section in &self.sections {
            let _ = writeln!(out, "{}", section.name);
            for Finding { level, what, found, remedy } in &section.findings {
                let _ = writeln!(out, "  {:<8} {}: {}", level.word(), escape(what), escape(found));
                if let Some(remedy) = remedy {
                    let _ = writeln!(out, "           -> {}", escape(remedy));
                }
            }
        }
        let words = [(Level::Problem, "problem"), (Level::Warning, "warning"), (Level::Unknown, "unknown")];
        let counted = words.into_iter().map(|(level, word)| (self.count(level), word)).filter(|(n, _)| *n > 0);
        let counted: Vec<_> = counted
            .map(|(n, word)| format!("{n} {word}{}", if n == 1 || word == "unknown" { "" } else { "s" }))
            .collect();
        let _ = match counted.is_empty() {
            true => writeln!(out, "all is well"),
            false => writeln!(out, "{}", counted.join(", ")),
        };
        out
    }
}
