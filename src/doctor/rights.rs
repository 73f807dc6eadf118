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
    all.push(match QueueLimit::own() {
        Ok(limit) => room(limit),
        Err(e) => Finding::unknown("RLIMIT_MSGQUEUE", e.to_string(), "see ulimit -q"),
    });
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

/// How many queues of default size there is room for.
fn room(limit: QueueLimit) -> Finding {
    let what = "RLIMIT_MSGQUEUE";
    let one = msgqueue_bytes(10, 8192);
    match limit {
        QueueLimit { soft: u64::MAX, .. } => Finding::ok(what, "unlimited"),
        QueueLimit { hard, .. } if hard < one => Finding::warning(
            what,
            format!("{hard} bytes: not enough for one queue of 10 messages of 8192 bytes, which takes {one}"),
            "raise LimitMSGQUEUE= of the engine's service, or ulimit -q of the shell that starts it",
        ),
        QueueLimit { soft, hard } => Finding::ok(
            what,
            format!(
                "{soft} bytes for all POSIX queues of one user on this machine, {} at most: room for {} queues of default size",
                if hard == u64::MAX { "without limit".to_owned() } else { hard.to_string() },
                soft / one
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    #[test]
    fn room_is_counted_in_queues() {
        let said = |soft, hard| {
            let finding = room(QueueLimit { soft, hard });
            (finding.level, finding.found)
        };
        // The kernel's limit of 819200 is meant for 10 such queues, but they count with their headers: 9 fit.
        let one = msgqueue_bytes(10, 8192);
        let (level, found) = said(819_200, u64::MAX);
        assert_eq!(level, Level::Ok);
        assert!(found.ends_with("without limit at most: room for 9 queues of default size"), "{found}");
        assert!(said(10 * one, 10 * one).1.contains("room for 10 queues"));
        assert!(said(10 * one - 1, 10 * one).1.contains("room for 9 queues"));
        assert_eq!(said(one, one).0, Level::Ok);
        assert_eq!(said(one - 1, one - 1).0, Level::Warning);
        assert_eq!(said(u64::MAX, u64::MAX).1, "unlimited");
    }

    #[test]
    fn missing_rights_are_named_with_what_they_are_for() {
        let all = NEEDED.iter().fold(CapSet::NONE, |set, (cap, ..)| set.and(*cap));
        assert_eq!(user(all).level, Level::Ok);
        for (cap, name, what) in NEEDED {
            let lacking = user(all.without(cap));
            // An ordinary user is told that it cannot be seen from there.
            let root = effective_ids().uid == 0;
            assert_eq!(lacking.level, if root { Level::Problem } else { Level::Unknown }, "{name}");
            assert!(!root || lacking.found.contains(&format!("root without {name} (to {what})")), "{}", lacking.found);
        }
        assert_eq!(limits_may_be_exceeded(all).level, Level::Warning);
        assert_eq!(limits_may_be_exceeded(CapSet::SYS_RESOURCE).level, Level::Ok);
    }
}
