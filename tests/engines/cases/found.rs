//! `inspect` by the name that a user knows, where the engine's own files say which process that is.

use super::{Bench, Case};
use crate::lab::command;
use crate::launch::output;
use crate::outcome::{Outcome, Stop, ensure, equal};
use serde_json::Value;
use std::fs;
use std::path::Path;

pub(super) const CASES: &[Case] = &[Case { name: "inspect finds the container by its name", run: by_name }];

fn by_name(bench: &Bench) -> Outcome {
    let none = || Stop::NotHere("a runtime alone keeps no names, and was told where to keep its state".to_owned());
    let (file, text) = bench.engine.places(bench.lab).ok_or_else(none)?;
    let container = bench.container().hold();
    let launch = bench.start(&container)?;
    let namespace = launch.seen.namespace().map(str::to_owned);
    let shown = with_file(&file, &text, || inspect(bench, &bench.engine.known_as(&container)));
    bench.stop(&container, launch)?;
    let (shown, namespace) = (shown?, namespace?);
    let seen = &shown["namespaces"][0];
    equal("namespace", format!("ipc:[{}]", seen["ino"]), namespace)?;
    let all = seen["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = bench.engine.known_as(&container);
    let called = |c: &Value| c["id"] == name || c["names"].as_array().is_some_and(|n| n.iter().any(|n| *n == name));
    ensure(all.iter().any(called), || format!("{name} is not among {all:?}"))
}

fn inspect(bench: &Bench, name: &str) -> Outcome<Value> {
    let text = output(command(&bench.lab.programs.tool.to_string_lossy(), &["inspect", name, "--json"]))?;
    serde_json::from_str(&text).map_err(|e| Stop::Fail(format!("inspect: {e}: {text}")))
}

/// The file is there while `look` runs.
fn with_file<T>(file: &Path, text: &str, look: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    fs::create_dir_all(file.parent().unwrap_or(file))?;
    fs::write(file, text)?;
    let result = look();
    fs::remove_file(file)?;
    result
}
