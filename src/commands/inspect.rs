//! `inspect`: what a namespace holds, or all of them.

use super::cli::InspectArgs;
use super::output::{replace, write};
use crate::containers;
use crate::enter::Target;
use crate::error::{Exit, Result};
use crate::inspect::all::{self, Format};
use crate::inspect::look::{Found, With};
use crate::inspect::{View, json, profile, prometheus, recorded, table};
use std::io::Write as _;
use std::path::Path;

/// Where the state of runtimes and engines lies.
const ROOT: &str = "/";

pub(super) fn run(args: &InspectArgs) -> Result<Exit> {
    let text = match &args.record {
        Some(id) => recorded::text(Path::new(ROOT), id, args.json)?,
        None if args.all => everything(args)?,
        None => one(args)?,
    };
    match &args.output {
        Some(path) => replace(path, &text)?,
        None => write(|out| out.write_all(&text))?,
    }
    Ok(Exit::Done)
}

fn one(args: &InspectArgs) -> Result<Vec<u8>> {
    let root = Path::new(ROOT);
    let target = match (&args.container, args.pid, &args.ns) {
        (Some(name), ..) => Target::Pid(containers::find(root, name)?.pid),
        (None, Some(pid), _) => Target::Pid(pid),
        (None, None, Some(path)) => Target::Path(path.clone()),
        (None, None, None) => Target::Own,
    };
    let with = if args.as_profile { With::Values } else { With::Objects };
    Ok(show(args, &Found::find(&target)?.look(&containers::all(root), with)?))
}

fn show(args: &InspectArgs, view: &View) -> Vec<u8> {
    let mut out = Vec::new();
    if args.as_profile {
        return profile::text(view).into_bytes();
    }
    if args.prometheus {
        return prometheus::document(&prometheus::samples(view)).into_bytes();
    }
    // Writing to memory does not fail.
    let _ = match args.json {
        true => json::write(&mut out, &[json::namespace(view)]),
        false => table::write(&mut out, view),
    };
    out
}

fn everything(args: &InspectArgs) -> Result<Vec<u8>> {
    let containers = containers::all(Path::new(ROOT));
    let format = match (args.json, args.prometheus) {
        (true, _) => Format::Json,
        (_, true) => Format::Prometheus,
        _ => Format::Summary,
    };
    let mut out = Vec::new();
    let shown = all::groups().into_iter().map(|group| (group.show(&containers, format), group));
    match format {
        Format::Json => {
            let pieces: Vec<_> =
                shown.map(|(shown, g)| shown.unwrap_or_else(|error| json::refused(g.id, &g.pids, &error))).collect();
            let _ = json::write(&mut out, &pieces);
        }
        Format::Prometheus => {
            let pieces: Vec<_> =
                shown.map(|(shown, g)| shown.unwrap_or_else(|_| prometheus::refused(g.id.ino).into_bytes())).collect();
            out = prometheus::document(&String::from_utf8_lossy(&pieces.concat())).into_bytes();
        }
        Format::Summary | Format::Advice => {
            let (mut table, mut notes) = (table::Table::new(&table::SUMMARY), String::new());
            for (shown, group) in shown {
                match shown.as_deref().map(all::cells) {
                    Ok(Some(cells)) => table.row(cells),
                    Ok(None) => table.row(table::refused(group.id, &group.pids)),
                    Err(error) => {
                        table.row(table::refused(group.id, &group.pids));
                        notes.push_str(&format!("{error}\n"));
                    }
                }
            }
            let _ = table.write(&mut out).and_then(|()| out.write_all(notes.as_bytes()));
        }
    }
    Ok(out)
}
