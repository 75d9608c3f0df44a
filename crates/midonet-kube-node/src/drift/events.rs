//! What tells the agent that somebody changed something of its node: the kernel of its network, and of the directories
//! where the agent has files. An event says no more than that it is time to detect drift.
//!
//! Nobody tells of what is in eBPF maps, of a tcx link that is detached, of settings other than forwarding and rp_filter,
//! or of a file system that is mounted over a directory: such drift is detected by the check that there is anyway, every
//! [`PERIOD`].

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inotify::{Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::watch;
use tracing::warn;

use crate::config::Config;

/// How often drift is detected without any event.
pub const PERIOD: Duration = Duration::from_secs(30);

/// How often there is one where the kernel does not tell of changes: no socket, or no inotify instance or watch left.
const UNTOLD: Duration = Duration::from_millis(900);

/// How long events are gathered: one command of an operator is several of them.
pub const DEBOUNCE: Duration = Duration::from_millis(60);

/// Enough for many events: each has a header of 16 bytes and a file's name.
const BUFFER: usize = 4096;

/// The sources of events.
#[derive(Debug)]
pub struct Events {
    network: watch::Sender<()>,
    links: watch::Sender<()>,
    files: watch::Sender<()>,
    network_is_told: AtomicBool,
    directories: Mutex<Directories>,
}

/// The watched directories.
#[derive(Debug)]
struct Directories {
    /// Those without pins.
    plain: Vec<PathBuf>,
    /// Where pins are, in directories below.
    pins: PathBuf,
    /// `None`: the kernel gave no inotify instance.
    watches: Option<Watches>,
    known: BTreeMap<PathBuf, WatchDescriptor>,
    are_told: bool,
}

impl Events {
    /// Listens from now on, in the network namespace of this thread.
    pub fn start(args: &Config) -> Arc<Self> {
        let files = watch::Sender::new(());
        let inotify = Inotify::init().and_then(|inotify| {
            let (watches, tell) = (inotify.watches(), files.clone());
            std::thread::Builder::new().name("files".into()).spawn(move || read(inotify, &tell))?;
            Ok(watches)
        });
        if let Err(error) = &inotify {
            warn!(
                %error,
                "changes of files are not told: reading them every second; raise fs.inotify.max_user_instances"
            );
        }
        let paths = &args.paths;
        let parents = [&paths.cni_config_path, &paths.socket].map(|path| path.parent().map(PathBuf::from));
        let plain = parents.into_iter().flatten();
        let plain = plain.chain([args.cni_bin_dir.clone(), paths.state_dir.clone(), paths.cache_dir.clone()]);
        let events = Arc::new(Self {
            network: watch::Sender::new(()),
            links: watch::Sender::new(()),
            files,
            network_is_told: AtomicBool::new(true),
            directories: Mutex::new(Directories {
                plain: plain.collect(),
                pins: paths.bpf_dir.clone(),
                are_told: inotify.is_ok(),
                watches: inotify.ok(),
                known: BTreeMap::new(),
            }),
        });
        let tell = Arc::clone(&events);
        let thread = std::thread::Builder::new().name("monitor".into()).spawn(move || {
            if let Err(error) = tell.listen() {
                tell.network_is_told.store(false, Ordering::Relaxed);
                warn!(%error, "changes of the network are not told any more: reading them every second");
            }
        });
        if let Err(error) = thread {
            events.network_is_told.store(false, Ordering::Relaxed);
            warn!(%error, "cannot listen to changes of the network: reading them every second");
        }
        events
    }

    /// Tells of changes of the network.
    pub fn network(&self) -> watch::Receiver<()> {
        self.network.subscribe()
    }

    /// Tells of changes of links.
    pub fn links(&self) -> watch::Receiver<()> {
        self.links.subscribe()
    }

    /// Tells of changes in the directories where the agent has files.
    pub fn files(&self) -> watch::Receiver<()> {
        self.files.subscribe()
    }

    /// How long drift is not detected without an event.
    pub fn period(&self) -> Duration {
        let files_are_told = self.directories.lock().unwrap_or_else(PoisonError::into_inner).are_told;
        if files_are_told && self.network_is_told.load(Ordering::Relaxed) { PERIOD } else { UNTOLD }
    }

    /// Watches the directories that are there now; to be called again after each detection, since a directory that is
    /// made again is another one.
    pub fn watch_directories(&self) {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner).watch();
    }

    /// Tells of every change of the network, until the sockets fail.
    fn listen(&self) -> plumbing::Result<()> {
        let monitor = plumbing::Monitor::here()?;
        loop {
            let heard = monitor.wait(Duration::from_secs(3600))?;
            if heard.links {
                self.links.send_replace(());
            }
            if heard.any {
                self.network.send_replace(());
                // Floods are gathered in the socket, not told one by one.
                std::thread::sleep(DEBOUNCE / 2);
            }
        }
    }
}

impl Directories {
    fn watch(&mut self) {
        let Some(watches) = &mut self.watches else { return };
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let layouts = below(&self.pins);
        let kinds = layouts.iter().flat_map(|layout| below(layout)).collect::<Vec<_>>();
        let pins = [self.pins.clone()].into_iter().chain(layouts).chain(kinds);
        let mut untold = None;
        let mut known = BTreeMap::new();
        for directory in self.plain.iter().cloned().chain(pins) {
            match watches.add(&directory, mask) {
                Ok(watch) => {
                    known.insert(directory, watch);
                }
                // There is nothing in it that could change.
                Err(error) if is_missing(&error) => {}
                Err(error) => untold = Some((directory, error)),
            }
        }
        // What has another directory's name by now, or none, need not be watched; often the kernel noticed before.
        for watch in std::mem::replace(&mut self.known, known).into_values() {
            if !self.known.values().any(|known| *known == watch) {
                let _gone = watches.remove(watch);
            }
        }
        if let (true, Some((directory, error))) = (self.are_told, &untold) {
            warn!(
                directory = %directory.display(), %error,
                "changes of files are not told: reading them every second; raise fs.inotify.max_user_watches"
            );
        }
        self.are_told = untold.is_none();
    }
}

fn is_missing(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind())
}

/// The directories in a directory.
fn below(directory: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Tells of whatever happens in the watched directories, as long as the process lives.
fn read(mut inotify: Inotify, tell: &watch::Sender<()>) {
    let mut buffer = [0; BUFFER];
    loop {
        match inotify.read_events_blocking(&mut buffer) {
            Ok(_) => {
                tell.send_replace(());
                // Floods are gathered in the queue, not told one by one.
                std::thread::sleep(DEBOUNCE / 2);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                warn!(%error, "changes of files are not told any more: they are found later");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn events(root: &Path) -> Arc<Events> {
        let path = |name: &str| root.join(name).display().to_string();
        let line = [
            format!("--cni-config-path={}", path("net.d/10-midonet.conflist")),
            format!("--cni-bin-dir={}", path("bin")),
            format!("--socket={}", path("run/api")),
            format!("--state-dir={}", path("run")),
            format!("--cache-dir={}", path("lib")),
            format!("--bpf-dir={}", path("bpf")),
        ];
        let events = Events::start(&Config::from_flags(line));
        events.watch_directories();
        events
    }

    /// Whether there is an event; then all of it is over.
    async fn is_told(files: &mut watch::Receiver<()>) -> bool {
        let told = tokio::time::timeout(DEADLINE, files.changed()).await.is_ok();
        while tokio::time::timeout(Duration::from_millis(100), files.changed()).await.is_ok() {}
        told
    }

    #[tokio::test]
    async fn every_directory_is_watched_also_one_that_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let directories = ["net.d", "bin", "run", "lib", "bpf/1/maps", "bpf/1/programs", "bpf/1/links"];
        for directory in directories {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let events = events(root.path());
        let mut files = events.files();
        assert_eq!(events.period(), PERIOD);
        for directory in directories {
            let path = root.path().join(directory);
            let file = path.join("file");
            let steps: [(&str, &dyn Fn()); 6] = [
                ("made", &|| fs::write(&file, "1").unwrap()),
                ("written", &|| fs::write(&file, "2").unwrap()),
                ("renamed", &|| fs::rename(&file, path.join("other")).unwrap()),
                ("removed", &|| fs::remove_file(path.join("other")).unwrap()),
                ("its directory moved", &|| fs::rename(&path, root.path().join("moved")).unwrap()),
                ("its directory made", &|| fs::create_dir(&path).unwrap()),
            ];
            for (what, step) in steps {
                step();
                if what != "its directory made" {
                    assert!(is_told(&mut files).await, "{directory}: {what}");
                }
                events.watch_directories();
            }
            is_told_no_more(&mut files).await;
            // The one that was moved away is none of the agent's any more.
            fs::write(root.path().join("moved/file"), "").unwrap();
            fs::remove_dir_all(root.path().join("moved")).unwrap();
            assert!(tokio::time::timeout(Duration::from_millis(200), files.changed()).await.is_err());
            fs::write(&file, "3").unwrap();
            assert!(is_told(&mut files).await, "{directory} is another one");
            // Looking is no change.
            assert_eq!(fs::read_to_string(&file).unwrap(), "3");
            assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
            assert!(tokio::time::timeout(Duration::from_millis(200), files.changed()).await.is_err());
        }
    }

    async fn is_told_no_more(files: &mut watch::Receiver<()>) {
        while tokio::time::timeout(Duration::from_millis(100), files.changed()).await.is_ok() {}
    }
}
