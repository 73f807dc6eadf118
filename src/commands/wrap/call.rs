//! What a runtime's command line asks for, in the words of runc, crun and youki at once: which of them it is may not be
//! known. Where they differ, or where an option is not known, it is better to prepare a container too many than to start
//! one that is not prepared.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// Verbs that make a container.
const MAKING: [&str; 2] = ["create", "run"];

/// Verbs that make none. After a word that is not here, `create` and `run` are looked for.
const OTHERS: [&str; 23] = [
    "checkpoint",
    "completion",
    "delete",
    "events",
    "exec",
    "features",
    "h",
    "help",
    "info",
    "init",
    "kill",
    "list",
    "mounts",
    "pause",
    "ps",
    "restore",
    "resume",
    "spec",
    "start",
    "state",
    "update",
    "version",
    "wait",
];

/// An option of a runtime.
struct Known {
    long: &'static str,
    /// 0: none.
    short: u8,
    takes_value: bool,
}

const fn value(long: &'static str, short: u8) -> Known {
    Known { long, short, takes_value: true }
}

const fn flag(long: &'static str, short: u8) -> Known {
    Known { long, short, takes_value: false }
}

/// Options before the verb.
const GLOBAL: [Known; 14] = [
    value("root", b'r'),
    value("log", b'l'),
    value("log-format", 0),
    value("log-level", 0),
    value("criu", 0),
    value("rootless", 0),
    value("cgroup-manager", 0),
    flag("debug", 0),
    flag("systemd-cgroup", b's'),
    flag("help", b'h'),
    flag("help", b'?'),
    flag("usage", 0),
    flag("version", b'v'),
    flag("version", b'V'),
];

/// Options of `create` and `run`.
const OF_MAKING: [Known; 14] = [
    value("bundle", b'b'),
    value("config", b'f'),
    value("console-socket", b'c'),
    value("pid-file", b'p'),
    value("pidfd-socket", 0),
    value("preserve-fds", 0),
    flag("detach", b'd'),
    flag("keep", 0),
    flag("no-new-keyring", 0),
    flag("no-pivot", 0),
    flag("no-subreaper", 0),
    flag("help", b'h'),
    flag("help", b'?'),
    flag("usage", 0),
];

/// The parts of a runtime's command line that matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    /// Bundle of a verb that makes a container.
    pub(super) bundle: Option<PathBuf>,
    /// `--config` of such a verb: the file that crun reads in place of the bundle's config.json.
    pub(super) config: Option<PathBuf>,
    /// `--log`: where the engine looks for the reason.
    pub(super) log: Option<PathBuf>,
}

impl Call {
    pub(super) fn parse(args: &[OsString]) -> Call {
        let mut call = Call::default();
        let mut words = args.iter();
        // A word that is not known may take the next one, or be the verb of a runtime to come.
        let mut sure = true;
        while let Some(word) = words.next() {
            match Word::read(word, &GLOBAL) {
                Word::Value(name, value) => {
                    let value = value.or_else(|| words.next().map(OsString::as_os_str));
                    if name == "log" {
                        call.log = value.map(PathBuf::from);
                    }
                }
                Word::Bare if is_one_of(word, &MAKING) => return call.making(words.as_slice()),
                Word::Bare if sure && is_one_of(word, &OTHERS) => return call,
                Word::Bare | Word::Unknown => sure = false,
                Word::Flag | Word::End => {}
            }
        }
        // No verb: what was taken for an option's value may have been one.
        match args.iter().position(|word| is_one_of(word, &MAKING)) {
            Some(at) => call.making(&args[at + 1..]),
            None => call,
        }
    }

    /// Reads what follows `create` or `run`.
    fn making(mut self, words: &[OsString]) -> Call {
        // Without --bundle: the current directory, as all runtimes have it.
        let mut bundle = PathBuf::from(".");
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match Word::read(word, &OF_MAKING) {
                Word::Value(name, value) => {
                    let Some(value) = value.or_else(|| words.next().map(OsString::as_os_str)) else { break };
                    match name {
                        "bundle" => bundle = value.into(),
                        "config" => self.config = Some(value.into()),
                        _ => {}
                    }
                }
                Word::End => break,
                Word::Bare | Word::Flag | Word::Unknown => {}
            }
        }
        self.bundle = Some(bundle);
        self
    }
}

fn is_one_of(word: &OsStr, verbs: &[&str]) -> bool {
    verbs.iter().any(|verb| word == *verb)
}

/// A word as an option.
#[derive(Debug, PartialEq, Eq)]
enum Word<'w> {
    /// None.
    Bare,
    /// `--`: no options follow.
    End,
    /// Its long name and the value, if that is in the same word.
    Value(&'static str, Option<&'w OsStr>),
    /// One without a value, or one that is not known with a value in the same word.
    Flag,
    /// Not known: the next word may be its value.
    Unknown,
}

impl<'w> Word<'w> {
    /// Go's flags (runc) have long names with one dash, too; getopt's (crun) have short ones in one word, the last with its
    /// value, and long ones that are cut short.
    fn read(word: &'w OsStr, known: &[Known]) -> Word<'w> {
        let (body, dashes) = match word.as_bytes() {
            b"--" => return Word::End,
            [b'-', b'-', body @ ..] => (body, 2),
            [b'-', body @ ..] if !body.is_empty() => (body, 1),
            _ => return Word::Bare,
        };
        let (name, value) = match body.iter().position(|b| *b == b'=') {
            Some(at) => (&body[..at], Some(OsStr::from_bytes(&body[at + 1..]))),
            None => (body, None),
        };
        let exact = known.iter().find(|k| k.long.as_bytes() == name || (k.short != 0 && [k.short] == *name));
        let found = exact.or_else(|| if dashes == 2 { cut_short(name, known) } else { None });
        match found {
            Some(option) if option.takes_value => Word::Value(option.long, value),
            Some(_) => Word::Flag,
            None if dashes == 1 => cluster(body, known),
            None if value.is_some() => Word::Flag,
            None => Word::Unknown,
        }
    }
}

/// The only option whose name begins so.
fn cut_short<'k>(name: &[u8], known: &'k [Known]) -> Option<&'k Known> {
    let mut all = known.iter().filter(|k| k.long.as_bytes().starts_with(name));
    all.next().filter(|_| all.next().is_none())
}

/// `-db/path`, `-db=/path`, `-db`.
fn cluster<'w>(body: &'w [u8], known: &[Known]) -> Word<'w> {
    for (at, byte) in body.iter().enumerate() {
        match known.iter().find(|k| k.short == *byte) {
            Some(option) if option.takes_value => {
                let rest = &body[at + 1..];
                let rest = rest.strip_prefix(b"=").unwrap_or(rest);
                return Word::Value(option.long, (at + 1 < body.len()).then(|| OsStr::from_bytes(rest)));
            }
            Some(_) => {}
            None => return Word::Unknown,
        }
    }
    Word::Flag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &str) -> Call {
        let args: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        Call::parse(&args)
    }

    #[test]
    fn finds_bundle_and_log_as_engines_write_them() {
        for words in [
            "--root /r --log /l --log-format json create --bundle /b --pid-file /p --console-socket /s ID",
            "--root=/r --log=/l --systemd-cgroup run -b /b ID",
            "-log /l -root /r -systemd-cgroup create -bundle /b ID",
            "-log=/l -root=/r run -bundle=/b -pid-file /p ID",
            "--cgroup-manager disabled --log /l run --bundle /b -d --pid-file /p ID",
            "--cgroup-m disabled --log /l run --bun /b ID",
            "-r /r -l /l -s create -c /s -p /p -b /b ID",
            "-r/r -l/l run -b/b ID",
            "--rootless auto --criu /c --log-level debug --log /l --debug run -db/b ID",
            "--log /l run --preserve-fds 2 --no-pivot --keep ID -db /b",
            "--log /l run -b=/b ID",
            "--log /l run --new-option --bundle /b ID",
            "--log /l run --bundle /other --bundle /b ID",
            "--log /l run --pid-file -- --bundle /b ID",
            "--log /l -- run --bundle /b -- --bundle /other",
        ] {
            let expected = Call { bundle: Some("/b".into()), config: None, log: Some("/l".into()) };
            assert_eq!(call(words), expected, "{words}");
        }
        assert_eq!(call("create ID").bundle, Some(".".into()));
    }

    #[test]
    fn no_container_is_made_behind_what_is_not_known() {
        for words in [
            "--platform systrap run --bundle /b ID",
            "--platform kvm --debug --network host create --bundle /b ID",
            "--platform list run --bundle /b ID",
            "-overlay2 none run --bundle /b ID",
            "--rootless run --bundle /b ID",
            "supervise run --bundle /b ID",
            "- run --bundle /b ID",
        ] {
            assert_eq!(call(words).bundle, Some("/b".into()), "{words}");
        }
    }

    #[test]
    fn finds_the_file_that_stands_for_config_json() {
        for words in ["-f /f", "-f/f", "--config /f", "--config=/f", "--conf /f", "-df /f", "-config /f"] {
            let got = call(&format!("run {words} --bundle /b ID"));
            assert_eq!(got, Call { bundle: Some("/b".into()), config: Some("/f".into()), log: None }, "{words}");
        }
    }

    #[test]
    fn other_verbs_have_no_bundle() {
        for words in [
            "start ID",
            "--root create delete --force ID",
            "--new-option=x delete run",
            "exec --process /f ID run",
            "features",
            "--version",
            "",
            "kill ID create",
            "supervise ID",
            "--platform systrap list",
        ] {
            assert_eq!(call(words).bundle, None, "{words}");
        }
    }
}
