//! The workload of the engine tests: a static program that runs as the container's first process.
//!
//! It opens every object it is told of by key or name, as an application would, and prints what it finds as one JSON
//! object a line, ended by `{"type":"end"}`. Being process 1 of the container it shows what was there before the
//! workload's first instruction.
//!
//! ```text
//! ipc-client [--shm KEY]… [--sem KEY]… [--msg KEY]… [--mqueue NAME]… [--hold]
//! ipc-client --record FILE [COMMAND…]        as a hook: copy stdin to FILE, then run COMMAND
//! ```
//! With `--hold` it stays until SIGTERM, so that others can join its namespace.
#![allow(unsafe_code)]

use serde_json::{Value, json};
use std::ffi::CString;
use std::io::{Error, Read, Result};
use std::process::ExitCode;
use std::{env, fs, io, mem, ptr};

const SYSCTLS: [(&str, &str); 13] = [
    ("kernel.msgmax", "kernel/msgmax"),
    ("kernel.msgmnb", "kernel/msgmnb"),
    ("kernel.msgmni", "kernel/msgmni"),
    ("kernel.sem", "kernel/sem"),
    ("kernel.shmall", "kernel/shmall"),
    ("kernel.shmmax", "kernel/shmmax"),
    ("kernel.shmmni", "kernel/shmmni"),
    ("kernel.shm_rmid_forced", "kernel/shm_rmid_forced"),
    ("fs.mqueue.msg_default", "fs/mqueue/msg_default"),
    ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
    ("fs.mqueue.msgsize_default", "fs/mqueue/msgsize_default"),
    ("fs.mqueue.msgsize_max", "fs/mqueue/msgsize_max"),
    ("fs.mqueue.queues_max", "fs/mqueue/queues_max"),
];

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("ipc-client: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let mut hold = false;
    let mut lines = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| Error::other(format!("{word} needs a value")));
        lines.push(match word.as_str() {
            "--record" => {
                record(value()?)?;
                return Ok(());
            }
            "--hold" => {
                hold = true;
                continue;
            }
            "--shm" => object("shm", "key", value()?, shm),
            "--sem" => object("sem", "key", value()?, sem),
            "--msg" => object("msg", "key", value()?, msg),
            "--mqueue" => object("mqueue", "name", value()?, mqueue),
            _ => return Err(Error::other(format!("unknown option {word}"))),
        });
    }
    if hold {
        block_sigterm()?;
    }
    println!("{}", process()?);
    for (name, path) in SYSCTLS {
        println!("{}", sysctl(name, path));
    }
    for line in lines {
        println!("{line}");
    }
    println!("{}", json!({"type": "end"}));
    if hold {
        wait_for_sigterm()?;
    }
    Ok(())
}

/// Stands in for a hook: keeps the state that a runtime sends.
fn record(path: &str) -> Result<()> {
    let mut state = Vec::new();
    io::stdin().read_to_end(&mut state)?;
    fs::write(path, state)
}

fn process() -> Result<Value> {
    // SAFETY: these calls take no arguments, touch no memory and cannot fail.
    let (uid, gid, pid) = unsafe { (libc::getuid(), libc::getgid(), libc::getpid()) };
    let namespace = fs::read_link("/proc/self/ns/ipc")?;
    Ok(json!({"type": "process", "pid": pid, "uid": uid, "gid": gid, "namespace": namespace.to_string_lossy()}))
}

fn sysctl(name: &str, path: &str) -> Value {
    match fs::read_to_string(format!("/proc/sys/{path}")) {
        Ok(text) => {
            let value = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            json!({"type": "sysctl", "name": name, "value": value})
        }
        Err(e) => json!({"type": "sysctl", "name": name, "error": e.to_string()}),
    }
}

/// The line of one object: what `open` found, or the error that an application would get.
fn object(kind: &str, field: &str, name: &str, open: fn(&str) -> Result<Value>) -> Value {
    let mut line = open(name).unwrap_or_else(|e| json!({"error": e.to_string()}));
    line["type"] = kind.into();
    line[field] = name.into();
    line
}

/// A key as the profile writes it: hexadecimal or decimal, taken as 32 bits.
fn key(text: &str) -> Result<libc::key_t> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Ok(number.map_err(|e| Error::other(format!("key {text}: {e}")))? as libc::key_t)
}

fn check(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

fn permissions(p: &libc::ipc_perm) -> Value {
    json!({"uid": p.uid, "gid": p.gid, "cuid": p.cuid, "cgid": p.cgid, "mode": format!("{:04o}", p.mode & 0o777)})
}

fn shm(name: &str) -> Result<Value> {
    let key = key(name)?;
    // SAFETY: shmget takes numbers only.
    let id = check(unsafe { libc::shmget(key, 0, 0) })?;
    // SAFETY: shmid_ds is plain data, all zero is a value of it.
    let mut ds: libc::shmid_ds = unsafe { mem::zeroed() };
    // SAFETY: `ds` is a live shmid_ds, which IPC_STAT fills.
    check(unsafe { libc::shmctl(id, libc::IPC_STAT, &mut ds) })?;
    // SAFETY: the kernel chooses the address, so no memory in use is replaced.
    let address = unsafe { libc::shmat(id, ptr::null(), 0) };
    if address as isize == -1 {
        return Err(Error::last_os_error());
    }
    // SAFETY: shmat mapped at least one readable page there; segments are never empty.
    let first = unsafe { address.cast::<u8>().read_volatile() };
    // SAFETY: `address` comes from shmat above and nothing refers to it any more.
    check(unsafe { libc::shmdt(address) })?;
    let mut line = permissions(&ds.shm_perm);
    line["id"] = id.into();
    line["size"] = ds.shm_segsz.into();
    line["first"] = first.into();
    Ok(line)
}

fn sem(name: &str) -> Result<Value> {
    let key = key(name)?;
    // SAFETY: semget takes numbers only.
    let id = check(unsafe { libc::semget(key, 0, 0) })?;
    let row = sysvipc("sem", key)?;
    let number = |column: usize| row.get(column).copied().unwrap_or(-1);
    let count = usize::try_from(number(3)).map_err(Error::other)?;
    let mut values = vec![0u16; count];
    // SAFETY: GETALL writes one u16 for each semaphore of the set, and `values` has room for all of them.
    check(unsafe { libc::semctl(id, 0, GETALL, values.as_mut_ptr()) })?;
    let mode = format!("{:04o}", u32::try_from(number(2)).unwrap_or(0) & 0o777);
    Ok(json!({"id": id, "uid": number(4), "gid": number(5), "cuid": number(6), "cgid": number(7), "mode": mode,
        "values": values, "initialised": number(8) != 0}))
}

/// `GETALL` of sys/sem.h.
const GETALL: libc::c_int = 13;

/// The numbers of an object's line in `/proc/sysvipc`; permissions, printed in octal, come as a number.
fn sysvipc(file: &str, key: libc::key_t) -> Result<Vec<i64>> {
    for line in fs::read_to_string(format!("/proc/sysvipc/{file}"))?.lines().skip(1) {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some(&key.to_string()) {
            continue;
        }
        let mut row = vec![i64::from(key)];
        for (column, word) in words.enumerate() {
            let number = if column == 1 { i64::from_str_radix(word, 8) } else { word.parse() };
            row.push(number.map_err(Error::other)?);
        }
        return Ok(row);
    }
    Err(Error::other(format!("key {key} is not in /proc/sysvipc/{file}")))
}

fn msg(name: &str) -> Result<Value> {
    let key = key(name)?;
    // SAFETY: msgget takes numbers only.
    let id = check(unsafe { libc::msgget(key, 0) })?;
    // SAFETY: msqid_ds is plain data, all zero is a value of it.
    let mut ds: libc::msqid_ds = unsafe { mem::zeroed() };
    // SAFETY: `ds` is a live msqid_ds, which IPC_STAT fills.
    check(unsafe { libc::msgctl(id, libc::IPC_STAT, &mut ds) })?;
    let mut line = permissions(&ds.msg_perm);
    line["id"] = id.into();
    line["qbytes"] = ds.msg_qbytes.into();
    line["messages"] = ds.msg_qnum.into();
    Ok(line)
}

fn mqueue(name: &str) -> Result<Value> {
    let path = CString::new(name)?;
    // SAFETY: `path` is a C string that lives across the call; without O_CREAT no further argument is read.
    let queue = check(unsafe { libc::mq_open(path.as_ptr(), libc::O_RDWR) })?;
    // SAFETY: mq_attr is plain data, all zero is a value of it.
    let mut attributes: libc::mq_attr = unsafe { mem::zeroed() };
    // SAFETY: `queue` is open and `attributes` is a live mq_attr.
    check(unsafe { libc::mq_getattr(queue, &mut attributes) })?;
    // SAFETY: stat is plain data, all zero is a value of it.
    let mut stat: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: on Linux a queue is a file descriptor, open here, and `stat` is live.
    check(unsafe { libc::fstat(queue, &mut stat) })?;
    Ok(json!({"uid": stat.st_uid, "gid": stat.st_gid, "mode": format!("{:04o}", stat.st_mode & 0o777),
        "max-messages": attributes.mq_maxmsg, "message-size": attributes.mq_msgsize,
        "messages": attributes.mq_curmsgs}))
}

fn sigterm() -> libc::sigset_t {
    // SAFETY: sigset_t is plain data; sigemptyset and sigaddset write only to it and SIGTERM is a valid signal.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        set
    }
}

/// Process 1 ignores signals without a handler; blocked, SIGTERM waits for [`wait_for_sigterm`].
fn block_sigterm() -> Result<()> {
    // SAFETY: the set is live and the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &sigterm(), ptr::null_mut()) }).map(drop)
}

fn wait_for_sigterm() -> Result<()> {
    let mut signal = 0;
    // SAFETY: both pointers are live for the call.
    match unsafe { libc::sigwait(&sigterm(), &mut signal) } {
        0 => Ok(()),
        error => Err(Error::from_raw_os_error(error)),
    }
}
