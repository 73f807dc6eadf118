//! What the developers' generator writes: that the committed files are what it writes now, that shells and validators take
//! them, and that the schemas know exactly what the program reads and prints.
//!
//! Behind the feature `manual-tests`, because of what it depends on.

#![allow(clippy::expect_used, clippy::unwrap_used, unreachable_pub, dead_code)]

mod completions;
#[path = "../../tools/generate/files/mod.rs"]
mod files;
mod formats;
mod outputs;
mod schema;
#[path = "../suite/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a directory, as paths below the source tree.
fn below(directory: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(root().join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().into_string().unwrap());
        match entry.path().is_dir() {
            true => found.extend(below(&path)),
            false => found.extend([PathBuf::from(path)]),
        }
    }
    found
}

#[test]
fn committed_files_are_what_the_generator_writes() {
    let mut generated = BTreeSet::new();
    for file in files::all() {
        let committed = std::fs::read_to_string(root().join(&file.path)).unwrap_or_default();
        let differs = committed.lines().zip(file.text.lines()).find(|(old, new)| old != new);
        assert!(committed == file.text, "{} is not current; run 'make generate': {differs:?}", file.path);
        generated.insert(PathBuf::from(file.path));
    }
    let (completions, schemas) = (below("completions"), below("schemas"));
    let left: Vec<_> = completions.union(&schemas).filter(|p| !generated.contains(*p)).collect();
    assert!(left.is_empty(), "nobody writes {left:?}");
}

#[test]
fn the_manual_names_every_verb_and_option() {
    use clap::CommandFactory as _;
    fn look(command: &clap::Command, page: &str) {
        for verb in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
            look(verb, page);
            if verb.has_subcommands() {
                continue;
            }
            let words = verb.get_bin_name().unwrap().split_once(' ').unwrap().1;
            assert!(
                page.contains(&format!(".SS {words}\n")) || page.contains(&format!(".SS \"{words}\"\n")),
                "{words}"
            );
            for option in verb.get_arguments().filter(|a| !a.is_hide_set()).filter_map(|a| a.get_long()) {
                assert!(option == "help" || page.contains(&format!("\n\\fB--{option}\\fR")), "{words} --{option}");
            }
        }
    }
    let page = std::fs::read_to_string(root().join("docs/man/oci-ipc-hook.8")).unwrap().replace("\\-", "-");
    let mut command = oci_ipc_hook::commands::cli::Cli::command();
    command.build();
    look(&command, &page);
}
