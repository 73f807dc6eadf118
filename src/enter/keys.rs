//! Keys that files of the container give.

use super::Found;
use crate::error::{Error, Result};
use crate::ipc::{FileKey, Key};
use crate::kernel::container_file::{ContainerRoot, FileOrigin};
use crate::kernel::{SysError, general_remedy};
use crate::oci::Spec;
use crate::request::Profile;
use nix::errno::Errno;
use std::path::Path;

impl Found {
    /// Looks up the keys that the profiles leave to files of the container. To be called before the namespace is joined.
    ///
    /// # Errors
    /// Exit 2: the container has no such file, or it is one that gives another key in every container although the namespace
    /// is shared. Exit 4: the container's files are out of reach.
    pub fn look_up_keys(&self, profiles: &mut [Profile], spec: Option<&Spec>) -> Result<()> {
        let Some(first) = profiles.iter().find_map(|p| p.by_file.first()) else { return Ok(()) };
        let root = self.root(&first.file, spec)?;
        for profile in profiles {
            for wish in std::mem::take(&mut profile.by_file) {
                let key = self.key(&root, &wish.file)?;
                profile.objects.push(wish.with_key(key));
            }
        }
        Ok(())
    }

    fn root(&self, file: &FileKey, spec: Option<&Spec>) -> Result<ContainerRoot> {
        let rootfs = spec.and_then(|s| s.root.as_deref()).map(Path::new);
        let found = match &self.process {
            Some(process) => ContainerRoot::of(process, rootfs),
            None if self.own => ContainerRoot::own(),
            None => {
                return Err(Error::unsupported(file.to_string(), "a namespace alone has no files")
                    .remedy("name a process with --pid, or write the key as a number"));
            }
        };
        found.map_err(|e| match (e.call, e.errno) {
            ("open root.path", Errno::ENOENT) => {
                Error::unsupported(file.to_string(), "the container's root directory is not known yet")
                    .remedy("give its bundle, whose config.json names it (root.path)")
            }
            _ => unreachable_file(file, &e),
        })
    }

    fn key(&self, root: &ContainerRoot, file: &FileKey) -> Result<Key> {
        let found = root.file(file.path()).map_err(|e| match e.errno {
            Errno::ENOENT | Errno::ENOTDIR => Error::bad_input(file.to_string(), "the container has no such file")
                .remedy("correct the path, or mount the file into the container"),
            _ => unreachable_file(file, &e),
        })?;
        let why = match found.origin {
            FileOrigin::Image => {
                "the file is of the image, and gives another key in every container of this shared namespace"
            }
            FileOrigin::Private => {
                "the file lies on a file system of this container alone, and gives another key in every container of this shared namespace"
            }
            FileOrigin::Volume => "",
        };
        if self.shared && !why.is_empty() {
            return Err(Error::bad_input(file.to_string(), why)
                .wanted("a file that all its containers mount from the same place")
                .remedy("mount one volume with the file into all of them, or write the key as a number"));
        }
        file.key(found.device, found.inode).ok_or_else(|| Error::bad_input(file.to_string(), "ftok gives no key"))
    }
}

fn unreachable_file(file: &FileKey, error: &SysError) -> Error {
    let (why, remedy) = match error.errno {
        Errno::ENOSYS => ("this kernel has no openat2", "Linux 5.6 or later is needed"),
        Errno::ELOOP => ("too many links, or one of procfs", "name the file itself"),
        Errno::EACCES | Errno::EPERM => {
            ("the container's files are out of reach", "run the hook as root or as the container's user")
        }
        _ => ("the container's files cannot be looked at", general_remedy(error.errno)),
    };
    Error::unsupported(file.to_string(), format!("{why} ({error})")).remedy(remedy)
}
