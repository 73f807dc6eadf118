//! A namespace whose journal tells when it was last worked on.

use crate::ipc::{Existing, Kind, ObjectId, ObjectSpec, Sysctl, SysctlValue, Usage};
use crate::kernel::private_dir::touch;
use crate::kernel::traces::Traces;
use crate::kernel::{Ipc, SysError};
use std::os::fd::OwnedFd;

/// First byte of a journal.
const FIRST: u8 = b'{';

/// Gives the journal the present time before each creation: of some objects only their time tells that a run made them, and
/// what is younger than the last sign of life of a run that was killed is somebody else's.
pub(crate) struct Watched<'w> {
    pub(super) ipc: &'w mut dyn Ipc,
    pub(super) journal: Option<&'w OwnedFd>,
}

impl Ipc for Watched<'_> {
    fn create(&mut self, spec: &ObjectSpec) -> Result<Existing, SysError> {
        self.journal.map_or(Ok(()), |journal| touch(journal, FIRST))?;
        self.ipc.create(spec)
    }

    fn read_sysctl(&mut self, sysctl: Sysctl) -> Result<SysctlValue, SysError> {
        self.ipc.read_sysctl(sysctl)
    }

    fn write_sysctl(&mut self, sysctl: Sysctl, value: SysctlValue) -> Result<(), SysError> {
        self.ipc.write_sysctl(sysctl, value)
    }

    fn find(&mut self, id: &ObjectId) -> Result<Option<Existing>, SysError> {
        self.ipc.find(id)
    }

    fn sem_values(&mut self, set: &Existing) -> Result<Vec<u16>, SysError> {
        self.ipc.sem_values(set)
    }

    fn traces(&mut self, object: &Existing) -> Result<Traces, SysError> {
        self.ipc.traces(object)
    }

    fn remove(&mut self, object: &Existing) -> Result<(), SysError> {
        self.ipc.remove(object)
    }

    fn limits(&mut self, kind: Kind, values: &mut [Option<SysctlValue>; 13]) -> Result<(), SysError> {
        self.ipc.limits(kind, values)
    }

    fn usage(&mut self, kinds: &[Kind]) -> Result<Usage, SysError> {
        self.ipc.usage(kinds)
    }
}
