//! Files that others may have written or prepared: refused, and the refusal says how to put it right.

use crate::support::{Container, Dir, Ran, as_user, binary, is_root, run, run_command, skip, which};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

const USER: u32 = 61_250;
const STRANGER: u32 = 61_251;
const PROFILE: &str = "format = 1\n[sysctl]\n\"kernel.msgmax\" = 9000\n";

fn mode(path: impl AsRef<Path>, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).expect("a mode");
}

/// Refused with exit 2, one line, the namespace untouched.
#[track_caller]
fn refused(args: &[&str], says: &str) -> Ran {
    let container = Container::new();
    let before = container.everything();
    let ran = run(args, container.state("")).expect(2).says(says);
    assert_eq!(container.everything(), before);
    ran
}

#[test]
fn what_others_can_write_to_is_refused_with_the_command_that_helps() {
    let dir = Dir::new();
    let here = dir.path().to_str().expect("text").to_owned();
    let file = dir.file("p.toml", PROFILE);
    let own = nix::unistd::geteuid();
    for bits in [0o646, 0o666, 0o602] {
        mode(&file, bits);
        let says = format!("{file}: it belongs to uid {own} with mode {bits:04o}, and must belong to root");
        let ran = refused(&["--profile-file", &file], &says);
        assert!(ran.stderr.trim_end().ends_with(&format!("to write to it; chmod go-w {file}")), "{}", ran.stderr);
        refused(&["--config", &file, "--profile", "x"], &says);
        refused(&["--profiles-dir", &here, "--profile", "p"], &says);
    }
    mode(&file, 0o644);
    let move_it = "; move it to a directory that only root or the running user can write to".to_owned();
    for (bits, remedy) in [(0o757, None), (0o777, None), (0o1777, Some(move_it))] {
        mode(&here, bits);
        let ran =
            refused(&["--profile-file", &file], &format!("its directory belongs to uid {own} with mode {bits:04o}"));
        let remedy = remedy.unwrap_or_else(|| format!("; chmod go-w {here}"));
        assert!(ran.stderr.trim_end().ends_with(&remedy), "{}", ran.stderr);
        refused(&["--profiles-dir", &here, "--profile", "p"], "its directory belongs to");
    }
    mode(&here, 0o755);
    // The directory stands in one with the sticky bit, and that is fine.
    let container = Container::new();
    run(&["--profiles-dir", &here, "--profile", "p"], container.state("")).expect(0);
}

#[test]
fn no_group_may_write() {
    if !is_root() {
        return skip("only root gives files away");
    }
    let dir = Dir::new();
    let file = dir.file("p.toml", PROFILE);
    mode(&file, 0o664);
    for group in [USER, 0] {
        chown(&file, Some(0), Some(group)).expect("chown");
        refused(&["--profile-file", &file], "with mode 0664");
    }
}

#[test]
fn strangers_files_are_refused() {
    if !is_root() {
        return skip("only root gives files away");
    }
    let dir = Dir::new();
    let file = dir.file("p.toml", PROFILE);
    chown(&file, Some(STRANGER), None).expect("chown");
    refused(&["--profile-file", &file], &format!("it belongs to uid {STRANGER} with mode 0644"));
    chown(&file, Some(0), None).expect("chown");
    chown(dir.path(), Some(STRANGER), None).expect("chown");
    refused(&["--profile-file", &file], &format!("its directory belongs to uid {STRANGER}"));
    chown(dir.path(), Some(0), None).expect("chown");
}

#[test]
fn no_link_is_followed_anywhere() {
    let (dir, elsewhere) = (Dir::new(), Dir::new());
    let here = dir.path().to_str().expect("text").to_owned();
    let target = elsewhere.file("secret.toml", PROFILE);
    symlink(&target, dir.path().join("p.toml")).expect("a link");
    symlink(elsewhere.path(), dir.path().join("d")).expect("a link");
    let link = format!("{here}/p.toml");
    let says = "is reached through a symbolic link, which is not followed; name the file itself";
    refused(&["--profile-file", &link], says);
    refused(&["--config", &link, "--profile", "x"], says);
    refused(&["--profiles-dir", &here, "--profile", "p"], says);
    refused(&["--profile-file", &format!("{here}/d/secret.toml")], says);
    refused(&["--profiles-dir", &format!("{here}/d"), "--profile", "secret"], says);
    // Links that the kernel makes: to whatever the caller has open, or sees as its root.
    let own = std::process::id();
    let magic = ["/proc/self/fd/0", "/dev/stdin", "/proc/thread-self/fd/0", "/proc/self/environ"];
    // Not every /dev has the link.
    for magic in magic.into_iter().filter(|m| Path::new(m).symlink_metadata().is_ok()) {
        refused(&["--profile-file", magic], says);
    }
    refused(&["--profile-file", &format!("/proc/{own}/root{target}")], says);
    refused(&["--profile-file", &format!("/proc/{own}/cwd/Cargo.toml")], says);
}

#[test]
fn only_regular_files_of_a_sensible_size_are_read() {
    let dir = Dir::new();
    let at = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
    nix::unistd::mkfifo(Path::new(&at("fifo")), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
    std::fs::create_dir(at("dir")).expect("a directory");
    for name in ["fifo", "socket", "dir"] {
        refused(&["--profile-file", &at(name)], "not a regular file; name a regular file");
        refused(&["--config", &at(name), "--profile", "x"], "not a regular file");
    }
    refused(&["--profile-file", "/dev/zero"], "not a regular file; name a regular file");
    refused(&["--config", "/dev/null", "--profile", "x"], "not a regular file");
    // 1 TiB that takes no room: its size is enough to know.
    let huge = dir.file("huge.toml", "");
    std::fs::OpenOptions::new().write(true).open(&huge).and_then(|f| f.set_len(1 << 40)).expect("a sparse file");
    refused(&["--profile-file", &huge], "larger than 262144 bytes");
    refused(&["--config", &huge, "--profile", "x"], "larger than 262144 bytes");
    let full = dir.file("full.toml", &format!("{PROFILE}{}", "#".repeat((256 << 10) - PROFILE.len())));
    run(&["--profile-file", &full], Container::new().state("")).expect(0);
    let more = dir.file("more.toml", &format!("{PROFILE}{}", "#".repeat((256 << 10) - PROFILE.len() + 1)));
    refused(&["--profile-file", &more], "larger than 262144 bytes");
    std::fs::write(at("bytes.toml"), b"format = 1\n\xff\n").expect("a file");
    refused(&["--profile-file", &at("bytes.toml")], "not UTF-8 at byte 11");
    refused(&["--profile-file", &at("none.toml")], "no such file; see whether the path is right");
}

#[test]
fn the_working_directory_is_not_looked_at() {
    let dir = Dir::new();
    dir.file("p.toml", PROFILE);
    for option in ["--profile-file", "--config", "--profiles-dir"] {
        let mut hook = Command::new(binary());
        hook.current_dir(dir.path()).args([option, "p.toml", "--profile", "p"]);
        let says =
            format!("{option}: wanted an absolute path, found p.toml: the hook does not use its working directory");
        run_command(hook, Container::new().state("")).expect(2).says(&says);
    }
    refused(&["--profile", "../p"], "a profile's name is");
}

/// A rootless engine: the user's own files and root's are good, a stranger's are not.
#[test]
fn an_ordinary_user_trusts_itself_and_root() {
    if !is_root() {
        return skip("needs several users");
    }
    let dir = Dir::new();
    let program = dir.path().join("hook");
    std::fs::copy(binary(), &program).expect("a copy that everybody can reach");
    // No sysctl: before Linux 6.9 only the host's root sets those.
    let file = dir.profile("[[msg]]\nkey = 1\nowner = \"0:0\"\n");
    let apply = || {
        let container = Container::of_user(USER);
        let mut hook = as_user(USER, &program);
        hook.args(["apply", "--pid", &container.pid().to_string(), "--profile-file", &file]);
        run_command(hook, "")
    };
    apply().expect(0);
    chown(&file, Some(USER), Some(USER)).expect("chown");
    apply().expect(0);
    chown(dir.path(), Some(USER), Some(USER)).expect("chown");
    apply().expect(0);
    chown(&file, Some(STRANGER), None).expect("chown");
    apply().expect(2).says(&format!("it belongs to uid {STRANGER}"));
}

/// In a rootless engine's user namespace root's files show the overflow id. In the two built-in directories that counts as
/// root's; elsewhere it might be anybody's.
#[test]
fn in_a_user_namespace_the_installed_files_are_roots() {
    if !is_root() || !Path::new("/usr/share").is_dir() {
        return skip("needs root, to install files, and /usr/share");
    }
    let dir = Dir::new();
    let program = dir.path().join("hook");
    std::fs::copy(binary(), &program).expect("a copy that everybody can reach");
    for below in ["etc/oci-ipc-hook/profiles.d", "share/oci-ipc-hook/profiles.d"] {
        std::fs::create_dir_all(dir.path().join(below)).expect("directories");
    }
    let config = dir.file("etc/oci-ipc-hook/config.toml", "format = 1\n[charge]\ncontainer-cgroup-above = \"1MiB\"\n");
    let own = dir.file("etc/oci-ipc-hook/profiles.d/own.toml", PROFILE);
    dir.file("share/oci-ipc-hook/profiles.d/shipped.toml", PROFILE);
    // Mounted over the real directories, in a mount namespace of its own; then an ordinary user's user namespace.
    let script = "mount --bind \"$0/etc\" /etc && mount --bind \"$0/share\" /usr/share && shift && \
                  exec \"$SETPRIV\" --reuid 61250 --regid 61250 --clear-groups unshare --user --map-root-user --ipc \"$@\"";
    let plan = |options: &[&str]| {
        let mut command = Command::new("unshare");
        // By its path: a shell may have a smaller one built in.
        command.env("SETPRIV", which("setpriv").expect("setpriv(1)"));
        command.args(["--mount", "sh", "-c", script]).arg(dir.path()).arg("sh").arg(&program);
        command.args(["plan", "--self"]).args(options);
        run_command(command, "")
    };
    let ran = plan(&["--profile", "own"]).expect(10);
    assert!(ran.stdout.contains("profile:own"), "{}", ran.stdout);
    plan(&["--profile", "shipped"]).expect(10);
    let elsewhere = dir.file("elsewhere.toml", PROFILE);
    let ran = plan(&["--profile-file", &elsewhere]).expect(2).says("belongs to uid 65534");
    assert!(
        ran.stderr.contains("in a user namespace root's files count as such only below /etc/oci-ipc-hook"),
        "{}",
        ran.stderr
    );
    for bad in [0o664, 0o646] {
        mode(&own, bad);
        plan(&["--profile", "own"]).expect(2).says(&format!("belongs to uid 65534 with mode {bad:04o}"));
    }
    mode(&own, 0o644);
    mode(&config, 0o646);
    plan(&["--profile", "own"]).expect(2).says("/etc/oci-ipc-hook/config.toml: it belongs to uid 65534 with mode 0646");
}
