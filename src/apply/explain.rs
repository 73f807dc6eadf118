//! What an errno means here: ENOSPC from semget is a limit, not a disk; EMFILE from mq_open is RLIMIT_MSGQUEUE.

use crate::error::Error;
use crate::ipc::{Kind, ObjectId, ObjectSpec, Sysctl, SysctlValue};
use crate::kernel::{SysError, general_remedy, label};
use crate::plan::render::spec_text;
use nix::errno::Errno;

pub(crate) fn read(sysctl: Sysctl, error: &SysError) -> Error {
    Error::failed(sysctl.name(), error.to_string()).remedy(general_remedy(error.errno))
}

pub(crate) fn write(sysctl: Sysctl, found: SysctlValue, wanted: SysctlValue, error: &SysError) -> Error {
    let (why, remedy) = identity(error).unwrap_or(match error.errno {
        Errno::EINVAL | Errno::ERANGE => (
            "the kernel refuses this value",
            "ask for a value within the range of this kernel, see oci-ipc-hook-profile(5)",
        ),
        Errno::EACCES | Errno::EPERM => (
            "not permitted",
            "run the hook as root; in a user namespace that root did not start, Linux 6.9 or later is needed",
        ),
        Errno::EROFS => (
            "the hook's own /proc/sys is read-only",
            "let the runtime call the hook on the host, not inside a container",
        ),
        Errno::ENOENT => {
            ("the namespace is gone, or this kernel does not have it", "see whether the container still lives")
        }
        _ => ("the write failed", general_remedy(error.errno)),
    });
    Error::failed(sysctl.name(), format!("{why} ({error})")).wanted(wanted).found(found).remedy(remedy)
}

pub(crate) fn removal(id: &ObjectId, error: &SysError) -> Error {
    let why = match error.errno {
        Errno::EPERM | Errno::EACCES => "may not be removed by the hook",
        _ => "could not be removed",
    };
    Error::failed(id.to_string(), format!("{why} ({error})"))
}

pub(crate) fn creation(spec: &ObjectSpec, error: &SysError) -> Error {
    let (why, remedy) = if error.call == label::TAKE {
        (
            "SELinux does not let the hook take the label of the container, which its objects must carry",
            "allow the hook's domain fork and setcurrent, and dyntransition to the container's type, in the policy",
        )
    } else {
        identity(error).unwrap_or_else(|| meaning(spec.id.kind(), error.errno))
    };
    Error::failed(spec.id.to_string(), format!("{why} ({error})")).wanted(spec_text(spec)).remedy(remedy)
}

/// What it means that the hook could not take the place of an owner; `None` when it was another call that failed.
fn identity(error: &SysError) -> Option<(&'static str, &'static str)> {
    if !matches!(error.call, "id map" | "setresuid" | "setresgid" | "setgroups" | "prctl") {
        return None;
    }
    Some(match error.errno {
        Errno::EINVAL | Errno::EOVERFLOW => (
            "the user namespace of the container does not map the owner",
            "name an owner that is mapped, see /proc/PID/uid_map and gid_map",
        ),
        Errno::EPERM => (
            "the hook may not take the owner's place",
            "run the hook as root with CAP_SETUID and CAP_SETGID, or name an owner that it is itself",
        ),
        _ => ("the hook could not take the owner's place", general_remedy(error.errno)),
    })
}

fn meaning(kind: Kind, errno: Errno) -> (&'static str, &'static str) {
    match (kind, errno) {
        (_, Errno::EEXIST) => ("someone else created it just now", "start the container again"),
        (_, Errno::ENOSYS) => {
            ("this kernel has no such objects", "a kernel with CONFIG_SYSVIPC and CONFIG_POSIX_MQUEUE is needed")
        }
        (Kind::Shm, Errno::ENOSPC) => (
            "the limit kernel.shmall or kernel.shmmni of this namespace is reached",
            "raise them in the profile; 'oci-ipc-hook inspect' shows what is in use",
        ),
        (Kind::Sem, Errno::ENOSPC) => (
            "the limit SEMMNI or SEMMNS of kernel.sem in this namespace is reached",
            "raise them in the profile; 'oci-ipc-hook inspect' shows what is in use",
        ),
        (Kind::Msg, Errno::ENOSPC) => (
            "the limit kernel.msgmni of this namespace is reached",
            "raise it in the profile; 'oci-ipc-hook inspect' shows what is in use",
        ),
        (Kind::Mqueue, Errno::ENOSPC) => (
            "the limit fs.mqueue.queues_max of this namespace is reached",
            "raise it in the profile; 'oci-ipc-hook inspect' shows what is in use",
        ),
        (Kind::Mqueue, Errno::EMFILE) => (
            "RLIMIT_MSGQUEUE is used up: it counts the bytes of all queues of this user id, over all containers of the host",
            "raise the runtime's limit (LimitMSGQUEUE=, ulimit -q), or ask for fewer or smaller queues",
        ),
        (Kind::Shm, Errno::EINVAL) => ("its size is outside 1 … kernel.shmmax", "raise kernel.shmmax in the profile"),
        (Kind::Sem, Errno::EINVAL) => ("its size is outside 1 … SEMMSL of kernel.sem", "raise semmsl in the profile"),
        (Kind::Mqueue, Errno::EINVAL) => {
            ("its attributes are above fs.mqueue.msg_max or fs.mqueue.msgsize_max", "raise them in the profile")
        }
        (Kind::Sem, Errno::E2BIG) => {
            ("SEMOPM of kernel.sem is too small to mark the set", "raise semopm to at least 2")
        }
        (Kind::Mqueue, Errno::EOVERFLOW) => (
            "the owner is not mapped in the user namespace that owns this IPC namespace",
            "name an owner that is mapped",
        ),
        (_, Errno::ENOMEM) => {
            ("no memory, or the cgroup's limit is reached", "give the container more memory or ask for less")
        }
        (Kind::Msg, Errno::EPERM) => ("max-bytes is above kernel.msgmnb", "raise kernel.msgmnb in the profile"),
        (_, Errno::EPERM | Errno::EACCES) => {
            ("not permitted", "run the hook as root, or as the owner of the user namespace")
        }
        _ => ("the kernel refused it", "see the errno"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::{Key, Owner, Shape};

    #[test]
    fn an_owner_whose_place_cannot_be_taken_is_no_matter_of_limits() {
        let key = ObjectId::Shm(Key::new(1).unwrap());
        let owner = Owner { uid: 1, gid: 0 };
        let spec = ObjectSpec { id: key, shape: Shape::Shm { size: 1 }, mode: crate::ipc::Mode::DEFAULT, owner };
        let said = |call, errno| creation(&spec, &SysError::new(call, errno)).to_string();
        for (call, errno) in [("setresuid", Errno::EINVAL), ("setresgid", Errno::EINVAL), ("id map", Errno::EOVERFLOW)]
        {
            let text = said(call, errno);
            assert!(text.contains("does not map the owner") && text.contains("uid_map"), "{text}");
        }
        let text = said("setresgid", Errno::EPERM);
        assert!(text.contains("CAP_SETGID"), "{text}");
        assert!(said("shmget", Errno::EINVAL).contains("kernel.shmmax"));
        let max = SysctlValue::Number(1);
        let text = write(Sysctl::Msgmax, max, max, &SysError::new("setresuid", Errno::EINVAL)).to_string();
        assert!(text.contains("does not map the owner"), "{text}");
    }
}
