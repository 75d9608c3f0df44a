//! Removing all pins.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::legacy;
use crate::pins::{LINKS, MAPS, NEW, PROGRAM_PINS, file, is_link, list, map_of, new_name, remove_if_there};
use crate::programs::PROGRAMS;

/// Removes all pins below a pin directory, also those of builds before this one, and the directory itself when nothing
/// is left in it. What is attached by a pinned link goes with it; the shared block keeps its program as long as it is.
///
/// Returns whether there was anything.
///
/// # Errors
///
/// If a pin cannot be removed.
pub fn remove_pins(pin_dir: &Path) -> Result<bool> {
    // Elsewhere there are no pins, whatever the directories are called.
    let is_bpf = |at: nix::sys::statfs::Statfs| at.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC;
    if !pin_dir.exists() || !nix::sys::statfs::statfs(pin_dir).is_ok_and(is_bpf) {
        return Ok(false);
    }
    legacy::remove(pin_dir)?;
    // By their names: the directory is a setting, and others' pins may be below it. The maps last: by them the
    // directories are known as ours, also after a removal that was cut short.
    let maps = |kind| -> Result<Vec<PathBuf>> {
        Ok(list(&pin_dir.join(kind))?.into_iter().filter(|path| map_of(path).is_some()).collect())
    };
    let (at_work, new) = (maps(MAPS)?, maps(NEW)?);
    if !at_work.is_empty() {
        let programs = PROGRAMS.iter().flat_map(|name| [(*name).to_owned(), new_name(name)]);
        let programs = programs.map(|name| pin_dir.join(PROGRAM_PINS).join(name));
        let links = list(&pin_dir.join(LINKS))?.into_iter().filter(|path| is_link(path));
        programs.chain(links).chain(new).chain(at_work).try_for_each(|path| remove_if_there(&path))?;
        [NEW, PROGRAM_PINS, LINKS, MAPS].iter().try_for_each(|kind| remove_if_empty(&pin_dir.join(kind)))?;
    }
    remove_if_empty(pin_dir)?;
    Ok(true)
}

fn remove_if_empty(directory: &Path) -> Result<()> {
    match fs::remove_dir(directory) {
        Err(error)
            if ![io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::NotFound].contains(&error.kind()) =>
        {
            Err(file("remove", directory)(error))
        }
        _ => Ok(()),
    }
}
