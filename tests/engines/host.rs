//! The host's own IPC namespace: what it holds must be the same before and after every case.

use std::path::Path;
use std::{fs, io};

/// All sysctls and objects of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIpc(Vec<(String, String)>);

impl HostIpc {
    /// Reads everything; `queues` is a directory on which the host's mqueue file system is mounted.
    pub fn read(queues: &Path) -> io::Result<Self> {
        let mut found = Vec::new();
        for name in ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"] {
            found.push((format!("kernel.{name}"), fs::read_to_string(format!("/proc/sys/kernel/{name}"))?));
        }
        for name in ["msg_default", "msg_max", "msgsize_default", "msgsize_max", "queues_max"] {
            found.push((format!("fs.mqueue.{name}"), fs::read_to_string(format!("/proc/sys/fs/mqueue/{name}"))?));
        }
        for kind in ["shm", "sem", "msg"] {
            // Key and id: other columns change while somebody uses the object.
            for line in fs::read_to_string(format!("/proc/sysvipc/{kind}"))?.lines().skip(1) {
                found.push((kind.to_owned(), line.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" ")));
            }
        }
        for entry in fs::read_dir(queues)? {
            found.push(("mqueue".to_owned(), entry?.file_name().to_string_lossy().into_owned()));
        }
        found.sort();
        Ok(HostIpc(found))
    }

    /// What is different in `now`.
    pub fn difference(&self, now: &HostIpc) -> Option<String> {
        let only = |a: &HostIpc, b: &HostIpc| -> Vec<String> {
            a.0.iter().filter(|x| !b.0.contains(x)).map(|(name, value)| format!("{name} = {}", value.trim())).collect()
        };
        (self != now).then(|| format!("before: {:?}, now: {:?}", only(self, now), only(now, self)))
    }
}
