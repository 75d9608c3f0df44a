//! The directory of pins: one for each layout, so that programs never meet maps of another shape.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use aya::maps::MapInfo;
use aya::programs::SchedClassifier;

use crate::error::{Error, Result, chain};
use crate::layout::MapShape;
use crate::links;

/// The directory of what was found without pins. No layout has this name: theirs are hexadecimal numbers.
const RECOVERED: &str = "recovered";

/// The pins of one layout.
pub(crate) struct Pins {
    base: PathBuf,
    layout: PathBuf,
}

impl Pins {
    /// Makes the directories below `base`, which must be on a BPF file system and root's alone: who can put a map or a
    /// link there decides where Pods' packets go.
    pub(crate) fn create(base: &Path, layout: &str) -> Result<Self> {
        let pins = Self { base: base.to_owned(), layout: base.join(layout) };
        let existing = base.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let found = nix::sys::statfs::statfs(existing);
        let found = found.map_err(|source| file("look at", existing)(source.into()))?;
        if found.filesystem_type() != nix::sys::statfs::BPF_FS_MAGIC {
            return Err(Error::NotBpffs { path: base.to_owned(), mount: existing.to_owned() });
        }
        for path in base.ancestors().filter(|path| path.exists()) {
            check_owner(path, path == base)?;
        }
        pins.make_folders()?;
        Ok(pins)
    }

    /// Makes what is missing of the directories.
    pub(crate) fn make_folders(&self) -> Result<()> {
        make_folders(&self.layout)
    }

    /// A directory for what was found without pins, without anything in it.
    pub(crate) fn make_recovered(&self) -> Result<PathBuf> {
        let directory = self.base.join(RECOVERED);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file("remove", &directory)(error));
            }
            _ => make_folders(&directory)?,
        }
        Ok(directory)
    }

    /// The directory where the map with this number is pinned under its name.
    pub(crate) fn with_map(&self, name: &str, id: u32) -> Result<Option<PathBuf>> {
        let is_it = |layout: &PathBuf| {
            MapInfo::from_pin(layout.join("maps").join(name)).is_ok_and(|found| found.id() == id)
        };
        Ok(layouts(&self.base)?.into_iter().find(is_it))
    }

    /// Whether a directory is this layout's.
    pub(crate) fn is_own(&self, directory: &Path) -> bool {
        directory == self.layout
    }

    /// Whether this layout's programs are the attached ones.
    pub(crate) fn are_at_work(&self) -> bool {
        self.link(links::OVERLAY).exists()
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.layout.join("programs").join(name)
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.layout.join("maps").join(name)
    }

    pub(crate) fn link(&self, name: &str) -> PathBuf {
        self.layout.join("links").join(name)
    }

    /// Another layout's directory whose programs are the attached ones, if these are not attached yet.
    pub(crate) fn at_work_elsewhere(&self) -> Result<Option<PathBuf>> {
        let link = self.find_link(links::OVERLAY)?.filter(|link| *link != self.link(links::OVERLAY));
        Ok(link.and_then(|link| Some(link.parent()?.parent()?.to_owned())))
    }

    /// Where a link is pinned: here, or where an agent with another layout left it.
    pub(crate) fn find_link(&self, name: &str) -> Result<Option<PathBuf>> {
        let own = self.link(name);
        if own.exists() {
            return Ok(Some(own));
        }
        let others = self.other_layouts()?;
        Ok(others.into_iter().map(|layout| layout.join("links").join(name)).find(|link| link.exists()))
    }

    /// Compares a pinned map, if there is one, with what it must be: aya adopts it by its name alone.
    pub(crate) fn check_map(&self, wanted: &MapShape) -> Result<()> {
        let path = self.map(wanted.name);
        if !path.exists() {
            return Ok(());
        }
        let error = |source| Error::Map { action: "open pinned", map: wanted.name, source };
        let info = MapInfo::from_pin(&path).map_err(error)?;
        let found = format!(
            "{:?}, key {}, value {}, {} entries, flags {:#x}",
            info.map_type().map_err(error)?,
            info.key_size(),
            info.value_size(),
            info.max_entries(),
            info.map_flags()
        );
        let MapShape { kind, key, value, max_entries, flags, .. } = wanted;
        let wanted = format!("{kind:?}, key {key}, value {value}, {max_entries} entries, flags {flags:#x}");
        if found == wanted { Ok(()) } else { Err(Error::Shape { path, found, wanted }) }
    }

    /// Removes every other layout's pins. What is still attached stays until it is replaced.
    pub(crate) fn remove_other_layouts(&self) -> Result<()> {
        for layout in self.other_layouts()? {
            fs::remove_dir_all(&layout).map_err(file("remove", &layout))?;
        }
        Ok(())
    }

    fn other_layouts(&self) -> Result<Vec<PathBuf>> {
        let mut others = layouts(&self.base)?;
        others.retain(|path| *path != self.layout);
        Ok(others)
    }
}

/// The kinds of pins, each in a directory of its own.
fn make_folders(layout: &Path) -> Result<()> {
    for kind in ["maps", "programs", "links"] {
        let directory = layout.join(kind);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&directory)
            .map_err(file("create", &directory))?;
    }
    Ok(())
}

/// Refuses a directory that somebody besides root owns or can write to. In one above the pins' that everybody can
/// write to, such as the root of a BPF file system that was mounted without a mode, the sticky bit keeps them from what
/// is root's.
fn check_owner(path: &Path, is_base: bool) -> Result<()> {
    let meta = fs::metadata(path).map_err(file("look at", path))?;
    let (mode, shared) = (meta.mode() & 0o7777, meta.mode() & 0o022 != 0);
    let sticky = mode & 0o1000 != 0 && !is_base;
    let reason = if meta.uid() != 0 {
        format!("belongs to user {}", meta.uid())
    } else if shared && !sticky {
        format!("can be written to by others than root (mode {mode:o})")
    } else {
        return Ok(());
    };
    Err(Error::NotRoots { path: path.to_owned(), reason })
}

/// Removes all pins of every layout below a pin directory, and the directory itself when nothing is left in
/// it. What is attached by a pinned link goes with it; the shared block keeps its program as long as it is.
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
    for layout in layouts(pin_dir)?.into_iter().filter(|layout| is_layouts_name(layout)) {
        fs::remove_dir_all(&layout).map_err(file("remove", &layout))?;
    }
    match fs::remove_dir(pin_dir) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(file("remove", pin_dir)(error)),
        _ => Ok(true),
    }
}

fn layouts(base: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(base).map_err(file("list", base))?;
    let mut layouts = Vec::new();
    for entry in entries {
        let path = entry.map_err(file("list", base))?.path();
        // Somebody else's pins in the same directory are none of ours.
        if path.join("links").is_dir() && path.join("maps").is_dir() {
            layouts.push(path);
        }
    }
    Ok(layouts)
}

/// Whether a directory is named as the one of a layout: a hash and the sizes of two maps. The directory of pins is a
/// setting, and others' may be below it.
fn is_layouts_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut parts = name.split('-');
    let hash = parts.next().is_some_and(|part| {
        part.len() == env!("DATAPATH_LAYOUT").len() && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    let is_number = |part: &str| part.parse::<u32>().is_ok();
    hash && parts.next().is_some_and(is_number)
        && parts.next().is_some_and(is_number)
        && parts.next().is_none()
}

/// Pins a program in the place of what is pinned there, atomically.
pub(crate) fn replace_pin(program: &mut SchedClassifier, path: &Path) -> Result<()> {
    // No dot: the file system keeps such names for itself.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push("-new");
    let new = path.with_file_name(name);
    remove_if_there(&new)?;
    program.pin(&new).map_err(|error| Error::Attach {
        action: format!("pin a program at {}", new.display()),
        reason: chain(&error),
    })?;
    fs::rename(&new, path).map_err(file("rename the new program to", path))
}

/// Removes a pin; one that is not there is gone already.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// What makes a file error out of an I/O error.
pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
