//! What to run: the arguments and environment of the test binary.

use std::env;

/// The engines that `make test` runs, and those that only `make test-all` adds.
pub const DEFAULT_SET: [&str; 3] = ["runc", "crun", "podman"];
pub const FULL_SET: [&str; 6] = ["runc", "crun", "podman", "docker", "containerd", "youki"];

/// The choice of engines and cases.
pub struct Selection {
    /// Names out of [`FULL_SET`].
    pub engines: Vec<String>,
    /// Words of which a case's name must contain one; empty: all cases.
    pub words: Vec<String>,
    /// A missing engine is a failure instead of a skip.
    pub require: bool,
    /// Print the names of the cases and stop (`cargo nextest` asks for that).
    pub list_only: bool,
    /// Write the OCI states of the runtimes to `tests/golden/states` instead of running cases.
    pub record_states: bool,
}

impl Selection {
    /// From this process's arguments and environment; an engine's name that nobody knows is an error.
    pub fn from_process() -> Result<Self, String> {
        let mut set = env::var("ENGINES").unwrap_or_default();
        let mut selection = Selection {
            engines: Vec::new(),
            words: Vec::new(),
            require: env::var_os("OCI_IPC_HOOK_REQUIRE").is_some_and(|v| v == "1"),
            list_only: false,
            record_states: false,
        };
        let mut args = env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--engines" => set = args.next().ok_or("--engines needs a list such as runc,podman")?,
                "--list" => selection.list_only = true,
                "--record-states" => selection.record_states = true,
                // Options of cargo's own test harness that take a value, then those that take none.
                "--test-threads" | "--skip" | "--format" | "--color" | "--logfile" => drop(args.next()),
                option if option.starts_with('-') => {}
                word => selection.words.push(word.to_owned()),
            }
        }
        selection.engines = engines(&set)?;
        Ok(selection)
    }

    /// Whether this engine or runtime is part of the run.
    pub fn has(&self, engine: &str) -> bool {
        self.engines.iter().any(|e| e == engine)
    }

    /// Whether every engine is part of the run.
    pub fn is_everything(&self) -> bool {
        FULL_SET.iter().all(|engine| self.has(engine))
    }

    /// Whether a case with this name is part of the run.
    pub fn wants(&self, case: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| case.contains(word.as_str()))
    }
}

fn engines(set: &str) -> Result<Vec<String>, String> {
    let mut engines = Vec::new();
    for name in set.split([',', ' ']).filter(|name| !name.is_empty()) {
        match name {
            "default" => engines.extend(DEFAULT_SET.map(str::to_owned)),
            "all" => engines.extend(FULL_SET.map(str::to_owned)),
            name if FULL_SET.contains(&name) => engines.push(name.to_owned()),
            _ => return Err(format!("engine {name} is not known; known are all, default, {}", FULL_SET.join(", "))),
        }
    }
    if engines.is_empty() {
        engines.extend(DEFAULT_SET.map(str::to_owned));
    }
    Ok(engines)
}
