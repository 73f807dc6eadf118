//! What strace(1) writes, as far as it is needed here.

use std::collections::HashMap;

/// A system call of a run.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Which of the calls with this name, from 1.
    pub nth: usize,
    /// As strace shows it, with arguments and result.
    pub line: String,
}

impl Call {
    /// What it returned, as text.
    pub fn returned(&self) -> &str {
        self.line.rsplit_once(" = ").map_or("", |(_, after)| after.split(' ').next().unwrap_or(""))
    }

    /// True when it answered this errno without any help.
    pub fn answered(&self, errno: &str) -> bool {
        self.failed() && self.line.contains(&format!("= -1 {errno} "))
    }

    /// True when it failed without any help.
    pub fn failed(&self) -> bool {
        self.returned() == "-1"
    }
}

/// The calls of a run, in order, from the lines of `strace -f -o`: `1234 openat(AT_FDCWD, …) = 3`.
pub fn parse(text: &str) -> Vec<Call> {
    let mut counts = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((_, line)) = line.split_once(' ') else { continue };
        let Some((name, _)) = line.trim_start().split_once('(') else { continue };
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            continue;
        }
        let nth = counts.entry(name.to_owned()).or_insert(0);
        *nth += 1;
        calls.push(Call { name: name.to_owned(), nth: *nth, line: line.trim_start().to_owned() });
    }
    calls
}
