//! Ceilings for what a container writes out itself. They bind what would be written, not what is merely asked for.

use super::config::Rule;
use crate::ipc::{Sysctl, SysctlValue};

/// `[policy.ceiling]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ceiling {
    /// By [`Sysctl::index`]; `None` = the key is denied.
    pub sysctls: [Rule<Option<SysctlValue>>; 13],
    /// Most objects of one run.
    pub objects: Rule<u64>,
    /// Bytes of all segments of one run.
    pub shm_bytes: Rule<u64>,
    /// Kernel memory of one run, in bytes, by the estimate of [`super::budget`]. Binds every request.
    pub kernel_memory: Rule<u64>,
}

impl Ceiling {
    /// The built-in ceiling of a sysctl.
    pub const fn built_in(sysctl: Sysctl) -> SysctlValue {
        match sysctl {
            Sysctl::Msgmax => SysctlValue::Number(64 << 10),
            Sysctl::Msgmnb => SysctlValue::Number(1 << 20),
            Sysctl::Shmall => SysctlValue::Number((16 << 30) / 4096),
            Sysctl::Shmmax => SysctlValue::Number(16 << 30),
            Sysctl::ShmRmidForced => SysctlValue::Number(1),
            Sysctl::MqMsgDefault | Sysctl::MqMsgMax => SysctlValue::Number(1024),
            Sysctl::MqMsgsizeDefault | Sysctl::MqMsgsizeMax => SysctlValue::Number(1 << 20),
            Sysctl::MqQueuesMax => SysctlValue::Number(1024),
            Sysctl::Msgmni | Sysctl::Sem | Sysctl::Shmmni => sysctl.kernel_default(),
        }
    }

    pub(super) const fn rule_name(sysctl: Sysctl) -> &'static str {
        match sysctl {
            Sysctl::Msgmax => "policy.ceiling.\"kernel.msgmax\"",
            Sysctl::Msgmnb => "policy.ceiling.\"kernel.msgmnb\"",
            Sysctl::Msgmni => "policy.ceiling.\"kernel.msgmni\"",
            Sysctl::Sem => "policy.ceiling.\"kernel.sem\"",
            Sysctl::Shmall => "policy.ceiling.\"kernel.shmall\"",
            Sysctl::Shmmax => "policy.ceiling.\"kernel.shmmax\"",
            Sysctl::Shmmni => "policy.ceiling.\"kernel.shmmni\"",
            Sysctl::ShmRmidForced => "policy.ceiling.\"kernel.shm_rmid_forced\"",
            Sysctl::MqMsgDefault => "policy.ceiling.\"fs.mqueue.msg_default\"",
            Sysctl::MqMsgMax => "policy.ceiling.\"fs.mqueue.msg_max\"",
            Sysctl::MqMsgsizeDefault => "policy.ceiling.\"fs.mqueue.msgsize_default\"",
            Sysctl::MqMsgsizeMax => "policy.ceiling.\"fs.mqueue.msgsize_max\"",
            Sysctl::MqQueuesMax => "policy.ceiling.\"fs.mqueue.queues_max\"",
        }
    }
}
