//! NetworkPolicies and ClusterNetworkPolicies for this node's Pods: objects and ports in, changes of the backend's tables
//! out.
//!
//! What is new is taken in by [`Judge`], which says how the tables change; [`settle`](Policies::settle) brings that into
//! force. Who adds a Pod settles by itself, everything else is done by [`follow`]. Until all objects are known, what an agent
//! before this one brought into force stays; then all of it is replaced in one step.

mod admit;
mod again;
mod follow;
mod known;
mod locals;
mod names;
mod news;
mod objects;
mod owners;
mod preview;
mod sets;
mod totals;
mod versions;
pub(crate) mod words;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::objects::{Delta, Key, Node, Pod};
use datapath::policy::Counts;
use ipnet::IpNet;
use model::Problem;
use policy::{Applied, Judge, LocalId, LocalPod, RuleId, RuleName, SetId, Usage};
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};

use self::objects::Objects;
use crate::backend::PolicyTables;
pub(crate) use admit::{admit, restore};
pub(crate) use again::{Ends, Judgement, Ruling, judge_again};
pub(crate) use follow::follow;
use known::Known;
use locals::Locals;
use names::Names;
pub(crate) use news::{Feed, News};
use owners::Owners;
pub(crate) use preview::{Candidates, PolicyName, Snapshot, does_not_fit};
use sets::{Sets, set_of};
use totals::Totals;
pub(crate) use totals::Verdicts;
pub(crate) use versions::Version;

/// From one Pod's label to thousands of blocks.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// So many policies are named as those that take most space.
const NAMED: usize = 5;

/// What is enforced on this node. Clones are handles on one state.
#[derive(Debug, Clone)]
pub struct Policies(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Whoever settles has it, so that changes come into force in their order.
    turn: Mutex<()>,
    /// Held for short work only.
    state: Mutex<State>,
    /// There is something to be settled.
    news: Notify,
    /// Counts how often was settled.
    settled: watch::Sender<u64>,
    /// From when a change was known here until it was in force.
    durations: Histogram,
    totals: Mutex<Totals>,
    names: Mutex<Names>,
}

#[derive(Debug)]
struct State {
    judge: Judge,
    known: Known,
    locals: Locals,
    objects: Objects,
    sets: Sets,
    owners: Owners,
    /// Whether the tables were replaced by what this agent knows.
    replaced: bool,
    /// Whether all that was handed over is in force.
    in_force: bool,
    /// Since when there is something that was not settled.
    since: Option<Instant>,
    /// What is wrong with policies, and with bringing them into force, as last told.
    problems: Vec<Problem>,
}

/// What applies to a Pod of this node.
#[derive(Debug, Clone)]
pub(crate) struct OfPod {
    /// Its set, as it is wanted.
    pub(crate) set: SetId,
    /// Why it is closed; `None`: it is not.
    pub(crate) closed: Option<String>,
    /// The policies, in the order in which they are asked.
    pub(crate) policies: Vec<Applied>,
}

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    /// Whether all objects were known once.
    pub(crate) complete: bool,
    /// Whether all that is known is in force.
    pub(crate) in_force: bool,
    pub(crate) usage: Usage,
    /// Pods to which a policy applies.
    pub(crate) policed: usize,
    /// Pods of which it is not known what applies.
    pub(crate) closed: usize,
}

impl Policies {
    /// Of a node, before anything is known. Numbers of what is in force are not used again: they begin after `last`.
    pub fn new(node: &str, last: u32) -> Self {
        let state = State {
            judge: Judge::new(last),
            known: Known::default(),
            locals: Locals::new(node),
            objects: Objects::default(),
            sets: Sets::default(),
            owners: Owners::default(),
            replaced: false,
            in_force: false,
            since: None,
            problems: Vec::new(),
        };
        Self(Arc::new(Inner {
            turn: Mutex::default(),
            state: Mutex::new(state),
            news: Notify::new(),
            settled: watch::Sender::new(0),
            durations: Histogram::new(BUCKETS),
            totals: Mutex::default(),
            names: Mutex::default(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.0.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to be settled.
    async fn has_news(&self) {
        self.0.news.notified().await;
    }

    /// Has whatever is new settled soon.
    fn tell(&self) {
        self.0.news.notify_one();
    }

    /// Takes Nodes in, which another feed watches.
    pub(crate) fn follow_nodes(&self, Delta { upserted, deleted, synced }: &Delta<Node>) {
        let mut state = self.state();
        deleted.iter().for_each(|node| state.judge.delete_node(&Key::new(&node.name)));
        upserted.iter().for_each(|node| state.judge.upsert_node(Arc::clone(node)));
        state.known.nodes = Some(*synced);
        state.touch();
        drop(state);
        self.tell();
    }

    /// A Pod of this node gets a port, or had one before this agent was started. `pod` is `None` if nobody knows whose it
    /// is: then the Pod that has its addresses counts.
    pub(crate) fn set_local(
        &self,
        id: LocalId,
        interface: &str,
        addresses: &[IpAddr],
        pod: Option<LocalPod>,
    ) {
        let mut state = self.state();
        let touched = state.locals.addresses(id).chain(addresses).copied().collect();
        state.owning(touched, |State { judge, locals, .. }| locals.set(id, interface, addresses, pod, judge));
        state.touch();
        drop(state);
        self.tell();
    }

    /// A Pod's port is bound: others of its interface's name are gone.
    pub(crate) fn bound(&self, id: LocalId) {
        let mut state = self.state();
        let former = state.locals.former(id);
        let touched = former.iter().flat_map(|former| state.locals.addresses(*former)).copied().collect();
        if state.owning(touched, |State { judge, locals, .. }| locals.bound(id, judge)) {
            state.touch();
            drop(state);
            self.tell();
        }
    }

    /// A Pod's port is gone.
    pub(crate) fn unset_local(&self, id: LocalId) {
        let mut state = self.state();
        let touched = state.locals.addresses(id).copied().collect();
        if state.owning(touched, |State { judge, locals, .. }| locals.unset(id, judge)) {
            state.touch();
            drop(state);
            self.tell();
        }
    }

    /// Forgets ports that are not bound any more, though nobody said so. `ports` are those that are, as of when it is called.
    pub(crate) fn retain(&self, ports: impl FnOnce() -> BTreeSet<LocalId>) {
        // One that is bound later than this is left alone.
        let known: Vec<LocalId> = self.state().locals.bound_ones().collect();
        let bound = ports();
        known.into_iter().filter(|id| !bound.contains(id)).for_each(|id| self.unset_local(id));
    }

    /// Tells whenever something was settled.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.0.settled.subscribe()
    }

    /// Whether a Pod's set is known and in force.
    pub(crate) fn is_in_force(&self, id: LocalId) -> bool {
        let state = self.state();
        state.replaced && state.in_force && state.sets.get(id).is_some_and(|set| set != SetId::CLOSED)
    }

    /// The set with which a Pod's port is bound before the tables were replaced: open only if nothing applies to it as far
    /// as is known.
    pub(crate) fn first_set(&self, id: LocalId) -> Option<SetId> {
        let mut state = self.state();
        if state.replaced {
            return None;
        }
        // What it says is not handed over: the tables get all of it at once, later.
        drop(state.judge.update());
        let State { judge, locals, objects, known, .. } = &*state;
        let open = known.has_policies()
            && locals.get(id).is_some_and(|local| set_of(judge, objects, id, local) == SetId::OPEN);
        Some(if open { SetId::OPEN } else { SetId::CLOSED })
    }

    /// Takes in what is new, if anything, and brings everything into force that is not yet. Returns what is wrong;
    /// `None`: that is what it was.
    ///
    /// # Errors
    /// The kernel refused: what was in force stays, and the next call tries again.
    pub(crate) fn settle(
        &self,
        tables: &dyn PolicyTables,
        news: Vec<News>,
    ) -> anyhow::Result<Option<Vec<Problem>>> {
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, replace, again, since) = {
            let mut state = self.state();
            news.into_iter().for_each(|news| state.take(news));
            let mut changes = state.judge.update();
            if !state.known.is_all() {
                return Ok(state.told(None));
            }
            let replace = !std::mem::replace(&mut state.replaced, true);
            if replace {
                changes = state.judge.all();
            }
            let State { judge, locals, objects, sets, .. } = &mut *state;
            sets.update(judge, locals, objects, &mut changes, replace);
            // Until it is: whoever asks meanwhile has to wait.
            let again = !std::mem::replace(&mut state.in_force, false);
            (changes, replace, again, state.since.take())
        };
        if !replace && !again && changes == policy::Changes::default() {
            let mut state = self.state();
            state.in_force = true;
            return Ok(state.told(None));
        }
        if !changes.removed_rules.is_empty() {
            self.count(tables);
        }
        debug!(
            lists = changes.lists.len(),
            entries = changes.entries.len(),
            addresses = changes.classes.len(),
            blocks = changes.blocks.len(),
            pods = changes.pods.len(),
            replace,
            "policy changes"
        );
        self.totals().learn(&changes);
        self.names().learn(&changes);
        let applied = tables.apply(changes, replace);
        let full = match applied {
            Ok(()) => None,
            Err(error) => match error.downcast_ref::<datapath::Error>() {
                // How much is missing changes with every Pod: it would be another problem each time.
                Some(datapath::Error::PolicyFull { table, limit, setting, .. }) => {
                    Some(format!("table {table} has {limit} entries ({setting})"))
                }
                refused => {
                    let mut state = self.state();
                    state.since = since;
                    // What cannot be right is not kept: everything is handed over anew.
                    state.replaced &= !matches!(refused, Some(datapath::Error::Policy(_)));
                    return Err(error);
                }
            },
        };
        if replace {
            info!("all policies are known: what an agent before this one brought into force is replaced");
        }
        let problems = {
            let mut state = self.state();
            state.in_force = full.is_none();
            state.told(full.as_deref())
        };
        if let Some(since) = since.filter(|_| self.state().in_force) {
            self.0.durations.observe(since.elapsed().as_secs_f64());
        }
        self.0.settled.send_modify(|count| *count += 1);
        Ok(problems)
    }

    /// Adds up what rules decided, before some of them go.
    fn count(&self, tables: &dyn PolicyTables) {
        match tables.counts() {
            Ok(counts) => self.totals().add(&counts),
            Err(error) => warn!(error = format!("{error:#}"), "cannot read how often policies decided"),
        }
    }

    /// What rules decided on this node since this agent was started, by direction, tier and verdict.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn verdicts(&self, tables: &dyn PolicyTables) -> anyhow::Result<Verdicts> {
        let counts = tables.counts()?;
        let mut totals = self.totals();
        totals.add(&counts);
        Ok(totals.verdicts().clone())
    }

    /// How often each rule that is in force decided.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn counts(&self, tables: &dyn PolicyTables) -> anyhow::Result<Vec<(Arc<RuleName>, Counts)>> {
        let counts: HashMap<u32, Counts> = tables.counts()?;
        let state = self.state();
        let named =
            counts.into_iter().filter_map(|(rule, counts)| Some((state.judge.rule(RuleId(rule))?, counts)));
        Ok(named.collect())
    }

    /// What a rule's number stands for.
    pub(crate) fn rule(&self, id: RuleId) -> Option<Arc<RuleName>> {
        self.state().judge.rule(id)
    }

    /// What numbers of rules stand for, or stood, as far as there is space to remember it; nothing from before this agent was
    /// started.
    pub(crate) fn rules_of(&self, ids: impl IntoIterator<Item = RuleId>) -> Vec<Option<Arc<RuleName>>> {
        let names = self.names();
        ids.into_iter().map(|id| names.get(id)).collect()
    }

    /// The Pods that had addresses at times since boot, as far as there is space to remember it; nothing from before this
    /// agent knew all Pods.
    pub(crate) fn pods_at(&self, ends: impl IntoIterator<Item = (IpAddr, Duration)>) -> Vec<Option<Key>> {
        let state = self.state();
        let pod = |(address, time)| state.owners.at(address, time, state.judge.pod_at(address)).cloned();
        ends.into_iter().map(pod).collect()
    }

    /// What applies to a Pod of this node; `None`: it has no such port.
    pub(crate) fn of(&self, id: LocalId) -> Option<OfPod> {
        let state = self.state();
        let State { judge, locals, objects, known, .. } = &*state;
        let set = set_of(judge, objects, id, locals.get(id)?);
        let unknown = || {
            "its object or its namespace is not known yet, or is that of another Pod of its name".to_owned()
        };
        let why = || match known.missing() {
            None if judge.is_withheld(id) => "what applies to it is too much: see the problems".to_owned(),
            missing => missing.unwrap_or_else(unknown),
        };
        let closed = (set == SetId::CLOSED).then(why);
        Some(OfPod { set, closed, policies: judge.policies_of(id).unwrap_or_default() })
    }

    /// A Pod of any node that has addresses of its own.
    pub(crate) fn pod(&self, key: &Key) -> Option<Arc<Pod>> {
        self.state().objects.pods.get(key).cloned()
    }

    /// The namespace and name of every Pod.
    pub(crate) fn pod_names(&self) -> Vec<String> {
        self.state().objects.pods.keys().map(ToString::to_string).collect()
    }

    /// Whether nothing can be denied to a Pod of this node until [`Self::watch`] tells of another change.
    pub(crate) fn denies_nothing(&self) -> bool {
        let state = self.state();
        state.replaced && state.in_force && state.sets.are_open()
    }

    /// Whether anything that policies would deny may pass, and is only told.
    pub(crate) fn has_audits(&self) -> bool {
        self.state().objects.have_audits()
    }

    /// Whether there are policies in the cluster.
    pub(crate) fn are_there(&self) -> bool {
        let state = self.state();
        !state.objects.policies.is_empty() || !state.objects.cluster_policies.is_empty()
    }

    /// The blocks of policies that are in one of these ranges as a whole, each with whose it is.
    pub(crate) fn blocks_in(&self, ranges: &[IpNet]) -> Vec<(IpNet, String)> {
        let state = self.state();
        state.objects.blocks().filter(|(block, _)| ranges.iter().any(|range| range.contains(block))).collect()
    }

    /// How much there is.
    pub(crate) fn summary(&self) -> Summary {
        let state = self.state();
        let State { judge, locals, objects, .. } = &*state;
        let (mut policed, mut closed) = (0, 0);
        for (id, local) in locals.iter() {
            match set_of(judge, objects, id, local) {
                SetId::OPEN => {}
                SetId::CLOSED => closed += 1,
                _ => policed += 1,
            }
        }
        let usage = state.judge.usage();
        Summary { complete: state.replaced, in_force: state.in_force, usage, policed, closed }
    }

    /// From when a change was known here until it was in force.
    pub(crate) fn durations(&self) -> Histogram {
        self.0.durations.clone()
    }
}

impl State {
    /// Something is new.
    fn touch(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    fn take(&mut self, news: News) {
        let touched = if self.owners.is_begun() { news.addresses(&self.objects) } else { Vec::new() };
        self.owning(touched, |Self { judge, known, locals, objects, .. }| {
            news.take(judge, known, locals, objects);
        });
        if self.known.pods == Some(true) {
            self.owners.begin(datapath::uptime());
        }
        self.touch();
    }

    /// Changes something, and notes which of these addresses is somebody else's then.
    fn owning<T>(&mut self, touched: Vec<IpAddr>, change: impl FnOnce(&mut Self) -> T) -> T {
        if !self.owners.is_begun() {
            return change(self);
        }
        let before: Vec<Option<Key>> =
            touched.iter().map(|address| self.judge.pod_at(*address).cloned()).collect();
        let changed = change(self);
        let now = datapath::uptime();
        for (address, before) in touched.into_iter().zip(before) {
            if self.judge.pod_at(address) != before.as_ref() {
                self.owners.changed(address, before, now);
            }
        }
        changed
    }

    /// What is wrong, if it is something else than before.
    fn told(&mut self, full: Option<&str>) -> Option<Vec<Problem>> {
        let own =
            |policy::Problem { what, object, problem, remedy }| Problem::new(what, object, problem, remedy);
        let mut problems: Vec<Problem> = self.judge.problems().into_iter().map(own).collect();
        problems.extend(full.map(|error| self.full(error)));
        if problems == self.problems {
            return None;
        }
        self.problems.clone_from(&problems);
        Some(problems)
    }

    /// What does not fit, and whose it is.
    fn full(&self, error: &str) -> Problem {
        let mut named: Vec<String> = Vec::new();
        for set in self.judge.biggest_sets(NAMED) {
            for policy in set.policies.iter().map(ToString::to_string) {
                if named.len() < NAMED && !named.contains(&policy) {
                    named.push(policy);
                }
            }
        }
        let biggest =
            if named.is_empty() { String::new() } else { format!("; most of it is of {}", named.join(", ")) };
        let problem =
            format!("policy does not fit; what was in force stays, new Pods are closed: {error}{biggest}");
        Problem::new(
            "policy_full",
            "policies",
            problem,
            "raise the setting that is named, or have fewer or simpler policies",
        )
    }
}

#[cfg(test)]
mod tests;
