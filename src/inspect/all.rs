//! All IPC namespaces of the machine, as lsns(8) lists them: those of visible processes, and those that are kept by a file.

use super::look::{Found, With};
use super::{View, advice, json, prometheus, table};
use crate::containers::Container;
use crate::error::{Error, Result};
use crate::ipc::NamespaceId;
use crate::kernel::child::in_child;
use crate::kernel::namespace::{NamespaceFd, in_use};
use std::path::PathBuf;

/// A namespace, and what it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub id: NamespaceId,
    /// Its processes.
    pub pids: Vec<i32>,
    /// A file that keeps it, for one without processes.
    pub path: Option<PathBuf>,
}

/// What becomes of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A row of [`table::SUMMARY`].
    Summary,
    /// An object of the JSON document.
    Json,
    /// Samples.
    Prometheus,
    /// Findings about limits that run out, as JSON.
    Advice,
}

/// All namespaces, the host's first, then by inode.
pub fn groups() -> Vec<Group> {
    let mut groups: Vec<Group> = in_use().into_iter().map(|(id, pids)| Group { id, pids, path: None }).collect();
    for path in pinned(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()) {
        let Ok(ns) = NamespaceFd::from_path(&path) else { continue };
        if !groups.iter().any(|g| g.id == ns.id()) {
            groups.push(Group { id: ns.id(), pids: Vec::new(), path: Some(path) });
        }
    }
    groups.sort_by_key(|g| (g.id.ino != NamespaceId::INITIAL_INO, g.id));
    groups
}

/// Files that keep IPC namespaces, as CRI-O makes them: lines of `36 35 0:4 ipc:[4026532177] /run/ipcns/x rw - nsfs nsfs rw`.
fn pinned(mountinfo: &str) -> Vec<PathBuf> {
    let fields = mountinfo.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let places =
        fields.filter(|f| f.get(3).is_some_and(|root| root.starts_with("ipc:["))).filter_map(|f| f.get(4).copied());
    places.map(|place| unescape(place).into()).collect()
}

/// Blanks and backslashes stand as three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => out.extend([char::from(byte).to_string().as_str(), &part[3..]]),
            None => out.extend(["\\", part]),
        }
    }
    out
}

impl Group {
    /// Looks at it from a child process, for joining may have no way back, and gives it in a format.
    ///
    /// # Errors
    /// The line that says why it cannot be looked at.
    pub fn show(&self, containers: &[Container], format: Format) -> std::result::Result<Vec<u8>, String> {
        let answer = in_child(|| match self.look(containers) {
            Ok(view) => [b"+".to_vec(), render(&view, format)].concat(),
            Err(error) => format!("-{error}").into_bytes(),
        });
        match answer {
            Ok(mut bytes) if bytes.first() == Some(&b'+') => {
                bytes.remove(0);
                Ok(bytes)
            }
            Ok(bytes) => Err(String::from_utf8_lossy(bytes.get(1..).unwrap_or_default()).into_owned()),
            Err(error) => Err(Error::failed(self.id.to_string(), error.to_string()).to_string()),
        }
    }

    fn look(&self, containers: &[Container]) -> Result<View> {
        Found::one_of(self.id, self.pids.clone(), self.path.as_deref())?.look(containers, With::Objects)
    }
}

/// Between the cells of a row on its way from the child.
const CELL: &str = "\0";

fn render(view: &View, format: Format) -> Vec<u8> {
    match format {
        Format::Summary => table::summary(view).join(CELL).into_bytes(),
        Format::Json => json::namespace(view),
        Format::Prometheus => prometheus::samples(view).into_bytes(),
        Format::Advice => serde_json::to_vec(&advice::findings(view)).unwrap_or_default(),
    }
}

/// The cells of a row that [`Group::show`] gave.
pub fn cells(row: &[u8]) -> Option<[String; 10]> {
    let cells: Vec<String> = str::from_utf8(row).ok()?.split(CELL).map(str::to_owned).collect();
    cells.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_pinned() {
        let text = "36 35 0:4 ipc:[4026532177] /run/ipcns/a\\040b rw shared:1 - nsfs nsfs rw\n\
                    37 35 0:4 net:[4026532178] /run/netns/x rw - nsfs nsfs rw\n\
                    38 35 0:5 / /dev rw - devtmpfs udev rw\ngarbage\n39 1 0:4 ipc:[1]\n";
        assert_eq!(pinned(text), [PathBuf::from("/run/ipcns/a b")]);
        assert_eq!(unescape("a\\134b\\zz"), "a\\b\\zz");
    }
}
