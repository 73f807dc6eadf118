//! oci-ipc-hook(8): verbs and options from the definitions of the command line, the rest from `manual.roff`.

use clap::{Arg, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use oci_ipc_hook::commands::cli::Cli;

/// Sections in roff, each from its `.SH` line to the next.
const SECTIONS: &str = include_str!("manual.roff");

/// What the library puts before each piece: a straight apostrophe, also where the formatter is not groff.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Options that several verbs share; they have a section of their own.
const REQUEST: [&str; 5] = ["profile", "profile_file", "config", "profiles_dir", "memory"];

/// The whole page.
pub(crate) fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut page =
        ".\\\" Written by tools/generate from src/commands/cli.rs and tools/generate/files/manual.roff.\n".to_owned();
    page += PREAMBLE;
    let version = command.get_version().unwrap_or_default();
    page += &format!(".TH OCI\\-IPC\\-HOOK 8 \"2026\" \"oci-ipc-hook {version}\" \"System administration\"\n");
    page += section("NAME");
    page += &synopsis(&command);
    page += section("DESCRIPTION");
    page += ".SH VERBS\n";
    for verb in shown(&command) {
        for words in verbs(verb) {
            page += &description(words);
        }
        if verb.has_subcommands() {
            page += &examples(&after_help(verb));
        }
    }
    page += section("REQUEST OPTIONS");
    page += &options(&command, |arg| REQUEST.contains(&arg.get_id().as_str()));
    for name in ["ANNOTATIONS", "EXIT STATUS", "FILES", "LOG", "NOTES"] {
        page += section(name);
    }
    page += ".SH EXAMPLES\n";
    page += &examples(&after_help(&command));
    page += section("EXAMPLES");
    page += section("SEE ALSO");
    page
}

/// A section of `manual.roff`; that of EXAMPLES without its heading, as it goes on with generated ones.
fn section(name: &str) -> &'static str {
    let start = SECTIONS.find(&format!(".SH {name}\n")).map_or(SECTIONS.len(), |at| at + 1);
    let text = &SECTIONS[start - 1..];
    let end = text[1..].find("\n.SH ").map_or(text.len(), |at| at + 2);
    match name {
        "EXAMPLES" => text[..end].split_once('\n').map_or("", |(_, body)| body),
        _ => &text[..end],
    }
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help")
}

/// The command, or the verbs that it has in turn, as `profiles`.
fn verbs(command: &Command) -> Vec<&Command> {
    match command.has_subcommands() {
        true => shown(command).flat_map(verbs).collect(),
        false => vec![command],
    }
}

fn is_request(command: &Command) -> bool {
    command.get_arguments().any(|a| a.get_id() == "profile_file")
}

/// Visible arguments other than those that every verb, or every verb with a request, has too.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let request = is_request(command);
    command.get_arguments().filter(move |arg| {
        let id = arg.get_id().as_str();
        let shared = matches!(id, "help" | "version") || (request && REQUEST.contains(&id));
        !arg.is_hide_set() && !shared
    })
}

fn synopsis(command: &Command) -> String {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    for verb in verbs(command) {
        let name = verb.get_bin_name().unwrap_or_default();
        let (program, words) = name.split_once(' ').unwrap_or((name, ""));
        let mut line = vec![bold(program), roman(" ")];
        line.push(if words == "hook" { roman("[") } else { roman("") });
        line.push(bold(words));
        line.push(if words == "hook" { roman("]") } else { roman("") });
        for arg in own_arguments(verb) {
            line.extend(usage(arg));
        }
        if is_request(verb) {
            line.extend([roman(" ["), italic("REQUEST OPTIONS"), roman("]")]);
        }
        roff.control("PP", []);
        roff.text(line);
    }
    text(&roff)
}

/// An argument as a synopsis shows it: `[--pid N]`, `[FILE]...`.
fn usage(arg: &Arg) -> Vec<Inline> {
    let value = arg.get_value_names().map(|names| names.join(" ")).unwrap_or_else(|| arg.get_id().to_string());
    let many = if arg.get_num_args().is_some_and(|n| n.max_values() > 1) { "..." } else { "" };
    let (open, close) = if arg.is_required_set() { (" ", "") } else { (" [", "]") };
    let mut out = vec![roman(if arg.is_last_set() { " --" } else { "" }), roman(open)];
    match arg.get_long() {
        None if value.len() == 1 => out.push(bold(value)),
        None => out.push(italic(value)),
        Some(long) => {
            out.push(bold(format!("--{long}")));
            if arg.get_action().takes_values() {
                out.extend([roman(" "), italic(value)]);
            }
        }
    }
    out.extend([roman(close), roman(many)]);
    out
}

/// One verb: what it does, its options, its examples.
fn description(verb: &Command) -> String {
    let name = verb.get_bin_name().unwrap_or_default();
    let name = name.split_once(' ').map_or(name, |(_, words)| words);
    let mut roff = Roff::new();
    roff.control("SS", [name]);
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    roff.text([roman(format!("{}.", about.trim_end_matches('.')))]);
    if is_request(verb) {
        roff.text([roman("Takes the "), italic("request options"), roman(" below.")]);
    }
    let own: Vec<_> = own_arguments(verb).map(|a| a.get_id().clone()).collect();
    let help = after_help(verb);
    text(&roff) + &options(verb, |arg| own.contains(arg.get_id())) + &prose(&help) + &examples(&help)
}

/// The list of those options that are `wanted`.
fn options(command: &Command, wanted: impl Fn(&Arg) -> bool) -> String {
    // Short help texts, as in -h: the page has no second, longer one.
    let hidden = command.clone().mut_args(|arg| match wanted(&arg) {
        true => arg.hide(false),
        false => arg.hide(true),
    });
    let mut out = Vec::new();
    let _ = Man::new(hidden).render_options_section(&mut out);
    let out = String::from_utf8_lossy(&out).into_owned();
    // Without the heading, and without the preamble of a page.
    out.split_once(".SH OPTIONS\n").map_or(String::new(), |(_, list)| list.to_owned())
}

fn after_help(command: &Command) -> String {
    command.get_after_help().map(ToString::to_string).unwrap_or_default()
}

/// Lines of a help text that are indented, as a shell's: first what it is for, then the command.
fn examples(help: &str) -> String {
    let lines: Vec<_> = help.lines().filter(|line| line.starts_with("  oci-ipc-hook")).collect();
    if lines.is_empty() {
        return String::new();
    }
    let mut roff = Roff::new();
    roff.control("PP", []);
    roff.control("RS", []);
    roff.control("nf", []);
    for line in lines {
        // Columns of the help text.
        let (command, note) = line.trim_start().split_once("   ").unwrap_or((line.trim_start(), ""));
        if !note.is_empty() {
            roff.text([italic(format!("# {}", note.trim_start()))]);
        }
        roff.text([roman(command)]);
    }
    roff.control("fi", []);
    roff.control("RE", []);
    text(&roff)
}

/// The other lines, without the headings of the examples.
fn prose(help: &str) -> String {
    let mut roff = Roff::new();
    let lines = help.lines().filter(|l| !l.is_empty() && !l.starts_with("  ") && !l.starts_with("Example"));
    for (number, line) in lines.enumerate() {
        if number == 0 {
            roff.control("PP", []);
        }
        roff.text([roman(line)]);
    }
    text(&roff)
}

/// Without the preamble of a whole document, which the page has once.
fn text(roff: &Roff) -> String {
    roff.render().trim_start_matches(PREAMBLE).to_owned()
}
