//! What the kernel has.

use crate::finding::Finding;
use crate::ipc::Sysctl;
use crate::kernel::namespace::{NamespaceFd, Process, in_use};
use nix::errno::Errno;
use std::fs::File;
use std::path::{Path, PathBuf};

pub(super) fn findings() -> Vec<Finding> {
    let mut all = vec![
        release(),
        feature("IPC namespaces", NamespaceFd::own().is_ok(), "CONFIG_IPC_NS"),
        feature("System V IPC", Path::new("/proc/sysvipc").exists(), "CONFIG_SYSVIPC"),
        feature("POSIX message queues", has_file_system("mqueue"), "CONFIG_POSIX_MQUEUE"),
        sysctls(),
        process_handles(),
    ];
    all.extend(namespace_limit());
    all
}

fn release() -> Finding {
    match std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(text) => Finding::ok("kernel", format!("Linux {}", text.trim())),
        Err(e) => Finding::unknown("kernel", format!("its release cannot be read ({e})"), "is /proc mounted?"),
    }
}

fn feature(what: &str, there: bool, option: &str) -> Finding {
    match there {
        true => Finding::ok(what, "supported"),
        false => Finding::problem(what, "this kernel has none", format!("use a kernel with {option}=y")),
    }
}

fn has_file_system(name: &str) -> bool {
    let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    list.lines().any(|line| line.split_ascii_whitespace().last() == Some(name))
}

/// The file of a sysctl; here, in the namespace that we are in.
fn file(sysctl: Sysctl) -> PathBuf {
    let dir = if sysctl.is_mqueue() { "/proc/sys/fs/mqueue" } else { "/proc/sys/kernel" };
    Path::new(dir).join(sysctl.file_name())
}

fn sysctls() -> Finding {
    let missing: Vec<_> = Sysctl::ALL.into_iter().filter(|s| !file(*s).exists()).map(Sysctl::name).collect();
    if !missing.is_empty() {
        let remedy = "use a kernel with CONFIG_SYSVIPC_SYSCTL=y and CONFIG_POSIX_MQUEUE_SYSCTL=y";
        return Finding::problem("sysctls", format!("missing: {}", missing.join(", ")), remedy);
    }
    // Opening changes nothing.
    match File::options().write(true).open(file(Sysctl::Msgmax)) {
        Err(e) if e.raw_os_error() == Some(Errno::EROFS as i32) => Finding::problem(
            "sysctls",
            "/proc/sys is mounted read-only here, and so for a hook that is started from here",
            "start the engine where /proc/sys can be written to; within a container nothing but objects can be made",
        ),
        _ => Finding::ok("sysctls", "all 13 are there"),
    }
}

fn process_handles() -> Finding {
    match Process::open(std::process::id().cast_signed()) {
        Ok(_) => Finding::ok("process handles", "pidfd_open works"),
        Err(e) => Finding::problem("process handles", e.to_string(), "use Linux 5.3 or later"),
    }
}

fn namespace_limit() -> Option<Finding> {
    let limit = std::fs::read_to_string("/proc/sys/user/max_ipc_namespaces").ok()?.trim().parse().ok()?;
    Some(namespaces(in_use().len() as u64, limit))
}

fn namespaces(used: u64, limit: u64) -> Finding {
    let what = "user.max_ipc_namespaces";
    let found = format!("{used} namespaces in use, {limit} allowed for each user");
    if limit == 0 {
        let remedy = "sysctl -w user.max_ipc_namespaces=1000; without it no container has IPC of its own";
        Finding::problem(what, "no IPC namespace may be made", remedy)
    } else if used.saturating_mul(10) > limit.saturating_mul(9) {
        Finding::warning(
            what,
            found,
            "raise it with sysctl(8); containers fail to start with ENOSPC when it is reached",
        )
    } else {
        Finding::ok(what, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    #[test]
    fn namespaces_run_out() {
        for (used, limit, level) in [
            (1, 0, Level::Problem),
            (9, 10, Level::Ok),
            (10, 10, Level::Warning),
            (91, 100, Level::Warning),
            (90, 100, Level::Ok),
        ] {
            assert_eq!(namespaces(used, limit).level, level, "{used} of {limit}");
        }
    }
}
