//! ipcs(1) and lsipc(1) of util-linux agree with `inspect`, number by number.

use crate::support::{Container, Dir, is_root, run, skip, which};
use crate::{python, run_python};
use serde_json::Value;
use std::fmt::Write as _;

/// A generator of numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// 1 000 objects of all kinds, with every mode and with owners as this user can make them.
fn profile(numbers: &mut Numbers) -> String {
    let mut body = "[sysctl]\n\"fs.mqueue.queues_max\" = \">= 500\"\n\"kernel.msgmnb\" = \">= 65536\"\n".to_owned();
    let ids = if is_root() { 70_000 } else { 1 };
    for n in 0..1000u64 {
        let common = format!(
            "mode = \"0{:03o}\"\nowner = \"{}:{}\"\n",
            numbers.below(0o1000),
            numbers.below(ids),
            numbers.below(ids)
        );
        // Keys of all 32 bits, never 0, never twice.
        let key = (numbers.below(1 << 22) << 10) + n + 1;
        let _ = match n % 10 {
            0..3 => write!(body, "[[shm]]\nkey = {key}\nsize = {}\n{common}", 1 + numbers.below(1 << 40)),
            3..6 => write!(body, "[[sem]]\nkey = {key}\nnsems = {}\n{common}", 1 + numbers.below(20)),
            6..9 => write!(body, "[[msg]]\nkey = {key}\nmax-bytes = {}\n{common}", 1 + numbers.below(65_536)),
            _ => write!(
                body,
                "[[mqueue]]\nname = \"/q{key}\"\nmax-messages = {}\nmessage-size = {}\n{common}",
                1 + numbers.below(4),
                1 + numbers.below(99)
            ),
        };
    }
    body
}

/// Attaches, sends and waits a little, so that there is something to see.
const TRAFFIC: &str = r"
import sysv_ipc
def objects(kind):
    for line in open('/proc/sysvipc/' + kind).readlines()[1:]:
        key, ident = line.split()[:2]
        yield int(key), int(ident)
for n, (key, ident) in enumerate(objects('msg')):
    if n % 3 == 0:
        q = sysv_ipc.MessageQueue(key)
        for size in range(n % 5):
            try: q.send(b'x' * size, block=False)
            except sysv_ipc.BusyError: pass
        if n % 2 and q.current_messages: q.receive()
for n, (key, ident) in enumerate(objects('shm')):
    if n % 7 == 0:
        m = sysv_ipc.attach(ident); m.detach()
for n, (key, ident) in enumerate(objects('sem')):
    if n % 7 == 0: sysv_ipc.Semaphore(key).release()
sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=12345)
sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
";

/// POSIX queues as the mqueue file system and posix_ipc show them, in the words of `inspect --json`.
const QUEUES: &str = r"
import posix_ipc, os, json, ctypes
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(CLONE_NEWNS) == 0
assert libc.mount(b'none', b'/', None, MS_REC | MS_PRIVATE, None) == 0
assert libc.mount(b'none', b'/mnt', b'mqueue', 0, None) == 0
rows = []
for n, name in enumerate(sorted(os.listdir('/mnt'))):
    queue = posix_ipc.MessageQueue('/' + name)
    if n % 3 == 0: queue.send(b'y' * (n % (queue.max_message_size + 1)))
    st = os.stat('/mnt/' + name)
    size = int(open('/mnt/' + name).read().split()[0].split(':')[1])
    rows.append({'name': '/' + name, 'uid': st.st_uid, 'gid': st.st_gid, 'mode': '%04o' % (st.st_mode & 0o777),
        'max-messages': queue.max_messages, 'message-size': queue.max_message_size,
        'messages': queue.current_messages, 'used-bytes': size})
    queue.close()
print(json.dumps(rows))
";

fn rows(container: &Container, flag: &str, columns: &str) -> Vec<Value> {
    let text = container.sh(&format!("lsipc {flag} --json --bytes --output {columns}"));
    let value: Value = serde_json::from_str(&text).expect("lsipc --json");
    let list = value.as_object().expect("an object").values().next().expect("a list");
    list.as_array().expect("an array").clone()
}

/// One of lsipc's cells as a number; an empty one is 0.
fn number(cell: &Value) -> i64 {
    if cell.is_null() {
        return 0;
    }
    let text = cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).expect("a key"),
        None => text.parse().unwrap_or_else(|_| panic!("not a number: {cell}")),
    }
}

/// Compares rows by id. `pairs`: lsipc's column and inspect's key.
fn agree(theirs: &[Value], ours: &Value, pairs: &[(&str, &str)]) {
    let ours = ours.as_array().expect("an array");
    assert_eq!(theirs.len(), ours.len());
    for row in theirs {
        let id = number(&row["id"]);
        let mine = ours.iter().find(|o| o["id"] == id).unwrap_or_else(|| panic!("no id {id}"));
        for (theirs, own) in pairs {
            assert_eq!(number(&row[*theirs]), number(&mine[*own]), "{theirs} of {row} and {mine}");
        }
    }
}

const COMMON: [(&str, &str); 4] = [("key", "key"), ("uid", "uid"), ("gid", "gid"), ("cuid", "cuid")];

/// Mode and the creator's group by ipcs, because lsipc 2.38 prints the creator's user in its column CGID, and no mode of
/// queues. Rows are `id perms cuid cgid uid gid`; ids that have a name show it and are passed over.
fn modes_and_creators_groups_agree(text: &str, ours: &Value) {
    let mut compared = 0;
    for line in text.lines() {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [id, perms, _, cgid, ..] = words[..] else { continue };
        let (Ok(id), Ok(cgid)) = (id.parse::<i64>(), cgid.parse::<i64>()) else { continue };
        let mine = ours.as_array().expect("an array").iter().find(|o| o["id"] == id).expect("the id");
        assert_eq!(number(&mine["mode"]), perms.parse::<i64>().expect("a mode"), "{line} and {mine}");
        assert_eq!(mine["cgid"], cgid, "{line} and {mine}");
        compared += 1;
    }
    assert!(compared > 250 || !is_root(), "{compared} of {text}");
}

#[test]
fn a_thousand_random_objects_are_the_same() {
    if which("lsipc").is_none() || which("ipcs").is_none() {
        return skip("util-linux's lsipc and ipcs are not installed");
    }
    let (container, dir) = (Container::new(), Dir::new());
    let profile = dir.profile(&profile(&mut Numbers(2)));
    run(&["apply", "--pid", &container.pid().to_string(), "--profile-file", &profile], "").expect(0);
    let queues = match python().is_some() && is_root() {
        true => {
            run_python(&container, TRAFFIC);
            Some(run_python(&container, QUEUES))
        }
        false => None,
    };
    let json = run(&["inspect", "--pid", &container.pid().to_string(), "--json"], "").expect(0).stdout;
    let seen: Value = serde_json::from_str(&json).expect("JSON");
    let seen = &seen["namespaces"][0];
    let of = |kind: &str| seen[kind].as_array().expect("an array").len();
    assert!(of("shm") >= 300 && of("sem") >= 300 && of("msg") == 300 && of("mqueue") == 100);

    let more = |pairs: &[(&'static str, &'static str)]| [&COMMON, pairs].concat();
    let ids = "KEY,ID,UID,GID,CUID";
    let shm = rows(&container, "--shmems", &format!("{ids},SIZE,NATTCH,CPID,LPID"));
    agree(&shm, &seen["shm"], &more(&[("size", "size"), ("nattch", "nattch"), ("cpid", "cpid"), ("lpid", "lpid")]));
    let sem = rows(&container, "--semaphores", &format!("{ids},NSEMS"));
    agree(&sem, &seen["sem"], &more(&[("nsems", "nsems")]));
    let msg = rows(&container, "--queues", &format!("{ids},USEDBYTES,MSGS,LSPID,LRPID"));
    let columns = [("usedbytes", "used-bytes"), ("msgs", "messages"), ("lspid", "lspid"), ("lrpid", "lrpid")];
    agree(&msg, &seen["msg"], &more(&columns));

    if let Some(theirs) = queues {
        let theirs: Value = serde_json::from_str(&theirs).expect("JSON");
        assert_eq!(theirs, seen["mqueue"]);
        let waiting = theirs.as_array().expect("an array").iter().filter(|q| q["messages"] != 0).count();
        assert!(waiting > 25, "{waiting} queues with something in them");
    }
    for (flag, kind) in [("-m", "shm"), ("-s", "sem"), ("-q", "msg")] {
        modes_and_creators_groups_agree(&container.sh(&format!("LC_ALL=C ipcs {flag} -c")), &seen[kind]);
    }
    the_sums_are_those_of_ipcs(&container.sh("LC_ALL=C ipcs -u"), seen);
    limits_are_those_of_lsipc(
        &container.sh("LC_ALL=C lsipc --global --bytes --raw --noheadings --output RESOURCE,LIMIT"),
        seen,
    );
}

/// `segments allocated 301`, `pages allocated 12`, `used arrays = 301`, `allocated queues = 300`, `used headers = …`.
fn the_sums_are_those_of_ipcs(text: &str, seen: &Value) {
    let find = |label: &str| {
        let line = text.lines().find(|l| l.starts_with(label)).unwrap_or_else(|| panic!("no {label} in {text}"));
        line.rsplit([' ', '=']).next().and_then(|n| n.parse::<i64>().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    let used = |name: &str| number(&seen["usage"][name]["used"]);
    assert_eq!(find("segments allocated"), used("shmmni"));
    assert_eq!(find("pages allocated"), used("shmall"));
    assert_eq!(find("used arrays"), used("semmni"));
    assert_eq!(find("allocated semaphores"), used("semmns"));
    assert_eq!(find("allocated queues"), used("msgmni"));
    let sum = |key: &str| seen["msg"].as_array().expect("an array").iter().map(|q| number(&q[key])).sum::<i64>();
    assert_eq!(find("used headers"), sum("messages"));
    assert!(text.contains(&format!("used space = {} bytes", sum("used-bytes"))), "{text}");
}

fn limits_are_those_of_lsipc(text: &str, seen: &Value) {
    let sysctl = &seen["sysctl"];
    let limit = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')).map(str::trim);
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (resource, value) in [
        ("MSGMNI", &sysctl["kernel.msgmni"]),
        ("SHMMNI", &sysctl["kernel.shmmni"]),
        ("SHMALL", &sysctl["kernel.shmall"]),
        ("SEMMNI", &sysctl["kernel.sem"][3]),
        ("SEMMNS", &sysctl["kernel.sem"][1]),
        ("SEMMSL", &sysctl["kernel.sem"][0]),
        ("SEMOPM", &sysctl["kernel.sem"][2]),
        ("MSGMAX", &sysctl["kernel.msgmax"]),
        ("MSGMNB", &sysctl["kernel.msgmnb"]),
        ("SHMMAX", &sysctl["kernel.shmmax"]),
    ] {
        assert_eq!(limit(resource), Some(shown(value).as_str()), "{resource} in {text}");
    }
}
