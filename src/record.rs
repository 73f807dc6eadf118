//! The record of a run: what was done to whom, so that the container's end can be cleaned up and a failure read later.
//!
//! One is written only when the namespace is shared, the run failed, or the policy says `when = "always"`. In a shared
//! namespace a journal of what will be changed lies on disk before the first change and goes when the run is finished; one
//! that is still there is of a run that was killed, and the next run or clean-up in that namespace takes back what it did.
//! `/run` is in memory: a reboot, which the boot id tells, ends the namespaces as well.

mod recover;
mod store;
mod stored;
mod watched;

pub use store::Store;
pub use stored::{Stored, StoredObject, StoredReport};

use crate::apply::{After, Ending, Outcome};
use crate::error::{Error, Result};
use crate::ipc::{Existing, IdMaps, ObjectId, Owner};
use crate::kernel::Ipc;
use crate::kernel::life::{boot_id, pid_namespace, started};
use crate::kernel::namespace::{Joined, NamespaceFd};
use crate::plan::{Change, Plan};
use crate::report::{self, Integer, Namespace, Report, Subject};
use crate::request::OnStop;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};
pub(crate) use store::{JOURNAL, RECORD};
pub(crate) use watched::Watched;

/// Name and version of the format.
pub const FORMAT: &str = "oci-ipc-hook.record/1";

/// Most bytes of a container id in a file's name.
const MAX_ID: usize = 64;

/// What all files of a container are called, without the suffix: its id, cut and made harmless, and 16 hexadecimal digits
/// of the SHA-256 of bundle, NUL and id.
pub fn stem(bundle: &str, id: &str) -> String {
    let mut hash = hmac_sha256::Hash::new();
    hash.update(bundle.as_bytes());
    hash.update([0]);
    hash.update(id.as_bytes());
    let digits: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{digits}", harmless(id))
}

/// The id as the beginning of a file's name: a hidden name or one with a slash is no runtime's id, but may be in a state.
fn harmless(id: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+');
    let mut name: String = id.bytes().take(MAX_ID).map(|b| if plain(b) { char::from(b) } else { '_' }).collect();
    if name.starts_with('.') {
        name.replace_range(..1, "_");
    }
    name
}

/// False when a file of this name cannot be of the container.
fn may_be_of(name: &str, id: &str) -> bool {
    name.strip_prefix(&harmless(id)).is_some_and(|rest| rest.starts_with('-'))
}

/// A process by its number and its start, in clock ticks since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its number.
    pub pid: i32,
    /// Its start.
    pub started: u64,
}

impl Life {
    fn of(pid: i32) -> Option<Life> {
        started(pid).map(|started| Life { pid, started })
    }
}

/// The hook's process, by which the kernel tells who made an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Maker {
    pid: i32,
    /// Children of it make the objects, one each: their numbers are not known before.
    children: bool,
    /// Inode of the pid namespace in which it has that number.
    pid_namespace: u64,
}

impl Maker {
    /// `None`: its pid namespace cannot be told.
    fn own(children: bool) -> Option<Maker> {
        Some(Maker { pid: std::process::id().cast_signed(), children, pid_namespace: pid_namespace()? })
    }
}

/// Whose run it is.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Container id; `None` = nobody will say that it has stopped, so that no record is kept.
    pub container: Option<String>,
    /// Directory of its config.json.
    pub bundle: Option<String>,
    /// Its first process.
    pub pid: Option<i32>,
    /// Where its namespace is to be found, as config.json or the caller says.
    pub ipc_path: Option<String>,
    /// The namespace.
    pub namespace: Option<Namespace>,
    /// config.json was read.
    pub spec_checked: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Record<'r> {
    format: &'static str,
    boot: &'r str,
    container: &'r str,
    bundle: &'r str,
    process: Option<Life>,
    ipc_path: Option<&'r str>,
    ipc_path_process: Option<Life>,
    maker: Option<Maker>,
    written: i64,
    objects: Vec<Object>,
    report: &'r Report<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Object {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    id: Option<i32>,
    inode: Option<Integer>,
    cuid: u32,
    cgid: u32,
    ctime: Option<i64>,
    on_stop: &'static str,
}

impl About {
    fn subject(&self) -> Subject<'_> {
        Subject { container: self.container.as_deref(), namespace: self.namespace, spec_checked: self.spec_checked }
    }

    fn text(&self, boot: &str, maker: Option<Maker>, objects: Vec<Object>, report: &Report<'_>) -> String {
        let record = Record {
            format: FORMAT,
            boot,
            container: self.container.as_deref().unwrap_or_default(),
            bundle: self.bundle.as_deref().unwrap_or_default(),
            process: self.pid.and_then(Life::of),
            ipc_path: self.ipc_path.as_deref(),
            ipc_path_process: self.ipc_path.as_deref().and_then(process_of).and_then(Life::of),
            maker,
            written: now(),
            objects,
            report,
        };
        report::line(&record)
    }
}

/// The process that a path such as `/proc/7/ns/ipc` names.
fn process_of(path: &str) -> Option<i32> {
    path.strip_prefix("/proc/")?.strip_suffix("/ns/ipc")?.parse().ok()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed())
}

fn boot() -> Result<String> {
    boot_id().map_err(|e| Error::failed("records", e.to_string()))
}

/// Keeps journal and record of one run. The directory is opened before the namespace is joined, because a user namespace
/// may take the right to.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    boot: String,
    stem: String,
    about: About,
    journal: bool,
    /// The journal, once it is written.
    begun: Option<OwnedFd>,
}

impl Keeper {
    /// For a run of which a record will be kept, and, if `journal` says so, a journal. `None`: this user has no place for
    /// records.
    ///
    /// # Errors
    /// The directory is not ours alone, or cannot be made.
    pub fn open(about: About, journal: bool) -> Result<Option<Keeper>> {
        let Some(store) = Store::open(true)? else { return Ok(None) };
        let stem = match (&about.container, about.bundle.as_deref().unwrap_or_default()) {
            (Some(id), bundle) => stem(bundle, id),
            (None, _) => stem("", &format!("pid-{}", std::process::id())),
        };
        Ok(Some(Keeper { store, boot: boot()?, stem, about, journal, begun: None }))
    }

    /// What killed runs have left in the namespace, whose lock is held. To be called before it is joined.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn killed_runs(&self, ns: &NamespaceFd) -> Result<KilledRuns> {
        if !self.journal {
            return Ok(KilledRuns::default());
        }
        let names = self.store.names()?;
        self.store.prune(&names, &self.boot, now());
        Ok(KilledRuns::find(&self.store, &names, &self.boot, ns))
    }

    /// Takes it back. Tells what was found and what stays.
    ///
    /// # Errors
    /// The namespace cannot be left for the directory, or a journal not be removed.
    pub fn take_back(&self, killed: KilledRuns, joined: &mut Joined) -> Result<Vec<String>> {
        killed.take_back(&self.store, joined)
    }

    /// Puts down what will be changed.
    ///
    /// # Errors
    /// It cannot be written: nothing may be changed then.
    pub fn begin(&mut self, plan: &Plan, joined: &Joined) -> Result<()> {
        if !self.journal || plan.is_noop() {
            return Ok(());
        }
        let objects = objects(plan, joined.maps(), |_| None);
        let report = Report::planned(&self.about.subject(), plan);
        let text = self.about.text(&self.boot, Maker::own(joined.labels_objects()), objects, &report);
        self.begun = Some(self.store.write(&format!("{}{JOURNAL}", self.stem), &text)?);
        Ok(())
    }

    /// The namespace to carry the plan out in, so that the journal tells how far the run has come in time.
    pub(crate) fn watch<'w>(&'w self, ipc: &'w mut dyn Ipc) -> Watched<'w> {
        Watched { ipc, journal: self.begun.as_ref() }
    }

    /// Puts down what has been done, and that nothing is to be taken back any more.
    ///
    /// # Errors
    /// The record cannot be written, or the journal not be removed.
    pub fn finish(&self, plan: &Plan, outcome: &Outcome, maps: &IdMaps) -> Result<()> {
        let written = match outcome.ending {
            Ending::Done if self.about.container.is_some() => {
                let objects = objects(plan, maps, |index| match &outcome.after[index] {
                    Some(After::Object(object)) => Some(object),
                    _ => None,
                });
                let report = Report::applied(&self.about.subject(), plan, outcome);
                let text = self.about.text(&self.boot, None, objects, &report);
                self.store.write(&format!("{}{RECORD}", self.stem), &text).map(drop)
            }
            _ => Ok(()),
        };
        written.and(self.abandon())
    }

    /// There is nothing to be taken back.
    ///
    /// # Errors
    /// The journal cannot be removed.
    pub fn abandon(&self) -> Result<()> {
        if self.begun.is_some() { self.store.remove(&format!("{}{JOURNAL}", self.stem)) } else { Ok(()) }
    }
}

/// The objects of a plan; `made` gives those that are there, by step.
fn objects<'o>(plan: &Plan, maps: &IdMaps, made: impl Fn(usize) -> Option<&'o Existing>) -> Vec<Object> {
    let steps = plan.steps.iter().enumerate();
    let object = |(index, step): (usize, &crate::plan::Step)| {
        let Change::Object { spec, on_stop, .. } = &step.change else { return None };
        let there = made(index);
        Some(Object::new(&spec.id, *on_stop, there, maps, there.map_or(spec.owner, |t| t.creator)))
    };
    steps.filter_map(object).collect()
}

impl Object {
    fn new(id: &ObjectId, on_stop: OnStop, there: Option<&Existing>, maps: &IdMaps, creator: Owner) -> Object {
        let Owner { uid: cuid, gid: cgid } = maps.to_outside(creator).unwrap_or(creator);
        let system_v = there.filter(|t| t.sysv_id.is_some());
        Object {
            kind: id.kind().name(),
            name: id.name(),
            id: system_v.and_then(|t| t.sysv_id),
            inode: there.filter(|t| t.sysv_id.is_none()).map(|t| Integer(t.inode)),
            cuid,
            cgid,
            ctime: system_v.map(|t| t.ctime),
            on_stop: match on_stop {
                OnStop::Keep => "keep",
                OnStop::Remove => "remove",
            },
        }
    }
}

/// The journals of killed runs in one namespace.
#[derive(Debug, Default)]
pub struct KilledRuns {
    journals: Vec<(String, Stored)>,
    /// That of this process.
    pid_namespace: Option<u64>,
    notes: Vec<String>,
}

impl KilledRuns {
    /// Those of this namespace. Where the kernel has no number for it, a journal's way there is tried again, and that takes
    /// rights that are gone once the namespace is joined.
    pub(crate) fn find(store: &Store, names: &[String], boot: &str, ns: &NamespaceFd) -> KilledRuns {
        let mut found = KilledRuns::default();
        for name in names.iter().filter(|name| name.ends_with(JOURNAL)) {
            match store.load(name) {
                Ok(Some(mut journal)) if journal.is_of(ns, boot) => {
                    journal.last_sign = store.modified(name).unwrap_or(journal.written);
                    found.journals.push((name.clone(), journal));
                }
                Ok(_) => {}
                Err(error) => found.notes.push(error.to_string()),
            }
        }
        if !found.journals.is_empty() {
            found.pid_namespace = pid_namespace();
        }
        found
    }

    /// Takes back what those runs did, and removes their journals. Tells what was found and what stays.
    pub(crate) fn take_back(self, store: &Store, joined: &mut Joined) -> Result<Vec<String>> {
        let mut notes = self.notes;
        for (name, journal) in &self.journals {
            let maps = joined.maps().clone();
            let stays = recover::recover(journal, self.pid_namespace, joined, &maps);
            joined.resume_identity().map_err(|e| Error::failed("own identity", e.to_string()))?;
            let container = crate::text::shorten(&journal.container, MAX_ID);
            notes.push(format!(
                "a run for container '{container}' was killed in this namespace: what it did is taken back"
            ));
            notes.extend(stays.iter().map(ToString::to_string));
            store.remove(name)?;
        }
        Ok(notes)
    }
}

/// Keeps the report of a run that failed. Nothing is kept of a state without a bundle: it is no container's.
///
/// # Errors
/// It cannot be written.
pub fn keep_failure(about: &About, report: &Report<'_>) -> Result<()> {
    let (Some(id), Some(bundle)) = (&about.container, &about.bundle) else { return Ok(()) };
    crate::kernel::identity::resume_saved().map_err(|e| Error::failed("own identity", e.to_string()))?;
    let Some(store) = Store::open(true)? else { return Ok(()) };
    store.keep_failure(&stem(bundle, id), &about.text(&boot()?, None, Vec::new(), report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless_and_tell_bundles_apart() {
        assert_eq!(stem("/run/b", "web"), format!("web-{}", stem("/run/b", "web").split('-').next_back().unwrap()));
        assert_ne!(stem("/a", "web"), stem("/b", "web"));
        // printf '/b\0x' | sha256sum
        assert_eq!(stem("/b", "x"), "x-a6a83ab276c503f6");
        let long = "a".repeat(200);
        assert_eq!(stem("", &long).len(), 64 + 1 + 16);
        for hostile in ["../../etc/passwd", ".hidden", "a/b", "a\0b", "ö", "a\nb"] {
            let stem = stem("/b", hostile);
            assert!(!stem.starts_with('.') && !stem.contains(['/', '\0', '\n']) && stem.is_ascii(), "{stem}");
            assert!(may_be_of(&format!("{stem}.json"), hostile));
        }
        assert!(!may_be_of("web2-0123456789abcdef.json", "web"));
    }

    #[test]
    fn a_path_names_a_process_or_not() {
        assert_eq!(process_of("/proc/17/ns/ipc"), Some(17));
        for other in ["/proc/self/ns/ipc", "/run/ipcns/1", "/proc/17/ns/net", "/proc//ns/ipc", ""] {
            assert_eq!(process_of(other), None, "{other}");
        }
    }
}
