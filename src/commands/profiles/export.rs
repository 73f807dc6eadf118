//! `profiles export`: a profile's sysctls as the flags and fields that engines have for them.

use super::stated_memory;
use crate::commands::cli::ExportFormat;
use crate::commands::output::print;
use crate::error::{Error, Exit, Result};
use crate::installed::{self, RequestOptions};
use crate::ipc::{Sysctl, SysctlValue};
use crate::kernel::limits::page_size;
use crate::request::annotation::ProfileName;
use crate::request::{Authority, Request, merge};
use std::fmt::Write as _;

pub(super) fn run(options: &RequestOptions, name: &str, format: ExportFormat, memory: Option<&str>) -> Result<Exit> {
    let name: ProfileName = name.parse().map_err(|why: crate::ipc::ValueError| {
        Error::bad_input("profiles export", why.to_string()).found(format!("\"{name}\""))
    })?;
    let profile = installed::named(options, &name, Authority::Administrator)?;
    if profile.needs_memory() && memory.is_none() {
        return Err(Error::bad_input(
            format!("profile {name}"),
            "some of its numbers are computed from memory, and flags hold numbers only",
        )
        .remedy("say how much memory the container will have, such as --memory 16GiB"));
    }
    let request = merge(vec![profile], Some(&stated_memory(memory)?), page_size())?;
    if !request.objects.is_empty() || !request.by_file.is_empty() {
        let by_file = request.by_file.iter().map(|wish| format!("{} key of {}", wish.kind, wish.file));
        let objects: Vec<_> = request.objects.iter().map(|o| o.id.to_string()).chain(by_file).collect();
        return Err(Error::bad_input(format!("profile {name}"), format!("{format} has no way to create objects"))
            .found(objects.join(", "))
            .remedy("let the hook apply the profile, or take the objects out of it"));
    }
    let values = values(&request);
    if values.is_empty() {
        return Err(Error::bad_input(
            format!("profile {name}"),
            "a fresh namespace is as it asks already: there is nothing to export",
        ));
    }
    print(&text(format, &values))?;
    Ok(Exit::Done)
}

/// What must be set in a fresh namespace. A bound that the kernel's default satisfies needs nothing.
fn values(request: &Request) -> Vec<(Sysctl, String)> {
    let mut all = Vec::new();
    for target in &request.sysctls {
        let default = target.sysctl.kernel_default();
        let mut exact = false;
        let wanted = match default {
            SysctlValue::Number(n) => SysctlValue::Number(target.fields[0].nearest(n)),
            SysctlValue::Sem(mut fields) => {
                for (index, range) in target.asked() {
                    fields[index] = i32::try_from(range.nearest(default.field(index))).unwrap_or(i32::MAX);
                }
                SysctlValue::Sem(fields)
            }
        };
        for (_, range) in target.asked() {
            exact |= range.exact.is_some();
        }
        if exact || wanted != default {
            all.push((target.sysctl, wanted.render(target.sysctl)));
        }
    }
    all
}

fn text(format: ExportFormat, values: &[(Sysctl, String)]) -> String {
    if format != ExportFormat::Kubernetes {
        let flags = values.iter().map(|(sysctl, value)| match value.contains(' ') {
            true => format!("--sysctl {sysctl}='{value}'"),
            false => format!("--sysctl {sysctl}={value}"),
        });
        return flags.collect::<Vec<_>>().join(" ") + "\n";
    }
    let mut out = "securityContext:\n  sysctls:\n".to_owned();
    for (sysctl, value) in values {
        let _ = writeln!(out, "  - name: {sysctl}\n    value: \"{value}\"");
    }
    // The kubelet's list of safe sysctls has one of ours.
    let unsafe_ones: Vec<_> =
        values.iter().map(|(s, _)| *s).filter(|s| *s != Sysctl::ShmRmidForced).map(Sysctl::name).collect();
    if !unsafe_ones.is_empty() {
        let _ = writeln!(out, "# the kubelet must allow them: --allowed-unsafe-sysctls={}", unsafe_ones.join(","));
    }
    out
}
