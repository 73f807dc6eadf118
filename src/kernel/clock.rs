//! Time, for the log.

/// Microseconds of CLOCK_MONOTONIC. A plain system call: the vDSO is made for many readings, and the first one costs two
/// page faults. 0 when the kernel does not tell.
pub fn microseconds() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: one live record. The clock exists on every kernel; a filter of system calls may forbid it all the same.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

#[cfg(test)]
mod tests {
    #[test]
    fn agrees_with_the_standard_library() {
        let (before, start) = (super::microseconds(), std::time::Instant::now());
        std::thread::yield_now();
        let (passed, after) = (start.elapsed().as_micros() as u64, super::microseconds());
        assert!(after - before + 1 >= passed, "{before} {after} {passed}");
        assert!(before > 0);
    }
}
