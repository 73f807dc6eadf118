//! What this process may do, which is what a hook that is started from here may do.

use crate::finding::Finding;
use crate::kernel::identity::{CapSet, Capabilities, effective_ids};
use crate::kernel::limits::QueueLimit;
use crate::policy::budget::msgqueue_bytes;

/// What the hook needs, and for what.
const NEEDED: [(CapSet, &str, &str); 7] = [
    (CapSet::SYS_ADMIN, "CAP_SYS_ADMIN", "join a container's namespace"),
    (CapSet::SYS_PTRACE, "CAP_SYS_PTRACE", "open the namespace of a process of another user"),
    (CapSet::SETUID, "CAP_SETUID", "make objects for another user"),
    (CapSet::SETGID, "CAP_SETGID", "make objects for another group"),
    (CapSet::SETPCAP, "CAP_SETPCAP", "keep its rights while it acts for another user"),
    (CapSet::IPC_OWNER, "CAP_IPC_OWNER", "look at objects of others"),
    (CapSet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "look at queues of others"),
];

pub(super) fn findings() -> Vec<Finding> {
    let mut all = match Capabilities::own() {
        Ok(own) => vec![user(own.effective), limits_may_be_exceeded(own.effective)],
        Err(e) => vec![Finding::unknown("capabilities", e.to_string(), "is this a Linux kernel?")],
    };
    all.push(queue_limit());
    all
}

fn user(effective: CapSet) -> Finding {
    let uid = effective_ids().uid;
    let missing: Vec<_> = NEEDED.iter().filter(|(cap, ..)| !effective.has(*cap)).collect();
    if missing.is_empty() {
        let inside = if in_user_namespace() { " of a user namespace" } else { "" };
        return Finding::ok("capabilities", format!("uid {uid}{inside} has all that the hook needs"));
    }
    let words: Vec<_> = missing.iter().map(|(_, name, what)| format!("{name} (to {what})")).collect();
    match uid {
        0 => Finding::problem(
            "capabilities",
            format!("root without {}", words.join(", ")),
            "give the engine's service these capabilities (CapabilityBoundingSet=)",
        ),
        _ => Finding::unknown(
            "capabilities",
            format!(
                "uid {uid}: for one's own rootless containers this is enough; what the hook may do under root's engines cannot be seen from here"
            ),
            "run doctor as root, or for rootless podman 'podman unshare oci-ipc-hook doctor'",
        ),
    }
}

fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().ne(["0", "0", "4294967295"])
}

fn limits_may_be_exceeded(effective: CapSet) -> Finding {
    match effective.has(CapSet::SYS_RESOURCE) {
        true => Finding::ok("CAP_SYS_RESOURCE", "RLIMIT_MSGQUEUE can be raised as needed"),
        false => Finding::warning(
            "CAP_SYS_RESOURCE",
            "missing: RLIMIT_MSGQUEUE cannot be raised, and POSIX queues stay within the namespace's limits",
            "give it to the engine's service, or raise LimitMSGQUEUE= there, if profiles ask for many or large POSIX queues",
        ),
    }
}

fn queue_limit() -> Finding {
    let what = "RLIMIT_MSGQUEUE";
    let one = msgqueue_bytes(10, 8192);
    match QueueLimit::own() {
        Ok(limit) if limit.soft == u64::MAX => Finding::ok(what, "unlimited"),
        Ok(limit) if limit.hard < one => Finding::warning(
            what,
            format!("{} bytes: not enough for one queue of 10 messages of 8192 bytes, which takes {one}", limit.hard),
            "raise LimitMSGQUEUE= of the engine's service, or ulimit -q of the shell that starts it",
        ),
        Ok(limit) => Finding::ok(
            what,
            format!(
                "{} bytes for all POSIX queues of one user on this machine, {} at most: room for {} queues of default size",
                limit.soft,
                if limit.hard == u64::MAX { "without limit".to_owned() } else { limit.hard.to_string() },
                limit.soft / one
            ),
        ),
        Err(e) => Finding::unknown(what, e.to_string(), "see ulimit -q"),
    }
}
