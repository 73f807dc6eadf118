//! Views made by hand, so that every number can be one that nothing else is.

use super::advice::{advice, findings};
use super::{Ids, Use, View, drift, json, profile, prometheus, table};
use crate::containers::Container;
use crate::finding::Level;
use crate::ipc::{IdMap, IdMaps, Mode, NamespaceId, Owner, Sysctl, SysctlValue};
use crate::kernel::listing::{Listing, MqueueContent, MqueueRecord};
use crate::kernel::sysvipc::{Common, MsgRecord, SemRecord, ShmRecord};
use serde_json::{Value, json};

/// A container's namespace with nothing in it.
fn empty() -> View {
    View {
        id: NamespaceId { dev: 4, ino: 4_026_532_000 },
        unique: None,
        pids: vec![7],
        containers: vec![Container { engine: "podman".into(), id: "c1".into(), names: vec!["web".into()], pid: 7 }],
        msgqueue_limit: Some(819_200),
        sysctls: Sysctl::ALL.map(|s| Some(s.kernel_default())),
        listing: Listing::default(),
        sem_values: Vec::new(),
        ids: Ids::new(IdMaps::identity(), false),
        drift: None,
        page_size: 4096,
        now: 1_000_000,
    }
}

fn common(key: i32, id: i32) -> Common {
    let (owner, creator) = (Owner { uid: 11, gid: 12 }, Owner { uid: 13, gid: 14 });
    Common { key, id, mode: Mode::from_kernel(0o640), owner, creator, ctime: 999_990 }
}

/// One object of each kind, with different numbers everywhere.
fn full() -> View {
    let mut view = empty();
    view.listing.shm = vec![ShmRecord {
        common: common(0x51, 100),
        removed: true,
        locked: false,
        size: 5000,
        cpid: 0,
        lpid: 102,
        nattch: 103,
        atime: 999_901,
        dtime: 999_902,
        rss: 8192,
        swap: 4096,
    }];
    view.listing.sem = vec![SemRecord { common: common(0x52, 200), nsems: 3, otime: 999_000 }];
    view.listing.msg = vec![MsgRecord {
        common: common(0x53, 300),
        cbytes: 301,
        qnum: 5,
        qbytes: Some(602),
        lspid: 303,
        lrpid: 304,
        stime: 999_301,
        rtime: 999_302,
    }];
    view.listing.mqueue = vec![MqueueRecord {
        name: b"/orders".to_vec(),
        owner: Owner { uid: 15, gid: 16 },
        mode: Mode::from_kernel(0o600),
        inode: 9,
        content: Some(MqueueContent { max_messages: 8, message_size: 128, messages: 2, bytes: 99 }),
    }];
    view
}

/// As many sets as that, within a limit.
fn sets(used: usize, semmni: i32) -> View {
    let mut view = empty();
    view.sysctls[Sysctl::Sem.index()] = Some(SysctlValue::Sem([250, 32_000, 32, semmni]));
    view.listing.sem = vec![SemRecord { common: common(1, 1), nsems: 1, otime: 0 }; used];
    view
}

#[test]
fn percents_are_parts_of_a_hundred() {
    let percent = |used, limit| Use { name: "x", used, limit }.percent();
    assert_eq!(percent(1, Some(8)), Some(12.5));
    assert_eq!(percent(0, Some(8)), Some(0.0));
    assert_eq!(percent(9, Some(8)), Some(112.5), "a limit may be lowered below what is used");
    assert_eq!(percent(0, Some(0)), Some(100.0), "nothing is allowed, so that nothing is left");
    assert_eq!(percent(5, None), None);
}

#[test]
fn nine_tenths_are_nearly_all() {
    for (used, level) in [(8, None), (9, Some(Level::Warning)), (10, Some(Level::Problem)), (11, Some(Level::Problem))]
    {
        let view = sets(used, 10);
        let found = findings(&view);
        assert_eq!(found.first().map(|f| f.level), level, "{used} of 10");
        assert_eq!(advice(&view).first().map(|a| a.used_up), level.map(|l| l == Level::Problem));
        assert!(found.iter().all(|f| f.what == "ipc:[4026532000] (podman web)"), "{found:?}");
    }
    let nearly = &advice(&sets(9, 10))[0];
    assert_eq!(nearly.found, "SEMMNI: 9 of 10 semaphore sets (90%)");
    assert!(nearly.effect.starts_with("nearly used up: then semget fails with ENOSPC"), "{}", nearly.effect);
    assert!(nearly.cure.contains("\"kernel.sem\" = { semmni = \">= 20\" }"), "{}", nearly.cure);
    let none = &advice(&sets(0, 0))[0];
    assert!(none.used_up && none.cure.contains("semmni = \">= 1\""), "{none:?}");
    let most = &advice(&sets(32_768, 32_768))[0];
    assert!(most.cure.starts_with("32768 is the most that this kernel has"), "{}", most.cure);
    assert!(advice(&full()).is_empty());
}

#[test]
fn part_of_a_page_is_a_page() {
    let used = |name| full().usage().into_iter().find(|u| u.name == name).map(|u| u.used);
    assert_eq!((used("shmall"), used("shmmni"), used("semmni"), used("semmns")), (Some(2), Some(1), Some(1), Some(3)));
    assert_eq!((used("msgmni"), used("queues_max")), (Some(1), Some(1)));
}

/// Every value stands under its own name.
#[test]
fn json_has_each_number_in_its_place() {
    let seen: Value = serde_json::from_slice(&json::namespace(&full())).unwrap();
    let common = |key: &str, id| json!({"key": key, "id": id, "uid": 11, "gid": 12, "cuid": 13, "cgid": 14, "mode": "0640", "ctime": 999_990});
    let with = |mut common: Value, more: Value| {
        common.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        common
    };
    let shm = json!({"size": 5000, "nattch": 103, "rss": 8192, "swap": 4096, "removed": true, "locked": false, "cpid": 0,
        "lpid": 102, "atime": 999_901, "dtime": 999_902});
    assert_eq!(seen["shm"], json!([with(common("0x00000051", 100), shm)]));
    assert_eq!(seen["sem"], json!([with(common("0x00000052", 200), json!({"nsems": 3, "otime": 999_000}))]));
    let msg = json!({"used-bytes": 301, "messages": 5, "max-bytes": 602, "lspid": 303, "lrpid": 304, "stime": 999_301,
        "rtime": 999_302});
    assert_eq!(seen["msg"], json!([with(common("0x00000053", 300), msg)]));
    let mqueue = json!({"name": "/orders", "uid": 15, "gid": 16, "mode": "0600", "max-messages": 8, "message-size": 128,
        "messages": 2, "used-bytes": 99});
    assert_eq!(seen["mqueue"], json!([mqueue]));
    assert_eq!(seen["usage"]["shmall"], json!({"used": 2, "limit": "18446744073692774399", "percent": 0.0}));
    assert_eq!((&seen["rlimit-msgqueue"], &seen["host"]), (&json!(819_200), &json!(false)));
    assert_eq!(seen["containers"], json!([{"engine": "podman", "id": "c1", "names": ["web"], "pid": 7}]));
}

fn page(view: &View) -> String {
    let mut out = Vec::new();
    table::write(&mut out, view).unwrap();
    String::from_utf8(out).unwrap()
}

/// A row by its first words, blanks made one.
fn row(page: &str, starts: &str) -> String {
    let line = page.lines().find(|l| l.starts_with(starts)).unwrap_or_else(|| panic!("no {starts} in\n{page}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_table_has_each_number_in_its_column() {
    let page = page(&full());
    assert_eq!(row(&page, "0x00000051"), "0x00000051 100 0640 11:12 13:14 5000 8192 103 dest 10s -");
    assert_eq!(row(&page, "0x00000052"), "0x00000052 200 0640 11:12 13:14 3 16m 10s");
    assert_eq!(row(&page, "0x00000053"), "0x00000053 300 0640 11:12 13:14 301 5 602 11m 11m 10s");
    assert_eq!(row(&page, "/orders"), "/orders 0600 15:16 99 2 8 128");
    assert!(page.starts_with("IPC namespace 4026532000, 1 process, podman web\n"), "{page}");
}

#[test]
fn a_bar_is_as_long_as_its_percentage_and_no_rounding_makes_it_full() {
    for (used, limit, shown) in [
        (0, 1000, "1000 0 0% [..........]"),
        (1, 32_000, "32000 1 <0.01% [#.........]"),
        (5, 1000, "1000 5 0.50% [#.........]"),
        (500, 1000, "1000 500 50% [#####.....]"),
        (999, 1000, "1000 999 99% [##########]"),
        (1000, 1000, "1000 1000 100% [##########]"),
    ] {
        // The last column is the kernel's default, where it is another.
        let default = if limit == 32_000 { "" } else { " 32000" };
        let row = row(&page(&sets(used, limit)), "SEMMNI");
        assert_eq!(row, format!("SEMMNI semaphore sets {shown} kernel.sem (4.){default}"));
    }
    let defaults = page(&empty());
    assert_eq!(row(&defaults, "MSGMAX"), "MSGMAX bytes of a message 8192 - - kernel.msgmax", "no column for a default");
    assert_eq!(row(&defaults, "SHMMAX"), "SHMMAX bytes of a segment unlimited - - kernel.shmmax");
    assert_eq!(row(&defaults, "MSGQUEUE"), "MSGQUEUE bytes of a user's POSIX queues 819200 - - RLIMIT_MSGQUEUE");
}

/// Ids 0 to 19 are the host's 100 to 119.
fn mapped(inside: bool) -> View {
    let map = || IdMap::parse("0 100 20").unwrap();
    let mut view = full();
    view.ids = Ids::new(IdMaps { uid: map(), gid: map() }, inside);
    view
}

#[test]
fn owners_are_translated_the_way_they_were_listed() {
    // Listed inside: 11 is the container's. Listed outside: 11 is the host's, which the container has no id for.
    let (inside, outside) = (mapped(true), mapped(false));
    assert_eq!(
        row(&page(&inside), "0x00000052"),
        "0x00000052 200 0640 11:12 (host 111:112) 13:14 (host 113:114) 3 16m 10s"
    );
    assert!(row(&page(&outside), "0x00000052").contains("65534:65534 (host 11:12)"));
    let made = profile::text(&inside);
    assert!(made.contains("owner = \"11:12\"") && !made.contains("left out: shm"), "{made}");
    let made = profile::text(&outside);
    assert!(made.contains("# left out: shm id 100: its owner 11:12 is none of the container's ids"), "{made}");
    assert!(!made.contains("[[shm]]") && !made.contains("[[mqueue]]"), "{made}");
}

#[test]
fn a_profile_has_what_is_not_the_kernels_own() {
    let mut view = full();
    view.sem_values = vec![Some(vec![1, 0, 2])];
    let text = profile::text(&view);
    let body = text.split_once("\n\n[sysctl]\n").unwrap().1;
    assert!(
        body.starts_with("\n[[shm]]\nkey = \"0x00000051\"\nmode = \"0640\"\nowner = \"11:12\"\nsize = 5000\n"),
        "{text}"
    );
    assert!(body.contains("values = [1, 0, 2]") && body.contains("max-bytes = 602"), "{text}");
    view.sysctls[Sysctl::Msgmax.index()] = Some(SysctlValue::Number(9000));
    view.listing.shm[0].common.key = 0;
    let text = profile::text(&view);
    assert!(text.contains("[sysctl]\n\"kernel.msgmax\" = 9000\n"), "{text}");
    assert!(text.contains("# left out: shm id 100: it has no key"), "{text}");
}

#[test]
fn drift_is_what_differs_and_nothing_else() {
    let step =
        |kind: &str, name: &str, after: Value| json!({"type": kind, "name": name, "wanted": null, "after": after});
    let sem = json!({"mode": "0640", "uid": 11, "gid": 12, "nsems": 3, "id": 200, "values": [9, 9, 9]});
    let steps = vec![
        step("sysctl", "kernel.msgmax", json!(8192)),
        step("sysctl", "kernel.shmmax", json!("18446744073692774399")),
        step("sysctl", "kernel.sem", json!([32_000, 1_024_000_000, 500, 31_999])),
        step("sem", "0x00000052", sem),
        step("shm", "0x00000051", json!({"mode": "0600", "uid": 11, "gid": 12, "size": 5000, "id": 100})),
        step("msg", "0x00000053", json!({"mode": "0640", "uid": 11, "gid": 12, "max-bytes": 602, "id": 299})),
        step("msg", "0x00000054", json!({"mode": "0640"})),
        step("mqueue", "/orders", json!({"max-messages": 8, "message-size": 128})),
        // What a run that was killed wanted counts as recorded.
        json!({"type": "sysctl", "name": "kernel.msgmnb", "wanted": 20_000, "after": null}),
    ];
    let found = drift::compare(&full(), &json!({"steps": steps})).unwrap();
    let same: Vec<_> = found.iter().map(|d| d.same).collect();
    assert_eq!(same, [true, true, false, true, false, false, false, true, false], "{found:#?}");
    let text = drift::text(&found);
    for line in [
        "Since the record: 4 as recorded, 5 changed\n",
        "  kernel.sem: [32000,1024000000,500,31999] → [32000,1024000000,500,32000]\n",
        "  shm 0x00000051: mode \"0600\" → \"0640\"\n",
        "  msg 0x00000053: id 299 → 300\n",
        "  msg 0x00000054: gone\n",
        "  kernel.msgmnb: 20000 → 16384\n",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    // The record has the container's ids.
    let record = json!({"steps": [step("sem", "0x00000052", json!({"uid": 11, "gid": 12}))]});
    assert!(drift::compare(&mapped(true), &record).unwrap()[0].same);
    let now = &drift::compare(&mapped(false), &record).unwrap()[0].now;
    assert_eq!(*now, json!({"uid": 65534, "gid": 65534}));
}

#[test]
fn metrics_have_each_number_in_its_place() {
    let text = prometheus::samples(&full());
    for line in [
        "oci_ipc_processes{ipc_ns=\"4026532000\"} 1",
        "oci_ipc_container_info{ipc_ns=\"4026532000\",container=\"web\",engine=\"podman\",id=\"c1\"} 1",
        "oci_ipc_sysctl{ipc_ns=\"4026532000\",field=\"semmni\",name=\"kernel.sem\"} 32000",
        "oci_ipc_used{ipc_ns=\"4026532000\",resource=\"shmall\"} 2",
        "oci_ipc_limit{ipc_ns=\"4026532000\",resource=\"shmmni\"} 4096",
        "oci_ipc_shm_bytes{ipc_ns=\"4026532000\"} 5000",
        "oci_ipc_shm_resident_bytes{ipc_ns=\"4026532000\"} 8192",
        "oci_ipc_shm_attached{ipc_ns=\"4026532000\"} 103",
        "oci_ipc_messages{ipc_ns=\"4026532000\",kind=\"msg\"} 5",
        "oci_ipc_messages{ipc_ns=\"4026532000\",kind=\"mqueue\"} 2",
        "oci_ipc_message_bytes{ipc_ns=\"4026532000\",kind=\"msg\"} 301",
        "oci_ipc_message_bytes{ipc_ns=\"4026532000\",kind=\"mqueue\"} 99",
        "oci_ipc_fullest_queue_ratio{ipc_ns=\"4026532000\",kind=\"msg\"} 0.5",
        "oci_ipc_fullest_queue_ratio{ipc_ns=\"4026532000\",kind=\"mqueue\"} 0.25",
        "oci_ipc_msgqueue_rlimit_bytes{ipc_ns=\"4026532000\"} 819200",
        "oci_ipc_last_look_seconds{ipc_ns=\"4026532000\"} 1000000",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
}
