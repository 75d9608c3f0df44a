//! What is known of one file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use super::SETTLE;
use super::owners::Id;

/// One file, as it was read last.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Another one means that it has to be read again.
    pub(super) version: Option<Version>,
    pub(super) documents: Vec<Parsed>,
    /// Objects that it had before a document became unreadable.
    pub(super) kept: Vec<Id>,
    /// Some object is in it twice.
    pub(super) doubles: bool,
    /// Whether all of it was read once: what it has, is known.
    pub(super) known: bool,
    pub(super) problem: Option<String>,
}

impl File {
    pub(super) fn objects(&self) -> impl Iterator<Item = &Id> {
        self.documents.iter().flat_map(|document| &document.objects).chain(&self.kept)
    }
}

/// A document that was parsed.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) hash: u64,
    pub(super) objects: Box<[Id]>,
}

/// A file's contents, without reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    inode: u64,
    length: u64,
    /// When its contents were last changed (mtime) and when anything of it was (ctime), which unlike the former cannot
    /// be set: seconds, nanoseconds.
    changed: [(i64, i64); 2],
}

impl Version {
    pub(super) fn of(meta: &Metadata) -> Self {
        let changed = [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())];
        Self { inode: meta.ino(), length: meta.len(), changed }
    }

    /// Whether the last change is so fresh that the next one may be under way.
    pub(super) fn is_unsettled(&self) -> bool {
        let [_, (seconds, nanos)] = self.changed;
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else { return false };
        let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos));
        changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age < SETTLE)
    }
}
