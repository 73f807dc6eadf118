//! Plans in words: what changes, why, from which line, which limits are needed, which rule allows it.

use crate::support::{Container, Dir, run};

const PROFILE: &str = r#"
[sysctl]
"kernel.sem" = ">= 250 1 1000 32768"
"kernel.msgmni" = ">= 40000 per GiB"
"kernel.shmmni" = ">= 1"
[[shm]]
key = 5
size = 5000
owner = "0:0"
[[sem]]
key = 6
nsems = 16
owner = "0:0"
[[sem]]
key = 7
nsems = 17
owner = "0:0"
"#;

#[test]
fn a_plan_says_everything() {
    let (container, dir) = (Container::new(), Dir::new());
    container.sh("ipcmk -S 3 >/dev/null");
    let profile = dir.profile(PROFILE);
    let pid = container.pid().to_string();
    let text = run(&["plan", "--pid", &pid, "--profile-file", &profile, "--memory", "1GiB"], "").expect(10).stdout;
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/plan.txt");
    if std::env::var_os("OCI_IPC_HOOK_BLESS").is_some() {
        std::fs::write(golden, &text).expect("the golden text");
    }
    assert_eq!(text, std::fs::read_to_string(golden).expect("the golden text"), "OCI_IPC_HOOK_BLESS=1 accepts it");
    run(&["apply", "--pid", &pid, "--profile-file", &profile, "--memory", "1GiB"], "").expect(0);
    let done = run(&["plan", "--pid", &pid, "--profile-file", &profile, "--memory", "1GiB"], "").expect(0).stdout;
    assert!(done.lines().all(|l| l.starts_with("none ") || l.starts_with("warning: ")), "nothing to explain: {done}");
}
