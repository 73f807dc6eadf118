//! The machine that was measured, in a few lines.

use crate::lab::find;
use std::process::Command;

/// Lines of "what: which".
pub(crate) fn describe(compiler: &str) -> Vec<(String, String)> {
    let mut lines = vec![
        ("processor".to_owned(), processor()),
        ("memory".to_owned(), memory()),
        ("kernel".to_owned(), said("uname", &["-srm"])),
        ("system".to_owned(), system()),
        (
            "load at the end of the run".to_owned(),
            file("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        ),
        ("C twins".to_owned(), format!("{compiler}, {}", said("cc", &["--version"]))),
        ("Rust".to_owned(), said("rustc", &["--version"])),
    ];
    for (program, words) in [("go", &["version"][..]), ("runc", &["--version"]), ("crun", &["--version"])] {
        if find(program).is_some() {
            lines.push((program.to_owned(), said(program, words)));
        }
    }
    lines
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first line that starts with `key`.
fn value<'t>(text: &'t str, key: &str, separator: char) -> &'t str {
    text.lines()
        .find(|line| line.starts_with(key))
        .and_then(|line| line.split_once(separator))
        .map_or("", |(_, value)| value.trim())
}

fn processor() -> String {
    let text = file("/proc/cpuinfo");
    let count = text.lines().filter(|line| line.starts_with("processor")).count();
    let guest = if text.contains(" hypervisor") { ", virtual machine" } else { "" };
    format!("{count} × {}{guest}", value(&text, "model name", ':'))
}

fn memory() -> String {
    let text = file("/proc/meminfo");
    let kib: f64 = value(&text, "MemTotal", ':').trim_end_matches(" kB").parse().unwrap_or_default();
    format!("{:.1} GiB", kib / f64::from(1 << 20))
}

fn system() -> String {
    value(&file("/etc/os-release"), "PRETTY_NAME", '=').trim_matches('"').to_owned()
}

/// The first line that a program prints.
fn said(program: &str, words: &[&str]) -> String {
    let output = find(program).and_then(|path| Command::new(path).args(words).output().ok());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
