//! What the contenders read: states, bundles and profiles, all made here.

use crate::cases::Who;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// Sysctls of the standard run; `floor.c` and `hook.sh` have the same.
const SYSCTLS: [(&str, &str); 13] = [
    ("kernel.msgmax", "65536"),
    ("kernel.msgmnb", "131072"),
    ("kernel.msgmni", "2048"),
    ("kernel.sem", "250 256000 100 2048"),
    ("kernel.shmall", "4194304"),
    ("kernel.shmmax", "17179869184"),
    ("kernel.shmmni", "8192"),
    ("kernel.shm_rmid_forced", "0"),
    ("fs.mqueue.msg_default", "20"),
    ("fs.mqueue.msg_max", "256"),
    ("fs.mqueue.msgsize_default", "4096"),
    ("fs.mqueue.msgsize_max", "65536"),
    ("fs.mqueue.queues_max", "512"),
];

/// Files in a directory of installed profiles.
pub(crate) const INSTALLED: usize = 50;

/// Names of the system calls that fill a seccomp section, as engines write them.
const CALLS: &str = "accept accept4 access adjtimex alarm bind brk capget capset chdir chmod chown clock_getres \
    clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_ctl \
    epoll_pwait epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate \
    fchdir fchmod fchmodat fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat \
    fstatfs fsync ftruncate futex getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer \
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid \
    getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch inotify_init1 inotify_rm_watch \
    io_cancel io_destroy io_getevents io_setup io_submit ioctl ioprio_get ioprio_set ipc kill lchown lgetxattr link \
    linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat madvise membarrier memfd_create mincore mkdir \
    mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive \
    mq_timedsend mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep open openat \
    openat2 pause pidfd_open pipe pipe2 poll ppoll prctl pread64 preadv prlimit64 pselect6 pwrite64 pwritev read \
    readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr rename renameat \
    renameat2 restart_syscall rmdir rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn \
    rt_sigsuspend rt_sigtimedwait sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_setaffinity \
    sched_yield semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto setfsgid setfsuid setgid setgroups";

const CAPABILITIES: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Writes everything below `data`.
pub(crate) fn write_all(data: &Path) -> Result<()> {
    let put = |name: &str, text: &str| -> Result<()> {
        let path = data.join(name);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("{}", path.display()))
    };
    for (bundle, size, annotations, path) in [
        ("podman", 10 << 10, 6, None),
        ("kubernetes", 60 << 10, 24, None),
        ("annotated", 30 << 10, 200, None),
        ("pod", 10 << 10, 6, Some("/var/run/ipcns/bench")),
    ] {
        let annotations = annotations_of(annotations);
        put(&format!("bundles/{bundle}/config.json"), &config(size, &annotations, path))?;
        put(&format!("states/{bundle}.json"), &state(bundle, &annotations))?;
    }
    put("profiles/sysctls.toml", &profile_toml(true, Objects::None))?;
    put("profiles/sysctls.json", &profile_json(true, Objects::None))?;
    put("profiles/standard.toml", &profile_toml(true, Objects::Standard))?;
    put("profiles/standard.json", &profile_json(true, Objects::Standard))?;
    for count in [10, 100, 1000, 10_000] {
        put(&format!("profiles/{count}.toml"), &profile_toml(false, Objects::Many(count)))?;
        put(&format!("profiles/{count}.json"), &profile_json(false, Objects::Many(count)))?;
    }
    // A limit that others use may be raised only.
    let shared = profile_toml(true, Objects::Standard).replace(" = \"250", " = \">= 250");
    let shared = SYSCTLS.iter().filter(|(name, _)| !name.ends_with("_forced")).fold(shared, |text, (name, value)| {
        text.replace(&format!("\"{name}\" = {value}\n"), &format!("\"{name}\" = \">= {value}\"\n"))
    });
    put("profiles/shared.toml", &shared)?;
    for number in 0..INSTALLED {
        put(&format!("profiles.d/p{number}.toml"), &profile_toml(true, Objects::Standard))?;
    }
    Ok(())
}

/// Annotations as engines and users write them; with 200, one of them asks for a profile.
fn annotations_of(count: usize) -> Map<String, Value> {
    let mut all = Map::new();
    if count >= 200 {
        all.insert("io.oci-ipc-hook.profile".into(), "p25".into());
    }
    for number in all.len()..count {
        let key = match number % 3 {
            0 => format!("io.container.manager.setting-{number}"),
            1 => format!("io.kubernetes.cri-o.Metadata.{number}"),
            _ => format!("org.opencontainers.image.label-{number}"),
        };
        all.insert(key, format!("value {number} of an annotation, 2026-01-01T00:00:00Z").into());
    }
    all
}

/// A state document of runc with `@PID@` and `@ID@` to be filled in, of at least 2 KiB.
fn state(bundle: &str, annotations: &Map<String, Value>) -> String {
    let mut annotations = annotations.clone();
    let text = |annotations: &Map<String, Value>| {
        let annotations = Value::Object(annotations.clone());
        format!(
            r#"{{"ociVersion":"1.0.2-dev","id":"@ID@","status":"creating","pid":@PID@,"bundle":"{}/bundles/{bundle}","annotations":{annotations}}}"#,
            crate::lab::SEEN
        )
    };
    let lacking = (2_usize << 10).saturating_sub(text(&annotations).len() + 40);
    annotations.insert("io.podman.annotations.note".into(), "n".repeat(lacking).into());
    text(&annotations)
}

/// A config.json of about `size` bytes, shaped as engines write it.
fn config(size: usize, annotations: &Map<String, Value>, ipc_path: Option<&str>) -> String {
    let mut ipc = json!({"type": "ipc"});
    if let Some(path) = ipc_path {
        ipc["path"] = path.into();
    }
    let calls: Vec<&str> = CALLS.split_whitespace().collect();
    let capabilities = json!(CAPABILITIES);
    let mount = |to: &str, kind: &str| json!({"destination": to, "type": kind, "source": kind, "options": ["nosuid", "noexec", "nodev"]});
    let mut spec = json!({
        "ociVersion": "1.0.2-dev",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0, "umask": 18}, "args": ["/bin/server", "--foreground"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "container=podman"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1048576, "soft": 1048576}],
            "oomScoreAdj": 0
        },
        "root": {"path": "rootfs"},
        "hostname": "bench",
        "mounts": [
            mount("/proc", "proc"), mount("/dev", "tmpfs"), mount("/dev/pts", "devpts"), mount("/sys", "sysfs"),
            mount("/dev/mqueue", "mqueue"), mount("/dev/shm", "tmpfs"), mount("/sys/fs/cgroup", "cgroup")
        ],
        "annotations": annotations,
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}], "memory": {"limit": 1073741824}, "pids": {"limit": 2048}},
            "cgroupsPath": "/libpod_parent/libpod-bench",
            "namespaces": [{"type": "pid"}, {"type": "network"}, ipc, {"type": "uts"}, {"type": "mount"}],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                "syscalls": [{"names": calls, "action": "SCMP_ACT_ALLOW"}]
            }
        }
    });
    let mut number = 0;
    while spec.to_string().len() < size {
        let (name, value) =
            (format!("SERVICE_{number}_PORT_8080_TCP_ADDR"), format!("10.96.{}.{}", number / 256, number % 256));
        if let Some(env) = spec["process"]["env"].as_array_mut() {
            env.push(format!("{name}={value}").into());
        }
        number += 1;
    }
    spec.to_string()
}

/// Which objects a profile asks for.
#[derive(Clone, Copy)]
enum Objects {
    /// None at all.
    None,
    /// One of each kind.
    Standard,
    /// So many: a semaphore set, a message queue, a segment in turn, keys from 1.
    Many(usize),
}

/// Compact on purpose: 10 000 objects have to fit into the 256 KiB that a profile may have.
fn profile_toml(sysctls: bool, objects: Objects) -> String {
    let mut text = String::from("format = 1\n");
    if sysctls {
        text.push_str("description = \"the standard run of the benchmarks\"\n\n[sysctl]\n");
        for (name, value) in SYSCTLS {
            let quote = if value.contains(' ') { "\"" } else { "" };
            let _ = writeln!(text, "\"{name}\" = {quote}{value}{quote}");
        }
    }
    match objects {
        Objects::None => {}
        Objects::Standard => text.push_str(
            "\n[[shm]]\nkey = \"0x4d510001\"\nsize = \"1MiB\"\nmode = \"0600\"\n\n[[sem]]\nkey = 0x5101\nvalues = [1, 0, 5]\n\n\
             [[msg]]\nkey = 0x77\n\n[[mqueue]]\nname = \"/orders\"\nmax-messages = 8\nmessage-size = 128\n",
        ),
        Objects::Many(count) => {
            for key in 1..=count {
                let _ = match key % 3 {
                    1 => write!(text, "[[sem]]\nkey={key}\nnsems=1\n"),
                    2 => write!(text, "[[msg]]\nkey={key}\n"),
                    _ => write!(text, "[[shm]]\nkey={key}\nsize=1\n"),
                };
            }
        }
    }
    text
}

/// The same for the Go twin.
fn profile_json(sysctls: bool, objects: Objects) -> String {
    let mut all = json!({"sysctl": {}, "shm": [], "sem": [], "msg": [], "mqueue": []});
    if sysctls {
        all["sysctl"] =
            SYSCTLS.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>().into();
    }
    match objects {
        Objects::None => {}
        Objects::Standard => {
            all["shm"] = json!([{"key": 0x4d51_0001, "size": 1 << 20}]);
            all["sem"] = json!([{"key": 0x5101, "values": [1, 0, 5]}]);
            all["msg"] = json!([{"key": 0x77}]);
            all["mqueue"] = json!([{"name": "/orders", "max-messages": 8, "message-size": 128}]);
        }
        Objects::Many(count) => {
            let keys = |rest: usize| (1..=count).filter(move |key| key % 3 == rest);
            all["sem"] = keys(1).map(|key| json!({"key": key, "nsems": 1})).collect();
            all["msg"] = keys(2).map(|key| json!({"key": key})).collect();
            all["shm"] = keys(0).map(|key| json!({"key": key, "size": 1})).collect();
        }
    }
    all.to_string()
}

/// A container whose only program ends at once, run by a real runtime with an own IPC namespace, and the hook of `who`.
pub(crate) fn runtime_config(who: Who) -> String {
    let seen = crate::lab::SEEN;
    let mut spec = json!({
        "ociVersion": "1.0.2",
        "process": {"terminal": false, "user": {"uid": 0, "gid": 0}, "args": ["/true"], "env": ["PATH=/"], "cwd": "/"},
        "root": {"path": "rootfs", "readonly": true},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}]}
    });
    let profile = format!("{seen}/profiles/standard.toml");
    let (program, options) = match who {
        Who::Idle => (Who::Empty.program(), vec![]),
        _ => (who.program(), vec!["--profile-file".to_owned(), profile]),
    };
    if who != Who::Bare {
        let path = format!("{seen}/bin/{program}");
        let args = [vec![path.clone()], options].concat();
        spec["hooks"] = json!({"createRuntime": [{"path": path, "args": args}]});
    }
    spec.to_string()
}
