//! Keys that ftok(3) makes of a container's files.

use crate::support::host::{Host, Member};
use crate::support::{Container, Dir, is_root, skip};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A container with an image, a volume and a file system of its own, each with a file `f`.
struct Stage {
    host: Host,
    dir: Dir,
}

/// `$1` lower, `$2` upper, `$3` work, `$4` root, `$5` volume.
const MOUNTS: &str = "mount -t overlay overlay -o lowerdir=$1,upperdir=$2,workdir=$3 $4 && mkdir -p $4/vol $4/own && \
    mount --bind $5 $4/vol && mount -t tmpfs tmpfs $4/own && mkdir -p $4/etc && echo > $4/etc/f && echo > $4/own/f && \
    ln -sf /vol/f $4/link && ln -sf ../../../../../../../etc/f $4/up && mkdir -p $4/proc && mount --bind /proc $4/proc";

impl Stage {
    fn new() -> Option<Stage> {
        if !is_root() {
            skip("only root can mount");
            return None;
        }
        if !Command::new("perl").args(["-MIPC::SysV=ftok", "-e1"]).status().is_ok_and(|s| s.success()) {
            skip("no perl with IPC::SysV to compare with");
            return None;
        }
        let (host, dir) = (Host::new(), Dir::new());
        // An overlay cannot lie on another one.
        let place = dir.path();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(place).status();
        assert!(mounted.is_ok_and(|s| s.success()));
        for name in ["lower", "upper", "work", "root", "vol"] {
            fs::create_dir(place.join(name)).unwrap();
        }
        fs::write(place.join("vol/f"), "").unwrap();
        Some(Stage { host, dir })
    }

    fn place(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// In the IPC namespace of `pause`, or in its own; `last` is run when everything is mounted.
    fn container(&self, pause: Option<&Container>, last: &str) -> Container {
        let mut command = Command::new("unshare");
        command.args(if pause.is_some() { &["--mount"][..] } else { &["--mount", "--ipc"] });
        if let Some(pause) = pause {
            command = Command::new("nsenter");
            command.args(["--target", &pause.pid().to_string(), "--ipc", "unshare", "--mount"]);
        }
        let script = format!("{MOUNTS} && {last}");
        command.args(["--propagation", "private", "sh", "-c", &script, "sh"]);
        command.args(["lower", "upper", "work", "root", "vol"].map(|name| self.place(name)));
        Container::start(command)
    }

    /// What ftok(3) gives in the container for `path` below `root`.
    fn ftok(container: &Container, root: &str, path: &str, id: u8) -> u32 {
        let out = Command::new("nsenter")
            .args(["--target", &container.pid().to_string(), "--mount", "perl", "-MIPC::SysV=ftok", "-e"])
            .args(["print ftok($ARGV[0], 0 + $ARGV[1]) & 0xffffffff", &format!("{root}{path}"), &id.to_string()])
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap().parse().expect("a key")
    }

    fn profile(&self, path: &str, id: u8) -> String {
        let dir = self.dir.path().join("profiles");
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("p.toml");
        let text =
            format!("format = 1\n[[shm]]\nkey = {{ ftok = \"{path}\", id = {id} }}\nsize = 4096\nowner = \"0:0\"\n");
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// A bundle whose root is the overlay, by the whole path or relative.
    fn bundle(&self, id: &str, ipc: &str, relative: bool) -> String {
        let bundle = self.host.bundle(id, ipc, "0:0");
        let root = if relative { "../root" } else { &self.place("root") };
        let config = Path::new(&bundle).join("config.json");
        let text = fs::read_to_string(&config).unwrap().replace("\"rootfs\"", &format!("\"{root}\""));
        fs::write(config, text).unwrap();
        bundle
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}

fn keys(container: &Container) -> Vec<u32> {
    let list = container.sh("cat /proc/sysvipc/shm");
    let key = |line: &str| line.split_whitespace().next().unwrap().parse::<i32>().unwrap().cast_unsigned();
    let mut keys: Vec<_> = list.lines().skip(1).map(key).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn keys_are_those_that_ftok_gives_inside() {
    let Some(stage) = Stage::new() else { return };
    for pivoted in [false, true] {
        let last = match pivoted {
            false => "echo ready; exec cat >/dev/null",
            true => "exec perl -e 'chroot $ARGV[0] or die; $| = 1; print \"ready\\n\"; <STDIN>' $4",
        };
        let container = stage.container(None, last);
        let root = stage.place("root");
        let mut expected = Vec::new();
        for (path, id, real) in [
            ("/etc/f", 65, "/etc/f"),
            ("/vol/f", 1, "/vol/f"),
            ("/own/f", 255, "/own/f"),
            ("/link", 7, "/vol/f"),
            ("/up", 9, "/etc/f"),
        ] {
            expected.push(Stage::ftok(&container, &root, real, id));
            let bundle = stage.bundle(&format!("c{pivoted}{id}"), r#"{"type":"ipc"}"#, false);
            let member = Member { container: Container::beside(&container), id: "c".into(), bundle };
            let state = member.creating().replace(&member.container.pid().to_string(), &container.pid().to_string());
            stage.host.hook(&["--profile-file", &stage.profile(path, id)], &state).expect(0);
        }
        expected.sort_unstable();
        assert_eq!(keys(&container), expected, "pivoted: {pivoted}");
        if pivoted {
            // Without a bundle the root of the process is the container's.
            let profile = stage.profile("/etc/f", 66);
            stage
                .host
                .hook(&["apply", "--pid", &container.pid().to_string(), "--profile-file", &profile], "")
                .expect(0);
            assert!(keys(&container).contains(&Stage::ftok(&container, &root, "/etc/f", 66)));
        }
    }
}

#[test]
fn in_a_shared_namespace_only_a_volume_gives_keys() {
    let Some(stage) = Stage::new() else { return };
    let pause = Container::new();
    let container = stage.container(Some(&pause), "echo ready; exec cat >/dev/null");
    let ipc = format!(r#"{{"type":"ipc","path":"/proc/{}/ns/ipc"}}"#, pause.pid());
    let member = Member { bundle: stage.bundle("c", &ipc, false), container, id: "c".into() };
    let hook = |path| stage.host.hook(&["--profile-file", &stage.profile(path, 65)], &member.creating());
    hook("/etc/f").expect(2).says(
        "ftok /etc/f 65: wanted a file that all its containers mount from the same place: the file is of the image",
    );
    hook("/own/f").expect(2).says("of this container alone");
    hook("/up").expect(2).says("the file is of the image");
    assert_eq!(keys(&pause), [0; 0]);
    hook("/vol/f").expect(0);
    hook("/link").expect(0);
    assert_eq!(keys(&pause), [Stage::ftok(&member.container, &stage.place("root"), "/vol/f", 65)]);
}

#[test]
fn files_that_are_out_of_reach() {
    let Some(stage) = Stage::new() else { return };
    let container = stage.container(None, "echo ready; exec cat >/dev/null");
    let pid = container.pid().to_string();
    let bundle = stage.bundle("c", r#"{"type":"ipc"}"#, false);
    let apply = |path: &str, more: &[&str]| {
        let profile = stage.profile(path, 65);
        stage.host.hook(&[&["apply", "--pid", &pid, "--profile-file", &profile], more].concat(), "")
    };
    apply("/none", &["--bundle", &bundle]).expect(2).says("ftok /none 65: the container has no such file");
    apply("/etc/f/f", &["--bundle", &bundle]).expect(2).says("no such file");
    apply("/proc/self/exe", &["--bundle", &bundle]).expect(4).says("too many links, or one of procfs");
    apply("/etc/f", &[]).expect(4).says("the container's root directory is not known yet");
    let profile = stage.profile("/etc/f", 65);
    let ns = format!("/proc/{pid}/ns/ipc");
    stage
        .host
        .hook(&["apply", "--ns", &ns, "--profile-file", &profile], "")
        .expect(4)
        .says("a namespace alone has no files");
    assert_eq!(keys(&container), [0; 0]);
    // Never on a container's word.
    let objects = r#"{\"shm\":[{\"key\":{\"ftok\":\"/etc/f\",\"id\":65},\"size\":1}]}"#;
    let config = stage.host.path("../config.toml");
    fs::write(&config, "format = 1\n[policy]\nannotations = \"inline\"\n").unwrap();
    let state = container.state(&format!(r#","annotations":{{"io.oci-ipc-hook.objects":"{objects}"}}"#));
    stage.host.hook(&["--config", "/run/config.toml"], &state).expect(2).says("only a profile in a file may take keys");
}
