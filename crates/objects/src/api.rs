//! Objects from an API server: list, then watch, and again when the watch breaks.
//!
//! This is not kube's `watcher`: that one does not tell when it works again, begins its waits anew with every
//! list that fails, comes back at once and without end to a server that ends every watch, and stays with a
//! version that a server calls gone when the watch is to begin.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::Api;
use kube::api::{ListParams, ObjectList, WatchEvent, WatchParams};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, info, warn};

use crate::cache::{Bound, Known};
use crate::fault::Fault;
use crate::server::{LIST_NODES, Pages, Server, WATCH_NODES};
use crate::{Change, Health, InvalidObject, Key, Node, Object};

/// A server that takes longer for its first answer is away: what is on disk serves meanwhile.
const PROMPT: Duration = Duration::from_secs(2);

/// The server is asked to end a watch after so many seconds; kube and the server accept less than 295.
const WATCH_SECONDS: u32 = 290;

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
/// like the version, or an object on the way cannot be read.
const WATCH_TRIES: u32 = 3;

pub(crate) fn changes(
    server: Server,
    health: Health,
    cache: Option<Bound>,
) -> impl Stream<Item = Change> + Send + 'static {
    let (sender, receiver) = mpsc::channel(1);
    let keep = cache.clone().map(|cache| {
        let (tell, told) = watch::channel(None);
        let server = server.clone();
        let identify = move || {
            let server = server.clone();
            async move { server.cluster().await }.boxed()
        };
        tokio::spawn(cache.keep(identify, told));
        tell
    });
    let mut follower = Follower {
        nodes: Api::all(server.client.clone()),
        server,
        health,
        sender: sender.clone(),
        version: None,
        lists: 0,
        known: BTreeMap::new(),
        invalid: BTreeMap::new(),
        complete: false,
        own: cache.as_ref().map(|cache| cache.node().to_owned()),
        remembered: cache,
        unusable: None,
        keep,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = follower.follow() => {}
            () = sender.closed() => {}
        }
    });
    ReceiverStream::new(receiver)
}

struct Follower {
    nodes: Api<ApiNode>,
    server: Server,
    health: Health,
    sender: mpsc::Sender<Change>,
    /// Up to where the objects are known; without it they have to be listed.
    version: Option<String>,
    /// How often they were.
    lists: u64,
    /// What was told: until the first list, what was on disk.
    known: BTreeMap<String, Object>,
    /// What is wrong with objects that say something impossible. They stay as they were last known.
    invalid: BTreeMap<String, String>,
    /// Whether nothing was left out of what was told.
    complete: bool,
    /// This node's name.
    own: Option<String>,
    /// What to go on with until the server has answered; `None` from then on, or once it was used.
    remembered: Option<Bound>,
    /// Why it could not be used, as last said.
    unusable: Option<String>,
    /// What is to be remembered.
    keep: Option<watch::Sender<Option<Known>>>,
}

/// A Node of a list, trimmed as soon as its page is there.
struct Listed {
    name: String,
    uid: Option<String>,
    node: Result<Node, InvalidObject>,
}

impl From<ApiNode> for Listed {
    fn from(node: ApiNode) -> Self {
        let (name, uid) = (node.metadata.name.clone().unwrap_or_default(), node.metadata.uid.clone());
        Self { name, uid, node: Node::try_from(node) }
    }
}

impl Follower {
    async fn follow(&mut self) {
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
            let mut asked = None;
            match round {
                Ok(()) => {
                    debug!("the watch of Nodes ended");
                    failed_watches = 0;
                }
                // Usual after a long break: the server does not remember that far back.
                Err(fault) if fault.is_gone() && self.version.is_some() => {
                    debug!("{fault}: listing again");
                    self.version = None;
                }
                Err(fault) => {
                    self.health.api_errors().count(fault.verb(), fault.reason());
                    self.health.set(Some(fault.to_string()));
                    asked = fault.retry_after();
                    failed_watches += u32::from(self.version.is_some());
                    if failed_watches >= WATCH_TRIES {
                        failed_watches = 0;
                        self.version = None;
                    }
                }
            }
            let wait = pause.next().unwrap_or(longest);
            tokio::time::sleep(wait.max(asked.unwrap_or_default())).await;
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
        let mut pages = Pages::default();
        let mut nodes = Vec::new();
        let version = loop {
            let page = self.page(&pages.params).await?;
            nodes.extend(page.items.into_iter().map(Listed::from));
            if !pages.next(&self.server, page.metadata.continue_)? {
                break page.metadata.resource_version.filter(|version| !version.is_empty());
            }
        };
        let version = version
            .ok_or_else(|| Fault::unusable(&self.server.place, LIST_NODES, "it has no resourceVersion"))?;
        let from_disk = self.health.from_disk().is_some();
        let before = std::mem::take(&mut self.known);
        let listed: BTreeMap<String, Option<String>> =
            nodes.iter().map(|node| (node.name.clone(), node.uid.clone())).collect();
        // An object that says something impossible stays as it was, unless it is another one by now.
        let stays = |name: &String, object: &Object| {
            let Object::Node(node) = object;
            listed.get(name).is_some_and(|uid| *uid == node.uid)
        };
        self.known = before.clone().into_iter().filter(|(name, object)| stays(name, object)).collect();
        self.invalid.clear();
        for node in nodes {
            self.note(node);
        }
        self.say_what_is_wrong();
        self.version = Some(version.clone());
        self.lists += 1;
        self.health.set_from_disk(None);
        if from_disk {
            let same = before.iter().filter(|(name, object)| self.known.get(*name) == Some(object)).count();
            let (new, replaced) = (self.known.len() - same, before.len() - same);
            info!(same, replaced, new, "the API server answers: its Nodes replace those from disk");
        }
        self.complete = self.is_complete();
        let all = self.all();
        if self.complete {
            self.send(Change::Replace(all)).await;
        } else {
            // What is not listed any more is certainly gone, also if something else is not understood.
            let gone: Vec<String> =
                before.into_keys().filter(|name| !self.known.contains_key(name)).collect();
            for name in gone {
                self.send(Change::Delete(Key::Node(name))).await;
            }
            self.send(Change::Known(all)).await;
        }
        Ok(version)
    }

    fn all(&self) -> Vec<Object> {
        self.known.values().cloned().collect()
    }

    /// Not if some object was never understood: it may have been there before this program, too.
    fn is_complete(&self) -> bool {
        self.invalid.keys().all(|name| self.known.contains_key(name))
    }

    /// A page of the list. If it is the first answer that is missing, the objects on disk are given meanwhile.
    async fn page(&mut self, params: &ListParams) -> Result<ObjectList<ApiNode>, Fault> {
        let (server, nodes) = (self.server.clone(), self.nodes.clone());
        let mut request = pin!(server.answer(LIST_NODES, nodes.list(params)));
        if self.remembered.is_none() {
            return request.await;
        }
        let answer = timeout(PROMPT, &mut request).await;
        if let Ok(Ok(page)) = answer {
            self.remembered = None;
            return Ok(page);
        }
        self.give_what_is_remembered().await;
        match answer {
            Ok(failed) => failed,
            Err(_) => request.await,
        }
    }

    async fn give_what_is_remembered(&mut self) {
        let Some(cache) = &self.remembered else { return };
        let found = match cache.load().await {
            Ok(found) => found,
            Err(error) => {
                // It is looked at again: a clock that is wrong may be set.
                if self.unusable.as_ref() != Some(&error) {
                    warn!(file = %cache.path().display(), error, "the Nodes on disk are not used");
                    self.unusable = Some(error);
                }
                return;
            }
        };
        self.remembered = None;
        let Some(found) = found else { return };
        let age_seconds = found.saved.elapsed().unwrap_or_default().as_secs();
        warn!(
            nodes = found.nodes.len(),
            age_seconds, "the API server does not answer: going on with the Nodes on disk"
        );
        self.known = found.nodes.into_iter().map(|node| (node.name.clone(), Object::Node(node))).collect();
        self.health.set_from_disk(Some(found.saved));
        self.send(Change::Known(self.all())).await;
    }

    async fn watch(&mut self, version: &str) -> Result<(), Fault> {
        let params = WatchParams::default().timeout(WATCH_SECONDS);
        let events = self.server.answer(WATCH_NODES, self.nodes.watch(&params, version)).await?;
        let mut events = pin!(events);
        self.say_what_is_wrong();
        self.remember();
        loop {
            let event = match timeout(SILENCE, events.next()).await {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(()),
                Err(_) => {
                    debug!("not even a bookmark within {SILENCE:?}: the watch of Nodes begins anew");
                    return Ok(());
                }
            };
            match event.map_err(|error| self.server.fault(WATCH_NODES, &error))? {
                WatchEvent::Added(node) | WatchEvent::Modified(node) => {
                    self.reached(node.metadata.resource_version.clone());
                    if let Some(object) = self.note(node.into()) {
                        self.send_change(Change::Upsert(object)).await;
                    }
                }
                WatchEvent::Deleted(node) => {
                    let name = node.metadata.name.unwrap_or_default();
                    self.reached(node.metadata.resource_version);
                    self.known.remove(&name);
                    self.invalid.remove(&name);
                    self.send_change(Change::Delete(Key::Node(name))).await;
                }
                WatchEvent::Bookmark(bookmark) => self.reached(Some(bookmark.metadata.resource_version)),
                WatchEvent::Error(status) => {
                    return Err(self.server.fault(WATCH_NODES, &kube::Error::Api(status)));
                }
            }
            self.say_what_is_wrong();
        }
    }

    fn reached(&mut self, version: Option<String>) {
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            self.version = Some(version);
        }
    }

    fn note(&mut self, listed: Listed) -> Option<Object> {
        let name = listed.name;
        match listed.node {
            Ok(node) => {
                self.invalid.remove(&name);
                let object = Object::Node(node);
                self.known.insert(name, object.clone());
                Some(object)
            }
            Err(error) => {
                warn!(%error, "the last known state of the Node stays");
                self.invalid.insert(name, error.to_string());
                None
            }
        }
    }

    fn say_what_is_wrong(&self) {
        let problems: Vec<&str> = self.invalid.values().map(String::as_str).collect();
        self.health.set(if problems.is_empty() { None } else { Some(problems.join("; ")) });
    }

    /// Sends a change, or everything if that has become complete by it.
    async fn send_change(&mut self, change: Change) {
        let complete = self.is_complete();
        let was = std::mem::replace(&mut self.complete, complete);
        self.send(if complete && !was { Change::Replace(self.all()) } else { change }).await;
    }

    async fn send(&self, change: Change) {
        self.remember();
        // Nobody listens any more: the task is about to be ended.
        let _ = self.sender.send(change).await;
    }

    /// What the server has just said is to be on disk.
    fn remember(&self) {
        if let (Some(keep), Some(own), Some(_)) = (&self.keep, &self.own, &self.version) {
            let own_is_gone = !self.known.contains_key(own) && !self.invalid.contains_key(own);
            let (objects, at) = (self.all(), SystemTime::now());
            keep.send_replace(Some(Known { objects, at, list: self.lists, own_is_gone }));
        }
    }
}
