//! Nodes, and the selectors of nodes that terms in use have.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use objects::{Key, LabelSelector, Node};

use crate::hash::{Counter, Map, Set};
use crate::profiles::{Profile, ProfileId, Profiles};
use crate::term::TermId;

/// The number of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(usize);

#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) node: Arc<Node>,
    pub(crate) profile: ProfileId,
}

/// All nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nodes {
    numbers: HashMap<Key, NodeId>,
    all: Map<NodeId, Known>,
    counter: Counter,
    dirty: Set<NodeId>,
    selectors: BTreeMap<LabelSelector, BTreeSet<TermId>>,
    all_dirty: bool,
}

/// The addresses that are a node's own: those of its status, and podCIDR + 2 of each family, which what it sends through
/// the tunnel comes from.
pub(crate) fn addresses(node: &Node) -> Vec<IpAddr> {
    let mut all = node.internal_ips.clone();
    all.extend(&node.other_ips);
    all.extend(node.pod_cidrs.iter().filter_map(|cidr| naming::subnet::node(*cidr).ok()));
    all.sort_unstable();
    all.dedup();
    all
}

impl Nodes {
    /// A node is new or different. Gives its number, and what it was.
    pub(crate) fn upsert(&mut self, key: Key, node: Arc<Node>) -> (NodeId, Option<Arc<Node>>) {
        let id = *self.numbers.entry(key).or_insert_with(|| NodeId(self.counter.next()));
        self.dirty.insert(id);
        match self.all.get_mut(&id) {
            Some(known) => (id, Some(std::mem::replace(&mut known.node, node))),
            None => {
                self.all.insert(id, Known { node, profile: ProfileId::EMPTY });
                (id, None)
            }
        }
    }

    /// A node is gone.
    pub(crate) fn delete(&mut self, key: &Key, profiles: &mut Profiles) -> Option<(NodeId, Arc<Node>)> {
        let id = self.numbers.remove(key)?;
        let known = self.all.remove(&id)?;
        profiles.release(known.profile);
        Some((id, known.node))
    }

    /// A term asks for these nodes.
    pub(crate) fn add(&mut self, selector: &LabelSelector, term: TermId) {
        self.selectors.entry(selector.clone()).or_default().insert(term);
        self.all_dirty = true;
    }

    /// A term does not ask for them any more.
    pub(crate) fn remove(&mut self, selector: &LabelSelector, term: TermId) {
        let Some(terms) = self.selectors.get_mut(selector) else { return };
        terms.remove(&term);
        if terms.is_empty() {
            self.selectors.remove(selector);
        }
        self.all_dirty = true;
    }

    /// Computes what matches the nodes that changed. Gives those whose profile changed.
    pub(crate) fn settle(&mut self, profiles: &mut Profiles) -> Vec<NodeId> {
        let mut dirty = std::mem::take(&mut self.dirty);
        if std::mem::take(&mut self.all_dirty) {
            dirty.extend(self.all.keys());
        }
        let mut changed = Vec::new();
        for id in dirty {
            let Some(known) = self.all.get_mut(&id) else { continue };
            let labels = &known.node.labels;
            let selecting = self.selectors.iter().filter(|(selector, _)| selector.selects(labels));
            let terms: BTreeSet<TermId> = selecting.flat_map(|(_, terms)| terms.iter().copied()).collect();
            let profile = Profile { terms: terms.into_iter().collect(), ports: Box::default() };
            let profile = profiles.acquire(profile);
            profiles.release(known.profile);
            if profile != known.profile {
                known.profile = profile;
                changed.push(id);
            }
        }
        changed
    }

    /// Whether an address is in a podCIDR of the node of this name.
    pub(crate) fn has(&self, name: &str, address: IpAddr) -> bool {
        let known = self.numbers.get(&Key::new(name)).and_then(|id| self.all.get(id));
        known.is_some_and(|known| known.node.pod_cidrs.iter().any(|cidr| cidr.contains(&address)))
    }

    /// A node.
    pub(crate) fn get(&self, id: NodeId) -> Option<&Known> {
        self.all.get(&id)
    }
}
