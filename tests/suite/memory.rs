//! Who pays for the memory that the kernel takes for objects, on real control groups, and what happens at the limits.

use crate::support::stopped::Stopped;
use crate::support::{Container, Dir, Ran, as_user, binary, is_root, run, run_command, skip, which};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;

/// A memory control group of the test's own.
struct Group {
    path: PathBuf,
    v1: bool,
}

impl Group {
    /// `None`, said aloud, where none can be made: cgroupfs is read-only in many sandboxes.
    fn new(name: &str) -> Option<Group> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = groups.lines().find_map(|l| l.split_once(':')?.1.strip_prefix("memory:/").map(str::to_owned));
        let (top, v1) = match own {
            Some(own) => (Path::new("/sys/fs/cgroup/memory").join(own), true),
            // Groups beside processes get no controller: it has to be the top.
            None => (PathBuf::from("/sys/fs/cgroup"), false),
        };
        let path = top.join(format!("oci-ipc-hook-{name}-{}", std::process::id()));
        let group = Group { path, v1 };
        let made =
            is_root() && std::fs::create_dir(&group.path).is_ok() && group.path.join(group.limit_file()).exists();
        if !made {
            let _ = writeln!(std::io::stderr(), "skipped: {name}: no memory control group can be made here");
        }
        made.then_some(group)
    }

    fn below(&self, name: &str) -> Group {
        let path = self.path.join(name);
        if !self.v1 {
            std::fs::write(self.path.join("cgroup.subtree_control"), "+memory").expect("the controller");
        }
        std::fs::create_dir(&path).expect("a group below");
        Group { path, v1: self.v1 }
    }

    fn limit_file(&self) -> &'static str {
        if self.v1 { "memory.limit_in_bytes" } else { "memory.max" }
    }

    fn limit(&self, bytes: u64) {
        std::fs::write(self.path.join(self.limit_file()), bytes.to_string()).expect("a limit");
    }

    fn usage(&self) -> u64 {
        let file = if self.v1 { "memory.usage_in_bytes" } else { "memory.current" };
        std::fs::read_to_string(self.path.join(file)).expect("usage").trim().parse().expect("a number")
    }

    /// What the kernel has taken for itself, on behalf of the group.
    fn kernel_bytes(&self) -> u64 {
        let read = |name| std::fs::read_to_string(self.path.join(name)).expect(name);
        if self.v1 {
            return read("memory.kmem.usage_in_bytes").trim().parse().expect("a number");
        }
        let stat = read("memory.stat");
        let field = |name| stat.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<u64>().ok());
        // Before Linux 5.18 there is no sum, and what there is lags behind: everything, of which the rest stays the same.
        field("kernel ").unwrap_or_else(|| self.usage())
    }

    /// The kernel tells [`Group::kernel_bytes`] itself: cgroup version 1, or Linux 5.18.
    fn has_sum(&self) -> bool {
        self.v1 || std::fs::read_to_string(self.path.join("memory.stat")).expect("memory.stat").contains("\nkernel ")
    }

    fn container(&self, megabytes: u32) -> Container {
        Container::in_group(self.path.join("cgroup.procs").to_str().expect("text"), megabytes)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// So many sets of 32000 semaphores: 2 MiB of kernel memory each.
fn sets(count: u32) -> String {
    (1..=count).fold(String::new(), |mut text, key| {
        let _ = writeln!(text, "[[sem]]\nkey = {key}\nnsems = 32000\nowner = \"0:0\"");
        text
    })
}

#[test]
fn large_objects_are_charged_to_the_container() {
    let Some(group) = Group::new("charged") else { return };
    group.limit(64 * MIB);
    let (container, dir) = (group.container(0), Dir::new());
    let before = group.kernel_bytes();
    let profile = dir.profile(&sets(2));
    let plan = run(&["plan", "--pid", &container.pid().to_string(), "--profile-file", &profile], "").expect(10);
    assert!(plan.stdout.contains("charged to the container's memory cgroup"), "{}", plan.stdout);
    run(&["--profile-file", &profile], container.state("")).expect(0);
    let taken = group.kernel_bytes() - before;
    println!("charged to the container: {taken} bytes for two sets of 32000");
    // The kernel books ahead in steps of up to 256 KiB and gives back late; the usage of a whole group is rougher.
    let rough = if group.has_sum() { MIB / 2 } else { MIB };
    assert!((4 * MIB - rough..4 * MIB + 2 * rough).contains(&taken), "{taken}");
}

#[test]
fn the_hook_creates_as_a_member_that_dies_first() {
    let Some(group) = Group::new("member") else { return };
    if which("strace").is_none() {
        return skip("strace is not installed");
    }
    let (container, dir) = (group.container(0), Dir::new());
    let profile = dir.profile(&sets(1));
    let binary = binary();
    let command = [binary.to_str().expect("text"), "--profile-file", &profile];
    let stopped = Stopped::at("semget", 1, &[], &command, container.state(""));
    let proc = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", stopped.pid())).expect(name);
    let name = group.path.file_name().and_then(|n| n.to_str()).expect("a name");
    assert!(proc("cgroup").contains(name), "{}", proc("cgroup"));
    assert_eq!(proc("oom_score_adj"), "1000\n");
    stopped.resume().expect(0);
}

#[test]
fn small_objects_are_not_worth_a_move() {
    let Some(group) = Group::new("small") else { return };
    if which("strace").is_none() {
        return skip("strace is not installed");
    }
    let (container, dir) = (group.container(0), Dir::new());
    let profile = dir.profile("[[sem]]\nkey = 1\nnsems = 2000\nowner = \"0:0\"\n");
    let binary = binary();
    let command = [binary.to_str().expect("text"), "--profile-file", &profile];
    let stopped = Stopped::at("semget", 1, &[], &command, container.state(""));
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", stopped.pid())).expect("its groups");
    assert!(!groups.contains("oci-ipc-hook-small"), "{groups}");
    stopped.resume().expect(0);
}

#[test]
fn no_room_is_found_out_before_anything_is_made() {
    let Some(pod) = Group::new("room") else { return };
    pod.limit(16 * MIB);
    let group = pod.below("c");
    let (container, dir) = (group.container(0), Dir::new());
    let before = container.everything();
    let profile = dir.profile(&format!("[sysctl]\n\"kernel.msgmax\" = 9000\n{}", sets(2)));
    group.limit(4 * MIB);
    let refuse = |limit: u64, name: &str| {
        let ran = run(&["--profile-file", &profile], container.state("")).expect(1);
        let ran = ran.says(&format!("the memory limit {limit} of {name} leaves no room; give the container"));
        assert!(ran.stderr.contains("kernel memory: wanted 4194320 bytes and"), "{}", ran.stderr);
    };
    refuse(4 * MIB, group.path.to_str().expect("text"));
    group.limit(16 * MIB);
    pod.limit(4 * MIB);
    refuse(4 * MIB, pod.path.to_str().expect("text"));
    assert_eq!(container.everything(), before);
    pod.limit(16 * MIB);
    run(&["--profile-file", &profile], container.state("")).expect(0);
    drop(container);
    drop(group);
}

#[test]
fn at_the_limit_the_hook_dies_and_the_container_lives() {
    let Some(group) = Group::new("limit") else { return };
    if which("strace").is_none() {
        return skip("strace is not installed");
    }
    group.limit(128 * MIB);
    // Larger than the hook: the one that the kernel would take otherwise. The kernel weighs oom_score_adj in whole
    // thousandths of the limit, rounded down to pages; in a group of 20 MB that could tip the scales.
    let (container, dir) = (group.container(60), Dir::new());
    let profile = dir.profile(&sets(4));
    let binary = binary();
    let command = [binary.to_str().expect("text"), "--profile-file", &profile];
    let stopped = Stopped::at("capset", 2, &[], &command, container.state(""));
    // Somebody else takes the room between the look and the creation.
    group.limit(group.usage() + 3 * MIB);
    let ran = stopped.resume();
    assert_eq!(ran.code, None, "killed: {ran:?}");
    assert!(container.alive(), "the container's process was taken instead");
    group.limit(128 * MIB);
    run(&["--profile-file", &profile], container.state("")).expect(0);
}

/// The hook without the right to raise its limit, which is `bytes`.
fn limited(bytes: u64, profile: &str, container: &Container) -> Ran {
    let mut command = Command::new("prlimit");
    command.arg(format!("--msgqueue={bytes}:{bytes}")).args(["setpriv", "--bounding-set=-sys_resource"]);
    command.arg(binary()).args(["--profile-file", profile]);
    run_command(command, container.state(""))
}

fn queues(count: u32, owner: u32) -> String {
    (1..=count).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "[[mqueue]]\nname = \"/q{n}\"\nowner = \"{owner}:0\"");
        text
    })
}

#[test]
fn queue_bytes_are_counted_exactly() {
    if !is_root() || which("prlimit").is_none() {
        return skip("needs root, to make queues of other users, and prlimit(1)");
    }
    // mq_overview(7): 10 messages of 8192 bytes, a header and a tree node each.
    let one = 10 * (8192 + 48 + 48);
    for (count, owner) in [(1, 64_001), (5, 64_002)] {
        let (container, dir) = (Container::new(), Dir::new());
        let profile = dir.profile(&queues(count, owner));
        let bytes = one * u64::from(count);
        let ran = limited(bytes - 1, &profile, &container).expect(1);
        let ran = ran.says(&format!("wanted {bytes} bytes, found a limit of {}", bytes - 1));
        assert!(ran.stderr.contains(&format!("to at least {bytes} (LimitMSGQUEUE=")), "{}", ran.stderr);
        assert_eq!(container.queues(), "[]");
        limited(bytes, &profile, &container).expect(0);
    }
}

#[test]
fn the_queue_counter_is_one_for_the_whole_host() {
    if !is_root() || which("prlimit").is_none() {
        return skip("needs root, to make queues of other users, and prlimit(1)");
    }
    let (first, second, dir) = (Container::new(), Container::new(), Dir::new());
    let profile = dir.profile(&queues(3, 64_003));
    let bytes = 3 * 82_880;
    limited(bytes, &profile, &first).expect(0);
    // Another container, whose namespace is empty, and the same user id.
    let before = second.everything();
    let ran = limited(bytes, &profile, &second).expect(1).says("RLIMIT_MSGQUEUE is used up");
    assert!(ran.stderr.contains("all queues of this user id, over all containers of the host"), "{}", ran.stderr);
    assert_eq!(second.everything(), before);
    let other = dir.profile(&queues(3, 64_004));
    limited(bytes, &other, &second).expect(0);
}

#[test]
fn bombs_are_refused_before_they_are_built() {
    let (container, dir) = (Container::new(), Dir::new());
    let before = container.everything();
    // 32000 × 32000 semaphores are 62 GiB; a profile that asks for them does not even fit into a file.
    let bomb = dir.profile(&sets(3000));
    run(&["--profile-file", &bomb], container.state("")).expect(3).says("above the ceiling of 16777216");
    let bomb = dir.profile(&sets(32_000));
    run(&["--profile-file", &bomb], container.state("")).expect(2).says("larger than 262144 bytes");
    let list = |count: u32| {
        (1..=count).map(|k| format!("{{\\\"key\\\":{k},\\\"owner\\\":\\\"0:0\\\"}}")).collect::<Vec<_>>().join(",")
    };
    let policy = dir.file("config.toml", "format = 1\n[policy]\nannotations = \"inline\"\n");
    let state = |json: &str| container.state(&format!(r#","annotations":{{"io.oci-ipc-hook.objects":"{json}"}}"#));
    let many = state(&format!("{{\\\"msg\\\":[{}]}}", list(1900)));
    run(&["--config", &policy], many).expect(3).says("objects: wanted 1900: above the ceiling of 64");
    let names =
        (1..=65).map(|n| format!("{{\\\"name\\\":\\\"/q{n}\\\",\\\"owner\\\":\\\"0:0\\\"}}")).collect::<Vec<_>>();
    let queues = state(&format!("{{\\\"mqueue\\\":[{}]}}", names.join(",")));
    run(&["--config", &policy], queues).expect(3).says("objects: wanted 65: above the ceiling of 64");
    let long = r#"{\"mqueue\":[{\"name\":\"/q\",\"max-messages\":65536,\"message-size\":16777216,\"owner\":\"0:0\"}]}"#;
    run(&["--config", &policy], state(long)).expect(1).says("fs.mqueue.msg_max");
    // Each below every ceiling; it is the sum that is not.
    let full = |count: u32| list(count).replace("owner", "nsems\\\":32000,\\\"owner");
    let sum = state(&format!("{{\\\"sem\\\":[{}]}}", full(9)));
    run(&["--config", &policy], sum).expect(3).says("kernel memory: wanted").says("above the ceiling of 16777216");
    let tall = state(r#"{\"sem\":[{\"key\":1,\"nsems\":2147483647,\"owner\":\"0:0\"}]}"#);
    run(&["--config", &policy], tall).expect(3).says("kernel memory: wanted").says("above the ceiling of 16777216");
    let wide = state(r#"{\"sem\":[{\"key\":1,\"nsems\":32001,\"owner\":\"0:0\"}]}"#);
    run(&["--config", &policy], wide).expect(1).says("SEMMSL");
    assert_eq!(container.everything(), before);
}

/// A process with CAP_SYS_RESOURCE would not be held to the limit.
#[test]
fn queues_that_are_there_count_too() {
    if !is_root() {
        return skip("needs root, to make queues of other users");
    }
    let (container, dir) = (Container::new(), Dir::new());
    let full = format!("[sysctl]\n\"fs.mqueue.queues_max\" = 2\n{}", queues(2, 64_005));
    run(&["--profile-file", &dir.profile(&full)], container.state("")).expect(0);
    let before = container.everything();
    let more = dir.profile(&format!("[sysctl]\n\"kernel.msgmax\" = 9000\n{}", queues(3, 64_005)));
    let ran = run(&["--profile-file", &more], container.state("")).expect(1);
    ran.says("mqueue /q3: wanted").says("the limit fs.mqueue.queues_max of this namespace is reached (mq_open: ENOSPC");
    assert_eq!(container.everything(), before);
}

/// Root of a user namespace may not write to the host's control groups: it is told so, and its own groups bound it.
#[test]
fn a_rootless_hook_says_that_it_cannot_charge() {
    let Some(group) = Group::new("rootless") else { return };
    const USER: u32 = 61_240;
    let (container, dir) = (Container::of_user(USER), Dir::new());
    let program = dir.path().join("hook");
    std::fs::copy(binary(), &program).expect("a copy that everybody can reach");
    std::fs::write(group.path.join("cgroup.procs"), container.pid().to_string()).expect("into the group");
    let profile = dir.profile(&sets(1));
    let hook = || {
        let mut command = as_user(USER, &program);
        command.args(["apply", "--pid", &container.pid().to_string(), "--profile-file", &profile, "--json"]);
        command
    };
    let ran = run_command(hook(), "").expect(0);
    assert!(ran.stdout.contains("kernel memory is not charged to"), "{}", ran.stdout);
    drop(container);
}
