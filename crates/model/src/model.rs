use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use objects::{EndpointSlice, Key, Node, Service, ServiceCidr};

use crate::facts::Facts;
use crate::local::local;
use crate::services::{Seen, ServiceOptions, ServiceView, Services};
use crate::solve::{Known, Solver};
use crate::{Changes, Desired, NotYet, Ranges};

/// Keeps what a node needs, while the cluster's objects change.
#[derive(Debug)]
pub struct Model {
    node_name: Arc<str>,
    ranges: Ranges,
    nodes: BTreeMap<Arc<str>, Facts>,
    /// What came since the last update; `None` is gone.
    pending: BTreeMap<Arc<str>, Option<Facts>>,
    /// `None` until this node's own object is complete for the first time.
    solver: Option<Solver>,
    /// Whether this node's own object changed since all was computed.
    is_stale: bool,
    /// `None`: another proxy serves Services.
    services: Option<Services>,
}

impl Model {
    /// A model without objects, of the node with this name. Nothing is computed for Services.
    pub fn new(node_name: &str, ranges: Ranges) -> Self {
        let (nodes, pending) = (BTreeMap::new(), BTreeMap::new());
        let node_name = node_name.into();
        Self { node_name, ranges, nodes, pending, solver: None, is_stale: false, services: None }
    }

    /// The same, with the tables of Services.
    #[must_use]
    pub fn with_services(self, options: ServiceOptions) -> Self {
        Self { services: Some(Services::new(options)), ..self }
    }

    /// Takes in a Node that is new or changed. It shows in the tables after the next [`Self::update`].
    pub fn upsert(&mut self, node: &Node) {
        let name: Arc<str> = match self.nodes.get_key_value(&*node.name) {
            Some((name, _)) => name.clone(),
            None => Arc::from(&*node.name),
        };
        self.set(name, Some(Facts::from(node)));
    }

    /// Takes in that a Node is gone.
    pub fn delete(&mut self, name: &str) {
        self.set(name.into(), None);
    }

    /// Takes in all Nodes: what is not among them is gone.
    pub fn replace<'a>(&mut self, nodes: impl IntoIterator<Item = &'a Node>) {
        let mut gone: BTreeSet<Arc<str>> = self.nodes.keys().chain(self.pending.keys()).cloned().collect();
        for node in nodes {
            gone.remove(&*node.name);
            self.upsert(node);
        }
        for name in gone {
            self.set(name, None);
        }
    }

    /// Takes in a Service that is new or changed.
    pub fn upsert_service(&mut self, service: &Arc<Service>) {
        self.with(|services| services.set_service(&service.id, Some(service)));
    }

    /// Takes in that a Service is gone; `id` is its namespace and name.
    pub fn delete_service(&mut self, id: &Arc<str>) {
        self.with(|services| services.set_service(id, None));
    }

    /// Takes in an EndpointSlice that is new or changed.
    pub fn upsert_slice(&mut self, slice: &Arc<EndpointSlice>) {
        self.with(|services| services.set_slice(&slice.key, Some(slice)));
    }

    /// Takes in that an EndpointSlice is gone.
    pub fn delete_slice(&mut self, key: &Key) {
        self.with(|services| services.set_slice(key, None));
    }

    /// Takes in a ServiceCIDR that is new or changed.
    pub fn upsert_service_cidr(&mut self, cidr: &Arc<ServiceCidr>) {
        self.with(|services| services.set_cidr(&cidr.key, Some(Arc::clone(cidr))));
    }

    /// Takes in that a ServiceCIDR is gone.
    pub fn delete_service_cidr(&mut self, key: &Key) {
        self.with(|services| services.set_cidr(key, None));
    }

    /// Says whether all Services and all EndpointSlices have been taken in once. Until they have been, the tables of
    /// Services stay empty: a Service would lose endpoints that are only not known yet, and another one that is only not
    /// known yet may have what it claims. It stays so.
    pub fn services_complete(&mut self, is_complete: bool) {
        self.with(|services| services.set_complete(is_complete));
    }

    /// The tables as of the last [`Self::update`]; `None` before one succeeded.
    pub fn desired(&self) -> Option<&Desired> {
        self.solver.as_ref().map(|solver| &solver.desired)
    }

    /// All Services, by namespace and name: those that are not served, too.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter().flat_map(Services::all)
    }

    /// A Service with its endpoints, and which of them are used on this node and why, as of the objects that were taken in;
    /// `id` is its namespace and name. `None`: there is none, or this node's own object is missing.
    pub fn service_view(&self, id: &str) -> Option<ServiceView> {
        let own = self.nodes.get(&self.node_name)?;
        let seen = Seen { ranges: &self.ranges, own_name: &self.node_name, own };
        self.services.as_ref()?.view(id, &self.nodes, self.desired(), seen)
    }

    /// Computes what is due of Services, and returns how many that were.
    #[cfg(test)]
    pub(crate) fn solve_services(&mut self) -> Option<usize> {
        self.apply_pending();
        let (own_name, ranges, nodes) = (&*self.node_name, &self.ranges, &self.nodes);
        let (own, solver) = (nodes.get(own_name)?, self.solver.as_mut()?);
        solver.solve(Known { ranges, own_name, own, nodes });
        Some(self.services.as_mut()?.solve(&mut solver.desired, Seen { ranges, own_name, own }))
    }

    fn with(&mut self, change: impl FnOnce(&mut Services)) {
        if let Some(services) = &mut self.services {
            change(services);
        }
    }

    fn set(&mut self, name: Arc<str>, facts: Option<Facts>) {
        let known = match self.pending.get(&name) {
            Some(pending) => pending.as_ref(),
            None => self.nodes.get(&name),
        };
        if known != facts.as_ref() {
            self.pending.insert(name, facts);
        }
    }

    /// Brings the tables up to date with the objects. Returns them, and how they differ from those of the last time that
    /// it succeeded.
    ///
    /// # Errors
    /// [`NotYet`] while this node's own object lacks something. The tables then stay as they were.
    pub fn update(&mut self) -> Result<(&Desired, Changes), NotYet> {
        self.apply_pending();
        let (own_name, ranges, nodes) = (&*self.node_name, &self.ranges, &self.nodes);
        let own = nodes.get(own_name).ok_or_else(|| NotYet::NoNode(own_name.to_owned()))?;
        let local = local(own_name, own, ranges)?;
        let known = Known { ranges, own_name, own, nodes };
        let changed = self.solver.as_ref().is_none_or(|solver| solver.desired.local != local);
        let changed = changed.then(|| local.clone());
        let mut solver = match self.solver.take() {
            Some(solver) if !self.is_stale => solver,
            before => {
                self.services.iter_mut().for_each(Services::invalidate);
                Solver::restart(before, local, known)
            }
        };
        solver.solve(known);
        self.is_stale = false;
        match &mut self.services {
            Some(services) => {
                services.solve(&mut solver.desired, Seen { ranges, own_name, own });
            }
            None => solver.desired.services_complete = true,
        }
        let Solver { desired, .. } = self.solver.insert(solver);
        let changes = desired.take_changes(changed);
        Ok((desired, changes))
    }

    fn apply_pending(&mut self) {
        self.is_stale |= self.pending.contains_key(&self.node_name);
        for (name, now) in std::mem::take(&mut self.pending) {
            let before = match &now {
                Some(facts) => self.nodes.insert(name.clone(), facts.clone()),
                None => self.nodes.remove(&name),
            };
            if let Some(solver) = self.solver.as_mut().filter(|_| !self.is_stale) {
                solver.replace(&name, before.as_ref(), now.as_ref(), &self.ranges);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap as Map;

    use super::*;

    const NODES: usize = 5000;

    fn node(number: usize) -> Node {
        let (high, low) = (number / 250, number % 250);
        Node {
            name: format!("n{number}").as_str().into(),
            uid: None,
            created: Some(number as i64),
            pod_cidrs: [format!("10.{}.{low}.0/24", 100 + high), format!("fd44:0:0:{number:x}::/64")]
                .map(|cidr| cidr.parse().unwrap())
                .into(),
            internal_ips: [format!("172.30.{high}.{low}"), format!("fd30::{number:x}")]
                .map(|address| address.parse().unwrap())
                .into(),
            zone: None,
            annotations: Map::new(),
            leaving: false,
            other_ips: Vec::new(),
            labels: objects::Labels::default(),
        }
    }

    fn large() -> Model {
        let cluster = ["10.0.0.0/8", "fd44::/48"].map(|cidr| cidr.parse().unwrap()).into();
        let mut model = Model::new("n0", Ranges { cluster, service: Vec::new() });
        model.replace(&(0..NODES).map(node).collect::<Vec<_>>());
        let (_, changes) = model.update().unwrap();
        assert_eq!(changes.peers.upserts.len(), NODES - 1);
        assert_eq!(changes.routes.upserts.len(), 2 * NODES + 2);
        assert!(changes.problems.is_empty());
        model
    }

    /// How many nodes are validated for what came, and what changes.
    fn touched(model: &mut Model) -> (usize, Changes) {
        model.apply_pending();
        let (own_name, nodes) = (&*model.node_name, &model.nodes);
        let known = Known { ranges: &model.ranges, own_name, own: &nodes[own_name], nodes };
        let validated = model.solver.as_mut().unwrap().solve(known);
        (validated, model.update().unwrap().1)
    }

    #[test]
    fn one_change_among_5000_nodes_touches_what_it_concerns() {
        let mut model = large();
        model.upsert(&node(77));
        assert_eq!(touched(&mut model).0, 0, "the same again is no change");

        let moved = Node { internal_ips: node(NODES).internal_ips, ..node(77) };
        model.upsert(&moved);
        let (validated, changes) = touched(&mut model);
        assert_eq!(validated, 1);
        assert_eq!((changes.routes.upserts.len(), changes.routes.removals.len()), (2, 0));
        assert_eq!((changes.nodes.upserts.len(), changes.nodes.removals.len()), (2, 2));
        assert_eq!((changes.peers.upserts.len(), changes.tunnels.removals.len()), (1, 1));
        assert!(changes.local.is_none() && changes.problems.is_empty());

        // A younger one claims what another has, and gets it when that is gone.
        let younger = Node { pod_cidrs: node(77).pod_cidrs, ..node(NODES) };
        model.upsert(&Node { internal_ips: node(NODES + 1).internal_ips, ..younger });
        let (validated, changes) = touched(&mut model);
        assert_eq!((validated, changes.problems.upserts.len(), changes.routes.upserts.len()), (1, 1, 0));
        model.delete("n77");
        let (validated, changes) = touched(&mut model);
        assert_eq!((validated, changes.problems.removals.len(), changes.routes.upserts.len()), (1, 1, 2));

        // The whole cluster's range, claimed by one that comes after all others, is in nobody's way.
        model.upsert(&Node { pod_cidrs: ["10.0.0.0/8".parse().unwrap()].into(), ..node(NODES + 2) });
        assert_eq!(touched(&mut model).0, 1);
        model.upsert(&Node { internal_ips: node(NODES + 3).internal_ips, ..node(78) });
        assert_eq!(touched(&mut model).0, 2);
    }
}
