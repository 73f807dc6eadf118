//! Records that are not what they seem: bent, planted, of another namespace.

use crate::records::Stage;
use crate::support::host::{Host, Member};
use crate::support::{Container, Dir, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

/// The record is bent to name another namespace; nothing may happen to that one.
fn bent(edit: impl FnOnce(&mut Value, &Container)) -> String {
    let stage = Stage::new().expect("root");
    let member = stage.member("a");
    let stranger = Container::new();
    let other = Host::new();
    // The stranger has the very same objects.
    let same = Member { bundle: member.bundle.clone(), id: "a".into(), container: Container::beside(&stranger) };
    other.hook(&["--profile-file", &stage.profile], &same.creating()).expect(0);
    let before = stranger.everything();
    stage.edit(|record| edit(record, &stranger));
    let said = stage.stop(member);
    assert_eq!(stranger.everything(), before);
    assert_eq!(stage.host.records(), [""; 0], "the record goes whatever it holds");
    said
}

#[test]
fn an_inode_that_has_come_back_is_not_the_namespace() {
    if !is_root() {
        return skip("only root can give the hook another /run");
    }
    let ino = |pid: u32| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(format!("/proc/{pid}/ns/ipc")).unwrap().ino()
    };
    let bend = |record: &mut Value, stranger: &Container| {
        record["ipc-path"] = json!(format!("/proc/{}/ns/ipc", stranger.pid()));
        record["report"]["namespace"]["ino"] = json!(ino(stranger.pid()));
    };
    // On a kernel that has no numbers for namespaces the objects' times, which are in seconds, and numbers tell.
    let without_number = |record: &mut Value, stranger: &Container| {
        bend(record, stranger);
        record["report"]["namespace"]["id"] = Value::Null;
        for object in record["objects"].as_array_mut().unwrap() {
            object["ctime"] = json!(object["ctime"].as_i64().unwrap_or_default() - 1);
            object["inode"] = object["inode"].as_u64().map_or(Value::Null, |inode| json!(inode - 1));
        }
    };
    let mut numbered = true;
    let said = bent(|record, stranger| {
        numbered = !record["report"]["namespace"]["id"].is_null();
        if numbered { bend(record, stranger) } else { without_number(record, stranger) }
    });
    assert_eq!(said.is_empty(), numbered, "{said}");
    let said = bent(without_number);
    for object in ["shm 0x00000001", "sem 0x00000002", "msg 0x00000003"] {
        assert!(said.contains(&format!("{object}: wanted ctime ")), "{said}");
    }
    assert!(said.contains("not removed: it was changed, or it is another one"), "{said}");
    assert_eq!(bent(|record, _| record["boot"] = json!("another")), "");
}

#[test]
fn the_hosts_namespace_is_never_cleaned() {
    let Some(stage) = Stage::new() else { return };
    let before = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let member = stage.member("a");
    stage.edit(|record| {
        use std::os::unix::fs::MetadataExt as _;
        record["ipc-path"] = json!("/proc/self/ns/ipc");
        record["report"]["namespace"]["ino"] = json!(fs::metadata("/proc/self/ns/ipc").unwrap().ino());
        record["report"]["namespace"]["id"] = Value::Null;
    });
    let said = stage.stop(member);
    assert!(said.contains("the record names the hook's own namespace: nothing is touched there"), "{said}");
    assert_eq!(fs::read_to_string("/proc/sysvipc/shm").unwrap(), before);
}

#[test]
fn planted_records_are_not_believed_and_never_fail_the_stop() {
    let Some(stage) = Stage::new() else { return };
    let victim = Dir::new();
    let secret = victim.file("secret", "{}");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    type Plant = Box<dyn Fn(&std::path::Path)>;
    let plants: Vec<(&str, Plant)> = vec![
        (
            "symbolic link",
            Box::new({
                let secret = secret.clone();
                move |path| symlink(&secret, path).unwrap()
            }),
        ),
        ("it belongs to uid 0 with mode 0600", Box::new(move |path| fs::hard_link(&secret, path).unwrap())),
        ("not a regular file", Box::new(|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRUSR).unwrap())),
        (
            "not a regular file",
            Box::new(|path| {
                fs::create_dir(path).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
            }),
        ),
        (
            "not a record of the hook",
            Box::new(|path| {
                fs::write(path, "{\"format\":").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            }),
        ),
        (
            "belongs to uid 7",
            Box::new(|path| {
                fs::write(path, "{}").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
                chown(path, Some(7), Some(7)).unwrap();
            }),
        ),
        (
            "with mode 0644",
            Box::new(|path| {
                fs::write(path, "{}").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
            }),
        ),
    ];
    for (index, (says, plant)) in plants.iter().enumerate() {
        let member = stage.member(&format!("a{index}"));
        let path = stage.host.path(&stage.host.records()[0]);
        fs::remove_file(&path).unwrap();
        plant(&path);
        let before = stage.pause.everything();
        let said = stage.stop(member);
        assert!(said.contains(says), "{says}: {said}");
        assert_eq!(stage.pause.everything(), before);
        if path.is_dir() {
            fs::remove_dir(&path).unwrap();
        }
        assert_eq!(stage.host.records(), [""; 0]);
        assert_eq!(fs::read_to_string(victim.path().join("secret")).unwrap(), "{}");
    }
}

#[test]
fn another_containers_record_under_ones_name_does_not_count() {
    let Some(stage) = Stage::new() else { return };
    let member = stage.member("a");
    stage.edit(|record| record["container"] = json!("b"));
    let before = stage.pause.everything();
    assert_eq!(stage.stop(member), "");
    assert_eq!(stage.pause.everything(), before);
}

#[test]
fn a_planted_directory_is_refused_before_anything_is_changed() {
    let Some(stage) = Stage::new() else { return };
    let (elsewhere, path) = (Dir::new(), stage.host.run().join("oci-ipc-hook"));
    let member = stage.host.member(&stage.pause, "a", "7:8");
    let before = stage.pause.everything();
    let refused = |says: &str| {
        let ran = stage.host.hook(&["--profile-file", &stage.profile], &member.creating());
        ran.expect(1).says(says);
        assert_eq!(stage.pause.everything(), before);
        assert!(stage.host.hook(&[], &member.stopped()).expect(0).stderr.contains(says));
    };
    symlink(elsewhere.path(), &path).unwrap();
    refused("/run/oci-ipc-hook: is reached through a symbolic link");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    refused("with mode 0755");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&path, Some(7), Some(7)).unwrap();
    refused("belongs to uid 7");
    fs::remove_dir(&path).unwrap();
    // A private namespace needs no record.
    symlink(elsewhere.path(), &path).unwrap();
    stage.start(&stage.host.private("p"));
}

#[test]
fn a_run_that_others_can_write_to_is_what_is_named() {
    if !is_root() {
        return skip("only root can give the hook another /run");
    }
    let host = Host::new();
    let run = host.path("");
    let run = run.parent().unwrap();
    for mode in [0o1777, 0o775] {
        fs::set_permissions(run, fs::Permissions::from_mode(mode)).unwrap();
        let said = host.hook(&["inspect", "--record", "web"], "").expect(1).stderr;
        let belongs = format!("/run/oci-ipc-hook: its directory belongs to uid 0 with mode {mode:04o}, and must ");
        assert!(said.contains(&belongs) && said.ends_with("; chmod go-w /run\n"), "{said}");
    }
}
