//! Records the OCI state that each runtime sends at each stage, for `tests/golden/states`.

use crate::container::Container;
use crate::engine::bundle::{Bundle, Mode};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

const STAGES: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Writes one file for each runtime and stage, and one for a container without annotations. Process ids of the host
/// become 4242 and the bundle `/b`; everything else is as the runtime wrote it, byte for byte.
pub fn record(lab: &Lab) -> Result<(), String> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/states");
    fs::create_dir_all(&golden).map_err(|e| e.to_string())?;
    for runtime in ["runc", "crun", "youki"] {
        record_runtime(lab, runtime, &golden).map_err(|stop| format!("{runtime}: {}", stop.text()))?;
    }
    Ok(())
}

fn record_runtime(lab: &Lab, runtime: &'static str, golden: &Path) -> Outcome {
    let bundle = Bundle::open(lab, runtime, Mode::Root)?;
    let annotated = Container::new(format!("golden-{runtime}")).user(0, 0).annotation("a.b/c", "d");
    for stage in STAGES {
        let state = record_stage(lab, &bundle, annotated.clone(), stage)?;
        fs::write(golden.join(format!("{runtime}-{stage}.json")), state)?;
    }
    let bare = Container { annotations: Vec::new(), ..annotated };
    let state = record_stage(lab, &bundle, bare, "createRuntime")?;
    Ok(fs::write(golden.join(format!("{runtime}-createRuntime-bare.json")), state)?)
}

fn record_stage(lab: &Lab, bundle: &Bundle, container: Container, stage: &str) -> Outcome<String> {
    let out = lab.scratch.join(lab.unique("states"));
    fs::create_dir(&out)?;
    let (program, file) = match stage {
        // The only stage that sees the container's files.
        "startContainer" => (PathBuf::from("/ipc-client"), PathBuf::from("/tmp/state")),
        _ => (lab.programs.client.clone(), out.join("state")),
    };
    let mut config = bundle.config(lab, &container)?;
    config["hooks"] = json!({stage: [{"path": program, "args": ["ipc-client", "--record", file]}]});
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.push(json!({"destination": "/tmp", "type": "bind", "source": out, "options": ["rbind", "rw"]}));
    }
    bundle.write(&container, &config)?;
    let finished = bundle.start(lab, &container)?.finish()?;
    ensure(finished.success, || format!("{stage}: {}", finished.text))?;
    let state = fs::read_to_string(out.join("state"))?;
    fs::remove_dir_all(bundle.bundle(&container))?;
    Ok(scrub(lab, &state, &bundle.bundle(&container)))
}

/// Takes out what differs from machine to machine and from run to run.
fn scrub(lab: &Lab, state: &str, bundle: &Path) -> String {
    let path = bundle.to_string_lossy();
    let state = replace(state, &path, "/b");
    let state = replace(&state, &lab.rootfs.to_string_lossy(), "/b/rootfs");
    let Some(at) = state.find("\"pid\"").map(|at| at + "\"pid\"".len()) else { return state };
    let Some(start) = state[at..].find(|c: char| c.is_ascii_digit()).map(|n| at + n) else { return state };
    let digits = state[start..].bytes().take_while(u8::is_ascii_digit).count();
    match &state[start..start + digits] {
        "0" | "1" => state,
        _ => format!("{}4242{}", &state[..start], &state[start + digits..]),
    }
}

/// Replaces a path, also where its slashes are escaped.
fn replace(state: &str, path: &str, by: &str) -> String {
    let escaped = |path: &str| path.replace('/', "\\/");
    state.replace(path, by).replace(&escaped(path), &escaped(by))
}
