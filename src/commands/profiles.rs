//! `profiles`: what is installed, and what the numbers of a profile become.

mod export;
mod import;

use super::check::{in_directory, installed_options};
use super::cli::{ProfilesArgs, ProfilesVerb};
use super::output::print;
use crate::error::{Error, Exit, Result};
use crate::installed::{self, RequestOptions};
use crate::ipc::SysctlValue;
use crate::kernel::limits::{memory_total, page_size};
use crate::plan::render::spec_text;
use crate::report::{self, Integer};
use crate::request::amount::parse_size;
use crate::request::annotation::ProfileName;
use crate::request::{Authority, FileWish, Memory, ObjectWish, Profile, Target, merge};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub(super) fn run(args: &ProfilesArgs) -> Result<Exit> {
    let options = installed_options(args.profiles_dir.as_ref());
    match &args.verb {
        ProfilesVerb::List { json } => list(&options, *json),
        ProfilesVerb::Import { files, at_least } => import::run(files, *at_least),
        ProfilesVerb::Export { name, format, memory } => {
            export::run(&options, name, format.chosen(), memory.as_deref())
        }
        ProfilesVerb::Show { name, memory, json } => show(&options, name, memory.as_deref(), *json),
    }
}

#[derive(Serialize)]
struct Entry {
    name: String,
    file: PathBuf,
    description: Option<String>,
    source: Option<String>,
    error: Option<String>,
}

fn list(options: &RequestOptions, json: bool) -> Result<Exit> {
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    // Later directories are overridden by earlier ones.
    for dir in installed::directories(options).iter().rev() {
        let found = match in_directory(dir, "toml") {
            // The installed ones need not be there.
            Err(_) if options.profiles_dir.is_none() => continue,
            found => found.map_err(|e| unreadable(dir, &e))?,
        };
        for file in found {
            let Some(name) = file.file_stem().map(|n| n.to_string_lossy().into_owned()) else { continue };
            files.insert(name, file);
        }
    }
    let entries: Vec<_> = files.into_iter().map(|(name, file)| entry(options, name, file)).collect();
    let exit = if entries.iter().any(|e| e.error.is_some()) { Exit::BadInput } else { Exit::Done };
    if json {
        print(&(report::pretty(&entries) + "\n"))?;
        return Ok(exit);
    }
    let width = entries.iter().map(|e| e.name.len()).max().unwrap_or(4).max(4);
    let mut out = format!("{:<width$}  DESCRIPTION\n", "NAME");
    for entry in &entries {
        let text = match &entry.error {
            Some(error) => format!("problem: {error}"),
            None => entry.description.clone().unwrap_or_default(),
        };
        let _ = writeln!(out, "{:<width$}  {}", entry.name, crate::text::escape(&text));
    }
    print(&out)?;
    Ok(exit)
}

fn unreadable(dir: &Path, error: &std::io::Error) -> Error {
    let error = Error::bad_input("--profiles-dir", error.to_string()).found(dir.display());
    error.remedy("name a directory of profiles that can be read")
}

fn entry(options: &RequestOptions, name: String, file: PathBuf) -> Entry {
    let profile = name
        .parse::<ProfileName>()
        .map_err(|why| Error::bad_input(format!("{name}.toml"), why.to_string()))
        .and_then(|name| installed::named(options, &name, Authority::Administrator));
    match profile {
        Ok(profile) => Entry { name, file, description: profile.description, source: profile.source, error: None },
        Err(error) => Entry { name, file, description: None, source: None, error: Some(error.to_string()) },
    }
}

fn show(options: &RequestOptions, name: &str, memory: Option<&str>, json: bool) -> Result<Exit> {
    let name: ProfileName = name.parse().map_err(|why: crate::ipc::ValueError| {
        Error::bad_input("profiles show", why.to_string()).found(format!("\"{name}\""))
    })?;
    let profile = installed::named(options, &name, Authority::Administrator)?;
    let memory = stated_memory(memory)?;
    let request = merge(vec![profile.clone()], Some(&memory), page_size())?;
    let text = match json {
        true => shown_json(&name, &profile, &memory, &request.sysctls, &request.notes) + "\n",
        false => shown_text(&name, &profile, &memory, &request),
    };
    print(&text)?;
    Ok(Exit::Done)
}

fn stated_memory(memory: Option<&str>) -> Result<Memory> {
    let (bytes, from) = match memory {
        Some(text) => (
            parse_size(text)
                .map_err(|why| Error::bad_input("--memory", why.to_string()).found(format!("\"{text}\"")))?,
            "--memory",
        ),
        None => (memory_total().map_err(|e| Error::failed("memory", e.to_string()))?, "MemTotal"),
    };
    Ok(Memory { bytes, from: from.to_owned(), page_size: page_size() })
}

fn shown_text(name: &ProfileName, profile: &Profile, memory: &Memory, request: &crate::request::Request) -> String {
    let mut out = format!("{name}: {}\n", profile.description.as_deref().unwrap_or("no description"));
    let _ = writeln!(out, "source: {}", profile.source.as_deref().unwrap_or("not stated"));
    if profile.needs_memory() {
        let _ = writeln!(out, "memory: {} bytes ({})", memory.bytes, memory.from);
    }
    let rows: Vec<[String; 4]> = request.sysctls.iter().flat_map(|t| sysctl_rows(t, profile)).collect();
    let width = |column: usize| rows.iter().map(|r| r[column].len()).max().unwrap_or(0);
    let (a, b, c) = (width(0), width(1), width(2));
    for [name, wish, number, effect] in &rows {
        let _ = writeln!(out, "{name:<a$}  {wish:<b$}  {number:>c$}  {effect}");
    }
    for object in &request.objects {
        let _ = writeln!(out, "{}  {}", object.id, object_text(object));
    }
    for wish in &request.by_file {
        let _ = writeln!(out, "{} key of {}  {}", wish.kind, wish.file, by_file_text(wish));
    }
    for note in &request.notes {
        let _ = writeln!(out, "note: {note}");
    }
    crate::text::escape(&out).replace("\\n", "\n")
}

/// Name, wish, number, and what it does to a fresh namespace.
fn sysctl_rows(target: &Target, profile: &Profile) -> Vec<[String; 4]> {
    let default = target.sysctl.kernel_default();
    target
        .asked()
        .map(|(index, range)| {
            let there = default.field(index);
            let wanted = range.nearest(there);
            let written = profile.sysctls.iter().filter(|s| s.sysctl == target.sysctl);
            let wish = written.filter_map(|s| s.wished.fields()[index]).map(|w| w.to_string()).collect::<Vec<_>>();
            let number = range.limits().map(|(bound, l)| format!("{}{}", bound.prefix(), l.value)).collect::<Vec<_>>();
            let effect = match wanted.cmp(&there) {
                std::cmp::Ordering::Equal => format!("the kernel's default {there} stays"),
                std::cmp::Ordering::Greater => format!("raises the kernel's default {there}"),
                std::cmp::Ordering::Less => format!("lowers the kernel's default {there}"),
            };
            [target.field_name(index), wish.join(", "), number.join(", "), effect]
        })
        .collect()
}

/// As for any other; which key it is does not show in it.
fn by_file_text(wish: &FileWish) -> String {
    wish.file.key(0, 0).map_or_else(String::new, |key| object_text(&wish.clone().with_key(key)))
}

fn object_text(object: &ObjectWish) -> String {
    let spec = crate::ipc::ObjectSpec {
        id: object.id.clone(),
        shape: object.shape.clone(),
        mode: object.mode.unwrap_or(crate::ipc::Mode::DEFAULT),
        owner: object.owner.unwrap_or(crate::ipc::Owner { uid: 0, gid: 0 }),
    };
    let text = spec_text(&spec);
    match object.owner {
        Some(_) => text,
        None => text.replace("owner 0:0", "owner: the container's user"),
    }
}

#[derive(Serialize)]
struct ShownSysctl {
    name: String,
    wanted: Integer,
    default: Integer,
    bounds: Vec<String>,
}

fn shown_json(name: &ProfileName, profile: &Profile, memory: &Memory, targets: &[Target], notes: &[String]) -> String {
    let sysctls: Vec<_> = targets
        .iter()
        .flat_map(|t| {
            let default: SysctlValue = t.sysctl.kernel_default();
            t.asked().map(move |(index, range)| ShownSysctl {
                name: t.field_name(index),
                wanted: Integer(range.nearest(default.field(index))),
                default: Integer(default.field(index)),
                bounds: range.limits().map(|(bound, l)| format!("{}{}", bound.prefix(), l.value)).collect(),
            })
        })
        .collect();
    let objects = profile.objects.iter().map(|o| format!("{} {}", o.id, object_text(o)));
    let by_file = profile.by_file.iter().map(|w| format!("{} key of {} {}", w.kind, w.file, by_file_text(w)));
    let objects: Vec<_> = objects.chain(by_file).collect();
    let value = serde_json::json!({
        "name": name.as_str(), "description": profile.description, "source": profile.source,
        "memory": Integer(memory.bytes), "sysctl": sysctls, "objects": objects, "notes": notes,
    });
    report::pretty(&value)
}
