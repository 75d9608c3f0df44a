//! Asks nodes again and again while somebody looks at the page, and answers from what they said.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::Value;
use terminal::output;
use ui::{Fault, Question, Source};

use super::asker::Asker;
use super::documents;
use super::known::Known;
use crate::name::Name;
use crate::trace::Packet;

/// How long after the last question nodes are asked no more.
const LOOKED_AT: Duration = Duration::from_secs(30);

/// What is asked for again and again: flows with a packet in so much time.
const OVERLAP: Duration = Duration::from_secs(15);

/// How long what nodes say of themselves, and of a Pod's policies, is good for.
const STATUS: Duration = Duration::from_secs(5);

/// How often those are asked again that say nothing.
const SILENT: Duration = Duration::from_secs(10);

/// How long the first answer may take; then the page is told what there is.
const FIRST: Duration = Duration::from_secs(40);

/// Of how many Pods policies are remembered.
const PODS: usize = 64;

type Policies = HashMap<(String, String), (Instant, Result<Value, String>)>;

/// All nodes, as they are watched.
pub(super) struct Watched {
    asker: Asker,
    known: RwLock<Known>,
    version: AtomicU64,
    /// When somebody looked last.
    looked: Mutex<Option<Instant>>,
    changed: Condvar,
    policies: Mutex<Policies>,
}

/// Which nodes are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Answering,
    Silent,
}

impl Watched {
    /// Nobody is asked yet.
    pub(super) fn new(asker: Asker) -> Self {
        // Versions of a midokube before this one are not those of this one.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            asker,
            known: RwLock::default(),
            version: AtomicU64::new(u64::try_from(now.as_micros()).unwrap_or_default()),
            looked: Mutex::default(),
            changed: Condvar::new(),
            policies: Mutex::default(),
        }
    }

    /// Begins to ask. Those that do not answer are asked apart, so that nobody waits for them.
    ///
    /// # Errors
    /// There is no thread for that.
    pub(super) fn watch(watched: &Arc<Self>) -> io::Result<()> {
        let (answering, silent) = (Arc::clone(watched), Arc::clone(watched));
        thread::Builder::new().name("ask".to_owned()).spawn(move || answering.ask_again_and_again())?;
        thread::Builder::new().name("ask-silent".to_owned()).spawn(move || {
            loop {
                sleep(SILENT);
                silent.wait_until_looked_at();
                silent.ask_silent();
            }
        })?;
        Ok(())
    }

    fn ask_again_and_again(&self) {
        let (mut asked_all, mut asked_statuses) = (None::<Instant>, None::<Instant>);
        loop {
            self.wait_until_looked_at();
            let now = Instant::now();
            // What came while nobody looked is asked for, too.
            let since = asked_all.map(|at| now.saturating_duration_since(at) + OVERLAP);
            let with_status = asked_statuses.is_none_or(|at| now.saturating_duration_since(at) >= STATUS);
            match self.ask(Who::Answering, since, with_status) {
                Ok(()) => {
                    asked_all = Some(now);
                    asked_statuses = if with_status { Some(now) } else { asked_statuses };
                }
                Err(error) => self.change(|known| known.error = Some(output::explain(&error))),
            }
            sleep(self.asker.period());
        }
    }

    fn ask_silent(&self) {
        if let Ok(names) = self.asker.names() {
            self.change(|known| known.keep(&names));
        }
        let is_needed = self.known(|known| known.nodes().any(|(_, node)| node.is_silent()));
        if is_needed {
            // That the API server says nothing is told by the other thread.
            let _told = self.ask(Who::Silent, None, true);
        }
    }

    fn ask(&self, who: Who, since: Option<Duration>, with_status: bool) -> Result<()> {
        let wanted = |name: &str| self.known(|known| known.is_silent(name)) == (who == Who::Silent);
        let statuses = if with_status { self.asker.statuses(wanted)? } else { Vec::new() };
        let flows = self.asker.flows(since, wanted)?;
        self.change(|known| {
            known.hear_statuses(statuses);
            known.hear_flows(flows, Instant::now());
            (known.error, known.is_asked) = (None, true);
        });
        Ok(())
    }

    fn known<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        read(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
        self.version.fetch_add(1, Ordering::Release);
        self.changed.notify_all();
    }

    fn looked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until_looked_at(&self) {
        let mut looked = self.looked();
        while looked.is_none_or(|at| at.elapsed() > LOOKED_AT) {
            looked = self.changed.wait(looked).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Until something is known, or why nothing is.
    fn wait_for_first(&self) {
        let begin = Instant::now();
        while begin.elapsed() < FIRST && self.known(|known| !known.is_asked && known.error.is_none()) {
            sleep(Duration::from_millis(50));
        }
    }

    fn pod(&self, name: &str) -> Result<Vec<u8>, Fault> {
        let pod: Name = name.parse().map_err(|why: &str| Fault::Invalid(why.to_owned()))?;
        let found = self.known(|known| {
            let (node, state, port) = known.port(&pod.namespace, &pod.name)?;
            Some((node.to_owned(), state.error().map(str::to_owned), port.clone()))
        });
        let Some((node, error, port)) = found else {
            return Err(Fault::Unknown(format!("no node that can be asked has a Pod {name}")));
        };
        let policies = error.map_or_else(|| self.policies(&node, &pod), Err);
        Ok(documents::pod(&node, &port, policies))
    }

    fn trace(&self, ui::Packet { from, to, port }: &ui::Packet) -> Result<Vec<u8>, Fault> {
        let packet = Packet::named(from, to, port).map_err(|why| Fault::Invalid(why.to_owned()))?;
        let traced = self.asker.trace(&packet);
        traced
            .map(|document| document.to_string().into_bytes())
            .map_err(|error| Fault::Unreachable(output::explain(&error)))
    }

    fn policies(&self, node: &str, pod: &Name) -> Result<Value, String> {
        let key = (node.to_owned(), pod.to_string());
        let lock = || self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, said)) = lock().get(&key)
            && at.elapsed() < STATUS
        {
            return said.clone();
        }
        let said = self.asker.policies(node, pod);
        let mut policies = lock();
        if policies.len() >= PODS {
            policies.clear();
        }
        policies.insert(key, (Instant::now(), said.clone()));
        said
    }
}

impl Source for Watched {
    fn version(&self) -> u64 {
        *self.looked() = Some(Instant::now());
        self.changed.notify_all();
        self.version.load(Ordering::Acquire)
    }

    fn answer(&self, question: &Question) -> Result<Vec<u8>, Fault> {
        self.wait_for_first();
        let now = Instant::now();
        match question {
            Question::Nodes => Ok(self.known(documents::nodes)),
            Question::Node(name) => self.known(|known| documents::node(known, name)),
            Question::Flows(selection) => self.known(|known| documents::flows(known, selection, now)),
            Question::Map(selection) => self.known(|known| documents::map(known, selection, now)),
            Question::Pod(name) => self.pod(name),
            Question::Trace(packet) => self.trace(packet),
        }
    }
}
