//! A live namespace as a profile that makes one like it: sysctls that differ from the kernel's defaults, and every object
//! that can be found by key or name. What a profile cannot say is left out, and a comment says so.

use super::View;
use super::json::KeyText;
use crate::ipc::{Owner, QueueName, SemField, Sysctl, SysctlValue};
use crate::kernel::sysvipc::Common;
use std::fmt::Write as _;

/// The profile's text.
pub fn text(view: &View) -> String {
    let mut out = Profile { body: String::new(), left_out: Vec::new(), view };
    out.sysctls();
    out.shm();
    out.sem();
    out.msg();
    out.mqueue();
    let mut text = format!("format = 1\ndescription = \"As IPC namespace {} was\"\n", view.id.ino);
    for line in &out.left_out {
        let _ = writeln!(text, "# left out: {}", crate::text::escape(line));
    }
    text + &out.body
}

struct Profile<'v> {
    body: String,
    left_out: Vec<String>,
    view: &'v View,
}

impl Profile<'_> {
    fn sysctls(&mut self) {
        self.body.push_str("\n[sysctl]\n");
        for sysctl in Sysctl::ALL {
            let Some(value) = self.view.sysctl(sysctl).filter(|v| *v != sysctl.kernel_default()) else { continue };
            if !expressible(sysctl, value) {
                self.left_out.push(format!("{sysctl} = {}: a profile does not ask for that", value.render(sysctl)));
                continue;
            }
            let _ = match value {
                // TOML's integers end at 2⁶³−1.
                SysctlValue::Number(n) if n < 1 << 63 => writeln!(self.body, "\"{sysctl}\" = {n}"),
                other => writeln!(self.body, "\"{sysctl}\" = \"{other}\""),
            };
        }
        if self.view.sysctl(Sysctl::ShmRmidForced).is_some_and(|v| v.number() == 1) && !self.view.listing.shm.is_empty()
        {
            self.left_out
                .push("nothing, but kernel.shm_rmid_forced = 1 and segments exclude each other in a profile".into());
        }
    }

    /// Key, mode and owner, unless the object cannot be made again.
    fn head(&mut self, table: &str, common: &Common) -> bool {
        let seen = self.view.ids.seen(common.owner);
        let what = format!("{table} id {}", common.id);
        if common.key == 0 {
            self.left_out.push(format!("{what}: it has no key, so nobody could find it"));
            return false;
        }
        let Some(owner) = self.mapped(&what, seen.inside, common.owner) else { return false };
        let _ = write!(
            self.body,
            "\n[[{table}]]\nkey = \"{}\"\nmode = \"{}\"\nowner = \"{owner}\"\n",
            KeyText(common.key),
            common.mode
        );
        true
    }

    /// The container's id, if it has one.
    fn mapped(&mut self, what: &str, inside: Owner, listed: Owner) -> Option<Owner> {
        if self.view.ids.are_mapped(listed) {
            return Some(inside);
        }
        self.left_out.push(format!("{what}: its owner {listed} is none of the container's ids"));
        None
    }

    fn shm(&mut self) {
        for s in &self.view.listing.shm {
            if self.head("shm", &s.common) {
                let _ = writeln!(self.body, "size = {}", s.size);
            }
        }
    }

    fn sem(&mut self) {
        for (index, s) in self.view.listing.sem.iter().enumerate() {
            if !self.head("sem", &s.common) {
                continue;
            }
            let values = self.view.sem_values.get(index).and_then(Option::as_deref).unwrap_or_default();
            let _ = match values.iter().any(|v| *v != 0) {
                true => writeln!(self.body, "values = {values:?}"),
                false => writeln!(self.body, "nsems = {}", s.nsems),
            };
        }
    }

    fn msg(&mut self) {
        for q in &self.view.listing.msg {
            if self.head("msg", &q.common)
                && let Some(bytes) = q.qbytes
            {
                let _ = writeln!(self.body, "max-bytes = {bytes}");
            }
        }
    }

    fn mqueue(&mut self) {
        for q in &self.view.listing.mqueue {
            let shown = String::from_utf8_lossy(&q.name).into_owned();
            let what = format!("mqueue {shown}");
            let name = str::from_utf8(&q.name).ok().and_then(|n| n.parse::<QueueName>().ok());
            let (Some(name), Some(content)) = (name, q.content) else {
                self.left_out.push(format!("{what}: its name is not UTF-8, or it may not be opened"));
                continue;
            };
            let Some(owner) = self.mapped(&what, self.view.ids.seen(q.owner).inside, q.owner) else { continue };
            let _ = write!(
                self.body,
                "\n[[mqueue]]\nname = {}\nmode = \"{}\"\nowner = \"{owner}\"\nmax-messages = {}\nmessage-size = {}\n",
                quoted(name.as_str()),
                q.mode,
                content.max_messages,
                content.message_size
            );
        }
    }
}

/// Within what a profile may ask for.
fn expressible(sysctl: Sysctl, value: SysctlValue) -> bool {
    match value {
        SysctlValue::Number(n) => (sysctl.range().0..=sysctl.range().1).contains(&n),
        SysctlValue::Sem(fields) => SemField::ALL.into_iter().zip(fields).all(|(field, n)| {
            let (least, most) = field.range();
            u64::try_from(n).is_ok_and(|n| (least..=most).contains(&n))
        }),
    }
}

/// A TOML string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() || !c.is_ascii() && crate::text::escape(c.encode_utf8(&mut [0; 4])).len() > 4 => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}
