//! `when`: for which containers a hook is called, decided as podman's and CRI-O's `pkg/hooks/1.0.0` does.

use crate::ipc::ValueError;
use regex_lite::Regex;

/// The conditions; all that are written must hold. Patterns are regular expressions without anchors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// For every container, or for none.
    pub always: Option<bool>,
    /// For containers with (or without caring for) bind mounts.
    pub has_bind_mounts: Option<bool>,
    /// Patterns for the first word of the command; one must match.
    pub commands: Vec<String>,
    /// Patterns for key and value; each pair must match some annotation.
    pub annotations: Vec<(String, String)>,
}

/// What is known of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Annotations.
    pub annotations: Vec<(String, String)>,
    /// First word of the command, when known.
    pub command: Option<String>,
    /// It has bind mounts, when known.
    pub bind_mounts: Option<bool>,
}

impl When {
    /// True when nothing is asked: such a hook is never called.
    pub fn is_empty(&self) -> bool {
        *self == When::default()
    }

    /// Every pattern with its place in the file.
    pub fn patterns(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = self.annotations.iter().flat_map(|(k, v)| [("annotations", k.as_str()), ("annotations", v)]);
        pairs.chain(self.commands.iter().map(|c| ("commands", c.as_str())))
    }

    /// Why the hook is not called for a container; `None` when it is.
    ///
    /// # Errors
    /// A pattern that cannot be judged here.
    pub fn refuses(&self, container: &Container) -> Result<Option<String>, ValueError> {
        if self.is_empty() {
            return Ok(Some("'when' is empty, which matches nothing".into()));
        }
        if self.always == Some(false) {
            return Ok(Some("'always' is false".into()));
        }
        match (self.has_bind_mounts, container.bind_mounts) {
            (Some(false), _) => return Ok(Some("'hasBindMounts' is false, which matches nothing".into())),
            (Some(true), Some(false)) => return Ok(Some("it has no bind mounts".into())),
            _ => {}
        }
        for (key, value) in &self.annotations {
            let (key_pattern, value_pattern) = (pattern(key)?, pattern(value)?);
            let found = |(k, v): &(String, String)| key_pattern.is_match(k) && value_pattern.is_match(v);
            if !container.annotations.iter().any(found) {
                return Ok(Some(format!("no annotation matches {key} = {value}")));
            }
        }
        if let (Some(command), false) = (&container.command, self.commands.is_empty()) {
            let mut matched = false;
            for p in &self.commands {
                matched |= pattern(p)?.is_match(command);
            }
            if !matched {
                return Ok(Some(format!("its command {command} matches none of {}", self.commands.join(", "))));
            }
        }
        Ok(None)
    }
}

/// Compiles a pattern of Go's RE2 syntax. Its classes know ASCII only, as this engine's do; what that one has and this one
/// does not (`\p{…}`) is an error. `\Q…\E` is rewritten.
pub(super) fn pattern(text: &str) -> Result<Regex, ValueError> {
    let mut rewritten = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, quoted)) = rest.split_once("\\Q") {
        rewritten.push_str(before);
        let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        rewritten.push_str(&regex_lite::escape(literal));
        rest = after;
    }
    rewritten.push_str(rest);
    Regex::new(&rewritten).map_err(|e| ValueError::new(format!("'{text}' is not a pattern: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(annotations: &[(&str, &str)], command: &str, bind_mounts: bool) -> Container {
        Container {
            annotations: annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            command: Some(command.to_owned()),
            bind_mounts: Some(bind_mounts),
        }
    }

    fn when(annotations: &[(&str, &str)], commands: &[&str]) -> When {
        When {
            annotations: annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            commands: commands.iter().map(|c| (*c).to_owned()).collect(),
            ..When::default()
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let c = container(&[("io.x.profile", "db2"), ("b", "c")], "/bin/sh", false);
        let matches = |w: &When| w.refuses(&c).unwrap().is_none();
        assert!(!matches(&When::default()));
        assert!(matches(&When { always: Some(true), ..When::default() }));
        assert!(!matches(&When { always: Some(false), ..when(&[("b", "c")], &[]) }));
        assert!(matches(&when(&[("x.prof", "b2$")], &[])), "no anchors");
        assert!(!matches(&when(&[("^x", "b2$")], &[])));
        assert!(!matches(&when(&[("^b$", "db2")], &[])), "key and value of one annotation");
        assert!(matches(&when(&[("^b$", "c")], &["nope", "sh$"])));
        assert!(!matches(&when(&[("^b$", "c")], &["nope"])));
        assert!(!matches(&When { has_bind_mounts: Some(true), always: Some(true), ..When::default() }));
        assert!(!matches(&When { has_bind_mounts: Some(false), ..When::default() }));
    }

    #[test]
    fn what_is_not_known_does_not_refuse() {
        let c = Container::default();
        assert_eq!(when(&[], &["sh"]).refuses(&c), Ok(None));
        assert_eq!(When { has_bind_mounts: Some(true), ..When::default() }.refuses(&c), Ok(None));
    }

    #[test]
    fn patterns_of_re2() {
        for (text, yes, no) in [
            (r"^a\Q.b\Ec", "a.bc", "axbc"),
            (r"\Qa.b", "xa.b", "axb"),
            ("(?i)^AB", "abc", "xab"),
            ("[[:alpha:]]+-", "ab-", "1-"),
            (r"^\d{2,}$", "123", "1"),
        ] {
            let p = pattern(text).unwrap();
            assert!(p.is_match(yes) && !p.is_match(no), "{text}");
        }
        for bad in ["(", "a{2", r"\p{Greek}", "(?=a)"] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }
}
