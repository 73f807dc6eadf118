//! Would this container be prepared? From its state, its bundle or its annotations.

use super::engines::{crio_dirs, podman_dirs};
use crate::commands::hook_arguments;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::hooksd::{Container, HookFile, MAX_HOOK_FILE, calls_us};
use crate::installed::{self, RequestOptions};
use crate::kernel::file::read_regular;
use crate::oci::bundle::MAX_CONFIG;
use crate::oci::state::{ANNOTATION_PREFIX, Annotation, MAX_STATE};
use crate::oci::{IpcNamespace, Spec};
use crate::request::annotation::Annotations;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A container, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Question {
    facts: Container,
    spec: Option<Spec>,
    /// Hooks that config.json itself has, by stage: path and arguments.
    hooks: Vec<(String, String, Vec<String>)>,
}

#[derive(Deserialize)]
struct RawState {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    bundle: Option<String>,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    process: Option<RawProcess>,
    #[serde(default)]
    mounts: Option<Vec<RawMount>>,
    #[serde(default)]
    hooks: Option<BTreeMap<String, Option<Vec<RawHook>>>>,
}

#[derive(Deserialize)]
struct RawProcess {
    #[serde(default)]
    args: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RawMount {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    options: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RawHook {
    path: String,
    #[serde(default)]
    args: Option<Vec<String>>,
}

impl Question {
    /// From the options of `doctor`.
    ///
    /// # Errors
    /// A file that cannot be read or understood, an annotation without `=`.
    pub fn new(state: Option<&Path>, bundle: Option<&Path>, annotations: &[String]) -> Result<Question> {
        let mut question = Question::default();
        let mut known = BTreeMap::new();
        let mut bundle = bundle.map(Path::to_owned);
        if let Some(path) = state {
            let raw: RawState = read(path, MAX_STATE)?;
            known.extend(raw.annotations.unwrap_or_default());
            bundle = bundle.or(raw.bundle.map(PathBuf::from));
        }
        if let Some(dir) = bundle {
            known.extend(question.read_bundle(&dir)?);
        }
        for text in annotations {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| Error::bad_input("--annotation", "is not KEY=VALUE").found(format!("\"{text}\"")))?;
            known.insert(key.to_owned(), value.to_owned());
        }
        question.facts.annotations = known.into_iter().collect();
        Ok(question)
    }

    fn read_bundle(&mut self, dir: &Path) -> Result<BTreeMap<String, String>> {
        let path = dir.join("config.json");
        let name = path.to_string_lossy();
        let bytes = read_regular(&path, MAX_CONFIG).map_err(|e| installed::unreadable(&name, &e))?;
        self.spec = Some(Spec::parse(&bytes, &name)?);
        let raw: RawConfig = serde_json::from_slice(&bytes).map_err(|e| Error::bad_input(&*name, e.to_string()))?;
        self.facts.command = raw.process.and_then(|p| p.args?.into_iter().next());
        let is_bind = |m: &RawMount| {
            m.kind.as_deref() == Some("bind") || m.options.iter().flatten().any(|o| o == "bind" || o == "rbind")
        };
        self.facts.bind_mounts = Some(raw.mounts.iter().flatten().any(is_bind));
        for (stage, hooks) in raw.hooks.unwrap_or_default() {
            for hook in hooks.unwrap_or_default() {
                self.hooks.push((stage.clone(), hook.path, hook.args.unwrap_or_default()));
            }
        }
        Ok(raw.annotations.unwrap_or_default())
    }

    /// Who would call the hook, and what it would do.
    pub(super) fn findings(&self, root: &Path) -> Vec<Finding> {
        let mut all = Vec::new();
        let mut callers: Vec<Vec<String>> = Vec::new();
        for (stage, path, args) in self.hooks.iter().filter(|(_, path, _)| is_our_path(path)) {
            all.push(Finding::ok("config.json", format!("calls {path} at {stage}")));
            callers.push(args.clone());
        }
        for (file, hook) in our_files(root) {
            match hook.when.refuses(&self.facts) {
                Ok(None) => {
                    all.push(Finding::ok(file.to_string_lossy(), "would call the hook for this container"));
                    callers.push(hook.args);
                }
                Ok(Some(why)) => all.push(Finding::warning(
                    file.to_string_lossy(),
                    format!("would not call the hook for this container: {why}"),
                    "add the annotation to the container, or change 'when'",
                )),
                Err(why) => {
                    all.push(Finding::unknown(file.to_string_lossy(), why.to_string(), "look at the pattern yourself"))
                }
            }
        }
        if callers.is_empty() {
            all.push(Finding::problem(
                "container",
                "nothing would call the hook for it",
                "see the lines above, and 'oci-ipc-hook inject -h'",
            ));
        }
        all.extend(self.ipc());
        for args in if callers.is_empty() { vec![Vec::new()] } else { callers } {
            all.push(self.request(&args));
        }
        all
    }

    fn ipc(&self) -> Option<Finding> {
        match self.spec.as_ref().map(|s| &s.ipc)? {
            IpcNamespace::Host => Some(Finding::problem(
                "ipc namespace",
                "it shares the host's, which the hook refuses to touch",
                "start it without --ipc=host (hostIPC: true)",
            )),
            IpcNamespace::New => Some(Finding::ok("ipc namespace", "its own")),
            IpcNamespace::Path(path) => Some(Finding::ok("ipc namespace", format!("shared with others ({path})"))),
        }
    }

    /// What the hook would read, with these arguments.
    fn request(&self, args: &[String]) -> Finding {
        let what = "request";
        let words: Vec<_> =
            if args.is_empty() { vec!["oci-ipc-hook".into()] } else { args.iter().map(Into::into).collect() };
        let options = match hook_arguments(&words) {
            Ok(options) => options.unwrap_or_default(),
            Err(why) => return Finding::problem(what, why, "correct hook.args"),
        };
        match self.asked(&options) {
            Ok(None) => Finding::warning(
                what,
                "nothing is asked for: the hook does nothing",
                format!("add the annotation {ANNOTATION_PREFIX}profile=NAME, or --profile NAME to hook.args"),
            ),
            Ok(Some(text)) => Finding::ok(what, text),
            Err(error) => Finding::error(what, &error),
        }
    }

    fn asked(&self, options: &RequestOptions) -> Result<Option<String>> {
        let ours = self.facts.annotations.iter().filter(|(key, _)| key.starts_with(ANNOTATION_PREFIX));
        let ours: Vec<_> = ours.map(|(key, value)| Annotation { key: key.into(), value: value.into() }).collect();
        let annotations = Annotations::parse(&ours)?;
        if annotations.is_empty() && !options.asks() {
            return Ok(None);
        }
        installed::read_config(options)?.admit(&annotations)?;
        let mut names: BTreeSet<String> = options.profiles.iter().cloned().collect();
        names.extend(annotations.profiles.iter().map(ToString::to_string));
        let profiles = installed::read_profiles(options, annotations)?;
        let (sysctls, objects) =
            profiles.iter().fold((0, 0), |(s, o), p| (s + p.sysctls.len(), o + p.objects.len() + p.by_file.len()));
        let named = if names.is_empty() {
            "no profile".to_owned()
        } else {
            format!("profile {}", Vec::from_iter(names).join(", "))
        };
        Ok(Some(format!("{named}; {sysctls} sysctls, {objects} objects")))
    }
}

fn is_our_path(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|name| name.to_string_lossy().starts_with("oci-ipc-"))
}

/// hooks.d files that call us, in every directory that some engine reads.
fn our_files(root: &Path) -> Vec<(PathBuf, HookFile)> {
    let dirs: BTreeSet<PathBuf> = podman_dirs(root).into_iter().chain(crio_dirs(root)).collect();
    let mut all = Vec::new();
    for dir in dirs {
        let dir = root.join(dir.strip_prefix("/").unwrap_or(&dir));
        let mut files: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
        files.sort();
        for file in files.into_iter().filter(|f| f.extension().is_some_and(|e| e == "json")) {
            let text = read_regular(&file, MAX_HOOK_FILE).ok().and_then(|b| String::from_utf8(b).ok());
            let hook = text.and_then(|text| HookFile::parse("", &text).ok()).filter(calls_us);
            all.extend(hook.map(|hook| (file, hook)));
        }
    }
    all
}

fn read<T: serde::de::DeserializeOwned>(path: &Path, limit: usize) -> Result<T> {
    let name = path.to_string_lossy();
    let bytes = read_regular(path, limit).map_err(|e| installed::unreadable(&name, &e))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::bad_input(&*name, e.to_string()))
}
