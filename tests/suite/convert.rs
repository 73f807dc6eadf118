//! `profiles import` and `profiles export`.

use crate::support::{Container, Dir, run, run_command};
use std::process::Command;

#[test]
fn a_sysctl_conf_becomes_a_profile_that_does_the_same() {
    let (container, dir) = (Container::new(), Dir::new());
    let conf = dir.file(
        "97-oracle.conf",
        "# Oracle\nkernel.sem = 250 32000 100 128\nkernel/shmmni = 4097\nnet.core.somaxconn = 5\n",
    );
    let profile = run(&["profiles", "import", &conf], "").expect(0).stdout;
    assert!(profile.contains("net.core.somaxconn: not a sysctl of an IPC namespace"), "{profile}");
    let file = dir.file("made.toml", &profile);
    run(&["apply", "--pid", &container.pid().to_string(), "--profile-file", &file], "").expect(0);
    let seen = container.sh("cat /proc/sys/kernel/sem /proc/sys/kernel/shmmni");
    assert_eq!(seen, "250\t32000\t100\t128\n4097\n");
    let raised = run(&["profiles", "import", "-", "--at-least"], "kernel.msgmax=9000\n").expect(0).stdout;
    assert!(raised.ends_with("\"kernel.msgmax\" = \">= 9000\"\n"), "{raised}");
    run(&["profiles", "import", "-"], "net.core.somaxconn = 5\n").expect(2).says("sets no sysctl of an IPC namespace");
    run(&["profiles", "import", "-"], "kernel.msgmax = 8K\n")
        .expect(2)
        .says("standard input:1:1: kernel.msgmax: found 8K");
    let latin = run(&["profiles", "import", "-"], b"# caf\xe9\nkernel.msgmax = 9000 # \xe9\n").expect(0).stdout;
    assert!(latin.ends_with("[sysctl]\n\"kernel.msgmax\" = \"9000\"\n"), "{latin}");
    run(&["profiles", "import", "/none.conf"], "").expect(2).says("no such file; see whether the path is right");
    run(&["profiles", "import", "-"], "#".repeat(2 << 20)).expect(2).says("; make it smaller");
}

#[test]
fn a_profile_becomes_flags() {
    let dir = Dir::new();
    let at = dir.path().to_str().expect("text").to_owned();
    dir.file("a.toml", "format = 1\n[sysctl]\n\"kernel.sem\" = \">= 250 1 1000 128\"\n\"kernel.msgmax\" = \">= 65536\"\n\"kernel.shmmni\" = \">= 10\"\n");
    dir.file("memory.toml", "format = 1\n[sysctl]\n\"kernel.shmmax\" = \"50%\"\n");
    dir.file("objects.toml", "format = 1\n[[sem]]\nkey = 5\nnsems = 1\n[[mqueue]]\nname = \"/q\"\n");
    dir.file("nothing.toml", "format = 1\n[sysctl]\n\"kernel.shmmni\" = \">= 10\"\n");
    let export = |rest: &[&str]| run(&[&["profiles", "export"], rest, &["--profiles-dir", &at]].concat(), "");
    let flags = export(&["a", "--podman"]).expect(0).stdout;
    assert_eq!(flags, "--sysctl kernel.msgmax=65536 --sysctl kernel.sem='32000 1024000000 1000 32000'\n");
    assert_eq!(export(&["a", "--docker"]).expect(0).stdout, flags);
    // As the shell takes them apart.
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("printf '%s|' {flags}")]);
    let words = run_command(shell, "").stdout;
    assert_eq!(words, "--sysctl|kernel.msgmax=65536|--sysctl|kernel.sem=32000 1024000000 1000 32000|");
    assert_eq!(
        export(&["a", "--kubernetes"]).expect(0).stdout,
        "securityContext:\n  sysctls:\n  - name: kernel.msgmax\n    value: \"65536\"\n  - name: kernel.sem\n    \
         value: \"32000 1024000000 1000 32000\"\n# the kubelet must allow them: --allowed-unsafe-sysctls=kernel.msgmax,kernel.sem\n"
    );
    export(&["memory", "--docker"]).expect(2).says("such as --memory 16GiB");
    let half = export(&["memory", "--docker", "--memory", "16GiB"]).expect(0).stdout;
    assert_eq!(half, "--sysctl kernel.shmmax=8589934592\n");
    export(&["objects", "--kubernetes"])
        .expect(2)
        .says("found sem 0x00000005, mqueue /q: Kubernetes has no way to create objects");
    export(&["nothing", "--podman"]).expect(2).says("there is nothing to export");
}
