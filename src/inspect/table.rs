//! A namespace for people: limits with their use, then the objects, in lsipc's columns.

use super::json::KeyText;
use super::{Seen, View};
use crate::ipc::{NamespaceId, Sysctl, SysctlValue, sysctl::UNLIMITED};
use crate::text::escape;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Cells of a full bar.
const BAR: usize = 10;

/// Writes one namespace.
///
/// # Errors
/// The writer's.
pub fn write(out: &mut impl Write, view: &View) -> io::Result<()> {
    writeln!(out, "{}", title(view))?;
    writeln!(out)?;
    limits(view).write(out)?;
    for (name, table) in [
        ("Shared memory", shm(view)),
        ("Semaphores", sem(view)),
        ("Message queues", msg(view)),
        ("POSIX queues", mqueue(view)),
    ] {
        if !table.rows.is_empty() {
            writeln!(out, "\n{name}")?;
            table.write(out)?;
        }
    }
    if let Some(drift) = &view.drift {
        out.write_all(super::drift::text(drift).as_bytes())?;
    }
    for advice in super::advice::advice(view) {
        writeln!(out, "\n{}, {}\n  -> {}", advice.found, advice.effect, advice.cure)?;
    }
    if let Some(error) = &view.listing.mqueue_error {
        writeln!(out, "\nPOSIX queues cannot be listed here: {error}")?;
    }
    Ok(())
}

fn title(view: &View) -> String {
    let host = if view.is_initial() { ", the host's" } else { "" };
    let processes = match view.pids.len() {
        0 => "no process that can be seen".to_owned(),
        1 => "1 process".to_owned(),
        n => format!("{n} processes"),
    };
    let containers: Vec<_> = view.containers.iter().map(|c| format!(", {} {}", c.engine, escape(c.short()))).collect();
    format!("IPC namespace {}{host}, {processes}{}", view.id.ino, containers.concat())
}

/// One row of the table of limits: lsipc's name, what it counts, the sysctl and its field.
const LIMITS: [(&str, &str, Sysctl, usize); 16] = [
    ("MSGMNI", "message queues", Sysctl::Msgmni, 0),
    ("MSGMAX", "bytes of a message", Sysctl::Msgmax, 0),
    ("MSGMNB", "bytes of a new queue", Sysctl::Msgmnb, 0),
    ("SHMMNI", "segments", Sysctl::Shmmni, 0),
    ("SHMALL", "pages of all segments", Sysctl::Shmall, 0),
    ("SHMMAX", "bytes of a segment", Sysctl::Shmmax, 0),
    ("RMID_FORCED", "destroy unattached segments", Sysctl::ShmRmidForced, 0),
    ("SEMMNI", "semaphore sets", Sysctl::Sem, 3),
    ("SEMMNS", "semaphores of all sets", Sysctl::Sem, 1),
    ("SEMMSL", "semaphores of a set", Sysctl::Sem, 0),
    ("SEMOPM", "operations of a semop", Sysctl::Sem, 2),
    ("QUEUES_MAX", "POSIX queues", Sysctl::MqQueuesMax, 0),
    ("MSG_MAX", "messages of a POSIX queue", Sysctl::MqMsgMax, 0),
    ("MSG_DEFAULT", "of one that does not say", Sysctl::MqMsgDefault, 0),
    ("MSGSIZE_MAX", "bytes of a POSIX message", Sysctl::MqMsgsizeMax, 0),
    ("MSGSIZE_DEFAULT", "of one that does not say", Sysctl::MqMsgsizeDefault, 0),
];

fn limits(view: &View) -> Table {
    let mut table = Table::new(&["RESOURCE", "COUNTS", ">LIMIT", ">USED", ">USE%", "", "SYSCTL", "KERNEL DEFAULT"]);
    let usage = view.usage();
    for (name, counts, sysctl, field) in LIMITS {
        let Some(value) = view.sysctl(sysctl) else { continue };
        let used = usage.iter().find(|u| u.name.eq_ignore_ascii_case(name));
        let (used, percent, bar) = match used {
            Some(u) => (
                u.used.to_string(),
                u.percent().map_or("-".to_owned(), percent),
                u.percent().map_or(String::new(), bar),
            ),
            None => ("-".to_owned(), "-".to_owned(), String::new()),
        };
        let default = sysctl.kernel_default();
        let changed = match default.field(field) == value.field(field) {
            true => String::new(),
            false => limit(default, field),
        };
        let sysctl = match sysctl {
            Sysctl::Sem => format!("{sysctl} ({}.)", field + 1),
            other => other.name().to_owned(),
        };
        table.row([name.into(), counts.into(), limit(value, field), used, percent, bar, sysctl, changed]);
    }
    if let Some(bytes) = view.msgqueue_limit {
        let none = || "-".to_owned();
        let limit = if bytes == u64::MAX { "unlimited".to_owned() } else { bytes.to_string() };
        let (name, counts) = ("MSGQUEUE".to_owned(), "bytes of a user's POSIX queues".to_owned());
        table.row([name, counts, limit, none(), none(), String::new(), "RLIMIT_MSGQUEUE".to_owned(), String::new()]);
    }
    table
}

fn limit(value: SysctlValue, field: usize) -> String {
    match value.field(field) {
        UNLIMITED.. => "unlimited".to_owned(),
        n => n.to_string(),
    }
}

/// Never `0%` for something, never `100%` for less than all.
fn percent(percent: f64) -> String {
    match percent {
        0.0 => "0%".to_owned(),
        p if p < 0.01 => "<0.01%".to_owned(),
        p if p < 10.0 => format!("{p:.2}%"),
        p if (99.0..100.0).contains(&p) => "99%".to_owned(),
        p => format!("{p:.0}%"),
    }
}

fn bar(percent: f64) -> String {
    let cells = (percent / 100.0 * BAR as f64).ceil().clamp(0.0, BAR as f64) as usize;
    format!("[{}{}]", "#".repeat(cells), ".".repeat(BAR - cells))
}

fn owner(view: &View, seen: Seen) -> String {
    match seen.outside {
        None => seen.inside.to_string(),
        Some(outside) if view.ids.are_same() || outside == seen.inside => seen.inside.to_string(),
        Some(outside) => format!("{} (host {outside})", seen.inside),
    }
}

fn age(view: &View, time: i64) -> String {
    match time {
        0 => "never".to_owned(),
        time => span(view.now.saturating_sub(time)),
    }
}

/// Seconds in the largest unit that fits.
pub(super) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..86_400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// Number and name of a process that may have ended.
fn process(pid: i32) -> String {
    if pid == 0 {
        return "-".to_owned();
    }
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("{pid} {}", escape(name.trim_end())),
        Err(_) => format!("{pid} (ended)"),
    }
}

fn shm(view: &View) -> Table {
    let mut table =
        Table::new(&["KEY", ">ID", "PERMS", "OWNER", "CREATOR", ">SIZE", ">RSS", ">NATTCH", "STATUS", ">AGE", "CPID"]);
    // Thousands of segments have few creators: each is looked up once.
    let mut creators = BTreeMap::new();
    for s in &view.listing.shm {
        let (seen, creator) = view.owners(&s.common);
        let status = match (s.removed, s.locked) {
            (true, true) => "dest,locked",
            (true, false) => "dest",
            (false, true) => "locked",
            (false, false) => "",
        };
        table.row([
            KeyText(s.common.key).to_string(),
            s.common.id.to_string(),
            s.common.mode.to_string(),
            owner(view, seen),
            owner(view, creator),
            s.size.to_string(),
            s.rss.to_string(),
            s.nattch.to_string(),
            status.to_owned(),
            age(view, s.common.ctime),
            creators.entry(s.cpid).or_insert_with(|| process(s.cpid)).clone(),
        ]);
    }
    table
}

fn sem(view: &View) -> Table {
    let mut table = Table::new(&["KEY", ">ID", "PERMS", "OWNER", "CREATOR", ">NSEMS", ">LAST-OP", ">AGE"]);
    for s in &view.listing.sem {
        let (seen, creator) = view.owners(&s.common);
        table.row([
            KeyText(s.common.key).to_string(),
            s.common.id.to_string(),
            s.common.mode.to_string(),
            owner(view, seen),
            owner(view, creator),
            s.nsems.to_string(),
            age(view, s.otime),
            age(view, s.common.ctime),
        ]);
    }
    table
}

fn msg(view: &View) -> Table {
    let mut table = Table::new(&[
        "KEY",
        ">ID",
        "PERMS",
        "OWNER",
        "CREATOR",
        ">USEDBYTES",
        ">MSGS",
        ">MAXBYTES",
        ">LSEND",
        ">LRECV",
        ">AGE",
    ]);
    for q in &view.listing.msg {
        let (seen, creator) = view.owners(&q.common);
        table.row([
            KeyText(q.common.key).to_string(),
            q.common.id.to_string(),
            q.common.mode.to_string(),
            owner(view, seen),
            owner(view, creator),
            q.cbytes.to_string(),
            q.qnum.to_string(),
            q.qbytes.map_or("-".to_owned(), |n| n.to_string()),
            age(view, q.stime),
            age(view, q.rtime),
            age(view, q.common.ctime),
        ]);
    }
    table
}

fn mqueue(view: &View) -> Table {
    let mut table = Table::new(&["NAME", "PERMS", "OWNER", ">USEDBYTES", ">MSGS", ">MAXMSGS", ">MSGSIZE"]);
    for q in &view.listing.mqueue {
        let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
        table.row([
            escape(&String::from_utf8_lossy(&q.name)).into_owned(),
            q.mode.to_string(),
            owner(view, view.ids.seen(q.owner)),
            number(q.content.map(|c| c.bytes)),
            number(q.content.map(|c| c.messages)),
            number(q.content.map(|c| c.max_messages)),
            number(q.content.map(|c| c.message_size)),
        ]);
    }
    table
}

/// The columns of [`summary`].
pub const SUMMARY: [&str; 10] =
    ["NS", ">NPROCS", ">PID", "COMMAND", ">SHM", ">SEM", ">MSG", ">MQUEUE", "FULLEST", "CONTAINERS"];

/// One row for a namespace among all.
pub fn summary(view: &View) -> [String; 10] {
    let pid = view.pids.first().copied();
    let listing = &view.listing;
    let fullest = view.fullest().map_or("-".to_owned(), |(u, p)| format!("{} {}", u.name.to_uppercase(), percent(p)));
    let containers: Vec<_> = view.containers.iter().map(|c| format!("{}:{}", c.engine, escape(c.short()))).collect();
    let host = if view.is_initial() { "(host)" } else { "-" };
    [
        view.id.ino.to_string(),
        view.pids.len().to_string(),
        pid.map_or("-".to_owned(), |pid| pid.to_string()),
        pid.map_or("-".to_owned(), command),
        listing.shm.len().to_string(),
        listing.sem.len().to_string(),
        listing.msg.len().to_string(),
        listing.mqueue.len().to_string(),
        fullest,
        if containers.is_empty() { host.to_owned() } else { containers.join(" ") },
    ]
}

/// The same for one that could not be looked at.
pub fn refused(id: NamespaceId, pids: &[i32]) -> [String; 10] {
    let none = || "?".to_owned();
    let pid = pids.first().copied();
    let (number, name) = pid.map_or((none(), none()), |pid| (pid.to_string(), command(pid)));
    [id.ino.to_string(), pids.len().to_string(), number, name, none(), none(), none(), none(), none(), none()]
}

fn command(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).map_or("?".to_owned(), |name| escape(name.trim_end()).into())
}

/// Aligned columns; `>` in front of a heading: to the right.
#[derive(Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headings: &[&'static str]) -> Table {
        Table { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; as many cells as there are headings.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Writes heading and rows.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut widths: Vec<usize> = self.headings.iter().map(|h| h.trim_start_matches('>').len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let headings = self.headings.iter().map(|h| h.trim_start_matches('>'));
        self.line(out, &widths, headings)?;
        for row in &self.rows {
            self.line(out, &widths, row.iter().map(String::as_str))?;
        }
        Ok(())
    }

    fn line<'c>(&self, out: &mut impl Write, widths: &[usize], cells: impl Iterator<Item = &'c str>) -> io::Result<()> {
        let mut line = String::new();
        for ((heading, width), cell) in self.headings.iter().zip(widths).zip(cells) {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            match heading.starts_with('>') {
                true => line.extend([&padding, cell, "  "]),
                false => line.extend([cell, &padding, "  "]),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}
