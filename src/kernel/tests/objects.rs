use crate::ipc::{Existing, Key, Kind, Mode, ObjectId, ObjectSpec, Owner, Shape, Sysctl, SysctlValue, Usage};
use crate::kernel::Ipc;
use crate::kernel::identity::{CapSet, Capabilities};
use crate::kernel::listing::{Listing, list_all};
use crate::kernel::testing::{in_fresh_namespace, is_root};
use crate::kernel::traces::By;
use nix::errno::Errno;

fn key(n: i32) -> Key {
    Key::new(n).unwrap()
}

fn spec(id: ObjectId, shape: Shape, mode: &str, owner: &str) -> ObjectSpec {
    ObjectSpec { id, shape, mode: mode.parse().unwrap(), owner: owner.parse().unwrap() }
}

fn shm(k: i32, size: u64) -> ObjectSpec {
    spec(ObjectId::Shm(key(k)), Shape::Shm { size }, "0600", "0:0")
}

fn sem(k: i32, nsems: u32, values: &[u16]) -> ObjectSpec {
    spec(ObjectId::Sem(key(k)), Shape::Sem { nsems, values: values.to_vec() }, "0600", "0:0")
}

fn msg(k: i32, max_bytes: Option<u64>) -> ObjectSpec {
    spec(ObjectId::Msg(key(k)), Shape::Msg { max_bytes }, "0600", "0:0")
}

fn mqueue(name: &str, max_messages: Option<u64>, message_size: Option<u64>) -> ObjectSpec {
    let id = ObjectId::Mqueue(name.parse().unwrap());
    spec(id, Shape::Mqueue { max_messages, message_size }, "0600", "0:0")
}

fn one_of_each() -> [ObjectSpec; 4] {
    [shm(-1, 5000), sem(0x7fff_ffff, 3, &[1, 0, 32767]), msg(i32::MIN, Some(4096)), mqueue("/größe", Some(3), Some(77))]
}

#[test]
fn creates_finds_and_removes_each_kind() {
    in_fresh_namespace(|ns| {
        for wanted in one_of_each() {
            assert_eq!(ns.find(&wanted.id).unwrap(), None);
            let made = ns.create(&wanted).unwrap();
            assert_eq!(made.id.as_ref(), Some(&wanted.id));
            assert_eq!((made.owner, made.creator, made.mode), (wanted.owner, wanted.owner, wanted.mode));
            let (extent, message_size) = match wanted.shape {
                Shape::Shm { size } => (size, 0),
                Shape::Sem { nsems, .. } => (nsems.into(), 0),
                Shape::Msg { max_bytes } => (max_bytes.unwrap(), 0),
                Shape::Mqueue { max_messages, message_size } => (max_messages.unwrap(), message_size.unwrap()),
            };
            assert_eq!((made.extent, made.message_size, made.in_use), (extent, message_size, 0));
            assert_eq!(ns.find(&wanted.id).unwrap(), Some(made.clone()));
            assert_eq!(ns.create(&wanted).unwrap_err().errno, Errno::EEXIST, "creation is exclusive");
            assert_eq!(ns.find(&wanted.id).unwrap(), Some(made.clone()), "a refused creation leaves it alone");
            ns.remove(&made).unwrap();
            assert_eq!(ns.find(&wanted.id).unwrap(), None);
            ns.remove(&made).unwrap();
        }
    });
}

#[test]
fn owner_creator_and_mode_are_as_asked_whatever_the_umask() {
    if !is_root() {
        return;
    }
    in_fresh_namespace(|ns| {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        for mode in ["0000", "0200", "0777"] {
            let owner = Owner { uid: 1001, gid: 2002 };
            let made: Vec<Existing> = one_of_each()
                .into_iter()
                .map(|s| ns.create(&ObjectSpec { owner, mode: mode.parse().unwrap(), ..s }).unwrap())
                .collect();
            for object in &made {
                let expected = (owner, owner, mode.parse::<Mode>().unwrap());
                assert_eq!((object.owner, object.creator, object.mode), expected, "{:?}", object.id);
                assert_eq!(ns.find(object.id.as_ref().unwrap()).unwrap().as_ref(), Some(object));
            }
            assert_eq!(ns.sem_values(&made[1]).unwrap(), [1, 0, 32767]);
            for object in &made {
                ns.remove(object).unwrap();
                assert_eq!(ns.find(object.id.as_ref().unwrap()).unwrap(), None);
            }
        }
    });
}

#[test]
fn owners_may_follow_one_another_in_any_order() {
    if !is_root() {
        return;
    }
    in_fresh_namespace(|ns| {
        for (n, owner) in ["5:6", "0:0", "0:7", "7:0", "5:6", "5:7"].into_iter().enumerate() {
            let wanted = ObjectSpec { owner: owner.parse().unwrap(), ..shm(100 + n as i32, 1) };
            let made = ns.create(&wanted).unwrap();
            assert_eq!((made.owner, made.creator), (wanted.owner, wanted.owner));
            // A write in between goes back to whom the sysctl was opened as.
            ns.write_sysctl(Sysctl::Shmmni, SysctlValue::Number(4000 + n as u64)).unwrap();
        }
        ns.resume_identity().unwrap();
        assert!(is_root());
    });
}

#[test]
fn a_set_is_marked_and_its_values_stay() {
    in_fresh_namespace(|ns| {
        for (n, values) in [&[0u16, 5][..], &[1, 0], &[32766], &[32767, 32767], &[]].into_iter().enumerate() {
            let nsems = values.len().max(2) as u32;
            let nsems = if values.len() == 1 { 1 } else { nsems };
            let made = ns.create(&sem(10 + n as i32, nsems, values)).unwrap();
            assert_ne!(made.otime, 0, "{values:?} is marked");
            let expected = if values.is_empty() { vec![0; nsems as usize] } else { values.to_vec() };
            assert_eq!(ns.sem_values(&made).unwrap(), expected);
        }
    });
}

#[test]
fn a_set_is_marked_even_where_semop_takes_one_operation() {
    in_fresh_namespace(|ns| {
        ns.write_sysctl(Sysctl::Sem, SysctlValue::Sem([100, 1000, 1, 100])).unwrap();
        let made = ns.create(&sem(1, 1, &[32767])).unwrap();
        assert_ne!(made.otime, 0);
        assert_eq!(ns.sem_values(&made).unwrap(), [32767]);
    });
}

#[test]
fn nothing_stays_of_what_could_not_be_made() {
    in_fresh_namespace(|ns| {
        // Values out of range are seen by SETALL, after semget.
        let set = sem(1, 1, &[40000]);
        assert_eq!(ns.create(&set).unwrap_err().errno, Errno::ERANGE);
        // No operation at all: the mark fails.
        ns.write_sysctl(Sysctl::Sem, SysctlValue::Sem([100, 1000, 0, 100])).unwrap();
        assert_eq!(ns.create(&sem(1, 1, &[])).unwrap_err().errno, Errno::E2BIG);
        assert_eq!(ns.create(&sem(1, 2, &[0])).unwrap_err().errno, Errno::EINVAL);
        assert_eq!(ns.find(&set.id).unwrap(), None);
        // The kernel would keep 32 bits of it.
        let queue = msg(1, Some((1 << 32) + 5));
        assert!(ns.create(&queue).is_err());
        assert_eq!(ns.find(&queue.id).unwrap(), None);
        for wanted in [shm(1, 0), shm(1, 1 << 63), mqueue("/q", Some(0), Some(1)), mqueue("/q", Some(1 << 63), Some(1))]
        {
            assert_eq!(ns.create(&wanted).unwrap_err().errno, Errno::EINVAL);
            assert_eq!(ns.find(&wanted.id).unwrap(), None);
        }
    });
}

#[test]
fn queues_take_the_namespaces_defaults() {
    in_fresh_namespace(|ns| {
        for (s, n) in [
            (Sysctl::Msgmnb, 777),
            (Sysctl::MqMsgDefault, 20),
            (Sysctl::MqMsgMax, 7),
            (Sysctl::MqMsgsizeDefault, 512),
            (Sysctl::MqMsgsizeMax, 1024),
        ] {
            ns.write_sysctl(s, SysctlValue::Number(n)).unwrap();
        }
        assert_eq!(ns.create(&msg(1, None)).unwrap().extent, 777);
        assert_eq!(ns.create(&msg(2, Some(0))).unwrap().extent, 0);
        for (name, given, expected) in [
            ("/none", (None, None), (7, 512)),
            ("/messages", (Some(3), None), (3, 512)),
            ("/size", (None, Some(1024)), (7, 1024)),
        ] {
            let made = ns.create(&mqueue(name, given.0, given.1)).unwrap();
            assert_eq!((made.extent, made.message_size), expected, "{name}");
        }
    });
}

#[test]
fn only_the_very_object_is_removed() {
    in_fresh_namespace(|ns| {
        for wanted in one_of_each() {
            let made = ns.create(&wanted).unwrap();
            let other = Existing { message_size: made.message_size + 1, ..made.clone() };
            ns.remove(&other).unwrap();
            assert_eq!(ns.find(&wanted.id).unwrap(), Some(made.clone()));
            if made.kind != Kind::Mqueue {
                let other = Existing { creator: Owner { uid: 9, gid: 9 }, ..made.clone() };
                ns.remove(&other).unwrap();
                assert_eq!(ns.find(&wanted.id).unwrap(), Some(made));
            }
        }
    });
}

#[test]
fn limits_are_what_the_files_say() {
    in_fresh_namespace(|ns| {
        for (sysctl, value) in [
            (Sysctl::Shmmax, SysctlValue::Number(123_456_789)),
            (Sysctl::Shmmni, SysctlValue::Number(17)),
            (Sysctl::Shmall, SysctlValue::Number(98_765)),
            (Sysctl::Sem, SysctlValue::Sem([11, 222, 33, 44])),
            (Sysctl::Msgmax, SysctlValue::Number(5001)),
            (Sysctl::Msgmnb, SysctlValue::Number(5002)),
            (Sysctl::Msgmni, SysctlValue::Number(53)),
        ] {
            ns.write_sysctl(sysctl, value).unwrap();
        }
        for kind in Kind::ALL {
            let mut told = [None; 13];
            ns.limits(kind, &mut told).unwrap();
            for sysctl in Sysctl::ALL {
                let wanted = (sysctl.told_with() == Some(kind)).then(|| ns.read_sysctl(sysctl).unwrap());
                assert_eq!(told[sysctl.index()], wanted, "{sysctl} with {kind}");
            }
        }
    });
}

#[test]
fn usage_counts_what_is_there() {
    in_fresh_namespace(|ns| {
        assert_eq!(ns.usage(&Kind::ALL).unwrap(), Usage::default());
        for wanted in [shm(1, 5000), shm(2, 1), sem(1, 3, &[]), sem(2, 4, &[]), msg(1, None)] {
            ns.create(&wanted).unwrap();
        }
        let all = Usage { shm_segments: 2, shm_pages: 3, sem_sets: 2, sems: 7, msg_queues: 1 };
        assert_eq!(ns.usage(&Kind::ALL).unwrap(), all);
        let sems = Usage { sem_sets: 2, sems: 7, ..Usage::default() };
        assert_eq!(ns.usage(&[Kind::Sem, Kind::Mqueue]).unwrap(), sems);
    });
}

#[test]
fn others_objects_can_be_seen_without_any_right() {
    if !is_root() {
        return;
    }
    in_fresh_namespace(|ns| {
        let made: Vec<Existing> = one_of_each().into_iter().map(|s| ns.create(&s).unwrap()).collect();
        crate::kernel::testing::become_user(1234);
        let mut ns = crate::kernel::namespace::Joined::join_self().unwrap();
        for object in &made {
            match object.kind {
                // No call tells about a queue that may not be opened.
                Kind::Mqueue => {
                    assert_eq!(ns.find(object.id.as_ref().unwrap()).unwrap_err().errno, Errno::EACCES);
                }
                _ => assert_eq!(ns.find(object.id.as_ref().unwrap()).unwrap().as_ref(), Some(object)),
            }
            assert!(ns.remove(object).is_err(), "{:?}", object.id);
        }
    });
}

#[test]
fn the_list_equals_what_was_made() {
    in_fresh_namespace(|ns| {
        let empty = list_all(ns).unwrap();
        assert_eq!(empty, Listing::default());
        let more = [mqueue("/a", None, None), shm(2, 1), msg(2, None)];
        let made: Vec<Existing> = one_of_each().iter().chain(&more).map(|s| ns.create(s).unwrap()).collect();
        let list = list_all(ns).unwrap();
        assert_eq!(list.mqueue_error, None);
        let listed = list.shm.iter().map(Existing::from).chain(list.sem.iter().map(Existing::from));
        let listed = listed.chain(list.msg.iter().map(Existing::from)).chain(list.mqueue.iter().map(Existing::from));
        let listed: Vec<Existing> = listed.collect();
        let order = |kind| made.iter().filter(move |m| m.kind == kind).cloned();
        let mut expected: Vec<Existing> = order(Kind::Shm).chain(order(Kind::Sem)).chain(order(Kind::Msg)).collect();
        expected.extend([made[4].clone(), made[3].clone()]);
        assert_eq!(listed, expected);
        assert_eq!(list.shm[0].cpid, std::process::id() as i32);
        assert_eq!(list.mqueue[0].content.unwrap().bytes, 0);
    });
}

#[test]
fn a_removed_segment_that_is_attached_is_listed_as_such() {
    in_fresh_namespace(|ns| {
        let made = ns.create(&shm(5, 8192)).unwrap();
        // SAFETY: a new mapping at a place that the kernel chooses.
        let place = unsafe { libc::shmat(made.sysv_id.unwrap(), std::ptr::null(), 0) };
        // SAFETY: the segment has 8192 bytes and is mapped for writing.
        unsafe { place.cast::<u8>().write_volatile(1) };
        let seen = list_all(ns).unwrap().shm[0];
        assert_eq!((seen.nattch, seen.rss, seen.removed), (1, 4096, false));
        ns.remove(&made).unwrap();
        let seen = list_all(ns).unwrap().shm[0];
        assert_eq!((seen.removed, seen.common.key, Existing::from(&seen).id), (true, 0, None));
        assert_eq!(ns.find(&ObjectId::Shm(key(5))).unwrap(), None);
    });
}

#[test]
fn what_may_not_be_opened_is_listed_without_its_content() {
    if !is_root() {
        return;
    }
    in_fresh_namespace(|ns| {
        let owner = Owner { uid: 1001, gid: 1002 };
        for spec in one_of_each() {
            ns.create(&ObjectSpec { owner, mode: "0000".parse().unwrap(), ..spec }).unwrap();
        }
        ns.resume_identity().unwrap();
        Capabilities::own().unwrap().keep(CapSet::SYS_ADMIN).unwrap();
        let list = list_all(ns).unwrap();
        assert_eq!((list.shm.len(), list.sem.len(), list.mqueue_error), (1, 1, None));
        assert_eq!(list.msg[0].qbytes, Some(4096), "asked without the right to read");
        let queue = &list.mqueue[0];
        assert_eq!((queue.owner, queue.mode.bits(), queue.content), (owner, 0, None));
        assert_eq!(queue.name, "/größe".as_bytes());
    });
}

#[test]
fn ten_thousand_objects_are_listed() {
    in_fresh_namespace(|ns| {
        for n in 1..=10_000 {
            ns.create(&sem(n, 1, &[])).unwrap();
        }
        let list = list_all(ns).unwrap();
        assert_eq!(list.sem.len(), 10_000);
        assert!(list.sem.iter().zip(1..).all(|(s, n)| s.common.key == n));
    });
}

#[test]
fn an_object_tells_who_has_touched_it() {
    in_fresh_namespace(|ns| {
        let own = std::process::id().cast_signed();
        let made: Vec<_> = one_of_each().iter().map(|wanted| ns.create(wanted).unwrap()).collect();
        for (object, by) in made.iter().zip([By::Process(own), By::Process(own), By::Nobody, By::Nobody]) {
            let traces = ns.traces(object).unwrap();
            assert_eq!(traces.by, by, "{object:?}");
            assert_eq!(traces.used, object.otime, "{object:?}");
            assert!(
                traces.changed > 0 && (object.kind == Kind::Mqueue || traces.changed == object.ctime),
                "{traces:?}"
            );
        }
        let [shm, sem, msg, _] = &made[..] else { panic!("{made:?}") };
        let id = |object: &Existing| object.sysv_id.unwrap();
        // SAFETY: the segment is attached where the kernel likes; the message lives as long as the call.
        unsafe {
            let place = libc::shmat(id(shm), std::ptr::null(), libc::SHM_RDONLY);
            assert_ne!(place as isize, -1);
            assert_eq!(libc::shmdt(place), 0);
            assert_eq!(libc::msgsnd(id(msg), [1i64, 2].as_ptr().cast(), 8, 0), 0);
        }
        assert_eq!(ns.traces(shm).unwrap().by, By::Users);
        assert_eq!(ns.traces(msg).unwrap().by, By::Users);
        // SAFETY: no pointers are passed; the child only calls and ends.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::semctl(id(sem), 1, libc::SETVAL, 7);
                libc::_exit(0);
            }
            assert_eq!(libc::waitpid(child, std::ptr::null_mut(), 0), child);
        }
        assert_eq!(ns.traces(sem).unwrap().by, By::Users, "two processes have set values");
        ns.remove(sem).unwrap();
        assert!(ns.traces(sem).is_err());
    });
}
