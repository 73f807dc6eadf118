use super::*;
use crate::apply::apply;
use crate::ipc::Owner;
use crate::kernel::fake::{Fake, Fault};
use crate::plan::{self, Facts, Plan};
use crate::policy::Config;
use crate::record::{About, Maker, objects};
use crate::report::{Report, Subject};
use crate::request::profile::administrators;
use crate::request::{Profile, merge};
use crate::session::look;
use nix::errno::Errno;

const PROFILE: &str = r#"format = 1
[sysctl]
"kernel.msgmax" = 9000
"kernel.sem" = "250 256000 100 1024"
"kernel.shmmax" = "8EiB"
[[shm]]
key = 1
size = "1MiB"
mode = "0660"
owner = "5:6"
[[sem]]
key = 2
values = [1, 0, 5]
[[msg]]
key = 3
max-bytes = 4096
[[mqueue]]
name = "/q"
max-messages = 5
"#;

fn plan_for(text: &str, fake: &mut Fake) -> Plan {
    let profile = Profile::parse_toml("p", text, &administrators("profile:p")).unwrap();
    let request = merge(vec![profile], None, 4096).unwrap();
    let snapshot = look(fake, &request, &plan::needs(&request)).unwrap();
    let facts = Facts {
        snapshot: &snapshot,
        shared: true,
        spec: Some(&[]),
        policy: &Config { lower_in_shared: Config::default().lower_in_shared, ..Config::default() },
        default_owner: Some(Owner { uid: 70, gid: 70 }),
        maps: &IdMaps::identity(),
        page_size: 4096,
        msgqueue_limit: None,
    };
    plan::build(&request, &facts).unwrap()
}

const MAKER: Maker = Maker { pid: Fake::PID, children: false, pid_namespace: 1 };

/// The journal as it is read again. The fake's clock stands at 0.
fn journal_of(plan: &Plan) -> Stored {
    let report = Report::planned(&Subject::default(), plan);
    let text = About::default().text("boot", Some(MAKER), objects(plan, &IdMaps::identity(), |_| None), &report);
    Stored { written: 0, last_sign: 0, ..Stored::parse(text.into()).unwrap() }
}

/// As [`PROFILE`], but every limit is raised, as a shared namespace has it.
fn raising() -> String {
    PROFILE.replace("\"250 256000 100 1024\"", "\">= 32001 1024000001 501 32001\"").replace("\"8EiB\"", "\">= 1\"")
}

#[test]
fn whenever_the_run_dies_everything_goes_back() {
    let text = raising();
    let mut calls = 0;
    loop {
        let mut fake = Fake::default();
        let before = fake.visible();
        let plan = plan_for(&text, &mut fake);
        let journal = journal_of(&plan);
        // Dead from this call on: the undoing fails as well, so that everything stays as it was at that moment.
        let fault = Fault { at: calls, errno: Errno::EIO, half: true, for_ever: true };
        fake.arm(Some(fault));
        let outcome = apply(&plan, &mut fake);
        let died = outcome.error.is_some();
        fake.arm(None);
        for _ in 0..2 {
            assert_eq!(recover(&journal, Some(1), &mut fake, &IdMaps::identity()), [], "dead at call {calls}");
            assert_eq!(fake.visible(), before, "dead at call {calls}");
        }
        if !died {
            assert!(calls >= 9, "{calls}");
            return;
        }
        calls += 1;
    }
}

#[test]
fn what_others_did_meanwhile_stays() {
    let mut fake = Fake::default();
    let plan = plan_for(&raising(), &mut fake);
    let journal = journal_of(&plan);
    assert_eq!(apply(&plan, &mut fake).error, None);
    fake.sysctls[Sysctl::Msgmax.index()] = SysctlValue::Number(77);
    let sem = ObjectId::Sem("2".parse().unwrap());
    let shm = ObjectId::Shm("1".parse().unwrap());
    let queue = ObjectId::Mqueue("/q".parse().unwrap());
    fake.objects.get_mut(&sem).unwrap().0.creator = Owner { uid: 1, gid: 1 };
    fake.objects.get_mut(&shm).unwrap().0.in_use = 1;
    fake.objects.get_mut(&queue).unwrap().0.extent = 6;
    let stays: Vec<_> =
        recover(&journal, Some(1), &mut fake, &IdMaps::identity()).iter().map(ToString::to_string).collect();
    assert_eq!(stays.len(), 4, "{stays:?}");
    for (stay, says) in stays.iter().zip([
        "mqueue /q: not removed: it does not look as that run made it",
        "sem 0x00000002: not removed: it does not look",
        "shm 0x00000001: not removed: it is in use",
        "kernel.msgmax: wanted 8192, found 77: not restored: somebody has set it since",
    ]) {
        assert!(stay.contains(says), "{stay}");
    }
    assert_eq!(fake.objects.len(), 3);
    assert_eq!(fake.sysctls[Sysctl::Sem.index()], Sysctl::Sem.kernel_default());
}

#[test]
fn older_objects_are_not_the_runs() {
    let mut fake = Fake::default();
    let plan = plan_for(&raising(), &mut fake);
    assert_eq!(apply(&plan, &mut fake).error, None);
    let journal = Stored { written: 2, last_sign: 2, ..journal_of(&plan) };
    let before = fake.visible();
    let stays = recover(&journal, Some(1), &mut fake, &IdMaps::identity());
    assert_eq!(fake.objects.len(), 4, "{stays:?}\n{before}");
    assert!(stays.iter().all(|stay| stay.to_string().contains("made or changed at another time")), "{stays:?}");
}

/// What is told of the objects that are left when one of them was touched like this.
fn left_when_touched(id: &str, traces: Traces, journal: impl Fn(Stored) -> Stored) -> Vec<String> {
    let mut fake = Fake::default();
    let plan = plan_for(&raising(), &mut fake);
    assert_eq!(apply(&plan, &mut fake).error, None);
    let all: Vec<_> = fake.objects.keys().cloned().collect();
    let touched = all.iter().find(|object| object.to_string() == id).unwrap();
    fake.touched.insert(touched.clone(), traces);
    let stays = recover(&journal(journal_of(&plan)), Some(1), &mut fake, &IdMaps::identity());
    assert_eq!(fake.objects.len(), stays.len(), "what is left is named: {stays:?}");
    stays.iter().map(ToString::to_string).collect()
}

#[test]
fn what_others_made_or_used_later_stays() {
    let own = By::Process(Fake::PID);
    let at = |by, changed, used| Traces { by, changed, used };
    for (id, traces, says) in [
        ("shm 0x00000001", at(own, 1, 0), ""),
        ("shm 0x00000001", at(own, 2, 0), "made or changed at another time"),
        ("shm 0x00000001", at(own, -2, 0), "made or changed at another time"),
        ("shm 0x00000001", at(By::Process(8), 0, 0), "pid 8 made it or uses it, not that run"),
        ("shm 0x00000001", at(By::Process(0), 0, 0), "another pid namespace"),
        ("shm 0x00000001", at(By::Users, 0, 0), "used since"),
        ("sem 0x00000002", at(own, 1, 1), ""),
        ("sem 0x00000002", at(own, 0, 2), "made or changed at another time"),
        ("sem 0x00000002", at(By::Process(8), 0, 0), "pid 8"),
        ("sem 0x00000002", at(By::Users, 0, 0), "used since"),
        // Filled by a kernel that leaves no trace of it.
        ("sem 0x00000002", at(By::Nobody, 0, 0), ""),
        ("msg 0x00000003", at(By::Nobody, 1, 0), ""),
        ("msg 0x00000003", at(By::Nobody, 2, 0), "made or changed at another time"),
        ("msg 0x00000003", at(By::Users, 0, 0), "used since"),
        ("mqueue /q", at(By::Nobody, 2, 0), "made or changed at another time"),
        ("mqueue /q", at(By::Users, 0, 0), "used since"),
    ] {
        let stays = left_when_touched(id, traces, |journal| journal);
        assert_eq!(stays.len(), usize::from(!says.is_empty()), "{id} {traces:?}: {stays:?}");
        assert!(stays.iter().all(|stay| stay.contains(id) && stay.contains(says)), "{id} {traces:?}: {stays:?}");
    }
}

#[test]
fn without_the_makers_number_only_what_no_process_has_touched_goes() {
    let untouched = Traces { by: By::Nobody, changed: 0, used: 0 };
    for maker in [None, Some(Maker { pid_namespace: 2, ..MAKER })] {
        let stays = left_when_touched("msg 0x00000003", untouched, |journal| Stored { maker, ..journal });
        assert_eq!(stays.len(), 2, "{stays:?}");
        assert!(stays.iter().all(|stay| stay.contains("does not tell which process made it")), "{stays:?}");
    }
}

#[test]
fn a_child_of_the_maker_has_ended() {
    let children = |journal| Stored { maker: Some(Maker { children: true, ..MAKER }), ..journal };
    for (pid, stays) in [(i32::MAX, 0), (std::process::id().cast_signed(), 1), (0, 1)] {
        let traces = Traces { by: By::Process(pid), changed: 0, used: 0 };
        // The other one is said to be of a process that may live.
        let said = left_when_touched("sem 0x00000002", traces, children);
        assert_eq!(said.iter().filter(|line| line.starts_with("killed run of : sem")).count(), stays, "{said:?}");
    }
}

#[test]
fn a_set_with_values_that_nobody_put_there_stays() {
    let mut fake = Fake::default();
    let plan = plan_for(&raising(), &mut fake);
    assert_eq!(apply(&plan, &mut fake).error, None);
    let sem = ObjectId::Sem("2".parse().unwrap());
    fake.touched.insert(sem.clone(), Traces { by: By::Nobody, changed: 0, used: 0 });
    fake.objects.get_mut(&sem).unwrap().1 = vec![1, 0, 4];
    let stays = recover(&journal_of(&plan), Some(1), &mut fake, &IdMaps::identity());
    assert!(stays.len() == 1 && stays[0].to_string().contains("other values"), "{stays:?}");
    fake.objects.get_mut(&sem).unwrap().1 = vec![0, 0, 0];
    assert_eq!(recover(&journal_of(&plan), Some(1), &mut fake, &IdMaps::identity()), []);
    assert!(fake.objects.is_empty());
}

#[test]
fn what_replace_destroyed_is_told() {
    let mut fake = Fake::default();
    let first = plan_for(PROFILE_SEM, &mut fake);
    assert_eq!(apply(&first, &mut fake).error, None);
    let before = fake.visible();
    let plan = plan_for(&PROFILE_SEM.replace("\"keep\"", "\"replace\"").replace("nsems = 3", "nsems = 4"), &mut fake);
    let journal = journal_of(&plan);
    assert_eq!(recover(&journal, Some(1), &mut fake, &IdMaps::identity()), [], "killed before the removal");
    assert_eq!(fake.visible(), before);
    assert_eq!(apply(&plan, &mut fake).error, None);
    let after = fake.visible();
    let stays = recover(&journal, Some(1), &mut fake, &IdMaps::identity());
    assert!(stays[0].to_string().contains("content was destroyed"), "{stays:?}");
    assert_eq!(fake.visible(), after, "the new one stays");
}

const PROFILE_SEM: &str = "format = 1\n[[sem]]\nkey = 2\nnsems = 3\nif-exists = \"keep\"\n";
