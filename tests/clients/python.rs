//! Python's sysv_ipc and posix_ipc open every kind of object, as an application would.

use crate::support::{Container, Dir, run, skip};
use crate::{python, run_python};

const PROFILE: &str = r#"
[[shm]]
key = "0x4d510001"
size = "1MiB"
mode = "0660"
owner = "0:0"
[[sem]]
key = 0x5101
values = [3, 0, 5]
owner = "0:0"
[[msg]]
key = 0x77
max-bytes = 4096
owner = "0:0"
[[mqueue]]
name = "/orders"
max-messages = 7
message-size = 100
owner = "0:0"
"#;

const SCRIPT: &str = r#"
import sysv_ipc, posix_ipc, os
m = sysv_ipc.SharedMemory(0x4d510001)
print("shm", m.size, oct(m.mode), m.uid, m.gid, m.creator_pid > 0, m.number_attached)
m.write(b"hello", 1000); print(m.read(5, 1000).decode())
s = sysv_ipc.Semaphore(0x5101)
print("sem", s.value, oct(s.mode), s.o_time > 0)
s.block = False
s.acquire(); s.acquire(); s.acquire()
try: s.acquire()
except sysv_ipc.BusyError: print("busy")
q = sysv_ipc.MessageQueue(0x77, max_message_size=4096)
print("msg", q.max_size, q.current_messages)
q.send(b"x" * 4096, type=3)
try: q.send(b"y", block=False)
except sysv_ipc.BusyError: print("full")
print(len(q.receive(type=3)[0]))
p = posix_ipc.MessageQueue("/orders")
print("mqueue", p.max_messages, p.max_message_size, p.current_messages)
p.send(b"order", priority=2); print(p.receive())
for _ in range(7): p.send(b"z" * 100, timeout=0)
try: p.send(b"", timeout=0)
except posix_ipc.BusyError: print("full")
"#;

const SAYS: &str = "shm 1048576 0o660 0 0 True 1\nhello\nsem 3 0o600 True\nbusy\nmsg 4096 0\nfull\n4096\n\
                    mqueue 7 100 0\n(b'order', 2)\nfull\n";

#[test]
fn opens_every_kind() {
    if python().is_none() {
        return skip("sysv_ipc and posix_ipc are not installed (tests/run/clients all)");
    }
    let (container, dir) = (Container::new(), Dir::new());
    run(&["--profile-file", &dir.profile(PROFILE)], container.state("")).expect(0);
    assert_eq!(run_python(&container, SCRIPT), SAYS);
    // What the application did is kept by a second run, and seen by inspect.
    run(&["--profile-file", &dir.profile(PROFILE)], container.state("")).expect(0);
    let json = run(&["inspect", "--pid", &container.pid().to_string(), "--json"], "").expect(0).stdout;
    let seen: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let queue = &seen["namespaces"][0]["mqueue"][0];
    assert_eq!((&queue["messages"], &queue["used-bytes"]), (&7.into(), &700.into()), "{queue}");
}
