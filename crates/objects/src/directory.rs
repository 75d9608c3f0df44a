//! Objects from a directory of manifests. The kernel tells which file changed: that one is read, and of it the documents
//! that changed are parsed. A file that cannot be read keeps the objects it last had.

mod file;
mod files;
mod manifest;
mod news;
mod once;
mod owners;
mod reader;
mod workload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::debug;

use crate::Health;
use files::{Files, Scanned};
use news::{News, Notifier};

pub(crate) use manifest::{documents, objects};
pub use once::{ManifestError, Manifests};
pub(crate) use reader::{Reader, Typed};
pub use workload::Workload;

/// An editor writes a file in several steps; they count as one. It is also above the resolution of the kernel's file
/// times (a tick, at most 10 ms): a file left alone for so long has a new time after its next change.
const SETTLE: Duration = Duration::from_millis(20);

/// All files are compared so often while nobody tells of changes: the directory is not there, or cannot be watched.
const SCAN: Duration = Duration::from_secs(2);

/// And so often even if the kernel tells of no change: a link to the directory may lead elsewhere by now.
const SCAN_ANYWAY: Duration = Duration::from_secs(30);

/// By what the directory's health is known beside that of kinds.
const HEALTH: &str = "manifests";

/// Reads and watches the directory, for ever.
pub(crate) async fn follow(path: PathBuf, health: Health, readers: Vec<Box<dyn Reader>>) {
    let news = Arc::new(News::of(&path));
    let mut files = Files::new(path, readers);
    let mut notifier: Option<Notifier> = None;
    let mut next_scan = Instant::now();
    loop {
        if notifier.is_none() {
            notifier = news.watch().map_err(|error| debug!(%error, "no news of the directory")).ok();
        }
        let news_of = news.take(SETTLE);
        let scans = news_of.all || Instant::now() >= next_scan;
        if scans || !news_of.names.is_empty() {
            let work = move || {
                let scanned = if scans { files.scan() } else { files.read(&news_of.names) };
                (files, scanned)
            };
            let Ok((back, scanned)) = tokio::task::spawn_blocking(work).await else { return };
            files = back;
            let Scanned { error, unsettled, identity } = scanned;
            if let (Some(identity), Some(known)) = (identity, &notifier)
                && *known != identity
            {
                notifier = None; // another directory is there by now
                continue;
            }
            if scans && error.is_some() {
                notifier = None;
            }
            let problems: Vec<String> = error.into_iter().chain(files.problems()).collect();
            health.set(HEALTH, (!problems.is_empty()).then(|| problems.join("; ")));
            files.commit();
            if scans {
                let pause = match notifier {
                    _ if unsettled => SETTLE,
                    Some(_) => SCAN_ANYWAY,
                    None => SCAN,
                };
                next_scan = Instant::now() + pause;
            }
        }
        let rest = next_scan.saturating_duration_since(Instant::now());
        let rest = news.due(SETTLE).map_or(rest, |due| due.min(rest));
        tokio::select! {
            () = news.arrived() => {}
            () = sleep(rest) => {}
        }
    }
}
