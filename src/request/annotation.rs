//! Annotations of the container: hostile input with a strict grammar.

use super::{Authority, By, Profile, SysctlWish, Wished};
use crate::error::{Error, Result};
use crate::ipc::{Sysctl, ValueError};
use crate::oci::Annotation;
use crate::oci::state::ANNOTATION_PREFIX;
use crate::text;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

/// Longest value of an annotation, in bytes.
pub const MAX_VALUE: usize = 64 << 10;
/// Most profiles that one container may name.
pub const MAX_PROFILES: usize = 16;

const KEY_PROFILE: &str = "io.oci-ipc-hook.profile";
const KEY_OBJECTS: &str = "io.oci-ipc-hook.objects";
const PREFIX_SYSCTL: &str = "io.oci-ipc-hook.sysctl.";

/// Name of a profile: `[a-z0-9][a-z0-9._-]{0,62}`. It becomes a file name, so nothing else is let through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileName(String);

impl ProfileName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = ValueError;

    fn from_str(text: &str) -> std::result::Result<Self, ValueError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let first = text.bytes().next().is_some_and(plain);
        if !first || text.len() > 63 || !text.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-')) {
            return Err(ValueError::new("a profile's name is [a-z0-9][a-z0-9._-]{0,62}"));
        }
        Ok(ProfileName(text.to_owned()))
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the annotations ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    /// Profiles by name.
    pub profiles: Vec<ProfileName>,
    /// Sysctls and objects written out in annotations.
    pub inline: Profile,
}

impl Annotations {
    /// Reads our annotations; foreign ones have been left out by [`crate::oci::State`].
    ///
    /// # Errors
    /// Unknown key of ours, a value that is too long or does not parse.
    pub fn parse(annotations: &[Annotation<'_>]) -> Result<Annotations> {
        let mut out = Annotations::default();
        for Annotation { key, value } in annotations {
            let document = format!("annotation {}", text::shorten(key, 80));
            if value.len() > MAX_VALUE {
                return Err(Error::bad_input(document, "longer than 64 KiB"));
            }
            let by = By::new(Rc::from(format!("annotation:{}", text::shorten(key, 80))), 0, Authority::Container);
            if key == KEY_PROFILE {
                out.profiles = profile_names(&document, value)?;
            } else if key == KEY_OBJECTS {
                out.inline.objects = Profile::parse_objects_json(&document, value, &by)?;
            } else if let Some(name) = key.strip_prefix(PREFIX_SYSCTL) {
                let sysctl: Sysctl = name.parse().map_err(|why: ValueError| {
                    let error = Error::bad_input(&document, why.to_string());
                    match text::nearest(name, Sysctl::ALL.map(Sysctl::name)) {
                        Some(near) => error.remedy(format!("did you mean '{PREFIX_SYSCTL}{near}'?")),
                        None => error,
                    }
                })?;
                let wished = Wished::parse(sysctl, value).map_err(|why| {
                    Error::bad_input(&document, why.to_string()).found(format!("\"{}\"", text::shorten(value, 80)))
                })?;
                out.inline.sysctls.push(SysctlWish { sysctl, wished, by });
            } else {
                return Err(unknown(&document, key));
            }
        }
        Ok(out)
    }

    /// True when nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.profiles.is_empty() && !self.has_inline()
    }

    /// True when something is written out in annotations.
    pub fn has_inline(&self) -> bool {
        !self.inline.sysctls.is_empty() || !self.inline.objects.is_empty()
    }
}

fn unknown(document: &str, key: &str) -> Error {
    let error = Error::bad_input(document, format!("not an annotation of {ANNOTATION_PREFIX}*"));
    match text::nearest(key, [KEY_PROFILE, KEY_OBJECTS]) {
        Some(near) => error.remedy(format!("did you mean '{near}'?")),
        None => error.remedy(format!("known: {KEY_PROFILE}, {KEY_OBJECTS}, {PREFIX_SYSCTL}<name>")),
    }
}

fn profile_names(document: &str, value: &str) -> Result<Vec<ProfileName>> {
    let mut names = Vec::new();
    for name in value.split(',') {
        if names.len() == MAX_PROFILES {
            return Err(Error::bad_input(document, format!("more than {MAX_PROFILES} profiles")));
        }
        let name = name.parse().map_err(|why: ValueError| {
            Error::bad_input(document, why.to_string()).found(format!("\"{}\"", text::shorten(name, 80)))
        })?;
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Annotations> {
        let list: Vec<_> = pairs.iter().map(|(k, v)| Annotation { key: (*k).into(), value: (*v).into() }).collect();
        Annotations::parse(&list)
    }

    #[test]
    fn reads_all_three_forms() {
        let got = read(&[
            (KEY_PROFILE, "ibm-mq,mine.2"),
            ("io.oci-ipc-hook.sysctl.kernel.sem", ">= 250 32000 100 128"),
            (KEY_OBJECTS, r#"{"shm":[{"key":"0x10","size":"4KiB"}],"mqueue":[{"name":"/q"}]}"#),
        ])
        .unwrap();
        assert_eq!(got.profiles.iter().map(ProfileName::as_str).collect::<Vec<_>>(), ["ibm-mq", "mine.2"]);
        assert_eq!((got.inline.sysctls.len(), got.inline.objects.len()), (1, 2));
        assert_eq!(got.inline.objects[0].by.to_string(), "annotation:io.oci-ipc-hook.objects");
        assert_eq!(got.inline.objects[0].by.authority(), Authority::Container);
        assert!(read(&[]).unwrap().is_empty());
    }

    #[test]
    fn refuses_everything_else() {
        let many = vec!["a"; 17].join(",");
        let long = "a".repeat(MAX_VALUE + 1);
        for (key, value, says) in [
            (KEY_PROFILE, "", "found \"\": a profile's name is"),
            (KEY_PROFILE, "a, b", "found \" b\""),
            (KEY_PROFILE, "../etc/passwd", "a profile's name is"),
            (KEY_PROFILE, "a,,b", "a profile's name is"),
            (KEY_PROFILE, "A", "a profile's name is"),
            (KEY_PROFILE, many.as_str(), "more than 16 profiles"),
            (KEY_PROFILE, long.as_str(), "longer than 64 KiB"),
            ("io.oci-ipc-hook.profiles", "a", "did you mean 'io.oci-ipc-hook.profile'?"),
            ("io.oci-ipc-hook.x\ny", "a", "annotation io.oci-ipc-hook.x\\ny: not an annotation"),
            ("io.oci-ipc-hook.sysctl.kernel.shmax", "1", "did you mean 'io.oci-ipc-hook.sysctl.kernel.shmmax'?"),
            ("io.oci-ipc-hook.sysctl.kernel.core_pattern", "|x", "not a sysctl of an IPC namespace"),
            ("io.oci-ipc-hook.sysctl.kernel.msgmax", "1+kernel.core_pattern=x", "found \"1+kernel"),
            (KEY_OBJECTS, "[]", "of the wrong kind"),
            (KEY_OBJECTS, r#"{"shm":[{"key":1,"size":1,"if-exists":"replace"}]}"#, "only a profile in a file"),
            (KEY_OBJECTS, r#"{"shn":[]}"#, "did you mean 'shm'?"),
        ] {
            let error = read(&[(key, value)]).unwrap_err();
            assert!(error.to_string().contains(says), "{key}={}: {error}", text::shorten(value, 40));
            assert_eq!(error.exit(), crate::error::Exit::BadInput);
        }
    }
}
