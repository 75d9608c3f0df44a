//! Pins of builds before versions: all maps, programs and links of an agent in one directory, named by a hash of the
//! maps' shapes and by their sizes.
//!
//! ```text
//! <base>/<hash>-<ports>-<routes>/{maps,programs,links}/<name>
//! <base>/recovered/{maps,links}/<name>       what was found without pins
//! ```
//!
//! Its maps are those of version 1, so they are pinned where version 1 has its place, and used on. The directory itself is
//! removed when the new programs are attached; until then, the build before can go on with it.

use std::fs;
use std::path::{Path, PathBuf};

use aya::maps::MapData;

use crate::error::{Error, Result, chain};
use crate::maps::MapSpec;
use crate::pins::{OVERLAY, Pins, file, list};

/// The version of the maps there.
const VERSION: u32 = 1;

const RECOVERED: &str = "recovered";

/// Digits of the hash.
const HASH: usize = 16;

/// The directories below a directory of pins that are such ones. Others' pins in the same place are none of ours.
pub(crate) fn directories(base: &Path) -> Result<Vec<PathBuf>> {
    let mut found = list(base)?;
    found.retain(|path| is_name(path) && path.join("links").is_dir() && path.join("maps").is_dir());
    Ok(found)
}

fn is_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name == RECOVERED {
        return true;
    }
    let parts: Vec<&str> = name.split('-').collect();
    let [hash, ports, routes] = parts[..] else { return false };
    hash.len() == HASH
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        && [ports, routes].iter().all(|size| size.parse::<u32>().is_ok())
}

/// Pins the maps of a build before this one where they belong, unless their successors are there already. They are at
/// work if the overlay's link, which is attached last, is pinned beside them.
pub(crate) fn import(pins: &Pins, specs: &[MapSpec]) -> Result<()> {
    let at_work = |directory: &PathBuf| directory.join("links").join(OVERLAY).exists();
    let Some(directory) = directories(pins.base())?.into_iter().find(at_work) else { return Ok(()) };
    let mut imported = 0;
    for spec in specs {
        let old = directory.join("maps").join(spec.name);
        // Builds still before had fewer maps.
        if !old.exists() || !pins.versions(spec.name)?.is_empty() {
            continue;
        }
        let unusable =
            |error: &dyn std::error::Error| Error::Migrate { path: old.clone(), reason: chain(error) };
        let map = MapData::from_pin(&old).map_err(|error| unusable(&error))?;
        map.pin(pins.map(spec.name, VERSION)).map_err(|error| unusable(&error))?;
        imported += 1;
    }
    if imported > 0 {
        tracing::info!(from = %directory.display(), imported, "uses the maps of a build before this one");
    }
    Ok(())
}

/// Removes the directories. What is still attached by a program of theirs stays until it is replaced.
pub(crate) fn remove(base: &Path) -> Result<()> {
    for directory in directories(base)? {
        fs::remove_dir_all(&directory).map_err(file("remove", &directory))?;
    }
    Ok(())
}

/// Where a link is pinned: here, or where a build before this one left it.
pub(crate) fn find_link(pins: &Pins, name: &str) -> Result<Option<PathBuf>> {
    let own = pins.link(name);
    if own.exists() {
        return Ok(Some(own));
    }
    let legacy = directories(pins.base())?;
    Ok(legacy.into_iter().map(|legacy| legacy.join("links").join(name)).find(|link| link.exists()))
}
