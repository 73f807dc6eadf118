use crate::ipc::{Sysctl, SysctlValue};
use crate::kernel::Ipc;
use crate::kernel::namespace::Joined;
use crate::kernel::testing::in_fresh_namespace;
use nix::errno::Errno;
use std::fs;

fn path(sysctl: Sysctl) -> String {
    format!("/proc/sys/{}", sysctl.name().replace("kernel.", "kernel/").replace("fs.mqueue.", "fs/mqueue/"))
}

#[test]
fn a_fresh_namespace_has_the_defaults() {
    in_fresh_namespace(|ns| {
        for s in Sysctl::ALL {
            assert_eq!(ns.read_sysctl(s).unwrap(), s.kernel_default(), "{s}");
        }
    });
}

#[test]
fn takes_the_ends_of_each_range_and_nothing_beyond() {
    in_fresh_namespace(|ns| {
        for s in Sysctl::ALL.into_iter().filter(|s| *s != Sysctl::Sem) {
            let (min, max) = s.range();
            for value in [min, max] {
                ns.write_sysctl(s, SysctlValue::Number(value)).unwrap();
                assert_eq!(ns.read_sysctl(s).unwrap(), SysctlValue::Number(value), "{s}");
                assert_eq!(fs::read_to_string(path(s)).unwrap(), format!("{value}\n"));
            }
            let beyond = [min.checked_sub(1), max.checked_add(1)];
            for value in beyond.into_iter().flatten().filter(|_| s != Sysctl::MqQueuesMax) {
                let refused = ns.write_sysctl(s, SysctlValue::Number(value)).unwrap_err();
                assert_eq!(refused.errno, Errno::EINVAL, "{s} {value}");
                assert_eq!(ns.read_sysctl(s).unwrap(), SysctlValue::Number(max), "{s} keeps its value");
            }
        }
    });
}

#[test]
fn queues_max_has_no_bound_but_that_of_its_32_bits() {
    in_fresh_namespace(|ns| {
        let all = SysctlValue::Number(u32::MAX.into());
        ns.write_sysctl(Sysctl::MqQueuesMax, all).unwrap();
        assert_eq!(ns.read_sysctl(Sysctl::MqQueuesMax).unwrap(), all);
        assert_eq!(fs::read_to_string(path(Sysctl::MqQueuesMax)).unwrap(), "-1\n");
        let refused = ns.write_sysctl(Sysctl::MqQueuesMax, SysctlValue::Number(1 << 32)).unwrap_err();
        assert_eq!(refused.errno, Errno::EINVAL);
    });
}

#[test]
fn a_refused_sem_is_half_written_and_can_be_written_back() {
    in_fresh_namespace(|ns| {
        let before = ns.read_sysctl(Sysctl::Sem).unwrap();
        let refused = ns.write_sysctl(Sysctl::Sem, SysctlValue::Sem([1, 2, 3, 32769])).unwrap_err();
        assert_eq!(refused.errno, Errno::ERANGE);
        assert_eq!(ns.read_sysctl(Sysctl::Sem).unwrap(), SysctlValue::Sem([1, 2, 3, 32000]));
        ns.write_sysctl(Sysctl::Sem, before).unwrap();
        assert_eq!(ns.read_sysctl(Sysctl::Sem).unwrap(), before);
        let odd = SysctlValue::Sem([i32::MIN, i32::MAX, -1, 32768]);
        ns.write_sysctl(Sysctl::Sem, odd).unwrap();
        assert_eq!(ns.read_sysctl(Sysctl::Sem).unwrap(), odd);
    });
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_without_a_write() {
    in_fresh_namespace(|ns| {
        for (s, value) in [(Sysctl::Sem, SysctlValue::Number(5)), (Sysctl::Shmmax, SysctlValue::Sem([1, 2, 3, 4]))] {
            assert_eq!(ns.write_sysctl(s, value).unwrap_err().errno, Errno::EINVAL);
            assert_eq!(ns.read_sysctl(s).unwrap(), s.kernel_default());
        }
    });
}

#[test]
fn who_may_not_write_still_reads_and_is_told_why() {
    if !crate::kernel::testing::is_root() {
        return;
    }
    in_fresh_namespace(|_| {
        crate::kernel::testing::become_user(1234);
        let mut ns = Joined::join_self().unwrap();
        for s in Sysctl::ALL {
            assert_eq!(ns.read_sysctl(s).unwrap(), s.kernel_default());
            assert_eq!(ns.write_sysctl(s, s.kernel_default()).unwrap_err().errno, Errno::EACCES, "{s}");
        }
    });
}
