//! Which files changed, as the kernel tells.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{Metadata, metadata, symlink_metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// A file that somebody has written to and not closed is left alone for so long after the last step.
const OPEN: Duration = Duration::from_millis(200);

/// Of more files at once nobody keeps the names: all are compared.
const NAMES: usize = 10_000;

/// What files are read.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Whether a file of this name is read.
pub(super) fn is_manifest(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|have| EXTENSIONS.iter().any(|want| have == *want))
}

/// What changed and was not asked for yet.
#[derive(Debug)]
pub(super) struct News {
    path: PathBuf,
    changed: Mutex<Changed>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Changed {
    /// Any file may have.
    all: bool,
    names: BTreeMap<OsString, Step>,
}

/// The last step of a change.
#[derive(Debug, Clone, Copy)]
struct Step {
    at: Instant,
    /// It was written to and is not closed yet.
    open: bool,
}

/// What is to be read now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) all: bool,
    pub(super) names: Vec<OsString>,
}

/// Which directory it is: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl From<&Metadata> for Identity {
    fn from(meta: &Metadata) -> Self {
        Self(meta.dev(), meta.ino())
    }
}

/// Has the kernel tell of a directory, as long as it lives.
#[derive(Debug)]
pub(super) struct Notifier {
    identity: Identity,
    _watcher: RecommendedWatcher,
}

impl PartialEq<Identity> for Notifier {
    fn eq(&self, identity: &Identity) -> bool {
        self.identity == *identity
    }
}

impl Step {
    fn due(self, settle: Duration) -> Instant {
        self.at + if self.open { OPEN } else { settle }
    }
}

impl News {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), changed: Mutex::default(), arrived: Notify::new() }
    }

    /// Has the kernel tell from now on.
    pub(super) fn watch(self: &Arc<Self>) -> notify::Result<Notifier> {
        let identity = Identity::from(&metadata(&self.path)?);
        let news = Arc::clone(self);
        let mut watcher = notify::recommended_watcher(move |event| news.note(event))?;
        watcher.watch(&self.path, RecursiveMode::NonRecursive)?;
        Ok(Notifier { identity, _watcher: watcher })
    }

    fn note(&self, event: notify::Result<Event>) {
        let Ok(event) = event else { return self.note_all() };
        if event.need_rescan() {
            return self.note_all();
        }
        let open = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => return, // such as our own reading
            EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => true,
            _ => false,
        };
        for path in event.paths {
            match path.file_name() {
                Some(name) if path != self.path && is_manifest(name) => self.note_name(name, open),
                // Manifests may be links to something behind such a link, as Kubernetes' own volumes have them.
                Some(_)
                    if path != self.path && symlink_metadata(&path).map_or(true, |meta| meta.is_file()) => {}
                _ => self.note_all(),
            }
        }
    }

    fn note_all(&self) {
        self.lock().all = true;
        self.arrived.notify_one();
    }

    fn note_name(&self, name: &OsStr, open: bool) {
        let mut changed = self.lock();
        changed.names.insert(name.to_owned(), Step { at: Instant::now(), open });
        if changed.names.len() > NAMES {
            *changed = Changed { all: true, names: BTreeMap::new() };
        }
        drop(changed);
        self.arrived.notify_one();
    }

    /// The files that are left alone by now.
    pub(super) fn take(&self, settle: Duration) -> Ready {
        let (now, mut changed) = (Instant::now(), self.lock());
        let is_due = |step: &Step| step.due(settle) <= now;
        let names =
            changed.names.iter().filter(|(_, step)| is_due(step)).map(|(name, _)| name.clone()).collect();
        changed.names.retain(|_, step| !is_due(step));
        Ready { all: std::mem::take(&mut changed.all), names }
    }

    /// How long until there is more to take; `None`: nobody knows.
    pub(super) fn due(&self, settle: Duration) -> Option<Duration> {
        let changed = self.lock();
        if changed.all {
            return Some(Duration::ZERO);
        }
        let due = changed.names.values().map(|step| step.due(settle)).min();
        due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Waits for more.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_it_is_closed_and_left_alone() {
        let news = News::of(Path::new("/m"));
        let event = |kind| news.note(Ok(Event::new(kind).add_path("/m/a.yaml".into())));
        let ready = |names: &[&str]| Ready { all: false, names: names.iter().map(OsString::from).collect() };
        event(EventKind::Modify(ModifyKind::Data(notify::event::DataChange::Any)));
        std::thread::sleep(Duration::from_millis(2));
        let short = Duration::from_millis(1);
        assert_eq!(news.take(short), ready(&[]), "somebody still writes");
        assert!(news.due(short).unwrap() > Duration::from_millis(20));
        event(EventKind::Access(AccessKind::Close(AccessMode::Write)));
        assert_eq!(news.take(Duration::from_secs(60)), ready(&[]));
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(news.take(short), ready(&["a.yaml"]));
        assert_eq!((news.take(short), news.due(short)), (ready(&[]), None));
        event(EventKind::Access(AccessKind::Open(AccessMode::Any)));
        assert_eq!(news.due(short), None);
    }

    #[test]
    fn the_directory_itself_and_links_concern_all_files() {
        let directory = tempfile::tempdir().unwrap();
        let news = News::of(directory.path());
        let noted = |name: &str| {
            let path = directory.path().join(name);
            news.note(Ok(Event::new(EventKind::Any).add_path(path)));
            news.take(Duration::ZERO)
        };
        std::fs::write(directory.path().join(".a.yaml.swp"), "").unwrap();
        std::os::unix::fs::symlink("x", directory.path().join("..data")).unwrap();
        assert_eq!(noted(".a.yaml.swp"), Ready { all: false, names: vec![] });
        assert_eq!(noted("a.yaml.new"), Ready { all: false, names: vec![] });
        assert_eq!(noted("a.yaml"), Ready { all: false, names: vec!["a.yaml".into()] });
        assert_eq!(noted("..data"), Ready { all: true, names: vec![] });
        assert_eq!(noted(""), Ready { all: true, names: vec![] });
        for number in 0..=NAMES {
            news.note_name(OsStr::new(&format!("{number}.yaml")), false);
        }
        assert_eq!(news.take(Duration::ZERO), Ready { all: true, names: vec![] });
    }
}
