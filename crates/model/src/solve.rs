//! Keeps the tables as the claims of nodes want them.
//!
//! What a node gets depends on its own object, on this node's, on the InternalIPs in its podCIDRs, and on what nodes that
//! come before it have. So each change names the nodes that have to be validated again, and they are in order: what one
//! gets or loses concerns later ones alone, and none is validated twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::claims::{Claimant, Claims, Rank};
use crate::facts::Facts;
use crate::validate::{Context, NODE_ADDRESSES, Outcome, validate};
use crate::{Desired, Local, Ranges, RouteTarget};

/// What there is to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) ranges: &'a Ranges,
    pub(crate) own_name: &'a str,
    pub(crate) own: &'a Facts,
    /// All nodes.
    pub(crate) nodes: &'a BTreeMap<Arc<str>, Facts>,
}

/// What a node gets that it did not get before, or the reverse.
#[derive(Debug, Default)]
struct Changed {
    addresses: Vec<IpAddr>,
    pod_cidrs: Vec<IpNet>,
}

/// The tables, and whose claims made them.
#[derive(Debug)]
pub(crate) struct Solver {
    pub(crate) desired: Desired,
    claims: Claims,
    /// The nodes that have to be validated again.
    due: BTreeSet<Rank>,
}

impl Solver {
    /// Computes all of it. The tables go on from those of before.
    pub(crate) fn restart(before: Option<Self>, local: Local, known: Known<'_>) -> Self {
        let mut desired = before.map_or_else(|| Desired::new(local.clone()), |before| before.desired);
        desired.clear();
        desired.local = local;
        let mut solver = Self { desired, claims: Claims::default(), due: BTreeSet::new() };
        for cidr in &known.ranges.cluster {
            solver.update_route(cidr.trunc(), known.ranges);
        }
        solver.claims.insert(&None, known.own);
        for cidr in &known.own.pod_cidrs {
            solver.claims.prefixes.set(*cidr, &None, true);
            solver.update_route(cidr.trunc(), known.ranges);
        }
        let addresses = known.own.addresses().filter(|address| !known.ranges.contain(*address));
        for address in addresses.take(NODE_ADDRESSES) {
            solver.claims.addresses.set(address, &None, false, true);
            solver.update_address(address);
        }
        for (name, facts) in known.nodes.iter().filter(|(name, _)| ***name != *known.own_name) {
            let claimant = Some(rank(name, facts));
            solver.claims.insert(&claimant, facts);
            solver.due.extend(claimant);
        }
        for rank in std::mem::take(&mut solver.due) {
            solver.validate(&rank, known); // whom that concerns comes after it
        }
        solver
    }

    /// Takes in that another node's facts changed.
    pub(crate) fn replace(
        &mut self,
        name: &Arc<str>,
        before: Option<&Facts>,
        now: Option<&Facts>,
        ranges: &Ranges,
    ) {
        if let Some(facts) = before {
            self.remove(&rank(name, facts), facts, ranges);
        }
        if let Some(facts) = now {
            self.insert(rank(name, facts), facts);
        }
    }

    fn insert(&mut self, rank: Rank, facts: &Facts) {
        let claimant = Some(rank);
        self.claims.insert(&claimant, facts);
        self.invalidate_around(facts);
        self.due.extend(claimant);
    }

    fn remove(&mut self, rank: &Rank, facts: &Facts, ranges: &Ranges) {
        let changed = self.write(rank, facts, Outcome::default(), ranges);
        self.invalidate_after(rank, &changed);
        self.claims.remove(&Some(rank.clone()), facts);
        self.invalidate_around(facts);
        self.due.remove(rank);
    }

    /// An InternalIP that comes or goes concerns everybody who claims a podCIDR around it.
    fn invalidate_around(&mut self, facts: &Facts) {
        for address in &facts.internal_ips {
            let around = self.claims.prefixes.overlapping(IpNet::from(*address));
            self.due.extend(around.flatten().cloned());
        }
    }

    /// What a node gets or loses concerns those after it that claim it, too.
    fn invalidate_after(&mut self, rank: &Rank, changed: &Changed) {
        for address in &changed.addresses {
            self.due.extend(self.claims.addresses.after(*address, rank).cloned());
        }
        for cidr in &changed.pod_cidrs {
            let others = self.claims.prefixes.overlapping(*cidr).flatten();
            self.due.extend(others.filter(|other| *other > rank).cloned());
        }
    }

    /// Validates all nodes that have to be; returns how many those were.
    pub(crate) fn solve(&mut self, known: Known<'_>) -> usize {
        let mut count = 0;
        while let Some(rank) = self.due.pop_first() {
            let changed = self.validate(&rank, known);
            self.invalidate_after(&rank, &changed);
            count += 1;
        }
        count
    }

    fn validate(&mut self, rank: &Rank, known: Known<'_>) -> Changed {
        let Some(facts) = known.nodes.get(&rank.name) else { return Changed::default() };
        let Known { ranges, own_name, own, .. } = known;
        let outcome = validate(Context { ranges, own_name, own, claims: &self.claims }, rank, facts);
        self.write(rank, facts, outcome, ranges)
    }

    /// Writes what a node gets into the claims and the tables.
    fn write(&mut self, rank: &Rank, facts: &Facts, outcome: Outcome, ranges: &Ranges) -> Changed {
        let Outcome { peer, addresses, problems } = outcome;
        let claimant = Some(rank.clone());
        let mut changed = Changed::default();
        for address in facts.addresses() {
            let is_end = peer.as_ref().is_some_and(|peer| peer.tunnel_address == address);
            let is_accepted = addresses.contains(&address);
            if self.claims.addresses.set(address, &claimant, is_end, is_accepted) {
                changed.addresses.push(address);
            }
        }
        for cidr in &facts.pod_cidrs {
            let granted = peer.as_ref().is_some_and(|peer| peer.pod_cidrs.contains(cidr));
            if self.claims.prefixes.set(*cidr, &claimant, granted) {
                changed.pod_cidrs.push(*cidr);
            }
        }
        self.desired.problems.set(&rank.name, Some(problems).filter(|problems| !problems.is_empty()));
        self.desired.peers.set(&rank.name, peer);
        // Whose tunnels end elsewhere has the same claims, and other entries.
        facts.addresses().for_each(|address| self.update_address(address));
        facts.pod_cidrs.iter().for_each(|cidr| self.update_route(cidr.trunc(), ranges));
        changed
    }

    /// Makes the entries of a node's address what the first has who has it.
    fn update_address(&mut self, address: IpAddr) {
        let Self { desired, claims, .. } = self;
        let mut all = claims.addresses.claims(address);
        let entry = all.find(|(_, used)| used.accepted).and_then(|(owner, _)| match owner {
            None => Some(None),
            Some(rank) => desired.peers.get(&rank.name).map(|peer| Some(peer.tunnel_address)),
        });
        desired.nodes.set(&address, entry);
        let mut all = claims.addresses.claims(address);
        let owner = all.find(|(_, used)| used.tunnel).and_then(|(owner, _)| owner.as_ref());
        let own_end = owner.and_then(|rank| desired.peers.get(&rank.name)).map(|peer| peer.own_address);
        desired.tunnels.set(&address, own_end);
    }

    /// Makes a route lead to the first that has its range; without any, a range of the cluster leads nowhere.
    fn update_route(&mut self, cidr: IpNet, ranges: &Ranges) {
        let Self { desired, claims, .. } = self;
        let target = |owner: &Claimant| match owner {
            None => Some(RouteTarget::Local),
            Some(rank) => desired.peers.get(&rank.name).map(|peer| RouteTarget::Tunnel(peer.tunnel_address)),
        };
        let owner = claims.prefixes.claims(cidr).find(|(_, claim)| claim.granted).map(|(owner, _)| owner);
        let unserved = || {
            let is_cluster = ranges.cluster.iter().any(|cluster| cluster.trunc() == cidr);
            is_cluster.then_some(RouteTarget::Unreachable)
        };
        let target = owner.and_then(target).or_else(unserved);
        desired.routes.set(&cidr, target);
    }
}

fn rank(name: &Arc<str>, facts: &Facts) -> Rank {
    Rank { created: facts.created, name: name.clone() }
}
