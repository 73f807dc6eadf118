//! The profiles that the cases ask for, and what a workload must see of them.

use crate::outcome::Outcome;
use crate::seen::Seen;
use serde_json::json;

/// uid and gid of the ordinary workload.
pub const WORKLOAD: (u32, u32) = (1001, 1002);

/// All sysctls and one object of each kind. Nothing is lowered, which a shared namespace would refuse.
pub const FULL: &str = r#"format = 1
description = "all sysctls and one object of each kind"

[sysctl]
"kernel.msgmax" = 12345
"kernel.msgmnb" = 54321
"kernel.msgmni" = 32123
"kernel.sem" = "32123 1024000123 623 32234"
"kernel.shmall" = "18446744073709551615"
"kernel.shmmax" = "18446744073709550000"
"kernel.shmmni" = 5678
"kernel.shm_rmid_forced" = 0
"fs.mqueue.msg_default" = 11
"fs.mqueue.msg_max" = 64
"fs.mqueue.msgsize_default" = 9000
"fs.mqueue.msgsize_max" = 16384
"fs.mqueue.queues_max" = 321

[[shm]]
key = "0x4d510001"
size = "1MiB"
mode = "0660"
owner = "1001:1002"

[[sem]]
key = "0x5101"
values = [1, 0, 5]
mode = "0640"

[[msg]]
key = "0x77"
max-bytes = "32KiB"

[[mqueue]]
name = "/orders"
max-messages = 12
message-size = 512
mode = "0620"
"#;

/// The sysctls of [`FULL`] as the workload reads them.
pub const FULL_SYSCTLS: [(&str, &str); 13] = [
    ("kernel.msgmax", "12345"),
    ("kernel.msgmnb", "54321"),
    ("kernel.msgmni", "32123"),
    ("kernel.sem", "32123 1024000123 623 32234"),
    ("kernel.shmall", "18446744073709551615"),
    ("kernel.shmmax", "18446744073709550000"),
    ("kernel.shmmni", "5678"),
    ("kernel.shm_rmid_forced", "0"),
    ("fs.mqueue.msg_default", "11"),
    ("fs.mqueue.msg_max", "64"),
    ("fs.mqueue.msgsize_default", "9000"),
    ("fs.mqueue.msgsize_max", "16384"),
    ("fs.mqueue.queues_max", "321"),
];

/// The kernel's defaults of a new namespace.
pub const UNTOUCHED: [(&str, &str); 4] = [
    ("kernel.msgmax", "8192"),
    ("kernel.sem", "32000 1024000000 500 32000"),
    ("kernel.shmmni", "4096"),
    ("fs.mqueue.msg_max", "10"),
];

/// Options of the client that open the objects of [`FULL`].
pub const FULL_OBJECTS: [&str; 8] = ["--shm", "0x4d510001", "--sem", "0x5101", "--msg", "0x77", "--mqueue", "/orders"];

/// Smaller than the kernel's defaults, all that can be smaller.
pub const LOWER: &str = r#"format = 1
[sysctl]
"kernel.msgmax" = 4096
"kernel.msgmnb" = 8192
"kernel.msgmni" = "<= 16"
"kernel.sem" = "<= 250 32000 100 128"
"kernel.shmall" = "<= 256MiB"
"kernel.shmmax" = "<= 64MiB"
"kernel.shmmni" = 64
"fs.mqueue.msg_max" = 4
"fs.mqueue.msg_default" = 4
"fs.mqueue.msgsize_max" = 1024
"fs.mqueue.msgsize_default" = 1024
"fs.mqueue.queues_max" = 2
"#;

/// The sysctls of [`LOWER`].
pub const LOWER_SYSCTLS: [(&str, &str); 12] = [
    ("kernel.msgmax", "4096"),
    ("kernel.msgmnb", "8192"),
    ("kernel.msgmni", "16"),
    ("kernel.sem", "250 32000 100 128"),
    ("kernel.shmall", "65536"),
    ("kernel.shmmax", "67108864"),
    ("kernel.shmmni", "64"),
    ("fs.mqueue.msg_max", "4"),
    ("fs.mqueue.msg_default", "4"),
    ("fs.mqueue.msgsize_max", "1024"),
    ("fs.mqueue.msgsize_default", "1024"),
    ("fs.mqueue.queues_max", "2"),
];

/// `kernel.shm_rmid_forced` = 1 goes with no segment, so it has a profile of its own.
pub const FORCED: &str = "format = 1\n[sysctl]\n\"kernel.shm_rmid_forced\" = 1\n";

/// A queue larger than the namespace's limit.
pub const IMPOSSIBLE: &str = "format = 1\n[[msg]]\nkey = 0x51\nmax-bytes = \"1MiB\"\n";

/// What the reason for refusing [`IMPOSSIBLE`] must name.
pub const IMPOSSIBLE_REASON: [&str; 2] = ["msgmnb", "0x00000051"];

/// One sysctl, to exactly this.
pub fn exactly(name: &str, value: u64) -> String {
    format!("format = 1\n[sysctl]\n\"{name}\" = {value}\n")
}

/// One sysctl, to at least this.
pub fn at_least(name: &str, value: u64) -> String {
    format!("format = 1\n[sysctl]\n\"{name}\" = \">= {value}\"\n")
}

/// Fails unless the workload sees all of [`FULL`], objects without an owner belonging to `user`.
pub fn full_is_there(seen: &Seen, user: (u32, u32)) -> Outcome {
    let owner = |(uid, gid): (u32, u32)| json!({"uid": uid, "gid": gid, "cuid": uid, "cgid": gid});
    let with = |mut fields: serde_json::Value, more: serde_json::Value| {
        if let (Some(fields), serde_json::Value::Object(more)) = (fields.as_object_mut(), more) {
            fields.extend(more);
        }
        fields
    };
    seen.sysctls_are(&FULL_SYSCTLS)?;
    seen.object_is("shm", "0x4d510001", &with(owner(WORKLOAD), json!({"size": 1 << 20, "mode": "0660", "first": 0})))?;
    let sem = json!({"mode": "0640", "values": [1, 0, 5], "initialised": true});
    seen.object_is("sem", "0x5101", &with(owner(user), sem))?;
    seen.object_is("msg", "0x77", &with(owner(user), json!({"mode": "0600", "qbytes": 32768, "messages": 0})))?;
    let queue =
        json!({"uid": user.0, "gid": user.1, "mode": "0620", "max-messages": 12, "message-size": 512, "messages": 0});
    seen.object_is("mqueue", "/orders", &queue)
}

/// Fails unless the namespace is as the kernel made it.
pub fn nothing_is_there(seen: &Seen) -> Outcome {
    seen.sysctls_are(&UNTOUCHED)?;
    seen.object_is_absent("shm", "0x4d510001")?;
    seen.object_is_absent("sem", "0x5101")?;
    seen.object_is_absent("msg", "0x77")?;
    seen.object_is_absent("mqueue", "/orders")
}
