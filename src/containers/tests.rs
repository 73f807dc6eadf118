use super::*;
use std::path::PathBuf;

/// A file tree as engines leave it.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Tree {
        let dir = std::env::temp_dir().join(format!("oci-ipc-containers-{name}-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        Tree(dir)
    }

    fn file(&self, path: &str, text: &str) -> &Tree {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn names(&self) -> Vec<(String, String, Vec<String>)> {
        all(&self.0).into_iter().map(|c| (c.engine, c.id, c.names)).collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn own_start() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap().parse().unwrap()
}

fn row(engine: &str, id: &str, names: &[&str]) -> (String, String, Vec<String>) {
    (engine.into(), id.into(), names.iter().map(|n| (*n).to_owned()).collect())
}

#[test]
fn runtimes_own_containers() {
    let (pid, start) = (std::process::id(), own_start());
    let tree = Tree::new("runtimes");
    tree.file(
        "run/runc/r1/state.json",
        &format!(r#"{{"id":"r1","init_process_pid":{pid},"init_process_start":{start}}}"#),
    )
    .file("run/crun/c1/status", &format!(r#"{{"pid":{pid},"process-start-time":{start},"bundle":"/b"}}"#))
    .file("run/user/1000/crun/u1/status", &format!(r#"{{"pid":{pid},"process-start-time":{start}}}"#))
    .file("run/youki/y1/state.json", &format!(r#"{{"id":"y1","status":"running","pid":{pid}}}"#));
    assert_eq!(
        tree.names(),
        [row("crun", "c1", &[]), row("runc", "r1", &[]), row("crun", "u1", &[]), row("youki", "y1", &[])]
    );
}

#[test]
fn what_has_ended_is_left_out() {
    let (pid, start) = (std::process::id(), own_start());
    let tree = Tree::new("ended");
    tree.file(
        "run/runc/a/state.json",
        &format!(r#"{{"id":"a","init_process_pid":{pid},"init_process_start":{}}}"#, start + 1),
    )
    .file("run/runc/b/state.json", r#"{"id":"b","init_process_pid":2147483647}"#)
    .file("run/runc/c/state.json", r#"{"id":"c","init_process_pid":0}"#)
    .file("run/runc/d/state.json", "{")
    .file("run/runc/e/other", "");
    assert_eq!(tree.names(), []);
}

#[test]
fn engines_give_the_names() {
    let pid = std::process::id();
    let state = |id: &str| format!(r#"{{"id":"{id}","init_process_pid":{pid},"init_process_start":{}}}"#, own_start());
    let cri = r#"{"annotations":{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.container-name":"db",
        "io.kubernetes.cri.sandbox-name":"pod-0","io.kubernetes.cri.sandbox-namespace":"prod"}}"#;
    let sandbox = r#"{"annotations":{"io.kubernetes.cri.container-type":"sandbox",
        "io.kubernetes.cri.sandbox-name":"pod-0","io.kubernetes.cri.sandbox-namespace":"prod"}}"#;
    let task = "run/containerd/io.containerd.runtime.v2.task";
    let tree = Tree::new("engines");
    tree.file("run/runc/p1/state.json", &state("p1"))
        .file(
            "var/lib/containers/storage/overlay-containers/containers.json",
            r#"[{"id":"p1","names":["web"],"image":"x"},{"id":"gone"}]"#,
        )
        .file("run/docker/runtime-runc/moby/d1/state.json", &state("d1"))
        .file(&format!("{task}/moby/d1/init.pid"), &pid.to_string())
        .file(
            "var/lib/docker/containers/d1/config.v2.json",
            &format!(r#"{{"ID":"d1","Name":"/api","State":{{"Running":true,"Pid":{pid}}}}}"#),
        )
        .file(
            "var/lib/docker/containers/d2/config.v2.json",
            r#"{"ID":"d2","Name":"/old","State":{"Running":false,"Pid":0}}"#,
        )
        .file("run/containerd/runc/k8s.io/k1/state.json", &state("k1"))
        .file(&format!("{task}/k8s.io/k1/config.json"), cri)
        .file(&format!("{task}/k8s.io/k2/config.json"), sandbox)
        .file(&format!("{task}/k8s.io/k2/init.pid"), &format!("{pid}\n"))
        .file("run/user/1000/crun/u1/status", &format!(r#"{{"pid":{pid}}}"#))
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\njoe:x:1000:1000::/home/joe:/bin/sh\n")
        .file(
            "home/joe/.local/share/containers/storage/vfs-containers/containers.json",
            r#"[{"id":"u1","names":["mine"]}]"#,
        );
    assert_eq!(
        tree.names(),
        [
            row("docker", "d1", &["api"]),
            row("containerd", "k1", &["prod/pod-0/db"]),
            row("containerd", "k2", &["prod/pod-0"]),
            row("podman", "p1", &["web"]),
            row("podman", "u1", &["mine"]),
        ]
    );
}

#[test]
fn found_by_name_id_and_start_of_id() {
    let pid = std::process::id();
    let tree = Tree::new("find");
    for id in ["abc1", "abc2", "abd"] {
        tree.file(&format!("run/runc/{id}/state.json"), &format!(r#"{{"id":"{id}","init_process_pid":{pid}}}"#));
    }
    tree.file("var/lib/containers/storage/overlay-containers/containers.json", r#"[{"id":"abd","names":["abc"]}]"#);
    let found = |wanted| find(&tree.0, wanted).map(|c| c.id);
    assert_eq!(found("abc"), Ok("abd".into()), "a name wins over the start of an id");
    assert_eq!(found("abc2"), Ok("abc2".into()));
    assert_eq!(found("abd"), Ok("abd".into()));
    let several = found("ab").unwrap_err().to_string();
    assert!(several.contains("several containers") && several.contains("abc1 (runc"), "{several}");
    let none = found("zz").unwrap_err().to_string();
    assert!(none.contains("no running container has this name or id"), "{none}");
    assert!(found("").is_err());
}

/// Engines whose directories were moved by their configuration.
#[test]
fn configured_places_are_found() {
    let pid = std::process::id();
    let state = |id: &str| format!(r#"{{"id":"{id}","init_process_pid":{pid}}}"#);
    let tree = Tree::new("configured");
    tree.file(
        "etc/containers/storage.conf",
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"/data/pods\"\nrunroot = \"/data/run\"\n",
    )
    .file("usr/share/containers/storage.conf", "[storage]\ngraphroot = \"/data/other\"\n")
    .file("data/other/vfs-containers/containers.json", r#"[{"id":"p0","names":["unused"]}]"#)
    .file("data/pods/vfs-containers/containers.json", r#"[{"id":"p1","names":["web"]},{"id":"p2","names":["late"]}]"#)
    .file("run/crun/p1/status", &format!(r#"{{"pid":{pid}}}"#))
    .file("data/run/vfs-containers/p2/userdata/pidfile", &pid.to_string())
    .file("etc/crio/crio.conf.d/10.conf", "[crio]\nroot = \"/data/first\"\n")
    .file("etc/crio/crio.conf.d/20.conf", "[crio]\nroot = \"/data/crio\"\nrunroot = \"/data/criorun\"\n")
    .file("data/crio/overlay-containers/containers.json", r#"[{"id":"c1","names":["k8s_db"]}]"#)
    .file("data/criorun/overlay-containers/c1/userdata/pidfile", &pid.to_string())
    .file("etc/docker/daemon.json", r#"{"data-root":"/data/docker","exec-root":"/data/exec"}"#)
    .file("data/exec/runtime-ipc/moby/d1/state.json", &state("d1"))
    .file("data/exec/swarm/moby/d9/state.json", &state("d9"))
    .file("data/docker/containers/d1/config.v2.json", r#"{"ID":"d1","Name":"/api"}"#)
    .file(
        "data/docker/containers/d2/config.v2.json",
        &format!(r#"{{"ID":"d2","Name":"/job","State":{{"Running":true,"Pid":{pid}}}}}"#),
    )
    .file("etc/containerd/config.toml", "version = 2\nstate = \"/data/containerd\"\n")
    .file("data/containerd/io.containerd.runtime.v2.task/default/t1/init.pid", &pid.to_string())
    .file("run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/t2/init.pid", &pid.to_string());
    assert_eq!(
        tree.names(),
        [
            row("podman", "c1", &["k8s_db"]),
            row("docker", "d1", &["api"]),
            row("docker", "d2", &["job"]),
            row("podman", "p1", &["web"]),
            row("podman", "p2", &["late"]),
            row("containerd", "t1", &[]),
            row("containerd", "t2", &[]),
        ]
    );
}

#[test]
fn a_users_engines_may_be_elsewhere_too() {
    let pid = std::process::id();
    let tree = Tree::new("users");
    let names = |name: &str| format!(r#"[{{"id":"{name}","names":["{name}s"]}}]"#);
    tree.file("etc/passwd", "joe:x:1000:1000::/home/joe:/bin/sh\nann:x:1001:1001::/srv/ann:/bin/sh\n")
        .file("etc/containers/storage.conf", "[storage]\nrootless_storage_path = \"/big/$USER/$UID\"\n")
        .file("run/user/1000/crun/j1/status", &format!(r#"{{"pid":{pid}}}"#))
        .file("big/joe/1000/overlay-containers/containers.json", &names("j1"))
        .file("run/user/1001/crun/a1/status", &format!(r#"{{"pid":{pid}}}"#))
        .file("srv/ann/.config/containers/storage.conf", "[storage]\ngraphroot = \"$HOME/pods\"\n")
        .file("srv/ann/pods/overlay-containers/containers.json", &names("a1"))
        .file("srv/ann/.config/docker/daemon.json", r#"{"data-root":"/srv/ann/docker"}"#)
        .file(
            "run/user/1001/docker/runtime-runc/moby/a2/state.json",
            &format!(r#"{{"id":"a2","init_process_pid":{pid}}}"#),
        )
        .file("srv/ann/docker/containers/a2/config.v2.json", r#"{"ID":"a2","Name":"/job"}"#);
    assert_eq!(
        tree.names(),
        [row("podman", "a1", &["a1s"]), row("docker", "a2", &["job"]), row("podman", "j1", &["j1s"])]
    );
}

/// What users write into their own files changes nothing for others, and leads nowhere else.
#[test]
fn a_user_cannot_name_what_is_not_his() {
    let pid = std::process::id();
    let tree = Tree::new("hostile");
    let link = tree.0.join("home/joe/.config/containers/storage.conf");
    tree.file("etc/passwd", "joe:x:1000:1000::/home/joe:/bin/sh\n")
        .file("run/runc/r1/state.json", &format!(r#"{{"id":"r1","init_process_pid":{pid}}}"#))
        .file("run/user/1000/crun/j1/status", &format!(r#"{{"pid":{pid}}}"#))
        .file(
            "home/joe/.local/share/containers/storage/overlay-containers/containers.json",
            r#"[{"id":"r1","names":["mine"]},{"id":"../../../../r2","names":["out"]},{"id":"..","names":["up"]}]"#,
        )
        .file("run/user/1000/containers/overlay-containers/other", "")
        .file("run/user/1000/containers/userdata/pidfile", &pid.to_string())
        .file("run/r2/userdata/pidfile", &pid.to_string())
        .file("home/joe/.config/containers/other.conf", "[storage]\ngraphroot = \"/secret\"\n")
        .file("secret/overlay-containers/containers.json", r#"[{"id":"j1","names":["linked"]}]"#);
    std::os::unix::fs::symlink("other.conf", &link).unwrap();
    assert_eq!(tree.names(), [row("crun", "j1", &[]), row("runc", "r1", &[])]);
    for bad in ["secret", "../secret", "/home/../secret", "/./../secret"] {
        std::fs::remove_file(&link).unwrap();
        tree.file("home/joe/.config/containers/storage.conf", &format!("[storage]\ngraphroot = \"{bad}\"\n"));
        assert_eq!(tree.names(), [row("crun", "j1", &[]), row("runc", "r1", &[])], "{bad}");
    }
    tree.file("home/joe/.config/containers/storage.conf", "[storage]\ngraphroot = \"/secret\"\n");
    assert_eq!(tree.names()[0], row("podman", "j1", &["linked"]), "his own container, by his own word");
    // Larger than any configuration is.
    let huge = format!("[storage]\ngraphroot = \"/secret\"\n#{}\n", "x".repeat(1 << 20));
    tree.file("home/joe/.config/containers/storage.conf", &huge);
    assert_eq!(tree.names()[0], row("crun", "j1", &[]));
}
