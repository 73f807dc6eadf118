//! Random requests: merging and planning give the same whatever the order, and a second run has nothing to do.

use super::*;
use proptest::prelude::*;

/// Bodies of random profiles that ask for sensible things.
fn bodies() -> impl Strategy<Value = String> {
    let sysctl = (0usize..13, 0u64..3, 1u64..40_000).prop_filter_map("in range", |(index, bound, value)| {
        let sysctl = Sysctl::ALL[index];
        let (min, max) = sysctl.range();
        let value =
            value.clamp(min.max(1), max.min(32_768)).min(if sysctl == Sysctl::ShmRmidForced { 0 } else { u64::MAX });
        let value = if sysctl == Sysctl::ShmRmidForced { 0 } else { value };
        let prefix = ["", ">= ", "<= "][bound as usize];
        (!(sysctl == Sysctl::Shmall || sysctl == Sysctl::Shmmax) || bound == 1).then(|| match sysctl {
            Sysctl::Sem => format!("\"kernel.sem\" = \"{prefix}{value} {value} 500 {value}\"\n"),
            other => format!("\"{other}\" = \"{prefix}{value}\"\n"),
        })
    });
    let object = (0u8..4, 1u32..40, 1u32..20, 0u16..3).prop_map(|(kind, key, size, value)| match kind {
        0 => format!("[[shm]]\nkey = {key}\nsize = {size}\n"),
        1 => format!("[[sem]]\nkey = {key}\nvalues = [{value}]\n"),
        2 => format!("[[msg]]\nkey = {key}\nowner = \"{size}:1\"\n"),
        _ => format!("[[mqueue]]\nname = \"/q{key}\"\nmessage-size = 128\n"),
    });
    (proptest::option::of(sysctl), proptest::collection::vec(object, 0..6)).prop_map(|(sysctl, objects)| {
        format!("{}{}", sysctl.map(|s| format!("[sysctl]\n{s}")).unwrap_or_default(), objects.concat())
    })
}

proptest! {
    #[test]
    fn merging_does_not_depend_on_the_order(bodies in proptest::collection::vec(bodies(), 1..4)) {
        let profiles: Vec<_> = bodies.iter().enumerate().map(|(i, b)| profile(b, &format!("p{i}"))).collect();
        let reversed: Vec<_> = profiles.iter().rev().cloned().collect();
        let (forward, backward) = (merge(profiles, None, 4096), merge(reversed, None, 4096));
        prop_assert_eq!(forward.as_ref().ok(), backward.as_ref().ok());
    }

    #[test]
    fn a_plan_is_deterministic_and_its_second_is_empty(body in bodies()) {
        let Ok(request) = merge(vec![profile(&body, "p")], None, 4096) else { return Ok(()) };
        let mut world = World::default();
        let Ok(plan) = world.plan_of(&request) else { return Ok(()) };
        prop_assert_eq!(render::text(&plan), render::text(&world.plan_of(&request).unwrap()));
        let before = world.fake.visible();
        let outcome = apply(&plan, &mut world.fake);
        if outcome.ending == Ending::Done {
            prop_assert!(world.plan_of(&request).unwrap().is_noop());
        } else {
            prop_assert_eq!(world.fake.visible(), before);
        }
    }
}
