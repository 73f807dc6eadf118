//! The closed set of sysctls that belong to an IPC namespace (ipc_namespaces(7)) and their typed values.

use super::object::Kind;
use super::value::ValueError;
use std::fmt;
use std::str::FromStr;

/// One of the 13 writable sysctls of an IPC namespace. The enum is the allow-list: no other name reaches the kernel.
///
/// The order is that of `/proc/sys/kernel`, then `/proc/sys/fs/mqueue`, and is the order in which a plan sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Sysctl {
    /// Largest System V message, in bytes.
    Msgmax,
    /// Capacity of a new System V message queue, in bytes.
    Msgmnb,
    /// Number of System V message queues.
    Msgmni,
    /// SEMMSL, SEMMNS, SEMOPM, SEMMNI.
    Sem,
    /// All System V shared memory together, in pages.
    Shmall,
    /// Largest System V shared memory segment, in bytes.
    Shmmax,
    /// Number of System V shared memory segments.
    Shmmni,
    /// 1: segments without an attached process are destroyed.
    ShmRmidForced,
    /// Default number of messages of a new POSIX queue.
    MqMsgDefault,
    /// Most messages that a POSIX queue may hold.
    MqMsgMax,
    /// Default message size of a new POSIX queue, in bytes.
    MqMsgsizeDefault,
    /// Largest message size of a POSIX queue, in bytes.
    MqMsgsizeMax,
    /// Number of POSIX queues.
    MqQueuesMax,
}

/// What a number of a sysctl counts; decides which notations a profile may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes; sizes such as `64KiB` are welcome.
    Bytes,
    /// Pages; a size is turned into pages, rounded up.
    Pages,
    /// A number of things; `per GiB` is welcome, sizes are not.
    Count,
    /// 0 or 1.
    Flag,
}

/// Largest value for which `shmmax` and `shmall` mean "no limit" in a fresh namespace (ULONG_MAX − 2²⁴).
pub const UNLIMITED: u64 = 18_446_744_073_692_774_399;

const INT_MAX: u64 = i32::MAX as u64;
/// IPCMNI of the kernel without `ipcmni_extend`.
const IPCMNI: u64 = 32768;

impl Sysctl {
    /// All of them, in plan order.
    pub const ALL: [Sysctl; 13] = [
        Sysctl::Msgmax,
        Sysctl::Msgmnb,
        Sysctl::Msgmni,
        Sysctl::Sem,
        Sysctl::Shmall,
        Sysctl::Shmmax,
        Sysctl::Shmmni,
        Sysctl::ShmRmidForced,
        Sysctl::MqMsgDefault,
        Sysctl::MqMsgMax,
        Sysctl::MqMsgsizeDefault,
        Sysctl::MqMsgsizeMax,
        Sysctl::MqQueuesMax,
    ];

    /// The name as sysctl(8) writes it, such as `kernel.sem`.
    pub const fn name(self) -> &'static str {
        match self {
            Sysctl::Msgmax => "kernel.msgmax",
            Sysctl::Msgmnb => "kernel.msgmnb",
            Sysctl::Msgmni => "kernel.msgmni",
            Sysctl::Sem => "kernel.sem",
            Sysctl::Shmall => "kernel.shmall",
            Sysctl::Shmmax => "kernel.shmmax",
            Sysctl::Shmmni => "kernel.shmmni",
            Sysctl::ShmRmidForced => "kernel.shm_rmid_forced",
            Sysctl::MqMsgDefault => "fs.mqueue.msg_default",
            Sysctl::MqMsgMax => "fs.mqueue.msg_max",
            Sysctl::MqMsgsizeDefault => "fs.mqueue.msgsize_default",
            Sysctl::MqMsgsizeMax => "fs.mqueue.msgsize_max",
            Sysctl::MqQueuesMax => "fs.mqueue.queues_max",
        }
    }

    /// True for the five below `fs.mqueue`, which live in another directory of `/proc/sys` and need CONFIG_POSIX_MQUEUE.
    pub const fn is_mqueue(self) -> bool {
        self as u8 >= Sysctl::MqMsgDefault as u8
    }

    /// The file's name within its directory, such as `sem`.
    pub fn file_name(self) -> &'static str {
        let prefix = if self.is_mqueue() { "fs.mqueue.".len() } else { "kernel.".len() };
        &self.name()[prefix..]
    }

    /// The index in [`Sysctl::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The kind whose limits the kernel tells in one call (IPC_INFO), this one among them; `None`: only the file tells.
    pub const fn told_with(self) -> Option<Kind> {
        match self {
            Sysctl::Shmmax | Sysctl::Shmmni | Sysctl::Shmall => Some(Kind::Shm),
            Sysctl::Sem => Some(Kind::Sem),
            Sysctl::Msgmax | Sysctl::Msgmnb | Sysctl::Msgmni => Some(Kind::Msg),
            _ => None,
        }
    }

    /// What its number counts. For `kernel.sem` this holds for each field.
    pub const fn unit(self) -> Unit {
        match self {
            Sysctl::Msgmax | Sysctl::Msgmnb | Sysctl::Shmmax | Sysctl::MqMsgsizeDefault | Sysctl::MqMsgsizeMax => {
                Unit::Bytes
            }
            Sysctl::Shmall => Unit::Pages,
            Sysctl::ShmRmidForced => Unit::Flag,
            _ => Unit::Count,
        }
    }

    /// Smallest and largest number that may be asked for. Never wider than what every kernel accepts;
    /// `fs.mqueue.queues_max` has no check in the kernel, negative numbers are refused here.
    /// For `kernel.sem` see [`SemField::range`].
    pub const fn range(self) -> (u64, u64) {
        match self {
            Sysctl::Msgmax | Sysctl::Msgmnb => (0, INT_MAX),
            Sysctl::Msgmni | Sysctl::Shmmni => (0, IPCMNI),
            Sysctl::Sem => (0, INT_MAX),
            Sysctl::Shmall | Sysctl::Shmmax => (0, u64::MAX),
            Sysctl::ShmRmidForced => (0, 1),
            Sysctl::MqMsgDefault | Sysctl::MqMsgMax => (1, 65536),
            Sysctl::MqMsgsizeDefault | Sysctl::MqMsgsizeMax => (128, 16_777_216),
            Sysctl::MqQueuesMax => (0, INT_MAX),
        }
    }

    /// The value in a fresh namespace since Linux 3.19 (`msg_init_ns`, `sem_init_ns`, `shm_init_ns`, `mq_init_ns`).
    pub const fn kernel_default(self) -> SysctlValue {
        match self {
            Sysctl::Msgmax => SysctlValue::Number(8192),
            Sysctl::Msgmnb => SysctlValue::Number(16384),
            Sysctl::Msgmni => SysctlValue::Number(32000),
            Sysctl::Sem => SysctlValue::Sem([32000, 1_024_000_000, 500, 32000]),
            Sysctl::Shmall | Sysctl::Shmmax => SysctlValue::Number(UNLIMITED),
            Sysctl::Shmmni => SysctlValue::Number(4096),
            Sysctl::ShmRmidForced => SysctlValue::Number(0),
            Sysctl::MqMsgDefault | Sysctl::MqMsgMax => SysctlValue::Number(10),
            Sysctl::MqMsgsizeDefault | Sysctl::MqMsgsizeMax => SysctlValue::Number(8192),
            Sysctl::MqQueuesMax => SysctlValue::Number(256),
        }
    }

    /// Reads what the kernel printed for this sysctl: decimal numbers, blanks between, one newline at the end.
    pub fn parse_kernel(self, text: &str) -> Result<SysctlValue, ValueError> {
        let bad = || ValueError::new(format!("the kernel shows '{}', which is not a value", text.trim_end()));
        if self == Sysctl::Sem {
            let mut fields = [0i32; 4];
            let mut words = text.split_ascii_whitespace();
            for field in &mut fields {
                *field = words.next().and_then(|w| w.parse().ok()).ok_or_else(bad)?;
            }
            return if words.next().is_none() { Ok(SysctlValue::Sem(fields)) } else { Err(bad()) };
        }
        let word = text.trim_ascii();
        if self == Sysctl::MqQueuesMax {
            // Any int is accepted and compared unsigned: −1 is the largest.
            return word.parse::<i32>().map(|v| SysctlValue::Number(u64::from(v as u32))).map_err(|_| bad());
        }
        word.parse().map(SysctlValue::Number).map_err(|_| bad())
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Sysctl {
    type Err = ValueError;

    fn from_str(name: &str) -> Result<Self, ValueError> {
        Sysctl::ALL
            .into_iter()
            .find(|s| s.name() == name)
            .ok_or_else(|| ValueError::new("not a sysctl of an IPC namespace that may be set"))
    }
}

/// A field of `kernel.sem`, named as in lsipc(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum SemField {
    /// Most semaphores in one set.
    Semmsl,
    /// Most semaphores in all sets together.
    Semmns,
    /// Most operations in one semop(2).
    Semopm,
    /// Most sets.
    Semmni,
}

impl SemField {
    /// In the order of the file.
    pub const ALL: [SemField; 4] = [SemField::Semmsl, SemField::Semmns, SemField::Semopm, SemField::Semmni];

    /// The key in a profile.
    pub const fn name(self) -> &'static str {
        match self {
            SemField::Semmsl => "semmsl",
            SemField::Semmns => "semmns",
            SemField::Semopm => "semopm",
            SemField::Semmni => "semmni",
        }
    }

    /// Smallest and largest number that may be asked for (`sem_check_semmni` bounds only SEMMNI, to IPCMNI; the kernel
    /// takes negative numbers for the others, which makes every semget or semop fail: refused here).
    pub const fn range(self) -> (u64, u64) {
        match self {
            SemField::Semmni => (0, IPCMNI),
            _ => (0, INT_MAX),
        }
    }
}

/// A value of a sysctl as the kernel holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SysctlValue {
    /// Every sysctl but `kernel.sem`. `fs.mqueue.queues_max` −1 is held as 4294967295, as the kernel compares it.
    Number(u64),
    /// `kernel.sem`: SEMMSL SEMMNS SEMOPM SEMMNI.
    Sem([i32; 4]),
}

impl SysctlValue {
    /// The decimal text that is written to the file of `sysctl`, without a newline.
    pub fn render(self, sysctl: Sysctl) -> String {
        match self {
            SysctlValue::Number(n) if sysctl == Sysctl::MqQueuesMax => (n as u32 as i32).to_string(),
            other => other.to_string(),
        }
    }

    /// How many numbers it is.
    pub fn fields(self) -> usize {
        match self {
            SysctlValue::Number(_) => 1,
            SysctlValue::Sem(fields) => fields.len(),
        }
    }

    /// The number, or a field of `kernel.sem` (0 for a negative one).
    pub fn field(self, index: usize) -> u64 {
        match self {
            SysctlValue::Number(n) => n,
            SysctlValue::Sem(fields) => u64::try_from(fields[index]).unwrap_or(0),
        }
    }

    /// The number of a scalar sysctl; SEMMSL for `kernel.sem`.
    pub fn number(self) -> u64 {
        self.field(0)
    }
}

impl fmt::Display for SysctlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SysctlValue::Number(n) => write!(f, "{n}"),
            SysctlValue::Sem([a, b, c, d]) => write!(f, "{a} {b} {c} {d}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_indices_agree() {
        for (i, s) in Sysctl::ALL.into_iter().enumerate() {
            assert_eq!(s.index(), i);
            assert_eq!(s.name().parse::<Sysctl>().unwrap(), s);
            assert!(s.name().ends_with(s.file_name()));
            assert_eq!(s.is_mqueue(), s.name().starts_with("fs.mqueue."));
        }
        for no in ["kernel.msg_next_id", "kernel.auto_msgmni", "net.core.somaxconn", "kernel/sem", "KERNEL.SEM", ""] {
            assert!(no.parse::<Sysctl>().is_err(), "{no}");
        }
    }

    #[test]
    fn defaults_lie_in_range() {
        for s in Sysctl::ALL {
            let (min, max) = s.range();
            match s.kernel_default() {
                SysctlValue::Number(n) => assert!((min..=max).contains(&n)),
                SysctlValue::Sem(v) => {
                    for (f, n) in SemField::ALL.into_iter().zip(v) {
                        assert!(f.range().0 <= n as u64 && n as u64 <= f.range().1);
                    }
                }
            }
        }
    }

    #[test]
    fn reads_what_the_kernel_prints() {
        let sem = Sysctl::Sem.parse_kernel("32000\t1024000000\t500\t32000\n").unwrap();
        assert_eq!(sem, Sysctl::Sem.kernel_default());
        assert_eq!(sem.render(Sysctl::Sem), "32000 1024000000 500 32000");
        assert_eq!(Sysctl::Shmmax.parse_kernel("18446744073692774399\n").unwrap(), SysctlValue::Number(UNLIMITED));
        let all = Sysctl::MqQueuesMax.parse_kernel("-1\n").unwrap();
        assert_eq!((all, all.render(Sysctl::MqQueuesMax).as_str()), (SysctlValue::Number(4_294_967_295), "-1"));
        for (s, bad) in
            [(Sysctl::Sem, "1 2 3"), (Sysctl::Sem, "1 2 3 4 5"), (Sysctl::Msgmax, ""), (Sysctl::Msgmax, "x")]
        {
            assert!(s.parse_kernel(bad).is_err(), "{s} {bad}");
        }
    }
}
