//! All generated files.

mod man;
mod schemas;

use clap::CommandFactory as _;
use clap_complete::Shell;
use oci_ipc_hook::commands::cli::Cli;

/// A generated file.
pub(crate) struct File {
    /// Below the source tree.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
}

impl File {
    fn new(path: impl Into<String>, text: String) -> File {
        File { path: path.into(), text }
    }
}

/// Everything that is generated.
pub(crate) fn all() -> Vec<File> {
    let mut files = vec![File::new("docs/man/oci-ipc-hook.8", man::page())];
    // The names under which each shell looks for them.
    for (shell, name) in
        [(Shell::Bash, "oci-ipc-hook"), (Shell::Zsh, "_oci-ipc-hook"), (Shell::Fish, "oci-ipc-hook.fish")]
    {
        files.push(File::new(format!("completions/{shell}/{name}"), completion(shell)));
    }
    for (name, schema) in schemas::all() {
        let text = serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n";
        files.push(File::new(format!("schemas/{name}.schema.json"), text));
    }
    files
}

fn completion(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "oci-ipc-hook", &mut text);
    // clap issue 6421: the labels escape the hyphens of the program's name otherwise than the states that are to meet them.
    let text = String::from_utf8_lossy(&text).replace("oci__subcmd__ipc__subcmd__hook", "oci__ipc__hook");
    // An option that is hidden: words of a list for bash, a line of its own for the others.
    let text = text.replace(" --workload", "");
    let lines = text.lines().filter(|line| !line.contains("workload"));
    // Some lines hold nothing but their indentation.
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}
