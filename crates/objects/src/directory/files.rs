//! What is known of a directory's files, and which file each object is from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::Reader;
use super::file::{File, Parsed, Version};
use super::manifest::{Document, documents, objects};
use super::news::{Identity, is_manifest};
use super::owners::{Id, Left, Name, Owners};

/// After so many scans there is a first answer even if a file is still being changed.
const FIRST_SCANS: u32 = 50;

/// The files of a directory.
pub(super) struct Files {
    path: PathBuf,
    readers: Vec<Box<dyn Reader>>,
    files: BTreeMap<Name, File>,
    owners: Owners,
    /// Files to be parsed as a whole: an object in them counts now that is in another file no more.
    stale: BTreeSet<Name>,
    scans: u32,
    /// Whether all files were read, or there were enough scans.
    answers: bool,
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

impl Files {
    pub(super) fn new(path: PathBuf, readers: Vec<Box<dyn Reader>>) -> Self {
        let (files, owners, stale) = (BTreeMap::new(), Owners::default(), BTreeSet::new());
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
        let shared = self.owners.shared().map(|((reader, key), first, second)| {
            let (first, second) = (self.path.join(&**first), self.path.join(&**second));
            let (first, second) = (first.display(), second.display());
            format!("{} {key} is in {first} and in {second}: the first one counts", self.kind(*reader))
        });
        self.files.values().filter_map(|file| file.problem.clone()).chain(shared)
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

    /// Parses the documents that are new; what `before` has of the others counts on.
    fn parse_file(&mut self, name: &Name, text: &str, before: File) -> File {
        let mut file = File { known: before.known, ..File::default() };
        let as_a_whole = self.stale.remove(name) || before.doubles;
        let (mut unchanged, mut left) = (HashMap::new(), BTreeSet::from_iter(before.kept));
        for document in before.documents {
            if as_a_whole {
                left.extend(document.objects);
            } else if let Some(same) = unchanged.insert(document.hash, document) {
                left.extend(same.objects);
            }
        }
        let mut new = Vec::new();
        for (index, document) in documents(text).into_iter().enumerate() {
            let hash = document.hash();
            match unchanged.remove(&hash) {
                Some(parsed) => file.documents.push(parsed),
                None => new.push((index, hash, document)),
            }
        }
        left.extend(unchanged.into_values().flat_map(|document| document.objects));
        let (mut problems, mut unreadable) = (Vec::new(), false);
        for (index, hash, document) in new {
            let place = format!("document {} (line {})", index + 1, document.line);
            let mut objects = Vec::new();
            match self.parse(name, &document, &place, &mut left, &mut objects) {
                Ok(doubles) => {
                    file.doubles |= !doubles.is_empty();
                    problems.extend(doubles.into_iter().map(|double| format!("{place}: {double}")));
                    file.documents.push(Parsed { hash, objects: objects.into() });
                }
                Err(error) => {
                    unreadable = true;
                    problems.push(format!("{place}: {error}"));
                    file.kept.extend(objects);
                }
            }
        }
        file.known |= !unreadable;
        for id in left {
            if unreadable {
                file.kept.push(id);
            } else {
                self.release(name, &id);
            }
        }
        if file.doubles && !as_a_whole {
            return self.parse_file(name, text, file); // which of them is first?
        }
        file.problem = (!problems.is_empty())
            .then(|| format!("{}: {}", self.path.join(&**name).display(), problems.join("; ")));
        file
    }

    /// Stages the objects of a document and adds them to `found`; returns what is wrong with those that the file has
    /// already. `left`: the objects that the file had and that no document has yet.
    fn parse(
        &mut self,
        name: &Name,
        document: &Document<'_>,
        place: &str,
        left: &mut BTreeSet<Id>,
        found: &mut Vec<Id>,
    ) -> Result<Vec<String>, String> {
        let Self { readers, owners, path, .. } = self;
        let wanted = |version: &str, kind: &str| {
            let mut readers = readers.iter().enumerate();
            readers.find_map(|(index, reader)| Some((index, reader.reads(version, kind)?)))
        };
        let objects = objects(document.text, wanted)?;
        let place = format!("{}: {place}", path.join(&**name).display());
        let mut doubles = Vec::new();
        for ((index, how), value) in objects {
            let Some(reader) = readers.get_mut(index) else { continue };
            let kind = reader.resource().kind;
            reader.read(&value, &how, &place, &mut |key| {
                let id = (index, key.clone());
                if !left.remove(&id) && owners.has(&id, name) {
                    doubles.push(format!("{kind} {key} is there twice: the first one counts"));
                    return false;
                }
                let counts = owners.add(&id, name);
                found.push(id);
                counts
            })?;
        }
        Ok(doubles)
    }

    fn forget(&mut self, name: &Name) {
        self.stale.remove(name);
        if let Some(file) = self.files.remove(name) {
            file.objects().for_each(|id| self.release(name, id));
        }
    }

    /// An object is in this file no more.
    fn release(&mut self, name: &Name, id: &Id) {
        match self.owners.remove(id, name) {
            Left::There => {}
            Left::To(next) => drop(self.stale.insert(next)),
            Left::Gone => {
                if let Some(reader) = self.readers.get_mut(id.0) {
                    reader.delete(&id.1);
                }
            }
        }
    }

    fn kind(&self, reader: usize) -> &'static str {
        self.readers.get(reader).map_or("", |reader| reader.resource().kind)
    }
}
