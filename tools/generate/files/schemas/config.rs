//! oci-ipc-hook.toml(5), with the defaults of the program.

use super::profile::about;
use super::value::{ceiling, count, size};
use oci_ipc_hook::ipc::Sysctl;
use oci_ipc_hook::policy::Config;
use serde_json::{Map, Value, json};

pub(super) fn schema() -> Value {
    let default = Config::default();
    let table = |properties: Value, description: &str| {
        json!({
            "description": description,
            "type": "object",
            "properties": properties,
            "additionalProperties": false
        })
    };
    let with_default = |mut schema: Value, value: Value, description: &str| {
        schema["default"] = value;
        schema["description"] = json!(description);
        schema
    };
    let charge = with_default(
        size(0, u64::MAX),
        json!(default.charge_above.value),
        "Estimated kernel memory above which the hook creates in the container's cgroup.",
    );
    let when = json!({
        "description": "When a record of what was done is kept.",
        "enum": ["needed", "always"],
        "default": "needed"
    });
    json!({
        "title": "Policy of oci-ipc-hook",
        "description": "What containers may ask for; see oci-ipc-hook.toml(5).",
        "type": "object",
        "properties": {
            "format": { "description": "Version of the format.", "const": 1 },
            "policy": table(policy(&default), "What annotations may ask for."),
            "charge": table(json!({ "container-cgroup-above": charge }), "Who pays for kernel memory."),
            "record": table(json!({ "when": when }), "Records below /run/oci-ipc-hook.")
        },
        "required": ["format"],
        "additionalProperties": false
    })
}

fn policy(default: &Config) -> Value {
    json!({
        "annotations": {
            "description": "Nothing, profiles by name, or also sysctls and objects written out.",
            "enum": ["none", "profiles", "inline"],
            "default": "profiles"
        },
        "allowed-profiles": {
            "description": "Names of profiles that containers may name; * stands for any characters.",
            "type": "array",
            "items": { "type": "string" },
            "default": default.allowed_profiles.value
        },
        "on-error": {
            "description": "What a failure means: the start fails, or the container starts unprepared.",
            "enum": ["fail", "warn"],
            "default": "fail"
        },
        "lower-in-shared": {
            "description": "Whether a limit may be lowered in a namespace that others use.",
            "type": "boolean",
            "default": default.lower_in_shared.value
        },
        "ceiling": ceilings(default)
    })
}

fn ceilings(default: &Config) -> Value {
    let mut properties: Map<String, Value> = Sysctl::ALL
        .iter()
        .zip(&default.ceiling.sysctls)
        .map(|(sysctl, rule)| {
            let mut schema = ceiling(*sysctl);
            schema["description"] = json!(about(*sysctl));
            schema["default"] = match rule.value {
                Some(value) if *sysctl == Sysctl::Sem => json!(value.to_string()),
                Some(value) => json!(value.number()),
                None => json!("denied"),
            };
            (sysctl.name().to_owned(), schema)
        })
        .collect();
    for (name, mut schema, value, description) in [
        ("objects", count(0, u64::MAX), default.ceiling.objects.value, "Objects of one container."),
        ("shm-bytes", size(0, u64::MAX), default.ceiling.shm_bytes.value, "Bytes of all its segments."),
        (
            "kernel-memory",
            size(0, u64::MAX),
            default.ceiling.kernel_memory.value,
            "Kernel memory of one run, by estimate.",
        ),
    ] {
        schema["default"] = json!(value);
        schema["description"] = json!(description);
        properties.insert(name.to_owned(), schema);
    }
    json!({
        "description": "The most that annotations may write out; \"denied\": nothing.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false
    })
}
