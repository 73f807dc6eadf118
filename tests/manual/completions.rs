//! Completions: each shell reads its own, and bash offers what there is.

use crate::root;
use crate::support::{run_command, skip, which};
use std::process::Command;

fn reads(shell: &str, file: &str) {
    if which(shell).is_none() {
        return skip(&format!("{shell} is not installed"));
    }
    let mut command = Command::new(shell);
    command.arg("-n").arg(root().join("completions").join(shell).join(file));
    let ran = run_command(command, "").expect(0);
    assert_eq!(ran.stderr, "");
}

#[test]
fn bash_reads_its_file() {
    reads("bash", "oci-ipc-hook");
}

#[test]
fn zsh_reads_its_file() {
    reads("zsh", "_oci-ipc-hook");
}

#[test]
fn fish_reads_its_file() {
    reads("fish", "oci-ipc-hook.fish");
}

/// What bash offers for the last of these words.
fn bash_offers(words: &str) -> Vec<String> {
    let script = format!(
        ". \"$1\"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
         f=$(complete -p oci-ipc-hook | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
         \"$f\" oci-ipc-hook \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", &script, "bash"]).arg(root().join("completions/bash/oci-ipc-hook"));
    run_command(command, "").expect(0).stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_verbs_options_and_values() {
    if which("bash").is_none() {
        return skip("bash is not installed");
    }
    assert_eq!(bash_offers("oci-ipc-hook insp"), ["inspect"]);
    assert_eq!(bash_offers("oci-ipc-hook plan --pi"), ["--pid"]);
    assert_eq!(bash_offers("oci-ipc-hook print-config cont"), ["containerd"]);
    assert!(bash_offers("oci-ipc-hook demo --").iter().all(|word| word != "--workload"), "hidden");
}
