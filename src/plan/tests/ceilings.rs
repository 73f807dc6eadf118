//! Ceilings and totals, each at the limit and one above it.

use super::*;
use crate::ipc::{SemField, Shape};
use crate::policy::budget::kernel_bytes;
use crate::policy::ceiling::Ceiling;
use crate::request::Authority;
use std::rc::Rc;

fn inline(pairs: &[(String, String)]) -> Request {
    let annotations: Vec<_> = pairs
        .iter()
        .map(|(key, value)| Annotation { key: format!("io.oci-ipc-hook.{key}").into(), value: value.clone().into() })
        .collect();
    merge(vec![Annotations::parse(&annotations).unwrap().inline], None, 4096).unwrap()
}

fn sysctl(sysctl: Sysctl, value: impl ToString) -> Request {
    inline(&[(format!("sysctl.{sysctl}"), value.to_string())])
}

fn objects(json: String) -> Request {
    inline(&[("objects".to_owned(), json)])
}

fn under(ceiling: &str) -> World {
    let text = format!("format = 1\n[policy.ceiling]\n{ceiling}\n");
    World { policy: Config::parse("/etc/c.toml", &text, 4096).unwrap(), ..World::default() }
}

/// Everything as small as it can be, so that each request raises.
fn small(mut world: World) -> World {
    for sysctl in Sysctl::ALL {
        let least = match sysctl {
            Sysctl::Sem => SysctlValue::Sem([1; 4]),
            Sysctl::MqMsgsizeDefault | Sysctl::MqMsgsizeMax => SysctlValue::Number(128),
            Sysctl::ShmRmidForced => SysctlValue::Number(0),
            _ => SysctlValue::Number(1),
        };
        world.fake.write_sysctl(sysctl, least).unwrap();
    }
    world
}

#[test]
fn every_built_in_ceiling_holds_to_the_number() {
    for key in Sysctl::ALL {
        let rule = format!("(rule policy.ceiling.\"{key}\", built-in default)");
        match Ceiling::built_in(key) {
            SysctlValue::Number(most) => {
                assert!(small(World::default()).plan_of(&sysctl(key, most)).is_ok(), "{key} = {most}");
                if key == Sysctl::ShmRmidForced {
                    continue;
                }
                let error = small(World::default()).plan_of(&sysctl(key, most + 1)).unwrap_err();
                assert_eq!(error.exit(), Exit::Denied, "{key}: {error}");
                assert!(error.to_string().contains(&format!("above the ceiling of {most} {rule}")), "{error}");
                assert!(small(World::default()).plan_of(&sysctl(key, format!(">= {}", most + 1))).is_err(), "{key}");
            }
            SysctlValue::Sem(most) => {
                assert!(small(World::default()).plan_of(&sysctl(key, SysctlValue::Sem(most))).is_ok());
                for field in SemField::ALL {
                    let mut above = most;
                    above[field as usize] += 1;
                    let error = small(World::default()).plan_of(&sysctl(key, SysctlValue::Sem(above))).unwrap_err();
                    assert_eq!(error.exit(), Exit::Denied, "{error}");
                    assert!(error.to_string().starts_with(&format!("kernel.sem.{}: ", field.name())), "{error}");
                }
            }
        }
    }
}

#[test]
fn every_ceiling_can_be_set_and_denied() {
    for key in Sysctl::ALL {
        let (most, above) = match key {
            Sysctl::Sem => ("10 10 10 10", "10 10 10 11"),
            Sysctl::ShmRmidForced => ("0", "1"),
            _ => ("200", "201"),
        };
        let set = || small(under(&format!("\"{key}\" = \"{most}\"")));
        assert!(set().plan_of(&sysctl(key, most)).is_ok(), "{key}");
        let error = set().plan_of(&sysctl(key, above)).unwrap_err().to_string();
        assert!(error.contains(&format!("(rule policy.ceiling.\"{key}\", /etc/c.toml:3)")), "{error}");
        let error = small(under(&format!("\"{key}\" = \"denied\""))).plan_of(&sysctl(key, above)).unwrap_err();
        assert_eq!(error.exit(), Exit::Denied);
        assert!(error.to_string().contains("annotations may not set it"), "{error}");
    }
}

#[test]
fn a_ceiling_binds_whoever_moves_the_value() {
    let profile = |authority, body: &str| {
        let by = By::new(Rc::from("profile:p"), 0, authority);
        Profile::parse_toml("p", &format!("format = 1\n[sysctl]\n{body}\n"), &by).unwrap()
    };
    let annotation = |value: &str| {
        let key = "io.oci-ipc-hook.sysctl.kernel.msgmax".into();
        Annotations::parse(&[Annotation { key, value: value.to_owned().into() }]).unwrap().inline
    };
    let plan = |profiles| under("\"kernel.msgmax\" = 9000").plan_of(&merge(profiles, None, 4096).unwrap());
    for authority in [Authority::Administrator, Authority::Named] {
        assert!(plan(vec![profile(authority, "\"kernel.msgmax\" = 50000")]).is_ok(), "the administrator's word");
        let (low, lower) = (profile(authority, "\"kernel.msgmax\" = \">= 50000\""), annotation(">= 9001"));
        assert!(plan(vec![low.clone(), lower]).is_ok(), "the container adds nothing to it");
        let error = plan(vec![low.clone(), annotation(">= 50001")]).unwrap_err().to_string();
        assert!(error.starts_with("kernel.msgmax: wanted 50001, found 8192: above the ceiling of 9000"), "{error}");
        let exactly = profile(authority, "\"kernel.msgmax\" = 50000");
        for (theirs, own) in [(&low, ">= 50000"), (&low, "50000"), (&exactly, "50000"), (&exactly, ">= 50000")] {
            for profiles in [vec![theirs.clone(), annotation(own)], vec![annotation(own), theirs.clone()]] {
                let plan = plan(profiles).unwrap();
                assert_eq!(plan.steps[0].by.authority(), authority, "{own}: the administrator asks for the same");
            }
        }
    }
}

#[test]
fn an_object_of_the_administrators_is_not_the_containers() {
    for authority in [Authority::Administrator, Authority::Named] {
        let by = By::new(Rc::from("profile:p"), 0, authority);
        let profile = Profile::parse_toml("p", "format = 1\n[[msg]]\nkey = 1\n", &by).unwrap();
        let key = "io.oci-ipc-hook.objects".into();
        let value = r#"{"msg":[{"key":1}]}"#.into();
        let annotation = Annotations::parse(&[Annotation { key, value }]).unwrap().inline;
        let plan = under("objects = 0").plan_of(&merge(vec![annotation, profile], None, 4096).unwrap()).unwrap();
        assert_eq!(plan.steps[0].by.authority(), authority);
    }
}

#[test]
fn a_ceiling_does_not_keep_a_value_up() {
    let mut world = under("\"kernel.shmmax\" = \"16GiB\"\n\"kernel.sem\" = \"32000 1024000000 10 32000\"");
    for (sysctl, value) in
        [(Sysctl::Shmmax, "32GiB"), (Sysctl::Shmmax, "<= 32GiB"), (Sysctl::Sem, "32000 1024000000 400 32000")]
    {
        assert_eq!(world.plan_of(&self::sysctl(sysctl, value)).unwrap().steps[0].action, Action::Set, "{value}");
    }
    refuses(
        world.plan_of(&sysctl(Sysctl::Sem, "32000 1024000000 501 32000")),
        Exit::Denied,
        "kernel.sem.semopm: wanted 501",
    );
}

#[test]
fn a_field_that_stays_as_it_is_may_be_above_its_ceiling() {
    let plan = |value| under("\"kernel.sem\" = \"40000 1000 500 32000\"").plan_of(&sysctl(Sysctl::Sem, value));
    assert!(plan(">= 40000 1 1 1").is_ok(), "1024000000 semaphores are the kernel's default");
    refuses(plan(">= 40001 1 1 1"), Exit::Denied, "kernel.sem.semmsl: wanted 40001, found 32000: above the ceiling");
    refuses(plan(">= 1 1024000001 1 1"), Exit::Denied, "kernel.sem.semmns: wanted 1024000001, found 1024000000: above");
}

#[test]
fn totals_do_not_bind_what_a_profile_holds() {
    let mut body: String = (1..=65).map(|key| format!("[[msg]]\nkey = {key}\n")).collect();
    body += "[[shm]]\nkey = 1\nsize = \"2GiB\"\n";
    for authority in [Authority::Administrator, Authority::Named] {
        let by = By::new(Rc::from("profile:p"), 0, authority);
        let profile = Profile::parse_toml("p", &format!("format = 1\n{body}"), &by).unwrap();
        let plan = World::default().plan_of(&merge(vec![profile], None, 4096).unwrap());
        assert_eq!(plan.unwrap().steps.len(), 66, "{authority:?}");
    }
}

#[test]
fn totals_hold_to_the_number() {
    let messages = |count: u32| {
        let list: Vec<_> = (1..=count).map(|key| format!("{{\"key\":{key}}}")).collect();
        objects(format!("{{\"msg\":[{}]}}", list.join(",")))
    };
    assert!(World::default().plan_of(&messages(64)).is_ok());
    refuses(World::default().plan_of(&messages(65)), Exit::Denied, "objects: wanted 65: above the ceiling of 64 (rule");
    let segments =
        |a: u64, b: u64| objects(format!("{{\"shm\":[{{\"key\":1,\"size\":{a}}},{{\"key\":2,\"size\":{b}}}]}}"));
    assert!(World::default().plan_of(&segments((1 << 30) - 1, 1)).is_ok());
    refuses(World::default().plan_of(&segments(1 << 30, 1)), Exit::Denied, "shm bytes: wanted 1073741825: above");
    let huge = u64::MAX >> 2;
    refuses(World::default().plan_of(&segments(huge, huge)), Exit::Denied, "shm bytes: wanted 92233720368547758");
}

#[test]
fn kernel_memory_binds_everyone_to_the_byte() {
    let body =
        "[[sem]]\nkey = 1\nnsems = 1000\n[[msg]]\nkey = 2\n[[shm]]\nkey = 3\nsize = 1\n[[mqueue]]\nname = \"/q\"\n";
    let shapes = [
        Shape::Sem { nsems: 1000, values: Vec::new() },
        Shape::Msg { max_bytes: None },
        Shape::Shm { size: 1 },
        Shape::Mqueue { max_messages: None, message_size: None },
    ];
    let bytes: u64 = shapes.iter().map(kernel_bytes).sum();
    for authority in [Authority::Administrator, Authority::Named, Authority::Container] {
        let by = By::new(Rc::from("p"), 0, authority);
        let profile = Profile::parse_toml("p", &format!("format = 1\n{body}"), &by).unwrap();
        let request = merge(vec![profile], None, 4096).unwrap();
        assert!(under(&format!("kernel-memory = {bytes}")).plan_of(&request).is_ok());
        refuses(
            under(&format!("kernel-memory = {}", bytes - 1)).plan_of(&request),
            Exit::Denied,
            &format!(
                "kernel memory: wanted {bytes}: above the ceiling of {} (rule policy.ceiling.kernel-memory, /etc/c.toml:3)",
                bytes - 1
            ),
        );
    }
    let mut done = under(&format!("kernel-memory = {bytes}")).having(body);
    assert!(done.plan(body).unwrap().is_noop(), "what is there costs nothing more");
}

#[test]
fn a_plan_says_which_rule_allows_each_step() {
    let mut world = World {
        policy: Config::parse("/etc/c.toml", "format = 1\n[policy]\nannotations = \"inline\"\n", 4096).unwrap(),
        ..World::default()
    };
    let named = By::new(Rc::from("profile:mq"), 0, Authority::Named);
    let body = "format = 1\n[sysctl]\n\"kernel.msgmni\" = 100\n\"kernel.shmmni\" = \">= 1\"\n";
    let request = merge(
        vec![
            profile("[[sem]]\nkey = 1\nnsems = 9000\n", "p"),
            Profile::parse_toml("mq", body, &named).unwrap(),
            Annotations::parse(&[
                Annotation { key: "io.oci-ipc-hook.sysctl.kernel.msgmax".into(), value: "9000".into() },
                Annotation { key: "io.oci-ipc-hook.objects".into(), value: r#"{"msg":[{"key":3}]}"#.into() },
            ])
            .unwrap()
            .inline,
        ],
        None,
        4096,
    )
    .unwrap();
    let plan = world.plan_of(&request).unwrap();
    let alone = allowed::Setting { shared: false, container_pays: true };
    assert_eq!(
        allowed::text(&plan, &world.policy, alone),
        "\
allowed: kernel.msgmax: written out by the container (rule policy.annotations, /etc/c.toml:3), at most 65536 (rule policy.ceiling.\"kernel.msgmax\", built-in default)
allowed: kernel.msgmni: profile named by the container (rule policy.annotations, /etc/c.toml:3; rule policy.allowed-profiles, built-in default)
allowed: sem 0x00000001: asked for by the arguments, which are the administrator's word
allowed: msg 0x00000003: written out by the container (rule policy.annotations, /etc/c.toml:3), at most 64 objects (rule policy.ceiling.objects, built-in default) and 1073741824 bytes of segments (rule policy.ceiling.shm-bytes, built-in default)
kernel memory: 1048856 bytes of at most 16777216 (rule policy.ceiling.kernel-memory, built-in default), charged to the container's memory cgroup (the container's above 262144: rule charge.container-cgroup-above, built-in default)
"
    );
    let shared = allowed::text(&plan, &world.policy, allowed::Setting { shared: true, container_pays: false });
    let lowered = "rule policy.allowed-profiles, built-in default); lowers a limit of a shared namespace (rule policy.lower-in-shared, built-in default)\n";
    assert!(shared.contains(lowered) && shared.matches("lowers").count() == 1, "{shared}");
    assert!(shared.contains("charged to the hook's own memory cgroup"), "{shared}");
    assert_eq!(allowed::text(&Plan::default(), &world.policy, alone), "");
}
