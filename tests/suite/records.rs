//! Records of runs, and the clean-up at a container's end.

use crate::support::host::{Host, Member, state};
use crate::support::{Container, Dir, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Command, Stdio};

const OBJECTS: &str = r#"
[sysctl]
"kernel.msgmax" = ">= 16000"
[[shm]]
key = 1
size = "1MiB"
mode = "0666"
on-stop = "remove"
[[sem]]
key = 2
values = [1, 0, 5]
on-stop = "remove"
[[msg]]
key = 3
on-stop = "remove"
[[mqueue]]
name = "/q"
on-stop = "remove"
[[shm]]
key = 9
size = 4096
"#;

/// A namespace, a profile, and the hook to call for its containers.
pub struct Stage {
    pub host: Host,
    pub pause: Container,
    pub profile: String,
    _dir: Dir,
}

impl Stage {
    /// `None` after saying that only root has a `/run` to try it in.
    pub fn new() -> Option<Stage> {
        if !is_root() {
            skip("only root can give the hook another /run");
            return None;
        }
        let dir = Dir::new();
        Some(Stage { host: Host::new(), pause: Container::new(), profile: dir.profile(OBJECTS), _dir: dir })
    }

    pub fn start(&self, member: &Member) {
        self.host.hook(&["--profile-file", &self.profile], &member.creating()).expect(0);
    }

    /// A member for which the hook has run.
    pub fn member(&self, id: &str) -> Member {
        let member = self.host.member(&self.pause, id, "7:8");
        self.start(&member);
        member
    }

    /// The container ends, then the hook is called.
    pub fn stop(&self, member: Member) -> String {
        let stopped = member.stopped();
        drop(member.container);
        self.host.hook(&[], &stopped).expect(0).stderr
    }

    /// Changes the one record.
    pub fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let mut record = self.host.record(".json");
        edit(&mut record);
        let name = self.host.records().remove(0);
        fs::write(self.host.path(&name), record.to_string()).expect("the record");
    }
}

#[test]
fn a_private_namespace_leaves_a_record_only_when_told() {
    let Some(stage) = Stage::new() else { return };
    let private = stage.host.private("p");
    stage.start(&private);
    assert!(!stage.host.path("").exists());
    let dir = Dir::new();
    let config = dir.file("config.toml", "format = 1\n[record]\nwhen = \"always\"\n");
    let private = stage.host.private("always");
    stage.host.hook(&["--profile-file", &stage.profile, "--config", &config], &private.creating()).expect(0);
    assert_eq!(stage.host.record(".json")["report"]["namespace"]["shared"], json!(false));
    assert_eq!(stage.stop(private), "");
    assert_eq!(stage.host.records(), [""; 0]);
}

#[test]
fn a_record_tells_everything() {
    let Some(stage) = Stage::new() else { return };
    let member = stage.member("web.1");
    let record = stage.host.record(".json");
    assert_eq!(record["format"], "oci-ipc-hook.record/1");
    assert_eq!(record["container"], "web.1");
    assert_eq!(record["bundle"], member.bundle);
    assert_eq!(record["boot"], fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim());
    assert_eq!(record["process"]["pid"], member.container.pid());
    assert_eq!(record["ipc-path"], format!("/proc/{}/ns/ipc", stage.pause.pid()));
    assert_eq!(record["report"]["outcome"], "done");
    assert_eq!(record["objects"].as_array().unwrap().len(), 5);
    let inside = stage.pause.everything();
    for object in record["objects"].as_array().unwrap() {
        assert_eq!((&object["cuid"], &object["cgid"]), (&json!(7), &json!(8)));
        match object["type"].as_str().unwrap() {
            "mqueue" => assert!(object["inode"].is_u64()),
            _ => assert!(inside.contains(&object["ctime"].to_string()), "{object}\n{inside}"),
        }
    }
    let names = stage.host.records();
    let digits = names[0].strip_prefix("web.1-").unwrap().strip_suffix(".json").unwrap();
    assert!(digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{names:?}");
    let mode = |name| fs::metadata(stage.host.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(""), mode(&names[0])), (0o700, 0o600));
}

#[test]
fn objects_go_with_the_last_container_that_lists_them() {
    let Some(stage) = Stage::new() else { return };
    let before = stage.pause.everything();
    let (a, b) = (stage.member("a"), stage.member("b"));
    let with_all = stage.pause.everything();
    assert_eq!(stage.stop(a), "");
    assert_eq!(stage.pause.everything(), with_all, "b lists them");
    assert_eq!(stage.stop(b), "");
    let after = stage.pause.everything();
    assert!(after.contains("msgmax 16000\n"), "{after}");
    let objects = |text: &str| text.lines().filter(|l| l.trim_start().starts_with(char::is_numeric)).count();
    assert_eq!((objects(&before), objects(&after)), (0, 1), "on-stop = \"keep\" keeps: {after}");
    assert!(after.ends_with("[]"), "no queue is left: {after}");
    assert_eq!(stage.host.records(), [""; 0]);
}

#[test]
fn the_record_of_a_container_that_is_gone_holds_nothing_back() {
    let Some(stage) = Stage::new() else { return };
    let (a, b) = (stage.member("a"), stage.member("b"));
    drop(a.container);
    assert_eq!(stage.stop(b), "");
    assert!(stage.pause.everything().ends_with("[]"));
}

#[test]
fn an_attached_segment_stays() {
    let Some(stage) = Stage::new() else { return };
    let member = stage.member("a");
    let number = if cfg!(target_arch = "x86_64") { 30 } else { 196 };
    let script = format!(
        "$id = 0 + shmget(1, 0, 0); syscall({number}, $id, 0, 0) != -1 or die; $| = 1; print \"ready\n\"; <STDIN>"
    );
    let mut attached = Command::new("nsenter")
        .args(["--target", &stage.pause.pid().to_string(), "--ipc", "perl", "-e", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("perl");
    let mut line = String::new();
    let mut out = std::io::BufReader::new(attached.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    let said = stage.stop(member);
    assert!(said.contains("a: shm 0x00000001: found 1 attached: not removed: processes are attached to it"), "{said}");
    assert!(stage.pause.sh("cat /proc/sysvipc/shm").contains("1048576"));
    assert_eq!(stage.pause.sh("cat /proc/sysvipc/sem").lines().count(), 1, "the others go");
    drop(attached.stdin.take());
    attached.wait().unwrap();
}

#[test]
fn what_was_made_anew_under_the_same_key_stays() {
    let Some(stage) = Stage::new() else { return };
    let member = stage.member("a");
    stage.pause.sh("ipcrm -M 1 -S 2");
    stage.pause.sh("perl -e 'shmget(1, 1048576, 0600|512) // die; semget(2, 3, 0600|512) // die'");
    let (shm, sem) = (stage.pause.sh("cat /proc/sysvipc/shm"), stage.pause.sh("cat /proc/sysvipc/sem"));
    assert_eq!(stage.stop(member), "");
    assert_eq!((stage.pause.sh("cat /proc/sysvipc/shm"), stage.pause.sh("cat /proc/sysvipc/sem")), (shm, sem));
    assert_eq!(stage.pause.sh("cat /proc/sysvipc/msg").lines().count(), 1);
}

/// SETVAL and IPC_SET are a workload's daily business, and move the time by which a kernel without numbers for namespaces
/// has to tell objects apart.
#[test]
fn what_was_changed_meanwhile_goes_too_or_is_named() {
    let Some(stage) = Stage::new() else { return };
    let earlier = |record: &mut Value| {
        for object in record["objects"].as_array_mut().unwrap() {
            if let Some(ctime) = object["ctime"].as_i64() {
                object["ctime"] = json!(ctime - 5);
            }
        }
    };
    let member = stage.member("a");
    let mut numbered = false;
    stage.edit(|record| {
        numbered = !record["report"]["namespace"]["id"].is_null();
        earlier(record);
    });
    let said = stage.stop(member);
    let left = |kind: &str| stage.pause.sh(&format!("cat /proc/sysvipc/{kind}")).lines().count() - 1;
    if numbered {
        assert_eq!((said.as_str(), left("shm"), left("sem"), left("msg")), ("", 1, 0, 0), "key 9 stays");
        let member = stage.member("b");
        stage.edit(|record| {
            record["report"]["namespace"]["id"] = Value::Null;
            earlier(record);
        });
        assert_names(&stage.stop(member));
    } else {
        assert_names(&said);
    }
    assert_eq!((left("shm"), left("sem"), left("msg")), (2, 1, 1));
    assert_eq!(stage.host.records(), [""; 0]);
}

fn assert_names(said: &str) {
    for object in ["shm 0x00000001", "sem 0x00000002", "msg 0x00000003"] {
        assert!(said.contains(&format!("{object}: wanted ctime ")), "{said}");
    }
    assert_eq!(said.matches("not removed: it was changed, or it is another one").count(), 3, "{said}");
}

#[test]
fn a_reused_pid_is_left_alone() {
    let Some(stage) = Stage::new() else { return };
    let (member, stranger) = (stage.member("a"), Container::new());
    let other = Host::new();
    let same = Member { bundle: member.bundle.clone(), id: "a".into(), container: Container::beside(&stranger) };
    other.hook(&["--profile-file", &stage.profile], &same.creating()).expect(0);
    let before = stranger.everything();
    // youki says "stopped" with the number of the init that is gone.
    let stopped = state("a", "stopped", &format!("\"pid\":{},", stranger.pid()), &member.bundle);
    drop(member.container);
    let ran = stage.host.hook(&["--profile-file", "/nowhere"], &stopped).expect(0);
    assert_eq!((ran.stderr.as_str(), stranger.everything()), ("", before));
    assert!(stage.pause.everything().ends_with("[]"), "its own are gone");
    let dead = state("never-seen", "stopped", "\"pid\":999999999,", "/nowhere");
    assert_eq!(stage.host.hook(&[], &dead).expect(0).stderr, "");
}

#[test]
fn the_verb_does_the_same_and_takes_anything() {
    let Some(stage) = Stage::new() else { return };
    let member = stage.member("a");
    let stopped = member.stopped();
    drop(member.container);
    stage.host.hook(&["cleanup"], &stopped).expect(0);
    assert!(stage.pause.everything().ends_with("[]"));
    for garbage in ["", "{", "[]", "{\"status\":\"stopped\"}", &"x".repeat(2 << 20)] {
        stage.host.hook(&["cleanup"], garbage).expect(0).says("state");
    }
    // A stop with annotations that make no sense is a stop all the same.
    let odd = stopped.replacen('{', "{\"annotations\":{\"io.oci-ipc-hook.nonsense\":\"\"},", 1);
    assert_eq!(stage.host.hook(&[], &odd).expect(0).stderr, "");
}

#[test]
fn a_namespace_that_is_gone_or_locked_does_not_hold_the_stop() {
    let Some(mut stage) = Stage::new() else { return };
    let member = stage.member("a");
    let stopped = member.stopped();
    let lock = fs::File::open(format!("/proc/{}/ns/ipc", stage.pause.pid())).unwrap();
    lock.lock().unwrap();
    let said = stage.stop(member);
    assert!(said.contains(&format!("locked by pid {}", std::process::id())), "{said}");
    drop(lock);
    assert_eq!(stage.host.hook(&["cleanup"], &stopped).expect(0).stderr, "", "what could not be done is done later");
    assert!(stage.pause.everything().ends_with("[]"));
    assert_eq!(stage.host.records(), [""; 0]);
    let member = stage.member("b");
    stage.pause = Container::new();
    assert_eq!(stage.stop(member), "");
    assert_eq!(stage.host.records(), [""; 0]);
}

#[test]
fn an_ordinary_users_records_lie_in_his_own_place() {
    let Some(stage) = Stage::new() else { return };
    // No sysctl: before Linux 6.9 only the host's root sets those.
    let dir = Dir::new();
    let profile = dir.profile(&OBJECTS[OBJECTS.find("[[shm]]").unwrap()..]);
    let pause = Container::of_user(1234);
    let bundle =
        stage.host.bundle("u", &format!("{{\"type\":\"ipc\",\"path\":\"/proc/{}/ns/ipc\"}}", pause.pid()), "0:0");
    let creating = state("u", "creating", &format!("\"pid\":{},", pause.pid()), &bundle);
    let hook = |args: &[&str], state: &str| stage.host.hook_of(1234, args, state).expect(0);
    // No place, no record: the run goes on.
    hook(&["--profile-file", &profile], &creating);
    assert_eq!(pause.sh("cat /proc/sysvipc/sem").lines().count(), 2);
    let home = stage.host.run().join("user/1234");
    fs::create_dir_all(&home).unwrap();
    chown(&home, Some(1234), Some(1234)).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    hook(&["--profile-file", &profile], &creating);
    assert_eq!(fs::read_dir(home.join("oci-ipc-hook")).unwrap().count(), 1);
    assert!(!stage.host.path("").exists());
    hook(&[], &state("u", "stopped", "", &bundle));
    assert_eq!(fs::read_dir(home.join("oci-ipc-hook")).unwrap().count(), 0);
    assert_eq!(pause.sh("cat /proc/sysvipc/sem").lines().count(), 1);
}

#[test]
fn records_of_containers_that_left_without_a_word_do_not_pile_up() {
    let Some(stage) = Stage::new() else { return };
    let _living = stage.member("living");
    let record = stage.host.record(".json");
    let plant_record = |name: &str, record: &Value, old: bool| {
        let path = stage.host.path(&format!("{name}-0123456789abcdef.json"));
        fs::write(&path, record.to_string()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if old {
            let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(86400);
            fs::File::options().write(true).open(&path).unwrap().set_modified(yesterday).unwrap();
        }
    };
    let plant = |name: &str, alive: bool, old: bool| {
        let mut record = record.clone();
        if !alive {
            record["process"] = json!({ "pid": 999_999_999, "started": 1 });
        }
        plant_record(name, &record, old);
    };
    (0..250).for_each(|n| plant(&format!("dead{n}"), false, true));
    stage.start(&stage.host.member(&stage.pause, "few", "7:8"));
    assert_eq!(stage.host.records().len(), 252, "a few do not hurt");
    (250..300).for_each(|n| plant(&format!("dead{n}"), false, true));
    plant("young", false, false);
    // Of a whole pod, whose namespace is known but no process of its own.
    let pod = |name: &str, ino: Option<u64>| {
        let mut record = record.clone();
        (record["process"], record["ipc-path"]) = (Value::Null, json!("/run/ipcns/gone"));
        if let Some(ino) = ino {
            record["report"]["namespace"]["ino"] = json!(ino);
        }
        plant_record(name, &record, true);
    };
    pod("pod", None);
    pod("pod-gone", Some(1));
    plant("old-and-living", true, true);
    stage.start(&stage.host.member(&stage.pause, "many", "7:8"));
    let names: Vec<_> = stage.host.records().iter().map(|name| name.rsplit_once('-').unwrap().0.to_owned()).collect();
    assert_eq!(names, ["few", "living", "many", "old-and-living", "pod", "young"]);
}
