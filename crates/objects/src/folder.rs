//! Objects from a folder of manifests. Every look at it gives all objects; a file that cannot be read keeps
//! the objects it last had.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::Stream;
use notify::{RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;

use crate::{Change, Health, Key, Object, manifest};

/// An editor writes a file in several steps; they count as one. It is also well above the resolution of the
/// kernel's file times: a file left alone for so long has a new time after its next change.
const SETTLE: Duration = Duration::from_millis(50);

/// The folder is looked at so often while nobody tells of changes: it is not there, or cannot be watched.
const LOOK: Duration = Duration::from_secs(2);

/// And so often even if the kernel tells of no change: a link to the folder may lead elsewhere by now.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);

/// After so many looks there is a first answer even if a file is still being changed.
const FIRST_LOOKS: u32 = 20;

/// What kinds of files are read.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

pub(crate) fn changes(path: PathBuf, health: Health) -> impl Stream<Item = Change> + Send + 'static {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(follow(path, health, sender));
    ReceiverStream::new(receiver)
}

async fn follow(path: PathBuf, health: Health, sender: mpsc::Sender<Change>) {
    let changed = Arc::new(Notify::new());
    let mut watch = None;
    let mut folder = Folder::default();
    let mut last = None;
    loop {
        if watch.is_none() {
            watch =
                watch_folder(&path, &changed).map_err(|error| debug!(%error, "no news of the folder")).ok();
        }
        let problems = match folder.look(&path) {
            Ok(problems) => problems,
            Err(error) => {
                watch = None;
                vec![error]
            }
        };
        health.set(if problems.is_empty() { None } else { Some(problems.join("; ")) });
        if let Some(change) = folder.change()
            && last.as_ref() != Some(&change)
        {
            last = Some(change.clone());
            if sender.send(change).await.is_err() {
                return;
            }
        }
        let rest = match watch {
            _ if folder.unsettled => SETTLE,
            Some(_) => LOOK_ANYWAY,
            None => LOOK,
        };
        tokio::select! {
            () = changed.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(rest) => {}
            () = sender.closed() => return,
        }
    }
}

fn watch_folder(path: &Path, changed: &Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let tell = move |event: notify::Result<notify::Event>| {
        // Our own reading is an access: it must not be the reason to read again.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            changed.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(tell)?;
    watcher.watch(path, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// What is known of the folder's files.
#[derive(Debug, Default)]
struct Folder {
    files: BTreeMap<PathBuf, File>,
    read: bool,
    looks: u32,
    /// Whether some file was being changed during the last look.
    unsettled: bool,
}

#[derive(Debug)]
struct File {
    /// Another one means that it has to be read again.
    version: Version,
    /// Those that it last had; `None` if it never could be read.
    objects: Option<Vec<Object>>,
    problem: Option<String>,
}

/// A file's contents, without reading them.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    length: u64,
    /// When the inode was last changed (ctime), which unlike mtime cannot be set: seconds, nanoseconds.
    changed: (i64, i64),
}

impl Version {
    fn of(meta: &Metadata) -> Self {
        Self { inode: meta.ino(), length: meta.len(), changed: (meta.ctime(), meta.ctime_nsec()) }
    }

    /// Whether the last change is so fresh that the next one may be under way.
    fn is_unsettled(&self) -> bool {
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(self.changed.0), u32::try_from(self.changed.1)) else {
            return false;
        };
        let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos));
        changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age < SETTLE)
    }
}

impl Folder {
    /// Looks at what changed; returns what is wrong with files.
    fn look(&mut self, path: &Path) -> Result<Vec<String>, String> {
        let fail = |error: std::io::Error| format!("cannot read the folder {}: {error}", path.display());
        let mut seen = BTreeMap::new();
        for entry in std::fs::read_dir(path).map_err(fail)? {
            let file = entry.map_err(fail)?.path();
            let wanted = file.extension().is_some_and(|have| EXTENSIONS.iter().any(|want| have == *want));
            let Ok(meta) = std::fs::metadata(&file) else { continue }; // gone again
            if wanted && meta.is_file() {
                seen.insert(file, Version::of(&meta));
            }
        }
        self.files.retain(|file, _| seen.contains_key(file));
        self.unsettled = false;
        for (file, version) in seen {
            if self.files.get(&file).is_some_and(|known| known.version == version) {
                continue;
            }
            if version.is_unsettled() {
                self.unsettled = true;
                continue;
            }
            let parsed = std::fs::read_to_string(&file).map_err(|error| error.to_string());
            let (objects, problem) = match parsed.and_then(|text| manifest::parse(&text)) {
                Ok(objects) => (Some(objects), None),
                Err(error) => (
                    self.files.remove(&file).and_then(|known| known.objects),
                    Some(format!("{}: {error}", file.display())),
                ),
            };
            self.files.insert(file, File { version, objects, problem });
        }
        // The first answer is to be complete, but does not wait for ever for a file that is always being changed.
        self.looks = self.looks.saturating_add(1);
        self.read |= !self.unsettled || self.looks > FIRST_LOOKS;
        let mut problems: Vec<String> = self.files.values().filter_map(|file| file.problem.clone()).collect();
        problems.extend(self.doubles());
        Ok(problems)
    }

    /// All objects; of two of one name the one of the first file. `None` before the first look.
    fn change(&self) -> Option<Change> {
        let mut all = BTreeMap::new();
        for object in self.files.values().flat_map(|file| file.objects.iter().flatten()) {
            all.entry(object.key()).or_insert_with(|| object.clone());
        }
        let all = all.into_values().collect();
        // What is in a file that never could be read is not known, and neither is whether it was there before.
        let complete = self.files.values().all(|file| file.objects.is_some());
        self.read.then_some(if complete { Change::Replace(all) } else { Change::Known(all) })
    }

    fn doubles(&self) -> Vec<String> {
        let mut first: BTreeMap<Key, &Path> = BTreeMap::new();
        let mut problems = Vec::new();
        for (path, file) in &self.files {
            for object in file.objects.iter().flatten() {
                let key = object.key();
                match first.get(&key) {
                    Some(other) => problems.push(format!(
                        "{key} is in {} and in {}: the first one counts",
                        other.display(),
                        path.display()
                    )),
                    None => {
                        first.insert(key, path);
                    }
                }
            }
        }
        problems
    }
}
