//! Metrics in Prometheus' text format, for node_exporter's textfile collector. One namespace is one value of the label
//! `ipc_ns`, its inode; `oci_ipc_container_info` tells whose it is.

use super::View;
use crate::ipc::{SemField, Sysctl, SysctlValue};
use std::fmt::{Display, Write as _};

/// Name, type and meaning of every metric, in the order in which they are printed.
const METRICS: [(&str, &str); 14] = [
    ("oci_ipc_up", "1 when the namespace could be looked at."),
    ("oci_ipc_processes", "Processes in the namespace."),
    ("oci_ipc_container_info", "Containers that use the namespace."),
    ("oci_ipc_sysctl", "Value of a sysctl; kernel.sem by field."),
    ("oci_ipc_used", "How much of a limit is in use."),
    ("oci_ipc_limit", "The limit, in the unit of oci_ipc_used."),
    ("oci_ipc_shm_bytes", "Bytes of all System V segments, as asked for."),
    ("oci_ipc_shm_resident_bytes", "Bytes of System V segments that are in memory."),
    ("oci_ipc_shm_attached", "Attachments of all System V segments."),
    ("oci_ipc_messages", "Messages waiting in all queues of a kind (msg, mqueue)."),
    ("oci_ipc_message_bytes", "Bytes waiting in all queues of a kind."),
    ("oci_ipc_fullest_queue_ratio", "Filling of the fullest queue of a kind, 0 to 1."),
    ("oci_ipc_msgqueue_rlimit_bytes", "RLIMIT_MSGQUEUE of the first process."),
    ("oci_ipc_last_look_seconds", "When this was read, seconds since the epoch."),
];

/// The samples of one namespace, without headings.
pub fn samples(view: &View) -> String {
    let mut out = Samples { text: String::new(), ns: view.id.ino };
    out.add("oci_ipc_up", &[], 1);
    out.add("oci_ipc_processes", &[], view.pids.len());
    for c in &view.containers {
        out.add("oci_ipc_container_info", &[("container", c.short()), ("engine", &c.engine), ("id", &c.id)], 1);
    }
    for sysctl in Sysctl::ALL {
        match view.sysctl(sysctl) {
            Some(SysctlValue::Number(n)) => out.add("oci_ipc_sysctl", &[("name", sysctl.name())], n),
            Some(SysctlValue::Sem(fields)) => {
                for (field, n) in SemField::ALL.into_iter().zip(fields) {
                    out.add("oci_ipc_sysctl", &[("field", field.name()), ("name", sysctl.name())], n);
                }
            }
            None => {}
        }
    }
    for u in view.usage() {
        out.add("oci_ipc_used", &[("resource", u.name)], u.used);
        if let Some(limit) = u.limit {
            out.add("oci_ipc_limit", &[("resource", u.name)], limit);
        }
    }
    objects(view, &mut out);
    if let Some(bytes) = view.msgqueue_limit {
        out.add("oci_ipc_msgqueue_rlimit_bytes", &[], bytes);
    }
    out.add("oci_ipc_last_look_seconds", &[], view.now);
    out.text
}

fn objects(view: &View, out: &mut Samples) {
    let listing = &view.listing;
    out.add("oci_ipc_shm_bytes", &[], listing.shm.iter().map(|s| u128::from(s.size)).sum::<u128>());
    out.add("oci_ipc_shm_resident_bytes", &[], listing.shm.iter().map(|s| u128::from(s.rss)).sum::<u128>());
    out.add("oci_ipc_shm_attached", &[], listing.shm.iter().map(|s| s.nattch).sum::<u64>());
    let (msg, mq) = ([("kind", "msg")], [("kind", "mqueue")]);
    let contents = || listing.mqueue.iter().filter_map(|q| q.content);
    out.add("oci_ipc_messages", &msg, listing.msg.iter().map(|q| q.qnum).sum::<u64>());
    out.add("oci_ipc_messages", &mq, contents().map(|c| c.messages).sum::<u64>());
    out.add("oci_ipc_message_bytes", &msg, listing.msg.iter().map(|q| u128::from(q.cbytes)).sum::<u128>());
    out.add("oci_ipc_message_bytes", &mq, contents().map(|c| u128::from(c.bytes)).sum::<u128>());
    let ratio = |used: u64, most: u64| if most == 0 { 1.0 } else { used as f64 / most as f64 };
    let fullest = |ratios: &mut dyn Iterator<Item = f64>| ratios.fold(0.0, f64::max);
    // A System V queue is full when its bytes are, or when it holds as many messages as it may hold bytes.
    let mut filled = listing.msg.iter().filter_map(|q| Some(ratio(q.cbytes.max(q.qnum), q.qbytes?)));
    out.add("oci_ipc_fullest_queue_ratio", &msg, fullest(&mut filled));
    let mut filled = contents().map(|c| ratio(c.messages, c.max_messages));
    out.add("oci_ipc_fullest_queue_ratio", &mq, fullest(&mut filled));
}

/// The one sample of a namespace that could not be looked at.
pub fn refused(ino: u64) -> String {
    let mut out = Samples { text: String::new(), ns: ino };
    out.add("oci_ipc_up", &[], 0);
    out.text
}

/// Puts the samples of all namespaces under their headings: the format wants those of a metric together.
pub fn document(samples: &str) -> String {
    let mut out = String::with_capacity(samples.len() + 2048);
    for (name, help) in METRICS {
        let mut mine =
            samples.lines().filter(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))).peekable();
        if mine.peek().is_some() {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
            mine.for_each(|line| out.extend([line, "\n"]));
        }
    }
    out
}

struct Samples {
    text: String,
    ns: u64,
}

impl Samples {
    fn add(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{name}{{ipc_ns=\"{}\"", self.ns);
        for (label, text) in labels {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, ",{label}=\"{text}\"");
        }
        let _ = writeln!(self.text, "}} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stand_under_their_metric() {
        let mut one = Samples { text: String::new(), ns: 7 };
        one.add("oci_ipc_limit", &[("resource", "shmmni")], 4096);
        one.add("oci_ipc_up", &[], 1);
        one.add("oci_ipc_container_info", &[("container", "a\"\\\nb")], 1);
        let text = document(&(one.text + &refused(8)));
        assert_eq!(
            text,
            "# HELP oci_ipc_up 1 when the namespace could be looked at.\n# TYPE oci_ipc_up gauge\n\
             oci_ipc_up{ipc_ns=\"7\"} 1\noci_ipc_up{ipc_ns=\"8\"} 0\n\
             # HELP oci_ipc_container_info Containers that use the namespace.\n# TYPE oci_ipc_container_info gauge\n\
             oci_ipc_container_info{ipc_ns=\"7\",container=\"a\\\"\\\\\\nb\"} 1\n\
             # HELP oci_ipc_limit The limit, in the unit of oci_ipc_used.\n# TYPE oci_ipc_limit gauge\n\
             oci_ipc_limit{ipc_ns=\"7\",resource=\"shmmni\"} 4096\n"
        );
    }
}
