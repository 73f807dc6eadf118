//! The plugin's binary against a runtime's end of NRI, with a script in the hook's place.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../src/nri/api.rs"]
#[allow(dead_code)]
mod api;
#[path = "../../src/nri/mux.rs"]
mod mux;
mod runtime;

use api::*;
use runtime::{Connection, PATIENCE};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tokio::net::UnixListener;

/// The plugin, its socket and a directory for the hook's notes; all gone at the end.
struct Bench {
    dir: PathBuf,
    listener: UnixListener,
    plugin: Child,
}

impl Bench {
    /// A plugin whose hook is `script`; `$dir` is the directory of notes.
    fn new(name: &str, script: &str, args: &[&str]) -> Bench {
        let dir = scratch(name, script);
        let listener = UnixListener::bind(dir.join("nri.sock")).unwrap();
        let plugin = plugin(&dir).args(args).stderr(Stdio::piped()).spawn().unwrap();
        Bench { dir, listener, plugin }
    }

    async fn connection(&self) -> Connection {
        let (stream, _) = tokio::time::timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        Connection::over(stream).await
    }

    /// A registered plugin without other pods.
    async fn greeted(&self) -> Connection {
        let mut connection = self.connection().await;
        connection.greet(60_000, Vec::new(), Vec::new()).await;
        connection
    }

    fn notes(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    fn ready(&self) -> bool {
        let args = ["ready", "--ready-file"];
        let status = Command::new(BINARY).args(args).arg(self.dir.join("ready")).stderr(Stdio::null()).status();
        status.unwrap().success()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.plugin.kill();
        let _ = self.plugin.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_oci-ipc-nri");
/// Notes arguments and state of each call.
const GOOD: &str = "{ echo \"$*\"; cat; echo; } >> $dir/calls";
/// Fails with a line of its own, and counts.
const BAD: &str = "cat >/dev/null; echo x >> $dir/calls; echo 'oci-ipc-hook: p1: kernel.sem: why' >&2; exit 1";

fn scratch(name: &str, script: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("oci-ipc-nri-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    // Written by a child: a descriptor of ours, open for writing, could be in the hands of another test's child when the
    // script is run (ETXTBSY).
    let args = ["-c", r#"printf '#!/bin/sh\ndir=%s\n%s\n' "$0" "$1" > "$0/hook"; chmod 755 "$0/hook""#];
    assert!(Command::new("sh").args(args).arg(&dir).arg(script).status().unwrap().success());
    dir
}

fn plugin(dir: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("--socket").arg(dir.join("nri.sock")).arg("--hook").arg(dir.join("hook"));
    command.arg("--ready-file").arg(dir.join("ready"));
    command
}

/// A pod that asks for a profile.
fn pod(id: &str) -> PodSandbox {
    let mut pod = plain(id);
    pod.annotations.insert("io.oci-ipc-hook.profile".into(), "db".into());
    pod.annotations.insert("kubernetes.io/other".into(), "not ours".into());
    pod
}

fn plain(id: &str) -> PodSandbox {
    PodSandbox { id: id.into(), name: "web".into(), namespace: "shop".into(), pid: 4242, ..PodSandbox::default() }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn it_registers_subscribes_and_becomes_ready() {
    run(async {
        let bench = Bench::new("registers", GOOD, &["--index", "07"]);
        let mut connection = bench.connection().await;
        let registration = connection.registration().await;
        assert_eq!((&*registration.plugin_name, &*registration.plugin_idx), ("oci-ipc-nri", "07"));
        assert_eq!(connection.configure(2000).await.events, 0b1111, "run, stop, remove pods; create containers");
        assert!(!bench.ready(), "not before it is synchronized");
        let _: SynchronizeResponse = connection.call("Synchronize", &SynchronizeRequest::new()).await.unwrap();
        assert!(bench.ready());
    });
}

#[test]
fn an_annotated_pod_is_handed_to_the_hook_once() {
    run(async {
        let bench = Bench::new("handed", GOOD, &["--config", "/etc/c.toml"]);
        let connection = bench.greeted().await;
        connection.run_pod(&pod("p1")).await.unwrap();
        let state = r#"{"annotations":{"io.oci-ipc-hook.profile":"db"},"id":"p1","ociVersion":"1.2.0","pid":4242,"status":"creating"}"#;
        assert_eq!(bench.notes("calls"), format!("hook --config /etc/c.toml\n{state}\n"));
        connection.create_container(&pod("p1")).await.unwrap();
        connection.create_container(&pod("p1")).await.unwrap();
        assert_eq!(bench.notes("calls").lines().count(), 2, "nothing more");
    });
}

#[test]
fn older_runtimes_tell_the_same_as_a_state_change() {
    run(async {
        let bench = Bench::new("change", GOOD, &[]);
        let connection = bench.greeted().await;
        let event = StateChangeEvent {
            event: Event::RUN_POD_SANDBOX.into(),
            pod: Some(pod("p1")).into(),
            ..StateChangeEvent::default()
        };
        let _: Empty = connection.call("StateChange", &event).await.unwrap();
        assert!(bench.notes("calls").contains(r#""id":"p1""#));
    });
}

#[test]
fn a_pod_that_asks_for_nothing_costs_nothing() {
    run(async {
        let bench = Bench::new("plain", GOOD, &[]);
        let connection = bench.greeted().await;
        connection.run_pod(&plain("p1")).await.unwrap();
        connection.create_container(&plain("p1")).await.unwrap();
        connection.remove_pod(&plain("p1")).await.unwrap();
        assert_eq!(bench.notes("calls"), "");
    });
}

#[test]
fn a_failure_is_kept_for_every_container_until_the_pod_goes() {
    run(async {
        let bench = Bench::new("failure", BAD, &[]);
        let connection = bench.greeted().await;
        connection.run_pod(&pod("p1")).await.expect("never an error here");
        for _ in 0..3 {
            let line = connection.create_container(&pod("p1")).await.unwrap_err();
            assert_eq!(line, "oci-ipc-hook: p1: kernel.sem: why");
        }
        assert_eq!(bench.notes("calls"), "x\n");
        connection.remove_pod(&pod("p1")).await.unwrap();
        connection.run_pod(&pod("p1")).await.unwrap();
        assert_eq!(bench.notes("calls"), "x\nx\n", "the next pod of that id starts anew");
    });
}

#[test]
fn without_pause_the_namespace_is_seen_through_the_runtime() {
    run(async {
        let bench = Bench::new("crio", GOOD, &[]);
        let connection = bench.greeted().await;
        let mut pod = pod("p1");
        pod.pid = 0;
        let mut linux = LinuxPodSandbox::new();
        for (kind, path) in [("net", "/var/run/netns/n"), ("ipc", "/var/run/ipcns/i")] {
            linux.namespaces.push(LinuxNamespace {
                type_: kind.into(),
                path: path.into(),
                ..LinuxNamespace::default()
            });
        }
        let limit = OptionalInt64 { value: 1 << 30, ..OptionalInt64::default() };
        let memory = LinuxMemory { limit: Some(limit).into(), ..LinuxMemory::default() };
        linux.pod_resources = Some(LinuxResources { memory: Some(memory).into(), ..LinuxResources::default() }).into();
        pod.linux = Some(linux).into();
        connection.run_pod(&pod).await.unwrap();
        let path = format!("/proc/{}/root/var/run/ipcns/i", std::process::id());
        let calls = bench.notes("calls");
        assert!(calls.starts_with(&format!("apply --ns {path} --state - --memory 1073741824\n")), "{calls}");
        assert!(!calls.contains("\"pid\""), "{calls}");
    });
}

#[test]
fn a_hook_that_hangs_is_answered_within_the_runtimes_time() {
    run(async {
        let bench = Bench::new("hangs", "exec sleep 600", &[]);
        let mut connection = bench.connection().await;
        connection.greet(300, Vec::new(), Vec::new()).await;
        connection.run_pod(&pod("p1")).await.unwrap();
        let line = connection.create_container(&pod("p1")).await.unwrap_err();
        assert!(line.contains("not done within") && line.contains("before the runtime's deadline"), "{line}");
    });
}

#[test]
fn it_comes_back_when_the_runtime_does_and_still_knows() {
    run(async {
        let bench = Bench::new("back", BAD, &[]);
        let connection = bench.greeted().await;
        connection.run_pod(&pod("p1")).await.unwrap();
        connection.run_pod(&pod("p2")).await.unwrap();
        connection.close().await;
        let mut connection = bench.connection().await;
        connection.greet(60_000, vec![pod("p1")], Vec::new()).await;
        assert!(connection.create_container(&pod("p1")).await.is_err());
        assert_eq!(bench.notes("calls"), "x\nx\n", "remembered, not tried again");
        assert!(connection.create_container(&pod("p2")).await.is_err());
        assert_eq!(bench.notes("calls"), "x\nx\nx\n", "p2 was not listed: forgotten");
        assert!(bench.ready());
    });
}

#[test]
fn a_connection_that_ends_does_not_stop_the_hook_half_way() {
    run(async {
        let script = "cat >/dev/null; mkfifo $dir/go; echo > $dir/begun; read -r word < $dir/go; echo end > $dir/calls";
        let bench = Bench::new("half", script, &[]);
        let connection = bench.greeted().await;
        let (pod, begun) = (pod("p1"), bench.dir.join("begun"));
        tokio::select! {
            _ = connection.run_pod(&pod) => panic!("it waits"),
            () = exists(&begun) => {}
        }
        connection.close().await;
        let connection = bench.greeted_again().await;
        std::fs::write(bench.dir.join("go"), "go\n").unwrap();
        connection.create_container(&pod).await.unwrap();
        assert_eq!(bench.notes("calls"), "end\n");
    });
}

impl Bench {
    async fn greeted_again(&self) -> Connection {
        let mut connection = self.connection().await;
        connection.greet(60_000, vec![pod("p1")], Vec::new()).await;
        connection
    }
}

/// Until the file is there.
async fn exists(path: &Path) {
    let begun = std::time::Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < PATIENCE, "{} does not come", path.display());
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_start_that_was_missed_is_made_up_for() {
    run(async {
        let bench = Bench::new("missed", GOOD, &[]);
        let mut connection = bench.connection().await;
        connection.greet(60_000, vec![pod("p1")], Vec::new()).await;
        assert_eq!(bench.notes("calls"), "", "Synchronize touches nothing");
        connection.create_container(&pod("p1")).await.unwrap();
        assert_eq!(bench.notes("calls").lines().count(), 2);
    });
}

#[test]
fn pods_that_ran_before_the_plugin_are_not_held_up() {
    run(async {
        let bench = Bench::new("before", BAD, &[]);
        let mut connection = bench.connection().await;
        let container = Container { pod_sandbox_id: "p1".into(), ..Container::default() };
        connection.greet(60_000, vec![pod("p1"), pod("p2")], vec![container]).await;
        connection.create_container(&pod("p1")).await.expect("it ran before");
        assert!(connection.create_container(&pod("p2")).await.is_err(), "it had no container yet");
    });
}

#[test]
fn nonsense_is_refused_and_survived() {
    run(async {
        let bench = Bench::new("nonsense", GOOD, &[]);
        let connection = bench.greeted().await;
        assert!(connection.raw("CreateContainer", vec![0xff; 9]).await.is_err());
        assert!(connection.raw("NoSuchCall", Vec::new()).await.is_err());
        connection.run_pod(&PodSandbox::new()).await.unwrap();
        connection.raw("RunPodSandbox", Vec::new()).await.unwrap();
        connection.run_pod(&pod("p1")).await.unwrap();
        assert!(bench.notes("calls").contains(r#""id":"p1""#));
    });
}

#[test]
fn the_end_of_a_pod_is_cleaned_up_after() {
    run(async {
        let bench = Bench::new("cleaned", "cat > $dir/state; echo \"$*\" > $dir/calls", &[]);
        let connection = bench.greeted().await;
        let request = PodRequest { pod: Some(pod("p1")).into(), ..PodRequest::default() };
        let _: Empty = connection.call("StopPodSandbox", &request).await.unwrap();
        exists(&bench.dir.join("calls")).await;
        assert!(bench.notes("state").contains(r#""status":"stopped""#));
    });
}

#[test]
fn a_runtime_may_start_it_with_a_socket() {
    run(async {
        let dir = scratch("launched", GOOD);
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        // The socket as descriptor 3, the way runtimes hand it over.
        let mut plugin = Command::new("sh")
            .args(["-c", r#"exec "$@" 3<&0 0</dev/null"#, "sh"])
            .arg(BINARY)
            .arg("--hook")
            .arg(dir.join("hook"))
            .arg("--ready-file")
            .arg(dir.join("ready"))
            .env_clear()
            .envs([
                ("PATH", "/bin:/usr/bin"),
                ("NRI_PLUGIN_NAME", "mine"),
                ("NRI_PLUGIN_IDX", "33"),
                ("NRI_PLUGIN_SOCKET", "3"),
            ])
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(far)))
            .spawn()
            .unwrap();
        near.set_nonblocking(true).unwrap();
        let mut connection = Connection::over(tokio::net::UnixStream::from_std(near).unwrap()).await;
        let registration = connection.registration().await;
        assert_eq!((&*registration.plugin_name, &*registration.plugin_idx), ("mine", "33"));
        connection.configure(2000).await;
        let _: SynchronizeResponse = connection.call("Synchronize", &SynchronizeRequest::new()).await.unwrap();
        connection.run_pod(&pod("p1")).await.unwrap();
        connection.close().await;
        assert!(plugin.wait().unwrap().success(), "it ends with its runtime");
        let _ = std::fs::remove_dir_all(&dir);
    });
}

#[test]
fn a_signal_ends_it_in_good_order() {
    run(async {
        let mut bench = Bench::new("signal", GOOD, &[]);
        let connection = bench.greeted().await;
        assert!(bench.ready());
        let pid = nix::unistd::Pid::from_raw(bench.plugin.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        connection.closed().await;
        assert!(bench.plugin.wait().unwrap().success());
        assert!(!bench.dir.join("ready").exists());
    });
}

#[test]
fn counters_are_served_on_the_loopback() {
    run(async {
        let mut bench = Bench::new("metrics", BAD, &["--metrics", "127.0.0.1:0"]);
        let connection = bench.greeted().await;
        connection.run_pod(&pod("p1")).await.unwrap();
        connection.create_container(&pod("p1")).await.unwrap_err();
        let log = BufReader::new(bench.plugin.stderr.take().unwrap());
        let line = log.lines().map(Result::unwrap).find(|line| line.contains("\"metrics\"")).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let mut client = std::net::TcpStream::connect(line["address"].as_str().unwrap()).unwrap();
        std::io::Write::write_all(&mut client, b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        for wanted in ["preparations_total{result=\"failed\"} 1", "containers_refused_total 1", "connected 1"] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
    });
}
