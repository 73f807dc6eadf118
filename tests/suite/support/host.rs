//! A `/run` of the test's own, where the hook keeps its records, and containers that share a namespace.

use super::{Container, Dir, Ran, as_user, binary, is_root, run_command};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What a machine keeps between two calls of the hook. Each call by root sees this directory as `/run`, in a mount namespace
/// of its own; an ordinary user has no records worth hiding, and sees the machine's.
pub struct Host {
    run: Dir,
    bundles: Dir,
}

/// A container as its runtime tells the hook of it.
pub struct Member {
    pub container: Container,
    pub id: String,
    pub bundle: String,
}

impl Host {
    pub fn new() -> Host {
        Host { run: Dir::new(), bundles: Dir::new() }
    }

    /// A command in whose `/run` the records lie.
    pub fn command(&self, words: &[&str]) -> Command {
        if !is_root() {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            return command;
        }
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$0\" /run && exec \"$@\"";
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, &self.run.text()]).args(words);
        command
    }

    /// The hook.
    pub fn hook(&self, args: &[&str], state: &str) -> Ran {
        let binary = binary();
        run_command(self.command(&[&[binary.to_str().expect("text")], args].concat()), state)
    }

    /// The hook of an ordinary user.
    pub fn hook_of(&self, user: u32, args: &[&str], state: &str) -> Ran {
        let as_user = as_user(user, binary());
        let words: Vec<&str> = std::iter::once(as_user.get_program())
            .chain(as_user.get_args())
            .map(|word| word.to_str().expect("text"))
            .collect();
        run_command(self.command(&[&words, args].concat()), state)
    }

    /// A file of the records' directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.run.path().join("oci-ipc-hook").join(name)
    }

    /// The directory that stands for `/run`.
    pub fn run(&self) -> PathBuf {
        self.run.path().to_owned()
    }

    /// Names of everything in the records' directory, sorted.
    pub fn records(&self) -> Vec<String> {
        names(self.path(""))
    }

    /// Names of the failures that were kept, sorted.
    pub fn failures(&self) -> Vec<String> {
        names(self.path("failed"))
    }

    /// The one record with this suffix.
    pub fn record(&self, suffix: &str) -> serde_json::Value {
        let names: Vec<_> = self.records().into_iter().filter(|name| name.ends_with(suffix)).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        serde_json::from_slice(&fs::read(self.path(&names[0])).expect("a record")).expect("JSON")
    }

    /// A bundle whose config.json has this content in `linux` besides, and runs as `user`.
    pub fn bundle(&self, id: &str, namespaces: &str, user: &str) -> String {
        let path = self.bundles.path().join(id);
        fs::create_dir(&path).expect("a new bundle");
        let (uid, gid) = user.split_once(':').expect("uid:gid");
        let config = format!(
            r#"{{"process":{{"user":{{"uid":{uid},"gid":{gid}}}}},"root":{{"path":"rootfs"}},"linux":{{"namespaces":[{namespaces}]}}}}"#
        );
        fs::write(path.join("config.json"), config).expect("config.json");
        path.to_str().expect("text").to_owned()
    }

    /// A container in the namespace of `pause`, which its config.json names by path.
    pub fn member(&self, pause: &Container, id: &str, user: &str) -> Member {
        let entry = format!(r#"{{"type":"ipc","path":"/proc/{}/ns/ipc"}}"#, pause.pid());
        Member { container: Container::beside(pause), id: id.to_owned(), bundle: self.bundle(id, &entry, user) }
    }

    /// A container with a namespace of its own.
    pub fn private(&self, id: &str) -> Member {
        let bundle = self.bundle(id, r#"{"type":"ipc"}"#, "0:0");
        Member { container: Container::new(), id: id.to_owned(), bundle }
    }
}

fn names(dir: PathBuf) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name != "failed");
    names.sort();
    names
}

impl Member {
    /// Its state at createRuntime.
    pub fn creating(&self) -> String {
        state(&self.id, "creating", &format!(r#""pid":{},"#, self.container.pid()), &self.bundle)
    }

    /// Its state at poststop, as runc writes it.
    pub fn stopped(&self) -> String {
        state(&self.id, "stopped", "", &self.bundle)
    }
}

/// An OCI state; `pid` with its comma.
pub fn state(id: &str, status: &str, pid: &str, bundle: &str) -> String {
    format!(r#"{{"ociVersion":"1.0.2","id":"{id}","status":"{status}",{pid}"bundle":"{bundle}"}}"#)
}
