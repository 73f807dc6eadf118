//! Builds the twins, runs them through `twins/runner.c` and reads what it printed.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the contenders see the data directory.
pub(crate) const SEEN: &str = "/run/ipcbench";

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Which round it belongs to; runs of one round are compared with each other.
    pub(crate) round: usize,
    /// Start to reaped end, in nanoseconds.
    pub(crate) nanoseconds: u64,
    /// Minor page faults.
    pub(crate) faults: u64,
    /// Largest resident size, in KiB.
    pub(crate) peak_kib: u64,
}

/// Many started at once, until the last one ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Burst {
    /// First start to last end, in nanoseconds.
    pub(crate) nanoseconds: u64,
    /// How many.
    pub(crate) count: u64,
}

/// How a job is run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The state document on stdin, a name below the data directory; `None`: no state, no namespace to join.
    pub(crate) state: Option<String>,
    /// Measured rounds.
    pub(crate) rounds: usize,
    /// Pause after each run, in microseconds: the kernel takes a namespace down in the background.
    pub(crate) pause_us: u32,
    /// How many are started at once, and whether they share one namespace.
    pub(crate) burst: Option<(u32, bool)>,
    /// A mount to take away first.
    pub(crate) unmount: Option<&'static str>,
    /// Command lines, run in turn.
    pub(crate) commands: Vec<Vec<String>>,
}

impl Job {
    /// One command after the other, each with `state` on stdin, in a fresh namespace.
    pub(crate) fn new(state: &str, rounds: usize, commands: Vec<Vec<String>>) -> Self {
        Job { state: Some(state.to_owned()), rounds, pause_us: 1000, burst: None, unmount: None, commands }
    }
}

/// What a job gave, for each command.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Runs, in order.
    pub(crate) runs: Vec<Vec<Run>>,
    /// Bursts, in order.
    pub(crate) bursts: Vec<Vec<Burst>>,
}

/// The twins, built, and the directory with everything that the contenders read.
pub(crate) struct Lab {
    /// The data directory, seen by contenders as [`SEEN`].
    pub(crate) data: PathBuf,
    /// What built the C twins.
    pub(crate) compiler: &'static str,
    runner: PathBuf,
}

impl Lab {
    /// Builds the C twins into `data/bin`. An error says what is missing.
    pub(crate) fn open(data: &Path) -> Result<Self> {
        let bin = data.join("bin");
        std::fs::create_dir_all(&bin).with_context(|| format!("{}", bin.display()))?;
        let compiler = if find("musl-gcc").is_some() { "musl-gcc" } else { "cc" };
        ensure!(find(compiler).is_some(), "no C compiler: install musl-gcc or cc");
        for twin in ["runner", "floor", "empty"] {
            compile(compiler, twin, &bin)?;
        }
        Ok(Lab { data: data.to_owned(), compiler, runner: bin.join("runner") })
    }

    /// Copies a program into the data directory.
    pub(crate) fn adopt(&self, program: &Path, name: &str) -> Result<()> {
        let to = self.data.join("bin").join(name);
        std::fs::copy(program, &to).with_context(|| format!("{} to {}", program.display(), to.display()))?;
        Ok(())
    }

    /// Runs a job. Any run that exits other than 0 is an error.
    pub(crate) fn measure(&self, job: &Job) -> Result<Measured> {
        let mut command = Command::new(&self.runner);
        command.arg("-d").arg(&self.data).args(["-n", &job.rounds.to_string(), "-p", &job.pause_us.to_string()]);
        if let Some(state) = &job.state {
            command.arg("-s").arg(self.data.join(state));
        }
        // Not for runtimes, whose control groups take no real-time processes, nor where processes compete on purpose.
        if job.state.is_some() && job.burst.is_none() {
            command.arg("-r");
        }
        if let Some((count, shared)) = job.burst {
            command.args(["-b", &count.to_string(), "-w", "1"]);
            if shared {
                command.arg("-S");
            }
        }
        if let Some(mount) = job.unmount {
            command.args(["-u", mount]);
        }
        for words in &job.commands {
            command.arg("--").args(words);
        }
        let output = command.output().context("runner")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "runner: {}: {said}", output.status);
        read_runs(&String::from_utf8_lossy(&output.stdout), job).with_context(|| said.into_owned())
    }

    /// System calls of one run, the execve that starts it and the exit included; `None` without strace.
    pub(crate) fn system_calls(&self, state: &str, command: &[String]) -> Result<Option<usize>> {
        let Some(strace) = find("strace") else { return Ok(None) };
        let traced = [&strace.display().to_string(), "-f", "-qq", "-o", &format!("{SEEN}/trace")]
            .into_iter()
            .map(str::to_owned)
            .chain(command.iter().cloned())
            .collect();
        self.measure(&Job::new(state, 1, vec![traced]))?;
        let trace = std::fs::read_to_string(self.data.join("trace")).context("trace")?;
        Ok(Some(trace.lines().filter(|line| is_call(line)).count()))
    }
}

/// Whether a line of strace is the start of a call: not a signal, an exit, or the end of an interrupted call.
fn is_call(line: &str) -> bool {
    let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    !["---", "+++", "<..."].iter().any(|other| call.starts_with(other))
}

/// Builds a twin into `bin`.
pub(crate) fn compile(compiler: &str, twin: &str, bin: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/twins").join(format!("{twin}.c"));
    let output = Command::new(compiler)
        .args(["-O2", "-static", "-s", "-o"])
        .arg(bin.join(twin))
        .arg(&source)
        .output()
        .with_context(|| compiler.to_owned())?;
    ensure!(output.status.success(), "{compiler} {twin}.c: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn read_runs(printed: &str, job: &Job) -> Result<Measured> {
    let mut all = Measured::default();
    all.runs.resize(job.commands.len(), Vec::new());
    all.bursts.resize(job.commands.len(), Vec::new());
    for line in printed.lines() {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let numbers = words.map(str::parse).collect::<Result<Vec<u64>, _>>().with_context(|| line.to_owned())?;
        match (kind, numbers.as_slice()) {
            ("run", &[who, round, nanoseconds, faults, peak_kib, status]) => {
                ensure!(status == 0, "{:?} exited with {status}", job.commands[who as usize]);
                all.runs[who as usize].push(Run { round: round as usize, nanoseconds, faults, peak_kib });
            }
            ("burst", &[who, _, nanoseconds, count]) => all.bursts[who as usize].push(Burst { nanoseconds, count }),
            _ => bail!("runner printed {line:?}"),
        }
    }
    Ok(all)
}

/// Where a program is, in PATH or among the system's own.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}
