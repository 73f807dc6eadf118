use super::*;
use crate::request::profile::administrators;

fn profile(name: &str, body: &str) -> Profile {
    Profile::parse_toml(name, &format!("format = 1\n{body}"), &administrators(&format!("profile:{name}"))).unwrap()
}

fn merged(bodies: &[&str]) -> Result<Request> {
    let profiles = bodies.iter().enumerate().map(|(i, b)| profile(&format!("p{i}"), b)).collect();
    let memory = Memory { bytes: 4 << 30, from: "test".into(), page_size: 4096 };
    merge(profiles, Some(&memory), 4096)
}

#[test]
fn larger_minimum_and_smaller_maximum_win() {
    let request = merged(&[
        "[sysctl]\n\"kernel.msgmax\" = \">= 100\"\n\"kernel.sem\" = { semmni = \">= 5\" }\n",
        "[sysctl]\n\"kernel.msgmax\" = \">= 300\"\n\"kernel.sem\" = \">= 1 2 3 4\"\n",
        "[sysctl]\n\"kernel.msgmax\" = \"<= 900\"\n",
    ])
    .unwrap();
    let [msgmax, sem] = &request.sysctls[..] else { panic!("{:?}", request.sysctls) };
    assert_eq!([0, 500, 5000].map(|c| msgmax.fields[0].nearest(c)), [300, 500, 900]);
    assert_eq!(msgmax.fields[0].by(0).unwrap().to_string(), "profile:p1:3");
    assert_eq!([0, 1, 2, 3].map(|i| sem.fields[i].nearest(0)), [1, 2, 3, 5]);
}

#[test]
fn contradictions_name_both_sources() {
    for (bodies, says) in [
        (
            ["[sysctl]\n\"kernel.msgmax\" = 1\n", "[sysctl]\n\"kernel.msgmax\" = 2\n"],
            "kernel.msgmax: wanted 1 (profile:p0:3) and 2 (profile:p1:3): the two exclude each other",
        ),
        (
            ["[sysctl]\n\"kernel.msgmax\" = \">= 10\"\n", "[sysctl]\n\"kernel.msgmax\" = \"<= 9\"\n"],
            "kernel.msgmax: wanted <= 9 (profile:p1:3) and >= 10 (profile:p0:3)",
        ),
        (
            ["[sysctl]\n\"kernel.sem\" = { semmsl = 7 }\n", "[sysctl]\n\"kernel.sem\" = \">= 8 1 1 1\"\n"],
            "kernel.sem.semmsl: wanted 7 (profile:p0:3) and >= 8 (profile:p1:3)",
        ),
        (
            ["[[shm]]\nkey = 1\nsize = 1\n", "[[shm]]\nkey = 1\nsize = 2\n"],
            "shm 0x00000001: wanted one description, in profile:p0:2 and profile:p1:2: the same object is asked for in two ways",
        ),
    ] {
        let forward = merged(&bodies).unwrap_err().to_string();
        assert!(forward.starts_with(says), "{forward}");
    }
}

#[test]
fn same_object_twice_is_one() {
    let body = "[[sem]]\nkey = 7\nvalues = [0, 0]\n";
    assert_eq!(merged(&[body, body, "[[sem]]\nkey = 7\nnsems = 2\n"]).unwrap().objects.len(), 1);
}

#[test]
fn formulas_saturate_with_a_note() {
    let request = merged(&["[sysctl]\n\"kernel.shmmni\" = \">= 30000 per GiB\"\n"]).unwrap();
    assert_eq!(request.sysctls[0].fields[0].nearest(0), 32768);
    assert_eq!(request.notes, ["kernel.shmmni: 30000 per GiB (profile:p0:3) is cut at the kernel's maximum 32768"]);
}
