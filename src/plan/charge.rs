//! The kernel memory of a plan: how much it is, who is to pay for it, and whether that one has the room.

use super::{Action, Change, Plan};
use crate::error::{Error, Result};
use crate::policy::{Config, budget};

/// What the hook itself takes while it creates, and what the kernel charges ahead: it books memory in steps of 64 pages for
/// each processor. Measured to be enough, see `docs/memory.md`.
const SPARE: u64 = 512 << 10;

/// Estimated kernel bytes of everything that the plan creates.
pub fn kernel_memory(plan: &Plan) -> u64 {
    let created = plan.steps.iter().filter(|step| step.action != Action::None);
    let bytes = created.filter_map(|step| match &step.change {
        Change::Object { spec, .. } => Some(budget::kernel_bytes(&spec.shape)),
        Change::Sysctl { .. } => None,
    });
    bytes.fold(0, u64::saturating_add)
}

/// True when so many bytes are the container's to pay, by `charge.container-cgroup-above`.
pub fn is_due(bytes: u64, policy: &Config) -> bool {
    bytes > policy.charge_above.value
}

/// What a control group has left of its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that are free or easily freed.
    pub free: u64,
    /// Its limit.
    pub limit: u64,
    /// Its directory.
    pub group: String,
}

/// Whether `bytes` fit: over the limit the kernel kills, it does not refuse.
///
/// # Errors
/// Exit 1, naming the group and its limit.
pub fn fits(bytes: u64, room: &Room) -> Result<()> {
    let needed = bytes.saturating_add(SPARE);
    if needed <= room.free {
        return Ok(());
    }
    Err(Error::failed("kernel memory", format!("the memory limit {} of {} leaves no room", room.limit, room.group))
        .wanted(format!("{bytes} bytes and {SPARE} for the work itself"))
        .found(format!("{} bytes left", room.free))
        .remedy("give the container (or the pod) more memory, or ask for fewer or smaller semaphore sets and queues"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn the_room_is_used_to_the_last_byte() {
        let room = |free| Room { free, limit: 9 << 20, group: "/g".into() };
        assert!(fits(1000, &room(1000 + SPARE)).is_ok());
        let error = fits(1000, &room(999 + SPARE)).unwrap_err();
        assert_eq!(error.exit(), Exit::Failed);
        assert!(error.to_string().starts_with("kernel memory: wanted 1000 bytes and 524288 for the work itself, found 525287 bytes left: the memory limit 9437184 of /g leaves no room"), "{error}");
        assert!(fits(u64::MAX, &room(u64::MAX)).is_ok());
    }

    #[test]
    fn what_is_at_the_threshold_is_the_hooks() {
        let policy = Config::default();
        assert!(!is_due(256 << 10, &policy));
        assert!(is_due((256 << 10) + 1, &policy));
    }
}
