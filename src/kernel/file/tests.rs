use super::super::testing::{in_child, is_root};
use super::*;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("oci-ipc-hook-file-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        set_mode(&path, 0o644);
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn reads_up_to_the_limit_and_not_beyond() {
    let dir = Scratch::new("limit");
    for size in [0, 1, 4095, 4096, 4097, 10_000] {
        let content = vec![b'x'; size];
        let file = dir.file("f", &content);
        assert_eq!(read_regular(&file, size).unwrap(), content);
        assert_eq!(read_trusted(&file, false, size + 1).unwrap(), content);
        if size > 0 {
            assert_eq!(read_regular(&file, size - 1), Err(FileError::TooLarge(size - 1)));
        }
    }
}

#[test]
fn reads_pipes_and_files_without_a_size_to_their_end() {
    for size in [0, 1, 4095, 4096, 4097, 60_000] {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let content = vec![b'y'; size];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // In pieces, so that one read does not get all.
                for piece in content.chunks(1000) {
                    nix::unistd::write(&writer, piece).unwrap();
                }
                drop(writer);
            });
            assert_eq!(read_all(&reader, size).unwrap(), content);
        });
    }
    let (reader, writer) = nix::unistd::pipe().unwrap();
    nix::unistd::write(&writer, &[0; 5000]).unwrap();
    assert_eq!(read_all(&reader, 4999), Err(FileError::TooLarge(4999)));
    let mounts = read_regular(Path::new("/proc/self/mountinfo"), 1 << 20).unwrap();
    assert!(mounts.ends_with(b"\n"));
}

#[test]
fn only_regular_files_are_read() {
    let dir = Scratch::new("kinds");
    nix::unistd::mkfifo(&dir.0.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.0.join("socket")).unwrap();
    for other in [dir.0.join("fifo"), dir.0.join("socket"), dir.0.clone(), "/dev/zero".into()] {
        assert_eq!(read_regular(&other, 10), Err(FileError::NotRegular), "{}", other.display());
    }
    assert_eq!(read_trusted(&dir.0.join("fifo"), false, 10), Err(FileError::NotRegular));
    assert_eq!(read_regular(&dir.0.join("none"), 10), Err(FileError::NotFound));
    assert_eq!(TrustedDir::open(&dir.0.join("none"), false).unwrap_err(), FileError::NotFound);
    let file = dir.file("f", b"");
    assert_eq!(TrustedDir::open(&file, false).unwrap_err(), FileError::Io("open directory", Errno::ENOTDIR));
}

#[test]
fn no_link_is_followed() {
    let dir = Scratch::new("links");
    let file = dir.file("f", b"content");
    symlink(&file, dir.0.join("link")).unwrap();
    symlink(&dir.0, dir.0.join("dir")).unwrap();
    assert_eq!(read_regular(&dir.0.join("link"), 10), Err(FileError::Link));
    let open = TrustedDir::open(&dir.0, false).unwrap();
    assert_eq!(open.read(Path::new("f"), 10).unwrap(), b"content");
    assert_eq!(open.read(Path::new("link"), 10), Err(FileError::Link));
    assert_eq!(open.read(Path::new("dir/f"), 10), Err(FileError::Link));
    assert_eq!(read_trusted(&dir.0.join("dir/f"), false, 10), Err(FileError::Link));
    for outside in ["../f", "/etc/passwd", ".."] {
        assert!(open.read(Path::new(outside), 1 << 20).is_err(), "{outside}");
    }
}

#[test]
fn others_may_not_have_written_it() {
    let dir = Scratch::new("trust");
    let file = dir.file("f", b"content");
    let read = || read_trusted(&file, false, 10);
    assert_eq!(read().unwrap(), b"content");
    let own = nix::unistd::geteuid().as_raw();
    set_mode(&file, 0o646);
    assert_eq!(read(), Err(FileError::Untrusted { owner: own, mode: 0o646, directory: false }));
    set_mode(&file, 0o600);
    set_mode(&dir.0, 0o1777);
    assert_eq!(read(), Err(FileError::Untrusted { owner: own, mode: 0o1777, directory: true }), "sticky or not");
    set_mode(&dir.0, 0o755);
    assert!(read().is_ok());
    if is_root() {
        chown(&file, Some(1234), None).unwrap();
        assert_eq!(read(), Err(FileError::Untrusted { owner: 1234, mode: 0o600, directory: false }));
        in_child(|| {
            nix::unistd::seteuid(1234.into()).unwrap();
            assert_eq!(read().unwrap(), b"content", "the running user's own, in root's directory");
        });
        chown(&dir.0, Some(1235), None).unwrap();
        chown(&file, Some(0), None).unwrap();
        assert_eq!(read(), Err(FileError::Untrusted { owner: 1235, mode: 0o755, directory: true }));
    }
}

/// The group's bits are then those of the ACL's mask, whatever the group itself may do.
#[test]
fn an_acl_that_lets_a_stranger_write_is_seen() {
    let dir = Scratch::new("acl");
    let file = dir.file("f", b"content");
    // linux/posix_acl_xattr.h: version 2, then tag, rights and id: of the owner, a user, the group, the mask, others.
    let entries = [(1u16, 6u16, u32::MAX), (2, 6, 1234), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 4, u32::MAX)];
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        acl.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
        acl.extend(id.to_le_bytes());
    }
    let path = CString::new(file.as_os_str().as_bytes()).unwrap();
    // SAFETY: two strings that end, and a buffer of that length.
    let set = unsafe {
        libc::setxattr(path.as_ptr(), c"system.posix_acl_access".as_ptr(), acl.as_ptr().cast(), acl.len(), 0)
    };
    if Errno::result(set) == Err(Errno::EOPNOTSUPP) {
        return println!("skipped: no ACLs in {}", dir.0.display());
    }
    assert_eq!(set, 0, "{}", Errno::last());
    let own = nix::unistd::geteuid().as_raw();
    let untrusted = FileError::Untrusted { owner: own, mode: 0o664, directory: false };
    assert_eq!(read_trusted(&file, false, 10), Err(untrusted));
}

#[test]
fn the_rule_of_trust() {
    let trusted = |stat, overflow| is_trusted(stat, || 1000, || overflow);
    for good in [(0, 0o644), (1000, 0o600), (0, 0o640), (0, 0o755)] {
        assert!(trusted(good, false), "{good:?}");
    }
    for bad in [(0, 0o646), (0, 0o660), (1000, 0o664), (1001, 0o600), (OVERFLOW_ID, 0o600), (1000, 0o602)] {
        assert!(!trusted(bad, false), "{bad:?}");
    }
    assert!(trusted((OVERFLOW_ID, 0o644), true));
    assert!(!trusted((OVERFLOW_ID, 0o664), true));
    assert!(!trusted((OVERFLOW_ID, 0o646), true));
    assert!(!trusted((1001, 0o600), true));
}

#[test]
fn in_a_user_namespace_root_is_the_overflow_id_in_built_in_directories() {
    if !is_root() {
        return;
    }
    let dir = Scratch::new("overflow");
    dir.file("f", b"content");
    in_child(|| {
        // SAFETY: no pointers are passed. Nothing is mapped: all files show the overflow id, so do we.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWUSER) }, 0);
        let outcome = |built_in| is_trusted((OVERFLOW_ID, 0o644), || 5, || built_in && in_user_namespace());
        assert!(outcome(true) && !outcome(false));
        assert!(TrustedDir::open(&dir.0, true).unwrap().read(Path::new("f"), 10).is_ok());
    });
    assert!(!in_user_namespace());
}
