//! The datapath's routes and its addresses of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use datapath::{Datapath, Route};
use ipnet::IpNet;
use model::{Diff, Problem, RouteTarget};
use tracing::info;

use super::tables::{SLICE, Tables};
use crate::drift::Drift;

/// What should be in the tables.
#[derive(Debug, Default)]
pub(super) struct Routes {
    routes: Entries<IpNet, Route>,
    nodes: Entries<IpAddr, Option<IpAddr>>,
    /// Whether what nobody wants was removed once.
    pruned: bool,
}

/// What should be in one table, and which of it may not be there.
#[derive(Debug)]
struct Entries<K, V> {
    wanted: BTreeMap<K, V>,
    /// Has to be written or removed.
    due: BTreeSet<K>,
}

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self { wanted: BTreeMap::new(), due: BTreeSet::new() }
    }
}

impl<K: Ord + Copy, V: Copy + PartialEq> Entries<K, V> {
    fn change<W>(&mut self, Diff { upserts, removals }: Diff<K, W>, convert: impl Fn(W) -> V) {
        for (key, value) in upserts {
            self.wanted.insert(key, convert(value));
            self.due.insert(key);
        }
        for key in removals {
            self.wanted.remove(&key);
            self.due.insert(key);
        }
    }

    /// Whatever differs is due; what nobody wants only with `prune`.
    fn compare(&mut self, current: &BTreeMap<K, V>, prune: bool) {
        let wrong = self.wanted.iter().filter(|(key, value)| current.get(key) != Some(value));
        self.due.extend(wrong.map(|(key, _)| *key));
        let stale = current.keys().filter(|key| prune && !self.wanted.contains_key(key));
        self.due.extend(stale);
    }

    /// Writes what is due and wanted. What cannot be written stays due and is returned; it costs the others nothing.
    fn write<E>(
        &mut self,
        tables: &Tables,
        set: impl Fn(&mut Datapath, K, V) -> Result<(), E>,
    ) -> Vec<(K, E)> {
        let due: Vec<(K, V)> =
            self.due.iter().filter_map(|key| Some((*key, *self.wanted.get(key)?))).collect();
        let mut failed = Vec::new();
        for slice in due.chunks(SLICE) {
            let mut held = tables.lock();
            for (key, value) in slice {
                match set(&mut held.datapath, *key, *value) {
                    Ok(()) => {
                        self.due.remove(key);
                    }
                    Err(error) => failed.push((*key, error)),
                }
            }
        }
        failed
    }

    /// Removes what is due and not wanted. What cannot be removed stays due and is returned, as by [`write`](Self::write).
    fn remove<E>(
        &mut self,
        tables: &Tables,
        remove: impl Fn(&mut Datapath, K) -> Result<(), E>,
    ) -> Vec<(K, E)> {
        let due: Vec<K> = self.due.iter().filter(|key| !self.wanted.contains_key(key)).copied().collect();
        let mut failed = Vec::new();
        for slice in due.chunks(SLICE) {
            let mut held = tables.lock();
            for key in slice {
                match remove(&mut held.datapath, *key) {
                    Ok(()) => {
                        self.due.remove(key);
                    }
                    Err(error) => failed.push((*key, error)),
                }
            }
        }
        failed
    }

    /// What should be there for certain.
    fn certain(&self) -> Vec<(K, V)> {
        self.wanted
            .iter()
            .filter(|(key, _)| !self.due.contains(key))
            .map(|(key, value)| (*key, *value))
            .collect()
    }
}

impl Routes {
    /// Takes in what changed. It is in the tables after the next [`apply`](Self::apply).
    pub(super) fn change(&mut self, routes: Diff<IpNet, RouteTarget>, nodes: Diff<IpAddr, Option<IpAddr>>) {
        self.routes.change(routes, |target| match target {
            RouteTarget::Tunnel(end) => Route::Tunnel(end),
            RouteTarget::Local => Route::Local,
            RouteTarget::Unreachable => Route::Unreachable,
            RouteTarget::Services => Route::Services,
        });
        self.nodes.change(nodes, |end| end);
    }

    /// Makes the tables agree: in what changed, or, with `all`, in everything. With `prune`, what nobody wants is removed
    /// once, whoever put it there. Returns what could not be set or removed; it costs the others nothing.
    pub(super) fn apply(&mut self, all: bool, prune: bool, tables: &Tables) -> Result<Vec<Problem>> {
        if all || prune && !self.pruned {
            let current = tables.lock().datapath.routes().context("cannot read the datapath's routes")?;
            self.routes.compare(&current, prune);
            let current = tables.lock().datapath.nodes();
            self.nodes.compare(&current.context("cannot read the datapath's addresses of nodes")?, prune);
            self.pruned |= prune;
        }
        let mut problems = Vec::new();
        let mut report = |what, object: String, effect: &str, error: datapath::Error| {
            let problem = format!("{effect}: {error}");
            problems.push(Problem::new(what, object, problem, "correct what is named"));
        };
        // Old addresses first: a full table then takes those that are wanted.
        for (address, error) in self.nodes.remove(tables, |datapath, address| datapath.remove_node(address)) {
            report("tunnel_address", address.to_string(), "it still counts as a node's", error);
        }
        for (address, error) in
            self.nodes.write(tables, |datapath, address, end| datapath.set_node(address, end))
        {
            let effect = "packets from it are not accepted through tunnels";
            report("tunnel_address", address.to_string(), effect, error);
        }
        // New routes first: a podCIDR that moves to another node is never without one.
        let set = |datapath: &mut Datapath, cidr, route| {
            datapath.set_route(cidr, route).inspect(|()| info!(%cidr, ?route, "route set"))
        };
        for (cidr, error) in self.routes.write(tables, set) {
            report("route", cidr.to_string(), "packets to it do not reach its node", error);
        }
        let remove = |datapath: &mut Datapath, cidr| {
            datapath.remove_route(cidr).inspect(|()| info!(%cidr, "route removed"))
        };
        for (cidr, error) in self.routes.remove(tables, remove) {
            report("route", cidr.to_string(), "packets to it still go to a node that has it no more", error);
        }
        Ok(problems)
    }

    /// What the datapath has otherwise than it should.
    pub(super) fn drift(&self, tables: &Tables, found: &mut Vec<Drift>) -> Result<()> {
        for slice in self.routes.certain().chunks(SLICE) {
            let held = tables.lock();
            for (cidr, route) in slice {
                if !held.datapath.has_route(*cidr, *route)? {
                    found.push(Drift::new("datapath_route", format!("{cidr} is missing or wrong")));
                }
            }
        }
        for slice in self.nodes.certain().chunks(SLICE) {
            let held = tables.lock();
            for (address, end) in slice {
                if !held.datapath.has_node(*address, *end)? {
                    let detail = format!("the address {address} of a node is missing or wrong");
                    found.push(Drift::new("datapath_node", detail));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(upserts: &[(u8, char)], removals: &[u8]) -> Diff<u8, char> {
        Diff { upserts: upserts.to_vec(), removals: removals.to_vec() }
    }

    #[test]
    fn what_changed_is_due_and_with_all_what_differs() {
        let mut entries = Entries::default();
        entries.change(diff(&[(1, 'a'), (2, 'b')], &[]), |value| value);
        assert_eq!(entries.due, [1, 2].into());
        assert!(entries.certain().is_empty());
        entries.due.clear();
        entries.change(diff(&[(2, 'c')], &[1]), |value| value);
        assert_eq!((&entries.due, entries.certain()), (&[1, 2].into(), vec![]));
        entries.due.clear();
        let current = BTreeMap::from([(2, 'b'), (3, 'd')]);
        entries.compare(&current, false);
        assert_eq!(entries.due, [2].into(), "what is unknown may be wanted later");
        entries.compare(&current, true);
        assert_eq!(entries.due, [2, 3].into());
    }
}
