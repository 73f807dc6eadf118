//! Files of the installation: the policy and the profiles, found by name, read only when they can be trusted.

use crate::error::{Error, Result};
use crate::kernel::file::{FileError, OVERFLOW_ID, TrustedDir, correct_rights, read_trusted};
use crate::kernel::general_remedy;
use crate::kernel::limits::page_size;
use crate::policy::{Config, config};
use crate::request::annotation::{Annotations, ProfileName};
use crate::request::profile::{MAX_PROFILE, administrators};
use crate::request::{Authority, By, Profile};
use nix::errno::Errno;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// S_ISVTX, see inode(7).
const STICKY: u32 = 0o1000;
/// The administrator's policy.
pub const CONFIG_FILE: &str = "/etc/oci-ipc-hook/config.toml";
/// Directories of profiles; the first that has a name wins.
pub const PROFILE_DIRS: [&str; 2] = ["/etc/oci-ipc-hook/profiles.d", "/usr/share/oci-ipc-hook/profiles.d"];

/// The options that every verb with a request takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestOptions {
    /// `--profile NAME`.
    pub profiles: Vec<String>,
    /// `--profile-file FILE`.
    pub profile_files: Vec<PathBuf>,
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--profiles-dir DIR`.
    pub profiles_dir: Option<PathBuf>,
    /// `--memory SIZE`, in bytes: a limit that the caller knows, such as that of a whole pod.
    pub memory: Option<u64>,
}

impl RequestOptions {
    /// True when the options themselves ask for something.
    pub fn asks(&self) -> bool {
        !self.profiles.is_empty() || !self.profile_files.is_empty()
    }

    /// Refuses relative paths: a runtime calls the hook in a directory that is the container's.
    ///
    /// # Errors
    /// Names the option.
    pub fn must_be_absolute(&self) -> Result<()> {
        let files = self.profile_files.iter().map(|path| ("--profile-file", path));
        let rest = [("--config", &self.config), ("--profiles-dir", &self.profiles_dir)];
        let rest = rest.into_iter().filter_map(|(option, path)| Some((option, path.as_ref()?)));
        match files.chain(rest).find(|(_, path)| !path.is_absolute()) {
            None => Ok(()),
            Some((option, path)) => Err(Error::bad_input(option, "the hook does not use its working directory")
                .wanted("an absolute path")
                .found(path.display())
                .remedy("write the path from the root")),
        }
    }

    /// What would make the hook refuse, each option looked at by itself.
    pub fn problems(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        if self.config.is_some() {
            let alone = RequestOptions { config: self.config.clone(), ..RequestOptions::default() };
            errors.extend(alone.problem("--config", |o| read_config(o).map(drop)));
        }
        for file in &self.profile_files {
            let alone = RequestOptions { profile_files: vec![file.clone()], ..RequestOptions::default() };
            errors.extend(alone.problem("--profile-file", |o| read_profiles(o, Annotations::default()).map(drop)));
        }
        let alone = RequestOptions { profiles_dir: self.profiles_dir.clone(), ..RequestOptions::default() };
        match alone.problem("--profiles-dir", readable_directory) {
            Some(error) => errors.push(error),
            None => {
                let refused = |name: &String| match profile_name(name) {
                    Ok(name) => alone.problem("--profile", |o| named(o, &name, Authority::Administrator).map(drop)),
                    Err(error) => Some(error),
                };
                errors.extend(self.profiles.iter().filter_map(refused));
            }
        }
        errors
    }

    fn problem(&self, option: &str, read: impl FnOnce(&RequestOptions) -> Result<()>) -> Option<Error> {
        self.must_be_absolute().and_then(|()| read(self).map_err(|e| e.within(option))).err()
    }
}

/// A profile's name on a command line.
///
/// # Errors
/// No profile can have that name.
pub fn profile_name(text: &str) -> Result<ProfileName> {
    text.parse().map_err(|why: crate::ipc::ValueError| {
        Error::bad_input("--profile", why.to_string())
            .found(text)
            .remedy("'oci-ipc-hook profiles list' shows what is installed")
    })
}

/// `--profiles-dir`, if it is given, must be there and to be trusted; else nothing in it is ever found.
fn readable_directory(options: &RequestOptions) -> Result<()> {
    let Some(dir) = &options.profiles_dir else { return Ok(()) };
    match TrustedDir::open(dir, false) {
        Ok(_) => Ok(()),
        Err(FileError::NotFound) => {
            Err(Error::bad_input(dir.to_string_lossy(), "no such directory").remedy("see whether the path is right"))
        }
        Err(error) => Err(unreadable(&dir.join("NAME.toml").to_string_lossy(), &error)),
    }
}

/// Reads the policy; the built-in one when there is no file.
///
/// # Errors
/// A file that was named but is not there; one that cannot be trusted or does not parse.
pub fn read_config(options: &RequestOptions) -> Result<Config> {
    let (path, built_in) = match &options.config {
        Some(path) => (path.as_path(), false),
        None => (Path::new(CONFIG_FILE), true),
    };
    let name = path.to_string_lossy();
    match read_trusted(path, built_in, config::MAX_CONFIG) {
        Ok(bytes) => Config::parse(&name, text(&name, &bytes)?, page_size()),
        Err(FileError::NotFound) if built_in => Ok(Config::default()),
        Err(error) => Err(unreadable(&name, &error)),
    }
}

/// Reads everything that is asked for by options and annotations.
///
/// # Errors
/// A profile that is not there, cannot be trusted, or does not parse.
pub fn read_profiles(options: &RequestOptions, annotations: Annotations) -> Result<Vec<Profile>> {
    let mut profiles = Vec::new();
    for path in &options.profile_files {
        let name = path.to_string_lossy();
        let bytes = read_trusted(path, false, MAX_PROFILE).map_err(|e| unreadable(&name, &e))?;
        let short = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
        profiles.push(Profile::parse_toml(&name, text(&name, &bytes)?, &administrators(&format!("profile:{short}")))?);
    }
    for name in &options.profiles {
        profiles.push(named(options, &profile_name(name)?, Authority::Administrator)?);
    }
    for name in &annotations.profiles {
        profiles.push(named(options, name, Authority::Named)?);
    }
    if annotations.has_inline() {
        profiles.push(annotations.inline);
    }
    Ok(profiles)
}

/// Reads a profile that is asked for by name, on whose word.
///
/// # Errors
/// As [`read_profiles`].
pub fn named(options: &RequestOptions, name: &ProfileName, authority: Authority) -> Result<Profile> {
    let by = By::new(Rc::from(format!("profile:{name}")), 0, authority);
    let file = format!("{name}.toml");
    for dir in directories(options) {
        if let Some(profile) = in_directory(&dir, &file, &by, options.profiles_dir.is_none())? {
            return Ok(profile);
        }
    }
    let looked: Vec<_> = directories(options).iter().map(|d| d.display().to_string()).collect();
    Err(Error::bad_input(format!("profile {name}"), "there is no such profile")
        .found(format!("no {file} in {}", looked.join(" or ")))
        .remedy("'oci-ipc-hook profiles list' shows what is installed"))
}

/// The directories that are searched, in this order.
pub fn directories(options: &RequestOptions) -> Vec<PathBuf> {
    match &options.profiles_dir {
        Some(dir) => vec![dir.clone()],
        None => PROFILE_DIRS.map(PathBuf::from).to_vec(),
    }
}

fn in_directory(dir: &Path, file: &str, by: &By, built_in: bool) -> Result<Option<Profile>> {
    let path = dir.join(file);
    let name = path.to_string_lossy();
    let bytes = TrustedDir::open(dir, built_in).and_then(|d| d.read(Path::new(file), MAX_PROFILE));
    match bytes {
        Ok(bytes) => Profile::parse_toml(&name, text(&name, &bytes)?, by).map(Some),
        Err(FileError::NotFound) => Ok(None),
        Err(error) => Err(unreadable(&name, &error)),
    }
}

/// Why a file was not read, with the remedy.
pub fn unreadable(name: &str, error: &FileError) -> Error {
    let remedy = match error {
        FileError::NotFound => "see whether the path is right".to_owned(),
        FileError::Link => "name the file itself, by a path without symbolic links".to_owned(),
        FileError::Untrusted { owner: OVERFLOW_ID, .. } => format!(
            "in a user namespace root's files count as such only below {} and {}: move it there, or into a directory of the user",
            PROFILE_DIRS[0], PROFILE_DIRS[1]
        ),
        // Such as /tmp, which is as it should be.
        FileError::Untrusted { directory: true, mode, .. } if mode & STICKY != 0 => {
            "move it to a directory that only root or the running user can write to".to_owned()
        }
        FileError::Untrusted { owner, directory, .. } => {
            let parent = Path::new(name).parent().filter(|_| *directory).map(Path::to_string_lossy);
            correct_rights(*owner, parent.as_deref().unwrap_or(name))
        }
        FileError::TooLarge(_) => "make it smaller".to_owned(),
        FileError::NotRegular => "name a regular file".to_owned(),
        FileError::Io(_, errno @ (Errno::EMFILE | Errno::ENFILE)) => general_remedy(*errno).to_owned(),
        FileError::Io(..) => "see whether the hook may read it".to_owned(),
    };
    Error::bad_input(name, error.to_string()).remedy(remedy)
}

/// The text of a file.
///
/// # Errors
/// It is not UTF-8.
pub fn text<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str> {
    std::str::from_utf8(bytes).map_err(|e| Error::bad_input(name, format!("not UTF-8 at byte {}", e.valid_up_to())))
}
