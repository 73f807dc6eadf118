//! The demonstration in a real container: a bundle built on the spot, with the hook at createRuntime.

use super::super::output::print;
use super::{PROFILE, Scratch, failed, indent, program};
use crate::error::{Error, Exit, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const CGROUP_V2_BESIDE_V1: &str = "/sys/fs/cgroup/unified";

pub(super) fn run(runtime: &str) -> Result<Exit> {
    let dir = Scratch::new()?;
    let profile = dir.file("demo.toml", PROFILE)?;
    let rootfs = dir.0.join("rootfs");
    let (user, group) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    for sub in ["", "proc", "dev", "tmp"] {
        std::fs::create_dir_all(rootfs.join(sub)).map_err(|e| failed("rootfs", &e))?;
    }
    let program = program()?;
    std::fs::copy(&program, rootfs.join("oci-ipc-hook")).map_err(|e| failed("rootfs", &e))?;
    let config = config(&program, &profile, (user != 0).then_some((user, group)))?;
    dir.file("config.json", &serde_json::to_string_pretty(&config).unwrap_or_default())?;
    if Path::new(runtime).file_name().is_some_and(|n| n == "crun") && user == 0 {
        hide_hybrid_cgroup();
    }

    let id = format!("oci-ipc-hook-demo-{}", std::process::id());
    let mut command = Command::new(runtime);
    if user != 0 {
        command.arg("--root").arg(dir.0.join("state"));
    }
    command.args(["run", "--bundle"]).arg(&dir.0).arg(&id);
    print(&format!("The profile:\n\n{}\n$ {runtime} run --bundle … {id}\n\n", indent(PROFILE)))?;
    let output = command.output().map_err(|e| {
        Error::unsupported(runtime, format!("cannot be started ({e})")).remedy("install it, or give its whole path")
    })?;
    print(&format!("What the workload sees from inside:\n\n{}", indent(&String::from_utf8_lossy(&output.stdout))))?;
    if output.status.success() && !output.stdout.is_empty() {
        return Ok(Exit::Done);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let error = Error::failed(runtime, format!("the container did not start: {}", said.trim_ascii()));
    Err(error
        .remedy("the static binary is needed inside: 'make build'; rootless crun keeps hooks out of the namespace"))
}

/// A minimal configuration; an ordinary user gets a user namespace with only itself in it.
fn config(program: &Path, profile: &Path, user: Option<(u32, u32)>) -> Result<Value> {
    let path = |p: &Path| p.to_str().map(str::to_owned).ok_or_else(|| Error::bad_input("own path", "not UTF-8"));
    let mut namespaces =
        vec![json!({"type": "pid"}), json!({"type": "ipc"}), json!({"type": "mount"}), json!({"type": "uts"})];
    let mut linux = json!({});
    if let Some((uid, gid)) = user {
        namespaces.push(json!({"type": "user"}));
        linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
        linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
    }
    linux["namespaces"] = json!(namespaces);
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": { "user": {"uid": 0, "gid": 0}, "args": ["/oci-ipc-hook", "demo", "--workload"], "env": [], "cwd": "/" },
        "root": { "path": "rootfs" },
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "hooks": { "createRuntime": [
            {"path": path(program)?, "args": ["oci-ipc-hook", "--profile-file", path(profile)?], "env": []}
        ]},
        "linux": linux,
    }))
}

/// crun refuses to work where cgroup v2 is mounted beside v1; out of its sight, in a mount namespace of our own, it does.
fn hide_hybrid_cgroup() {
    if !Path::new(CGROUP_V2_BESIDE_V1).exists() || unshare(CloneFlags::CLONE_NEWNS).is_err() {
        return;
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    if mount(None::<&str>, "/", None::<&str>, private, None::<&str>).is_ok() {
        let _ = umount2(CGROUP_V2_BESIDE_V1, MntFlags::MNT_DETACH);
    }
}
