//! config.json (runtime-spec, "Configuration"): the few parts that matter, borrowed from the text.

use super::Text;
use crate::error::{Error, Result};
use crate::ipc::{Owner, SemField, Sysctl, SysctlValue};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// Largest config.json that is read, in bytes.
pub const MAX_CONFIG: usize = 16 << 20;

/// What config.json says that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// The ipc entry of `linux.namespaces`. Only for messages and for "shared": the kernel is asked what is true.
    pub ipc: IpcNamespace,
    /// The IPC keys of `linux.sysctl`, sorted.
    pub sysctls: Vec<SpecSysctl>,
    /// `process.user`.
    pub user: Option<Owner>,
    /// `linux.resources.memory.limit`, when above 0, in bytes.
    pub memory_limit: Option<u64>,
    /// `process.selinuxLabel`, when not empty.
    pub selinux_label: Option<String>,
    /// `root.path`, as it is written.
    pub root: Option<String>,
    /// True when `linux.uidMappings` is not empty.
    pub has_id_mappings: bool,
}

/// The ipc entry of `linux.namespaces`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IpcNamespace {
    /// No entry: the container shares the runtime's namespace.
    #[default]
    Host,
    /// An entry without path: a namespace of its own.
    New,
    /// An entry with path: a namespace that others use too.
    Path(String),
}

/// An IPC key of `linux.sysctl`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpecSysctl {
    /// Which.
    pub sysctl: Sysctl,
    /// The text that the runtime writes.
    pub text: String,
}

impl SpecSysctl {
    /// The value that the kernel holds after the runtime wrote the text over `before`; `None` when the kernel refuses it.
    /// Number syntax as in `proc_dointvec`: blanks around, `0x` hexadecimal, leading 0 octal; a short list changes the
    /// leading fields only, an empty text nothing.
    pub fn value_over(&self, before: SysctlValue) -> Option<SysctlValue> {
        if self.text.is_empty() {
            return Some(before);
        }
        let mut words = self.text.split_ascii_whitespace().map(kernel_number);
        match before {
            SysctlValue::Number(_) => {
                let n = words.next()??;
                if self.sysctl == Sysctl::MqQueuesMax {
                    return i32::try_from(n).ok().map(|n| SysctlValue::Number(u64::from(n as u32)));
                }
                let (min, max) = self.sysctl.range();
                u64::try_from(n).ok().filter(|n| (min..=max).contains(n)).map(SysctlValue::Number)
            }
            SysctlValue::Sem(mut fields) => {
                for (field, word) in fields.iter_mut().zip(&mut words) {
                    *field = i32::try_from(word?).ok()?;
                }
                // The only field that has a range of its own (`sem_check_semmni`).
                let semmni = i64::from(fields[3]);
                (0..=SemField::Semmni.range().1 as i64).contains(&semmni).then_some(SysctlValue::Sem(fields))
            }
        }
    }
}

fn kernel_number(word: &str) -> Option<i128> {
    let (sign, digits) = word.strip_prefix('-').map_or((1, word), |rest| (-1, rest));
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None if digits.len() > 1 && digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().map(|n| sign * i128::from(n))
}

#[derive(Deserialize, Default)]
struct RawConfig<'s> {
    #[serde(borrow)]
    process: Option<RawProcess<'s>>,
    #[serde(borrow)]
    root: Option<RawRoot<'s>>,
    #[serde(borrow)]
    linux: Option<RawLinux<'s>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProcess<'s> {
    user: Option<RawUser>,
    #[serde(borrow)]
    selinux_label: Option<Text<'s>>,
}

#[derive(Deserialize)]
struct RawUser {
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
}

#[derive(Deserialize)]
struct RawRoot<'s> {
    #[serde(borrow)]
    path: Option<Text<'s>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLinux<'s> {
    #[serde(borrow)]
    namespaces: Option<Vec<RawNamespace<'s>>>,
    sysctl: Option<IpcKeys>,
    resources: Option<RawResources>,
    uid_mappings: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct RawNamespace<'s> {
    #[serde(borrow, rename = "type")]
    kind: Text<'s>,
    #[serde(borrow)]
    path: Option<Text<'s>>,
}

#[derive(Deserialize)]
struct RawResources {
    memory: Option<RawMemory>,
}

#[derive(Deserialize)]
struct RawMemory {
    limit: Option<i64>,
}

impl Spec {
    /// Reads a config.json; `path` is for messages.
    ///
    /// # Errors
    /// Not UTF-8 or not JSON, or one of the parts that matter has the wrong type.
    pub fn parse(bytes: &[u8], path: &str) -> Result<Spec> {
        let bad = |why: String| Error::bad_input(path, why);
        let text = std::str::from_utf8(bytes).map_err(|e| bad(format!("not UTF-8 at byte {}", e.valid_up_to())))?;
        let raw: RawConfig<'_> =
            serde_json::from_str(text).map_err(|e| bad(format!("not an OCI runtime configuration: {e}")))?;
        let process = raw.process;
        let linux = raw.linux;
        let user = process.as_ref().and_then(|p| p.user.as_ref()).map(|u| Owner { uid: u.uid, gid: u.gid });
        let owned = |text: Option<Text<'_>>| text.map(|t| t.0.into_owned()).filter(|t| !t.is_empty());
        let mut spec = Spec {
            user,
            selinux_label: owned(process.and_then(|p| p.selinux_label)),
            root: owned(raw.root.and_then(|r| r.path)),
            ..Spec::default()
        };
        if let Some(linux) = linux {
            spec.ipc = ipc_entry(linux.namespaces.unwrap_or_default());
            spec.sysctls = linux.sysctl.map(|s| s.0).unwrap_or_default();
            spec.sysctls.sort();
            spec.has_id_mappings = linux.uid_mappings.is_some_and(|m| !m.is_empty());
            let limit = linux.resources.and_then(|r| r.memory).and_then(|m| m.limit);
            spec.memory_limit = limit.and_then(|l| u64::try_from(l).ok()).filter(|l| *l > 0);
        }
        Ok(spec)
    }
}

fn ipc_entry(namespaces: Vec<RawNamespace<'_>>) -> IpcNamespace {
    match namespaces.into_iter().find(|n| n.kind.0 == "ipc") {
        None => IpcNamespace::Host,
        Some(RawNamespace { path: Some(path), .. }) if !path.0.is_empty() => IpcNamespace::Path(path.0.into_owned()),
        Some(_) => IpcNamespace::New,
    }
}

/// `linux.sysctl` reduced to the IPC keys; both `kernel.sem` and `kernel/sem` are spellings that runtimes take.
struct IpcKeys(Vec<SpecSysctl>);

impl<'de> Deserialize<'de> for IpcKeys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = IpcKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<IpcKeys, A::Error> {
                let mut keys: Vec<SpecSysctl> = Vec::new();
                while let Some(Text(name)) = map.next_key()? {
                    match name.replace('/', ".").parse::<Sysctl>() {
                        Ok(sysctl) => {
                            let Text(text) = map.next_value()?;
                            keys.retain(|k| k.sysctl != sysctl);
                            keys.push(SpecSysctl { sysctl, text: text.into_owned() });
                        }
                        Err(_) => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(IpcKeys(keys))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        Spec::parse(text.as_bytes(), "/b/config.json").unwrap()
    }

    #[test]
    fn reads_the_parts_that_matter() {
        let got = spec(
            r#"{"ociVersion":"1.0.2","process":{"terminal":false,"user":{"uid":70,"gid":71,"additionalGids":[1]},"selinuxLabel":"a:b:c:s0"},
            "root":{"path":"rootfs"},"hooks":{},"linux":{"namespaces":[{"type":"pid"},{"type":"ipc","path":"/proc/7/ns/ipc"}],
            "sysctl":{"net.core.somaxconn":"1","kernel.sem":"1 2 3 4","fs/mqueue/msg_max":"20"},
            "resources":{"memory":{"limit":1073741824}},"uidMappings":[{"containerID":0,"hostID":100000,"size":65536}],"unknown":[[]]}}"#,
        );
        assert_eq!(got.ipc, IpcNamespace::Path("/proc/7/ns/ipc".into()));
        assert_eq!(got.user, Some(Owner { uid: 70, gid: 71 }));
        assert_eq!(got.memory_limit, Some(1 << 30));
        assert_eq!(got.selinux_label.as_deref(), Some("a:b:c:s0"));
        assert!(got.has_id_mappings);
        assert_eq!(
            got.sysctls,
            [
                SpecSysctl { sysctl: Sysctl::Sem, text: "1 2 3 4".into() },
                SpecSysctl { sysctl: Sysctl::MqMsgMax, text: "20".into() }
            ]
        );
    }

    #[test]
    fn absent_parts_are_absent() {
        assert_eq!(spec("{}"), Spec::default());
        assert_eq!(spec(r#"{"linux":{"namespaces":[{"type":"ipc"}]}}"#).ipc, IpcNamespace::New);
        assert_eq!(spec(r#"{"linux":{"resources":{"memory":{"limit":-1}}}}"#).memory_limit, None);
        assert_eq!(spec(r#"{"linux":null,"process":null}"#), Spec::default());
    }

    #[test]
    fn refuses_what_is_no_configuration() {
        for bad in ["", "[]x", "{\"linux\":[1]}", "{\"process\":{\"user\":{\"uid\":-1}}}"] {
            let error = Spec::parse(bad.as_bytes(), "/b/config.json").unwrap_err().to_string();
            assert!(error.starts_with("/b/config.json: not an OCI runtime configuration"), "{error}");
        }
    }

    #[test]
    fn foresees_what_the_kernel_makes_of_a_text() {
        let value =
            |sysctl, text: &str| SpecSysctl { sysctl, text: text.into() }.value_over(Sysctl::kernel_default(sysctl));
        assert_eq!(value(Sysctl::Msgmax, " 010\n"), Some(SysctlValue::Number(8)));
        assert_eq!(value(Sysctl::Msgmax, "0x10"), Some(SysctlValue::Number(16)));
        assert_eq!(value(Sysctl::Msgmax, "0X10"), Some(SysctlValue::Number(16)));
        assert_eq!(value(Sysctl::Msgmax, ""), Some(SysctlValue::Number(8192)));
        for (sysctl, text) in [
            (Sysctl::Msgmax, "8K"),
            (Sysctl::Msgmax, " "),
            (Sysctl::Msgmax, "2147483648"),
            (Sysctl::Msgmni, "32769"),
            (Sysctl::MqMsgMax, "0"),
            (Sysctl::MqQueuesMax, "4294967296"),
            (Sysctl::Sem, "250 256000 32 99999"),
            (Sysctl::Sem, "250 256000 32 -1"),
        ] {
            assert_eq!(value(sysctl, text), None, "{sysctl} {text}");
        }
        assert_eq!(value(Sysctl::MqQueuesMax, "-1"), Some(SysctlValue::Number(4_294_967_295)));
        assert_eq!(value(Sysctl::Sem, "250 256000"), Some(SysctlValue::Sem([250, 256_000, 500, 32000])));
        assert_eq!(value(Sysctl::Sem, "250\t32000\t100 128"), Some(SysctlValue::Sem([250, 32000, 100, 128])));
    }
}
