//! Objects from an API server: list, then watch, and again when the watch breaks.
//!
//! This is not kube's `watcher`: that one does not tell when it works again, begins its waits anew with every
//! list that fails, comes back at once and without end to a server that ends every watch, and stays with a
//! version that a server calls gone when the watch is to begin.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::api::{ListParams, ObjectList, WatchEvent, WatchParams};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, warn};

use crate::{Cache, Change, Health, Key, Node, Object, Reason, Verb};

/// A server that takes longer for one answer does not answer: a list's page, a watch's beginning.
const ANSWER: Duration = Duration::from_secs(30);

/// A server that takes longer for its first answer is away: what is on disk serves meanwhile.
const PROMPT: Duration = Duration::from_secs(2);

/// The server is asked to end a watch after so many seconds; kube and the server accept less than 295.
const WATCH_SECONDS: u32 = 290;

/// A watch that is silent for longer was cut without a word.
const SILENCE: Duration = Duration::from_secs(295);

/// Waits grow from the first to the second, and up to twice that at random, so that a thousand agents do not
/// come back at once.
const PAUSES: [Duration; 2] = [Duration::from_millis(800), Duration::from_secs(30)];

/// What lasted so long counts as working: the waits begin anew.
const STEADY: Duration = Duration::from_secs(10);

/// No server makes us wait longer by asking for it.
const PATIENCE: Duration = Duration::from_secs(300);

/// After so many watches that failed one after the other the objects are listed anew: the server may not
/// like the version, or an object on the way cannot be read.
const WATCH_TRIES: u32 = 3;

/// So many objects are listed in one request, as client-go does.
const PAGE: u32 = 500;

pub(crate) fn changes(
    client: Client,
    health: Health,
    cache: Option<Cache>,
) -> impl Stream<Item = Change> + Send + 'static {
    let (sender, receiver) = mpsc::channel(1);
    let keep = cache.clone().map(|cache| {
        let (tell, told) = watch::channel(Vec::new());
        tokio::spawn(cache.keep(told));
        tell
    });
    let mut follower = Follower {
        nodes: Api::all(client),
        health,
        sender: sender.clone(),
        version: None,
        known: BTreeMap::new(),
        invalid: BTreeMap::new(),
        complete: false,
        remembered: cache,
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
    health: Health,
    sender: mpsc::Sender<Change>,
    /// Up to where the objects are known; without it they have to be listed.
    version: Option<String>,
    known: BTreeMap<String, Object>,
    /// What is wrong with objects that say something impossible. They stay as they were last known.
    invalid: BTreeMap<String, String>,
    /// Whether nothing was left out of what was told.
    complete: bool,
    /// What to go on with until the server has answered; `None` from then on.
    remembered: Option<Cache>,
    /// What is to be remembered.
    keep: Option<watch::Sender<Vec<Object>>>,
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
                Err(failure) if failure.gone && self.version.is_some() => {
                    debug!("{}: listing again", failure.text);
                    self.version = None;
                }
                Err(failure) => {
                    self.health.api_errors().count(failure.verb, failure.reason);
                    self.health.set(Some(failure.text));
                    asked = failure.after;
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

    async fn round(&mut self) -> Result<(), Failure> {
        let version = match self.version.clone() {
            Some(version) => version,
            None => self.list().await?,
        };
        self.watch(&version).await
    }

    async fn list(&mut self) -> Result<String, Failure> {
        let mut params = ListParams::default().limit(PAGE);
        let mut nodes = Vec::new();
        let version = loop {
            let page = self.page(&params).await?;
            nodes.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break page.metadata.resource_version.filter(|version| !version.is_empty()),
            }
        };
        let version = version
            .ok_or_else(|| Failure::new(Verb::List, Reason::Other, "the answer has no resourceVersion"))?;
        let names: BTreeSet<String> = nodes.iter().filter_map(|node| node.metadata.name.clone()).collect();
        self.known.retain(|name, _| names.contains(name));
        self.invalid.clear();
        for node in nodes {
            self.note(node);
        }
        self.say_what_is_wrong();
        self.version = Some(version.clone());
        self.health.set_from_disk(None);
        self.complete = self.is_complete();
        let all = self.all();
        self.send(if self.complete { Change::Replace(all) } else { Change::Known(all) }).await;
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
    async fn page(&mut self, params: &ListParams) -> Result<ObjectList<ApiNode>, Failure> {
        let nodes = self.nodes.clone();
        let mut request = pin!(answer(Verb::List, nodes.list(params)));
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
        let Some(cache) = self.remembered.take() else { return };
        let Some(remembered) = cache.load().await else { return };
        let age = remembered.saved.elapsed().unwrap_or_default().as_secs();
        warn!(
            nodes = remembered.objects.len(),
            age_seconds = age,
            "the API server does not answer: going on with the objects on disk"
        );
        self.health.set_from_disk(Some(remembered.saved));
        self.send(Change::Known(remembered.objects)).await;
    }

    async fn watch(&mut self, version: &str) -> Result<(), Failure> {
        let params = WatchParams::default().timeout(WATCH_SECONDS);
        let events = answer(Verb::Watch, self.nodes.watch(&params, version)).await?;
        let mut events = pin!(events);
        self.say_what_is_wrong();
        while let Ok(Some(event)) = timeout(SILENCE, events.next()).await {
            match event.map_err(|error| Failure::of(Verb::Watch, &error))? {
                WatchEvent::Added(node) | WatchEvent::Modified(node) => {
                    self.reached(node.metadata.resource_version.clone());
                    if let Some(object) = self.note(node) {
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
                WatchEvent::Error(status) => return Err(Failure::of(Verb::Watch, &kube::Error::Api(status))),
            }
            self.say_what_is_wrong();
        }
        Ok(())
    }

    fn reached(&mut self, version: Option<String>) {
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            self.version = Some(version);
        }
    }

    fn note(&mut self, node: ApiNode) -> Option<Object> {
        let name = node.metadata.name.clone().unwrap_or_default();
        match Node::try_from(node) {
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
        if let (Some(keep), Some(_)) = (&self.keep, &self.version) {
            keep.send_replace(self.all());
        }
        // Nobody listens any more: the task is about to be ended.
        let _ = self.sender.send(change).await;
    }
}

/// A request did not succeed.
struct Failure {
    text: String,
    verb: Verb,
    reason: Reason,
    /// The server does not remember the version asked for.
    gone: bool,
    after: Option<Duration>,
}

impl Failure {
    fn new(verb: Verb, reason: Reason, why: &str) -> Self {
        let text = format!("cannot {} Nodes: {why}", verb.name());
        Self { text, verb, reason, gone: false, after: None }
    }

    fn of(verb: Verb, error: &kube::Error) -> Self {
        let gone = matches!(error, kube::Error::Api(status) if status.code == 410);
        Self { gone, after: retry_after(error), ..Self::new(verb, error.into(), &words(error)) }
    }
}

async fn answer<T>(verb: Verb, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match timeout(ANSWER, request).await {
        Ok(answer) => answer.map_err(|error| Failure::of(verb, &error)),
        Err(_) => Err(Failure::new(
            verb,
            Reason::Timeout,
            &format!("the API server gave no answer within {ANSWER:?}"),
        )),
    }
}

/// How long the server asked to wait, within reason.
pub(crate) fn retry_after(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else { return None };
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(PATIENCE))
}

/// What the server says, or why it says nothing: with all causes, as the outermost alone often says only
/// "service error".
pub(crate) fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("the API server says {} {}: {}", status.code, status.reason, status.message);
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
