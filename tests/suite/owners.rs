//! Owners are ids as the container sees them, however its namespace is reached; one that it does not have is found before
//! anything is written.

use crate::support::{Container, Dir, Ran, as_user, binary, is_root, run, run_command, skip};
use std::process::Command;

const USER: u32 = 1234;

/// A sysctl and one object of each kind.
fn everything_for(owner: &str) -> String {
    format!(
        "[sysctl]\n\"kernel.msgmax\" = 9000\n\
         [[shm]]\nkey = 1\nsize = 1\nowner = \"{owner}\"\n\
         [[sem]]\nkey = 1\nvalues = [1]\nowner = \"{owner}\"\n\
         [[msg]]\nkey = 1\nowner = \"{owner}\"\n\
         [[mqueue]]\nname = \"/q\"\nmax-messages = 1\nmessage-size = 1\nowner = \"{owner}\"\n"
    )
}

fn namespace_file(container: &Container) -> String {
    format!("/proc/{}/ns/ipc", container.pid())
}

/// Owner and creator of the segment, set and message queue, as a process of the container's user namespace sees them.
fn seen_inside(container: &Container) -> Vec<Vec<String>> {
    let mut command = Command::new("nsenter");
    command.args(["--target", &container.pid().to_string(), "--ipc", "--user", "--preserve-credentials", "cat"]);
    let files = [("/proc/sysvipc/shm", 7), ("/proc/sysvipc/sem", 4), ("/proc/sysvipc/msg", 7)];
    let text = run_command(
        {
            command.args(files.map(|(file, _)| file));
            command
        },
        "",
    )
    .expect(0)
    .stdout;
    let rows = text.lines().filter(|line| !line.trim_start().starts_with("key"));
    let ids = |(row, (_, first)): (&str, (_, usize))| {
        row.split_whitespace().skip(first).take(4).map(str::to_owned).collect::<Vec<_>>()
    };
    rows.zip(files).map(ids).collect()
}

/// The work is done through the namespace's file, and found done by way of the process.
#[track_caller]
fn prepared_by_file(container: &Container, owner: &str) {
    let (uid, gid) = owner.split_once(':').expect("an owner");
    let (dir, file, pid) = (Dir::new(), namespace_file(container), container.pid().to_string());
    let profile = dir.profile(&everything_for(owner));
    run(&["apply", "--ns", &file, "--profile-file", &profile], "").expect(0);
    run(&["plan", "--pid", &pid, "--profile-file", &profile], "").expect(0);
    run(&["plan", "--ns", &file, "--profile-file", &profile], "").expect(0);
    assert_eq!(seen_inside(container), vec![[uid, gid, uid, gid]; 3]);
    let shown = run(&["inspect", "--ns", &file], "").expect(0).stdout;
    assert_eq!(shown.matches(&format!("{owner} (host ")).count(), 7, "{shown}");
}

#[test]
fn a_namespace_file_gives_the_ids_of_the_user_namespace_that_owns_it() {
    if !is_root() {
        return skip("only root makes containers of many ids");
    }
    for owner in ["0:0", "5:6"] {
        prepared_by_file(&Container::mapped(100_000), owner);
    }
    let (container, dir) = (Container::mapped(100_000), Dir::new());
    let before = container.everything();
    let profile = dir.profile(&everything_for("65536:0"));
    let ran = run(&["apply", "--ns", &namespace_file(&container), "--profile-file", &profile], "").expect(2);
    ran.says("wanted owner 65536:0: the container's user namespace does not map this id");
    assert_eq!(container.everything(), before);
}

/// The kernel keeps showing the owner that it found at the first look: the host's root, where the maps came later.
#[test]
fn sysctls_that_were_looked_at_before_the_maps_came_can_be_set() {
    if !is_root() {
        return skip("only root makes containers of many ids");
    }
    let (container, dir) = (Container::with(&["--user"]), Dir::new());
    container.everything();
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{file}", container.pid()), "0 100000 65536").expect("an id map");
    }
    let profile = dir.profile("[sysctl]\n\"kernel.msgmax\" = 9000\n\"fs.mqueue.msg_max\" = 20\n");
    run(&["--profile-file", &profile], container.state("")).expect(0);
    assert_eq!(container.sh("cat /proc/sys/kernel/msgmax"), "9000\n");
}

#[test]
fn so_it_does_for_a_user_namespace_below_another() {
    if !is_root() {
        return skip("only root makes containers of many ids");
    }
    let outer = Container::mapped(100_000);
    let mut command = Command::new("nsenter");
    command.args(["--target", &outer.pid().to_string(), "--user", "--setuid=0", "--setgid=0"]);
    command.args(["unshare", "--ipc", "--user", "sh", "-c", "echo ready; exec cat >/dev/null"]);
    let inner = Container::start(command);
    let write = "for f in uid gid; do echo '0 1000 100' >/proc/$0/${f}_map; done";
    let mut command = Command::new("nsenter");
    command.args(["--target", &outer.pid().to_string(), "--user", "--setuid=0", "--setgid=0"]);
    command.args(["sh", "-c", write, &inner.pid().to_string()]);
    run_command(command, "").expect(0);
    prepared_by_file(&inner, "5:6");
}

#[test]
fn ids_without_a_meaning_yet_are_refused() {
    if !is_root() {
        return skip("only root joins a namespace whose user namespace has no ids");
    }
    let (container, dir) = (Container::with(&["--user"]), Dir::new());
    let before = container.everything();
    let profile = dir.profile(&everything_for("0:0"));
    for verb in ["plan", "apply"] {
        let ran = run(&[verb, "--ns", &namespace_file(&container), "--profile-file", &profile], "").expect(4);
        ran.says("the user namespace that owns it has no id maps yet");
    }
    assert_eq!(container.everything(), before);
}

/// A user who is nobody but root of his user namespace, by every way into it; `container` is his.
#[test]
fn a_users_container_has_one_owner() {
    if !is_root() {
        return skip("only root can become another user");
    }
    let (container, dir) = (Container::of_user(USER), Dir::new());
    let program = dir.path().join("oci-ipc-hook");
    std::fs::copy(binary(), &program).expect("a copy that the user can reach");
    let call = |args: &[&str]| {
        let mut command = as_user(USER, &program);
        command.args(args);
        run_command(command, "")
    };
    let before = container.everything();
    let (file, pid) = (namespace_file(&container), container.pid().to_string());
    for owner in ["1:0", "0:1"] {
        let profile = dir.profile(&everything_for(owner));
        for target in [["--pid", &pid], ["--ns", &file]] {
            for verb in ["plan", "apply"] {
                refused(call(&[verb, target[0], target[1], "--profile-file", &profile]), owner);
            }
        }
    }
    assert_eq!(container.everything(), before);
    let objects = everything_for("0:0").split_once("[[shm]]").map(|(_, rest)| format!("[[shm]]{rest}"));
    let profile = dir.profile(&objects.expect("objects"));
    call(&["apply", "--ns", &file, "--profile-file", &profile]).expect(0);
    call(&["plan", "--pid", &pid, "--profile-file", &profile]).expect(0);
    assert_eq!(seen_inside(&container), vec![["0"; 4]; 3]);
}

#[track_caller]
fn refused(ran: Ran, owner: &str) {
    ran.expect(2).says(&format!("wanted owner {owner}: the container's user namespace does not map this id"));
}

/// The hook is in the container's user namespace from the start, and perhaps in its IPC namespace too.
#[test]
fn ones_own_user_namespace_has_one_owner_too() {
    let (outer, dir) = (Container::with(&["--map-root-user"]), Dir::new());
    let within = |program: &std::path::Path| {
        let mut command = Command::new("nsenter");
        command.args(["--target", &outer.pid().to_string(), "--user", "--ipc", "--preserve-credentials"]).arg(program);
        command
    };
    let mut command = within("unshare".as_ref());
    command.args(["--ipc", "sh", "-c", "echo ready; exec cat >/dev/null"]);
    let inner = Container::start(command);
    let (file, pid) = (namespace_file(&inner), inner.pid().to_string());
    for owner in ["1:0", "0:1"] {
        let profile = dir.profile(&everything_for(owner));
        for target in [&["--self"][..], &["--pid", &pid], &["--ns", &file]] {
            for verb in ["plan", "apply"] {
                let mut command = within(&binary());
                command.arg(verb).args(target).args(["--profile-file", &profile]);
                refused(run_command(command, ""), owner);
            }
        }
    }
    let values = run_command(
        {
            let mut c = within("cat".as_ref());
            c.arg("/proc/sys/kernel/msgmax");
            c
        },
        "",
    );
    assert_eq!(values.expect(0).stdout, "8192\n");
}
