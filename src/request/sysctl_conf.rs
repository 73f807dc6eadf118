//! `sysctl.conf(5)` and `sysctl.d(5)` files, as far as they are about an IPC namespace.

use crate::doc::{Place, Position};
use crate::error::{Error, Result};
use crate::ipc::{SemField, Sysctl, SysctlValue};
use crate::oci::SpecSysctl;
use std::fmt::Write as _;

/// Some editors start a file with it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// One sysctl that a file sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which.
    pub sysctl: Sysctl,
    /// Its numbers; of `kernel.sem` perhaps only the leading ones.
    pub fields: [Option<u64>; 4],
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SysctlConf {
    /// The last value of each sysctl of an IPC namespace, in the order of [`Sysctl::ALL`].
    pub settings: Vec<Setting>,
    /// Everything else, with line and reason.
    pub left_out: Vec<String>,
}

impl SysctlConf {
    /// Adds a file's lines; later ones win, as they do for sysctl(8): of `kernel.sem` only in the fields that they give.
    ///
    /// # Errors
    /// A line that is no setting, or a value of an IPC sysctl that the kernel or a profile would refuse: with file and line.
    pub fn add(&mut self, document: &str, text: &str) -> Result<()> {
        let place = Place { document };
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with(['#', ';']) {
                continue;
            }
            let at = Position { line, column: 1 };
            // A '-' in front: failures do not matter.
            let (key, value) = match (text.trim_start_matches('-').split_once('='), text.strip_prefix('-')) {
                (Some((key, value)), _) => (key.trim(), value.trim()),
                (None, Some(key)) => {
                    let name = dotted(key.trim());
                    self.left_out.push(format!("{document}:{line}: {name}: sets nothing, only keeps patterns off it"));
                    continue;
                }
                (None, None) => {
                    let error = place.error(at, "", "not a line of the form 'name = value'");
                    return Err(error.found(text).remedy("correct the line, or put # in front of it"));
                }
            };
            let name = dotted(key);
            match name.parse::<Sysctl>() {
                Ok(sysctl) => {
                    let fields = read(sysctl, value).map_err(|why| {
                        let error = place.error(at, sysctl.name(), why).found(value);
                        error.remedy("correct the value, or put # in front of the line")
                    })?;
                    self.set(sysctl, fields);
                }
                Err(_) => self.left_out.push(format!("{document}:{line}: {name}: {}", reason(&name))),
            }
        }
        self.settings.sort_by_key(|s| s.sysctl);
        Ok(())
    }

    fn set(&mut self, sysctl: Sysctl, fields: [Option<u64>; 4]) {
        match self.settings.iter_mut().find(|s| s.sysctl == sysctl) {
            Some(before) => before.fields = std::array::from_fn(|i| fields[i].or(before.fields[i])),
            None => self.settings.push(Setting { sysctl, fields }),
        }
    }

    /// A profile that asks for the same; with `at_least` it only raises.
    pub fn profile(&self, description: &str, at_least: bool) -> String {
        let bound = if at_least { ">= " } else { "" };
        let mut out = format!("format = 1\ndescription = {}\n", crate::inspect::profile::quoted(description));
        for line in &self.left_out {
            let _ = writeln!(out, "# left out: {}", crate::text::escape(line));
        }
        out.push_str("\n[sysctl]\n");
        for Setting { sysctl, fields } in &self.settings {
            let given: Vec<_> = fields.iter().flatten().map(u64::to_string).collect();
            let _ = match (sysctl, given.len()) {
                (Sysctl::Sem, 1..4) => {
                    let named = SemField::ALL.into_iter().zip(&given);
                    let named: Vec<_> = named.map(|(f, n)| format!("{} = \"{bound}{n}\"", f.name())).collect();
                    writeln!(out, "\"{sysctl}\" = {{ {} }}", named.join(", "))
                }
                _ => writeln!(out, "\"{sysctl}\" = \"{bound}{}\"", given.join(" ")),
            };
        }
        out
    }
}

/// Names may be written with slashes; what is first decides which one separates.
fn dotted(key: &str) -> String {
    match key.find(['/', '.']) {
        Some(at) if key.as_bytes()[at] == b'/' => key
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect(),
        _ => key.to_owned(),
    }
}

fn reason(name: &str) -> &'static str {
    match name {
        "kernel.msg_next_id" | "kernel.sem_next_id" | "kernel.shm_next_id" => {
            "used once by the next object, whoever makes it; not a setting"
        }
        "kernel.auto_msgmni" => "without effect since Linux 3.19",
        name if name.contains('*') => "patterns are not expanded",
        _ => "not a sysctl of an IPC namespace",
    }
}

/// The numbers as the kernel reads them, within what a profile may ask for. Behind the last number that it looks for the
/// kernel reads no further, so a comment may stand there; it is refused where another number of `kernel.sem` could.
fn read(sysctl: Sysctl, text: &str) -> std::result::Result<[Option<u64>; 4], String> {
    let most = if sysctl == Sysctl::Sem { 4 } else { 1 };
    let mut rest = text.split_ascii_whitespace();
    let words: Vec<_> = rest.by_ref().take(most).collect();
    if words.is_empty() || rest.next().is_some_and(|word| !word.starts_with(['#', ';'])) {
        return Err(format!("wants {}", if most == 4 { "1 to 4 numbers" } else { "one number" }));
    }
    let value = SpecSysctl { sysctl, text: words.join(" ") }.value_over(sysctl.kernel_default());
    let value = value.ok_or_else(|| {
        let (least, largest) = sysctl.range();
        match sysctl {
            Sysctl::Sem => "the kernel refuses this value".to_owned(),
            _ => format!("the kernel refuses this value; a profile takes {least} to {largest}"),
        }
    })?;
    let mut fields = [None; 4];
    for (index, field) in fields.iter_mut().enumerate().take(words.len()) {
        let (least, largest) = if sysctl == Sysctl::Sem { SemField::ALL[index].range() } else { sysctl.range() };
        let number = match value {
            SysctlValue::Number(n) => Some(n),
            SysctlValue::Sem(all) => u64::try_from(all[index]).ok(),
        };
        let number = number.filter(|n| (least..=largest).contains(n));
        *field = Some(number.ok_or_else(|| format!("a profile takes {least} to {largest}"))?);
    }
    Ok(fields)
}

/// For callers that have nothing to show.
///
/// # Errors
/// No sysctl of an IPC namespace was set.
pub fn require_some(conf: &SysctlConf, document: &str) -> Result<()> {
    match conf.settings.is_empty() {
        true => Err(Error::bad_input(document, "sets no sysctl of an IPC namespace")
            .remedy(format!("those are {}", Sysctl::ALL.map(Sysctl::name).join(", ")))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::profile::{Profile, administrators};

    fn conf(text: &str) -> SysctlConf {
        let mut conf = SysctlConf::default();
        conf.add("a.conf", text).unwrap();
        conf
    }

    #[test]
    fn reads_what_sysctl_reads() {
        let all = conf(
            "# Oracle\n; old\n\nkernel.sem = 250\t32000 100 128\n-kernel/shmmni=0x1000\nkernel.shmmax = 1\nfs/mqueue/msg_max=20\n\
             kernel.shmmax=68719476736\nnet.ipv4/x = 1\nnet/ipv4/conf/eth0.1/y = 2\nkernel.msg_next_id = 3\nkernel.msgmax = 010\n",
        );
        assert_eq!(
            all.profile("x", true),
            "format = 1\ndescription = \"x\"\n# left out: a.conf:9: net.ipv4/x: not a sysctl of an IPC namespace\n\
             # left out: a.conf:10: net.ipv4.conf.eth0/1.y: not a sysctl of an IPC namespace\n\
             # left out: a.conf:11: kernel.msg_next_id: used once by the next object, whoever makes it; not a setting\n\n\
             [sysctl]\n\"kernel.msgmax\" = \">= 8\"\n\"kernel.sem\" = \">= 250 32000 100 128\"\n\
             \"kernel.shmmax\" = \">= 68719476736\"\n\"kernel.shmmni\" = \">= 4096\"\n\"fs.mqueue.msg_max\" = \">= 20\"\n"
        );
    }

    #[test]
    fn every_profile_made_is_one() {
        let text = "kernel.sem = 1 2\nkernel.shmall = 18446744073709551615\nkernel.shm_rmid_forced = 1\nfs.mqueue.queues_max = 7\n";
        for at_least in [false, true] {
            let made = conf(text).profile("a \"b\"\n", at_least);
            let profile = Profile::parse_toml("made", &made, &administrators("x")).unwrap();
            assert_eq!(profile.sysctls.len(), 4, "{made}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_by_name() {
        for (line, says) in [
            ("kernel.sem", "a.conf:2:1: found kernel.sem: not a line of the form"),
            ("kernel.sem = 1 2 3 4 5", "kernel.sem: found 1 2 3 4 5: wants 1 to 4 numbers"),
            ("kernel.sem = -1 2 3 4", "a profile takes 0 to 2147483647"),
            ("kernel.shmmni = 32769", "a profile takes 0 to 32768"),
            ("kernel.msgmax = 8K", "the kernel refuses this value"),
            ("kernel.msgmax = 1 2", "wants one number"),
            ("kernel.msgmax =", "wants one number"),
            ("fs.mqueue.queues_max = -1", "fs.mqueue.queues_max: found -1: a profile takes"),
        ] {
            let error = SysctlConf::default().add("a.conf", &format!("\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains(says) && error.starts_with("a.conf:2:1"), "{line}: {error}");
            assert!(error.contains("; correct the ") && error.contains(", or put # in front of "), "{error}");
        }
    }

    #[test]
    fn a_line_without_a_value_only_excludes_from_patterns() {
        let all = conf("-net.ipv4.conf.all.rp_filter\n- kernel/sem\nkernel.msgmax=9000\n");
        assert_eq!(
            all.left_out,
            [
                "a.conf:1: net.ipv4.conf.all.rp_filter: sets nothing, only keeps patterns off it",
                "a.conf:2: kernel.sem: sets nothing, only keeps patterns off it"
            ]
        );
        assert_eq!(all.settings.len(), 1);
    }

    #[test]
    fn a_shorter_value_leaves_the_other_fields_as_they_were() {
        let mut all = conf("kernel.sem = 1 2 3 4\nkernel.msgmax=1\nkernel.msgmax=2\nkernel.sem=250 32000\n");
        let shown = |conf: &SysctlConf| conf.profile("x", false).split_once("[sysctl]\n").unwrap().1.to_owned();
        assert_eq!(shown(&all), "\"kernel.msgmax\" = \"2\"\n\"kernel.sem\" = \"250 32000 3 4\"\n");
        all.add("b.conf", "kernel.sem = 9\n").unwrap();
        assert!(shown(&all).ends_with("\"kernel.sem\" = \"9 32000 3 4\"\n"));
    }

    #[test]
    fn a_comment_may_stand_where_the_kernel_reads_no_further() {
        let all = conf("kernel.shmmax = 68719476736 # 64 GiB\nkernel.sem=1 2 3 4 ;x y\nkernel.msgmax = 5 #6\n");
        let numbers: Vec<_> = all.settings.iter().map(|s| s.fields.iter().flatten().sum::<u64>()).collect();
        assert_eq!(numbers, [5, 10, 68_719_476_736]);
        for refused in ["kernel.sem = 250 32000 # x", "kernel.msgmax = 9000#x"] {
            let error = SysctlConf::default().add("a.conf", refused).unwrap_err().to_string();
            assert!(error.contains("the kernel refuses this value"), "{error}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        assert_eq!(conf("\u{feff}kernel.msgmax = 5\n"), conf("kernel.msgmax = 5\n"));
    }
}
