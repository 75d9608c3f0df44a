//! What is known of a directory's files, and which file each object is from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::manifest::{documents, objects};
use super::news::{Identity, is_manifest};
use super::{Reader, SETTLE};
use crate::kind::Key;

/// After so many scans there is a first answer even if a file is still being changed.
const FIRST_SCANS: u32 = 50;

/// An object: the index of its kind's reader, and its key.
type Id = (usize, Key);

/// A file's name. All that know it share the text.
type Name = Arc<OsStr>;

/// The files of a directory.
pub(super) struct Files {
    path: PathBuf,
    readers: Vec<Box<dyn Reader>>,
    files: BTreeMap<Name, File>,
    /// In which files an object is, the one that counts first.
    owners: HashMap<Id, Vec<Name>>,
    /// Files to be parsed as a whole: an object in them counts now that is in another file no more.
    stale: BTreeSet<Name>,
    scans: u32,
    /// Whether all files were read, or there were enough scans.
    answers: bool,
}

#[derive(Debug, Default)]
struct File {
    /// Another one means that it has to be read again.
    version: Option<Version>,
    documents: Vec<Parsed>,
    /// Objects that it had before a document became unreadable.
    kept: Vec<Id>,
    /// Some object is in it twice.
    doubles: bool,
    /// Whether all of it was read once: what it has, is known.
    known: bool,
    problem: Option<String>,
}

/// A document that was parsed.
#[derive(Debug)]
struct Parsed {
    hash: u64,
    objects: Box<[Id]>,
}

/// A file's contents, without reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    length: u64,
    /// When its contents were last changed (mtime) and when anything of it was (ctime), which unlike the former cannot
    /// be set: seconds, nanoseconds.
    changed: [(i64, i64); 2],
}

/// What came of reading the directory.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// Why it could not be read.
    pub(super) error: Option<String>,
    /// Whether some file was just being changed.
    pub(super) unsettled: bool,
    /// Which directory it is.
    pub(super) identity: Option<Identity>,
}

impl Version {
    fn of(meta: &Metadata) -> Self {
        let changed = [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())];
        Self { inode: meta.ino(), length: meta.len(), changed }
    }

    /// Whether the last change is so fresh that the next one may be under way.
    fn is_unsettled(&self) -> bool {
        let [_, (seconds, nanos)] = self.changed;
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else { return false };
        let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos));
        changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age < SETTLE)
    }
}

impl File {
    fn objects(&self) -> impl Iterator<Item = &Id> {
        self.documents.iter().flat_map(|document| &document.objects).chain(&self.kept)
    }
}

impl Files {
    pub(super) fn new(path: PathBuf, readers: Vec<Box<dyn Reader>>) -> Self {
        let (files, owners, stale) = (BTreeMap::new(), HashMap::new(), BTreeSet::new());
        Self { path, readers, files, owners, stale, scans: 0, answers: false }
    }

    /// Reads all files that changed.
    pub(super) fn scan(&mut self) -> Scanned {
        let mut scanned = Scanned::default();
        let seen = match self.list() {
            Ok((seen, identity)) => {
                scanned.identity = Some(identity);
                seen
            }
            Err(error) => {
                scanned.error = Some(format!("cannot read the directory {}: {error}", self.path.display()));
                return scanned;
            }
        };
        let gone: Vec<Name> =
            self.files.keys().filter(|name| !seen.contains_key(&***name)).cloned().collect();
        gone.iter().for_each(|name| self.forget(name));
        for (name, version) in seen {
            if self.files.get(&*name).is_some_and(|known| known.version == Some(version)) {
                continue;
            }
            if version.is_unsettled() {
                scanned.unsettled = true;
            } else {
                self.read_file(name.into(), version);
            }
        }
        // The first answer is to be complete, but does not wait for ever for a file that is always being changed.
        self.scans = self.scans.saturating_add(1);
        self.answers |= !scanned.unsettled || self.scans > FIRST_SCANS;
        self.read_stale();
        scanned
    }

    /// Reads these files alone.
    pub(super) fn read(&mut self, names: &[OsString]) -> Scanned {
        for name in names {
            let name: Name = name.as_os_str().into();
            match std::fs::metadata(self.path.join(&*name)) {
                // Also if it seems to be the same: it may have changed again within one tick of the kernel's clock.
                Ok(meta) if meta.is_file() => self.read_file(name, Version::of(&meta)),
                _ => self.forget(&name),
            }
        }
        self.read_stale();
        Scanned::default()
    }

    /// What is wrong with files.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let doubles = self.owners.iter().filter_map(|((reader, key), names)| match names.as_slice() {
            [first, second, ..] => {
                let (first, second) = (self.path.join(&**first), self.path.join(&**second));
                let (first, second) = (first.display(), second.display());
                Some(format!(
                    "{} {key} is in {first} and in {second}: the first one counts",
                    self.kind(*reader)
                ))
            }
            _ => None,
        });
        let mut doubles: Vec<String> = doubles.collect();
        doubles.sort();
        self.files.values().filter_map(|file| file.problem.clone()).chain(doubles)
    }

    fn list(&self) -> std::io::Result<(BTreeMap<OsString, Version>, Identity)> {
        let identity = Identity::from(&std::fs::metadata(&self.path)?);
        let mut seen = BTreeMap::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if is_manifest(&name)
                && let Ok(meta) = std::fs::metadata(self.path.join(&name))
                && meta.is_file()
            {
                seen.insert(name, Version::of(&meta));
            }
        }
        Ok((seen, identity))
    }

    /// Has what was read count.
    pub(super) fn commit(&mut self) {
        if self.answers {
            let complete = self.files.values().all(|file| file.known);
            self.readers.iter_mut().for_each(|reader| reader.commit(complete));
        }
    }

    /// Parses what became stale.
    fn read_stale(&mut self) {
        // One round is enough unless files change meanwhile: then there is news of them.
        for name in std::mem::take(&mut self.stale) {
            if let Some(version) = self.files.get(&name).and_then(|file| file.version) {
                self.stale.insert(Arc::clone(&name));
                self.read_file(name, version);
            }
        }
    }

    fn read_file(&mut self, name: Name, version: Version) {
        let path = self.path.join(&*name);
        let before = self.files.remove(&name).unwrap_or_default();
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => self.parse_file(&name, &text, before),
            // It keeps what it had.
            Err(error) => File { problem: Some(format!("{}: {error}", path.display())), ..before },
        };
        self.files.insert(name, File { version: Some(version), ..file });
    }

    fn parse_file(&mut self, name: &Name, text: &str, before: File) -> File {
        let had: Vec<Id> = before.objects().cloned().collect();
        let as_a_whole = self.stale.remove(name) || before.doubles;
        let mut unchanged: HashMap<u64, Parsed> = if as_a_whole {
            HashMap::new()
        } else {
            before.documents.into_iter().map(|document| (document.hash, document)).collect()
        };
        let mut file = File { known: before.known, ..File::default() };
        let (mut has, mut problems, mut unreadable) = (BTreeSet::new(), Vec::new(), false);
        for (index, document) in documents(text).into_iter().enumerate() {
            let hash = document.hash();
            if let Some(parsed) = unchanged.remove(&hash) {
                for id in &parsed.objects {
                    file.doubles |= !has.insert(id.clone());
                }
                file.documents.push(parsed);
                continue;
            }
            let place = format!("document {} (line {})", index + 1, document.line);
            match self.parse(name, document.text, &place, &mut has) {
                Ok((objects, doubles)) => {
                    file.doubles |= !doubles.is_empty();
                    problems.extend(doubles.into_iter().map(|double| format!("{place}: {double}")));
                    file.documents.push(Parsed { hash, objects });
                }
                Err(error) => {
                    unreadable = true;
                    problems.push(format!("{place}: {error}"));
                }
            }
        }
        file.known |= !unreadable;
        for id in had {
            if has.contains(&id) {
                continue;
            }
            if unreadable {
                file.kept.push(id);
            } else {
                self.release(name, &id);
            }
        }
        file.problem = (!problems.is_empty())
            .then(|| format!("{}: {}", self.path.join(&**name).display(), problems.join("; ")));
        file
    }

    /// Stages the objects of a document; returns them, and what is wrong with those that the file has already.
    fn parse(
        &mut self,
        name: &Name,
        text: &str,
        place: &str,
        has: &mut BTreeSet<Id>,
    ) -> Result<(Box<[Id]>, Vec<String>), String> {
        let Self { readers, owners, path, .. } = self;
        let wanted = |version: &str, kind: &str| {
            let is = |reader: &Box<dyn Reader>| {
                let resource = reader.resource();
                resource.kind == kind && resource.has_version(version)
            };
            readers.iter().position(is)
        };
        let found = objects(text, wanted)?;
        let place = format!("{}: {place}", path.join(&**name).display());
        let (mut ids, mut doubles) = (Vec::with_capacity(found.len()), Vec::new());
        for (index, value) in found {
            let Some(reader) = readers.get_mut(index) else { continue };
            let kind = reader.resource().kind;
            reader.read(&value, &place, &mut |key| {
                let id = (index, key.clone());
                if !has.insert(id.clone()) {
                    doubles.push(format!("{kind} {key} is there twice: the first one counts"));
                    return false;
                }
                ids.push(id.clone());
                let names = owners.entry(id).or_default();
                if let Err(place) = names.binary_search(name) {
                    names.insert(place, Arc::clone(name));
                }
                names.first() == Some(name)
            })?;
        }
        Ok((ids.into(), doubles))
    }

    fn forget(&mut self, name: &Name) {
        self.stale.remove(name);
        if let Some(file) = self.files.remove(name) {
            file.objects().for_each(|id| self.release(name, id));
        }
    }

    /// An object is in this file no more.
    fn release(&mut self, name: &Name, id: &Id) {
        let Some(names) = self.owners.get_mut(id) else { return };
        let counted = names.first() == Some(name);
        names.retain(|other| other != name);
        if let Some(next) = names.first() {
            if counted {
                self.stale.insert(Arc::clone(next));
            }
            return;
        }
        self.owners.remove(id);
        if let Some(reader) = self.readers.get_mut(id.0) {
            reader.delete(&id.1);
        }
    }

    fn kind(&self, reader: usize) -> &'static str {
        self.readers.get(reader).map_or("", |reader| reader.resource().kind)
    }
}
