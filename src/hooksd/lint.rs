//! What makes a hook do nothing in silence, or break every container.

use super::file::HookFile;
use super::when::{Container, pattern};
use crate::finding::Finding;
use crate::ipc::Sysctl;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const STAGES: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Looks over a file's text. Nothing found: it does what it says. Files that call another program than this one are held to
/// what engines ask of every file.
pub fn lint(path: &Path, text: &str) -> Vec<Finding> {
    match HookFile::parse(&path.to_string_lossy(), text) {
        Ok(file) => lint_file(path, &file),
        Err(error) => vec![Finding::problem(
            path.to_string_lossy(),
            strip(&error.to_string(), path),
            "engines refuse it: correct it or take it away (oci-hooks(5))",
        )],
    }
}

/// The error's place is the file, which the finding names itself.
fn strip(error: &str, path: &Path) -> String {
    let name = path.to_string_lossy();
    error.strip_prefix(&*name).map_or(error, |rest| rest.trim_start_matches([':', ' '])).to_owned()
}

/// True when the file calls this program.
pub fn calls_us(file: &HookFile) -> bool {
    Path::new(&file.path).file_name().is_some_and(|name| name.to_string_lossy().starts_with("oci-ipc-"))
}

/// The same for a file that was read.
pub fn lint_file(path: &Path, file: &HookFile) -> Vec<Finding> {
    let mut out = Findings { what: path.to_string_lossy().into_owned(), list: Vec::new() };
    if path.extension().is_none_or(|e| e != "json") {
        out.warning("engines read only names that end in .json".into(), "rename it");
    }
    for (key, near) in &file.unknown {
        let remedy = near.map_or("remove it".to_owned(), |near| format!("did you mean '{near}'?"));
        out.warning(format!("engines pass over the unknown key '{key}' in silence"), &remedy);
    }
    program(file, &mut out);
    when(file, &mut out);
    stages(file, &mut out);
    // Clean-up has stages of its own.
    if calls_us(file) && file.args.get(1).is_none_or(|verb| verb != "cleanup") {
        ours(file, &mut out);
    }
    out.list
}

struct Findings {
    what: String,
    list: Vec<Finding>,
}

impl Findings {
    fn warning(&mut self, found: String, remedy: &str) {
        self.list.push(Finding::warning(&self.what, found, remedy));
    }

    fn problem(&mut self, found: String, remedy: &str) {
        self.list.push(Finding::problem(&self.what, found, remedy));
    }
}

fn program(file: &HookFile, out: &mut Findings) {
    let path = Path::new(&file.path);
    if !path.is_absolute() {
        return out.problem(
            format!("hook.path '{}' is relative: engines skip the hook in silence", file.path),
            "write the whole path",
        );
    }
    match std::fs::metadata(path) {
        Err(e) => out.problem(
            format!("hook.path {} cannot be reached ({}): engines skip the hook in silence", file.path, e.kind()),
            "install the program there, or correct the path",
        ),
        Ok(found) if !found.is_file() || found.mode() & 0o111 == 0 => out.problem(
            format!(
                "hook.path {} is no program that can be executed: every container that matches fails to start",
                file.path
            ),
            "chmod +x it, or correct the path",
        ),
        Ok(found) if found.mode() & 0o022 != 0 => out.problem(
            format!(
                "hook.path {} can be changed by others (mode {:04o}), and it runs as root",
                file.path,
                found.mode() & 0o7777
            ),
            "chmod go-w it",
        ),
        Ok(_) => {}
    }
}

fn when(file: &HookFile, out: &mut Findings) {
    let when = &file.when;
    if when.is_empty() {
        out.problem(
            "'when' is empty, which matches no container: the hook is never called".into(),
            "write \"when\": {\"always\": true}, or patterns for annotations",
        );
    }
    if when.always == Some(false) || when.has_bind_mounts == Some(false) {
        out.problem(
            "a condition of 'when' is false, and all must hold: the hook is never called".into(),
            "remove the condition that is false",
        );
    }
    for (place, text) in when.patterns() {
        if let Err(why) = pattern(text) {
            out.warning(
                format!("when.{place}: {why}; if the engine does not understand it either, no container starts"),
                "write a regular expression of RE2's syntax",
            );
        }
    }
}

fn stages(file: &HookFile, out: &mut Findings) {
    if file.stages.is_empty() {
        out.problem("'stages' is empty: the hook is never called".into(), "write \"stages\": [\"createRuntime\"]");
    }
    for stage in file.stages.iter().filter(|s| !STAGES.contains(&s.as_str())) {
        let remedy = match crate::text::nearest(stage, STAGES) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("stages are {}", STAGES.join(", ")),
        };
        out.problem(format!("'{stage}' is no stage: engines refuse the file"), &remedy);
    }
}

fn ours(file: &HookFile, out: &mut Findings) {
    let has = |stage: &str| file.stages.iter().any(|s| s == stage);
    if has("createContainer") || has("startContainer") {
        out.problem(
            "at createContainer and startContainer the state does not tell the container's process: the hook refuses"
                .into(),
            "use the stage createRuntime",
        );
    } else if has("prestart") && has("createRuntime") {
        out.warning(
            "prestart and createRuntime are the same moment: some engines call the hook twice".into(),
            "leave createRuntime alone",
        );
    } else if !has("prestart") && !has("createRuntime") {
        out.problem(
            "no stage at which a namespace can be prepared before the workload starts".into(),
            "use the stage createRuntime",
        );
    }
    arguments(file, out);
    if file.timeout.is_some_and(|t| t < 2) {
        out.warning(
            "a timeout below 2 seconds can end the hook while it waits for another run in a shared namespace".into(),
            "use 5 seconds or more",
        );
    }
    if !asks(file) && !file.when.is_empty() && !annotations_fit(file) {
        out.warning(
            "it names no profile, and no annotation that asks for something fits 'when': the hook does nothing".into(),
            "add --profile to hook.args, or the annotation pattern \"^io\\\\.oci-ipc-hook\\\\.\": \".*\"",
        );
    }
    for (key, _) in file.when.annotations.iter().filter(|(k, _)| k.contains("oci-ipc-hook") && !k.starts_with('^')) {
        out.warning(
            format!("the pattern '{key}' has no anchor and fits other annotations too"),
            "start it with ^ and write dots as \\\\.",
        );
    }
}

fn arguments(file: &HookFile, out: &mut Findings) {
    if file.args.first().is_some_and(|first| first.starts_with("--") || first == "hook") {
        out.problem(
            format!("the first of hook.args is the program's own name, but is '{}'", file.args[0]),
            "put \"oci-ipc-hook\" in front",
        );
        return;
    }
    let args: Vec<_> = file.args.iter().map(Into::into).collect();
    match crate::commands::hook_arguments(&args) {
        Ok(None) => out.problem("hook.args name another verb than hook".into(), "leave only options of hook"),
        // As the hook would find them here.
        Ok(Some(options)) => {
            out.list.extend(options.problems().into_iter().map(|e| Finding::error(&out.what, &e.within("hook.args"))));
        }
        Err(why) => out.problem(format!("hook.args are not understood: {why}"), "see oci-ipc-hook hook -h"),
    }
}

/// The arguments themselves ask for something.
fn asks(file: &HookFile) -> bool {
    file.args.iter().any(|a| a.starts_with("--profile=") || a.starts_with("--profile-file") || a == "--profile")
}

/// Some annotation that asks for something satisfies `when` as far as annotations go.
fn annotations_fit(file: &HookFile) -> bool {
    let mut keys = vec!["io.oci-ipc-hook.profile".to_owned(), "io.oci-ipc-hook.objects".to_owned()];
    keys.extend(Sysctl::ALL.map(|s| format!("io.oci-ipc-hook.sysctl.{s}")));
    let wanted = &file.when.annotations;
    // What a value may be cannot be guessed, nor which other annotations there are: one pair that fits is enough.
    wanted.is_empty()
        || wanted.iter().any(|(key, _)| pattern(key).is_ok_and(|p| keys.iter().any(|k| p.is_match(k))))
        || file.when.refuses(&Container::default()).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    /// A file that calls this test's own executable under our name is too much to ask: /bin/true stands in.
    fn found(path: &str, rest: &str) -> Vec<(Level, String)> {
        let text = format!(r#"{{"version":"1.0.0","hook":{{"path":"{path}"}}{rest}}}"#);
        lint(Path::new("/x/50-a.json"), &text).into_iter().map(|f| (f.level, f.found)).collect()
    }

    fn only(path: &str, rest: &str) -> String {
        let all = found(path, rest);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].1.clone()
    }

    const ALWAYS: &str = r#","when":{"always":true},"stages":["createRuntime"]"#;

    #[test]
    fn a_good_file_has_no_findings() {
        assert_eq!(found("/bin/true", ALWAYS), []);
        assert_eq!(found("/bin/true", r#","when":{"annotations":{"^a$":"b"}},"stages":["poststop"]"#), []);
    }

    #[test]
    fn what_does_nothing_in_silence_is_named() {
        assert!(only("/no/such", ALWAYS).contains("cannot be reached (entity not found): engines skip"));
        assert!(only("bin/true", ALWAYS).contains("is relative"));
        assert!(only("/etc/passwd", ALWAYS).contains("no program that can be executed"));
        let never = "never called";
        assert!(only("/bin/true", r#","when":{},"stages":["createRuntime"]"#).contains(never));
        assert!(only("/bin/true", r#","stages":["createRuntime"]"#).contains(never));
        assert!(only("/bin/true", r#","when":{"always":false},"stages":["createRuntime"]"#).contains(never));
        assert!(only("/bin/true", r#","when":{"hasBindMounts":false},"stages":["createRuntime"]"#).contains(never));
        assert!(only("/bin/true", r#","when":{"always":true},"stages":[]"#).contains(never));
        let misspelt = found("/bin/true", r#","whne":{"always":true},"stages":["createRuntime"]"#);
        assert!(misspelt[0].1.contains("unknown key 'whne'"), "{misspelt:?}");
        assert!(misspelt[1].1.contains(never), "{misspelt:?}");
    }

    #[test]
    fn what_breaks_every_container_is_named() {
        for (text, says) in [
            ("{", "EOF while parsing"),
            (r#"{"version":"1.1.0","hook":{"path":"/bin/true"},"stages":[]}"#, "wanted \"1.0.0\""),
            (r#"{"version":"1.0.0","stages":[]}"#, "hook: is missing"),
            (r#"{"version":"1.0.0","hook":{},"stages":[]}"#, "hook.path: is missing"),
            (r#"{"version":"1.0.0","hook":{"path":"/bin/true"}}"#, "stages: is missing"),
            (r#"{"version":"1.0.0","hook":{"path":"/bin/true","args":"x"},"stages":[]}"#, "wanted an array"),
        ] {
            let all = lint(Path::new("/x/a.json"), text);
            assert_eq!((all.len(), all[0].level), (1, Level::Problem), "{all:?}");
            assert!(all[0].found.contains(says), "{all:?}");
            assert!(!all[0].found.contains("/x/a.json"), "the file is named once: {all:?}");
            assert!(!all[0].found.contains("engines"), "what they do stands in the remedy: {all:?}");
        }
        assert!(only("/bin/true", r#","when":{"always":true},"stages":["createruntime"]"#).contains("no stage"));
        let odd = only("/bin/true", r#","when":{"commands":["("]},"stages":["createRuntime"]"#);
        assert!(odd.contains("when.commands: '(' is not a pattern"), "{odd}");
    }

    #[test]
    fn our_own_file_is_held_to_more() {
        let dir = std::env::temp_dir().join(format!("oci-ipc-hooksd-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let program = dir.join("oci-ipc-hook");
        std::fs::copy("/bin/true", &program).unwrap();
        let ours = |args: &str, rest: &str| -> Vec<String> {
            let text =
                format!(r#"{{"version":"1.0.0","hook":{{"path":"{}","args":[{args}]}}{rest}}}"#, program.display());
            lint(Path::new("/x/50-a.json"), &text).into_iter().map(|f| f.found).collect()
        };
        let stage = |stages: &str| format!(r#","when":{{"always":true}},"stages":[{stages}]"#);
        let by_annotation =
            |key: &str| format!(r#","when":{{"annotations":{{"{key}":"."}}}},"stages":["createRuntime","poststop"]"#);
        let name = r#""oci-ipc-hook""#;
        assert_eq!(ours(name, ALWAYS), [""; 0]);
        assert_eq!(ours(name, &by_annotation(r"^io\\.oci-ipc-hook\\.")), [""; 0]);
        assert_eq!(ours(r#""oci-ipc-hook","cleanup""#, &stage(r#""poststop""#)), [""; 0]);
        for (args, rest, says) in [
            (name, stage(r#""createContainer""#), "the hook refuses"),
            (name, stage(r#""poststop""#), "no stage at which"),
            (name, stage(r#""prestart","createRuntime""#), "call the hook twice"),
            (name, by_annotation("^io.podman"), "the hook does nothing"),
            (name, by_annotation("io.oci-ipc-hook.profile"), "has no anchor"),
            (r#""--profile","a""#, ALWAYS.to_owned(), "program's own name"),
            (r#""oci-ipc-hook","plan","--self""#, ALWAYS.to_owned(), "another verb"),
            (r#""oci-ipc-hook","--profil","a""#, ALWAYS.to_owned(), "'--profil'"),
        ] {
            let all = ours(args, &rest);
            assert!(all.len() == 1 && all[0].contains(says), "{args} {rest}: {all:?}");
        }
        let hook = format!(r#"{{"path":"{}","args":[{name}],"timeout":1}}"#, program.display());
        let all = lint(Path::new("/x/50-a.json"), &format!(r#"{{"version":"1.0.0","hook":{hook}{ALWAYS}}}"#));
        assert!(all.len() == 1 && all[0].found.contains("a timeout below 2 seconds"), "{all:?}");
        use std::os::unix::fs::PermissionsExt as _;
        for mode in [0o775, 0o757] {
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
            let all = ours(name, ALWAYS);
            assert!(
                all.len() == 1 && all[0].contains(&format!("can be changed by others (mode {mode:04o})")),
                "{all:?}"
            );
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
