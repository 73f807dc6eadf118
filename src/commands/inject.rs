//! `inject`: adds the hook to a config.json, in place or as a filter (podman's precreate stage).

use super::cli::InjectArgs;
use super::output::{print, replace};
use crate::error::{Error, Exit, Result};
use crate::inject::{HookEntry, inject};
use crate::installed::{self, RequestOptions};
use crate::ipc::{IdMaps, Owner, Snapshot, Sysctl};
use crate::kernel::file::read_regular;
use crate::kernel::limits::page_size;
use crate::oci::{Annotation, IpcNamespace, Spec, bundle::MAX_CONFIG, state};
use crate::plan::{self, Action, Change, Facts};
use crate::request::annotation::Annotations;
use crate::request::{Profile, merge};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

pub(super) fn run(args: &InjectArgs) -> Result<Exit> {
    let stage = match args.stage {
        super::cli::Stage::CreateRuntime => "createRuntime",
        super::cli::Stage::Prestart => "prestart",
    };
    let stages = [stage, "poststop"];
    let hook = entry(&args.request.clone().into())?;
    match &args.bundle {
        Some(dir) => in_place(dir, &stages, &hook),
        None => filter(&args.request.clone().into(), &stages, &hook),
    }
}

/// This very program with the options as they were given, paths made absolute.
pub(super) fn entry(options: &RequestOptions) -> Result<HookEntry> {
    let failed = |e: std::io::Error| Error::failed("own path", e.to_string());
    let program = std::env::current_exe().map_err(failed)?;
    let mut args = vec!["oci-ipc-hook".to_owned()];
    for name in &options.profiles {
        args.extend(["--profile".to_owned(), installed::profile_name(name)?.to_string()]);
    }
    let files = options.profile_files.iter().map(|f| ("--profile-file", f));
    let config = options.config.iter().map(|f| ("--config", f));
    let dir = options.profiles_dir.iter().map(|f| ("--profiles-dir", f));
    for (name, path) in files.chain(config).chain(dir) {
        args.extend([name.to_owned(), text(&std::path::absolute(path).map_err(failed)?)?]);
    }
    if let Some(bytes) = options.memory {
        args.extend(["--memory".to_owned(), bytes.to_string()]);
    }
    Ok(HookEntry::new(text(&program)?, args))
}

fn text(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::bad_input(path.to_string_lossy(), "not UTF-8, as JSON must be"))
}

/// Replaces config.json by rename.
fn in_place(dir: &Path, stages: &[&str], hook: &HookEntry) -> Result<Exit> {
    let path = dir.join("config.json");
    let name = path.to_string_lossy();
    let bytes = read_regular(&path, MAX_CONFIG).map_err(|e| installed::unreadable(&name, &e))?;
    let new = inject(installed::text(&name, &bytes)?, stages, hook, &[]).map_err(|e| e.within(dir.display()))?;
    replace(&path, new.as_bytes())?;
    Ok(Exit::Done)
}

/// stdin to stdout. Where the container gets an IPC namespace of its own, the sysctls go into `linux.sysctl`, so that the
/// runtime applies them and no question of order is left.
fn filter(options: &RequestOptions, stages: &[&str], hook: &HookEntry) -> Result<Exit> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_CONFIG as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::bad_input("standard input", e.to_string()))?;
    if bytes.len() > MAX_CONFIG {
        return Err(Error::bad_input("standard input", "larger than 16 MiB"));
    }
    let config = installed::text("standard input", &bytes)?;
    let annotations = annotations(config)?;
    let spec = Spec::parse(&bytes, "standard input")?;
    let asked = options.asks() || !annotations.is_empty();
    let sysctls = match spec.ipc == IpcNamespace::New && asked {
        true => sysctls(options, annotations, &spec)?,
        false => Vec::new(),
    };
    print(&inject(config, stages, hook, &sysctls)?)?;
    Ok(Exit::Done)
}

/// Our annotations of a config.json.
fn annotations(config: &str) -> Result<Annotations> {
    #[derive(Deserialize)]
    struct Raw {
        annotations: Option<BTreeMap<String, serde_json::Value>>,
    }
    let raw: Raw = serde_json::from_str(config)
        .map_err(|e| Error::bad_input("standard input", format!("not an OCI runtime configuration: {e}")))?;
    let ours = raw.annotations.unwrap_or_default().into_iter().filter(|(k, _)| k.starts_with(state::ANNOTATION_PREFIX));
    let list: Vec<_> = ours
        .map(|(key, value)| match value {
            serde_json::Value::String(value) => Ok(Annotation { key: key.into(), value: value.into() }),
            _ => Err(Error::bad_input(format!("annotation {key}"), "of the wrong kind").wanted("a string")),
        })
        .collect::<Result<_>>()?;
    Annotations::parse(&list)
}

/// What the plan sets in a fresh namespace.
fn sysctls(options: &RequestOptions, annotations: Annotations, spec: &Spec) -> Result<Vec<(Sysctl, String)>> {
    let policy = installed::read_config(options)?;
    policy.admit(&annotations)?;
    let profiles = installed::read_profiles(options, annotations)?;
    let memory = match profiles.iter().any(Profile::needs_memory) {
        true => Some(crate::enter::host_memory(Some(spec), options.memory)?),
        false => None,
    };
    let request = merge(profiles, memory.as_ref(), page_size())?;
    let snapshot = Snapshot { sysctls: Sysctl::ALL.map(|s| Some(s.kernel_default())), ..Snapshot::default() };
    let facts = Facts {
        snapshot: &snapshot,
        shared: false,
        spec: Some(&spec.sysctls),
        policy: &policy,
        default_owner: Some(spec.user.unwrap_or(Owner { uid: 0, gid: 0 })),
        maps: &IdMaps::identity(),
        page_size: page_size(),
        msgqueue_limit: None,
    };
    let plan = plan::build(&request, &facts)?;
    Ok(plan
        .steps
        .iter()
        .filter(|step| step.action == Action::Set)
        .filter_map(|step| match &step.change {
            Change::Sysctl { sysctl, wanted, .. } => Some((*sysctl, wanted.render(*sysctl))),
            Change::Object { .. } => None,
        })
        .collect())
}
