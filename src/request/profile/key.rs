//! How a profile names a System V object: by a number, or by what ftok(3) makes of a file of the container.

use super::{IfExists, ObjectWish, OnStop, Reader, What};
use crate::doc::{Node, Value};
use crate::error::Result;
use crate::ipc::{FileKey, Key, Kind, Mode, ObjectId, Owner, Shape, ValueError};
use crate::request::By;

/// What `key` holds.
pub(super) enum KeyWish {
    /// The key.
    Number(Key),
    /// What gives it in the container.
    File(FileKey),
}

/// A wanted System V object whose key only the container's file tells.
#[derive(Clone, Debug, PartialEq)]
pub struct FileWish {
    /// What gives the key.
    pub file: FileKey,
    /// Its kind.
    pub kind: Kind,
    /// Everything else that is asked for.
    pub rest: Rest,
}

/// An [`ObjectWish`] without what names the object.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
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

impl FileWish {
    /// The wish, now that the key is known.
    pub fn with_key(self, key: Key) -> ObjectWish {
        self.rest.of(id(self.kind, key))
    }
}

impl Rest {
    pub(super) fn of(self, id: ObjectId) -> ObjectWish {
        let Rest { shape, mode, owner, if_exists, on_stop, by } = self;
        ObjectWish { id, shape, mode, owner, if_exists, on_stop, by }
    }
}

/// A System V object by its key; POSIX queues have none.
pub(super) fn id(kind: Kind, key: Key) -> ObjectId {
    match kind {
        Kind::Sem => ObjectId::Sem(key),
        Kind::Msg => ObjectId::Msg(key),
        _ => ObjectId::Shm(key),
    }
}

impl Reader<'_> {
    /// Reads `key`: a number, or `{ ftok = "/path", id = 65 }`.
    pub(super) fn key(&self, node: &Node<'_>, what: What<'_>) -> Result<KeyWish> {
        let Value::Table(table) = &node.value else {
            let number = self.text_or_digits(node, what)?.parse();
            return number.map(KeyWish::Number).map_err(|why| self.place.bad_value(node, what, &why));
        };
        if !self.in_file {
            let why = ValueError::new("only a profile in a file may take keys from the container's files");
            return Err(self.place.bad_value(node, what, &why));
        }
        let (mut path, mut number) = (None, None);
        for (key, value) in table {
            match key.name.as_ref() {
                "ftok" => path = Some(self.place.text(value, format_args!("{what}.ftok"))?),
                "id" => number = Some(self.place.number(value, format_args!("{what}.id"))?),
                _ => return Err(self.place.unknown_key(key, &what.to_string(), &["ftok", "id"])),
            }
        }
        let (Some(path), Some(number)) = (path, number) else {
            let error = self.place.error(node.at, &what.to_string(), "'ftok' and 'id' belong together");
            return Err(error.remedy("write key = { ftok = \"/path/in/the/container\", id = 65 }"));
        };
        FileKey::new(path, number).map(KeyWish::File).map_err(|why| self.place.bad_value(node, what, &why))
    }
}
