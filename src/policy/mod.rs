//! What is allowed: the administrator's file, ceilings for what containers write out themselves, and kernel memory.

pub mod budget;
pub mod ceiling;
pub mod config;

pub use config::{AnnotationRule, Config, OnError, RecordWhen, Rule};

use crate::error::{Error, Result};
use crate::request::annotation::{Annotations, ProfileName};
use std::fmt;

impl Config {
    /// Whether the container may ask in this way at all.
    ///
    /// # Errors
    /// Exit 3, naming the rule.
    pub fn admit(&self, annotations: &Annotations) -> Result<()> {
        if annotations.is_empty() {
            return Ok(());
        }
        match self.annotations.value {
            AnnotationRule::None => {
                return Err(self
                    .denied("annotations", "annotations may ask for nothing", &self.annotations)
                    .remedy("set annotations = \"profiles\", or give the profile in the hook's own arguments"));
            }
            AnnotationRule::Profiles if annotations.has_inline() => {
                return Err(self
                    .denied("annotations", "annotations may name profiles only", &self.annotations)
                    .remedy("put the request into a profile, or set annotations = \"inline\""));
            }
            AnnotationRule::Profiles | AnnotationRule::Inline => {}
        }
        annotations.profiles.iter().try_for_each(|name| self.admit_profile(name))
    }

    fn admit_profile(&self, name: &ProfileName) -> Result<()> {
        if self.allowed_profiles.value.iter().any(|pattern| matches(pattern, name.as_str())) {
            return Ok(());
        }
        Err(self
            .denied(&format!("profile {name}"), "not one of the allowed profiles", &self.allowed_profiles)
            .wanted(name)
            .found(format!("allowed-profiles = [{}]", self.allowed_profiles.value.join(", ")))
            .remedy("add it to allowed-profiles"))
    }

    /// A refusal that names the rule and where it stands.
    pub(crate) fn denied<T>(&self, what: &str, why: &str, rule: &Rule<T>) -> Error {
        Error::denied(what, format!("{why} ({})", self.place_of(rule)))
    }

    /// Where a rule stands: `policy.annotations, /etc/oci-ipc-hook/config.toml:3`, or that it is built in.
    pub fn place_of<T>(&self, rule: &Rule<T>) -> RulePlace<'_> {
        RulePlace { name: rule.name, line: rule.line, file: self.file.as_deref() }
    }
}

/// Where a rule stands, for messages.
#[derive(Clone, Copy, Debug)]
pub struct RulePlace<'c> {
    name: &'static str,
    line: u32,
    file: Option<&'c str>,
}

impl fmt::Display for RulePlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file {
            Some(file) if self.line > 0 => write!(f, "rule {}, {file}:{}", self.name, self.line),
            _ => write!(f, "rule {}, built-in default", self.name),
        }
    }
}

/// `*` stands for any run of characters; everything else for itself. The first place of each part is as good as any other,
/// so the time does not grow with the number of stars.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut name) = name.strip_prefix(head).and_then(|name| name.strip_suffix(tail)) else { return false };
    middle.split('*').all(|part| match name.split_once(part) {
        Some((_, after)) => {
            name = after;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::oci::Annotation;

    fn asked(pairs: &[(&str, &str)]) -> Annotations {
        let list: Vec<_> = pairs.iter().map(|(k, v)| Annotation { key: (*k).into(), value: (*v).into() }).collect();
        Annotations::parse(&list).unwrap()
    }

    fn config(body: &str) -> Config {
        Config::parse("/etc/c.toml", &format!("format = 1\n{body}"), 4096).unwrap()
    }

    #[test]
    fn patterns() {
        for (pattern, name, expect) in [
            ("*", "a", true),
            ("db2", "db2", true),
            ("db2", "db2u", false),
            ("db*", "db2u", true),
            ("*-mq", "ibm-mq", true),
            ("i*-*q", "ibm-mq", true),
            ("i*-*x", "ibm-mq", false),
            ("", "a", false),
            ("**", "a", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ba*", "aba", false),
            ("*ab*ba*", "xabba", true),
            ("*b*b", "ab-b", true),
            ("*b*b", "ab-bc", false),
            (&("a*".repeat(200) + "b"), &"a".repeat(63), false),
            (&"*a".repeat(63), &"a".repeat(63), true),
            (&"*a".repeat(64), &"a".repeat(63), false),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }

    #[test]
    fn default_allows_profiles_only() {
        let default = Config::default();
        assert!(default.admit(&asked(&[("io.oci-ipc-hook.profile", "x")])).is_ok());
        assert!(default.admit(&asked(&[])).is_ok());
        let error = default.admit(&asked(&[("io.oci-ipc-hook.sysctl.kernel.msgmax", "1")])).unwrap_err();
        assert_eq!(error.exit(), Exit::Denied);
        assert_eq!(
            error.to_string(),
            "annotations: annotations may name profiles only (rule policy.annotations, built-in default); put the request into a profile, or set annotations = \"inline\""
        );
    }

    #[test]
    fn refusals_name_rule_file_and_line() {
        let none = config("[policy]\nannotations = \"none\"\n");
        let error = none.admit(&asked(&[("io.oci-ipc-hook.profile", "x")])).unwrap_err().to_string();
        assert!(error.contains("(rule policy.annotations, /etc/c.toml:3)"), "{error}");
        let some = config("[policy]\nallowed-profiles = [\"db*\", \"mq\"]\n");
        assert!(some.admit(&asked(&[("io.oci-ipc-hook.profile", "db2,mq")])).is_ok());
        let error = some.admit(&asked(&[("io.oci-ipc-hook.profile", "db2,mqx")])).unwrap_err().to_string();
        assert!(error.starts_with("profile mqx: wanted mqx, found allowed-profiles = [db*, mq]: not one"), "{error}");
    }
}
