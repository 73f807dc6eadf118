//! An IPC namespace that this thread is in, and everything that can be done there.

use super::identity::{Identity, become_root};
use super::namespace::NamespaceFd;
use super::process::{OwnThread, Process};
use super::sys::setns;
use super::traces::{self, Traces};
use super::{Ipc, SysError, label, mqueue, msg, sem, shm, sysctl, sysv};
use crate::ipc::{Existing, IdMaps, Kind, NamespaceId, ObjectId, ObjectSpec, Owner, Shape, Sysctl};
use crate::ipc::{SysctlValue, Usage};
use nix::errno::Errno;

/// The namespace that this thread has joined. There is no way back.
#[derive(Debug)]
pub struct Joined {
    id: NamespaceId,
    /// Nothing was joined: what is mounted here belongs to it.
    own: bool,
    maps: IdMaps,
    identity: Identity,
    files: sysctl::Files,
    umask_cleared: bool,
    /// SELinux label that new objects are to carry.
    label: Option<String>,
}

impl Joined {
    /// Joins `ns`, and its user namespace too when that is the only way in (rootless runtimes). `maps` are those of the
    /// container; in its user namespace ids are the container's own, and they only tell which it has. `thread` is this one.
    pub fn join(
        process: Option<&Process>,
        ns: &NamespaceFd,
        maps: IdMaps,
        thread: &OwnThread,
    ) -> Result<Joined, SysError> {
        let maps = match setns(ns.fd(), libc::CLONE_NEWIPC) {
            Ok(()) => maps,
            Err(e) if e.errno == Errno::EPERM => {
                join_user_namespace(process, ns).map_err(|second| SysError { also: Some(Box::new(second)), ..e })?;
                maps.inside()
            }
            Err(e) => return Err(e),
        };
        // Belt and braces: everything that follows writes to the namespace this thread is in.
        if thread.ipc_namespace()? != ns.id() {
            return Err(SysError::new("setns", Errno::EXDEV));
        }
        Ok(Joined::here(ns.id(), false, maps))
    }

    /// Stays in this thread's own namespace, with its own ids. `maps` tell which there are.
    pub fn stay(maps: IdMaps) -> Result<Joined, SysError> {
        Ok(Joined::here(NamespaceFd::own()?, true, maps))
    }

    /// As [`Joined::stay`], for those who act for nobody else.
    pub fn join_self() -> Result<Joined, SysError> {
        Joined::stay(IdMaps::identity())
    }

    fn here(id: NamespaceId, own: bool, maps: IdMaps) -> Joined {
        let files = sysctl::Files::of(maps.to_outside(Owner { uid: 0, gid: 0 }));
        Joined { id, own, maps, identity: Identity::own(), files, umask_cleared: false, label: None }
    }

    /// Which namespace it is.
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// True when it was not joined but is this process's own from the start.
    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    /// The container's ids in ours; each that it has maps to itself after its user namespace was joined.
    pub fn maps(&self) -> &IdMaps {
        &self.maps
    }

    /// Acts as who the process was when it joined: to be called before files outside the namespace are written.
    pub fn resume_identity(&mut self) -> Result<(), SysError> {
        self.identity.resume()
    }

    /// New objects are to carry this SELinux label, whatever that of this process is.
    pub fn label_objects(&mut self, label: String) {
        self.label = Some(label);
    }

    /// True when a process of its own makes each object, so that it carries the label.
    pub fn labels_objects(&self) -> bool {
        self.label.is_some()
    }

    /// An object with the ids that the container sees.
    fn inside(&self, object: Existing) -> Existing {
        let (owner, creator) = (self.maps.to_inside(object.owner), self.maps.to_inside(object.creator));
        Existing { owner, creator, ..object }
    }

    /// Acts for an owner in the container's ids. EOVERFLOW: its user namespace does not map them.
    fn act_for(&mut self, owner: Owner) -> Result<(), SysError> {
        let outside = self.maps.to_outside(owner).ok_or_else(|| SysError::new("id map", Errno::EOVERFLOW))?;
        self.identity.assume(outside)
    }

    /// What a queue will hold: messages and bytes of one; `None` = the namespace's defaults, or no queue.
    fn capacity(&mut self, shape: &Shape) -> Result<Option<(u64, u64)>, SysError> {
        match shape {
            Shape::Mqueue { max_messages: None, message_size: None } => Ok(None),
            Shape::Mqueue { max_messages, message_size } => Ok(Some((
                self.or_default(*max_messages, Sysctl::MqMsgDefault, Sysctl::MqMsgMax)?,
                self.or_default(*message_size, Sysctl::MqMsgsizeDefault, Sysctl::MqMsgsizeMax)?,
            ))),
            _ => Ok(None),
        }
    }

    /// Makes an object, as whom this thread acts for.
    fn make(&mut self, spec: &ObjectSpec, capacity: Option<(u64, u64)>) -> Result<Existing, SysError> {
        match (&spec.id, &spec.shape) {
            (ObjectId::Shm(key), Shape::Shm { size }) => shm::create(*key, *size, spec.mode),
            (ObjectId::Sem(key), Shape::Sem { nsems, values }) => sem::create(*key, *nsems, values, spec.mode),
            (ObjectId::Msg(key), Shape::Msg { max_bytes }) => msg::create(*key, *max_bytes, spec.mode),
            (ObjectId::Mqueue(name), Shape::Mqueue { .. }) => {
                if !self.umask_cleared {
                    // Nothing of ours relies on it: files are always made with an explicit mode.
                    // SAFETY: a number is passed, and the call cannot fail.
                    unsafe { libc::umask(0) };
                    self.umask_cleared = true;
                }
                mqueue::create(name, capacity, spec.mode)
            }
            // A shape of another kind: no caller builds that.
            _ => Err(SysError::new("create", Errno::EINVAL)),
        }
    }

    /// Has an object made under another label and reads it; one that cannot be read is not left.
    fn make_labelled(
        &mut self,
        spec: &ObjectSpec,
        capacity: Option<(u64, u64)>,
        label: &str,
    ) -> Result<Existing, SysError> {
        label::with_label(label, || self.make(spec, capacity).map(drop))?;
        match self.find(&spec.id) {
            Ok(Some(made)) => Ok(made),
            unread => {
                let e = unread.err().unwrap_or_else(|| SysError::new("find", Errno::ENOENT));
                let removed = label::with_label(label, || match self.find(&spec.id)? {
                    Some(made) => remove(&made),
                    None => Ok(()),
                });
                Err(SysError { also: removed.err().map(Box::new), ..e })
            }
        }
    }

    /// Removes what is described, as who we are or as its owner.
    fn remove_unlabelled(&mut self, object: &Existing) -> Result<(), SysError> {
        let now = match (object.kind, object.sysv_id) {
            (Kind::Shm, Some(id)) => sysv::if_exists(shm::stat(id))?,
            (Kind::Sem, Some(id)) => sysv::if_exists(sem::stat(id))?,
            (Kind::Msg, Some(id)) => sysv::if_exists(msg::stat(id))?,
            _ => match &object.id {
                Some(ObjectId::Mqueue(name)) => mqueue::find(name)?,
                _ => return Err(SysError::new("remove", Errno::EINVAL)),
            },
        };
        let Some(now) = now.map(|now| self.inside(now)) else { return Ok(()) };
        if !self.is_still(object, &now) {
            return Ok(());
        }
        match remove(object) {
            // Only owner, creator and CAP_SYS_ADMIN may: the owner we can be.
            Err(e) if is_refusal(&e) => {
                self.act_for(now.owner).map_err(|_| e)?;
                remove(object)
            }
            other => other,
        }
    }

    /// What the kernel takes for an attribute that is not given: the default, but not more than the maximum.
    fn or_default(&mut self, wanted: Option<u64>, default: Sysctl, max: Sysctl) -> Result<u64, SysError> {
        match wanted {
            Some(n) => Ok(n),
            None => Ok(self.read_sysctl(default)?.number().min(self.read_sysctl(max)?.number())),
        }
    }

    /// True when what is there now is what `object` describes: ids and names can have been taken by something else.
    fn is_still(&self, object: &Existing, now: &Existing) -> bool {
        let same_creator = object.kind == Kind::Mqueue || object.creator == now.creator;
        // The capacity of a System V queue is the one measure that changes during its life.
        let same_extent = object.kind == Kind::Msg || object.extent == now.extent;
        let same_queue = object.inode == now.inode && object.message_size == now.message_size;
        object.id == now.id && same_creator && same_extent && same_queue
    }
}

/// Into the user namespace first, which gives every right there, then into the IPC namespace. Both are held open before, for
/// afterwards this thread may not look into the process any more.
fn join_user_namespace(process: Option<&Process>, ns: &NamespaceFd) -> Result<(), SysError> {
    let user = match process {
        Some(process) => process.user_namespace()?,
        None => ns.owning_user_namespace()?,
    };
    setns(&user, libc::CLONE_NEWUSER)?;
    setns(ns.fd(), libc::CLONE_NEWIPC)?;
    become_root()
}

impl Ipc for Joined {
    fn read_sysctl(&mut self, sysctl: Sysctl) -> Result<SysctlValue, SysError> {
        self.files.read(sysctl, &mut self.identity)
    }

    fn write_sysctl(&mut self, sysctl: Sysctl, value: SysctlValue) -> Result<(), SysError> {
        self.files.write(sysctl, value, &mut self.identity)
    }

    fn find(&mut self, id: &ObjectId) -> Result<Option<Existing>, SysError> {
        let found = match id {
            ObjectId::Shm(key) => shm::find(*key),
            ObjectId::Sem(key) => sem::find(*key),
            ObjectId::Msg(key) => msg::find(*key),
            ObjectId::Mqueue(name) => mqueue::find(name),
        }?;
        Ok(found.map(|object| self.inside(object)))
    }

    fn create(&mut self, spec: &ObjectSpec) -> Result<Existing, SysError> {
        self.act_for(spec.owner)?;
        let capacity = self.capacity(&spec.shape)?;
        match self.label.clone() {
            None => self.make(spec, capacity).map(|made| self.inside(made)),
            Some(label) => self.make_labelled(spec, capacity, &label),
        }
    }

    fn sem_values(&mut self, set: &Existing) -> Result<Vec<u16>, SysError> {
        let id = set.sysv_id.ok_or_else(|| SysError::new("semctl", Errno::EINVAL))?;
        sem::values(id, set.extent)
    }

    fn traces(&mut self, object: &Existing) -> Result<Traces, SysError> {
        match traces::of(object) {
            Err(e) if is_refusal(&e) => {
                self.act_for(object.owner).map_err(|_| e)?;
                traces::of(object)
            }
            result => result,
        }
    }

    fn remove(&mut self, object: &Existing) -> Result<(), SysError> {
        match (self.remove_unlabelled(object), self.label.clone()) {
            (Err(e), Some(label)) if is_refusal(&e) => label::with_label(&label, || self.remove_unlabelled(object))
                .map_err(|second| SysError { also: Some(Box::new(second)), ..e }),
            (result, _) => result,
        }
    }

    fn limits(&mut self, kind: Kind, values: &mut [Option<SysctlValue>; 13]) -> Result<(), SysError> {
        let mut put = |found: &[(Sysctl, SysctlValue)]| {
            found.iter().for_each(|(sysctl, value)| values[sysctl.index()] = Some(*value));
        };
        match kind {
            Kind::Shm => put(&shm::limits()?),
            Kind::Sem => put(&sem::limits()?),
            Kind::Msg => put(&msg::limits()?),
            Kind::Mqueue => {}
        }
        Ok(())
    }

    fn usage(&mut self, kinds: &[Kind]) -> Result<Usage, SysError> {
        let mut usage = Usage::default();
        for kind in kinds {
            match kind {
                Kind::Shm => shm::usage(&mut usage)?,
                Kind::Sem => sem::usage(&mut usage)?,
                Kind::Msg => msg::usage(&mut usage)?,
                Kind::Mqueue => {}
            }
        }
        Ok(usage)
    }
}

fn is_refusal(error: &SysError) -> bool {
    matches!(error.errno, Errno::EPERM | Errno::EACCES)
}

fn remove(object: &Existing) -> Result<(), SysError> {
    match (object.kind, object.sysv_id, &object.id) {
        (Kind::Shm, Some(id), _) => sysv::SHM.remove(id),
        (Kind::Sem, Some(id), _) => sysv::SEM.remove(id),
        (Kind::Msg, Some(id), _) => sysv::MSG.remove(id),
        (_, _, Some(ObjectId::Mqueue(name))) => mqueue::remove(name),
        _ => Err(SysError::new("remove", Errno::EINVAL)),
    }
}
