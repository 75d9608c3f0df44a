//! Objects from an API server: list, then watch, and again when the watch breaks.
//!
//! This is not kube's `watcher`: that one does not tell when it works again, begins its waits anew with every
//! list that fails, comes back at once and without end to a server that ends every watch, stays with a version that a
//! server calls gone when the watch is to begin, and fails for all objects when one of them cannot be read.

mod absent;
mod definition;
mod first;
pub(crate) mod list;
mod split;
mod watch;

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::watch as channel;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use crate::cache::{Bound, Confirmed};
use crate::entry::Entry;
use crate::fault::Fault;
use crate::kind::Kind;
use crate::server::Server;
use crate::store::Store;
use crate::task::Task;
use crate::{Health, Selector};
use definition::Definition;
use list::List;
use watch::Events;

/// A watch that is silent for longer begins anew, from where it was. An API server sends a bookmark about every minute
/// (`bookmarkFrequency` of its watch cache), so that two of them are missing by then, and a slow server has another
/// half a minute. This is for what pings do not find out: something between that answers them by itself, or a server
/// that has forgotten the watch. One that sends no bookmarks is asked for a watch more often, and nothing else.
const SILENCE: Duration = Duration::from_secs(150);

/// Waits grow from the first to the second, and up to twice that at random, so that a thousand agents do not
/// come back at once.
const PAUSES: [Duration; 2] = [Duration::from_millis(800), Duration::from_secs(30)];

/// What lasted so long counts as working: the waits begin anew.
const STEADY: Duration = Duration::from_secs(10);

/// After so many watches that failed one after the other the objects are listed anew: the server may not
/// like the version.
const WATCH_TRIES: u32 = 3;

/// Keeps a store of one kind as the API server has its objects.
pub(crate) struct Reflector<K: Kind> {
    server: Server,
    selector: Selector,
    health: Health,
    store: Store<K>,
    /// Where a watch goes on; without it the objects have to be listed.
    version: Option<String>,
    /// The latest version that was seen: no list is to be older.
    reached: Option<String>,
    /// How often the objects were listed.
    lists: u64,
    /// Since when the server does not know the kind.
    absent_since: Option<Instant>,
    /// What could give it the kind.
    definition: Definition,
    /// What to go on with until the server has answered; `None` from then on, or once it was used.
    cache: Option<Bound<K>>,
    /// Why it could not be used, as last logged.
    unusable: Option<String>,
    /// Tells who writes the cache.
    keep: Option<channel::Sender<Option<Confirmed>>>,
}

impl<K: Kind> Reflector<K> {
    pub(crate) fn new(
        server: Server,
        selector: Selector,
        health: Health,
        store: Store<K>,
        cache: Option<(Bound<K>, channel::Sender<Option<Confirmed>>)>,
    ) -> Self {
        let (cache, keep) = cache.unzip();
        let (version, reached, unusable, absent_since) = (None, None, None, None);
        let (lists, definition) = (0, Definition::default());
        Self {
            server,
            selector,
            health,
            store,
            version,
            reached,
            lists,
            absent_since,
            definition,
            cache,
            unusable,
            keep,
        }
    }

    /// Lists and watches, for ever.
    pub(crate) async fn follow(mut self) {
        let [shortest, longest] = PAUSES;
        let pauses =
            ExponentialBuilder::default().with_min_delay(shortest).with_max_delay(longest).with_factor(2.0);
        let pauses = pauses.without_max_times().with_jitter();
        let mut pause = pauses.build();
        let mut failed_watches = 0;
        loop {
            let began = Instant::now();
            let round = self.round().await;
            if began.elapsed() >= STEADY {
                pause = pauses.build();
            }
            let (mut asked, mut absent) = (None, false);
            let is_absent = |fault: &Fault| K::OPTIONAL && fault.is_unknown();
            let round = match round {
                Err(fault) if is_absent(&fault) && self.version.is_none() => {
                    let round = self.absent(fault).await;
                    if round.is_ok() {
                        (asked, absent, pause) = (Some(K::ABSENT), true, pauses.build());
                    }
                    round
                }
                round => round,
            };
            match round {
                Ok(()) => {
                    debug!(kind = K::RESOURCE.kind, "the watch ended, or there is none");
                    failed_watches = 0;
                }
                // Usual after a long break: the server keeps changes only for so long.
                Err(fault) if self.version.is_some() && (fault.is_gone() || is_absent(&fault)) => {
                    debug!("{fault}: listing again");
                    self.version = None;
                }
                Err(fault) => {
                    self.health.api_errors().count(fault.verb(), fault.reason());
                    self.health.set(K::RESOURCE.kind, Some(fault.to_string()));
                    asked = fault.retry_after();
                    failed_watches += u32::from(self.version.is_some());
                    if failed_watches >= WATCH_TRIES {
                        failed_watches = 0;
                        self.version = None;
                    }
                }
            }
            let wait = pause.next().unwrap_or(longest).max(asked.unwrap_or_default());
            if absent && K::CUSTOM {
                let _waited = timeout(wait, self.defined()).await;
            } else {
                tokio::time::sleep(wait).await;
            }
        }
    }

    async fn round(&mut self) -> Result<(), Fault> {
        let version = match self.version.clone() {
            Some(version) => version,
            None => self.list().await?,
        };
        self.watch(&version).await
    }

    async fn list(&mut self) -> Result<String, Fault> {
        let List { version, entries } = self.listed().await?;
        // The cache may have a valid form of an object that is invalid since before this program was started.
        let stays = |store: &Store<K>| {
            entries.iter().all(|entry| entry.object.is_ok() || store.has(&entry.key, entry.uid.as_deref()))
        };
        if !stays(&self.store) {
            self.restore(false).await;
        }
        self.absent_since = None;
        self.take_list(entries);
        self.reach(version.clone());
        Ok(version)
    }

    /// These are all objects, as the server has it.
    fn take_list(&mut self, entries: Vec<Entry<K>>) {
        self.cache = None;
        self.health.set(K::RESOURCE.kind, None);
        let difference = self.store.replace(entries);
        self.lists += 1;
        if self.health.from_disk().is_some() {
            self.health.set_from_disk(K::RESOURCE.kind, None);
            info!(
                kind = K::RESOURCE.kind,
                ?difference,
                "the API server answers: its objects replace the cached ones"
            );
        }
        self.confirm();
    }

    async fn watch(&mut self, version: &str) -> Result<(), Fault> {
        let (server, task) = (self.server.clone(), Task::watch(&K::RESOURCE));
        let request = watch::request::<K>(&server, &self.selector, version)?;
        let mut body = server.stream(task, request).await?;
        self.health.set(K::RESOURCE.kind, None);
        self.confirm();
        let mut events = Events::<K>::of(&server);
        loop {
            let chunk = match timeout(SILENCE, body.next()).await {
                Ok(chunk) => chunk.map_err(|error| server.fault(task, &error))?,
                Err(_) => {
                    let kind = K::RESOURCE.kind;
                    debug!(kind, "not even a bookmark within {SILENCE:?}: the watch begins anew");
                    return Ok(());
                }
            };
            if chunk.is_empty() {
                let cut = || Fault::unusable(&server.place, task, "it was cut off");
                return if events.is_whole() { Ok(()) } else { Err(cut()) };
            }
            let pushed = events.push(chunk);
            if let Some(version) = events.version.take() {
                self.reach(version);
            }
            if !events.updates.is_empty() {
                self.store.update(std::mem::take(&mut events.updates), false);
                self.confirm();
            }
            pushed?;
        }
    }

    fn reach(&mut self, version: String) {
        self.reached = Some(version.clone());
        self.version = Some(version);
    }

    /// What the server has said so far is as of now.
    fn confirm(&self) {
        if let Some(keep) = &self.keep {
            keep.send_replace(Some(Confirmed { at: SystemTime::now(), list: self.lists }));
        }
    }
}
