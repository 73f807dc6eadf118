//! The end of a container: what the hook left for it in a shared namespace goes, as its record says.
//!
//! Whatever is found, the stop goes on: youki cannot delete a container whose poststop hook fails.

use crate::error::{Error, Exit, Result};
use crate::hook::fail;
use crate::ipc::{Existing, IdMaps, NamespaceId};
use crate::kernel::identity::{CapSet, Capabilities};
use crate::kernel::life::boot_id;
use crate::kernel::namespace::{Joined, LockResult, NamespaceFd, OwnThread, Patience};
use crate::kernel::{Ipc as _, SysError};
use crate::log::Event;
use crate::oci::State;
use crate::record::{self, KilledRuns, Store, Stored, StoredObject};
use std::time::{Duration, Instant};

/// How long others in the namespace are waited for: longer than at a start, because giving up leaves things behind.
const PATIENCE: Patience = Patience { holder: Duration::from_secs(5), total: Duration::from_secs(10) };

/// Cleans up after the container of the state and tells what could not be done. Always [`Exit::Done`].
pub fn run(state: &State<'_>) -> Exit {
    let start = Instant::now();
    let mut troubles = Vec::new();
    if let Err(error) = clean_up(state, &mut troubles) {
        troubles.push(error);
    }
    for error in &troubles {
        let duration_usec = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let container = state.id.as_ref();
        Event { container, namespace: None, outcome: "partial", error: Some(error), plan: None, duration_usec }.send();
        fail(Some(container), error);
    }
    Exit::Done
}

fn clean_up(state: &State<'_>, troubles: &mut Vec<Error>) -> Result<()> {
    let Some(store) = Store::open(false)? else { return Ok(()) };
    let bundle = state.bundle.as_deref().unwrap_or_default();
    let stem = record::stem(bundle, &state.id);
    let of_container = |stored: &Stored| stored.container == state.id && stored.bundle == bundle;
    let mut load = |suffix: &str| match store.load(&format!("{stem}{suffix}")) {
        Ok(stored) => stored.filter(of_container),
        Err(error) => {
            troubles.push(error);
            None
        }
    };
    let (finished, journal) = (load(record::RECORD), load(record::JOURNAL));
    let removable = finished.iter().any(|stored| stored.objects.iter().any(StoredObject::goes_on_stop));
    // Of one container at most one of the two is of a run that counts, but both are in the same namespace.
    if let Some(stored) = journal.as_ref().or(finished.as_ref()).filter(|_| removable || journal.is_some()) {
        let boot = boot_id().map_err(|e| Error::failed("records", e.to_string()))?;
        if let Some(ns) = stored.find_namespace(&boot) {
            // The record stays, so that it can be done later.
            lock(&ns)?;
            if let Err(error) = in_namespace(&store, &stem, finished.as_ref(), &ns, &boot, troubles) {
                troubles.push(error);
                // The journal stays for the next run there.
                return store.remove(&format!("{stem}{}", record::RECORD));
            }
            // Before the lock goes: of two containers that stop at once, the second must not count the first.
            return store.forget(&stem);
        }
    }
    store.forget(&stem)
}

fn lock(ns: &NamespaceFd) -> Result<()> {
    let what = ns.id().to_string();
    match ns.lock(PATIENCE).map_err(|e| Error::failed(&*what, e.to_string()))? {
        LockResult::Locked => Ok(()),
        LockResult::Busy(holder) => {
            let holder = holder.map_or_else(|| "another process".to_owned(), |pid| format!("pid {pid}"));
            Err(Error::failed(what, "another run holds its lock: nothing was removed")
                .found(format!("locked by {holder}"))
                .remedy("call 'oci-ipc-hook cleanup' with the same state once it has ended"))
        }
    }
}

/// Under the namespace's lock: first what killed runs have left, then the objects of the record.
fn in_namespace(
    store: &Store,
    stem: &str,
    finished: Option<&Stored>,
    ns: &NamespaceFd,
    boot: &str,
    troubles: &mut Vec<Error>,
) -> Result<()> {
    let what = ns.id().to_string();
    let failed = |e: SysError| Error::failed(&*what, format!("cannot be cleaned up ({e})"));
    if ns.id().ino == NamespaceId::INITIAL_INO || ns.id() == NamespaceFd::own().map_err(failed)? {
        return Err(Error::failed(&*what, "the record names the hook's own namespace: nothing is touched there"));
    }
    let names = store.names()?;
    let others = live_others(store, &names, stem, ns, boot);
    let killed = KilledRuns::find(store, &names, boot, ns);
    let mut rights = Capabilities::own().map_err(failed)?;
    rights.keep(CapSet::WORK).map_err(failed)?;
    // Ids are compared as the hook saw them, so that no id map is needed: of a process that has ended there is none.
    let thread = OwnThread::open().map_err(failed)?;
    let mut joined = Joined::join(None, ns, IdMaps::identity(), &thread).map_err(failed)?;
    rights.keep(CapSet::WORK.without(CapSet::SYS_PTRACE)).map_err(failed)?;
    let notes = killed.take_back(store, &mut joined)?;
    troubles.extend(notes.into_iter().map(|note| Error::failed(&*what, note)));
    let numbered = finished.is_some_and(|stored| stored.is_numbered(ns));
    for object in finished.iter().flat_map(|stored| stored.objects.iter().rev()).filter(|o| o.goes_on_stop()) {
        if let Err(error) = remove(object, numbered, &others, &mut joined) {
            troubles.push(error);
        }
    }
    joined.resume_identity().map_err(failed)
}

/// What living containers' records of this namespace list.
fn live_others(store: &Store, names: &[String], stem: &str, ns: &NamespaceFd, boot: &str) -> Vec<StoredObject> {
    let own = format!("{stem}{}", record::RECORD);
    let others = names.iter().filter(|name| name.ends_with(record::RECORD) && **name != own);
    let stored = others.filter_map(|name| store.load(name).ok().flatten());
    stored.filter(|s| s.fits(ns, boot) && s.is_live(boot)).flat_map(|s| s.objects).collect()
}

/// Removes an object that is still the recorded one and that nobody uses. `numbered`: the kernel's number for the namespace
/// tells that it is the recorded one.
fn remove(object: &StoredObject, numbered: bool, others: &[StoredObject], joined: &mut Joined) -> Result<()> {
    let Some(id) = object.object_id() else { return Ok(()) };
    let failed = |e: SysError| Error::failed(id.to_string(), format!("cannot be removed ({e})"));
    let Some(there) = joined.find(&id).map_err(failed)? else { return Ok(()) };
    if !is_recorded(object, &there) || others.iter().any(|other| other.is_same(object)) {
        return Ok(());
    }
    if !numbered && there.sysv_id.is_some() && object.ctime != Some(there.ctime) {
        let time = |seconds: Option<i64>| seconds.map_or_else(|| "none".to_owned(), |s| format!("ctime {s}"));
        return Err(Error::failed(
            id.to_string(),
            "not removed: it was changed, or it is another one: this kernel does not tell namespaces of one inode apart",
        )
        .wanted(time(object.ctime))
        .found(time(Some(there.ctime)))
        .remedy("remove it with ipcrm if nobody needs it"));
    }
    if there.kind == crate::ipc::Kind::Shm && there.in_use > 0 {
        return Err(Error::failed(id.to_string(), "not removed: processes are attached to it")
            .found(format!("{} attached", there.in_use)));
    }
    joined.remove(&there).map_err(failed)
}

/// Whether key or name still stand for the recorded object. Keys and names come back for other objects; within a namespace
/// System V numbers and inodes do not.
fn is_recorded(object: &StoredObject, there: &Existing) -> bool {
    match there.sysv_id {
        Some(id) => object.id == Some(id) && object.creator() == there.creator,
        None => object.inode == Some(there.inode),
    }
}
