use super::*;

const HEAD: &str = "format = 1\n";

fn parse(body: &str) -> Result<Profile> {
    Profile::parse_toml("p.toml", &format!("{HEAD}{body}"), &administrators("profile:p"))
}

fn err(body: &str) -> String {
    match parse(body) {
        Ok(profile) => panic!("{body}: read as {profile:?}"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn reads_the_example_of_the_manual() {
    let profile = parse(
        r#"description = "IBM MQ queue manager"
source = "https://example.org"
[sysctl]
"kernel.shmmax" = ">= 256MiB"
"kernel.shmall" = ">= 8GiB"
"kernel.sem" = { semmsl = 32, semmns = 4096, semopm = 32, semmni = ">= 128" }
"fs.mqueue.msg_max" = 256
[[shm]]
key = "0x4d510001"
size = "64MiB"
mode = "0660"
owner = "1001:0"
[[sem]]
key = 0x5101
values = [1, 0, 5]
[[msg]]
key = 0x77
max-bytes = "64KiB"
on-stop = "remove"
[[mqueue]]
name = "/orders"
max-messages = 64
message-size = "4KiB"
if-exists = "replace"
"#,
    )
    .unwrap();
    assert_eq!(profile.description.as_deref(), Some("IBM MQ queue manager"));
    assert_eq!(profile.sysctls.len(), 4);
    assert_eq!(profile.sysctls[0].by.to_string(), "profile:p:5");
    let [shm, sem, msg, mqueue] = &profile.objects[..] else { panic!("{:?}", profile.objects) };
    assert_eq!(shm.shape, Shape::Shm { size: 64 << 20 });
    assert_eq!((shm.mode.unwrap().bits(), shm.owner), (0o660, Some(Owner { uid: 1001, gid: 0 })));
    assert_eq!(sem.shape, Shape::Sem { nsems: 3, values: vec![1, 0, 5] });
    assert_eq!(sem.by.to_string(), "profile:p:14");
    assert_eq!((&msg.shape, msg.on_stop), (&Shape::Msg { max_bytes: Some(65536) }, OnStop::Remove));
    assert_eq!(mqueue.shape, Shape::Mqueue { max_messages: Some(64), message_size: Some(4096) });
    assert_eq!(mqueue.if_exists, IfExists::Replace);
}

#[test]
fn every_mistake_names_its_place() {
    for (body, says) in [
        ("discription = \"x\"\n", "p.toml:2:1: discription: unknown key; did you mean 'description'?"),
        (
            "[sysctl]\n\"kernel.shmax\" = 1\n",
            "p.toml:3:1: sysctl.kernel.shmax: unknown key; did you mean 'kernel.shmmax'?",
        ),
        ("[sysctl]\nkernel.shmmax = 1\n", "p.toml:3:1: sysctl.kernel: a sysctl's name stands in quotes"),
        ("[sysctl]\n\"kernel.msgmax\" = 0x10\n", "p.toml:3:19: kernel.msgmax: found 0x10"),
        ("[sysctl]\n\"kernel.msgmax\" = 1_000\n", "p.toml:3:19: kernel.msgmax: found 1_000"),
        (
            "[sysctl]\n\"kernel.msgmax\" = true\n",
            "p.toml:3:19: kernel.msgmax: wanted a number or a string, found true or false",
        ),
        ("[sysctl]\n\"kernel.msgmax\" = -5\n", "p.toml:3:19: kernel.msgmax: found -5"),
        ("[sysctl]\n\"kernel.sem\" = 5\n", "p.toml:3:16: kernel.sem: wanted a string or a table"),
        ("[sysctl]\n\"kernel.sem\" = {}\n", "p.toml:3:16: kernel.sem: found a table: no field is named"),
        (
            "[sysctl]\n\"kernel.sem\" = { semni = 1 }\n",
            "p.toml:3:18: kernel.sem.semni: unknown key; did you mean 'semmni'?",
        ),
        (
            "[sysctl]\n\"kernel.sem\" = { semmni = 40000 }\n",
            "p.toml:3:27: kernel.sem.semmni: found 40000: out of range",
        ),
        ("[[shm]]\nsize = 1\n", "p.toml:2:3: shm: 'key' is missing"),
        ("[[shm]]\nkey = 1\n", "p.toml:2:3: shm: 'size' is missing"),
        ("[[shm]]\nkey = 0\nsize = 1\n", "p.toml:3:7: shm.key: found 0: key 0 is IPC_PRIVATE"),
        ("[[shm]]\nkey = 1\nsize = 0\n", "p.toml:4:8: shm.size: found 0: out of range"),
        ("[[shm]]\nkey = 1\nsize = 1\nmode = 660\n", "p.toml:5:8: shm.mode: wanted a string, found a number"),
        ("[[shm]]\nkey = 1\nsize = 1\nnsems = 3\n", "p.toml:5:1: shm.nsems: unknown key"),
        ("[[sem]]\nkey = 1\n", "p.toml:2:3: sem: 'nsems' or 'values' is missing"),
        ("[[sem]]\nkey = 1\nnsems = 1\nvalues = [1]\n", "p.toml:5:10: sem: 'nsems' and 'values' exclude each other"),
        ("[[sem]]\nkey = 1\nvalues = []\n", "p.toml:4:10: sem.values: a set has at least one semaphore"),
        ("[[sem]]\nkey = 1\nvalues = [1, 32768]\n", "p.toml:4:14: sem.values: found 32768: out of range"),
        ("[[mqueue]]\nname = \"q\"\n", "p.toml:3:8: mqueue.name: found \"q\": a queue's name starts with a slash"),
        ("[[mqueue]]\nname = \"/q\"\nmax-messages = 0\n", "p.toml:4:16: mqueue.max-messages: found 0: out of range"),
        (
            "[[msg]]\nkey = 1\nif-exists = \"overwrite\"\n",
            "p.toml:4:13: msg.if-exists: found \"overwrite\": not one of",
        ),
        ("[[msg]]\nkey = 1\nowner = \"root\"\n", "p.toml:4:9: msg.owner: found \"root\": an owner is \"uid:gid\""),
        ("shm = 3\n", "p.toml:2:7: shm: wanted an array, found a number"),
        ("sysctl = []\n", "p.toml:2:10: sysctl: wanted a table, found an array"),
        ("description = \"\u{1b}[31m\"\nx = 1\n", "p.toml:2:16: "),
    ] {
        let error = err(body);
        assert!(error.starts_with(says), "{body}\n got {error}\nwant {says}");
    }
}

#[test]
fn format_must_be_stated() {
    let read = |text| Profile::parse_toml("p.toml", text, &administrators("profile:p"));
    assert!(read("").unwrap_err().to_string().starts_with("p.toml: the line 'format = 1' is missing"));
    assert!(read("format = 2\n").unwrap_err().to_string().starts_with("p.toml:1:10: format: wanted 1"));
}

#[test]
fn keys_from_files() {
    let profile =
        parse("[[sem]]\nkey = { ftok = \"/opt/app/ipc.key\", id = 65 }\nnsems = 3\non-stop = \"remove\"\n").unwrap();
    let [wish] = &profile.by_file[..] else { panic!("{profile:?}") };
    assert_eq!((wish.file.to_string().as_str(), wish.kind), ("ftok /opt/app/ipc.key 65", Kind::Sem));
    let found = wish.clone().with_key("7".parse().unwrap());
    assert_eq!((found.id, found.on_stop), (ObjectId::Sem("7".parse().unwrap()), OnStop::Remove));
    for (key, says) in [
        ("{ ftok = \"opt\", id = 65 }", "absolute path"),
        ("{ ftok = \"/opt\", id = 0 }", "1 to 255"),
        ("{ ftok = \"/opt\", id = 256 }", "1 to 255"),
        ("{ ftok = \"/opt\" }", "'ftok' and 'id' belong together"),
        ("{ id = 65 }", "'ftok' and 'id' belong together"),
        ("{ file = \"/opt\", id = 65 }", "sem.key.file: unknown key"),
        ("[1]", "wanted a number or a string"),
    ] {
        let error = parse(&format!("[[sem]]\nkey = {key}\nnsems = 3\n")).unwrap_err().to_string();
        assert!(error.contains(says), "{key}: {error}");
    }
    let inline = r#"{"sem":[{"key":{"ftok":"/opt","id":65},"nsems":1}]}"#;
    let error = Profile::parse_objects_json("a", inline, &administrators("a")).unwrap_err().to_string();
    assert!(error.contains("only a profile in a file"), "{error}");
}
