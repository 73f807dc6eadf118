//! A namespace in memory for exhaustive fault tests: total, deterministic, fails where it is told to. Never a proof that
//! something works on a kernel.

use super::traces::{By, Traces};
use super::{Ipc, SysError};
use crate::ipc::{Existing, Kind, ObjectId, ObjectSpec, Shape, Sysctl, SysctlValue, Usage};
use nix::errno::Errno;
use std::collections::BTreeMap;

/// An IPC namespace in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Fake {
    /// Sysctls by [`Sysctl::index`].
    pub sysctls: [SysctlValue; 13],
    /// Objects and, for semaphore sets, their values.
    pub objects: BTreeMap<ObjectId, (Existing, Vec<u16>)>,
    /// Objects that others than [`Fake::PID`] have left traces on.
    pub touched: BTreeMap<ObjectId, Traces>,
    next_id: i32,
    calls: usize,
    fault: Option<Fault>,
}

/// A failure to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// The call that fails, counted from 0.
    pub at: usize,
    /// What it answers.
    pub errno: Errno,
    /// A failing write takes effect in part first, as `kernel.sem` does.
    pub half: bool,
    /// Every later call fails as well.
    pub for_ever: bool,
}

impl Default for Fake {
    fn default() -> Self {
        Fake {
            sysctls: Sysctl::ALL.map(Sysctl::kernel_default),
            objects: BTreeMap::new(),
            touched: BTreeMap::new(),
            next_id: 0,
            calls: 0,
            fault: None,
        }
    }
}

impl Fake {
    /// The process that makes everything.
    pub const PID: i32 = 7;

    /// Starts to count calls from 0 and fails as told.
    pub fn arm(&mut self, fault: Option<Fault>) {
        self.calls = 0;
        self.fault = fault;
    }

    /// Calls since the fake was armed.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// What can be seen of the namespace; ids of objects left out, since a new one gets another.
    pub fn visible(&self) -> String {
        let objects: Vec<_> = self
            .objects
            .iter()
            .map(|(id, (e, values))| format!("{id} {} {} {} {} {values:?}", e.owner, e.mode, e.extent, e.message_size))
            .collect();
        format!("{:?}\n{}", self.sysctls, objects.join("\n"))
    }

    fn call(&mut self, name: &'static str) -> Result<(), SysError> {
        let now = self.calls;
        self.calls += 1;
        match self.fault {
            Some(f) if f.at == now || (f.for_ever && now > f.at) => Err(SysError::new(name, f.errno)),
            _ => Ok(()),
        }
    }

    fn has_room(&self, spec: &ObjectSpec) -> Result<(), SysError> {
        let count = self.objects.keys().filter(|id| id.kind() == spec.id.kind()).count() as u64;
        let number = |s: Sysctl| self.sysctls[s.index()].number();
        let sem = self.sysctls[Sysctl::Sem.index()];
        let fail = |call, errno| Err(SysError::new(call, errno));
        match &spec.shape {
            Shape::Shm { size } if *size > number(Sysctl::Shmmax) => fail("shmget", Errno::EINVAL),
            Shape::Shm { .. } if count >= number(Sysctl::Shmmni) => fail("shmget", Errno::ENOSPC),
            Shape::Sem { nsems, .. } if u64::from(*nsems) > sem.field(0) => fail("semget", Errno::EINVAL),
            Shape::Sem { .. } if count >= sem.field(3) => fail("semget", Errno::ENOSPC),
            Shape::Msg { .. } if count >= number(Sysctl::Msgmni) => fail("msgget", Errno::ENOSPC),
            Shape::Mqueue { .. } if count >= number(Sysctl::MqQueuesMax) => fail("mq_open", Errno::ENOSPC),
            _ => Ok(()),
        }
    }
}

impl Ipc for Fake {
    fn read_sysctl(&mut self, sysctl: Sysctl) -> Result<SysctlValue, SysError> {
        self.call("read")?;
        Ok(self.sysctls[sysctl.index()])
    }

    fn write_sysctl(&mut self, sysctl: Sysctl, value: SysctlValue) -> Result<(), SysError> {
        let result = self.call("write");
        let place = &mut self.sysctls[sysctl.index()];
        match (&result, value) {
            (Ok(()), _) => *place = value,
            (Err(_), SysctlValue::Sem([a, b, ..])) if self.fault.is_some_and(|f| f.half) => {
                if let SysctlValue::Sem([_, _, c, d]) = *place {
                    *place = SysctlValue::Sem([a, b, c, d]);
                }
            }
            _ => {}
        }
        result
    }

    fn find(&mut self, id: &ObjectId) -> Result<Option<Existing>, SysError> {
        self.call("find")?;
        Ok(self.objects.get(id).map(|(e, _)| e.clone()))
    }

    fn create(&mut self, spec: &ObjectSpec) -> Result<Existing, SysError> {
        self.call("create")?;
        if self.objects.contains_key(&spec.id) {
            return Err(SysError::new("create", Errno::EEXIST));
        }
        self.has_room(spec)?;
        let kind = spec.id.kind();
        let (extent, message_size, values) = match &spec.shape {
            Shape::Shm { size } => (*size, 0, Vec::new()),
            Shape::Sem { nsems, values } if values.is_empty() => (u64::from(*nsems), 0, vec![0; *nsems as usize]),
            Shape::Sem { nsems, values } => (u64::from(*nsems), 0, values.clone()),
            Shape::Msg { max_bytes } => {
                (max_bytes.unwrap_or(self.sysctls[Sysctl::Msgmnb.index()].number()), 0, Vec::new())
            }
            Shape::Mqueue { max_messages, message_size } => {
                (max_messages.unwrap_or(10), message_size.unwrap_or(8192), Vec::new())
            }
        };
        let made = Existing {
            id: Some(spec.id.clone()),
            kind,
            sysv_id: (kind != Kind::Mqueue).then_some(self.next_id),
            owner: spec.owner,
            creator: spec.owner,
            mode: spec.mode,
            extent,
            message_size,
            in_use: 0,
            ctime: 0,
            otime: i64::from(kind == Kind::Sem),
            inode: if kind == Kind::Mqueue { self.next_id.unsigned_abs().into() } else { 0 },
        };
        self.next_id += 1;
        self.objects.insert(spec.id.clone(), (made.clone(), values));
        Ok(made)
    }

    fn sem_values(&mut self, set: &Existing) -> Result<Vec<u16>, SysError> {
        self.call("semctl")?;
        let found = set.id.as_ref().and_then(|id| self.objects.get(id));
        found.map(|(_, values)| values.clone()).ok_or(SysError::new("semctl", Errno::EINVAL))
    }

    fn traces(&mut self, object: &Existing) -> Result<Traces, SysError> {
        self.call("traces")?;
        let by = match object.kind {
            Kind::Shm | Kind::Sem => By::Process(Self::PID),
            Kind::Msg | Kind::Mqueue => By::Nobody,
        };
        let untouched = Traces { by, changed: object.ctime, used: 0 };
        Ok(object.id.as_ref().and_then(|id| self.touched.get(id)).copied().unwrap_or(untouched))
    }

    fn remove(&mut self, object: &Existing) -> Result<(), SysError> {
        self.call("remove")?;
        if let Some(id) = &object.id
            && self.objects.get(id).is_some_and(|(e, _)| e.sysv_id == object.sysv_id)
        {
            self.objects.remove(id);
        }
        Ok(())
    }

    fn limits(&mut self, kind: Kind, values: &mut [Option<SysctlValue>; 13]) -> Result<(), SysError> {
        self.call("limits")?;
        let told = Sysctl::ALL.into_iter().filter(|sysctl| sysctl.told_with() == Some(kind));
        told.for_each(|sysctl| values[sysctl.index()] = Some(self.sysctls[sysctl.index()]));
        Ok(())
    }

    fn usage(&mut self, kinds: &[Kind]) -> Result<Usage, SysError> {
        let mut usage = Usage::default();
        if kinds.is_empty() {
            return Ok(usage);
        }
        self.call("usage")?;
        for (e, _) in self.objects.values() {
            match e.kind {
                Kind::Shm => {
                    usage.shm_segments += 1;
                    usage.shm_pages += e.extent.div_ceil(4096);
                }
                Kind::Sem => {
                    usage.sem_sets += 1;
                    usage.sems += e.extent;
                }
                Kind::Msg => usage.msg_queues += 1,
                Kind::Mqueue => {}
            }
        }
        Ok(usage)
    }
}
