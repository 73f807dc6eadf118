use super::*;
use crate::ipc::{IdMaps, Kind, Owner};
use crate::kernel::fake::{Fake, Fault};
use crate::plan::{self, Facts};
use crate::policy::Config;
use crate::request::profile::administrators;
use crate::request::{Profile, Request, merge};
use crate::session::look;
use nix::errno::Errno;

const EVERYTHING: &str = r#"format = 1
[sysctl]
"kernel.msgmax" = 9000
"kernel.sem" = "250 256000 100 1024"
"fs.mqueue.msg_max" = 100
"fs.mqueue.queues_max" = ">= 300"
[[shm]]
key = 1
size = "1MiB"
mode = "0660"
owner = "5:6"
[[sem]]
key = 2
values = [1, 0, 5]
[[sem]]
key = 9
nsems = 4
[[msg]]
key = 3
max-bytes = 4096
[[mqueue]]
name = "/q"
max-messages = 50
"#;

fn request(text: &str) -> Request {
    let profile = Profile::parse_toml("p", text, &administrators("profile:p")).unwrap();
    merge(vec![profile], None, 4096).unwrap()
}

fn plan_for(request: &Request, fake: &mut Fake) -> Result<Plan> {
    let snapshot = look(fake, request, &plan::needs(request))?;
    let facts = Facts {
        snapshot: &snapshot,
        shared: false,
        spec: Some(&[]),
        policy: &Config::default(),
        default_owner: Some(Owner { uid: 70, gid: 70 }),
        maps: &IdMaps::identity(),
        page_size: 4096,
        msgqueue_limit: Some(819_200),
    };
    plan::build(request, &facts)
}

#[test]
fn does_everything_and_a_second_plan_is_empty() {
    let mut fake = Fake::default();
    let request = request(EVERYTHING);
    let plan = plan_for(&request, &mut fake).unwrap();
    let outcome = apply(&plan, &mut fake);
    assert_eq!((outcome.ending, outcome.error), (Ending::Done, None));
    assert!(outcome.after.iter().all(Option::is_some));
    assert_eq!(fake.sysctls[Sysctl::Sem.index()], SysctlValue::Sem([250, 256_000, 100, 1024]));
    assert_eq!(fake.objects.len(), 5);
    let again = plan_for(&request, &mut fake).unwrap();
    assert!(again.is_noop(), "{again:?}");
    let before = fake.visible();
    fake.arm(None);
    assert_eq!(apply(&again, &mut fake).ending, Ending::Done);
    assert_eq!((fake.calls(), fake.visible()), (0, before), "a second run makes no call at all");
}

#[test]
fn every_single_failure_leaves_the_namespace_as_it_was() {
    let mut fake = Fake::default();
    let request = request(EVERYTHING);
    let plan = plan_for(&request, &mut fake).unwrap();
    let before = fake.visible();
    let mut clean = fake.clone();
    clean.arm(None);
    assert_eq!(apply(&plan, &mut clean).ending, Ending::Done);
    let calls = clean.calls();
    assert_eq!(
        calls,
        2 * 4 + 5 + 1,
        "a write and a read a sysctl, a creation an object, the values of the set that has some"
    );
    for at in 0..calls {
        for errno in [Errno::EINVAL, Errno::ENOSPC, Errno::EPERM, Errno::ENOMEM, Errno::EIO] {
            for half in [false, true] {
                let mut fake = fake.clone();
                fake.arm(Some(Fault { at, errno, half, for_ever: false }));
                let outcome = apply(&plan, &mut fake);
                assert_eq!(outcome.ending, Ending::Undone, "call {at} {errno}");
                assert_eq!(fake.visible(), before, "call {at} {errno} half {half}");
                assert!(outcome.after.iter().all(Option::is_none), "call {at}");
                let error = outcome.error.unwrap().to_string();
                assert!(error.contains(&errno.to_string()) || error.contains("E"), "{error}");
            }
        }
    }
}

#[test]
fn a_kernel_that_stays_broken_is_reported_with_both_errors() {
    let mut fake = Fake::default();
    let request = request(EVERYTHING);
    let plan = plan_for(&request, &mut fake).unwrap();
    fake.arm(Some(Fault { at: 2, errno: Errno::EIO, half: false, for_ever: true }));
    let outcome = apply(&plan, &mut fake);
    assert_eq!(outcome.ending, Ending::Partial);
    let error = outcome.error.unwrap().to_string();
    assert!(error.contains("; also: undo: "), "{error}");
}

#[test]
fn replacement_runs_last_and_says_what_was_lost() {
    let text = "format = 1\n[[shm]]\nkey = 1\nsize = 4096\nif-exists = \"replace\"\n[[sem]]\nkey = 2\nnsems = 1\n[[msg]]\nkey = 3\nif-exists = \"replace\"\n";
    let mut fake = Fake::default();
    let first = plan_for(&request(text), &mut fake).unwrap();
    apply(&first, &mut fake);
    fake.remove(&fake.objects.values().find(|(e, _)| e.kind == Kind::Sem).unwrap().0.clone()).unwrap();
    let plan = plan_for(&request(text), &mut fake).unwrap();
    let actions: Vec<_> = plan.steps.iter().map(|s| (s.what(), s.action)).collect();
    assert_eq!(actions[0], ("sem 0x00000002".to_owned(), Action::Create));
    assert_eq!(actions[1], ("shm 0x00000001".to_owned(), Action::Replace));
    assert_eq!(actions[2], ("msg 0x00000003".to_owned(), Action::Replace));
    let before = fake.visible();
    // create sem, remove shm, create shm, remove msg, create msg
    for (at, ending) in [(0, Ending::Undone), (1, Ending::Undone), (2, Ending::Partial), (4, Ending::Partial)] {
        let mut fake = fake.clone();
        fake.arm(Some(Fault { at, errno: Errno::ENOSPC, half: false, for_ever: false }));
        let outcome = apply(&plan, &mut fake);
        assert_eq!(outcome.ending, ending, "call {at}");
        if ending == Ending::Undone {
            assert_eq!(fake.visible(), before, "call {at}");
        } else {
            let error = outcome.error.unwrap().to_string();
            assert!(error.contains("shm 0x00000001") && error.contains("its content was destroyed"), "{error}");
            assert!(!fake.objects.keys().any(|id| id.kind() == Kind::Sem), "what was created is taken back");
        }
    }
}

#[test]
fn errno_is_translated() {
    for (at, errno, says) in [
        (
            8,
            Errno::ENOSPC,
            "shm 0x00000001: wanted size 1048576, mode 0660, owner 5:6: the limit kernel.shmall or kernel.shmmni",
        ),
        (
            9,
            Errno::ENOSPC,
            "sem 0x00000002: wanted values 1,0,5, mode 0600, owner 70:70: the limit SEMMNI or SEMMNS of kernel.sem",
        ),
        (12, Errno::ENOSPC, "msg 0x00000003: wanted max-bytes 4096, mode 0600, owner 70:70: the limit kernel.msgmni"),
        (
            13,
            Errno::EMFILE,
            "mqueue /q: wanted max-messages 50, message-size 8192, mode 0600, owner 70:70: RLIMIT_MSGQUEUE is used up",
        ),
        (0, Errno::EINVAL, "kernel.msgmax: wanted 9000, found 8192: the kernel refuses this value"),
    ] {
        let mut fake = Fake::default();
        let plan = plan_for(&request(EVERYTHING), &mut fake).unwrap();
        fake.arm(Some(Fault { at, errno, half: false, for_ever: false }));
        let error = apply(&plan, &mut fake).error.unwrap().to_string();
        assert!(error.starts_with(says), "{at}: {error}\nwant {says}");
    }
}
