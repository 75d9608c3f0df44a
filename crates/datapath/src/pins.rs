//! The directory of pins: where each map, program and link is, and who owns the directory.
//!
//! ```text
//! <base>/maps/<map>-v<version>   the maps at work
//! <base>/new/<map>-v<version>    maps that take the place of others when programs use them
//! <base>/programs/<program>
//! <base>/links/<link>
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use aya::programs::SchedClassifier;

use crate::error::{Error, Result, chain};
use crate::maps::{ANY_SIZES, MapSpec, specs};

pub(crate) const MAPS: &str = "maps";
pub(crate) const NEW: &str = "new";
pub(crate) const PROGRAM_PINS: &str = "programs";
pub(crate) const LINKS: &str = "links";

/// What stands between a map's name and its version.
const VERSION: &str = "-v";

/// The pin of the link of `midokube-vxlan`.
pub(crate) const OVERLAY: &str = "overlay";
/// What the pins of links of uplinks begin with.
pub(crate) const UPLINK: &str = "uplink";

/// Whether a pin has the name of a link.
pub(crate) fn is_link(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(NEW_SUFFIX).unwrap_or(&name);
    let of_uplink = |rest: &str| {
        let rest = rest.strip_prefix(EGRESS).unwrap_or(rest);
        rest.strip_prefix('-').is_some_and(|ifindex| ifindex.parse::<u32>().is_ok())
    };
    name == OVERLAY || name == UPLINK || name.strip_prefix(UPLINK).is_some_and(of_uplink)
}

/// What tells the pin of the link at an uplink's egress.
const EGRESS: &str = "-egress";

/// The pin of the link at an uplink's ingress.
pub(crate) fn uplink(ifindex: u32) -> String {
    format!("{UPLINK}-{ifindex}")
}

/// The pin of the link at its egress.
pub(crate) fn uplink_egress(ifindex: u32) -> String {
    format!("{UPLINK}{EGRESS}-{ifindex}")
}

/// The pins below a directory.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    base: PathBuf,
}

/// A pinned map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MapPin {
    pub(crate) version: u32,
    pub(crate) path: PathBuf,
}

impl Pins {
    /// Makes the directories below `base`, which must be on a BPF file system and root's alone: who can put a map or a
    /// link there decides where Pods' packets go.
    pub(crate) fn create(base: &Path) -> Result<Self> {
        let pins = Self { base: base.to_owned() };
        let existing = base.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let found = nix::sys::statfs::statfs(existing);
        let found = found.map_err(|source| file("look at", existing)(source.into()))?;
        if found.filesystem_type() != nix::sys::statfs::BPF_FS_MAGIC {
            return Err(Error::NotBpffs { path: base.to_owned(), mount: existing.to_owned() });
        }
        for path in base.ancestors().filter(|path| path.exists()) {
            check_owner(path, path == base)?;
        }
        pins.make_directories()?;
        Ok(pins)
    }

    /// Makes what is missing of the directories.
    pub(crate) fn make_directories(&self) -> Result<()> {
        for kind in [MAPS, NEW, PROGRAM_PINS, LINKS] {
            let directory = self.base.join(kind);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&directory)
                .map_err(file("create", &directory))?;
        }
        Ok(())
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Where a version of a map is pinned when it is at work.
    pub(crate) fn map(&self, name: &str, version: u32) -> PathBuf {
        self.base.join(MAPS).join(format!("{name}{VERSION}{version}"))
    }

    /// Where a version of a map is pinned that programs do not use yet.
    pub(crate) fn new_map(&self, name: &str, version: u32) -> PathBuf {
        self.base.join(NEW).join(format!("{name}{VERSION}{version}"))
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.base.join(PROGRAM_PINS).join(name)
    }

    pub(crate) fn link(&self, name: &str) -> PathBuf {
        self.base.join(LINKS).join(name)
    }

    /// The directory of links.
    pub(crate) fn links(&self) -> PathBuf {
        self.base.join(LINKS)
    }

    /// The versions of a map that are pinned as being at work, the latest first.
    pub(crate) fn versions(&self, name: &str) -> Result<Vec<MapPin>> {
        self.pinned(MAPS, name)
    }

    /// The versions of a map that are pinned for later.
    pub(crate) fn new_versions(&self, name: &str) -> Result<Vec<MapPin>> {
        self.pinned(NEW, name)
    }

    fn pinned(&self, kind: &str, name: &str) -> Result<Vec<MapPin>> {
        let mut found = Vec::new();
        for path in list(&self.base.join(kind))? {
            let version = map_of(&path).filter(|(of, _)| *of == name);
            found.extend(version.map(|(_, version)| MapPin { version, path: path.clone() }));
        }
        found.sort_by_key(|pin| std::cmp::Reverse(pin.version));
        Ok(found)
    }

    /// Leaves of a map only what this build uses: the new one, which takes its place among those at work, or the one
    /// that is there.
    pub(crate) fn retire_others(&self, spec: &MapSpec, is_new: bool) -> Result<()> {
        let own = self.map(spec.name, spec.version);
        let new = self.new_map(spec.name, spec.version);
        // What was renamed before an error is there no more.
        if is_new && new.exists() {
            fs::rename(&new, &own).map_err(file("put the new map in the place of", &own))?;
        }
        let others = self.versions(spec.name)?.into_iter().filter(|pin| pin.path != own);
        let mut others = others.chain(self.new_versions(spec.name)?);
        others.try_for_each(|pin| remove_if_there(&pin.path))
    }
}

/// The map and the version that the name of a pin says.
pub(crate) fn map_of(path: &Path) -> Option<(&'static str, u32)> {
    let (name, version) = path.file_name()?.to_str()?.rsplit_once(VERSION)?;
    let spec = specs(&ANY_SIZES).into_iter().find(|spec| spec.name == name)?;
    Some((spec.name, version.parse().ok()?))
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

/// What is in a directory; nothing, if it is not there.
pub(crate) fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(file("list", directory))?,
    };
    entries.map(|entry| Ok(entry.map_err(file("list", directory))?.path())).collect()
}

/// What is added to the name of a pin until it takes another one's place. No dot: the file system keeps such names for
/// itself.
pub(crate) const NEW_SUFFIX: &str = "-new";

pub(crate) fn new_name(name: &str) -> String {
    format!("{name}{NEW_SUFFIX}")
}

/// Pins a program in the place of what is pinned there, atomically.
pub(crate) fn replace_pin(program: &mut SchedClassifier, path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(new_name(&name));
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
