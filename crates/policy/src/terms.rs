//! The terms that policies in use have, and what looks for them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use objects::{NamedPort, Pod, Protocol};

use crate::hash::{Counter, Map, Set};
use crate::kind::{KindKey, Space};
use crate::names::Names;
use crate::node_peers::Nodes;
use crate::pod_peers::PodPeers;
use crate::profiles::Port;
use crate::regions::Regions;
use crate::side::SideId;
use crate::tables::ClassId;
use crate::term::{Peer, TermId, TermKey};

/// A term.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    key: Arc<TermKey>,
    /// The port's name by its number, if it asks for one.
    pub(crate) port: Option<(usize, Option<Protocol>)>,
    /// The rules that ask: the side of a policy, and the rule's place in it.
    pub(crate) users: BTreeSet<(SideId, usize)>,
    /// The classes of which it is part.
    pub(crate) classes: Set<ClassId>,
}

/// All terms in use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    numbers: HashMap<Arc<TermKey>, TermId>,
    all: Map<TermId, Term>,
    counter: Counter,
    /// Selectors of Pods.
    pub(crate) pods: PodPeers,
    /// Nodes, and selectors of them.
    pub(crate) nodes: Nodes,
    /// Blocks.
    pub(crate) regions: Regions,
    /// Names of ports.
    pub(crate) ports: Names,
}

impl Terms {
    /// A rule asks this.
    pub(crate) fn acquire(&mut self, key: TermKey, user: (SideId, usize)) -> TermId {
        let id = match self.numbers.get(&key) {
            Some(id) => *id,
            None => self.create(key),
        };
        if let Some(term) = self.all.get_mut(&id) {
            term.users.insert(user);
        }
        id
    }

    fn create(&mut self, key: TermKey) -> TermId {
        let id = TermId(self.counter.next());
        for peer in &key.peers {
            match peer {
                Peer::Pods(pods) => self.pods.add(pods, id),
                Peer::Block { block, except } => self.regions.count(id, *block, except, 1),
                Peer::Nodes(selector) => self.nodes.add(selector, id),
            }
        }
        let port = key.port.as_ref().map(|port| (self.ports.learn(&port.name), port.protocol));
        let key = Arc::new(key);
        self.numbers.insert(Arc::clone(&key), id);
        self.all.insert(id, Term { key, port, users: BTreeSet::new(), classes: Set::default() });
        id
    }

    /// A rule does not ask it any more.
    pub(crate) fn release(&mut self, id: TermId, user: (SideId, usize)) {
        let Some(term) = self.all.get_mut(&id) else { return };
        term.users.remove(&user);
        if !term.users.is_empty() {
            return;
        }
        let Some(term) = self.all.remove(&id) else { return };
        self.numbers.remove(&term.key);
        for peer in &term.key.peers {
            match peer {
                Peer::Pods(pods) => self.pods.remove(pods, id),
                Peer::Block { block, except } => self.regions.count(id, *block, except, -1),
                Peer::Nodes(selector) => self.nodes.remove(selector, id),
            }
        }
        if let Some(port) = &term.key.port {
            self.ports.forget(&port.name);
        }
    }

    /// What a Pod in this namespace is.
    pub(crate) fn kind_of(&self, pod: &Pod, space: &Arc<Space>) -> KindKey {
        let port = |port: &NamedPort| Some((self.ports.get(&port.name)?, port.protocol, port.port));
        let mut ports: Vec<Port> = pod.ports.iter().filter_map(port).collect();
        ports.sort_unstable();
        ports.dedup();
        KindKey {
            space: Arc::clone(space),
            labels: self.pods.pattern(pod.key.namespace().unwrap_or_default(), &pod.labels),
            ports: ports.into(),
        }
    }

    /// A term.
    pub(crate) fn get(&self, id: TermId) -> Option<&Term> {
        self.all.get(&id)
    }

    /// A term.
    pub(crate) fn get_mut(&mut self, id: TermId) -> Option<&mut Term> {
        self.all.get_mut(&id)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}
