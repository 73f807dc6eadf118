//! `print-config`: what to put where, from this very installation. stdout is the text to feed to the engine; stderr says
//! where it goes.

use super::cli::{Engine, PrintConfigArgs};
use super::output::print;
use crate::error::{Error, Exit, Result};
use crate::installed::profile_name;
use crate::request::annotation::ProfileName;
use crate::start::RUNTIME_NAME;
use serde_json::json;
use std::path::Path;

/// The hooks.d file that is shipped.
const HOOKS_D: &str = include_str!("../../hooks/oci-ipc-hook.json");
const SHIPPED_PATH: &str = "/usr/libexec/oci/hooks.d/oci-ipc-hook";

pub(super) fn run(args: &PrintConfigArgs) -> Result<Exit> {
    let program = std::env::current_exe().map_err(|e| Error::failed("own path", e.to_string()))?;
    let program = program.to_str().ok_or_else(|| Error::bad_input("own path", "not UTF-8"))?;
    let profiles = args.profile.iter().map(|p| profile_name(p)).collect::<Result<Vec<_>>>()?;
    let (place, text) = match args.engine {
        Engine::Podman => (
            "/usr/share/containers/oci/hooks.d/50-oci-ipc-hook.json (podman reads no other directory without --hooks-dir)",
            hooks_d(program, &profiles),
        ),
        Engine::Crio => (
            "/usr/share/containers/oci/hooks.d/50-oci-ipc-hook.json or another directory of crio.conf's hooks_dir",
            hooks_d(program, &profiles),
        ),
        Engine::Docker => (
            "/etc/docker/daemon.json (merge \"runtimes\"), then restart dockerd; docker run --runtime ipc --annotation io.oci-ipc-hook.profile=NAME (API 1.43 or later), or --runtime ipc-NAME",
            docker(program, &profiles)?,
        ),
        Engine::Containerd => (
            "/etc/containerd/config.toml, then restart containerd; pods choose it with a RuntimeClass whose handler is ipc",
            containerd(program, &profiles)?,
        ),
    };
    let mut note = format!("# goes to {place}\n");
    if matches!(args.engine, Engine::Podman | Engine::Crio) && !profiles.is_empty() {
        note +=
            "# \"when\" says which containers get the profiles: as printed, those with any annotation of the hook\n";
    }
    let _ = std::io::Write::write_all(&mut std::io::stderr(), note.as_bytes());
    print(&text)?;
    Ok(Exit::Done)
}

/// With profiles in the arguments: every container that it is called for gets them.
fn hooks_d(program: &str, profiles: &[ProfileName]) -> String {
    let args: String = profiles.iter().map(|name| format!(", \"--profile\", \"{name}\"")).collect();
    HOOKS_D
        .replace(&format!("\"{SHIPPED_PATH}\""), &json!(program).to_string())
        .replace("\"args\": [\"oci-ipc-hook\"", &format!("\"args\": [\"oci-ipc-hook\"{args}"))
}

/// Docker turns `runtimeArgs` into an unquoted shell script: plain words only.
fn docker(program: &str, profiles: &[ProfileName]) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !program.chars().all(plain) {
        return Err(Error::bad_input("own path", "docker needs a path of plain characters").found(program));
    }
    let mut runtimes = serde_json::Map::new();
    let entry = |args: Vec<&str>| json!({ "path": program, "runtimeArgs": args });
    runtimes.insert("ipc".into(), entry(vec!["wrap", "--"]));
    for name in profiles {
        runtimes.insert(format!("ipc-{name}"), entry(vec!["wrap", "--profile", name.as_str(), "--"]));
    }
    Ok(serde_json::to_string_pretty(&json!({ "runtimes": runtimes })).unwrap_or_default() + "\n")
}

/// BinaryName takes no arguments, so the link by which the program knows to be a runtime is needed.
fn containerd(program: &str, profiles: &[ProfileName]) -> Result<String> {
    if let Some(name) = profiles.first() {
        return Err(Error::bad_input("--profile", "containerd gives a runtime no arguments")
            .found(name)
            .remedy("leave it out, and name the profile in the pod's annotation io.oci-ipc-hook.profile"));
    }
    let program_path = Path::new(program);
    // Beside the program, or where `make install` puts it: PREFIX/bin for PREFIX/libexec/oci/hooks.d/oci-ipc-hook.
    let prefix = program_path.ancestors().nth(4).unwrap_or(Path::new("/usr"));
    let places = [program_path.with_file_name(RUNTIME_NAME), prefix.join("bin").join(RUNTIME_NAME)];
    let link = places.iter().find(|place| place.exists()).map(|place| place.display().to_string());
    let link = link.unwrap_or_else(|| format!("/usr/bin/{RUNTIME_NAME}"));
    Ok(format!(
        "version = 2\n\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.ipc]\n\
         \x20 runtime_type = \"io.containerd.runc.v2\"\n\
         \x20 pod_annotations = [\"io.oci-ipc-hook.*\"]\n\
         \x20 container_annotations = [\"io.oci-ipc-hook.*\"]\n\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.ipc.options]\n\
         \x20 # a link to {program}\n\
         \x20 BinaryName = {}\n",
        json!(link)
    ))
}
