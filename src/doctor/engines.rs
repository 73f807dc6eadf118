//! Whether the engines that are here would call the hook.

use super::programs::Program;
use crate::doc::{Node, Place, Value, find, toml};
use crate::finding::Finding;
use crate::hooksd::{self, HOOKS_DIRS, HookFile, MAX_HOOK_FILE};
use crate::kernel::file::read_regular;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Largest configuration of an engine that is read.
const MAX_CONFIG: usize = 1 << 20;

pub(super) fn findings(root: &Path, programs: &[Program]) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut linted = Vec::new();
    for program in programs {
        let version = program.version.as_deref().unwrap_or("of unknown version");
        all.push(Finding::ok(program.name, format!("{} {version}", program.path.display())));
        match program.name {
            "podman" => {
                let dirs = podman_dirs(root);
                all.extend(hooks(program.name, root, &dirs, &mut linted));
                all.extend(not_read_by_podman(root, &dirs));
            }
            "crio" => all.extend(hooks(program.name, root, &crio_dirs(root), &mut linted)),
            "dockerd" => all.push(docker(root)),
            "containerd" => all.push(containerd(root)),
            _ => {}
        }
    }
    if programs.is_empty() {
        let remedy =
            "nothing to do if another machine runs the containers; 'inject' and 'apply' work without an engine";
        all.push(Finding::warning("engines", "no engine or runtime was found", remedy));
    }
    all
}

/// hooks.d files of an engine: all are looked over, for a broken one breaks every container; ours must be among them.
fn hooks(engine: &str, root: &Path, dirs: &[PathBuf], linted: &mut Vec<PathBuf>) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut ours = Vec::new();
    for file in dirs.iter().flat_map(|dir| json_files(&inside(root, dir))) {
        let text = match read(&file) {
            Ok(text) => text,
            Err(why) => {
                all.push(Finding::problem(
                    file.to_string_lossy(),
                    why,
                    "engines refuse it: correct it or take it away",
                ));
                continue;
            }
        };
        if HookFile::parse("", &text).is_ok_and(|hook| hooksd::calls_us(&hook)) {
            ours.push(file.display().to_string());
        }
        if !linted.contains(&file) {
            all.extend(hooksd::lint(&file, &text));
            linted.push(file);
        }
    }
    let looked = dirs.iter().map(|d| d.display().to_string()).collect::<Vec<_>>().join(", ");
    all.insert(
        0,
        match ours.is_empty() {
            false => Finding::ok(format!("{engine} hooks.d"), format!("would call the hook: {}", ours.join(", "))),
            true => Finding::warning(
                format!("{engine} hooks.d"),
                format!("no file in {looked} calls the hook"),
                "install hooks/oci-ipc-hook.json there ('make install')",
            ),
        },
    );
    all
}

fn read(file: &Path) -> Result<String, String> {
    let bytes = read_regular(file, MAX_HOOK_FILE).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}

fn json_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut files: Vec<_> = entries.filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    files
}

/// An absolute path within the file tree that is looked at.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// `hooks_dir` of containers.conf(5); without it podman reads one directory only.
pub(super) fn podman_dirs(root: &Path) -> Vec<PathBuf> {
    let mut files =
        vec![root.join("usr/share/containers/containers.conf"), root.join("etc/containers/containers.conf")];
    files.extend(conf_files(&root.join("etc/containers/containers.conf.d")));
    let last = files.iter().filter_map(|file| strings(file, &["engine", "hooks_dir"])).next_back();
    last.unwrap_or_else(|| vec![HOOKS_DIRS[0].to_owned()]).into_iter().map(PathBuf::from).collect()
}

/// `hooks_dir` of crio.conf(5).
pub(super) fn crio_dirs(root: &Path) -> Vec<PathBuf> {
    let mut files = vec![root.join("etc/crio/crio.conf")];
    files.extend(conf_files(&root.join("etc/crio/crio.conf.d")));
    let last = files.iter().filter_map(|file| strings(file, &["crio", "runtime", "hooks_dir"])).next_back();
    last.unwrap_or_else(|| vec![HOOKS_DIRS[0].to_owned()]).into_iter().map(PathBuf::from).collect()
}

fn conf_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut files: Vec<_> = entries.filter(|p| p.extension().is_some_and(|e| e == "conf")).collect();
    files.sort();
    files
}

/// An array of strings in a TOML file; `None` when it is not written there.
fn strings(file: &Path, path: &[&str]) -> Option<Vec<String>> {
    let text = String::from_utf8(read_regular(file, MAX_CONFIG).ok()?).ok()?;
    let table = toml::parse(Place { document: "" }, &text).ok()?;
    let node = find(&table, path)?;
    let Value::Array(nodes) = &node.value else { return None };
    Some(nodes.iter().filter_map(|n| if let Value::Text(t) = &n.value { Some(t.to_string()) } else { None }).collect())
}

/// A file of ours in the directory that podman's manual names but podman does not read.
fn not_read_by_podman(root: &Path, dirs: &[PathBuf]) -> Option<Finding> {
    let unread = HOOKS_DIRS.map(PathBuf::from).into_iter().filter(|d| !dirs.contains(d));
    let file = unread.flat_map(|d| json_files(&inside(root, &d))).find(|file| {
        read(file).is_ok_and(|text| HookFile::parse("", &text).is_ok_and(|hook| hooksd::calls_us(&hook)))
    })?;
    Some(Finding::warning(
        file.to_string_lossy(),
        "podman does not read this directory unless it is told to",
        format!(
            "put the file into {}, or set hooks_dir below [engine] in /etc/containers/containers.conf",
            HOOKS_DIRS[0]
        ),
    ))
}

/// `runtimes` of daemon.json.
fn docker(root: &Path) -> Finding {
    #[derive(Deserialize, Default)]
    struct Daemon {
        #[serde(default)]
        runtimes: BTreeMap<String, Runtime>,
        #[serde(rename = "default-runtime")]
        default: Option<String>,
    }
    #[derive(Deserialize)]
    struct Runtime {
        path: Option<String>,
    }
    let what = "docker runtime";
    let file = root.join("etc/docker/daemon.json");
    let daemon: Daemon = match read_regular(&file, MAX_CONFIG) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(daemon) => daemon,
            Err(e) => {
                return Finding::problem(
                    file.to_string_lossy(),
                    e.to_string(),
                    "dockerd does not start with it: correct it",
                );
            }
        },
        Err(_) => Daemon::default(),
    };
    let is_ours = |r: &Runtime| {
        r.path.as_deref().is_some_and(|p| p.ends_with("/oci-ipc-runtime") || p.ends_with("/oci-ipc-hook"))
    };
    let Some((name, runtime)) = daemon.runtimes.iter().find(|(_, r)| is_ours(r)) else {
        return Finding::warning(
            what,
            "no runtime in /etc/docker/daemon.json prepares containers; docker has no hooks of its own",
            "add a runtime whose path is oci-ipc-runtime, and use it with --runtime or as default-runtime",
        );
    };
    let path = runtime.path.as_deref().unwrap_or_default();
    if root == Path::new("/") && !Path::new(path).is_file() {
        return Finding::problem(
            what,
            format!("{path} is not there: no container of runtime {name} starts"),
            "correct the path in /etc/docker/daemon.json",
        );
    }
    match daemon.default.as_deref() == Some(name) {
        true => Finding::ok(what, format!("{name} ({path}) is the default: every container is prepared")),
        false => Finding::ok(what, format!("containers with --runtime {name} are prepared ({path})")),
    }
}

/// A handler with our wrapper or with a base spec that has the hook, or our NRI plugin.
fn containerd(root: &Path) -> Finding {
    let what = "containerd";
    let mut ways = Vec::new();
    let plugins = std::fs::read_dir(root.join("opt/nri/plugins")).into_iter().flatten().flatten();
    let plugin = plugins.map(|e| e.file_name().to_string_lossy().into_owned()).find(|n| n.contains("oci-ipc"));
    ways.extend(plugin.map(|name| format!("NRI plugin {name}")));
    match registered(root) {
        Some(true) => ways.push("an NRI plugin is registered".to_owned()),
        Some(false) if ways.is_empty() => {
            return Finding::problem(
                what,
                "the NRI plugin that was registered here is gone: annotated pods start unprepared",
                "see the log of the DaemonSet's pod on this node, or of the service that runs oci-ipc-nri",
            );
        }
        _ => {}
    }
    let file = root.join("etc/containerd/config.toml");
    let text = read_regular(&file, MAX_CONFIG).ok().and_then(|b| String::from_utf8(b).ok()).unwrap_or_default();
    let mut annotations = false;
    match toml::parse(Place { document: "/etc/containerd/config.toml" }, &text) {
        Ok(table) => {
            let mut found = Vec::new();
            texts(&Node { at: Default::default(), value: Value::Table(table) }, "", &mut found);
            for (key, text) in found {
                match key.as_str() {
                    "BinaryName" if text.ends_with("/oci-ipc-runtime") => ways.push(format!("a handler runs {text}")),
                    "base_runtime_spec"
                        if read(&inside(root, Path::new(&text))).is_ok_and(|t| t.contains("oci-ipc-hook")) =>
                    {
                        ways.push(format!("a handler's base_runtime_spec {text} has the hook"));
                    }
                    "pod_annotations" | "container_annotations" => {
                        annotations |= text.contains("oci-ipc-hook") || text == "*"
                    }
                    _ => {}
                }
            }
        }
        Err(e) => return Finding::unknown(what, e.to_string(), "correct the file, or look there yourself"),
    }
    let by_handler = ways.iter().any(|w| w.contains("handler"));
    match (ways.is_empty(), by_handler && !annotations) {
        (true, _) => Finding::warning(
            what,
            "neither a handler nor an NRI plugin calls the hook",
            "use the NRI plugin, or a handler with BinaryName = oci-ipc-runtime or a base_runtime_spec with the hook; docker's containers need docker's runtime",
        ),
        (_, true) => Finding::warning(
            what,
            format!("{}, but no annotation of ours reaches it", ways.join(", ")),
            "add container_annotations = [\"io.oci-ipc-hook.*\"] and pod_annotations to the handler, or name profiles in the hook's arguments",
        ),
        _ => Finding::ok(what, ways.join(", ")),
    }
}

/// Whether an NRI plugin that registered itself lives: it holds the lock of its readiness file. `None`: there was none.
fn registered(root: &Path) -> Option<bool> {
    let files = std::fs::read_dir(root.join("run/oci-ipc-hook/nri")).into_iter().flatten().flatten();
    let files = files.filter(|file| file.file_type().is_ok_and(|kind| kind.is_file()));
    let held = files.filter_map(|file| File::open(file.path()).ok());
    held.map(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))).reduce(|a, b| a || b)
}

/// Every string with the nearest key above it.
fn texts(node: &Node<'_>, key: &str, found: &mut Vec<(String, String)>) {
    match &node.value {
        Value::Text(text) => found.push((key.to_owned(), text.to_string())),
        Value::Array(nodes) => nodes.iter().for_each(|n| texts(n, key, found)),
        Value::Table(table) => table.iter().for_each(|(k, n)| texts(n, &k.name, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let dir = std::env::temp_dir().join(format!("oci-ipc-doctor-{name}-{}", std::process::id()));
            std::fs::create_dir(&dir).unwrap();
            Tree(dir)
        }

        fn file(&self, path: &str, text: &str) -> &Tree {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            self
        }

        fn of(&self, name: &'static str) -> Vec<Finding> {
            let program = Program { name, path: "/usr/bin/x".into(), version: Some("1".into()) };
            findings(&self.0, &[program])[1..].to_vec()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// A hooks.d file that names us at a path where nothing is.
    const OURS: &str = r#"{"version":"1.0.0","hook":{"path":"/none/oci-ipc-hook","args":["oci-ipc-hook","--profile","a"]},
        "when":{"always":true},"stages":["createRuntime"]}"#;

    #[test]
    fn podman_reads_what_its_configuration_says() {
        let tree = Tree::new("podman");
        let none = tree.of("podman");
        assert_eq!((none.len(), none[0].level), (1, Level::Warning), "{none:?}");
        tree.file("etc/containers/oci/hooks.d/50-a.json", OURS);
        let unread = tree.of("podman");
        assert!(unread[1].found.contains("podman does not read this directory"), "{unread:?}");
        tree.file("etc/containers/containers.conf", "[engine]\nhooks_dir = [\"/etc/containers/oci/hooks.d\"]\n");
        let read = tree.of("podman");
        assert!(read[0].level == Level::Ok && read[0].found.contains("would call the hook"), "{read:?}");
        assert!(read[1].found.contains("engines skip the hook in silence"), "{read:?}");
        tree.file("etc/containers/containers.conf.d/10.conf", "[engine]\nhooks_dir = [\"/elsewhere\"]\n");
        assert_eq!(tree.of("podman")[0].level, Level::Warning, "the last word counts");
        tree.file(
            "etc/containers/containers.conf.d/20.conf",
            "[engine]\nhooks_dir = [\"/elsewhere\", \"/etc/containers/oci/hooks.d\"]\n",
        );
        assert_eq!(tree.of("podman")[0].level, Level::Ok);
        tree.file("etc/containers/oci/hooks.d/60-b.json", "{");
        assert!(tree.of("podman").iter().any(|f| f.level == Level::Problem && f.what.ends_with("60-b.json")));
    }

    #[test]
    fn cri_o_has_its_own_directories() {
        let tree = Tree::new("crio");
        tree.file("x/50-a.json", OURS).file("etc/crio/crio.conf.d/10.conf", "[crio.runtime]\nhooks_dir = [\"/x\"]\n");
        assert_eq!(tree.of("crio")[0].level, Level::Ok);
    }

    #[test]
    fn docker_needs_a_runtime() {
        let tree = Tree::new("docker");
        assert_eq!(tree.of("dockerd")[0].level, Level::Warning);
        tree.file("etc/docker/daemon.json", r#"{"runtimes":{"ipc":{"path":"/usr/bin/oci-ipc-runtime"}}}"#);
        assert!(tree.of("dockerd")[0].found.contains("--runtime ipc"));
        tree.file(
            "etc/docker/daemon.json",
            r#"{"default-runtime":"ipc","runtimes":{"ipc":{"path":"/usr/bin/oci-ipc-runtime"}}}"#,
        );
        assert!(tree.of("dockerd")[0].found.contains("is the default"));
        tree.file("etc/docker/daemon.json", "{");
        assert_eq!(tree.of("dockerd")[0].level, Level::Problem);
    }

    #[test]
    fn containerd_has_three_ways() {
        let tree = Tree::new("containerd");
        assert_eq!(tree.of("containerd")[0].level, Level::Warning);
        let handler = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.ipc]\nruntime_type = \"io.containerd.runc.v2\"\n";
        let options = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.ipc.options]\nBinaryName = \"/usr/bin/oci-ipc-runtime\"\n";
        tree.file("etc/containerd/config.toml", &format!("version = 2\n{handler}{options}"));
        let filtered = &tree.of("containerd")[0];
        assert!(filtered.found.contains("no annotation of ours reaches it"), "{filtered:?}");
        let globs = "container_annotations = [\"io.oci-ipc-hook.*\"]\n";
        tree.file("etc/containerd/config.toml", &format!("version = 2\n{handler}{globs}{options}"));
        assert_eq!(tree.of("containerd")[0].level, Level::Ok);
        tree.file("base.json", r#"{"hooks":{"createRuntime":[{"path":"/usr/libexec/oci/hooks.d/oci-ipc-hook"}]}}"#)
            .file(
                "etc/containerd/config.toml",
                &format!("version = 2\n{handler}{globs}base_runtime_spec = \"/base.json\"\n"),
            );
        assert!(tree.of("containerd")[0].found.contains("base_runtime_spec /base.json has the hook"));
        tree.file("etc/containerd/config.toml", "").file("opt/nri/plugins/10-oci-ipc-nri", "");
        assert!(tree.of("containerd")[0].found.contains("NRI plugin 10-oci-ipc-nri"));
    }

    #[test]
    fn a_registered_nri_plugin_is_one_that_holds_its_file() {
        let tree = Tree::new("nri");
        tree.file("etc/containerd/config.toml", "").file("run/oci-ipc-hook/nri/plugin", "oci-ipc-nri 1\n");
        let gone = &tree.of("containerd")[0];
        assert_eq!(gone.level, Level::Problem);
        assert!(gone.found.contains("is gone"), "{gone:?}");
        let held = File::open(tree.0.join("run/oci-ipc-hook/nri/plugin")).unwrap();
        held.lock().unwrap();
        let found = &tree.of("containerd")[0];
        assert_eq!(found.level, Level::Ok);
        assert!(found.found.contains("is registered"), "{found:?}");
    }
}
