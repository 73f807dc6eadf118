//! `profiles import`: a sysctl.conf becomes a profile on standard output.

use crate::commands::output::print;
use crate::error::{Error, Exit, Result};
use crate::installed;
use crate::kernel::file::read_regular;
use crate::request::profile::MAX_PROFILE;
use crate::request::sysctl_conf::{SysctlConf, require_some};
use std::io::Read as _;
use std::path::{Path, PathBuf};

pub(super) fn run(files: &[PathBuf], at_least: bool) -> Result<Exit> {
    let mut conf = SysctlConf::default();
    let mut names = Vec::new();
    for file in files {
        let name = if file == Path::new("-") { "standard input".into() } else { file.to_string_lossy() };
        let bytes = read(file, &name)?;
        // Comments are in whatever encoding; what is no text elsewhere is no number and no name that is known.
        conf.add(&name, &String::from_utf8_lossy(&bytes))?;
        names.push(name.into_owned());
    }
    require_some(&conf, &names.join(", "))?;
    print(&conf.profile(&format!("From {}", names.join(", ")), at_least))?;
    Ok(Exit::Done)
}

fn read(file: &Path, name: &str) -> Result<Vec<u8>> {
    if file != Path::new("-") {
        return read_regular(file, MAX_PROFILE).map_err(|e| installed::unreadable(name, &e));
    }
    let mut bytes = Vec::new();
    let limit = MAX_PROFILE as u64;
    let read = std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::bad_input(name, e.to_string()).remedy("name the file instead"))?;
    if bytes.len() > MAX_PROFILE {
        return Err(Error::bad_input(name, format!("larger than {MAX_PROFILE} bytes")).remedy("make it smaller"));
    }
    Ok(bytes)
}
