//! What a plan makes is what holds once it is done: after its own sysctls, after config.json's, after what it removes.

use super::*;
use crate::ipc::Shape;

/// Attributes of the only queue.
fn queue(plan: &Plan) -> (Option<u64>, Option<u64>) {
    let shapes = plan.steps.iter().filter_map(|step| match &step.change {
        Change::Object { spec, .. } => Some(&spec.shape),
        Change::Sysctl { .. } => None,
    });
    match shapes.collect::<Vec<_>>()[..] {
        [Shape::Mqueue { max_messages, message_size }] => (*max_messages, *message_size),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_queue_takes_the_defaults_that_will_hold() {
    const QUEUE: &str = "[[mqueue]]\nname = \"/q\"\n";
    for (sysctls, says) in [
        ("", (10, 8192)),
        ("\"fs.mqueue.msg_max\" = 5\n", (5, 8192)),
        ("\"fs.mqueue.msg_max\" = 64\n", (10, 8192)),
        (
            "\"fs.mqueue.msg_max\" = 64\n\"fs.mqueue.msg_default\" = 20\n\"fs.mqueue.msgsize_default\" = 512\n",
            (20, 512),
        ),
        ("\"fs.mqueue.msgsize_max\" = 4096\n", (10, 4096)),
    ] {
        let plan = World::default().plan(&format!("[sysctl]\n{sysctls}{QUEUE}")).unwrap();
        assert_eq!(queue(&plan), (Some(says.0), Some(says.1)), "{sysctls}");
    }
}

/// runc and youki write `linux.sysctl` after the hook, crun before it.
#[test]
fn limits_of_config_json_hold_whoever_comes_first() {
    let spec = |sysctl, text: &str| SpecSysctl { sysctl, text: text.into() };
    let list = vec![spec(Sysctl::Msgmax, "9000"), spec(Sysctl::MqMsgDefault, "40"), spec(Sysctl::MqMsgMax, "64")];
    let written = "[sysctl]\n\"fs.mqueue.msg_max\" = 64\n\"fs.mqueue.msg_default\" = 40\n";
    for (body, capacity) in [
        ("[[mqueue]]\nname = \"/q\"\nmessage-size = 128\nmax-messages = 64\n", 64),
        ("[[mqueue]]\nname = \"/q\"\nmessage-size = 128\n", 40),
    ] {
        let after = World { spec: Some(list.clone()), ..World::default() }.plan(body).unwrap();
        let before = World { spec: Some(list.clone()), ..World::default().having(written) }.plan(body).unwrap();
        assert_eq!((queue(&after).0, queue(&before).0), (Some(capacity), Some(capacity)));
        let actions =
            |plan: &Plan| plan.steps.iter().map(|s| (s.what(), s.by.to_string(), s.action)).collect::<Vec<_>>();
        let step = |name: &str, by: &str, action| (name.to_owned(), by.to_owned(), action);
        let (max, default, queue) = ("fs.mqueue.msg_max", "fs.mqueue.msg_default", "mqueue /q");
        for (plan, action) in [(&after, Action::Set), (&before, Action::None)] {
            let wanted = [
                step(max, "config.json", action),
                step(default, "config.json", action),
                step(queue, "profile:p:2", Action::Create),
            ];
            let mut got = actions(plan);
            got[..2].sort_by(|a, b| b.0.cmp(&a.0));
            assert_eq!(got, wanted, "msgmax limits no queue of this kind");
        }
    }
    let few = || Some(vec![spec(Sysctl::Sem, "5 5")]);
    let result = World { spec: few(), ..World::default() }.plan("[[sem]]\nkey = 1\nnsems = 6\n");
    assert!(result.unwrap_err().to_string().starts_with("sem 0x00000001: wanted 6, found kernel.sem (SEMMSL) = 5"));
    // What others use too is theirs to set.
    let mut shared = World { shared: true, spec: few(), ..World::default() };
    assert_eq!(shared.plan("[[sem]]\nkey = 1\nnsems = 6\n").unwrap().steps.len(), 1);
}

#[test]
fn what_is_replaced_is_gone_before_the_new_one_counts() {
    let set = |key: u32, size: u32| format!("[[sem]]\nkey = {key}\nnsems = {size}\nif-exists = \"replace\"\n");
    let limited = |semmns: u32| {
        World::default().having(&format!("[sysctl]\n\"kernel.sem\" = {{ semmns = {semmns} }}\n{}", set(1, 100)))
    };
    assert!(limited(150).plan(&set(1, 150)).is_ok());
    let error = limited(150).plan(&set(1, 151)).unwrap_err().to_string();
    assert!(
        error.starts_with("sem: 51 new and 100 existing semaphores: wanted 151, found kernel.sem (SEMMNS) = 150"),
        "{error}"
    );
    // What is created comes before what is replaced.
    assert!(limited(150).plan(&format!("{}{}", set(1, 50), set(2, 50))).is_ok());
    assert!(limited(150).plan(&format!("{}{}", set(1, 10), set(2, 51))).is_err());
    let segment = |size| format!("[[shm]]\nkey = 1\nsize = {size}\nif-exists = \"replace\"\n");
    let mut world = World::default().having(&format!("[sysctl]\n\"kernel.shmall\" = 100\n{}", segment(60 * 4096)));
    assert!(world.plan(&segment(100 * 4096)).is_ok());
    assert!(world.plan(&segment(100 * 4096 + 1)).is_err());
}
