//! What the workload reported from inside its container.

use crate::outcome::{Outcome, Stop, equal};
use serde_json::Value;

/// The lines of `ipc-client`.
#[derive(Default)]
pub struct Seen {
    lines: Vec<Value>,
    /// The client came to its end.
    pub complete: bool,
    /// Lines that are not the client's.
    pub other: Vec<String>,
}

impl Seen {
    /// Takes in one line of output.
    pub fn add(&mut self, line: &str) {
        match serde_json::from_str::<Value>(line) {
            Ok(value) if value["type"] == "end" => self.complete = true,
            Ok(value) if value["type"].is_string() => self.lines.push(value),
            _ => self.other.push(line.to_owned()),
        }
    }

    fn find(&self, kind: &str, field: &str, name: &str) -> Outcome<&Value> {
        let found = self.lines.iter().find(|line| line["type"] == kind && line[field] == name);
        found.ok_or_else(|| Stop::Fail(format!("the workload reported no {kind} {name}")))
    }

    /// The value of a sysctl, blanks between numbers made one.
    pub fn sysctl(&self, name: &str) -> Outcome<&str> {
        let line = self.find("sysctl", "name", name)?;
        line["value"].as_str().ok_or_else(|| Stop::Fail(format!("{name} inside: {}", line["error"])))
    }

    /// The report on an object named by key, or by name for `mqueue`.
    pub fn object(&self, kind: &str, name: &str) -> Outcome<&Value> {
        self.find(kind, if kind == "mqueue" { "name" } else { "key" }, name)
    }

    /// The workload's IPC namespace, such as `ipc:[4026532177]`.
    pub fn namespace(&self) -> Outcome<&str> {
        let process = self.lines.iter().find(|line| line["type"] == "process");
        process
            .and_then(|line| line["namespace"].as_str())
            .ok_or_else(|| Stop::Fail("the workload did not report its namespace".to_owned()))
    }

    /// A number out of the line about the process itself, such as its uid.
    pub fn process(&self, field: &str) -> Option<i64> {
        self.lines.iter().find(|line| line["type"] == "process").and_then(|line| line[field].as_i64())
    }

    /// Fails unless each sysctl has the value.
    pub fn sysctls_are(&self, wanted: &[(&str, &str)]) -> Outcome {
        wanted.iter().try_for_each(|(name, value)| equal(name, self.sysctl(name)?, *value))
    }

    /// Fails unless the object has every field of `wanted` with that value.
    pub fn object_is(&self, kind: &str, name: &str, wanted: &Value) -> Outcome {
        let found = self.object(kind, name)?;
        let fields = wanted.as_object().ok_or_else(|| Stop::Fail("a test wants no fields".to_owned()))?;
        for (field, value) in fields {
            if found[field] != *value {
                return Err(Stop::Fail(format!("{kind} {name}: {field}: wanted {value}, found {found}")));
            }
        }
        Ok(())
    }

    /// Fails unless opening the object failed as for one that does not exist.
    pub fn object_is_absent(&self, kind: &str, name: &str) -> Outcome {
        let line = self.object(kind, name)?;
        match line["error"].as_str() {
            Some(error) if error.contains("No such file") => Ok(()),
            _ => Err(Stop::Fail(format!("{kind} {name} should not exist: {line}"))),
        }
    }
}
