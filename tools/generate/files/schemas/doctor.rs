//! `oci-ipc-hook.doctor/1`, as `src/doctor` and `src/finding.rs` have it.

#![allow(dead_code)]

use schemars::JsonSchema;

/// Whether containers of this machine would be prepared.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Output of oci-ipc-hook doctor --json")]
pub(super) struct Diagnosis {
    /// Name and version of this format.
    #[schemars(extend("const" = "oci-ipc-hook.doctor/1"))]
    format: String,
    sections: Vec<Section>,
}

/// Findings about one part.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Section {
    name: Part,
    findings: Vec<Finding>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Part {
    Kernel,
    Privileges,
    Installation,
    Engines,
    Namespaces,
    /// The one that was asked for.
    Container,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Finding {
    level: Level,
    /// What it is about: a file, a feature, an engine.
    what: String,
    found: String,
    /// What can be done about it.
    remedy: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// Cannot be found out from here.
    Unknown,
    /// Works, but perhaps not as meant.
    Warning,
    /// Does not work.
    Problem,
}
