//! Profiles: what a document of [`crate::doc`] asks for, checked key by key.

use super::amount::{Wish, Wished, parse_size};
use super::{Authority, By};
use crate::doc::{self, Node, Place, Table, Value};
use crate::error::{Error, Result};
use crate::ipc::{Kind, Mode, ObjectId, Owner, QueueName, SemField, Shape, Sysctl, ValueError};
use key::{KeyWish, id};
use std::fmt;
use std::rc::Rc;

mod key;

pub use key::{FileWish, Rest};

/// Largest profile that is read, in bytes.
pub const MAX_PROFILE: usize = 256 << 10;

/// One profile, or the inline part of annotations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// What it is for, in one line.
    pub description: Option<String>,
    /// Where its numbers come from.
    pub source: Option<String>,
    /// Wanted sysctls.
    pub sysctls: Vec<SysctlWish>,
    /// Wanted objects.
    pub objects: Vec<ObjectWish>,
    /// Those whose keys are taken from files of the container.
    pub by_file: Vec<FileWish>,
}

/// A wanted sysctl.
#[derive(Clone, Debug, PartialEq)]
pub struct SysctlWish {
    /// Which.
    pub sysctl: Sysctl,
    /// How much.
    pub wished: Wished,
    /// On whose word.
    pub by: By,
}

/// A wanted object. What the profile does not write is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectWish {
    /// Key or name.
    pub id: ObjectId,
    /// Shape.
    pub shape: Shape,
    /// Permission bits.
    pub mode: Option<Mode>,
    /// Owner.
    pub owner: Option<Owner>,
    /// What to do when it is there already.
    pub if_exists: IfExists,
    /// What clean-up does with it in a shared namespace.
    pub on_stop: OnStop,
    /// On whose word.
    pub by: By,
}

impl ObjectWish {
    /// The same request, whoever makes it.
    pub fn same_as(&self, other: &ObjectWish) -> bool {
        let key = |o: &ObjectWish| (o.id.clone(), o.shape.clone(), o.mode, o.owner, o.if_exists, o.on_stop);
        key(self) == key(other)
    }
}

/// `if-exists`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfExists {
    /// Use it when its shape is the one asked for.
    #[default]
    Keep,
    /// Fail.
    Fail,
    /// Destroy it with its content and make a new one.
    Replace,
}

/// `on-stop`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStop {
    /// Leave it to the namespace's end.
    #[default]
    Keep,
    /// Remove it when the container stops.
    Remove,
}

const TOP: [&str; 8] = ["format", "description", "source", "sysctl", "shm", "sem", "msg", "mqueue"];
const COMMON: [&str; 4] = ["mode", "owner", "if-exists", "on-stop"];

impl Profile {
    /// Reads a profile's TOML text. `by` names it in reports, `document` in error messages.
    ///
    /// # Errors
    /// Anything that is not a profile: names document, line, column and key.
    pub fn parse_toml(document: &str, text: &str, by: &By) -> Result<Profile> {
        let place = Place { document };
        let table = doc::toml::parse(place, text)?;
        Reader { place, by, in_file: true }.profile(&table)
    }

    /// Reads the objects of an annotation: `{"shm":[…],"sem":[…],"msg":[…],"mqueue":[…]}`.
    ///
    /// # Errors
    /// As [`Profile::parse_toml`]; `if-exists = "replace"` is for files only.
    pub fn parse_objects_json(document: &str, text: &str, by: &By) -> Result<Vec<ObjectWish>> {
        let place = Place { document };
        let node = doc::json::parse(place, text)?;
        let reader = Reader { place, by, in_file: false };
        let mut profile = Profile::default();
        for (key, node) in place.table(&node, "")? {
            match Kind::ALL.into_iter().find(|k| k.name() == key.name) {
                Some(kind) => reader.objects(kind, node, &mut profile)?,
                None => return Err(place.unknown_key(key, "", &Kind::ALL.map(Kind::name))),
            }
        }
        Ok(profile.objects)
    }

    /// True when a formula of memory is used.
    pub fn needs_memory(&self) -> bool {
        self.sysctls.iter().any(|s| s.wished.needs_memory())
    }
}

/// A named source of the administrator's, such as `profile:db2`.
pub fn administrators(source: &str) -> By {
    By::new(Rc::from(source), 0, Authority::Administrator)
}

struct Reader<'p> {
    place: Place<'p>,
    by: &'p By,
    /// Not a container's annotation.
    in_file: bool,
}

/// The keys of an object's table while they are collected.
#[derive(Default)]
struct Fields<'n> {
    key: Option<KeyWish>,
    name: Option<QueueName>,
    size: Option<u64>,
    nsems: Option<u64>,
    values: Option<Vec<u16>>,
    max_bytes: Option<u64>,
    max_messages: Option<u64>,
    message_size: Option<u64>,
    mode: Option<Mode>,
    owner: Option<Owner>,
    if_exists: IfExists,
    on_stop: OnStop,
    values_at: Option<&'n Node<'n>>,
}

/// A key of an object's table, such as `sem.nsems`; in words only when something is wrong with it.
#[derive(Clone, Copy)]
struct What<'w>(Kind, &'w str);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.name(), self.1)
    }
}

impl Reader<'_> {
    fn profile(&self, table: &Table<'_>) -> Result<Profile> {
        let mut profile = Profile::default();
        let mut has_format = false;
        for (key, node) in table {
            match key.name.as_ref() {
                "format" => {
                    self.place.format(node)?;
                    has_format = true;
                }
                "description" => profile.description = Some(self.place.text(node, "description")?.to_owned()),
                "source" => profile.source = Some(self.place.text(node, "source")?.to_owned()),
                "sysctl" => self.sysctls(node, &mut profile.sysctls)?,
                other => match Kind::ALL.into_iter().find(|k| k.name() == other) {
                    Some(kind) => self.objects(kind, node, &mut profile)?,
                    None => return Err(self.place.unknown_key(key, "", &TOP)),
                },
            }
        }
        if !has_format {
            let error = Error::bad_input(self.place.document, "the line 'format = 1' is missing");
            return Err(error.remedy("put it at the top of the profile"));
        }
        Ok(profile)
    }

    fn sysctls(&self, node: &Node<'_>, out: &mut Vec<SysctlWish>) -> Result<()> {
        for (key, node) in self.place.table(node, "sysctl")? {
            let sysctl = key.name.parse::<Sysctl>().map_err(|_| self.unknown_sysctl(key, node))?;
            let wished = self.wished(sysctl, node)?;
            out.push(SysctlWish { sysctl, wished, by: self.by.at(node.at.line) });
        }
        Ok(())
    }

    fn unknown_sysctl(&self, key: &doc::Key<'_>, node: &Node<'_>) -> Error {
        let unquoted = self.place.unquoted_sysctl(key, node, "sysctl");
        unquoted.unwrap_or_else(|| self.place.unknown_key(key, "sysctl", &Sysctl::ALL.map(Sysctl::name)))
    }

    fn wished(&self, sysctl: Sysctl, node: &Node<'_>) -> Result<Wished> {
        let bad = |why| self.place.bad_value(node, sysctl.name(), &why);
        match &node.value {
            Value::Text(text) | Value::Number(text)
                if sysctl != Sysctl::Sem || matches!(node.value, Value::Text(_)) =>
            {
                Wished::parse(sysctl, text).map_err(bad)
            }
            Value::Table(table) if sysctl == Sysctl::Sem => {
                let mut fields: [Option<Wish>; 4] = [None; 4];
                for (key, node) in table {
                    let Some(field) = SemField::ALL.into_iter().find(|f| f.name() == key.name) else {
                        return Err(self.place.unknown_key(key, "kernel.sem", &SemField::ALL.map(SemField::name)));
                    };
                    let what = format!("kernel.sem.{}", field.name());
                    let text = self.text_or_digits(node, &what)?;
                    let wish =
                        Wished::parse_field(field, text).map_err(|why| self.place.bad_value(node, &what, &why))?;
                    fields[field as usize] = Some(wish);
                }
                if table.is_empty() {
                    return Err(bad(ValueError::new("no field is named")));
                }
                Ok(Wished::Sem(fields))
            }
            _ if sysctl == Sysctl::Sem => Err(self.place.wrong_kind(node, sysctl.name(), "a string or a table")),
            _ => Err(self.place.wrong_kind(node, sysctl.name(), "a number or a string")),
        }
    }

    fn text_or_digits<'n>(&self, node: &'n Node<'_>, what: impl fmt::Display) -> Result<&'n str> {
        match &node.value {
            Value::Text(text) | Value::Number(text) => Ok(text),
            _ => Err(self.place.wrong_kind(node, what, "a number or a string")),
        }
    }

    fn objects(&self, kind: Kind, node: &Node<'_>, out: &mut Profile) -> Result<()> {
        let nodes = self.place.array(node, kind.name())?;
        out.objects.reserve(nodes.len());
        for node in nodes {
            self.object(kind, node, out)?;
        }
        Ok(())
    }

    fn object(&self, kind: Kind, node: &Node<'_>, out: &mut Profile) -> Result<()> {
        let mut f = Fields::default();
        for (key, value) in self.place.table(node, kind.name())? {
            if !self.object_field(kind, &key.name, value, &mut f)? {
                let own: &[&str] = match kind {
                    Kind::Shm => &["key", "size"],
                    Kind::Sem => &["key", "values", "nsems"],
                    Kind::Msg => &["key", "max-bytes"],
                    Kind::Mqueue => &["name", "max-messages", "message-size"],
                };
                return Err(self.place.unknown_key(key, kind.name(), &[own, &COMMON].concat()));
            }
        }
        let missing = |what: &str| self.place.error(node.at, kind.name(), format!("'{what}' is missing"));
        let shape = match kind {
            Kind::Mqueue => Shape::Mqueue { max_messages: f.max_messages, message_size: f.message_size },
            _ if f.key.is_none() => return Err(missing("key")),
            Kind::Shm => Shape::Shm { size: f.size.ok_or_else(|| missing("size"))? },
            Kind::Sem => self.sem_shape(&f)?.ok_or_else(|| missing("nsems' or 'values"))?,
            Kind::Msg => Shape::Msg { max_bytes: f.max_bytes },
        };
        let Fields { mode, owner, if_exists, on_stop, .. } = f;
        let rest = Rest { shape, mode, owner, if_exists, on_stop, by: self.by.at(node.at.line) };
        match (f.key, f.name) {
            (Some(KeyWish::Number(key)), _) => out.objects.push(rest.of(id(kind, key))),
            (Some(KeyWish::File(file)), _) => out.by_file.push(FileWish { file, kind, rest }),
            (None, Some(name)) => out.objects.push(rest.of(ObjectId::Mqueue(name))),
            (None, None) => return Err(missing("name")),
        }
        Ok(())
    }

    fn sem_shape(&self, f: &Fields<'_>) -> Result<Option<Shape>> {
        match (f.nsems, &f.values) {
            (None, None) => Ok(None),
            (Some(n), None) => Ok(Some(Shape::Sem { nsems: n as u32, values: Vec::new() })),
            (None, Some(values)) => {
                let nsems = values.len() as u32;
                let values = if values.iter().all(|v| *v == 0) { Vec::new() } else { values.clone() };
                Ok(Some(Shape::Sem { nsems, values }))
            }
            (Some(_), Some(_)) => {
                let at = f.values_at.map_or_else(Default::default, |n| n.at);
                Err(self.place.error(at, "sem", "'nsems' and 'values' exclude each other").remedy("keep 'values'"))
            }
        }
    }

    /// Reads one key of an object; `false` when the kind has no such key.
    fn object_field<'n>(&self, kind: Kind, name: &str, node: &'n Node<'n>, f: &mut Fields<'n>) -> Result<bool> {
        let what = What(kind, name);
        let bad = |why| self.place.bad_value(node, what, &why);
        match (kind, name) {
            (Kind::Mqueue, "name") => f.name = Some(self.place.text(node, what)?.parse().map_err(bad)?),
            (Kind::Mqueue, "max-messages") => f.max_messages = Some(self.ranged(node, what, 1, 65536)?),
            (Kind::Mqueue, "message-size") => f.message_size = Some(self.size(node, what, 1, 16 << 20)?),
            (Kind::Shm, "size") => f.size = Some(self.size(node, what, 1, i64::MAX as u64)?),
            (Kind::Msg, "max-bytes") => f.max_bytes = Some(self.size(node, what, 1, i32::MAX as u64)?),
            (Kind::Sem, "nsems") => f.nsems = Some(self.ranged(node, what, 1, i32::MAX as u64)?),
            (Kind::Sem, "values") => {
                f.values = Some(self.sem_values(node)?);
                f.values_at = Some(node);
            }
            (Kind::Shm | Kind::Sem | Kind::Msg, "key") => f.key = Some(self.key(node, what)?),
            (_, "mode") => f.mode = Some(self.place.text(node, what)?.parse().map_err(bad)?),
            (_, "owner") => f.owner = Some(self.place.text(node, what)?.parse().map_err(bad)?),
            (_, "if-exists") => {
                f.if_exists = match self.place.text(node, what)? {
                    "keep" => IfExists::Keep,
                    "fail" => IfExists::Fail,
                    "replace" if self.in_file => IfExists::Replace,
                    "replace" => return Err(bad(ValueError::new("only a profile in a file may replace objects"))),
                    _ => return Err(bad(ValueError::new("not one of \"keep\", \"fail\", \"replace\""))),
                }
            }
            (_, "on-stop") => {
                f.on_stop = match self.place.text(node, what)? {
                    "keep" => OnStop::Keep,
                    "remove" => OnStop::Remove,
                    _ => return Err(bad(ValueError::new("not one of \"keep\", \"remove\""))),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn sem_values(&self, node: &Node<'_>) -> Result<Vec<u16>> {
        let what = What(Kind::Sem, "values");
        let nodes = self.place.array(node, what)?;
        if nodes.is_empty() {
            return Err(self.place.error(node.at, "sem.values", "a set has at least one semaphore"));
        }
        nodes.iter().map(|n| self.ranged(n, what, 0, 32767).map(|v| v as u16)).collect()
    }

    fn ranged(&self, node: &Node<'_>, what: What<'_>, min: u64, max: u64) -> Result<u64> {
        let n = self.place.number(node, what)?;
        self.in_range(node, what, n, min, max)
    }

    fn size(&self, node: &Node<'_>, what: What<'_>, min: u64, max: u64) -> Result<u64> {
        let text = self.text_or_digits(node, what)?;
        let n = parse_size(text).map_err(|why| self.place.bad_value(node, what, &why))?;
        self.in_range(node, what, n, min, max)
    }

    fn in_range(&self, node: &Node<'_>, what: What<'_>, n: u64, min: u64, max: u64) -> Result<u64> {
        if (min..=max).contains(&n) {
            return Ok(n);
        }
        Err(self.place.bad_value(node, what, &ValueError::new(format!("out of range: {min} to {max}"))))
    }
}

#[cfg(test)]
mod tests;
