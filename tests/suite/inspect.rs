//! `inspect`: seen from outside against what other programs see, and back into a profile.

use crate::support::host::Host;
use crate::support::{Container, Dir, binary, is_root, run, run_command, skip, which};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

fn json(pid: u32) -> Value {
    let ran = run(&["inspect", "--pid", &pid.to_string(), "--json"], "").expect(0);
    let value: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(value["format"], "oci-ipc-hook.inspect/1");
    value["namespaces"][0].clone()
}

const MIXED: &str = r#"
[sysctl]
"kernel.msgmnb" = 131072
"kernel.sem" = "250 256000 100 1024"
"kernel.shmmax" = "18446744073709551615"
"fs.mqueue.msg_max" = 64
[[shm]]
key = "0xffffffff"
size = 5000
mode = "0640"
owner = "0:0"
[[sem]]
key = 7
values = [3, 0, 32767]
owner = "0:0"
[[sem]]
key = 8
nsems = 2
owner = "0:0"
[[msg]]
key = 9
max-bytes = 1000
owner = "0:0"
[[mqueue]]
name = "/a \"quoted\\ name"
max-messages = 20
message-size = 100
owner = "0:0"
"#;

#[test]
fn shows_limits_use_and_objects() {
    let (container, dir) = (Container::new(), Dir::new());
    run(&["apply", "--pid", &container.pid().to_string(), "--profile-file", &dir.profile(MIXED)], "").expect(0);
    let ns = json(container.pid());
    assert_eq!(ns["sysctl"]["kernel.sem"], serde_json::json!([250, 256_000, 100, 1024]));
    assert_eq!(ns["sysctl"]["kernel.shmmax"], "18446744073709551615");
    assert_eq!(ns["usage"]["semmns"], serde_json::json!({"used": 5, "limit": 256_000, "percent": 0.0}));
    assert_eq!(ns["usage"]["shmall"]["used"], 2);
    assert_eq!(ns["pids"][0], container.pid());
    assert_eq!((&ns["shm"][0]["key"], &ns["shm"][0]["size"]), (&"0xffffffff".into(), &5000.into()));
    assert_eq!((&ns["msg"][0]["max-bytes"], &ns["msg"][0]["messages"]), (&1000.into(), &0.into()));
    assert_eq!(ns["mqueue"][0]["name"], "/a \"quoted\\ name");
    assert!(ns["sem"][0]["otime"].as_i64() > Some(0), "a new set is marked initialised");
    let text = run(&["inspect", "--pid", &container.pid().to_string()], "").expect(0).stdout;
    for line in ["SEMMNI", "0xffffffff", "/a \"quoted\\ name", "Shared memory", "POSIX queues"] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
}

#[test]
fn a_profile_of_it_makes_one_like_it() {
    let (container, dir) = (Container::new(), Dir::new());
    run(&["apply", "--pid", &container.pid().to_string(), "--profile-file", &dir.profile(MIXED)], "").expect(0);
    let as_profile = |c: &Container| {
        let text = run(&["inspect", "--pid", &c.pid().to_string(), "--as-profile"], "").expect(0).stdout;
        let (head, body) = text.split_once("\n\n").expect("a head");
        (head.lines().filter(|l| !l.starts_with("description")).collect::<Vec<_>>().join("\n"), body.to_owned())
    };
    let first = as_profile(&container);
    assert_eq!(first.0, "format = 1");
    let file = dir.file("again.toml", &format!("format = 1\n{}", first.1));
    let fresh = Container::new();
    run(&["apply", "--pid", &fresh.pid().to_string(), "--profile-file", &file], "").expect(0);
    assert_eq!(as_profile(&fresh), first);
    let (mut a, mut b) = (json(container.pid()), json(fresh.pid()));
    for ns in [&mut a, &mut b] {
        for key in ["ino", "id", "pids"] {
            ns[key] = Value::Null;
        }
        for row in ["shm", "sem", "msg"].iter().flat_map(|k| ns[*k].as_array().cloned().unwrap_or_default()) {
            assert!(row["ctime"].as_i64() > Some(0));
        }
        strip(ns, &["ctime", "otime", "cpid"]);
    }
    assert_eq!(a, b);
}

/// Sets keys to null, at any depth.
fn strip(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(key, v)| match keys.contains(&key.as_str()) {
            true => *v = Value::Null,
            false => strip(v, keys),
        }),
        Value::Array(list) => list.iter_mut().for_each(|v| strip(v, keys)),
        _ => {}
    }
}

#[test]
fn what_a_profile_cannot_say_is_named() {
    let container = Container::new();
    container.sh("echo -1 > /proc/sys/fs/mqueue/queues_max");
    let text = run(&["inspect", "--pid", &container.pid().to_string(), "--as-profile"], "").expect(0).stdout;
    assert!(text.contains("# left out: fs.mqueue.queues_max = -1"), "{text}");
    assert!(!text.contains("\"fs.mqueue.queues_max\""), "{text}");
}

#[test]
fn all_namespaces_are_listed() {
    let containers = [Container::new(), Container::new()];
    let ran = run(&["inspect", "--all", "--json"], "").expect(0);
    let value: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let namespaces = value["namespaces"].as_array().expect("an array");
    for container in &containers {
        let has = |ns: &&Value| ns["pids"].as_array().is_some_and(|p| p.contains(&container.pid().into()));
        let found: Vec<_> = namespaces.iter().filter(has).collect();
        assert_eq!(found.len(), 1, "{}", ran.stdout);
        assert!(found[0]["error"].is_null() && found[0]["sysctl"]["kernel.msgmax"] == 8192, "{}", found[0]);
        assert_eq!(found[0]["host"], false);
    }
    let table = run(&["inspect", "--all"], "").expect(0).stdout;
    assert!(table.starts_with("NS "), "{table}");
    let ino = json(containers[0].pid())["ino"].to_string();
    assert_eq!(table.lines().filter(|l| l.starts_with(&ino)).count(), 1, "{table}");
}

/// A namespace without processes, kept by a file as CRI-O keeps those of pods.
#[test]
fn what_only_a_file_keeps_is_listed_too() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let dir = Dir::new();
    let file = dir.file("ipc", "");
    let script = "unshare --ipc=\"$0\" sh -c 'ipcmk -S 7 >/dev/null' && exec \"$1\" inspect --all --json";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, &file]).arg(binary());
    let ran = run_command(command, "").expect(0);
    let value: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let mut kept =
        value["namespaces"].as_array().expect("an array").iter().filter(|ns| ns["usage"]["semmns"]["used"] == 7);
    let ns = kept.next().unwrap_or_else(|| panic!("{}", ran.stdout));
    assert_eq!((&ns["pids"], kept.next()), (&serde_json::json!([]), None));
}

#[test]
fn metrics_replace_a_file_as_a_whole() {
    let (container, dir) = (Container::new(), Dir::new());
    container.sh("ipcmk -S 3 >/dev/null");
    let file = dir.file("ipc.prom", "old and longer than what comes".repeat(1000).as_str());
    let pid = container.pid().to_string();
    run(&["inspect", "--pid", &pid, "--prometheus", "--output", &file], "").expect(0);
    let text = std::fs::read_to_string(&file).expect("the file");
    assert!(text.contains("resource=\"semmns\"} 3\n"), "{text}");
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a sample");
        assert!(name.starts_with("oci_ipc_") && name.ends_with('}') && value.parse::<f64>().is_ok(), "{line}");
    }
    let names: Vec<_> = std::fs::read_dir(dir.path()).expect("dir").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["ipc.prom"], "nothing is left behind");
    run(&["inspect", "--pid", &pid, "--output", "/no/such/dir/x"], "").expect(1).says("/no/such/dir/x");
    // Owner and mode are somebody's decision.
    let who = |file: &str| std::fs::metadata(file).map(|m| (m.uid(), m.gid(), m.mode() & 0o777)).expect("metadata");
    assert_eq!(who(&dir.file("new.prom", "")).2, 0o644);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    if is_root() {
        std::os::unix::fs::chown(&file, Some(61_240), Some(61_241)).expect("chown");
    }
    let before = who(&file);
    run(&["inspect", "--pid", &pid, "--output", &file], "").expect(0);
    assert_eq!(who(&file), before);
}

/// A device, a FIFO or a link in its place would be gone, for everybody.
#[test]
fn only_a_regular_file_is_replaced() {
    let (container, dir) = (Container::new(), Dir::new());
    let pid = container.pid().to_string();
    let at = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
    nix::unistd::mkfifo(dir.path().join("fifo").as_path(), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    std::os::unix::fs::symlink(dir.file("target", "x"), at("link")).expect("a link");
    for path in [at("fifo"), at("link"), at("")] {
        let kind = || std::fs::symlink_metadata(&path).expect("it is still there").file_type();
        let before = kind();
        run(&["inspect", "--pid", &pid, "--output", &path], "").expect(2).says("is no regular file");
        assert_eq!(kind(), before, "{path}");
    }
    assert_eq!(std::fs::read_to_string(at("target")).expect("the target"), "x");
}

#[test]
fn the_host_may_be_looked_at() {
    let ran = run(&["inspect"], "").expect(0);
    assert!(ran.stdout.starts_with("IPC namespace "), "{}", ran.stdout);
    run(&["inspect", "--pid", "2147483647"], "").expect(4).says("there is no such process");
    run(&["inspect", "--ns", "/dev/null"], "").expect(4).says("it is not an IPC namespace");
    run(&["inspect", "no-such-container"], "").expect(2).says("no running container has this name or id");
}

#[test]
fn owners_are_shown_in_both_ids() {
    if !is_root() {
        return skip("needs root");
    }
    let (container, dir) = (Container::mapped(100_000), Dir::new());
    let profile =
        dir.profile("[[shm]]\nkey = 1\nsize = 1\nowner = \"5:6\"\n[[mqueue]]\nname = \"/q\"\nowner = \"7:8\"\n");
    run(&["apply", "--pid", &container.pid().to_string(), "--profile-file", &profile], "").expect(0);
    let ns = json(container.pid());
    let ids = |row: &Value| ["uid", "gid", "host-uid", "host-gid"].map(|k| row[k].as_u64().expect("an id"));
    assert_eq!(ids(&ns["shm"][0]), [5, 6, 100_005, 100_006]);
    assert_eq!(ids(&ns["mqueue"][0]), [7, 8, 100_007, 100_008]);
    let ns_file = format!("/proc/{}/ns/ipc", container.pid());
    let by_path = run(&["inspect", "--ns", &ns_file], "").expect(0).stdout;
    assert!(by_path.contains("5:6 (host 100005:100006)"), "{by_path}");
    let ours = run(&["inspect", "--pid", &container.pid().to_string(), "--as-profile"], "").expect(0).stdout;
    assert!(ours.contains("owner = \"5:6\"") && !ours.contains("left out"), "{ours}");
}

/// Most sets that a namespace can hold; peak memory is bounded by the address space.
#[test]
fn thirty_two_thousand_objects_fit_into_64_mib() {
    let (container, dir) = (Container::new(), Dir::new());
    let config = dir.file("config.toml", "format = 1\n[policy.ceiling]\nkernel-memory = \"64MiB\"\n");
    let pid = container.pid().to_string();
    for part in 0..8u32 {
        let sems: String =
            (1..=4000).map(|n| format!("[[sem]]\nkey={}\nnsems=1\nowner=\"0:0\"\n", part * 4000 + n)).collect();
        let profile = dir.profile(&sems);
        run(&["apply", "--pid", &pid, "--profile-file", &profile, "--config", &config], "").expect(0);
    }
    for format in ["--json", "--prometheus"] {
        let mut command = Command::new("sh");
        let binary = binary().display().to_string();
        let script = format!("ulimit -v 65536; exec {binary} inspect --pid {pid} {format}");
        command.args(["-c", &script]);
        let ran = run_command(command, "").expect(0);
        assert!(ran.stdout.contains("32000"), "{}", &ran.stdout[..2000]);
        assert!(format != "--json" || ran.stdout.matches("\"nsems\": 1").count() == 32_000);
    }
}

/// A container of runc in its usual place, killed and deleted when dropped.
struct RuncContainer {
    id: String,
}

impl RuncContainer {
    fn start(dir: &Dir) -> RuncContainer {
        let id = format!("oci-ipc-hook-test-{}", std::process::id());
        let bundle = dir.path();
        std::fs::create_dir_all(bundle.join("rootfs/bin")).expect("rootfs");
        std::fs::copy("/bin/busybox", bundle.join("rootfs/bin/sleep")).expect("busybox");
        let runc = |args: &[&str]| {
            let null = std::process::Stdio::null;
            let status = Command::new("runc")
                .args(args)
                .current_dir(bundle)
                .stdin(null())
                .stdout(null())
                .stderr(null())
                .status();
            assert!(status.expect("runc").success(), "runc {args:?}");
        };
        runc(&["spec"]);
        let text = std::fs::read_to_string(bundle.join("config.json")).expect("config.json");
        let mut spec: Value = serde_json::from_str(&text).expect("JSON");
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = serde_json::json!(["/bin/sleep", "600"]);
        std::fs::write(bundle.join("config.json"), spec.to_string()).expect("config.json");
        runc(&["run", "--detach", &id]);
        RuncContainer { id }
    }
}

impl Drop for RuncContainer {
    fn drop(&mut self) {
        let _ = Command::new("runc").args(["delete", "--force", &self.id]).status();
    }
}

#[test]
fn a_container_is_found_by_its_name() {
    if !is_root() || which("runc").is_none() || !std::path::Path::new("/bin/busybox").exists() {
        return skip("needs root, runc and busybox");
    }
    let dir = Dir::new();
    let container = RuncContainer::start(&dir);
    let ran = run(&["inspect", &container.id, "--json"], "").expect(0);
    let value: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let found = &value["namespaces"][0]["containers"][0];
    assert_eq!((&found["engine"], &found["id"]), (&"runc".into(), &container.id.as_str().into()));
    assert_eq!(found["pid"], value["namespaces"][0]["pids"][0]);
    let all = run(&["inspect", "--all"], "").expect(0).stdout;
    assert!(all.contains(&format!("runc:{}", container.id)), "{all}");
    let other = Container::new();
    assert_eq!(json(other.pid())["containers"], serde_json::json!([]), "it is in its own namespace only");
}

const RECORDED: &str = r#"
[sysctl]
"kernel.msgmax" = ">= 16000"
"kernel.sem" = ">= 32000 1024000000 600 32000"
[[shm]]
key = 1
size = 8192
[[sem]]
key = 2
values = [1, 0]
[[msg]]
key = 3
[[mqueue]]
name = "/q"
"#;

#[test]
fn a_record_shows_what_has_changed() {
    if !is_root() {
        return skip("only root can give the hook another /run");
    }
    let (host, pause, dir) = (Host::new(), Container::new(), Dir::new());
    let member = host.member(&pause, "web", "7:8");
    host.hook(&["--profile-file", &dir.profile(RECORDED)], &member.creating()).expect(0);
    let drift = || {
        let ran = host.hook(&["inspect", "--record", "web", "--json"], "").expect(0);
        let value: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(value["records"][0]["container"], "web");
        value["namespaces"][0]["drift"].as_array().expect("drift").clone()
    };
    let fresh = drift();
    assert_eq!(fresh.len(), 6, "{fresh:?}");
    assert!(fresh.iter().all(|d| d["same"] == true), "{fresh:?}");

    pause.sh("echo 20000 > /proc/sys/kernel/msgmax; ipcrm -M 1; ipcrm -S 2; ipcmk -S 1 >/dev/null");
    let changed: Vec<_> = drift().into_iter().filter(|d| d["same"] == false).collect();
    let names: Vec<_> = changed.iter().map(|d| d["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["kernel.msgmax", "0x00000001", "0x00000002"]);
    assert_eq!((&changed[0]["recorded"], &changed[0]["now"]), (&16000.into(), &20000.into()));
    assert!(changed[1]["now"].is_null(), "{}", changed[1]);
    let text = host.hook(&["inspect", "--record", "web"], "").expect(0).stdout;
    assert!(text.starts_with("run of web, 0s ago, outcome done\n") || text.starts_with("run of web, "), "{text}");
    assert!(
        text.contains("3 as recorded, 3 changed\n  kernel.msgmax: 16000 → 20000\n  shm 0x00000001: gone\n"),
        "{text}"
    );
    host.hook(&["inspect", "--record", "other"], "").expect(2).says("nothing is recorded of it");
}

#[test]
fn a_record_says_why_a_container_did_not_start() {
    if !is_root() {
        return skip("only root can give the hook another /run");
    }
    let (host, dir) = (Host::new(), Dir::new());
    let private = host.private("broken");
    let profile = dir.profile("[[sem]]\nkey = 2\nnsems = 40000\n");
    let line = host.hook(&["--profile-file", &profile], &private.creating()).stderr;
    let why = line.strip_prefix("oci-ipc-hook: broken: ").expect("an error").trim_end().to_owned();
    drop(private);
    let text = host.hook(&["inspect", "--record", "broken"], "").expect(0).stdout;
    assert!(text.starts_with("failed run of broken, ") && text.contains(&why), "{why} not in {text}");
    assert!(text.ends_with("its namespace is gone, or nothing was done in it\n"), "{text}");

    // The same id once more, from another bundle; the first record made older than it is.
    let names = host.failures();
    let mut first: Value =
        serde_json::from_slice(&std::fs::read(host.path("failed").join(&names[0])).expect("a record")).expect("JSON");
    first["written"] = (first["written"].as_i64().expect("a time") - 7200).into();
    std::fs::write(host.path("failed").join(&names[0]), first.to_string()).expect("the record");
    let again = host.private("again");
    let state = again.creating().replace("\"id\":\"again\"", "\"id\":\"broken\"");
    host.hook(&["--profile", "none-such"], &state).expect(2);
    let text = host.hook(&["inspect", "--record", "broken"], "").expect(0).stdout;
    let lines: Vec<_> = text.lines().filter(|l| l.starts_with("failed run of broken, ")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("none-such") && lines[1].contains("2h ago"), "the newest first: {text}");
}
