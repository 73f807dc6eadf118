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
