//! What the fuzz targets of `fuzz/` do with their input. Their corpora are replayed as ordinary tests.
//!
//! Every target panics when a promise is broken: an error is one line without control characters, and a failed run leaves
//! the namespace as it was.

use crate::apply::{Ending, apply};
use crate::error::{Error, Result};
use crate::ipc::{IdMaps, Owner};
use crate::kernel::fake::{Fake, Fault};
use crate::kernel::sysvipc::{parse_msg, parse_sem, parse_shm};
use crate::oci::{Annotation, Spec, State};
use crate::plan::{self, Action, Facts, Plan};
use crate::policy::Config;
use crate::request::annotation::Annotations;
use crate::request::profile::administrators;
use crate::request::{IfExists, Memory, Profile, Request, merge};
use crate::session::look;
use nix::errno::Errno;
use std::borrow::Cow;

/// A target: its name is that of its corpus too.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("state", state),
    ("config_json", config_json),
    ("profile", profile),
    ("annotations", annotations),
    ("policy", policy),
    ("sysvipc", sysvipc),
    ("inject", inject),
    ("plan", plan),
];

const PAGE: u64 = 4096;

fn memory() -> Memory {
    Memory { bytes: 3 << 30, from: "a fuzz target".to_owned(), page_size: PAGE }
}

fn checked<T>(result: Result<T>) -> Option<T> {
    result.map_err(|error| check_line(&error)).ok()
}

fn check_line(error: &Error) {
    let line = error.to_string();
    assert!(!line.is_empty() && !line.chars().any(char::is_control), "not one printable line: {line:?}");
}

/// An OCI state on standard input.
pub fn state(input: &[u8]) {
    if let Some(state) = checked(State::parse(input)) {
        checked(state.moment());
        checked(Annotations::parse(&state.annotations));
    }
}

/// A bundle's config.json.
pub fn config_json(input: &[u8]) {
    checked(Spec::parse(input, "config.json"));
}

/// A profile; what it asks for is merged with itself, which changes nothing.
pub fn profile(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let read = || checked(Profile::parse_toml("p.toml", text, &administrators("profile:p")));
    let Some(profile) = read() else { return };
    let Some(request) = checked(merge(vec![profile], Some(&memory()), PAGE)) else { return };
    let twice = merge(read().into_iter().chain(read()).collect(), Some(&memory()), PAGE);
    assert_eq!(twice.as_ref().ok(), Some(&request), "merging is not idempotent");
}

/// Annotations: pairs of a key without its prefix and a value, each ended by a NUL.
pub fn annotations(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let words: Vec<_> = text.split('\0').collect();
    let pairs: Vec<_> = words
        .chunks_exact(2)
        .map(|pair| Annotation {
            key: Cow::Owned(format!("{}{}", crate::oci::state::ANNOTATION_PREFIX, pair[0])),
            value: Cow::Borrowed(pair[1]),
        })
        .collect();
    let Some(annotations) = checked(Annotations::parse(&pairs)) else { return };
    for name in &annotations.profiles {
        assert!(!name.as_str().contains('/') && !name.as_str().starts_with('.'), "{name} is no file name");
    }
    checked(Config::default().admit(&annotations));
    if annotations.has_inline() {
        checked(merge(vec![annotations.inline], Some(&memory()), PAGE));
    }
}

/// The administrator's config.toml.
pub fn policy(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input) {
        checked(Config::parse("config.toml", text, PAGE));
    }
}

/// The files of /proc/sysvipc.
pub fn sysvipc(input: &[u8]) {
    let _ = parse_shm(input);
    let _ = parse_sem(input);
    let _ = parse_msg(input);
}

/// A config.json that gets the hook: it stays JSON that holds the hook once, however often it is added.
pub fn inject(input: &[u8]) {
    use crate::inject::{HookEntry, inject};
    let Ok(text) = str::from_utf8(input) else { return };
    let hook = HookEntry::new("/usr/libexec/oci/hooks.d/oci-ipc-hook".into(), vec!["oci-ipc-hook".into()]);
    let add = |text: &str| inject(text, &["createRuntime", "poststop"], &hook, &[]);
    let Some(once) = checked(add(text)) else { return };
    // Parts that are not touched stay as they are written, half a surrogate pair too.
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(&once).is_ok(), "no JSON any more: {once}");
    let twice = add(&once);
    assert_eq!(twice.as_ref().ok(), Some(&once), "the hook is added twice");
}

fn plan_for(request: &Request, fake: &mut Fake) -> Result<Plan> {
    let snapshot = look(fake, request, &plan::needs(request))?;
    let facts = Facts {
        snapshot: &snapshot,
        shared: false,
        spec: Some(&[]),
        policy: &Config::default(),
        default_owner: Some(Owner { uid: 70, gid: 70 }),
        maps: &IdMaps::identity(),
        page_size: PAGE,
        msgqueue_limit: Some(819_200),
    };
    plan::build(request, &facts)
}

fn asked(text: &str) -> Option<Request> {
    let profile = Profile::parse_toml("p.toml", text, &administrators("profile:p")).ok()?;
    merge(vec![profile], Some(&memory()), PAGE).ok()
}

/// A run in a namespace in memory: the first three bytes are the fault, then two profiles with a NUL between. The first says
/// what is there before, the second is applied. It gets done and a second plan is empty, or everything is as before.
pub fn plan(input: &[u8]) {
    let Some(([at, errno, how], texts)) = input.split_first_chunk::<3>() else { return };
    let Some((before, text)) = str::from_utf8(texts).ok().and_then(|t| t.split_once('\0')) else { return };
    let mut fake = Fake::default();
    if let Some(before) = asked(before)
        && let Ok(plan) = plan_for(&before, &mut fake)
    {
        apply(&plan, &mut fake);
    }
    let Some(request) = asked(text) else { return };
    let Some(plan) = checked(plan_for(&request, &mut fake)) else { return };
    assert_eq!(plan_for(&request, &mut fake).as_ref(), Ok(&plan), "the same plan twice");
    let before = fake.visible();
    let errnos = [Errno::EINVAL, Errno::ENOSPC, Errno::EPERM, Errno::ENOMEM, Errno::EIO, Errno::ENOSYS];
    let fault = Fault {
        at: (*at).into(),
        errno: errnos[usize::from(*errno) % errnos.len()],
        half: how & 1 == 1,
        for_ever: how & 2 == 2,
    };
    fake.arm((*at != 255).then_some(fault));
    let outcome = apply(&plan, &mut fake);
    fake.arm(None);
    outcome.error.iter().for_each(check_line);
    match outcome.ending {
        Ending::Done => {
            assert_eq!(outcome.error, None);
            let again = plan_for(&request, &mut fake);
            // The other rules of if-exists ask for another ending.
            let keeps = request.objects.iter().all(|o| o.if_exists == IfExists::Keep);
            assert!(!keeps || again.is_ok_and(|p| p.is_noop()), "a second plan is not empty");
        }
        Ending::Undone => {
            assert_eq!(fake.visible(), before, "not as before");
            assert!(outcome.error.is_some() && outcome.after.iter().all(Option::is_none));
        }
        Ending::Partial => {
            let lost = plan.steps.iter().any(|s| s.action == Action::Replace);
            assert!(lost || fault.for_ever, "partial without a reason: {:?}", outcome.error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_corpora_break_nothing() {
        for (name, target) in TARGETS {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let mut count = 0;
            for file in dir.read_dir().unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
                let path = file.unwrap().path();
                let input = std::fs::read(&path).unwrap();
                std::panic::catch_unwind(|| target(&input)).unwrap_or_else(|_| panic!("{}", path.display()));
                count += 1;
            }
            assert!(count > 0, "no corpus for {name}");
        }
    }
}
