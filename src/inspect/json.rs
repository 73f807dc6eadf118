//! `oci-ipc-hook.inspect/1`: the contract of `inspect --json`. Names are those of lsipc(1) and of profiles; integers from 2⁵³
//! on are decimal strings; times are seconds since the epoch, 0 for never.

use super::drift::Drift;
use super::{Seen, Use, View};
use crate::ipc::{Mode, NamespaceId, Sysctl, SysctlValue};
use crate::kernel::listing::MqueueRecord;
use crate::kernel::sysvipc::{Common, MsgRecord, SemRecord, ShmRecord};
use crate::report::{self, Integer};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::io::{self, Write};

/// Name and version of the format.
pub const FORMAT: &str = "oci-ipc-hook.inspect/1";

/// Writes the document around namespaces that are JSON already.
///
/// # Errors
/// The writer's.
pub fn write(out: &mut impl Write, namespaces: &[Vec<u8>]) -> io::Result<()> {
    write!(out, "{{\n\"format\": \"{FORMAT}\",\n")?;
    list(out, "namespaces", namespaces)?;
    out.write_all(b"\n}\n")
}

/// The same with records that are JSON already.
///
/// # Errors
/// The writer's.
pub fn write_recorded(out: &mut impl Write, namespaces: &[Vec<u8>], records: &[Vec<u8>]) -> io::Result<()> {
    write!(out, "{{\n\"format\": \"{FORMAT}\",\n")?;
    list(out, "records", records)?;
    out.write_all(b",\n")?;
    list(out, "namespaces", namespaces)?;
    out.write_all(b"\n}\n")
}

fn list(out: &mut impl Write, name: &str, texts: &[Vec<u8>]) -> io::Result<()> {
    write!(out, "\"{name}\": [")?;
    for (index, text) in texts.iter().enumerate() {
        out.write_all(if index == 0 { b"\n" } else { b",\n" })?;
        out.write_all(text)?;
    }
    out.write_all(b"\n]")
}

/// One namespace.
pub fn namespace(view: &View) -> Vec<u8> {
    report::pretty(&Namespace::new(view)).into_bytes()
}

/// One that could not be looked at.
pub fn refused(id: NamespaceId, pids: &[i32], error: &str) -> Vec<u8> {
    let value = serde_json::json!({ "dev": Integer(id.dev), "ino": Integer(id.ino), "pids": pids, "error": error });
    report::pretty(&value).into_bytes()
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Namespace<'v> {
    dev: Integer,
    ino: Integer,
    id: Option<Integer>,
    host: bool,
    pids: &'v [i32],
    containers: Vec<ContainerRow<'v>>,
    rlimit_msgqueue: Option<Integer>,
    sysctl: Sysctls<'v>,
    usage: Usage,
    shm: Rows<'v, ShmRecord>,
    sem: Rows<'v, SemRecord>,
    msg: Rows<'v, MsgRecord>,
    mqueue: Rows<'v, MqueueRecord>,
    mqueue_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<&'v [Drift]>,
}

#[derive(Serialize)]
struct ContainerRow<'v> {
    engine: &'v str,
    id: &'v str,
    names: &'v [String],
    pid: i32,
}

impl<'v> Namespace<'v> {
    fn new(view: &'v View) -> Self {
        let listing = &view.listing;
        Namespace {
            dev: Integer(view.id.dev),
            ino: Integer(view.id.ino),
            id: view.unique.map(Integer),
            host: view.is_initial(),
            pids: &view.pids,
            containers: view
                .containers
                .iter()
                .map(|c| ContainerRow { engine: &c.engine, id: &c.id, names: &c.names, pid: c.pid })
                .collect(),
            rlimit_msgqueue: view.msgqueue_limit.filter(|bytes| *bytes != u64::MAX).map(Integer),
            sysctl: Sysctls(view),
            usage: Usage(view.usage()),
            shm: Rows { view, records: &listing.shm },
            sem: Rows { view, records: &listing.sem },
            msg: Rows { view, records: &listing.msg },
            mqueue: Rows { view, records: &listing.mqueue },
            mqueue_error: listing.mqueue_error.as_ref().map(ToString::to_string),
            drift: view.drift.as_deref(),
        }
    }
}

/// `null` for a file that this kernel does not have.
struct Sysctls<'v>(&'v View);

impl Serialize for Sysctls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Sysctl::ALL.len()))?;
        for sysctl in Sysctl::ALL {
            match self.0.sysctl(sysctl) {
                None => map.serialize_entry(sysctl.name(), &())?,
                Some(SysctlValue::Sem(fields)) => map.serialize_entry(sysctl.name(), &fields)?,
                Some(SysctlValue::Number(n)) => map.serialize_entry(sysctl.name(), &Integer(n))?,
            }
        }
        map.end()
    }
}

struct Usage([Use; 6]);

impl Serialize for Usage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Row {
            used: Integer,
            limit: Option<Integer>,
            percent: Option<f64>,
        }
        serializer.collect_map(self.0.iter().map(|u| {
            let percent = u.percent().map(|p| (p * 100.0).round() / 100.0);
            (u.name, Row { used: Integer(u.used), limit: u.limit.map(Integer), percent })
        }))
    }
}

/// Rows made one by one while they are written: there can be very many.
struct Rows<'v, R> {
    view: &'v View,
    records: &'v [R],
}

impl<R: Row> Serialize for Rows<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.records.iter().map(|record| record.row(self.view)))
    }
}

trait Row {
    fn row(&self, view: &View) -> impl Serialize;
}

/// Something that is written as its text.
struct Text<T>(T);

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A System V object's common part; the keys `host-…` are there when the container has ids of its own.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct CommonRow {
    key: Text<KeyText>,
    id: i32,
    #[serde(flatten)]
    owner: OwnerRow,
    cuid: u32,
    cgid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_cuid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_cgid: Option<u32>,
    mode: Text<Mode>,
    ctime: i64,
}

/// As ipcs(1) prints it; zeros for a private object.
pub(super) struct KeyText(pub(super) i32);

impl std::fmt::Display for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#010x}", self.0.cast_unsigned())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct OwnerRow {
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_gid: Option<u32>,
}

impl From<Seen> for OwnerRow {
    fn from(Seen { inside, outside }: Seen) -> Self {
        OwnerRow {
            uid: inside.uid,
            gid: inside.gid,
            host_uid: outside.map(|o| o.uid),
            host_gid: outside.map(|o| o.gid),
        }
    }
}

impl CommonRow {
    fn new(common: &Common, view: &View) -> Self {
        let (owner, creator) = view.owners(common);
        CommonRow {
            key: Text(KeyText(common.key)),
            id: common.id,
            owner: owner.into(),
            cuid: creator.inside.uid,
            cgid: creator.inside.gid,
            host_cuid: creator.outside.map(|o| o.uid),
            host_cgid: creator.outside.map(|o| o.gid),
            mode: Text(common.mode),
            ctime: common.ctime,
        }
    }
}

impl Row for ShmRecord {
    fn row(&self, view: &View) -> impl Serialize {
        #[derive(Serialize)]
        struct ShmRow {
            #[serde(flatten)]
            common: CommonRow,
            size: Integer,
            nattch: u64,
            rss: Integer,
            swap: Integer,
            removed: bool,
            locked: bool,
            cpid: i32,
            lpid: i32,
            atime: i64,
            dtime: i64,
        }
        ShmRow {
            common: CommonRow::new(&self.common, view),
            size: Integer(self.size),
            nattch: self.nattch,
            rss: Integer(self.rss),
            swap: Integer(self.swap),
            removed: self.removed,
            locked: self.locked,
            cpid: self.cpid,
            lpid: self.lpid,
            atime: self.atime,
            dtime: self.dtime,
        }
    }
}

impl Row for SemRecord {
    fn row(&self, view: &View) -> impl Serialize {
        #[derive(Serialize)]
        struct SemRow {
            #[serde(flatten)]
            common: CommonRow,
            nsems: u64,
            otime: i64,
        }
        SemRow { common: CommonRow::new(&self.common, view), nsems: self.nsems, otime: self.otime }
    }
}

impl Row for MsgRecord {
    fn row(&self, view: &View) -> impl Serialize {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct MsgRow {
            #[serde(flatten)]
            common: CommonRow,
            used_bytes: Integer,
            messages: u64,
            max_bytes: Option<Integer>,
            lspid: i32,
            lrpid: i32,
            stime: i64,
            rtime: i64,
        }
        MsgRow {
            common: CommonRow::new(&self.common, view),
            used_bytes: Integer(self.cbytes),
            messages: self.qnum,
            max_bytes: self.qbytes.map(Integer),
            lspid: self.lspid,
            lrpid: self.lrpid,
            stime: self.stime,
            rtime: self.rtime,
        }
    }
}

impl Row for MqueueRecord {
    fn row(&self, view: &View) -> impl Serialize {
        /// The last four are `null` when the queue may not be opened.
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct MqueueRow {
            name: String,
            #[serde(flatten)]
            owner: OwnerRow,
            mode: Text<Mode>,
            max_messages: Option<u64>,
            message_size: Option<u64>,
            messages: Option<u64>,
            used_bytes: Option<u64>,
        }
        MqueueRow {
            name: String::from_utf8_lossy(&self.name).into_owned(),
            owner: view.ids.seen(self.owner).into(),
            mode: Text(self.mode),
            max_messages: self.content.map(|c| c.max_messages),
            message_size: self.content.map(|c| c.message_size),
            messages: self.content.map(|c| c.messages),
            used_bytes: self.content.map(|c| c.bytes),
        }
    }
}
