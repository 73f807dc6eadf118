//! One run in one namespace: found, locked, joined, looked at, planned. Shared by `hook`, `plan` and `apply`.

use crate::apply::{Outcome, apply};
use crate::enter::{Found, Target};
use crate::error::{Error, Result};
use crate::ipc::{IdMaps, Kind, Owner, Snapshot, Sysctl};
use crate::kernel::cgroup::{self, MemoryGroup};
use crate::kernel::identity::{CapSet, Capabilities, is_rootless};
use crate::kernel::label;
use crate::kernel::limits::{QueueLimit, page_size};
use crate::kernel::namespace::{Joined, OwnIds};
use crate::kernel::{Ipc, SysError, general_remedy};
use crate::oci::{IpcNamespace, Spec};
use crate::plan::allowed::Setting;
use crate::plan::charge::{self, Room};
use crate::plan::words::Origin;
use crate::plan::{self, Action, Change, Facts, Needs, Plan};
use crate::policy::{Config, RecordWhen};
use crate::record::{self, About, Keeper};
use crate::report::{Report, Subject};
use crate::request::{Memory, Profile, Request, merge};
use nix::errno::Errno;

/// Everything a run starts from.
#[derive(Debug)]
pub struct Order {
    /// Whose namespace.
    pub target: Target,
    /// Container id, when there is one.
    pub container: Option<String>,
    /// Directory of config.json, when there is one.
    pub bundle: Option<String>,
    /// config.json, when there is one.
    pub spec: Option<Spec>,
    /// The policy.
    pub config: Config,
    /// What is asked.
    pub profiles: Vec<Profile>,
    /// A memory limit in bytes that the caller knows.
    pub memory: Option<u64>,
    /// The workload may be running already.
    pub late: bool,
}

/// A run under way.
#[derive(Debug)]
pub struct Session {
    order: Order,
    found: Option<Found>,
}

/// A namespace joined, and what will be done in it.
#[derive(Debug)]
pub struct Ready {
    /// The steps.
    pub plan: Plan,
    /// Memory that formulas were computed from, when one was used.
    pub memory: Option<Memory>,
    request: Request,
    snapshot: Snapshot,
    msgqueue_limit: Option<u64>,
    joined: Joined,
    /// The control group that pays for the objects, when it is not the hook's own.
    payer: Option<MemoryGroup>,
    keeper: Option<Keeper>,
}

impl Session {
    /// Starts; nothing is touched yet.
    pub fn new(order: Order) -> Session {
        Session { order, found: None }
    }

    /// What the run is about, for reports.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            container: self.order.container.as_deref(),
            namespace: self.found.as_ref().map(Found::report),
            spec_checked: self.order.spec.is_some(),
        }
    }

    /// Whose run it is, for records.
    pub fn about(&self) -> About {
        let Order { target, container, bundle, spec, .. } = &self.order;
        let ipc_path = match (spec.as_ref().map(|s| &s.ipc), target) {
            (Some(IpcNamespace::Path(path)), _) => Some(path.clone()),
            (_, Target::Path(path)) => path.to_str().map(str::to_owned),
            _ => None,
        };
        About {
            container: container.clone(),
            bundle: bundle.clone(),
            pid: if let Target::Pid(pid) = target { Some(*pid) } else { None },
            ipc_path,
            namespace: self.found.as_ref().map(Found::report),
            spec_checked: spec.is_some(),
        }
    }

    /// Keeps the report of a run that failed.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_failure(&self, report: &Report<'_>) -> Result<()> {
        record::keep_failure(&self.about(), report)
    }

    /// The namespace, once it was found.
    pub fn namespace_id(&self) -> Option<crate::ipc::NamespaceId> {
        self.found.as_ref().map(Found::id)
    }

    /// The policy.
    pub fn config(&self) -> &Config {
        &self.order.config
    }

    /// What decides about a plan beside the policy, for words about it.
    pub fn setting(&self, ready: &Ready) -> Setting {
        Setting { shared: self.found.as_ref().is_some_and(|found| found.shared), container_pays: ready.payer.is_some() }
    }

    /// Joins the namespace, looks at it and makes the plan. Changes nothing.
    ///
    /// # Errors
    /// Everything that can be known before the first write.
    pub fn ready(&mut self) -> Result<Ready> {
        self.find()?;
        self.plan(None)
    }

    /// Does the whole job: takes back what a killed run may have left in a shared namespace, then does what the plan says.
    ///
    /// # Errors
    /// Everything that can be known before the first write; nothing was changed then.
    pub fn run(&mut self) -> Result<(Ready, Outcome)> {
        self.find()?;
        let keeper = self.keeper()?;
        let mut ready = self.plan(keeper)?;
        ready.apply().map(|outcome| (ready, outcome))
    }

    fn find(&mut self) -> Result<()> {
        self.found.insert(Found::find(&self.order.target, self.order.spec.as_ref())?).lock()
    }

    /// Who keeps journal and record; nobody where none is called for. From inside a container its host's are out of reach.
    fn keeper(&self) -> Result<Option<Keeper>> {
        let shared = self.found.as_ref().is_some_and(|found| found.shared);
        let wanted = shared || self.order.config.record.value == RecordWhen::Always;
        if !wanted || self.order.target == Target::Own {
            return Ok(None);
        }
        Keeper::open(self.about(), shared)
    }

    fn plan(&mut self, keeper: Option<Keeper>) -> Result<Ready> {
        let order = &mut self.order;
        let spec = order.spec.as_ref();
        let Some(found) = &self.found else { return Err(Error::failed("IPC namespace", "not found yet")) };
        let memory = match order.profiles.iter().any(Profile::needs_memory) {
            true => Some(found.memory(spec, order.memory)?),
            false => None,
        };
        found.look_up_keys(&mut order.profiles, spec)?;
        let mut request = merge(std::mem::take(&mut order.profiles), memory.as_ref(), page_size())?;
        if let Some(spec) = spec.filter(|_| !found.shared) {
            plan::follow(&mut request, &spec.sysctls);
        }
        let killed = keeper.as_ref().map(|k| k.killed_runs(found.namespace())).transpose()?;
        let default_owner = found.default_owner(spec);
        let mut joined = found.join(own_ids(&request, default_owner))?;
        if let Some(label) = spec.and_then(|s| s.selinux_label.clone()).filter(|_| label::selinux_enforces()) {
            joined.label_objects(label);
        }
        let recovered = keeper.as_ref().zip(killed).map(|(k, killed)| k.take_back(killed, &mut joined)).transpose()?;
        let snapshot = look(&mut joined, &request, &plan::needs(&request))?;
        let maps = joined.maps().clone();
        let facts = Facts {
            snapshot: &snapshot,
            shared: found.shared,
            spec: spec.map(|s| s.sysctls.as_slice()),
            policy: &order.config,
            default_owner,
            maps: &maps,
            page_size: page_size(),
            msgqueue_limit: queue_limit(&request)?,
        };
        let mut plan = plan::build(&request, &facts)?;
        if order.late {
            plan.warnings
                .push("the workload may have started already: use the createRuntime stage, not poststart".to_owned());
        }
        plan.warnings.extend(recovered.into_iter().flatten());
        let msgqueue_limit = facts.msgqueue_limit;
        let payer = payer(found, &mut plan, &order.config)?;
        Ok(Ready { plan, memory, request, snapshot, msgqueue_limit, joined, payer, keeper })
    }
}

impl Ready {
    /// Does what the plan says, or takes it back; around it journal and record, where they are called for.
    fn apply(&mut self) -> Result<Outcome> {
        let Some(mut keeper) = self.keeper.take() else {
            self.prepare(false)?;
            return Ok(apply(&self.plan, &mut self.joined));
        };
        self.leave_owner()?;
        keeper.begin(&self.plan, &self.joined)?;
        if let Err(error) = self.prepare(true) {
            return Err(match keeper.abandon() {
                Ok(()) => error,
                Err(second) => error.also(&second),
            });
        }
        let outcome = apply(&self.plan, &mut keeper.watch(&mut self.joined));
        let kept = self.leave_owner().and_then(|()| keeper.finish(&self.plan, &outcome, self.joined.maps()));
        // What was asked for is there; only the container's end will know less of it.
        self.plan.warnings.extend(kept.err().map(|error| error.to_string()));
        Ok(outcome)
    }

    /// Makes this process the one that may be charged and killed for the plan, and that can do no more than it needs.
    fn prepare(&mut self, record: bool) -> Result<()> {
        if self.plan.is_noop() {
            return Ok(());
        }
        self.charge_container()?;
        give_up_rights(&self.plan, record)
    }

    /// Lets the container's control group pay for what is created from here on, and die before its own processes.
    fn charge_container(&mut self) -> Result<()> {
        let Some(payer) = &self.payer else { return Ok(()) };
        self.joined.resume_identity().map_err(|e| Error::failed("own identity", e.to_string()))?;
        match cgroup::die_first().and_then(|()| payer.join()) {
            Ok(()) => Ok(()),
            // The user's own groups bound him; the host's root is not what pays.
            Err(e) if is_rootless() => {
                self.plan.warnings.push(format!("kernel memory is not charged to {}: {e}", payer.path().display()));
                Ok(())
            }
            Err(e) => Err(charge_error(payer, &e)),
        }
    }

    /// What the plan came from, for words about it.
    pub fn origin(&self) -> Origin<'_> {
        Origin {
            request: &self.request,
            snapshot: &self.snapshot,
            memory: self.memory.as_ref(),
            msgqueue_limit: self.msgqueue_limit,
            page_size: page_size(),
        }
    }

    /// The container's ids in ours.
    pub fn maps(&self) -> &IdMaps {
        self.joined.maps()
    }

    /// Acts as who the process was at the start, before anything outside the namespace is written.
    ///
    /// # Errors
    /// The kernel does not let it.
    fn leave_owner(&mut self) -> Result<()> {
        self.joined.resume_identity().map_err(|e| Error::failed("own identity", e.to_string()))
    }
}

/// What must be known of our own ids, where the container has the same: root is always there.
fn own_ids(request: &Request, default_owner: Option<Owner>) -> OwnIds {
    let root = Owner { uid: 0, gid: 0 };
    let mut owners = request.objects.iter().filter_map(|wish| wish.owner.or(default_owner));
    if owners.any(|owner| owner != root) { OwnIds::Mapped } else { OwnIds::All }
}

/// Reads what the plan depends on.
///
/// # Errors
/// The kernel refuses, or does not have such objects; a sysctl that is missing is left out for the plan to name.
pub fn look(joined: &mut dyn Ipc, request: &Request, needs: &Needs) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    for kind in &needs.limits {
        joined.limits(*kind, &mut snapshot.sysctls).map_err(|e| look_error("limits of the namespace", &e))?;
    }
    for sysctl in Sysctl::ALL.into_iter().filter(|s| needs.sysctls[s.index()]) {
        match joined.read_sysctl(sysctl) {
            Ok(value) => snapshot.sysctls[sysctl.index()] = Some(value),
            // Left out: the plan says which kernel option is missing.
            Err(e) if e.errno == Errno::ENOENT => {}
            Err(e) => return Err(look_error(sysctl.name(), &e)),
        }
    }
    snapshot.usage = joined.usage(&needs.kinds).map_err(|e| look_error("usage of the namespace", &e))?;
    snapshot.objects.reserve(request.objects.len());
    for wish in request.objects.iter().filter(|wish| snapshot.usage.may_hold(wish.id.kind())) {
        if let Some(existing) = joined.find(&wish.id).map_err(|e| look_error(&wish.id.to_string(), &e))? {
            snapshot.objects.push(existing);
        }
    }
    Ok(snapshot)
}

fn look_error(what: &str, error: &SysError) -> Error {
    match error.errno {
        Errno::ENOSYS => Error::unsupported(what, format!("this kernel does not have it ({error})"))
            .remedy("a kernel with CONFIG_SYSVIPC and CONFIG_POSIX_MQUEUE is needed"),
        Errno::EACCES | Errno::EPERM => Error::unsupported(what, format!("not permitted ({error})"))
            .remedy("run the hook as root, or as the owner of the container's user namespace"),
        _ => Error::failed(what, error.to_string()).remedy(general_remedy(error.errno)),
    }
}

/// RLIMIT_MSGQUEUE for the queues of this run, raised as far as it may be; `None` = no limit, or no queue is asked for.
fn queue_limit(request: &Request) -> Result<Option<u64>> {
    if !request.objects.iter().any(|o| o.id.kind() == Kind::Mqueue) {
        return Ok(None);
    }
    let failed = |e: SysError| Error::failed("RLIMIT_MSGQUEUE", e.to_string());
    let mut limit = QueueLimit::own().map_err(failed)?;
    if limit.soft < limit.hard {
        limit.raise_to(limit.hard).map_err(failed)?;
    }
    match limit.raise_to(u64::MAX) {
        Ok(()) => Ok(None),
        Err(e) if e.errno == Errno::EPERM => Ok(Some(limit.soft)),
        Err(e) => Err(failed(e)),
    }
}

/// Who pays for the kernel memory of the plan, if that is not the hook's own control group, and whether it can.
///
/// # Errors
/// Its memory limit does not leave the room.
fn payer(found: &Found, plan: &mut Plan, policy: &Config) -> Result<Option<MemoryGroup>> {
    let bytes = charge::kernel_memory(plan);
    if !charge::is_due(bytes, policy) {
        return Ok(None);
    }
    let Some(group) = found.memory_group()? else {
        if !found.is_own() {
            plan.warnings.push(format!(
                "{bytes} bytes of kernel memory are charged to the hook's own control group: that of the container is not known"
            ));
        }
        return Ok(None);
    };
    let left = group.left().map_err(|e| Error::failed(group.path().to_string_lossy(), e.to_string()))?;
    if let Some(left) = left {
        let group = left.group.to_string_lossy().into_owned();
        charge::fits(bytes, &Room { free: left.free, limit: left.limit, group })?;
    }
    Ok(Some(group))
}

fn charge_error(payer: &MemoryGroup, error: &SysError) -> Error {
    let why = match error.errno {
        Errno::EBUSY => {
            "it has child groups with controllers of their own, and the unified hierarchy lets no process in beside them"
        }
        Errno::EACCES | Errno::EPERM => "it may not be written to",
        Errno::EROFS => "cgroupfs is mounted read-only where the hook runs",
        _ => "the kernel refuses",
    };
    Error::failed(
        payer.path().to_string_lossy(),
        format!("the hook cannot enter the container's control group: {why} ({error})"),
    )
    .wanted("the kernel memory of the objects charged to the container")
    .remedy("raise charge.container-cgroup-above to let the hook's own group pay, or ask for fewer or smaller objects")
}

/// Of the rights that were needed on the way in, keeps those that the plan needs, and a record that will be written.
fn give_up_rights(plan: &Plan, record: bool) -> Result<()> {
    // To become the owner of a sysctl's file in a user namespace, or of an object.
    let mut keep = CapSet::SETUID.and(CapSet::SETGID);
    if record {
        // In the container's user namespace one need not be the owner of the records' directory.
        keep = keep.and(CapSet::DAC_OVERRIDE);
    }
    for step in &plan.steps {
        let Change::Object { spec, .. } = &step.change else { continue };
        match step.action {
            // IPC_RMID of an object that somebody else made.
            Action::Replace => keep = keep.and(CapSet::SYS_ADMIN),
            Action::None => continue,
            _ => {}
        }
        keep = keep.and(CapSet::SETPCAP);
        keep = keep.and(match spec.id.kind() {
            // Without SYS_RESOURCE: RLIMIT_MSGQUEUE is raised by now, and the kernel holds the run to the namespace's limits.
            Kind::Mqueue => CapSet::DAC_OVERRIDE.and(CapSet::FOWNER),
            _ => CapSet::IPC_OWNER,
        });
    }
    let failed = |e: SysError| Error::failed("capabilities", e.to_string());
    Capabilities::own().map_err(failed)?.keep(keep).map_err(failed)
}
