//! What the kernel lists in `/proc/sysvipc/{shm,sem,msg}`.
//!
//! The parsers are pure and read numbers, never columns: the widths differ between kernels. Columns that a later kernel
//! may add behind the known ones are passed over.

use crate::ipc::{Existing, Key, Kind, Mode, ObjectId, Owner, ValueError};

/// What all three kinds have in common. Ids are those of the reader's user namespace, times seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    /// 0 for a private object.
    pub key: i32,
    /// `shmid`, `semid`, `msqid`.
    pub id: i32,
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub owner: Owner,
    /// Creator.
    pub creator: Owner,
    /// Last change: creation, IPC_SET.
    pub ctime: i64,
}

/// A line of `/proc/sysvipc/shm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShmRecord {
    /// Key, id, mode, owner, creator, ctime.
    pub common: Common,
    /// Removed, and gone with the last process that is attached (SHM_DEST).
    pub removed: bool,
    /// Locked into memory (SHM_LOCKED).
    pub locked: bool,
    /// Bytes, as asked for.
    pub size: u64,
    /// Process that created it; 0 = not visible from here. So for all processes below.
    pub cpid: i32,
    /// Process that attached or detached it last.
    pub lpid: i32,
    /// How many times it is attached.
    pub nattch: u64,
    /// Last attach; 0 = never.
    pub atime: i64,
    /// Last detach; 0 = never.
    pub dtime: i64,
    /// Bytes in memory.
    pub rss: u64,
    /// Bytes in swap.
    pub swap: u64,
}

/// A line of `/proc/sysvipc/sem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SemRecord {
    /// Key, id, mode, owner, creator, ctime.
    pub common: Common,
    /// Semaphores in the set.
    pub nsems: u64,
    /// Last semop; 0 = never.
    pub otime: i64,
}

/// A line of `/proc/sysvipc/msg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsgRecord {
    /// Key, id, mode, owner, creator, ctime.
    pub common: Common,
    /// Bytes in the queue.
    pub cbytes: u64,
    /// Messages in the queue.
    pub qnum: u64,
    /// Most bytes that it holds (`msg_qbytes`). The file does not tell: `None` until the queue itself was asked.
    pub qbytes: Option<u64>,
    /// Process that sent last.
    pub lspid: i32,
    /// Process that received last.
    pub lrpid: i32,
    /// Last send; 0 = never.
    pub stime: i64,
    /// Last receive; 0 = never.
    pub rtime: i64,
}

/// Permission bits that stand for a state of a segment.
const SHM_DEST: u32 = 0o1000;
const SHM_LOCKED: u32 = 0o2000;

/// Reads `/proc/sysvipc/shm`.
pub fn parse_shm(text: &[u8]) -> Result<Vec<ShmRecord>, ValueError> {
    parse(text, |f| {
        let (key, id, perms) = (f.number()?, f.number()?, f.octal()?);
        let (size, cpid, lpid, nattch) = (f.number()?, f.number()?, f.number()?, f.number()?);
        let (owner, creator) = (f.owner()?, f.owner()?);
        let (atime, dtime, ctime) = (f.number()?, f.number()?, f.number()?);
        let (rss, swap) = (f.number()?, f.number()?);
        let common = Common { key, id, mode: Mode::from_kernel(perms), owner, creator, ctime };
        let (removed, locked) = (perms & SHM_DEST != 0, perms & SHM_LOCKED != 0);
        Some(ShmRecord { common, removed, locked, size, cpid, lpid, nattch, atime, dtime, rss, swap })
    })
}

/// Reads `/proc/sysvipc/sem`.
pub fn parse_sem(text: &[u8]) -> Result<Vec<SemRecord>, ValueError> {
    parse(text, |f| {
        let (key, id, perms, nsems) = (f.number()?, f.number()?, f.octal()?, f.number()?);
        let (owner, creator) = (f.owner()?, f.owner()?);
        let (otime, ctime) = (f.number()?, f.number()?);
        let common = Common { key, id, mode: Mode::from_kernel(perms), owner, creator, ctime };
        Some(SemRecord { common, nsems, otime })
    })
}

/// Reads `/proc/sysvipc/msg`.
pub fn parse_msg(text: &[u8]) -> Result<Vec<MsgRecord>, ValueError> {
    parse(text, |f| {
        let (key, id, perms, cbytes, qnum) = (f.number()?, f.number()?, f.octal()?, f.number()?, f.number()?);
        let (lspid, lrpid) = (f.number()?, f.number()?);
        let (owner, creator) = (f.owner()?, f.owner()?);
        let (stime, rtime, ctime) = (f.number()?, f.number()?, f.number()?);
        let common = Common { key, id, mode: Mode::from_kernel(perms), owner, creator, ctime };
        Some(MsgRecord { common, cbytes, qnum, qbytes: None, lspid, lrpid, stime, rtime })
    })
}

impl Common {
    fn existing(&self, kind: Kind, id: fn(Key) -> ObjectId) -> Existing {
        Existing {
            id: Key::new(self.key).map(id),
            kind,
            sysv_id: Some(self.id),
            owner: self.owner,
            creator: self.creator,
            mode: self.mode,
            extent: 0,
            message_size: 0,
            in_use: 0,
            ctime: self.ctime,
            otime: 0,
            inode: 0,
        }
    }
}

impl From<&ShmRecord> for Existing {
    fn from(r: &ShmRecord) -> Existing {
        Existing { extent: r.size, in_use: r.nattch, ..r.common.existing(Kind::Shm, ObjectId::Shm) }
    }
}

impl From<&SemRecord> for Existing {
    fn from(r: &SemRecord) -> Existing {
        Existing { extent: r.nsems, otime: r.otime, ..r.common.existing(Kind::Sem, ObjectId::Sem) }
    }
}

impl From<&MsgRecord> for Existing {
    /// A capacity that is not known becomes 0.
    fn from(r: &MsgRecord) -> Existing {
        let common = r.common.existing(Kind::Msg, ObjectId::Msg);
        Existing { extent: r.qbytes.unwrap_or(0), in_use: r.qnum, ..common }
    }
}

/// Every line but the first, which is the header, becomes a record.
fn parse<T>(text: &[u8], record: impl Fn(&mut Fields) -> Option<T>) -> Result<Vec<T>, ValueError> {
    let mut lines = text.split(|b| *b == b'\n').enumerate();
    lines.next();
    // A line has some 100 bytes or more: one allocation does for most.
    let mut records = Vec::with_capacity(text.len() / 100);
    for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let found = record(&mut Fields(line));
        records.push(found.ok_or_else(|| ValueError::new(format!("line {} is not understood", index + 1)))?);
    }
    Ok(records)
}

/// What is left of a line.
struct Fields<'l>(&'l [u8]);

impl Fields<'_> {
    fn word(&mut self) -> &[u8] {
        let start = self.0.trim_ascii_start();
        let end = start.iter().position(u8::is_ascii_whitespace).unwrap_or(start.len());
        let (word, rest) = start.split_at(end);
        self.0 = rest;
        word
    }

    /// A decimal number that fits `N`.
    fn number<N: TryFrom<i128>>(&mut self) -> Option<N> {
        let word = self.word();
        let (sign, digits) = match word {
            [b'-', digits @ ..] => (-1, digits),
            digits => (1, digits),
        };
        let magnitude = accumulate(digits, 10)?;
        N::try_from(sign * i128::from(magnitude)).ok()
    }

    fn octal(&mut self) -> Option<u32> {
        accumulate(self.word(), 8).and_then(|n| u32::try_from(n).ok())
    }

    fn owner(&mut self) -> Option<Owner> {
        Some(Owner { uid: self.number()?, gid: self.number()? })
    }
}

fn accumulate(digits: &[u8], base: u64) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        if digit < base { sum.checked_mul(base)?.checked_add(digit) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHM: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
                       atime      dtime      ctime                   rss                  swap\n";

    #[test]
    fn reads_all_columns_of_a_segment() {
        let text = format!(
            "{SHM}        -1          0  3600                  5000  4321     7      2  1000   100     0     5 1700000001 \
             1700000002 1700000003                  8192                  4096\n"
        );
        let owner = Owner { uid: 1000, gid: 100 };
        let creator = Owner { uid: 0, gid: 5 };
        let mode = Mode::from_kernel(0o600);
        let expected = ShmRecord {
            common: Common { key: -1, id: 0, mode, owner, creator, ctime: 1_700_000_003 },
            removed: true,
            locked: true,
            size: 5000,
            cpid: 4321,
            lpid: 7,
            nattch: 2,
            atime: 1_700_000_001,
            dtime: 1_700_000_002,
            rss: 8192,
            swap: 4096,
        };
        assert_eq!(parse_shm(text.as_bytes()).unwrap(), [expected]);
        let existing = Existing::from(&expected);
        assert_eq!((existing.extent, existing.in_use, existing.sysv_id), (5000, 2, Some(0)));
        assert_eq!(existing.id, Some(ObjectId::Shm(Key::new(-1).unwrap())));
    }

    #[test]
    fn reads_sets_and_queues() {
        let sems = parse_sem(b"header\n 2147483647 32768 644 3 1 2 3 4 5 6\n").unwrap();
        assert_eq!((sems[0].nsems, sems[0].otime, sems[0].common.ctime), (3, 5, 6));
        assert_eq!((sems[0].common.key, sems[0].common.id), (i32::MAX, 32768));
        let msgs = parse_msg(b"header\n -2147483648 1 0 10 2 30 40 1 2 3 4 5 6 7 later columns\n\n").unwrap();
        let m = msgs[0];
        assert_eq!((m.cbytes, m.qnum, m.lspid, m.lrpid, m.stime, m.rtime, m.common.ctime), (10, 2, 30, 40, 5, 6, 7));
        assert_eq!((m.common.key, m.qbytes), (i32::MIN, None));
        assert_eq!(m.common.creator, Owner { uid: 3, gid: 4 });
    }

    #[test]
    fn an_empty_list_has_a_header_only() {
        assert!(parse_shm(SHM.as_bytes()).unwrap().is_empty());
        assert!(parse_msg(b"").unwrap().is_empty());
    }

    #[test]
    fn names_the_line_that_it_does_not_understand() {
        let good = "0 0 600 1 0 0 0 0 0 0\n";
        for bad in [
            "0 0 600 1 0 0 0 0 0",
            "0 0 800 1 0 0 0 0 0 0",
            "2147483648 0 600 1 0 0 0 0 0 0",
            "0 0 600 18446744073709551616 0 0 0 0 0 0",
            "0 0 600 -1 0 0 0 0 0 0",
            "0 0 600 1 4294967296 0 0 0 0 0",
            "- 0 600 1 0 0 0 0 0 0",
            "\u{0} \u{ff} x",
            " ",
        ] {
            let error = parse_sem(format!("header\n{good}{bad}\n{good}").as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "line 3 is not understood", "{bad}");
        }
    }

    #[test]
    fn any_bytes_at_all_are_survived() {
        let mut state = 1u64;
        let mut text = vec![0u8; 4096];
        for _ in 0..200 {
            for byte in &mut text {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = b"0123456789- \n\n\x00\xffz"[(state >> 33) as usize % 17];
            }
            let _ = (parse_shm(&text), parse_sem(&text), parse_msg(&text));
        }
    }
}
