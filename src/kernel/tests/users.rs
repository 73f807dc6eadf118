use crate::ipc::{Existing, IdMaps, Key, ObjectId, ObjectSpec, Owner, Shape, Sysctl, SysctlValue};
use crate::kernel::listing::list_all;
use crate::kernel::namespace::{Joined, LockResult, NamespaceFd, OwnIds, OwnThread, Patience, Process};
use crate::kernel::testing::{Container, become_user, in_child, is_root};
use crate::kernel::{Ipc, identity};
use nix::errno::Errno;
use std::path::Path;
use std::time::Duration;

fn host_values() -> Vec<SysctlValue> {
    let mut host = Joined::join_self().unwrap();
    Sysctl::ALL.into_iter().map(|s| host.read_sysctl(s).unwrap()).collect()
}

fn enter(container: &Container) -> Joined {
    let process = Process::open(container.pid()).unwrap();
    let ns = process.ipc_namespace().unwrap();
    Joined::join(Some(&process), &ns, process.id_maps(OwnIds::All).unwrap(), &OwnThread::open().unwrap()).unwrap()
}

fn objects(owner: Owner) -> [ObjectSpec; 4] {
    let key = Key::new(7).unwrap();
    [
        (ObjectId::Shm(key), Shape::Shm { size: 4096 }),
        (ObjectId::Sem(key), Shape::Sem { nsems: 2, values: vec![3, 4] }),
        (ObjectId::Msg(key), Shape::Msg { max_bytes: Some(100) }),
        (ObjectId::Mqueue("/q".parse().unwrap()), Shape::Mqueue { max_messages: Some(2), message_size: Some(16) }),
    ]
    .map(|(id, shape)| ObjectSpec { id, shape, mode: "0640".parse().unwrap(), owner })
}

/// Every sysctl written, every kind of object made for each owner, all undone; with the ids that the container sees.
fn work_in(ns: &mut Joined, owners: &[Owner]) {
    write_sysctls(ns);
    make_objects(ns, owners);
}

/// As [`work_in`], where a plain user is root: up to Linux 6.8 only the host's root may write the sysctls.
fn work_as_plain_user_in(ns: &mut Joined) {
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/sys/kernel/msgmax").unwrap());
    if owner == identity::effective_ids().uid {
        write_sysctls(ns);
    } else {
        let refused = ns.write_sysctl(Sysctl::Msgmax, SysctlValue::Number(9000)).unwrap_err();
        assert_eq!(refused.errno, Errno::EACCES);
        assert_eq!(ns.read_sysctl(Sysctl::Msgmax).unwrap(), Sysctl::Msgmax.kernel_default());
    }
    make_objects(ns, &OWNERS[..1]);
}

fn write_sysctls(ns: &mut Joined) {
    for s in Sysctl::ALL {
        let new = match s.kernel_default() {
            SysctlValue::Number(n) if s == Sysctl::ShmRmidForced => SysctlValue::Number(n),
            SysctlValue::Number(n) => SysctlValue::Number(n - 1),
            SysctlValue::Sem([a, b, c, d]) => SysctlValue::Sem([a + 1, b + 1, c + 1, d - 1]),
        };
        assert_eq!(ns.read_sysctl(s).unwrap(), s.kernel_default());
        if let Err(e) = ns.write_sysctl(s, new) {
            // Read-only for the ends of the range; none of the defaults lies there.
            panic!("{s}: {e}");
        }
        assert_eq!(ns.read_sysctl(s).unwrap(), new, "{s}");
        ns.write_sysctl(s, s.kernel_default()).unwrap();
    }
}

fn make_objects(ns: &mut Joined, owners: &[Owner]) {
    for owner in owners {
        let made: Vec<_> = objects(*owner)
            .iter()
            .map(|spec| {
                let made = ns.create(spec).unwrap();
                assert_eq!((made.owner, made.creator), (*owner, *owner), "{}", spec.id);
                assert_eq!(ns.find(&spec.id).unwrap().as_ref(), Some(&made));
                made
            })
            .collect();
        let list = list_all(ns).unwrap();
        assert_eq!(list.mqueue_error, None);
        assert_eq!(Existing::from(&list.mqueue[0]), made[3]);
        assert_eq!(Existing::from(&list.msg[0]), made[2]);
        assert_eq!(Existing::from(&list.shm[0]), made[0]);
        for object in made {
            ns.remove(&object).unwrap();
            assert_eq!(ns.find(object.id.as_ref().unwrap()).unwrap(), None);
        }
    }
}

const OWNERS: [Owner; 3] = [Owner { uid: 0, gid: 0 }, Owner { uid: 5, gid: 6 }, Owner { uid: 65535, gid: 0 }];

#[test]
fn a_containers_namespace_is_worked_in_and_the_hosts_left_alone() {
    if !is_root() {
        return;
    }
    in_child(|| {
        let before = host_values();
        let container = Container::start(None);
        in_child(|| {
            let mut ns = enter(&container);
            assert_eq!(*ns.maps(), IdMaps::identity());
            work_in(&mut ns, &OWNERS);
            ns.write_sysctl(Sysctl::Shmmni, SysctlValue::Number(77)).unwrap();
        });
        assert_eq!(host_values(), before);
        in_child(|| assert_eq!(enter(&container).read_sysctl(Sysctl::Shmmni).unwrap(), SysctlValue::Number(77)));
    });
}

#[test]
fn root_works_in_a_namespace_of_another_user_namespace() {
    if !is_root() {
        return;
    }
    in_child(|| {
        let container = Container::start(Some((100_000, 200_000)));
        in_child(|| {
            let mut ns = enter(&container);
            assert_eq!(ns.maps().to_outside(Owner { uid: 5, gid: 6 }), Some(Owner { uid: 100_005, gid: 200_006 }));
            work_in(&mut ns, &OWNERS);
            let stranger = Owner { uid: 70_000, gid: 0 };
            for spec in objects(stranger) {
                assert_eq!(ns.create(&spec).unwrap_err().errno, Errno::EOVERFLOW);
            }
            ns.resume_identity().unwrap();
            assert_eq!(identity::effective_ids(), Owner { uid: 0, gid: 0 });
        });
    });
}

#[test]
fn the_same_without_the_right_to_set_secure_bits() {
    if !is_root() {
        return;
    }
    in_child(|| {
        let container = Container::start(Some((100_000, 200_000)));
        let mut own = identity::Capabilities::own().unwrap();
        own.keep(identity::CapSet::WORK.without(identity::CapSet::SETPCAP)).unwrap();
        work_in(&mut enter(&container), &OWNERS);
    });
}

#[test]
fn without_cap_sys_admin_what_was_made_can_still_be_removed() {
    if !is_root() {
        return;
    }
    in_child(|| {
        let container = Container::start(Some((100_000, 200_000)));
        let mut ns = enter(&container);
        let mut own = identity::Capabilities::own().unwrap();
        let rest = identity::CapSet::SETUID.and(identity::CapSet::SETGID).and(identity::CapSet::SETPCAP);
        own.keep(rest).unwrap();
        assert_eq!(identity::Capabilities::own().unwrap().permitted, rest);
        let owners = [Owner { uid: 5, gid: 6 }, Owner { uid: 8, gid: 9 }];
        let made: Vec<_> = owners
            .map(|o| {
                ns.create(&ObjectSpec { id: ObjectId::Shm(Key::new(o.uid as i32).unwrap()), ..objects(o)[0].clone() })
                    .unwrap()
            })
            .into();
        for object in made {
            ns.remove(&object).unwrap();
            assert_eq!(ns.find(object.id.as_ref().unwrap()).unwrap(), None);
        }
    });
}

#[test]
fn a_plain_user_works_in_his_own_container() {
    if !is_root() {
        return;
    }
    in_child(|| {
        let container = Container::start_rootless(1234);
        in_child(|| {
            become_user(1234);
            let mut ns = enter(&container);
            let own = |id: u32| ns.maps().to_outside(Owner { uid: id, gid: id });
            assert_eq!((own(0), own(1)), (Some(OWNERS[0]), None), "ids are the container's own, and there is one");
            assert_eq!(identity::effective_ids(), Owner { uid: 0, gid: 0 });
            work_as_plain_user_in(&mut ns);
        });
        in_child(|| {
            become_user(1234);
            let ns = Process::open(container.pid()).unwrap().ipc_namespace().unwrap();
            work_as_plain_user_in(
                &mut Joined::join(None, &ns, IdMaps::identity(), &OwnThread::open().unwrap()).unwrap(),
            );
        });
        in_child(|| {
            become_user(1235);
            let process = Process::open(container.pid()).unwrap();
            assert!(matches!(process.ipc_namespace().unwrap_err().errno, Errno::EACCES | Errno::EPERM));
        });
    });
}

#[test]
fn identifies_namespaces_and_nothing_else() {
    in_child(|| {
        let own = NamespaceFd::of_self().unwrap();
        assert_eq!(own.id(), NamespaceFd::own().unwrap());
        let same = NamespaceFd::from_path(Path::new("/proc/self/ns/ipc")).unwrap();
        assert_eq!((same.id(), same.unique_id()), (own.id(), own.unique_id()));
        for other in ["/proc/self/ns/user", "/proc/self/ns/net", "/etc/passwd", "/dev/null", "/"] {
            assert_eq!(NamespaceFd::from_path(Path::new(other)).unwrap_err().errno, Errno::EINVAL, "{other}");
        }
        let missing = NamespaceFd::from_path(Path::new("/proc/self/ns/none")).unwrap_err();
        assert_eq!(missing.errno, Errno::ENOENT);
    });
}

#[test]
fn a_process_that_has_ended_is_seen_as_such() {
    in_child(|| {
        if !is_root() {
            return;
        }
        let container = Container::start(None);
        let process = Process::open(container.pid()).unwrap();
        assert!(process.alive());
        assert_ne!(process.ipc_namespace().unwrap().id(), NamespaceFd::own().unwrap());
        let ns = process.ipc_namespace().unwrap();
        assert_eq!(ns.members(), [container.pid()]);
        assert_eq!(ns.member_outside(process.pid_namespace().unwrap()), None);
        assert_eq!(ns.member_outside(1), Some(container.pid()));
        drop(container);
        assert!(!process.alive());
        assert_eq!(process.ipc_namespace().unwrap_err().errno, Errno::ESRCH);
        assert!(process.id_maps(OwnIds::All).is_err());
        assert!(process.pid_namespace().is_err());
        assert!(ns.members().is_empty());
    });
}

/// Milliseconds for one holder.
fn patience(holder: u64) -> Patience {
    Patience { holder: Duration::from_millis(holder), total: Duration::from_secs(600) }
}

#[test]
fn one_run_at_a_time_holds_the_lock_and_is_named() {
    in_child(|| {
        if !is_root() {
            return;
        }
        let container = Container::start(None);
        let open = || Process::open(container.pid()).unwrap().ipc_namespace().unwrap();
        let first = open();
        assert_eq!(first.lock(patience(0)).unwrap(), LockResult::Locked);
        assert_eq!(first.lock(patience(0)).unwrap(), LockResult::Locked, "its holder may take it again");
        let own = std::process::id() as i32;
        in_child(|| {
            let by_path = NamespaceFd::from_path(Path::new(&format!("/proc/{}/ns/ipc", container.pid()))).unwrap();
            assert_eq!(by_path.lock(patience(0)).unwrap(), LockResult::Busy(Some(own)));
            assert_eq!(open().lock(patience(1)).unwrap(), LockResult::Busy(Some(own)));
        });
        drop(first);
        assert_eq!(open().lock(patience(0)).unwrap(), LockResult::Locked);
    });
}
