//! The place where everything happens: private namespaces, a private `/etc` and `/run`, one scratch directory.

use crate::build::Programs;
use crate::host::HostIpc;
use crate::image;
use crate::launch::output;
use crate::log::Log;
use crate::outcome::{Outcome, Stop, fail};
use crate::select::Selection;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

/// Names the scratch directory to the process that runs in the private namespaces.
const SCRATCH: &str = "OCI_IPC_HOOK_ENGINES_SCRATCH";

/// The scratch directory's name, before the process id.
const STEM: &str = "oci-ipc-hook-engines-";

const QUEUES: &str = "/dev/mqueue";

/// The ordinary user for rootless engines; exists in the private `/etc` only.
pub const USER: &str = "ipchookuser";
pub const USER_ID: u32 = 61001;
/// The first of 65536 ids that are this user's and those of user-namespace containers of root.
pub const SUB_IDS: u32 = 200_000;

/// Where this process is.
pub enum Place {
    Outside,
    Inside(PathBuf),
}

/// Tells the process that cargo started from the one that [`enter`] started.
pub fn place() -> Place {
    env::var_os(SCRATCH).map_or(Place::Outside, |scratch| Place::Inside(scratch.into()))
}

/// Builds the programs, runs this binary again in private namespaces, and removes all that is left.
pub fn enter(selection: &Selection) -> Result<ExitCode, String> {
    if !nix::unistd::geteuid().is_root() {
        return not_root(selection);
    }
    remove_stale();
    let scratch = env::temp_dir().join(format!("{STEM}{}", process::id()));
    fs::create_dir(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
    // Where engines look for the host's queues; a machine without systemd may not have it.
    let made = fs::create_dir(QUEUES).is_ok();
    let result = run_inside(&scratch);
    if made {
        let _ = fs::remove_dir(QUEUES);
    }
    remove_cgroups(&scratch);
    let removed = fs::remove_dir_all(&scratch).map_err(|e| format!("removing {}: {e}", scratch.display()));
    result.and_then(|code| removed.map(|()| code))
}

/// Removes what runs that were killed have left.
fn remove_stale() {
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(STEM)) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            remove_cgroups(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn not_root(selection: &Selection) -> Result<ExitCode, String> {
    let reason = "needs root: real engines get an ordinary user, mounts and daemons of their own";
    if selection.require {
        return Err(reason.to_owned());
    }
    let mut matrix = crate::matrix::Matrix::new(crate::cases::chosen(selection).map(|case| case.name));
    for column in crate::engine::columns(selection) {
        matrix.start_column(&column.title);
        matrix.absent(reason, false);
    }
    matrix.print();
    Ok(ExitCode::SUCCESS)
}

fn run_inside(scratch: &Path) -> Result<ExitCode, String> {
    let own = env::current_exe().map_err(|e| e.to_string())?;
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    Programs::build(scratch)?;
    // The shell is process 1 of the new namespace and reaps what daemons leave behind; when it ends, all of them do.
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", "\"$@\" & wait $!", "sh"])
        .arg(own)
        .args(env::args_os().skip(1))
        .env(SCRATCH, scratch)
        .status()
        .map_err(|e| format!("unshare: {e}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The cgroup below which all containers of this run are.
fn cgroup_name(scratch: &Path) -> String {
    scratch.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Gives the ordinary user a cgroup in every hierarchy.
fn user_cgroups(scratch: &Path) -> Outcome {
    for hierarchy in fs::read_dir("/sys/fs/cgroup")?.flatten() {
        if hierarchy.path().join("cgroup.procs").exists() {
            let directory = hierarchy.path().join(cgroup_name(scratch)).join("user");
            fs::create_dir_all(&directory)?;
            fs::read_dir(&directory)?.flatten().try_for_each(|file| chown(&file.path()))?;
            chown(&directory)?;
        }
    }
    Ok(())
}

/// Removes the run's cgroups in every hierarchy; a run that was killed leaves them.
fn remove_cgroups(scratch: &Path) {
    fn remove(directory: &Path) {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).for_each(|e| remove(&e.path()));
        // One that is in use or gone already is not ours to insist on.
        let _ = fs::remove_dir(directory);
    }
    let top = Path::new("/sys/fs/cgroup");
    remove(&top.join(cgroup_name(scratch)));
    for hierarchy in fs::read_dir(top).into_iter().flatten().flatten() {
        remove(&hierarchy.path().join(cgroup_name(scratch)));
    }
}

/// Everything that cases and engines share.
pub struct Lab {
    pub scratch: PathBuf,
    pub programs: Programs,
    /// Root file system of every bundle, used read-only.
    pub rootfs: PathBuf,
    /// The same as an image archive that podman, docker and containerd load.
    pub image: PathBuf,
    pub log: Log,
    /// Every engine is part of the run, so that time does not matter.
    pub everything: bool,
    host: HostIpc,
    counter: AtomicUsize,
}

impl Lab {
    /// Makes the private surroundings; to be called once, in the private namespaces.
    pub fn set_up(scratch: PathBuf, everything: bool) -> Result<Self, String> {
        Self::build(scratch, everything).map_err(|stop| stop.text().to_owned())
    }

    fn build(scratch: PathBuf, everything: bool) -> Outcome<Self> {
        private_etc(&scratch)?;
        mount(&["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"])?;
        fs::create_dir_all(format!("/run/user/{USER_ID}"))?;
        fs::create_dir_all("/run/lock")?;
        private_null()?;
        chown(Path::new(&format!("/run/user/{USER_ID}")))?;
        fs::create_dir(scratch.join("home"))?;
        chown(&scratch.join("home"))?;
        let unified = Path::new("/sys/fs/cgroup/unified");
        if unified.join("cgroup.procs").exists() {
            // crun refuses hybrid cgroups; without this mount they are plain version 1.
            output(command("umount", &["/sys/fs/cgroup/unified"]))?;
        }
        mount(&["-t", "mqueue", "none", QUEUES])?;
        user_cgroups(&scratch)?;
        let programs = Programs::find(&scratch);
        let rootfs = root_file_system(&scratch, &programs)?;
        let image = image::archive(&scratch, &rootfs)?;
        let host = HostIpc::read(Path::new(QUEUES))?;
        Ok(Lab {
            programs,
            rootfs,
            image,
            log: Log::listen()?,
            everything,
            host,
            counter: AtomicUsize::new(0),
            scratch,
        })
    }

    /// Name and archive of an image whose workload runs as `user`, for engines without an option for that.
    pub fn image_for(&self, user: (u32, u32)) -> Outcome<(String, PathBuf)> {
        image::with_user(&self.scratch, user)
    }

    /// A name that no other container of the run has.
    pub fn unique(&self, stem: &str) -> String {
        format!("{stem}-{:04}", self.counter.fetch_add(1, Ordering::Relaxed))
    }

    /// Parent of the cgroups of all containers, without a slash in front.
    pub fn cgroup(&self) -> String {
        cgroup_name(&self.scratch)
    }

    /// Fails if anything in the host's IPC namespace is not as it was before the first case.
    pub fn host_is_unchanged(&self) -> Outcome {
        let now = HostIpc::read(Path::new(QUEUES))?;
        self.host.difference(&now).map_or(Ok(()), |difference| fail(format!("the host's IPC changed: {difference}")))
    }

    /// `program` as the ordinary user, with that user's environment.
    pub fn as_user(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={USER_ID}")).arg(format!("--regid={USER_ID}")).args([
            "--init-groups",
            "env",
            "-i",
        ]);
        command.arg(format!("HOME={}", self.scratch.join("home").display()));
        command.arg(format!("XDG_RUNTIME_DIR=/run/user/{USER_ID}"));
        command.args(["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", &format!("USER={USER}")]);
        command.arg(program).current_dir("/");
        command
    }
}

/// A command with arguments.
pub fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir("/").env_remove("RUST_BACKTRACE");
    command
}

/// mount(8).
pub fn mount(args: &[&str]) -> Outcome {
    output(command("mount", args)).map(drop)
}

/// Gives a path to the ordinary user.
pub fn chown(path: &Path) -> Outcome {
    Ok(std::os::unix::fs::chown(path, Some(USER_ID), Some(USER_ID))?)
}

/// A copy of `/etc` in the place of `/etc`: engines read users, sub-ids and configuration there.
fn private_etc(scratch: &Path) -> Outcome {
    let etc = scratch.join("etc");
    output(command("cp", &["-a", "/etc", &etc.to_string_lossy()]))?;
    for file in ["passwd", "group", "subuid", "subgid"] {
        let path = etc.join(file);
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        let home = scratch.join("home");
        let line = match file {
            "passwd" => format!("{USER}:x:{USER_ID}:{USER_ID}::{}:/bin/sh", home.display()),
            "group" => format!("{USER}:x:{USER_ID}:"),
            _ => format!("{USER}:{SUB_IDS}:65536"),
        };
        writeln!(text, "{line}").map_err(|e| Stop::Fail(e.to_string()))?;
        fs::write(path, text)?;
    }
    for own in ["containers", "oci-ipc-hook", "docker", "containerd", "cni"] {
        // The machine's own settings must not decide what is tested.
        let _ = fs::remove_dir_all(etc.join(own));
    }
    fs::create_dir_all(etc.join("containers"))?;
    fs::write(etc.join("containers/policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)?;
    mount(&["--bind", &etc.to_string_lossy(), "/etc"])
}

/// A `/dev/null` in the place of `/dev/null`: where it is a container's stdin, crun gives it to the container's user.
fn private_null() -> Outcome {
    output(command("mknod", &["-m", "666", "/run/null", "c", "1", "3"]))?;
    mount(&["--bind", "/run/null", "/dev/null"])
}

fn root_file_system(scratch: &Path, programs: &Programs) -> Outcome<PathBuf> {
    let rootfs = scratch.join("rootfs");
    for directory in ["", "proc", "dev", "sys", "run", "etc", "tmp"] {
        fs::create_dir(rootfs.join(directory))?;
    }
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/:\n")?;
    // For a hook at startContainer, which sees the container's files.
    fs::write(rootfs.join("etc/full.toml"), crate::profiles::FULL)?;
    fs::copy(&programs.client, rootfs.join("ipc-client"))?;
    // Under the same path as outside: engines look there, the runtime inside.
    let inside = rootfs.join(scratch.strip_prefix("/").unwrap_or(scratch));
    fs::create_dir_all(&inside)?;
    fs::copy(&programs.tool, inside.join("oci-ipc-hook"))?;
    Ok(rootfs)
}
