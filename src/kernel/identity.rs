//! Who this process is: user and group ids and capabilities, and taking the place of somebody else for a while.
//!
//! All calls are made raw and act on the calling thread; the program has one thread.

use super::SysError;
use super::sys::check;
use crate::ipc::Owner;
use libc::{c_int, c_ulong, uid_t};
use nix::errno::Errno;

/// A set of capabilities (capabilities(7)), one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CapSet(u64);

impl CapSet {
    /// Nothing.
    pub const NONE: CapSet = CapSet(0);
    /// Set the owner of files.
    pub const CHOWN: CapSet = CapSet(1 << 0);
    /// Open what the mode forbids.
    pub const DAC_OVERRIDE: CapSet = CapSet(1 << 1);
    /// Do what only a file's owner may.
    pub const FOWNER: CapSet = CapSet(1 << 3);
    /// Take any group id.
    pub const SETGID: CapSet = CapSet(1 << 6);
    /// Take any user id.
    pub const SETUID: CapSet = CapSet(1 << 7);
    /// Change the secure bits.
    pub const SETPCAP: CapSet = CapSet(1 << 8);
    /// Use huge pages and lock memory.
    pub const IPC_LOCK: CapSet = CapSet(1 << 14);
    /// Read and change System V objects whatever their mode says.
    pub const IPC_OWNER: CapSet = CapSet(1 << 15);
    /// Look into other processes.
    pub const SYS_PTRACE: CapSet = CapSet(1 << 19);
    /// Join namespaces; remove System V objects of others.
    pub const SYS_ADMIN: CapSet = CapSet(1 << 21);
    /// Exceed limits.
    pub const SYS_RESOURCE: CapSet = CapSet(1 << 24);

    /// What the way into a namespace and the work in it can need.
    pub const WORK: CapSet = CapSet::CHOWN
        .and(CapSet::DAC_OVERRIDE)
        .and(CapSet::FOWNER)
        .and(CapSet::SETGID)
        .and(CapSet::SETUID)
        .and(CapSet::SETPCAP)
        .and(CapSet::IPC_LOCK)
        .and(CapSet::IPC_OWNER)
        .and(CapSet::SYS_PTRACE)
        .and(CapSet::SYS_ADMIN)
        .and(CapSet::SYS_RESOURCE);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: CapSet) -> CapSet {
        CapSet(self.0 | other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub const fn without(self, other: CapSet) -> CapSet {
        CapSet(self.0 & !other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn common(self, other: CapSet) -> CapSet {
        CapSet(self.0 & other.0)
    }

    /// True when all of `other` is in this set.
    pub const fn has(self, other: CapSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits, as `/proc/PID/status` shows them.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// The capabilities of this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What counts in checks.
    pub effective: CapSet,
    /// What may become effective.
    pub permitted: CapSet,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words for each set.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Word {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Capabilities {
    /// Asks the kernel (capget).
    pub fn own() -> Result<Capabilities, SysError> {
        let mut header = Header { version: VERSION, pid: 0 };
        let mut words = [Word::default(); 2];
        // SAFETY: both records have the layout of version 3, which the header names.
        check("capget", unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) })?;
        let join = |low: u32, high: u32| CapSet(u64::from(low) | u64::from(high) << 32);
        Ok(Capabilities {
            effective: join(words[0].effective, words[1].effective),
            permitted: join(words[0].permitted, words[1].permitted),
        })
    }

    /// Gives up everything but `keep`, for good: permitted and inheritable too. One capset call; none when there is nothing
    /// to give up.
    pub fn keep(&mut self, keep: CapSet) -> Result<(), SysError> {
        let wanted = Capabilities { effective: self.effective.common(keep), permitted: self.permitted.common(keep) };
        if wanted != *self {
            wanted.set()?;
            *self = wanted;
        }
        Ok(())
    }

    /// capset with an empty inheritable set.
    fn set(self) -> Result<(), SysError> {
        let mut header = Header { version: VERSION, pid: 0 };
        let word = |shift: u32| Word {
            effective: (self.effective.0 >> shift) as u32,
            permitted: (self.permitted.0 >> shift) as u32,
            inheritable: 0,
        };
        let words = [word(0), word(32)];
        // SAFETY: both records have the layout of version 3, which the header names.
        check("capset", unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) }).map(drop)
    }
}

/// The effective user and group id of this thread.
pub fn effective_ids() -> Owner {
    // SAFETY: these calls take nothing and cannot fail.
    unsafe { Owner { uid: libc::geteuid(), gid: libc::getegid() } }
}

/// True when this process is not the host's root: an ordinary user, or root of a user namespace only.
pub fn is_rootless() -> bool {
    effective_ids().uid != 0 || super::file::in_user_namespace()
}

/// The real user id of this thread, to which RLIMIT_MSGQUEUE is charged.
pub fn real_uid() -> uid_t {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getuid() }
}

/// Back to the saved ids: who this thread was before it acted for somebody else. Nothing happens when it acts for nobody.
pub fn resume_saved() -> Result<(), SysError> {
    let failed = |call| move |errno| SysError::new(call, errno);
    let gid = nix::unistd::getresgid().map_err(failed("getresgid"))?;
    if gid.effective != gid.saved {
        set_group_ids(gid.saved.as_raw(), gid.saved.as_raw())?;
    }
    let uid = nix::unistd::getresuid().map_err(failed("getresuid"))?;
    if uid.effective != uid.saved {
        set_user_ids(uid.saved.as_raw(), uid.saved.as_raw())?;
    }
    Ok(())
}

/// Whom this thread acts for. Owner and creator of a new object are the effective ids, RLIMIT_MSGQUEUE is charged to the
/// real one; so both are taken, while the saved ids keep the way back open.
#[derive(Debug)]
pub(super) struct Identity {
    base: Owner,
    current: Owner,
    capabilities: Keeping,
}

/// How the capabilities survive a change of the user id, which would take the effective ones away from root.
#[derive(Debug, PartialEq, Eq)]
enum Keeping {
    Unknown,
    /// SECBIT_NO_SETUID_FIXUP: the kernel leaves them alone.
    SecureBit,
    /// Without CAP_SETPCAP that bit cannot be set. The permitted ones stay as long as the saved user id is root's, and
    /// are made effective again with one more call after each change.
    RaiseAgain,
}

impl Identity {
    /// Starts as who this thread is.
    pub(super) fn own() -> Identity {
        let own = effective_ids();
        Identity { base: own, current: own, capabilities: Keeping::Unknown }
    }

    /// Whom this thread acts for at present.
    pub(super) fn current(&self) -> Owner {
        self.current
    }

    /// Back to who it was at the start.
    pub(super) fn resume(&mut self) -> Result<(), SysError> {
        self.assume(self.base)
    }

    /// Acts for `owner` from now on, with all capabilities. No system call when it does so already.
    pub(super) fn assume(&mut self, owner: Owner) -> Result<(), SysError> {
        if owner == self.current {
            return Ok(());
        }
        if self.capabilities == Keeping::Unknown {
            self.capabilities = keep_capabilities()?;
        }
        // The group first: the user id may be what allows it.
        if owner.gid != self.current.gid {
            set_group_ids(owner.gid, self.base.gid)?;
            self.current.gid = owner.gid;
        }
        if owner.uid != self.current.uid {
            set_user_ids(owner.uid, self.base.uid)?;
            self.current.uid = owner.uid;
        }
        if self.capabilities == Keeping::RaiseAgain {
            let now = Capabilities::own()?;
            Capabilities { effective: now.permitted, ..now }.set()?;
        }
        Ok(())
    }
}

fn keep_capabilities() -> Result<Keeping, SysError> {
    // SAFETY: PR_SET_SECUREBITS takes a number.
    let result =
        unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_SECUREBITS, libc::SECBIT_NO_SETUID_FIXUP as c_ulong) };
    match check("prctl", result) {
        Ok(_) => Ok(Keeping::SecureBit),
        Err(e) if e.errno == Errno::EPERM => Ok(Keeping::RaiseAgain),
        Err(e) => Err(e),
    }
}

/// Real and effective group id, and the saved one.
fn set_group_ids(gid: u32, saved: u32) -> Result<(), SysError> {
    // SAFETY: no pointers are passed.
    check("setresgid", unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, saved) }).map(drop)
}

/// Real and effective user id, and the saved one.
fn set_user_ids(uid: u32, saved: u32) -> Result<(), SysError> {
    // SAFETY: no pointers are passed.
    check("setresuid", unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, saved) }).map(drop)
}

/// Becomes root of the user namespace that was just joined.
pub(super) fn become_root() -> Result<(), SysError> {
    // SAFETY: with a length of 0 the kernel follows no pointer.
    let dropped = unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) };
    match check("setgroups", dropped) {
        // /proc/PID/setgroups says "deny": the groups of the user who started us stay, and give nothing here.
        Err(e) if e.errno != Errno::EPERM => return Err(e),
        _ => {}
    }
    set_group_ids(0, 0)?;
    set_user_ids(0, 0)
}
