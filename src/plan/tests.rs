use super::*;
use crate::apply::{Ending, apply};
use crate::error::{Error, Exit};
use crate::ipc::{IdMap, Mode, ObjectId};
use crate::kernel::Ipc as _;
use crate::kernel::fake::Fake;
use crate::oci::{Annotation, SpecSysctl};
use crate::request::annotation::Annotations;
use crate::request::profile::administrators;
use crate::request::{Profile, merge};
use crate::session::look;

mod afterwards;
mod ceilings;
mod random;

/// A situation to plan in; everything has a default.
struct World {
    fake: Fake,
    shared: bool,
    spec: Option<Vec<SpecSysctl>>,
    policy: Config,
    default_owner: Option<Owner>,
    maps: IdMaps,
    msgqueue_limit: Option<u64>,
}

impl Default for World {
    fn default() -> Self {
        World {
            fake: Fake::default(),
            shared: false,
            spec: Some(Vec::new()),
            policy: Config::default(),
            default_owner: Some(Owner { uid: 70, gid: 70 }),
            maps: IdMaps::identity(),
            msgqueue_limit: Some(819_200),
        }
    }
}

impl World {
    fn spec(sysctl: Sysctl, text: &str) -> World {
        World { spec: Some(vec![SpecSysctl { sysctl, text: text.into() }]), ..World::default() }
    }

    fn plan_of(&mut self, request: &Request) -> Result<Plan, Error> {
        let mut request = request.clone();
        if let Some(spec) = self.spec.as_ref().filter(|_| !self.shared) {
            follow(&mut request, spec);
        }
        let snapshot = look(&mut self.fake, &request, &needs(&request))?;
        let facts = Facts {
            snapshot: &snapshot,
            shared: self.shared,
            spec: self.spec.as_deref(),
            policy: &self.policy,
            default_owner: self.default_owner,
            maps: &self.maps,
            page_size: 4096,
            msgqueue_limit: self.msgqueue_limit,
        };
        build(&request, &facts)
    }

    fn plan(&mut self, body: &str) -> Result<Plan, Error> {
        self.plan_of(&request(body))
    }

    /// Applies a profile, as an earlier run would have.
    fn having(mut self, body: &str) -> World {
        let plan = self.plan(body).unwrap();
        assert_eq!(apply(&plan, &mut self.fake).ending, Ending::Done);
        self
    }
}

fn profile(body: &str, name: &str) -> Profile {
    Profile::parse_toml(name, &format!("format = 1\n{body}"), &administrators(&format!("profile:{name}"))).unwrap()
}

fn request(body: &str) -> Request {
    let profile = Profile::parse_toml("p", &format!("format = 1\n{body}"), &administrators("profile:p")).unwrap();
    merge(vec![profile], None, 4096).unwrap()
}

#[track_caller]
fn refuses(result: Result<Plan, Error>, exit: Exit, says: &str) {
    let error = result.expect_err("a refusal");
    assert!(error.to_string().starts_with(says), " got {error}\nwant {says}");
    assert_eq!(error.exit(), exit, "{error}");
}

#[test]
fn order_is_sysctls_then_objects_by_kind_and_key() {
    let plan = World::default()
        .plan("[[mqueue]]\nname = \"/b\"\n[[mqueue]]\nname = \"/a\"\n[[sem]]\nkey = 2\nnsems = 1\n[[shm]]\nkey = 9\nsize = 1\n[[shm]]\nkey = -1\nsize = 1\n[sysctl]\n\"fs.mqueue.msg_max\" = 20\n\"kernel.msgmax\" = 1\n")
        .unwrap();
    let order: Vec<_> = plan.steps.iter().map(Step::what).collect();
    assert_eq!(
        order,
        [
            "kernel.msgmax",
            "fs.mqueue.msg_max",
            "shm 0xffffffff",
            "shm 0x00000009",
            "sem 0x00000002",
            "mqueue /a",
            "mqueue /b"
        ]
    );
}

#[test]
fn a_bound_that_holds_writes_nothing() {
    let plan = World::default().plan("[sysctl]\n\"kernel.shmmax\" = \">= 256MiB\"\n\"kernel.sem\" = { semopm = \">= 100\", semmni = \"<= 40\" }\n").unwrap();
    assert_eq!(plan.steps.iter().map(|s| s.action).collect::<Vec<_>>(), [Action::Set, Action::None]);
    let Change::Sysctl { wanted, .. } = &plan.steps[0].change else { panic!() };
    assert_eq!(*wanted, SysctlValue::Sem([32000, 1_024_000_000, 500, 40]));
}

#[test]
fn a_key_of_config_json_must_agree() {
    let mut agrees = World::spec(Sysctl::Msgmax, "9000");
    let plan = agrees.plan("[sysctl]\n\"kernel.msgmax\" = \">= 8500\"\n").unwrap();
    let Change::Sysctl { wanted, .. } = plan.steps[0].change else { panic!() };
    assert_eq!(wanted, SysctlValue::Number(9000), "both orders end with the same value");
    refuses(
        agrees.plan("[sysctl]\n\"kernel.msgmax\" = 33333\n"),
        Exit::BadInput,
        "kernel.msgmax: wanted 33333, found 9000 in config.json: config.json's linux.sysctl sets it too, and runtimes differ in who comes last (asked by profile:p:3); remove one",
    );
    refuses(
        World::spec(Sysctl::Sem, "1 2 3 4").plan("[sysctl]\n\"kernel.sem\" = { semmni = \">= 5\" }\n"),
        Exit::BadInput,
        "kernel.sem.semmni: wanted 5, found 4 in config.json",
    );
    refuses(
        World::spec(Sysctl::Msgmax, "8K").plan("[sysctl]\n\"kernel.msgmax\" = 1\n"),
        Exit::BadInput,
        "kernel.msgmax: found \"8K\": the kernel refuses the value of config.json's linux.sysctl",
    );
}

#[test]
fn shm_and_rmid_forced_exclude_each_other() {
    let shm = "[[shm]]\nkey = 1\nsize = 1\n";
    let says =
        "shm 0x00000001: wanted a segment that lasts until the workload attaches it: kernel.shm_rmid_forced destroys";
    refuses(World::default().plan(&format!("{shm}[sysctl]\n\"kernel.shm_rmid_forced\" = 1\n")), Exit::BadInput, says);
    refuses(World::spec(Sysctl::ShmRmidForced, "1").plan(shm), Exit::BadInput, says);
    refuses(World::default().having("[sysctl]\n\"kernel.shm_rmid_forced\" = 1\n").plan(shm), Exit::BadInput, says);
    refuses(
        World::default().having(shm).plan("[sysctl]\n\"kernel.shm_rmid_forced\" = 1\n"),
        Exit::Failed,
        "kernel.shm_rmid_forced: found 1 segments: setting it to 1 would destroy segments",
    );
    assert!(World::default().plan("[sysctl]\n\"kernel.shm_rmid_forced\" = 1\n").is_ok());
}

#[test]
fn shared_namespaces_are_not_lowered() {
    let shared = || World { shared: true, ..World::default() };
    refuses(
        shared().plan("[sysctl]\n\"kernel.msgmni\" = \"<= 10\"\n"),
        Exit::Denied,
        "kernel.msgmni: wanted 10, found 32000: lowering a limit of a shared namespace takes it from its other users (rule policy.lower-in-shared, built-in default)",
    );
    let mut allowed = shared();
    allowed.policy = Config::parse("c", "format = 1\n[policy]\nlower-in-shared = true\n", 4096).unwrap();
    assert!(allowed.plan("[sysctl]\n\"kernel.msgmni\" = \"<= 10\"\n").is_ok());
    assert!(shared().plan("[sysctl]\n\"kernel.msgmax\" = 9000\n").is_ok(), "raising exactly is fine with a spec");
    let mut unknown =
        World { shared: true, spec: None, ..World::default() }.having("[sysctl]\n\"kernel.msgmax\" = 9000\n");
    refuses(
        unknown.plan("[sysctl]\n\"kernel.msgmax\" = 9500\n"),
        Exit::Failed,
        "kernel.msgmax: wanted 9500, found 9000: another user of this shared namespace has set it",
    );
    assert!(unknown.plan("[sysctl]\n\"kernel.msgmax\" = \">= 9500\"\n").is_ok());
    assert!(unknown.plan("[sysctl]\n\"kernel.msgmax\" = 9000\n").unwrap().is_noop());
}

#[test]
fn objects_that_exist() {
    let body = "[[shm]]\nkey = 1\nsize = 4096\nmode = \"0660\"\nowner = \"5:6\"\n[[sem]]\nkey = 2\nnsems = 2\n[[mqueue]]\nname = \"/q\"\nmax-messages = 5\n[[msg]]\nkey = 3\nmax-bytes = 100\n";
    let mut world = World::default().having(body);
    assert!(world.plan(body).unwrap().is_noop());
    assert!(world.plan("[[shm]]\nkey = 1\nsize = 4096\n").unwrap().is_noop(), "mode and owner are not written");
    assert!(world.plan("[[msg]]\nkey = 3\nmax-bytes = 200\n").unwrap().is_noop(), "a workload may change msg_qbytes");
    for (body, says) in [
        (
            "[[shm]]\nkey = 1\nsize = 4097\n",
            "shm 0x00000001: wanted size 4097, found size 4096: it exists already with another size",
        ),
        ("[[shm]]\nkey = 1\nsize = 4096\nmode = \"0600\"\n", "shm 0x00000001: wanted mode 0600, found mode 0660"),
        ("[[shm]]\nkey = 1\nsize = 4096\nowner = \"5:7\"\n", "shm 0x00000001: wanted owner 5:7, found owner 5:6"),
        ("[[sem]]\nkey = 2\nnsems = 3\n", "sem 0x00000002: wanted nsems 3, found nsems 2"),
        ("[[mqueue]]\nname = \"/q\"\nmax-messages = 6\n", "mqueue /q: wanted max-messages 6, found max-messages 5"),
        ("[[mqueue]]\nname = \"/q\"\nmessage-size = 1\n", "mqueue /q: wanted message-size 1, found message-size 8192"),
        (
            "[[sem]]\nkey = 2\nnsems = 2\nif-exists = \"fail\"\n",
            "sem 0x00000002: found nsems 2, mode 0600, owner 70:70: it exists already and if-exists is \"fail\"",
        ),
    ] {
        refuses(world.plan(body), Exit::Failed, says);
    }
    let attached = ObjectId::Shm("1".parse().unwrap());
    world.fake.objects.get_mut(&attached).unwrap().0.in_use = 1;
    refuses(
        world.plan("[[shm]]\nkey = 1\nsize = 4096\nif-exists = \"replace\"\n"),
        Exit::Failed,
        "shm 0x00000001: found 1 attached: a segment that processes are attached to is not replaced",
    );
}

#[test]
fn limits_are_named_with_the_value_they_need() {
    for (body, says) in [
        (
            "[sysctl]\n\"kernel.shmmax\" = 4096\n[[shm]]\nkey = 1\nsize = 4097\n",
            "shm 0x00000001: wanted 4097, found kernel.shmmax = 4096: more than the limit kernel.shmmax = 4096; raise kernel.shmmax to at least 4097",
        ),
        (
            "[sysctl]\n\"kernel.shmall\" = 2\n[[shm]]\nkey = 1\nsize = 4097\n[[shm]]\nkey = 2\nsize = 1\n",
            "shm: 2 pages",
        ),
        (
            "[sysctl]\n\"kernel.shmmni\" = 1\n[[shm]]\nkey = 1\nsize = 1\n[[shm]]\nkey = 2\nsize = 1\n",
            "shm: 2 segments: wanted 2, found kernel.shmmni = 1",
        ),
        ("[[sem]]\nkey = 1\nnsems = 32001\n", "sem 0x00000001: wanted 32001, found kernel.sem (SEMMSL) = 32000"),
        (
            "[sysctl]\n\"kernel.sem\" = { semmns = 5 }\n[[sem]]\nkey = 1\nnsems = 6\n",
            "sem: 6 semaphores: wanted 6, found kernel.sem (SEMMNS) = 5",
        ),
        (
            "[sysctl]\n\"kernel.sem\" = { semmni = 0 }\n[[sem]]\nkey = 1\nnsems = 6\n",
            "sem: 1 semaphore sets: wanted 1, found kernel.sem (SEMMNI) = 0",
        ),
        (
            "[sysctl]\n\"kernel.sem\" = { semopm = 1 }\n[[sem]]\nkey = 1\nvalues = [3]\n",
            "sem 0x00000001: wanted 2, found kernel.sem (SEMOPM) = 1",
        ),
        (
            "[sysctl]\n\"kernel.msgmni\" = 0\n[[msg]]\nkey = 1\n",
            "msg: 1 message queues: wanted 1, found kernel.msgmni = 0",
        ),
        ("[[msg]]\nkey = 1\nmax-bytes = 16385\n", "msg 0x00000001: wanted 16385, found kernel.msgmnb = 16384"),
        ("[[mqueue]]\nname = \"/q\"\nmax-messages = 11\n", "mqueue /q: wanted 11, found fs.mqueue.msg_max = 10"),
        (
            "[[mqueue]]\nname = \"/q\"\nmessage-size = 8193\n",
            "mqueue /q: wanted 8193, found fs.mqueue.msgsize_max = 8192",
        ),
        (
            "[sysctl]\n\"fs.mqueue.queues_max\" = 1\n[[mqueue]]\nname = \"/q\"\n[[mqueue]]\nname = \"/r\"\n",
            "mqueue: 2 POSIX queues: wanted 2, found fs.mqueue.queues_max = 1",
        ),
        (
            "[sysctl]\n\"fs.mqueue.msg_max\" = 100\n[[mqueue]]\nname = \"/q\"\nmax-messages = 100\n",
            "mqueue: queues of uid 70: wanted 828800 bytes, found a limit of 819200: RLIMIT_MSGQUEUE",
        ),
    ] {
        let result = World::default().plan(body);
        let says = if says == "shm: 2 pages" { "shm: 2 segments" } else { says };
        match result {
            Err(ref e)
                if says == "shm: 2 segments"
                    && e.to_string().starts_with("shm: 3 pages of segments: wanted 3, found kernel.shmall = 2") => {}
            Err(ref e) if e.to_string().starts_with(says) => {}
            other => panic!("{body}: {:?}\nwant {says}", other.map_err(|e| e.to_string())),
        }
    }
    let one = "[[sem]]\nkey = 1\nnsems = 6\n";
    let mut used = World::default().having("[sysctl]\n\"kernel.sem\" = { semmni = 1 }\n[[sem]]\nkey = 7\nnsems = 1\n");
    refuses(
        used.plan(one),
        Exit::Failed,
        "sem: 1 new and 1 existing semaphore sets: wanted 2, found kernel.sem (SEMMNI) = 1",
    );
}

#[test]
fn a_limit_raised_in_the_same_plan_counts() {
    let body =
        "[sysctl]\n\"fs.mqueue.msg_max\" = 64\n[[mqueue]]\nname = \"/q\"\nmax-messages = 64\nmessage-size = 1024\n";
    assert!(World::default().plan(body).is_ok());
}

#[test]
fn owners_must_be_known_and_mapped() {
    let shm = "[[shm]]\nkey = 1\nsize = 1\n";
    let mut nobody = World { default_owner: None, spec: None, ..World::default() };
    refuses(
        nobody.plan(shm),
        Exit::BadInput,
        "shm 0x00000001: it names no owner (profile:p:2) and no config.json tells the container's user",
    );
    let map = IdMap::parse("0 100000 1000\n").unwrap();
    let mut mapped = World { maps: IdMaps { uid: map.clone(), gid: map }, ..World::default() };
    assert!(mapped.plan(shm).is_ok());
    refuses(
        mapped.plan("[[shm]]\nkey = 1\nsize = 1\nowner = \"1000:0\"\n"),
        Exit::BadInput,
        "shm 0x00000001: wanted owner 1000:0: the container's user namespace does not map this id",
    );
}

#[test]
fn ceilings_bind_what_containers_write() {
    let inline = |key: &str, value: &str| {
        let annotation = Annotation { key: format!("io.oci-ipc-hook.{key}").into(), value: value.to_owned().into() };
        merge(vec![Annotations::parse(&[annotation]).unwrap().inline], None, 4096).unwrap()
    };
    let policy =
        "format = 1\n[policy.ceiling]\n\"kernel.msgmax\" = 9000\nobjects = 1\n\"kernel.msgmni\" = \"denied\"\n";
    let mut world = World { policy: Config::parse("/etc/c.toml", policy, 4096).unwrap(), ..World::default() };
    refuses(
        world.plan_of(&inline("sysctl.kernel.msgmax", "9001")),
        Exit::Denied,
        "kernel.msgmax: wanted 9001, found 8192: above the ceiling of 9000 (rule policy.ceiling.\"kernel.msgmax\", /etc/c.toml:3); ask for less",
    );
    assert!(world.plan_of(&inline("sysctl.kernel.msgmax", "9000")).is_ok());
    assert!(world.plan_of(&inline("sysctl.kernel.shmmax", ">= 1")).is_ok(), "a step that writes nothing is not denied");
    refuses(
        world.plan_of(&inline("sysctl.kernel.msgmni", "5")),
        Exit::Denied,
        "kernel.msgmni: wanted 5, found 32000: annotations may not set it",
    );
    refuses(
        world.plan_of(&inline("objects", r#"{"msg":[{"key":1},{"key":2}]}"#)),
        Exit::Denied,
        "objects: wanted 2: above the ceiling of 1 (rule policy.ceiling.objects, /etc/c.toml:4)",
    );
    refuses(
        World::default().plan_of(&inline("objects", r#"{"shm":[{"key":1,"size":"2GiB"}]}"#)),
        Exit::Denied,
        "shm bytes: wanted 2147483648: above the ceiling of 1073741824",
    );
    let bomb: String = (1..=9).map(|k| format!("[[sem]]\nkey = {k}\nnsems = 32000\n")).collect();
    refuses(
        World::default().plan(&bomb),
        Exit::Denied,
        "kernel memory: wanted 18874440: above the ceiling of 16777216",
    );
}

#[test]
fn surprises_are_warned_of() {
    let plan = World::default().plan("[sysctl]\n\"kernel.shmall\" = 100\n\"kernel.msgmax\" = 20000\n").unwrap();
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
    let plan = World::default().plan("[sysctl]\n\"kernel.shmall\" = 100\n\"kernel.shmmax\" = 500000\n\"kernel.msgmax\" = 20000\n\"kernel.msgmnb\" = 16384\n").unwrap();
    assert!(plan.warnings[0].starts_with("kernel.shmall: 100 pages are 409600 bytes, less than kernel.shmmax 500000"));
    assert!(plan.warnings[1].starts_with("kernel.msgmax: 20000 is more than kernel.msgmnb 16384"));
}

#[test]
fn a_sysctl_that_the_kernel_lacks_is_named_with_its_option() {
    let snapshot = Snapshot::default();
    let (policy, maps) = (Config::default(), IdMaps::identity());
    let facts = Facts {
        snapshot: &snapshot,
        shared: false,
        spec: None,
        policy: &policy,
        default_owner: None,
        maps: &maps,
        page_size: 4096,
        msgqueue_limit: None,
    };
    let error = build(&request("[sysctl]\n\"fs.mqueue.msg_max\" = 20\n"), &facts).unwrap_err();
    assert_eq!(error.exit(), Exit::Unsupported);
    assert!(error.to_string().contains("CONFIG_POSIX_MQUEUE"), "{error}");
}

#[test]
fn text_is_aligned_and_names_the_source() {
    let plan = World::default()
        .plan("[sysctl]\n\"kernel.msgmax\" = 9000\n\"kernel.shmmax\" = \">= 1\"\n[[sem]]\nkey = 2\nvalues = [1,0]\n")
        .unwrap();
    let text = render::text(&plan);
    let lines: Vec<_> = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "set kernel.msgmax 8192 → 9000 profile:p:3",
            "none kernel.shmmax 18446744073692774399 profile:p:4",
            "create sem 0x00000002 values 1,0, mode 0600, owner 70:70 profile:p:5"
        ]
    );
}

#[test]
fn the_fake_knows_modes_and_owners() {
    let mut world = World::default().having("[[shm]]\nkey = 1\nsize = 1\nmode = \"0640\"\nowner = \"3:4\"\n");
    let found = world.fake.find(&ObjectId::Shm("1".parse().unwrap())).unwrap().unwrap();
    assert_eq!((found.mode, found.owner), (Mode::from_kernel(0o640), Owner { uid: 3, gid: 4 }));
}
