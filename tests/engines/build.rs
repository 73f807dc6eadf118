//! The programs under test, as static binaries, because some of them run inside containers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// The static programs.
pub struct Programs {
    /// The tool. `OCI_IPC_HOOK_BIN` names another one, such as the release build.
    pub tool: PathBuf,
    /// The workload, `tests/client/main.rs`.
    pub client: PathBuf,
}

impl Programs {
    /// Builds both with cargo and puts copies into `directory`, readable and executable for everyone.
    pub fn build(directory: &Path) -> Result<Self, String> {
        let target = static_target()?;
        let built = target.build()?;
        let install = |from: PathBuf, name: &str| {
            let to = directory.join(name);
            fs::copy(&from, &to).map_err(|e| format!("copying {}: {e}", from.display()))?;
            Ok::<_, String>(to)
        };
        let tool = env::var_os("OCI_IPC_HOOK_BIN").map_or_else(|| built.join("oci-ipc-hook"), PathBuf::from);
        // The second name, for which print-config looks beside the program.
        std::os::unix::fs::symlink("oci-ipc-hook", directory.join("oci-ipc-runtime")).map_err(|e| e.to_string())?;
        Ok(Programs {
            tool: install(tool, "oci-ipc-hook")?,
            client: install(built.join("examples/ipc-client"), "ipc-client")?,
        })
    }

    /// Where [`Programs::build`] has put them.
    pub fn find(directory: &Path) -> Self {
        Programs { tool: directory.join("oci-ipc-hook"), client: directory.join("ipc-client") }
    }
}

struct Target {
    triple: String,
    flags: &'static str,
}

/// musl where rustup has it; else the host's libc, linked statically.
fn static_target() -> Result<Target, String> {
    let rustc = |args: &[&str]| -> Result<String, String> {
        let out = Command::new("rustc").args(args).output().map_err(|e| format!("rustc: {e}"))?;
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let host = rustc(&["--print", "host-tuple"])?;
    let musl = format!("{}-unknown-linux-musl", env::consts::ARCH);
    let library = rustc(&["--print", "target-libdir", "--target", &musl])?;
    Ok(if Path::new(&library).is_dir() {
        Target { triple: musl, flags: "" }
    } else {
        Target { triple: host, flags: "-C target-feature=+crt-static" }
    })
}

impl Target {
    fn build(&self) -> Result<PathBuf, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = target_directory()?;
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(root).args([
            "build",
            "--quiet",
            "--config",
            "profile.dev.strip=true",
            "--bin",
            "oci-ipc-hook",
            "--example",
            "ipc-client",
        ]);
        cargo.arg("--target").arg(&self.triple).arg("--target-dir").arg(&target).stdin(Stdio::null());
        if !self.flags.is_empty() {
            cargo.env("RUSTFLAGS", self.flags);
        }
        let status = cargo.status().map_err(|e| format!("cargo: {e}"))?;
        if !status.success() {
            return Err(format!("cargo build for {} failed", self.triple));
        }
        Ok(target.join(&self.triple).join("debug"))
    }
}

/// The target directory of the build that this binary comes from: `TARGET/debug/deps/engines-…`.
pub fn target_directory() -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|e| e.to_string())?;
    own.ancestors().nth(3).map(Path::to_path_buf).ok_or_else(|| format!("no target directory above {}", own.display()))
}
