//! User-namespace id maps (`/proc/PID/uid_map`, user_namespaces(7)).

use super::value::{Owner, ValueError};

/// One side of a user namespace's map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    extents: Vec<Extent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    inside: u32,
    outside: u32,
    count: u32,
}

impl IdMap {
    /// Every id maps to itself.
    pub fn identity() -> IdMap {
        IdMap { extents: vec![Extent { inside: 0, outside: 0, count: u32::MAX }] }
    }

    /// Reads `/proc/PID/uid_map` or `gid_map`: lines of `inside outside count`.
    pub fn parse(text: &str) -> Result<IdMap, ValueError> {
        let mut extents = Vec::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace().map(str::parse::<u32>);
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(count)), None) => {
                    extents.push(Extent { inside, outside, count });
                }
                _ => return Err(ValueError::new(format!("'{line}' is not a line of an id map"))),
            }
        }
        Ok(IdMap { extents })
    }

    /// True when every id maps to itself.
    pub fn is_identity(&self) -> bool {
        *self == IdMap::identity()
    }

    /// The same ids inside, each of which maps to itself: what is mapped, for those who are inside themselves.
    #[must_use]
    pub fn inside(&self) -> IdMap {
        IdMap { extents: self.extents.iter().map(|e| Extent { outside: e.inside, ..*e }).collect() }
    }

    /// True when no id is mapped: nobody has written it yet.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// The id outside for an id inside; `None` when it is not mapped.
    pub fn to_outside(&self, inside: u32) -> Option<u32> {
        self.extents.iter().find_map(|e| translate(inside, e.inside, e.outside, e.count))
    }

    /// The id inside for an id outside; `None` when it is not mapped.
    pub fn to_inside(&self, outside: u32) -> Option<u32> {
        self.extents.iter().find_map(|e| translate(outside, e.outside, e.inside, e.count))
    }
}

fn translate(id: u32, from: u32, to: u32, count: u32) -> Option<u32> {
    let offset = id.checked_sub(from)?;
    if offset < count { to.checked_add(offset) } else { None }
}

/// Both maps of a user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    /// `uid_map`.
    pub uid: IdMap,
    /// `gid_map`.
    pub gid: IdMap,
}

impl IdMaps {
    /// Every id maps to itself.
    pub fn identity() -> IdMaps {
        IdMaps { uid: IdMap::identity(), gid: IdMap::identity() }
    }

    /// Both maps for those who are inside themselves, as [`IdMap::inside`].
    #[must_use]
    pub fn inside(&self) -> IdMaps {
        IdMaps { uid: self.uid.inside(), gid: self.gid.inside() }
    }

    /// The container's owner in the ids outside; `None` when one of them is not mapped.
    pub fn to_outside(&self, owner: Owner) -> Option<Owner> {
        Some(Owner { uid: self.uid.to_outside(owner.uid)?, gid: self.gid.to_outside(owner.gid)? })
    }

    /// An owner outside as the container sees it; unmapped ids show as 65534, the overflow id.
    pub fn to_inside(&self, owner: Owner) -> Owner {
        Owner {
            uid: self.uid.to_inside(owner.uid).unwrap_or(65534),
            gid: self.gid.to_inside(owner.gid).unwrap_or(65534),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_both_ways() {
        let map = IdMap::parse("         0     100000      65536\n     70000       1000          1\n").unwrap();
        assert_eq!(map.to_outside(0), Some(100_000));
        assert_eq!(map.to_outside(65535), Some(165_535));
        assert_eq!(map.to_outside(65536), None);
        assert_eq!(map.to_outside(70000), Some(1000));
        assert_eq!(map.to_inside(1000), Some(70000));
        assert_eq!(map.to_inside(0), None);
        assert!(!map.is_identity());
        assert!(IdMap::parse("         0          0 4294967295\n").unwrap().is_identity());
    }

    #[test]
    fn inside_only_what_is_mapped_maps_to_itself() {
        let map = IdMap::parse("0 100000 10\n70000 1000 1\n").unwrap().inside();
        assert_eq!([0, 9, 10, 70000].map(|id| map.to_outside(id)), [Some(0), Some(9), None, Some(70000)]);
        assert_eq!([9, 100_000, 1000].map(|id| map.to_inside(id)), [Some(9), None, None]);
        assert!(IdMap::identity().inside().is_identity());
        assert!(IdMap::parse("").unwrap().inside().is_empty());
    }

    #[test]
    fn refuses_what_is_no_map() {
        for bad in ["0 0\n", "0 0 1 2\n", "a b c\n", "0 0 -1\n", "0 0 4294967296\n"] {
            assert!(IdMap::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(IdMap::parse("").unwrap().to_outside(0), None);
    }

    #[test]
    fn hostile_extents_do_not_overflow() {
        let map = IdMap::parse("0 4294967295 4294967295\n").unwrap();
        assert_eq!(map.to_outside(0), Some(u32::MAX));
        assert_eq!(map.to_outside(1), None);
    }
}
