//! Kernel memory that objects cost, before they are made. The kernel allocates it all at creation and charges it to the
//! cgroup of the creating task (`newary`, `newseg`, `newque`: GFP_KERNEL_ACCOUNT).

use crate::ipc::Shape;

/// Bytes that a slab adds to each accounted allocation for its owner.
const SLAB_OWNER: u64 = 8;
/// Upper estimate of `struct sem_array` with its list heads.
const SEM_HEADER: u64 = 320;
/// `struct sem` is padded to a cache line.
const SEM_EACH: u64 = 64;

/// Estimated kernel bytes of one new object without content, measured on Linux 6.18 and rounded up.
/// A semaphore set is one allocation, rounded up to a power of two: 32000 semaphores cost 2 MiB.
pub fn kernel_bytes(shape: &Shape) -> u64 {
    match shape {
        Shape::Shm { .. } => 1440,
        Shape::Msg { .. } => 272,
        Shape::Mqueue { .. } => 1400,
        Shape::Sem { nsems, .. } => (SEM_HEADER + SEM_EACH * u64::from(*nsems)).next_power_of_two() + SLAB_OWNER,
    }
}

/// Bytes that a POSIX queue counts against RLIMIT_MSGQUEUE of its creator, exactly (mq_overview(7), `mqueue_get_inode`):
/// payload, a message header each, and a tree node for each possible priority.
pub fn msgqueue_bytes(max_messages: u64, message_size: u64) -> u64 {
    const HEADER: u64 = 48;
    const TREE_NODE: u64 = 48;
    const PRIORITIES: u64 = 32768;
    let nodes = max_messages.min(PRIORITIES);
    max_messages.saturating_mul(message_size.saturating_add(HEADER)).saturating_add(nodes * TREE_NODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_what_was_measured() {
        for (nsems, measured) in [(1, 520), (10, 1032), (100, 8200), (1000, 65536), (32000, 2_097_152)] {
            let estimate = kernel_bytes(&Shape::Sem { nsems, values: Vec::new() });
            assert!(estimate >= measured && estimate <= measured + SLAB_OWNER, "{nsems}: {estimate} for {measured}");
        }
        for (shape, measured) in [
            (Shape::Shm { size: 1 << 40 }, 1425),
            (Shape::Msg { max_bytes: None }, 264),
            (Shape::Mqueue { max_messages: Some(65536), message_size: Some(1) }, 1385),
        ] {
            let estimate = kernel_bytes(&shape);
            assert!(estimate >= measured && estimate <= measured + 16, "{shape:?}: {estimate} for {measured}");
        }
    }

    #[test]
    fn a_set_that_no_longer_fits_takes_the_next_power_of_two() {
        let bytes = |nsems| kernel_bytes(&Shape::Sem { nsems, values: Vec::new() }) - SLAB_OWNER;
        assert_eq!([bytes(3), bytes(4), bytes(11), bytes(12)], [512, 1024, 1024, 2048]);
        assert_eq!([bytes(32_763), bytes(32_764)], [2 << 20, 4 << 20]);
    }

    #[test]
    fn a_default_queue_leaves_room_for_nine() {
        let one = msgqueue_bytes(10, 8192);
        assert_eq!(one, 82_880);
        assert!(9 * one <= 819_200 && 10 * one > 819_200);
        assert_eq!(msgqueue_bytes(65536, 1), 65536 * 49 + 32768 * 48);
        assert_eq!(msgqueue_bytes(u64::MAX, u64::MAX), u64::MAX);
    }
}
