//! Small values that profiles, the kernel and reports share: keys, modes, owners, names, bounds.

use std::fmt;
use std::str::FromStr;

/// Why a text is not a value; a sentence fragment without the object's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

impl ValueError {
    /// With the reason, such as `not a number`.
    pub fn new(why: impl Into<String>) -> Self {
        ValueError(why.into())
    }
}

/// How a wanted value relates to the one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bound {
    /// The value itself.
    Exact,
    /// `>= v`: raise only.
    AtLeast,
    /// `<= v`: lower only.
    AtMost,
}

impl Bound {
    /// The prefix in a profile.
    pub const fn prefix(self) -> &'static str {
        match self {
            Bound::Exact => "",
            Bound::AtLeast => ">= ",
            Bound::AtMost => "<= ",
        }
    }
}

/// Reads a plain decimal number: digits only, no sign, no leading zero, at most 2⁶⁴−1.
pub fn parse_decimal(text: &str) -> Result<u64, ValueError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ValueError::new("not a decimal number"));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(ValueError::new("leading zeros are refused, because the kernel reads them as octal"));
    }
    text.parse().map_err(|_| ValueError::new("larger than 2^64-1"))
}

/// A System V key as the kernel compares it: 32 bits. Never 0 (IPC_PRIVATE).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(i32);

impl Key {
    /// From the kernel's signed number; `None` for 0, which is no key but IPC_PRIVATE.
    pub const fn new(key: i32) -> Option<Key> {
        if key == 0 { None } else { Some(Key(key)) }
    }

    /// From a number of a profile, −2³¹ … 2³²−1.
    pub fn from_number(n: i128) -> Result<Key, ValueError> {
        if n == 0 {
            return Err(ValueError::new("key 0 is IPC_PRIVATE, which nobody can open by key"));
        }
        if !(i128::from(i32::MIN)..=i128::from(u32::MAX)).contains(&n) {
            return Err(ValueError::new("a key has 32 bits: -2147483648 to 4294967295"));
        }
        Ok(Key(n as u32 as i32))
    }

    /// The signed number for shmget, semget and msgget.
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl FromStr for Key {
    type Err = ValueError;

    /// Decimal (with an optional `-`) or hexadecimal with `0x`.
    fn from_str(text: &str) -> Result<Key, ValueError> {
        let n = if let Some(hex) = text.strip_prefix("0x") {
            if hex.is_empty() || hex.len() > 16 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ValueError::new("not a hexadecimal number"));
            }
            i128::from_str_radix(hex, 16).map_err(|_| ValueError::new("not a hexadecimal number"))?
        } else {
            let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
            sign * i128::from(parse_decimal(digits)?)
        };
        Key::from_number(n)
    }
}

impl fmt::Display for Key {
    /// As ipcs(1) prints it: `0x0000162e`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0 as u32)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Permission bits of an object, 0 … 0777.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mode(u16);

impl Mode {
    /// What an object gets when the profile says nothing.
    pub const DEFAULT: Mode = Mode(0o600);

    /// The low nine bits; the kernel adds DEST and LOCKED flags above them in listings.
    pub const fn from_kernel(mode: u32) -> Mode {
        Mode((mode & 0o777) as u16)
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }
}

impl FromStr for Mode {
    type Err = ValueError;

    /// 3 or 4 octal digits, at most `0777`.
    fn from_str(text: &str) -> Result<Mode, ValueError> {
        if !(3..=4).contains(&text.len()) || !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
            return Err(ValueError::new("a mode is a string of 3 or 4 octal digits, such as \"0660\""));
        }
        match u16::from_str_radix(text, 8) {
            Ok(bits) if bits <= 0o777 => Ok(Mode(bits)),
            _ => Err(ValueError::new("an IPC object has no setuid, setgid or sticky bit: at most \"0777\"")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Owner of an object, in the ids that the container sees unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl FromStr for Owner {
    type Err = ValueError;

    /// `uid:gid` in decimal; 4294967295 (−1) is no id.
    fn from_str(text: &str) -> Result<Owner, ValueError> {
        let id = |part: &str| {
            let n = parse_decimal(part)?;
            u32::try_from(n)
                .ok()
                .filter(|n| *n != u32::MAX)
                .ok_or_else(|| ValueError::new("an id is at most 4294967294"))
        };
        let (uid, gid) = text.split_once(':').ok_or_else(|| {
            ValueError::new("an owner is \"uid:gid\" in decimal, such as \"1001:0\"; names are not looked up")
        })?;
        Ok(Owner { uid: id(uid)?, gid: id(gid)? })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// Name of a POSIX message queue, with its slash: `^/[^/\0]{1,255}$`, not `/.` or `/..` (mq_overview(7)).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(String);

impl QueueName {
    /// With the slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the slash, as the system call wants it.
    pub fn bare(&self) -> &str {
        &self.0[1..]
    }
}

impl FromStr for QueueName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<QueueName, ValueError> {
        let bare = text.strip_prefix('/').ok_or_else(|| ValueError::new("a queue's name starts with a slash"))?;
        if bare.is_empty() || bare.len() > 255 {
            return Err(ValueError::new("a queue's name has 1 to 255 bytes behind its slash"));
        }
        if bare.contains(['/', '\0']) || bare == "." || bare == ".." {
            return Err(ValueError::new("a queue's name has no second slash, no NUL, and is not /. or /.."));
        }
        Ok(QueueName(text.to_owned()))
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        assert_eq!(parse_decimal("0"), Ok(0));
        assert_eq!(parse_decimal("18446744073709551615"), Ok(u64::MAX));
        for bad in ["", "-1", "+1", "01", "0x10", "1 ", "1_000", "18446744073709551616", "٣"] {
            assert!(parse_decimal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys() {
        for (text, raw) in [
            ("1", 1),
            ("0x4d510001", 0x4d51_0001),
            ("-1", -1),
            ("0xffffffff", -1),
            ("4294967295", -1),
            ("-2147483648", i32::MIN),
            ("0x80000000", i32::MIN),
        ] {
            assert_eq!(text.parse::<Key>().unwrap().raw(), raw, "{text}");
        }
        for bad in [
            "0",
            "0x0",
            "-0",
            "4294967296",
            "-2147483649",
            "0x1ffffffff",
            "0x",
            "x",
            "",
            "077",
            "0x-1",
            "0xffffffffffffffffff",
        ] {
            assert!(bad.parse::<Key>().is_err(), "{bad}");
        }
        assert_eq!("0x162e".parse::<Key>().unwrap().to_string(), "0x0000162e");
        assert_eq!("-1".parse::<Key>().unwrap().to_string(), "0xffffffff");
    }

    #[test]
    fn modes() {
        assert_eq!("0660".parse::<Mode>().unwrap().bits(), 0o660);
        assert_eq!("600".parse::<Mode>().unwrap(), Mode::DEFAULT);
        assert_eq!(Mode::from_kernel(0o1666).to_string(), "0666");
        for bad in ["", "66", "0o660", "1777", "06600", "888", "rw-"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn owners() {
        assert_eq!("1001:0".parse::<Owner>().unwrap(), Owner { uid: 1001, gid: 0 });
        for bad in ["", "1001", "root:root", ":", "1:", "-1:0", "4294967295:0", "0:4294967295", "1:2:3", "01:0"] {
            assert!(bad.parse::<Owner>().is_err(), "{bad}");
        }
    }

    #[test]
    fn queue_names() {
        let long = format!("/{}", "q".repeat(255));
        for good in ["/a", "/.a", "/a b", "/größe", "/...", &long] {
            assert_eq!(good.parse::<QueueName>().unwrap().as_str(), good);
        }
        let longer = format!("/{}", "q".repeat(256));
        for bad in ["", "a", "/", "//", "/a/b", "/.", "/..", "/a\0", &longer] {
            assert!(bad.parse::<QueueName>().is_err(), "{bad}");
        }
    }
}
