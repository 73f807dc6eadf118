//! A record as it is read again.

use super::{FORMAT, Life, Maker};
use crate::ipc::{Kind, NamespaceId, ObjectId, Owner};
use crate::kernel::life::started;
use crate::kernel::namespace::NamespaceFd;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::path::Path;

/// A record, an unfinished run or a failure that was kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stored {
    pub(super) format: String,
    /// The run of the machine that it is from.
    pub boot: String,
    /// Container id.
    pub container: String,
    /// Directory of its config.json; empty when the state named none.
    pub bundle: String,
    /// The container's first process.
    pub process: Option<Life>,
    /// Where the namespace was to be found, as config.json or the caller said.
    pub ipc_path: Option<String>,
    /// The process that the path names, if it does.
    pub ipc_path_process: Option<Life>,
    /// The process of a run that is under way; none in older records.
    pub(super) maker: Option<Maker>,
    /// When it was written, seconds since the epoch.
    pub written: i64,
    /// When the run of a journal last began to create something, or wrote the journal.
    #[serde(skip)]
    pub(super) last_sign: i64,
    /// Objects that the profile asked for.
    pub objects: Vec<StoredObject>,
    /// What the run did, or means to do.
    pub report: StoredReport,
    /// The text itself, for those who show it.
    #[serde(skip)]
    pub text: Vec<u8>,
    /// Of a run that was killed, or is under way.
    #[serde(skip)]
    pub unfinished: bool,
    /// Of a run that failed.
    #[serde(skip)]
    pub failed: bool,
}

/// An object of a record. Ids are those that the hook saw.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoredObject {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    /// `shmid`, `semid`, `msqid`; nothing before it was made, and for POSIX queues.
    pub id: Option<i32>,
    /// Of a POSIX queue.
    #[serde(default, deserialize_with = "integer")]
    pub inode: Option<u64>,
    cuid: u32,
    cgid: u32,
    /// Nothing before it was made, and for POSIX queues.
    pub ctime: Option<i64>,
    on_stop: String,
}

/// The part of the report that is needed again.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredReport {
    namespace: Option<StoredNamespace>,
    pub(super) steps: Vec<StoredStep>,
    /// `planned`, `done`, …
    pub outcome: String,
}

#[derive(Clone, Debug, Deserialize)]
struct StoredNamespace {
    #[serde(deserialize_with = "integer")]
    dev: Option<u64>,
    #[serde(deserialize_with = "integer")]
    ino: Option<u64>,
    #[serde(default, deserialize_with = "integer")]
    id: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct StoredStep {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) before: Value,
    pub(super) wanted: Value,
    pub(super) action: String,
}

impl Stored {
    /// Reads the text of a record.
    pub(super) fn parse(text: Vec<u8>) -> Result<Stored, String> {
        let stored: Stored = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
        if stored.format != FORMAT {
            return Err(format!("its format is '{}', not '{FORMAT}'", stored.format));
        }
        Ok(Stored { text, ..stored })
    }

    /// The namespace, as far as its device and inode tell.
    pub fn namespace(&self) -> Option<NamespaceId> {
        let found = self.report.namespace.as_ref()?;
        Some(NamespaceId { dev: found.dev?, ino: found.ino? })
    }

    /// Whether it is about this namespace, as far as device, inode and, where both sides know it, the kernel's never-reused
    /// number tell.
    pub(crate) fn fits(&self, ns: &NamespaceFd, boot: &str) -> bool {
        let number = self.report.namespace.as_ref().and_then(|n| n.id);
        self.boot == boot
            && self.namespace() == Some(ns.id())
            && number.zip(ns.unique_id()).is_none_or(|(recorded, now)| recorded == now)
    }

    /// Whether it is about this namespace and no later one with its inode. Without the kernel's number, what led to the
    /// namespace then must lead there now.
    pub(crate) fn is_of(&self, ns: &NamespaceFd, boot: &str) -> bool {
        self.fits(ns, boot) && (self.is_numbered(ns) || self.way_leads_to(ns, boot))
    }

    /// Whether both the record and the kernel have the never-reused number of the namespace.
    pub(crate) fn is_numbered(&self, ns: &NamespaceFd) -> bool {
        self.report.namespace.as_ref().and_then(|n| n.id).zip(ns.unique_id()).is_some()
    }

    fn way_leads_to(&self, ns: &NamespaceFd, boot: &str) -> bool {
        let path = match (&self.ipc_path, self.process) {
            (Some(path), _) => path.clone(),
            (None, Some(life)) => format!("/proc/{}/ns/ipc", life.pid),
            (None, None) => return false,
        };
        let same_process = match (&self.ipc_path, self.ipc_path_process) {
            (Some(_), life) => life.is_none_or(|life| life.is_alive(&self.boot, boot)),
            (None, _) => self.is_live(boot),
        };
        same_process && NamespaceFd::from_path(Path::new(&path)).is_ok_and(|found| found.id() == ns.id())
    }

    /// The namespace itself, if it is still there.
    pub(crate) fn find_namespace(&self, boot: &str) -> Option<NamespaceFd> {
        let by_path = self.ipc_path.as_deref().and_then(|path| NamespaceFd::from_path(Path::new(path)).ok());
        by_path.filter(|ns| self.fits(ns, boot)).or_else(|| {
            let ns = NamespaceFd::by_id(self.namespace()?)?;
            self.fits(&ns, boot).then_some(ns)
        })
    }

    /// True unless the container's first process has ended. Where none is known, the container counts as alive.
    pub(crate) fn is_live(&self, boot: &str) -> bool {
        self.boot == boot && self.process.is_none_or(|life| life.is_alive(&self.boot, boot))
    }

    /// False when nobody can ask for it any more: the container has ended, or what it was prepared in is gone.
    pub(crate) fn is_needed(&self, boot: &str) -> bool {
        self.is_live(boot) && (self.process.is_some() || self.find_namespace(boot).is_some())
    }

    /// The object of a step.
    pub(super) fn object(&self, id: &ObjectId) -> Option<&StoredObject> {
        self.objects.iter().find(|o| o.object_id().as_ref() == Some(id))
    }
}

impl Life {
    fn is_alive(self, recorded: &str, boot: &str) -> bool {
        recorded == boot && started(self.pid) == Some(self.started)
    }
}

impl StoredObject {
    /// Which.
    pub fn object_id(&self) -> Option<ObjectId> {
        object_id(&self.kind, &self.name)
    }

    /// Who made it, in the ids that the hook saw.
    pub(crate) fn creator(&self) -> Owner {
        Owner { uid: self.cuid, gid: self.cgid }
    }

    /// `on-stop = "remove"`.
    pub fn goes_on_stop(&self) -> bool {
        self.on_stop == "remove"
    }

    /// True when it stands for the very object of the other record.
    pub(crate) fn is_same(&self, other: &StoredObject) -> bool {
        let key = |o: &StoredObject| (o.kind.clone(), o.name.clone(), o.id, o.inode);
        key(self) == key(other)
    }
}

pub(super) fn object_id(kind: &str, name: &str) -> Option<ObjectId> {
    let kind = Kind::ALL.into_iter().find(|k| k.name() == kind)?;
    Some(match kind {
        Kind::Shm => ObjectId::Shm(name.parse().ok()?),
        Kind::Sem => ObjectId::Sem(name.parse().ok()?),
        Kind::Msg => ObjectId::Msg(name.parse().ok()?),
        Kind::Mqueue => ObjectId::Mqueue(name.parse().ok()?),
    })
}

/// An integer as [`crate::report::Integer`] writes it.
pub(super) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        value => number(&value).map(Some).ok_or_else(|| serde::de::Error::custom("not a whole number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"format":"oci-ipc-hook.record/1","boot":"b","container":"c","bundle":"/b","process":{"pid":7,"started":8},
        "ipc-path":null,"ipc-path-process":null,"written":5,
        "objects":[{"type":"shm","name":"0x00000010","id":3,"cuid":1,"cgid":2,"ctime":9,"on-stop":"remove"},
                   {"type":"mqueue","name":"/q","id":null,"inode":"9007199254740993","cuid":1,"cgid":2,"ctime":null,"on-stop":"keep"}],
        "report":{"format":"oci-ipc-hook.report/1","container":"c","namespace":{"dev":4,"ino":4026532177,"id":"9007199254740993","shared":true},
                  "spec":"checked","steps":[],"outcome":"done","error":null,"warnings":[]}}"#;

    #[test]
    fn reads_what_is_written() {
        let stored = Stored::parse(ONE.into()).unwrap();
        assert_eq!(stored.namespace(), Some(NamespaceId { dev: 4, ino: 4_026_532_177 }));
        assert_eq!(stored.report.namespace.as_ref().unwrap().id, Some(9_007_199_254_740_993));
        assert_eq!(stored.objects[0].object_id(), Some(ObjectId::Shm("0x10".parse().unwrap())));
        assert!(stored.objects[0].goes_on_stop() && !stored.objects[1].goes_on_stop());
        assert_eq!(stored.objects[1].inode, Some(9_007_199_254_740_993));
        assert!(!stored.objects[0].is_same(&stored.objects[1]));
    }

    #[test]
    fn refuses_everything_else() {
        for bad in ["", "{}", "[]", "null", &ONE.replace("record/1", "record/2"), &ONE.replace("\"written\":5,", "")] {
            assert!(Stored::parse(bad.into()).is_err(), "{bad}");
        }
        assert!(Stored::parse(ONE.replace("4026532177", "-1").into()).is_err());
        assert_eq!(object_id("shm", "0"), None);
        assert_eq!(object_id("mqueue", "/../x"), None);
        assert_eq!(object_id("file", "/etc/passwd"), None);
    }

    #[test]
    fn a_record_of_a_dead_process_or_another_boot_is_not_live() {
        let mut stored = Stored::parse(ONE.into()).unwrap();
        let own = std::process::id().cast_signed();
        assert!(!stored.is_live("b"), "no such process");
        stored.process = Some(Life { pid: own, started: started(own).unwrap() });
        assert!(stored.is_live("b"));
        assert!(!stored.is_live("other"));
        stored.process = Some(Life { pid: own, started: 1 });
        assert!(!stored.is_live("b"), "a stranger with its number");
        stored.process = None;
        assert!(stored.is_live("b"));
    }

    #[test]
    fn the_namespace_is_recognised() {
        let ns = NamespaceFd::of_self().unwrap();
        let mut stored = Stored::parse(ONE.into()).unwrap();
        let set = |stored: &mut Stored, ino, id| {
            stored.report.namespace = Some(StoredNamespace { dev: Some(ns.id().dev), ino: Some(ino), id });
        };
        let own = std::process::id().cast_signed();
        set(&mut stored, ns.id().ino, ns.unique_id());
        assert_eq!(stored.is_of(&ns, "b"), ns.unique_id().is_some());
        assert!(stored.fits(&ns, "b") && !stored.fits(&ns, "other boot"));
        set(&mut stored, ns.id().ino + 1, ns.unique_id());
        assert!(!stored.fits(&ns, "b"));
        // As on a kernel without the number: only the way there can tell.
        set(&mut stored, ns.id().ino, None);
        assert!(stored.fits(&ns, "b") && !stored.is_of(&ns, "b"));
        stored.ipc_path = Some(format!("/proc/{own}/ns/ipc"));
        stored.ipc_path_process = Some(Life { pid: own, started: started(own).unwrap() });
        assert!(stored.is_of(&ns, "b"));
        stored.ipc_path_process = Some(Life { pid: own, started: 1 });
        assert!(!stored.is_of(&ns, "b"), "a stranger with that process's number");
        stored.ipc_path = Some("/proc/self/ns/net".into());
        stored.ipc_path_process = None;
        assert!(!stored.is_of(&ns, "b"));
        if ns.unique_id().is_some() {
            set(&mut stored, ns.id().ino, Some(1));
            assert!(!stored.fits(&ns, "b"), "an inode that has come back");
        }
    }
}
