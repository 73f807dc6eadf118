//! The administrator's file, `config.toml`: strict, every key with a safe default.

use super::ceiling::Ceiling;
use crate::doc::{self, Key, Node, Place, Table, Value};
use crate::error::{Error, Result};
use crate::ipc::{Sysctl, SysctlValue, ValueError};
use crate::request::amount::{Wished, parse_size};

/// Largest policy file that is read, in bytes.
pub const MAX_CONFIG: usize = 256 << 10;

/// A value of the policy and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule<T> {
    /// Its key with the table, such as `policy.annotations`.
    pub name: &'static str,
    /// The value.
    pub value: T,
    /// Line of the file; 0 = the built-in default.
    pub line: u32,
}

impl<T> Rule<T> {
    const fn default(name: &'static str, value: T) -> Self {
        Rule { name, value, line: 0 }
    }

    fn set(&mut self, node: &Node<'_>, value: T) {
        self.value = value;
        self.line = node.at.line;
    }
}

/// What annotations may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationRule {
    /// Nothing.
    None,
    /// Profiles by name.
    Profiles,
    /// Profiles, and sysctls and objects below the ceilings.
    Inline,
}

/// What a failure means for the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Its start fails.
    Fail,
    /// It starts unprepared; the failure is logged.
    Warn,
}

/// When a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordWhen {
    /// For shared namespaces and failures.
    Needed,
    /// For every run.
    Always,
}

/// The policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it was read from; `None` = built-in defaults.
    pub file: Option<String>,
    /// `policy.annotations`.
    pub annotations: Rule<AnnotationRule>,
    /// `policy.allowed-profiles`: names, `*` stands for any characters.
    pub allowed_profiles: Rule<Vec<String>>,
    /// `policy.on-error`.
    pub on_error: Rule<OnError>,
    /// `policy.lower-in-shared`.
    pub lower_in_shared: Rule<bool>,
    /// `policy.ceiling`.
    pub ceiling: Ceiling,
    /// `charge.container-cgroup-above`, in bytes of kernel memory.
    pub charge_above: Rule<u64>,
    /// `record.when`.
    pub record: Rule<RecordWhen>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            file: None,
            annotations: Rule::default("policy.annotations", AnnotationRule::Profiles),
            allowed_profiles: Rule::default("policy.allowed-profiles", vec!["*".to_owned()]),
            on_error: Rule::default("policy.on-error", OnError::Fail),
            lower_in_shared: Rule::default("policy.lower-in-shared", false),
            ceiling: Ceiling::default(),
            charge_above: Rule::default("charge.container-cgroup-above", 256 << 10),
            record: Rule::default("record.when", RecordWhen::Needed),
        }
    }
}

impl Config {
    /// Reads the text of a policy file; `page_size` turns a size given for `kernel.shmall` into pages.
    ///
    /// # Errors
    /// Anything unknown, twice or out of range: names file, line, column and the nearest key.
    pub fn parse(file: &str, text: &str, page_size: u64) -> Result<Config> {
        let place = Place { document: file };
        let table = doc::toml::parse(place, text)?;
        let mut config = Config { file: Some(file.to_owned()), ..Config::default() };
        let mut has_format = false;
        for (key, node) in &table {
            match key.name.as_ref() {
                "format" => {
                    place.format(node)?;
                    has_format = true;
                }
                "policy" => config.policy(place, place.table(node, "policy")?, page_size)?,
                "charge" => config.charge(place, place.table(node, "charge")?)?,
                "record" => config.record(place, place.table(node, "record")?)?,
                _ => return Err(place.unknown_key(key, "", &["format", "policy", "charge", "record"])),
            }
        }
        if !has_format {
            return Err(
                Error::bad_input(file, "the line 'format = 1' is missing").remedy("put it at the top of the file")
            );
        }
        Ok(config)
    }

    fn policy(&mut self, place: Place<'_>, table: &Table<'_>, page_size: u64) -> Result<()> {
        for (key, node) in table {
            match key.name.as_ref() {
                "annotations" => {
                    let choices = [
                        ("none", AnnotationRule::None),
                        ("profiles", AnnotationRule::Profiles),
                        ("inline", AnnotationRule::Inline),
                    ];
                    self.annotations.set(node, choice(place, node, "policy.annotations", &choices)?);
                }
                "allowed-profiles" => {
                    let names = place.array(node, "policy.allowed-profiles")?.iter();
                    let names = names.map(|n| pattern(place, n));
                    self.allowed_profiles.set(node, names.collect::<Result<_>>()?);
                }
                "on-error" => {
                    let choices = [("fail", OnError::Fail), ("warn", OnError::Warn)];
                    self.on_error.set(node, choice(place, node, "policy.on-error", &choices)?);
                }
                "lower-in-shared" => self.lower_in_shared.set(node, place.boolean(node, "policy.lower-in-shared")?),
                "ceiling" => self.ceilings(place, place.table(node, "policy.ceiling")?, page_size)?,
                _ => {
                    let known = ["annotations", "allowed-profiles", "on-error", "lower-in-shared", "ceiling"];
                    return Err(place.unknown_key(key, "policy", &known));
                }
            }
        }
        Ok(())
    }

    fn ceilings(&mut self, place: Place<'_>, table: &Table<'_>, page_size: u64) -> Result<()> {
        let ceiling = &mut self.ceiling;
        for (key, node) in table {
            match key.name.as_ref() {
                "objects" => ceiling.objects.set(node, place.number(node, "policy.ceiling.objects")?),
                "shm-bytes" => ceiling.shm_bytes.set(node, size(place, node, "policy.ceiling.shm-bytes")?),
                "kernel-memory" => ceiling.kernel_memory.set(node, size(place, node, "policy.ceiling.kernel-memory")?),
                name => {
                    let Ok(sysctl) = name.parse::<Sysctl>() else { return Err(unknown_ceiling(place, key, node)) };
                    ceiling.sysctls[sysctl.index()].set(node, sysctl_ceiling(place, node, sysctl, page_size)?);
                }
            }
        }
        Ok(())
    }

    fn charge(&mut self, place: Place<'_>, table: &Table<'_>) -> Result<()> {
        for (key, node) in table {
            match key.name.as_ref() {
                "container-cgroup-above" => {
                    self.charge_above.set(node, size(place, node, "charge.container-cgroup-above")?);
                }
                _ => return Err(place.unknown_key(key, "charge", &["container-cgroup-above"])),
            }
        }
        Ok(())
    }

    fn record(&mut self, place: Place<'_>, table: &Table<'_>) -> Result<()> {
        for (key, node) in table {
            match key.name.as_ref() {
                "when" => {
                    let choices = [("needed", RecordWhen::Needed), ("always", RecordWhen::Always)];
                    self.record.set(node, choice(place, node, "record.when", &choices)?);
                }
                _ => return Err(place.unknown_key(key, "record", &["when"])),
            }
        }
        Ok(())
    }
}

/// A profile's name, with `*` for any characters. What no name can match is a mistake.
fn pattern(place: Place<'_>, node: &Node<'_>) -> Result<String> {
    let what = "policy.allowed-profiles";
    let text = place.text(node, what)?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'*');
    if text.is_empty() || !text.bytes().all(plain) {
        let why = ValueError::new("no profile has such a name: [a-z0-9][a-z0-9._-]{0,62}, and '*' for any characters");
        return Err(place.bad_value(node, what, &why));
    }
    Ok(text.to_owned())
}

fn unknown_ceiling(place: Place<'_>, key: &Key<'_>, node: &Node<'_>) -> Error {
    let mut known = Sysctl::ALL.map(Sysctl::name).to_vec();
    known.extend(["objects", "shm-bytes", "kernel-memory"]);
    let unquoted = place.unquoted_sysctl(key, node, "policy.ceiling");
    unquoted.unwrap_or_else(|| place.unknown_key(key, "policy.ceiling", &known))
}

/// The largest value that containers may write: a literal in the notation of profiles, without a bound, or `"denied"`.
fn sysctl_ceiling(place: Place<'_>, node: &Node<'_>, sysctl: Sysctl, page_size: u64) -> Result<Option<SysctlValue>> {
    let what = format!("policy.ceiling.{sysctl}");
    let text = match &node.value {
        Value::Text(text) | Value::Number(text) => text,
        _ => return Err(place.wrong_kind(node, &what, "a number or a string")),
    };
    if text == "denied" {
        return Ok(None);
    }
    let bad = |why: &ValueError| place.bad_value(node, &what, why);
    if text.starts_with(['<', '>']) {
        return Err(bad(&ValueError::new("a ceiling has no bound of its own")));
    }
    let wished = Wished::parse(sysctl, text).map_err(|why| bad(&why))?;
    if wished.needs_memory() {
        return Err(bad(&ValueError::new("a ceiling is a plain number, no formula of memory")));
    }
    let mut numbers = [0u64; 4];
    for (number, wish) in numbers.iter_mut().zip(wished.fields()) {
        if let Some(wish) = wish {
            *number = wish.amount.resolve(sysctl.unit(), sysctl.range().1, None, page_size).0;
        }
    }
    Ok(Some(match sysctl {
        Sysctl::Sem => SysctlValue::Sem(numbers.map(|n| i32::try_from(n).unwrap_or(i32::MAX))),
        _ => SysctlValue::Number(numbers[0]),
    }))
}

fn size(place: Place<'_>, node: &Node<'_>, what: &str) -> Result<u64> {
    match &node.value {
        Value::Text(text) | Value::Number(text) => parse_size(text).map_err(|why| place.bad_value(node, what, &why)),
        _ => Err(place.wrong_kind(node, what, "a size")),
    }
}

fn choice<T: Copy>(place: Place<'_>, node: &Node<'_>, what: &str, choices: &[(&str, T)]) -> Result<T> {
    let text = place.text(node, what)?;
    match choices.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            Err(place.bad_value(node, what, &ValueError::new(format!("not one of {}", names.join(", ")))))
        }
    }
}

impl Default for Ceiling {
    fn default() -> Self {
        Ceiling {
            sysctls: Sysctl::ALL.map(|s| Rule::default(Ceiling::rule_name(s), Some(Ceiling::built_in(s)))),
            objects: Rule::default("policy.ceiling.objects", 64),
            shm_bytes: Rule::default("policy.ceiling.shm-bytes", 1 << 30),
            kernel_memory: Rule::default("policy.ceiling.kernel-memory", 16 << 20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn err(body: &str) -> String {
        match Config::parse("c.toml", &format!("format = 1\n{body}"), 4096) {
            Ok(_) => panic!("{body} was taken"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn reads_every_key() {
        let text = r#"format = 1
[policy]
annotations = "inline"
allowed-profiles = ["a", "b*"]
on-error = "warn"
lower-in-shared = true
[policy.ceiling]
"kernel.shmmax" = "2GiB"
"kernel.shmall" = "8KiB"
"kernel.sem" = "1 2 3 4"
"kernel.msgmni" = "denied"
objects = 3
shm-bytes = "1MiB"
kernel-memory = "2MiB"
[charge]
container-cgroup-above = 0
[record]
when = "always"
"#;
        let config = Config::parse("c.toml", text, 4096).unwrap();
        assert_eq!(config.annotations, Rule { name: "policy.annotations", value: AnnotationRule::Inline, line: 3 });
        assert_eq!(config.allowed_profiles.value, ["a", "b*"]);
        assert_eq!((config.on_error.value, config.lower_in_shared.value), (OnError::Warn, true));
        assert_eq!(config.ceiling.sysctls[Sysctl::Shmmax.index()].value, Some(SysctlValue::Number(2 << 30)));
        assert_eq!(config.ceiling.sysctls[Sysctl::Sem.index()].value, Some(SysctlValue::Sem([1, 2, 3, 4])));
        assert_eq!(config.ceiling.sysctls[Sysctl::Msgmni.index()].value, None);
        assert_eq!(config.ceiling.sysctls[Sysctl::Msgmax.index()].line, 0);
        assert_eq!((config.ceiling.objects.value, config.ceiling.objects.line), (3, 12));
        assert_eq!((config.charge_above.value, config.record.value), (0, RecordWhen::Always));
    }

    #[test]
    fn names_every_mistake() {
        for (body, says) in [
            ("[polcy]\n", "c.toml:2:2: polcy: unknown key; did you mean 'policy'?"),
            (
                "[policy]\nannotation = \"none\"\n",
                "c.toml:3:1: policy.annotation: unknown key; did you mean 'annotations'?",
            ),
            (
                "[policy]\nannotations = \"all\"\n",
                "c.toml:3:15: policy.annotations: found \"all\": not one of \"none\", \"profiles\", \"inline\"",
            ),
            (
                "[policy.ceiling]\n\"kernel.shmmx\" = 1\n",
                "c.toml:3:1: policy.ceiling.kernel.shmmx: unknown key; did you mean 'kernel.shmmax'?",
            ),
            (
                "[policy.ceiling]\n\"kernel.shmmax\" = \"50%\"\n",
                "c.toml:3:19: policy.ceiling.kernel.shmmax: found \"50%\": a ceiling is a plain number",
            ),
            (
                "[policy.ceiling]\n\"kernel.shmmax\" = \">= 1\"\n",
                "c.toml:3:19: policy.ceiling.kernel.shmmax: found \">= 1\": a ceiling has no bound",
            ),
            (
                "[policy]\nlower-in-shared = 1\n",
                "c.toml:3:19: policy.lower-in-shared: wanted true or false, found a number",
            ),
            (
                "[policy]\nallowed-profiles = [\"db*\", \"IBM-MQ\"]\n",
                "c.toml:3:28: policy.allowed-profiles: found \"IBM-MQ\": no profile has such a name",
            ),
            ("[policy]\nallowed-profiles = [\"\"]\n", "c.toml:3:21: policy.allowed-profiles: found \"\": no profile"),
            ("[record]\nwhen = 1\n", "c.toml:3:8: record.when: wanted a string, found a number"),
            ("[charge]\nx = 1\n", "c.toml:3:1: charge.x: unknown key; known here: container-cgroup-above"),
            (
                "[policy.ceiling]\nkernel.shmmax = 1\n",
                "c.toml:3:1: policy.ceiling.kernel: a sysctl's name stands in quotes; write \"kernel.shmmax\" = …",
            ),
        ] {
            let error = err(body);
            assert!(error.starts_with(says), "{body}\n got {error}\nwant {says}");
        }
        assert!(Config::parse("c.toml", "", 4096).unwrap_err().to_string().contains("'format = 1' is missing"));
    }
}
