//! PostgreSQL from Debian with `shared_memory_type = sysv`: fails in a namespace whose limits are too small, starts in one
//! that was prepared, and `inspect` shows what it uses.

use crate::support::{Container, Dir, is_root, run, skip};
use std::path::PathBuf;
use std::process::Command;

/// The newest that is installed.
fn binaries() -> Option<PathBuf> {
    let mut found: Vec<_> =
        std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|e| e.path().join("bin")).collect();
    found.sort();
    found.into_iter().rfind(|bin| bin.join("postgres").is_file())
}

fn id(flag: &str) -> u32 {
    let output = Command::new("id").args([flag, "postgres"]).output().expect("id(1)");
    String::from_utf8(output.stdout).expect("text").trim().parse().expect("an id of the user postgres")
}

/// A cluster of its own, stopped when dropped.
struct Cluster<'c> {
    container: &'c Container,
    bin: PathBuf,
    dir: Dir,
}

impl Cluster<'_> {
    fn new(container: &Container, bin: PathBuf) -> Cluster<'_> {
        let dir = Dir::new();
        std::os::unix::fs::chown(dir.path(), Some(id("-u")), Some(id("-g"))).expect("chown");
        let cluster = Cluster { container, bin, dir };
        let made = cluster.sh("initdb --pgdata $D/data --auth trust --no-sync 2>&1");
        assert!(made.contains("Success") || made.contains("ok"), "{made}");
        let settings = "shared_memory_type = sysv\\ndynamic_shared_memory_type = sysv\\nshared_buffers = 16MB\\n\
                        listen_addresses = ''\\nunix_socket_directories = '$D'\\nfsync = off\\n";
        cluster.sh(&format!("printf \"{settings}\" >> $D/data/postgresql.conf"));
        cluster
    }

    /// As the user postgres, within the container's namespace.
    fn sh(&self, script: &str) -> String {
        let (bin, dir) = (self.bin.display(), self.dir.path().display());
        let inner = format!("cd $D; {script}");
        self.container.sh(&format!(
            "D={dir} PATH={bin}:$PATH setpriv --reuid {} --regid {} --clear-groups sh -c '{}'",
            id("-u"),
            id("-g"),
            inner.replace('\'', "'\\''")
        ))
    }

    fn start(&self) -> String {
        self.sh("pg_ctl --pgdata $D/data --log $D/log --wait start >/dev/null 2>&1; echo $?; cat $D/log")
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        self.sh("pg_ctl --pgdata $D/data --wait --mode immediate stop >/dev/null 2>&1 || true");
    }
}

#[test]
fn starts_on_limits_that_were_raised_for_it() {
    let Some(bin) = binaries().filter(|_| is_root()) else {
        return skip("PostgreSQL is not installed, or this is not root (tests/run/clients all)");
    };
    let (container, dir) = (Container::new(), Dir::new());
    let cluster = {
        let cluster = Cluster::new(&container, bin);
        // As on a host that never heard of System V shared memory of this size.
        container.sh("echo 1000000 > /proc/sys/kernel/shmmax");
        cluster
    };
    let failed = cluster.start();
    assert!(!failed.starts_with("0\n") && failed.contains("could not create shared memory segment"), "{failed}");

    let profile = dir.profile("[sysctl]\n\"kernel.shmmax\" = \">= 256MiB\"\n\"kernel.shmall\" = \">= 1GiB\"\n");
    run(&["apply", "--pid", &container.pid().to_string(), "--profile-file", &profile], "").expect(0);
    let started = cluster.start();
    assert!(started.starts_with("0\n"), "{started}");
    let answer = cluster.sh(
        "psql --host $D --tuples-only --no-align --command \"select sum(n) from generate_series(1, 100) n\" postgres",
    );
    assert_eq!(answer, "5050\n");

    let json = run(&["inspect", "--pid", &container.pid().to_string(), "--json"], "").expect(0).stdout;
    let seen: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let segments = seen["namespaces"][0]["shm"].as_array().expect("an array").clone();
    let main = segments.iter().max_by_key(|s| s["size"].as_u64()).expect("its segment");
    assert!(main["size"].as_u64() > Some(16 << 20), "{main}");
    assert_eq!((main["uid"].as_u64(), main["mode"].as_str()), (Some(id("-u").into()), Some("0600")), "{main}");
    assert!(main["nattch"].as_u64() > Some(1), "the server's processes are attached: {main}");
    let postmaster = cluster.sh("head -1 $D/data/postmaster.pid");
    assert_eq!(main["cpid"].to_string(), postmaster.trim(), "made by the postmaster");
}
