//! oci-ipc-hook-profile(5).

use super::value::{count, size, wish};
use oci_ipc_hook::ipc::Sysctl;
use oci_ipc_hook::ipc::sysctl::Unit;
use serde_json::{Map, Value, json};

pub(super) fn schema() -> Value {
    json!({
        "title": "Profile of oci-ipc-hook",
        "description": "What the IPC namespace of a container shall hold; see oci-ipc-hook-profile(5).",
        "type": "object",
        "properties": {
            "format": { "description": "Version of the format.", "const": 1 },
            "description": { "description": "What the profile is for, in one line.", "type": "string" },
            "source": { "description": "Where its numbers come from.", "type": "string" },
            "sysctl": sysctls(),
            "shm": list("System V shared memory segments.", "shm"),
            "sem": list("System V semaphore sets.", "sem"),
            "msg": list("System V message queues.", "msg"),
            "mqueue": list("POSIX message queues.", "mqueue")
        },
        "required": ["format"],
        "additionalProperties": false,
        "$defs": { "shm": shm(), "sem": sem(), "msg": msg(), "mqueue": mqueue() }
    })
}

fn list(description: &str, kind: &str) -> Value {
    json!({ "description": description, "type": "array", "items": { "$ref": format!("#/$defs/{kind}") } })
}

fn sysctls() -> Value {
    let properties: Map<_, _> = Sysctl::ALL
        .iter()
        .map(|sysctl| {
            let mut schema = wish(*sysctl);
            schema["description"] = json!(about(*sysctl));
            (sysctl.name().to_owned(), schema)
        })
        .collect();
    json!({
        "description": "Wanted sysctls. A value alone: exactly; \">= v\": at least; \"<= v\": at most.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false
    })
}

/// What a sysctl is, its unit and the kernel's default, in one line.
pub(super) fn about(sysctl: Sysctl) -> String {
    let what = match sysctl {
        Sysctl::Msgmax => "Largest System V message",
        Sysctl::Msgmnb => "Capacity of a new System V message queue",
        Sysctl::Msgmni => "System V message queues",
        Sysctl::Sem => "SEMMSL SEMMNS SEMOPM SEMMNI: semaphores of a set, of all sets, operations of a semop(2), sets",
        Sysctl::Shmall => "All System V shared memory together",
        Sysctl::Shmmax => "Largest System V shared memory segment",
        Sysctl::Shmmni => "System V shared memory segments",
        Sysctl::ShmRmidForced => "Whether segments without an attached process are destroyed",
        Sysctl::MqMsgDefault => "Messages of a new POSIX queue for which no number is asked",
        Sysctl::MqMsgMax => "Most messages of a POSIX queue",
        Sysctl::MqMsgsizeDefault => "Message size of a new POSIX queue for which none is asked",
        Sysctl::MqMsgsizeMax => "Largest message size of a POSIX queue",
        Sysctl::MqQueuesMax => "POSIX queues",
    };
    let unit = match sysctl.unit() {
        Unit::Bytes => ", in bytes",
        Unit::Pages => ", in pages",
        Unit::Count | Unit::Flag => "",
    };
    format!("{what}{unit}; the kernel's default is {}.", sysctl.kernel_default())
}

/// An object's table: its own keys and those of every kind.
fn object(own: Value, required: &[&str]) -> Value {
    let mut properties = json!({
        "mode": {
            "description": "Permission bits in octal; default 0600.",
            "type": "string",
            "pattern": "^(0?[0-7]{3})$"
        },
        "owner": {
            "description": "uid:gid as the container sees them; default: the user of config.json.",
            "type": "string",
            "pattern": "^(0|[1-9][0-9]{0,9}):(0|[1-9][0-9]{0,9})$"
        },
        "if-exists": {
            "description": "What to do with one that is there already; \"replace\" destroys its content.",
            "enum": ["keep", "fail", "replace"],
            "default": "keep"
        },
        "on-stop": {
            "description": "What happens to it when the container stops and the namespace lives on.",
            "enum": ["keep", "remove"],
            "default": "keep"
        }
    });
    if let (Some(all), Value::Object(own)) = (properties.as_object_mut(), own) {
        all.extend(own);
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// A System V key, 32 bits, never 0.
fn key() -> Value {
    let number = count(1, 255);
    json!({
        "description": "The object's key: a number, a string with a decimal or hexadecimal one, or what ftok(3) makes of a file.",
        "anyOf": [
            { "type": "integer", "minimum": i32::MIN, "maximum": u32::MAX, "not": { "const": 0 } },
            { "type": "string", "pattern": "^(-?[1-9][0-9]{0,9}|0x0{0,8}[0-9a-fA-F]{1,8})$", "not": { "pattern": "^0x0+$" } },
            {
                "type": "object",
                "properties": {
                    "ftok": {
                        "description": "A file of the container, by its absolute path.",
                        "type": "string",
                        "pattern": "^/",
                        "maxLength": 4095
                    },
                    "id": described(number, "The second argument of ftok(3).")
                },
                "required": ["ftok", "id"],
                "additionalProperties": false
            }
        ]
    })
}

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = json!(description);
    schema
}

fn shm() -> Value {
    let size = described(size(1, i64::MAX as u64), "Bytes, or a size such as \"64MiB\".");
    object(json!({ "key": key(), "size": size }), &["key", "size"])
}

fn sem() -> Value {
    let value = count(0, 32767);
    let own = json!({
        "key": key(),
        "nsems": described(count(1, i32::MAX as u64), "Number of semaphores, all with value 0."),
        "values": { "description": "Initial values.", "type": "array", "items": value, "minItems": 1 }
    });
    let mut schema = object(own, &["key"]);
    schema["oneOf"] = json!([{ "required": ["nsems"] }, { "required": ["values"] }]);
    schema
}

fn msg() -> Value {
    let bytes = described(size(1, i32::MAX as u64), "Capacity in bytes; default: kernel.msgmnb.");
    object(json!({ "key": key(), "max-bytes": bytes }), &["key"])
}

fn mqueue() -> Value {
    let own = json!({
        "name": {
            "description": "Name with its slash.",
            "type": "string",
            "pattern": "^/[^/\\u0000]{1,255}$",
            "not": { "enum": ["/.", "/.."] }
        },
        "max-messages": described(count(1, 65536), "Messages that it holds; default: fs.mqueue.msg_default."),
        "message-size": described(size(1, 16 << 20), "Bytes of a message; default: fs.mqueue.msgsize_default.")
    });
    object(own, &["name"])
}
