//! Which errnos a system call can answer, and which calls a run may do without.

use crate::trace::Call;

/// The errnos to try: those of the manual page that fit the arguments, and those of a machine under pressure.
pub fn errnos(name: &str) -> &'static [&'static str] {
    match name {
        // The program does not run yet, or no more.
        "execve" | "exit_group" | "exit" => &[],
        // They always succeed.
        "getuid" | "geteuid" | "getgid" | "getegid" | "getpid" | "gettid" | "umask" => &[],
        "mmap" | "brk" | "mremap" | "madvise" | "mprotect" | "munmap" => &["ENOMEM"],
        "read" | "readv" | "pread64" => &["EIO", "EINTR", "EINVAL", "ENOMEM", "EPERM", "ENOENT"],
        "write" | "writev" => &["EIO", "EPIPE", "EAGAIN", "EINTR"],
        "pwrite64" => &["EINVAL", "ERANGE", "EPERM", "EACCES", "EINTR", "EIO", "ENOMEM", "ENOENT"],
        "open" | "openat" | "openat2" => {
            &["EACCES", "EMFILE", "ENFILE", "ENOENT", "ENOMEM", "EROFS", "ELOOP", "EPERM", "EINTR", "EIO", "ENOSYS"]
        }
        "stat" | "fstat" | "lstat" | "newfstatat" | "statx" | "fstatfs" | "statfs" | "readlink" | "readlinkat" => {
            &["EACCES", "ENOENT", "ENOMEM", "EIO"]
        }
        "close" => &["EIO", "EINTR"],
        "getdents64" => &["ENOENT", "EIO", "ENOMEM"],
        "ioctl" => &["ENOTTY", "EINVAL", "EMFILE", "EPERM", "ESRCH", "ENOMEM", "EOPNOTSUPP"],
        "pidfd_open" => &["ESRCH", "EINVAL", "EMFILE", "ENFILE", "ENOMEM", "ENOSYS", "ENODEV"],
        "flock" => &["EINTR", "ENOLCK", "EAGAIN"],
        "poll" => &["EINTR", "ENOMEM"],
        "setns" => &["EPERM", "EINVAL", "ENOMEM", "ESRCH"],
        "capget" | "capset" => &["EPERM", "EINVAL", "EFAULT"],
        "prctl" => &["EPERM", "EINVAL"],
        "setresuid" | "setresgid" | "setgroups" => &["EPERM", "EAGAIN", "EINVAL", "ENOMEM"],
        "prlimit64" | "setrlimit" | "getrlimit" => &["EPERM", "EINVAL", "ENOMEM"],
        "shmget" | "semget" | "msgget" => {
            &["EACCES", "EEXIST", "EINVAL", "ENOENT", "ENOMEM", "ENOSPC", "EPERM", "ENOSYS"]
        }
        "shmctl" | "semctl" | "msgctl" => {
            &["EACCES", "EIDRM", "EINVAL", "EPERM", "ENOMEM", "ERANGE", "EOVERFLOW", "EFAULT", "ENOSYS"]
        }
        "semop" | "semtimedop" => &["EAGAIN", "EACCES", "E2BIG", "EIDRM", "EINTR", "EINVAL", "ENOMEM", "ERANGE"],
        "mq_open" => {
            &["EACCES", "EEXIST", "EINVAL", "EMFILE", "ENFILE", "ENOENT", "ENOMEM", "ENOSPC", "EOVERFLOW", "ENOSYS"]
        }
        "mq_getsetattr" => &["EBADF", "EINVAL", "ENOMEM"],
        "mq_unlink" => &["EACCES", "ENOENT", "EPERM"],
        "socket" => &["EACCES", "EAFNOSUPPORT", "EMFILE", "ENOMEM"],
        "sendto" | "sendmsg" | "connect" => &["EAGAIN", "ECONNREFUSED", "ENOENT", "EACCES", "ENOBUFS"],
        _ => &["ENOMEM", "EINVAL", "EPERM"],
    }
}

/// The value that a call which does nothing may return as if it had done its work: the same as when it does. `None` = its
/// answer is needed, so it cannot lie.
pub fn lie(call: &Call) -> Option<String> {
    let changes = match call.name.as_str() {
        "pwrite64" | "setns" | "setresuid" | "setresgid" | "semop" => true,
        "semctl" => call.line.contains("SETALL"),
        "msgctl" => call.line.contains("IPC_SET"),
        _ => false,
    };
    (changes && !call.failed()).then(|| call.returned().to_owned())
}

/// Why a run may succeed although this call failed.
pub fn excuse(call: &Call, errno: &str) -> Option<&'static str> {
    let has = |text: &str| call.line.contains(text);
    let refused = matches!(errno, "EACCES" | "EPERM" | "EROFS");
    match call.name.as_str() {
        "close" => Some("the kernel closes it all the same"),
        "socket" | "sendto" | "sendmsg" | "connect" => Some("logging never fails a run"),
        "clock_gettime" => Some("only the log tells how long a run took"),
        "munmap" | "madvise" => Some("memory that stays is no harm"),
        "fcntl" if has("F_GETFD") => Some("a look of debug builds at what they close"),
        "sigaltstack" if has("SS_DISABLE") => Some("the end of Rust's runtime"),
        "read" if errno == "EINTR" => Some("read again"),
        "flock" if matches!(errno, "EINTR" | "EAGAIN") => Some("tried again for a second"),
        "ioctl" if has("0xff, 0x") && matches!(errno, "ENOTTY" | "EINVAL" | "EOPNOTSUPP") => {
            Some("before Linux 6.11: the file below /proc/PID/ns is opened instead")
        }
        "pidfd_open" if errno == "EINVAL" && !has(", 0)") => {
            Some("before Linux 6.9 there are none for threads: the file below /proc/thread-self is looked at instead")
        }
        "readlink" if has("/exe") => Some("says whether it is gVisor, as far as one may look"),
        "openat" if call.failed() && refused => Some("refused as before, so it is tried as the file's owner"),
        "setns" if errno == "EPERM" && has("CLONE_NEWIPC") => {
            Some("by way of the user namespace, as rootless runtimes need it")
        }
        "openat" if has("\"shm_rmid_forced\", O_RDWR") && refused => Some("has its value already: reading is enough"),
        "shmget" | "semget" | "msgget" if errno == "EINVAL" && !has("IPC_CREAT") => {
            Some("taken for absent: what exists all the same fails the creation")
        }
        "shmctl" | "semctl" | "msgctl" if errno == "EACCES" && has("IPC_STAT") => {
            Some("read with SHM_STAT_ANY instead")
        }
        "prctl" if errno == "EPERM" => Some("without CAP_SETPCAP: capabilities are raised again by capset"),
        "prlimit64" if errno == "EPERM" && has("rlim_cur=RLIM64_INFINITY") => Some("the limit stays as it is"),
        "semop" if errno == "E2BIG" => Some("SEMOPM is 1: one operation after the other"),
        _ => None,
    }
}

/// True before the first call of our own, which reads the state: the loader, libc and Rust's runtime. They go on without it,
/// or end the program without a word.
pub fn is_start(calls: &[Call], at: usize) -> bool {
    calls.iter().position(|c| c.line.starts_with("read(0")).is_none_or(|first| at < first)
}
