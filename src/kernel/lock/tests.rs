use super::*;
use crate::kernel::testing::in_child;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe, read, write};
use std::fs::{self, File};
use std::os::linux::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

const FOR_EVER: Patience = Patience { holder: Duration::from_secs(600), total: Duration::from_secs(600) };

#[test]
fn finds_the_holder_of_a_lock() {
    let locks = "1: POSIX  ADVISORY  WRITE 10 00:04:4026532177 0 EOF\n\
                 2: FLOCK  ADVISORY  WRITE 11 00:05:4026532177 0 EOF\n\
                 3: FLOCK  ADVISORY  WRITE 0 00:04:4026532178 0 EOF\n\
                 4: FLOCK  ADVISORY  WRITE 12 00:04:4026532177 0 EOF\n\
                 4: -> FLOCK  ADVISORY  WRITE 13 00:04:4026532177 0 EOF\n\
                 garbage\n5: FLOCK\n";
    let find = |ino| find_holder(locks, NamespaceId { dev: 4, ino });
    assert_eq!(find(4_026_532_177), Some(12));
    assert_eq!(find(4_026_532_178), None);
    assert_eq!(find(1), None);
}

/// A file to lock.
struct Locked {
    path: String,
    _fd: OwnedFd,
}

impl Locked {
    fn new() -> Locked {
        let fd = memfd_create(c"lock", MFdFlags::empty()).unwrap();
        Locked { path: format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()), _fd: fd }
    }

    fn try_it(&self, patience: Patience) -> (OwnedFd, LockResult) {
        let file = File::open(&self.path).unwrap();
        let stat = file.metadata().unwrap();
        let fd = file.into();
        let result = lock(&fd, NamespaceId { dev: stat.st_dev(), ino: stat.st_ino() }, patience).unwrap();
        (fd, result)
    }

    fn hold(&self) -> OwnedFd {
        let (fd, result) = self.try_it(FOR_EVER);
        assert_eq!(result, LockResult::Locked);
        fd
    }

    /// A child that waits for the lock, then does `turn`, which says whether all is well, and ends.
    fn waiter(&self, turn: impl FnOnce() -> bool) -> Pid {
        self.child(|| {
            let _held = self.hold();
            turn()
        })
    }

    /// A child that comes to wait for the lock.
    fn child(&self, work: impl FnOnce() -> bool) -> Pid {
        // SAFETY: as in `in_child`.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let well = catch_unwind(AssertUnwindSafe(work)).unwrap_or(false);
                // SAFETY: ends this child at once, and lets go of the lock.
                unsafe { libc::_exit((!well).into()) }
            }
            ForkResult::Parent { child } => {
                while !self.queue().contains(&child.as_raw()) {
                    let status = waitpid(child, Some(WaitPidFlag::WNOHANG));
                    assert_eq!(status, Ok(WaitStatus::StillAlive), "it should wait");
                }
                child
            }
        }
    }

    /// Who waits for the lock.
    fn queue(&self) -> Vec<i32> {
        let file = format!(":{} 0 EOF", fs::metadata(&self.path).unwrap().st_ino());
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let waiting = locks.lines().filter(|line| line.contains("-> FLOCK") && line.ends_with(&file));
        waiting.filter_map(|line| line.split_ascii_whitespace().nth(5)?.parse().ok()).collect()
    }
}

/// False before Linux 5.13, whose `/proc/locks` does not show who waits behind somebody who waits.
fn queues_are_shown() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0u32));
    let shown = (numbers.next(), numbers.next()) >= (Some(5), Some(13));
    if !shown {
        eprintln!("skipped: this kernel does not show the whole queue of a lock");
    }
    shown
}

/// Whatever copies of the descriptor the children of other tests may have.
fn let_go(held: &OwnedFd) {
    flock(held, libc::LOCK_UN).unwrap();
}

fn ended_well(child: Pid) {
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
}

/// How often the process has begun to wait for something.
fn waits(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

fn has_ended(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).map_or(true, |status| status.contains("\nState:\tZ"))
}

#[test]
fn those_who_wait_come_in_their_order() {
    if !queues_are_shown() {
        return;
    }
    let file = Locked::new();
    let held = file.hold();
    let (order, turn) = pipe().unwrap();
    let waiters: Vec<Pid> = (0..20u8).map(|number| file.waiter(|| write(&turn, &[number]) == Ok(1))).collect();
    let_go(&held);
    waiters.into_iter().for_each(ended_well);
    let mut came = [0; 32];
    let count = read(&order, &mut came).unwrap();
    assert_eq!(came[..count], Vec::from_iter(0..20u8));
}

/// Comes back when the process has looked who holds the lock and waits again, or is at its end.
fn until_it_has_looked(file: &Locked, pid: i32) {
    let before = waits(pid);
    while before.is_some() && (waits(pid) == before || !file.queue().contains(&pid)) && !has_ended(pid) {
        std::thread::yield_now();
    }
}

/// `patience` of one for whom the lock changes hands twice; each of the two keeps it until he has asked who it is.
fn behind_two(patience: Patience, wanted: fn(LockResult, &[Pid]) -> bool) {
    if !queues_are_shown() {
        return;
    }
    let file = Locked::new();
    let held = file.hold();
    let (learn, tell) = pipe().unwrap();
    let holders = [(); 2].map(|()| {
        file.waiter(|| {
            let mut pid = [0; 4];
            assert_eq!(read(&learn, &mut pid), Ok(4));
            until_it_has_looked(&file, i32::from_ne_bytes(pid));
            true
        })
    });
    let last = file.child(|| wanted(file.try_it(patience).1, &holders));
    for _ in holders {
        assert_eq!(write(&tell, &last.as_raw().to_ne_bytes()), Ok(4));
    }
    let_go(&held);
    ended_well(last);
    holders.into_iter().for_each(ended_well);
}

const HALF_A_SECOND: Duration = Duration::from_millis(500);

#[test]
fn a_queue_that_moves_is_no_reason_to_give_up() {
    behind_two(Patience { holder: HALF_A_SECOND, total: FOR_EVER.total }, |result, _| result == LockResult::Locked);
}

#[test]
fn in_all_the_wait_is_bounded_even_if_the_queue_moves() {
    behind_two(Patience { holder: HALF_A_SECOND, total: Duration::ZERO }, |result, holders| {
        holders.iter().any(|pid| result == LockResult::Busy(Some(pid.as_raw())))
    });
}

#[test]
fn a_holder_who_has_come_in_between_is_not_waited_for_for_ever() {
    if !queues_are_shown() {
        return;
    }
    let file = Locked::new();
    let held = file.hold();
    let (wait, done) = pipe().unwrap();
    let stays = file.waiter(|| read(&wait, &mut [0]) == Ok(1));
    let last = file.child(|| {
        let (_fd, result) = file.try_it(Patience { holder: HALF_A_SECOND, ..FOR_EVER });
        result == LockResult::Busy(Some(stays.as_raw()))
    });
    let_go(&held);
    ended_well(last);
    assert_eq!(write(&done, b"!"), Ok(1));
    ended_well(stays);
}

#[test]
fn the_wait_ends_at_its_deadline_even_where_signals_are_blocked() {
    in_child(|| {
        let file = Locked::new();
        let _held = file.hold();
        SigSet::all().thread_block().unwrap();
        for holder in [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(1200)] {
            let start = std::time::Instant::now();
            let own = std::process::id() as i32;
            assert_eq!(file.try_it(Patience { holder, ..FOR_EVER }).1, LockResult::Busy(Some(own)));
            assert!(start.elapsed() >= holder, "{:?} of {holder:?}", start.elapsed());
        }
        assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGALRM));
    });
}

#[test]
fn what_the_alarm_changes_is_as_before() {
    in_child(|| {
        let file = Locked::new();
        let held = file.hold();
        let short = Patience { holder: Duration::from_millis(20), ..FOR_EVER };
        assert_ne!(file.try_it(short).1, LockResult::Locked);
        drop(held);
        file.hold();
        let mut timer = Timer { interval: [1; 2], value: [1; 2] };
        // SAFETY: one live record for the answer.
        unsafe { libc::syscall(libc::SYS_getitimer, libc::ITIMER_REAL, &raw mut timer) };
        assert_eq!((timer.interval, timer.value), ([0; 2], [0; 2]));
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action is what every process begins with.
        let there = unsafe { sigaction(Signal::SIGALRM, &default) };
        assert!(matches!(there.unwrap().handler(), SigHandler::SigDfl));
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGALRM));
    });
}

/// Signals of others end no wait before its time.
#[test]
fn an_alarm_of_somebody_else_does_not_end_the_wait() {
    let file = Locked::new();
    let held = file.hold();
    let child = file.waiter(|| true);
    for _ in 0..5 {
        let before = waits(child.as_raw());
        nix::sys::signal::kill(child, Signal::SIGALRM).unwrap();
        while waits(child.as_raw()) == before {
            assert_eq!(waitpid(child, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive), "it should wait");
        }
    }
    let_go(&held);
    ended_well(child);
}
