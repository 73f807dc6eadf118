//! Keys that a file and a number give, as ftok(3) computes them.

use super::value::{Key, ValueError};
use std::fmt;

/// A file, as a container names it, and the project number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileKey {
    path: String,
    id: u8,
}

impl FileKey {
    /// From an absolute path and a number from 1 to 255, the low byte of ftok's second argument.
    pub fn new(path: &str, id: u64) -> Result<FileKey, ValueError> {
        if !path.starts_with('/') || path.len() > 4095 || path.contains('\0') {
            return Err(ValueError::new("ftok takes the absolute path of a file in the container"));
        }
        match u8::try_from(id) {
            Ok(id) if id > 0 => Ok(FileKey { path: path.to_owned(), id }),
            _ => Err(ValueError::new("the id of ftok is 1 to 255")),
        }
    }

    /// The file, from the container's root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The key, when the file's `st_dev` and `st_ino` are these. It keeps 8 bits of the device and 16 of the inode, so that
    /// different files can have the same.
    pub fn key(&self, device: u64, inode: u64) -> Option<Key> {
        let bits = (inode & 0xffff) | (device & 0xff) << 16 | u64::from(self.id) << 24;
        Key::new((bits as u32).cast_signed())
    }
}

impl fmt::Display for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ftok {} {}", self.path, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_low_bits() {
        let key = |id, device, inode| FileKey::new("/f", id).unwrap().key(device, inode).unwrap().to_string();
        assert_eq!(key(65, 0x1234, 0xabcd_ef01), "0x4134ef01");
        assert_eq!(key(1, 0, 0), "0x01000000");
        assert_eq!(key(255, u64::MAX, u64::MAX), "0xffffffff");
    }

    #[test]
    fn refuses_what_ftok_would_not_take() {
        for (path, id) in [("", 1), ("a/b", 1), ("/a\0b", 1), ("/a", 0), ("/a", 256)] {
            assert!(FileKey::new(path, id).is_err(), "{path:?} {id}");
        }
        assert!(FileKey::new(&format!("/{}", "a".repeat(4095)), 1).is_err());
        assert_eq!(FileKey::new("/opt/app/ipc.key", 65).unwrap().to_string(), "ftok /opt/app/ipc.key 65");
    }
}
