//! What is written for people and for other programs: hooks.d files, manual pages, the TOML in the texts.

use crate::support::{Dir, run, skip, which};
use oci_ipc_hook::ipc::Sysctl;
use oci_ipc_hook::policy::Config;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Files below a directory with an extension.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(directory)).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<_> = entries.filter(|p| p.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}

#[test]
fn hooks_d_files_are_safe_and_complete() {
    for name in ["oci-ipc-hook.json", "oci-ipc-hook-always.json.example"] {
        let file: serde_json::Value = serde_json::from_str(&read(format!("hooks/{name}"))).unwrap();
        assert_eq!(file["version"], "1.0.0", "{name}");
        assert_eq!(file["stages"], serde_json::json!(["createRuntime", "poststop"]), "{name}");
        let hook: oci_spec::runtime::Hook = serde_json::from_value(file["hook"].clone()).unwrap();
        assert_eq!(hook.path(), Path::new("/usr/libexec/oci/hooks.d/oci-ipc-hook"), "{name}");
        assert_eq!(hook.args().as_ref().unwrap()[0], "oci-ipc-hook", "{name}");
        // Without the key a hook inherits what the runtime has.
        assert_eq!(hook.env(), &Some(Vec::new()), "{name}");
        // crun with a timeout may miss the hook's end: docs/troubleshooting.md, `timeout expired`.
        assert_eq!(hook.timeout(), None, "{name}");
        assert_eq!(file.as_object().unwrap().len(), 4, "{name}: an unknown key makes engines refuse the file");
    }
}

#[test]
fn the_pattern_matches_our_annotations_only() {
    let file: serde_json::Value = serde_json::from_str(&read("hooks/oci-ipc-hook.json")).unwrap();
    let annotations = file["when"]["annotations"].as_object().unwrap();
    assert_eq!(annotations.len(), 1, "conditions are combined with 'and'");
    let (key, value) = annotations.iter().next().unwrap();
    assert_eq!(value, ".*", "matches the empty value as well");
    let matches = |annotation: &str| {
        let mut grep = Command::new("grep");
        grep.args(["-q", "-E", "-e", key]);
        crate::support::run_command(grep, annotation).code == Some(0)
    };
    for ours in ["profile", "objects", "sysctl.kernel.sem", "sysctl.fs.mqueue.msg_max", "proflie"] {
        assert!(matches(&format!("io.oci-ipc-hook.{ours}")), "{ours}");
    }
    for other in [
        "io.oci-ipc-hook",
        "io.oci-ipc-hook.",
        "xio.oci-ipc-hook.profile",
        "io.oci-ipc-hookx.profile",
        "ioxoci-ipc-hook.profile",
    ] {
        assert!(!matches(other), "{other}");
    }
}

#[test]
fn manual_pages_have_no_warnings() {
    let pages = files("docs/man", "5");
    assert!(pages.len() >= 2);
    if which("man").is_none() {
        return skip("man is not installed");
    }
    for page in pages.iter().chain(&files("docs/man", "8")) {
        for width in ["80", "120"] {
            let output = Command::new("man")
                .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
                .arg(page)
                .env("MANWIDTH", width)
                .env("LC_ALL", "C.UTF-8")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{}: {said}", page.display());
        }
    }
}

#[test]
fn the_manual_names_every_sysctl_with_its_range() {
    let page = read("docs/man/oci-ipc-hook-profile.5");
    for sysctl in Sysctl::ALL {
        let row = page.lines().find(|l| l.starts_with(&format!("{sysctl}|"))).unwrap_or_else(|| panic!("{sysctl}"));
        if sysctl == Sysctl::Sem {
            continue;
        }
        let (min, max) = sysctl.range();
        let range = match max {
            u64::MAX => "0 to 2\\(ha64\\-1".to_owned(),
            1 => "0, 1".to_owned(),
            _ => format!("{min} to {max}"),
        };
        let default = match sysctl.kernel_default().number() {
            oci_ipc_hook::ipc::sysctl::UNLIMITED => "no limit".to_owned(),
            n => n.to_string(),
        };
        assert!(row.ends_with(&format!("|{range}|{default}")), "{row}");
    }
}

#[test]
fn the_manual_tells_the_real_ceilings() {
    let page = read("docs/man/oci-ipc-hook.toml.5");
    let mut text = "format = 1\n[policy.ceiling]\n".to_owned();
    let mut rows = 0;
    for row in page.lines().filter(|l| l.matches('|').count() == 2) {
        let [key, _, value] = row.split('|').collect::<Vec<_>>()[..] else { continue };
        if key == "Key" || key.starts_with('l') {
            continue;
        }
        rows += 1;
        let key = key.replace("\\-", "-");
        match value {
            "the kernel's" => text += &format!("{key} = \"{}\"\n", Sysctl::Sem.kernel_default()),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => text += &format!("{key} = {digits}\n"),
            size => text += &format!("{key} = \"{size}\"\n"),
        }
    }
    assert_eq!(rows, 16, "{text}");
    let written = Config::parse("manual", &text, 4096).unwrap().ceiling;
    let real = Config::default().ceiling;
    for (written, real) in written.sysctls.iter().zip(&real.sysctls) {
        assert_eq!(written.value, real.value, "{}", real.name);
    }
    for (written, real) in [
        (&written.objects, &real.objects),
        (&written.shm_bytes, &real.shm_bytes),
        (&written.kernel_memory, &real.kernel_memory),
    ] {
        assert_eq!(written.value, real.value, "{}", real.name);
    }
}

#[test]
fn profiles_in_the_texts_are_valid() {
    let dir = Dir::new();
    let mut seen = 0;
    let texts = [vec![root().join("README.md")], files("docs", "md"), files("docs/recipes", "md")].concat();
    for path in texts {
        for block in read(&path).split("```toml\n").skip(1) {
            let text = block.split("```").next().unwrap();
            let file = dir.file("block.toml", text);
            let ran = run(&["check", &file], "");
            assert_eq!(ran.code, Some(0), "{}: {}\n{text}", path.display(), ran.stdout);
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen} blocks");
}

#[test]
fn links_between_the_texts_lead_somewhere() {
    let texts = [files(".", "md"), files("docs", "md"), files("docs/recipes", "md")].concat();
    for path in texts {
        for link in read(&path).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                assert!(path.parent().unwrap().join(target).exists(), "{}: {target}", path.display());
            }
        }
    }
}

/// The entries of the troubleshooting page are texts of the program.
#[test]
fn troubleshooting_quotes_the_program() {
    fn sources(directory: &Path, text: &mut String) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => sources(&path, text),
                false => text.push_str(&std::fs::read_to_string(path).unwrap()),
            }
        }
    }
    let mut program = String::new();
    sources(&root().join("src"), &mut program);
    // Literals that go on in the next line.
    let program: String = program.split("\\\n").map(str::trim_start).collect();
    let page = read("docs/troubleshooting.md");
    let entries: Vec<_> = page.lines().filter_map(|l| l.strip_prefix("### `")?.strip_suffix('`')).collect();
    assert!(entries.len() >= 20, "{entries:?}");
    for entry in entries {
        assert!(program.contains(entry), "no error says: {entry}");
    }
}
