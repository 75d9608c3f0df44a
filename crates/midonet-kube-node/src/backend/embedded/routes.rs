//! The datapath's routes and its addresses of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use datapath::Route;
use ipnet::IpNet;
use tracing::info;

use super::tables::{SLICE, Tables};
use crate::desired::Desired;
use crate::drift::Drift;
use crate::problems::Problem;

/// What should be in the tables, and what this agent put there.
#[derive(Debug, Default)]
pub(super) struct Routes {
    wanted: BTreeMap<IpNet, Route>,
    /// Where this agent set routes to: when they are wanted no more it removes them, whoever else has some.
    own: BTreeSet<IpNet>,
    /// The addresses of nodes that the datapath should know.
    wanted_nodes: BTreeMap<IpAddr, Option<IpAddr>>,
    /// Those that this agent made known.
    own_nodes: BTreeSet<IpAddr>,
}

impl Routes {
    /// Notes what this agent is about to set, whether or not that succeeds.
    pub(super) fn announce(&mut self, desired: &Desired) {
        self.own.extend(desired.routes.keys());
        self.own_nodes.extend(desired.nodes.keys());
    }

    /// Makes the tables agree; with `prune`, what this agent did not set is removed, too. Returns what could not be set.
    /// It costs the others nothing.
    pub(super) fn apply(&mut self, desired: &Desired, prune: bool, tables: &Tables) -> Result<Vec<Problem>> {
        let mut problems = self.apply_nodes(&desired.nodes, prune, tables)?;
        let desired = &desired.routes;
        let current = tables.lock().datapath.routes().context("cannot read the datapath's routes")?;
        self.wanted.clone_from(desired);
        // New ones first: a podCIDR that moves to another node is never without a route.
        let new: Vec<_> = desired.iter().filter(|(cidr, route)| current.get(*cidr) != Some(*route)).collect();
        for slice in new.chunks(SLICE) {
            let mut held = tables.lock();
            for (cidr, route) in slice {
                match held.datapath.set_route(**cidr, **route) {
                    Ok(()) => info!(%cidr, ?route, "route set"),
                    Err(error) => {
                        self.wanted.remove(cidr);
                        let problem = format!("packets to it do not reach its node: {error}");
                        problems.push(Problem::new(
                            "route",
                            cidr.to_string(),
                            problem,
                            "correct what is named",
                        ));
                    }
                }
            }
        }
        let stale = current.keys().filter(|cidr| !desired.contains_key(*cidr));
        for cidr in stale.filter(|cidr| prune || self.own.contains(*cidr)) {
            let removed = tables.lock().datapath.remove_route(*cidr);
            removed.with_context(|| format!("cannot remove the route to {cidr}"))?;
            info!(%cidr, "route removed");
        }
        self.own.retain(|cidr| desired.contains_key(cidr));
        Ok(problems)
    }

    fn apply_nodes(
        &mut self,
        desired: &BTreeMap<IpAddr, Option<IpAddr>>,
        prune: bool,
        tables: &Tables,
    ) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        let current = tables.lock().datapath.nodes();
        let current = current.context("cannot read the datapath's addresses of nodes")?;
        self.wanted_nodes.clone_from(desired);
        // Old ones first: a full table then takes those that are wanted.
        let stale = current.keys().filter(|address| !desired.contains_key(*address));
        for address in stale.filter(|address| prune || self.own_nodes.contains(*address)) {
            let removed = tables.lock().datapath.remove_node(*address);
            removed.with_context(|| format!("cannot remove the node's address {address}"))?;
        }
        let new: Vec<_> =
            desired.iter().filter(|(address, end)| current.get(*address) != Some(*end)).collect();
        for slice in new.chunks(SLICE) {
            let mut held = tables.lock();
            for (address, end) in slice {
                if let Err(error) = held.datapath.set_node(**address, **end) {
                    self.wanted_nodes.remove(address);
                    let problem = format!("packets from it are not accepted through tunnels: {error}");
                    problems.push(Problem::new(
                        "tunnel_address",
                        address.to_string(),
                        problem,
                        "correct what is named",
                    ));
                }
            }
        }
        self.own_nodes.retain(|address| desired.contains_key(address));
        Ok(problems)
    }

    /// What the datapath has otherwise than it should.
    pub(super) fn drift(&self, tables: &Tables, found: &mut Vec<Drift>) -> Result<()> {
        let wanted: Vec<_> = self.wanted.iter().collect();
        for slice in wanted.chunks(SLICE) {
            let held = tables.lock();
            for (cidr, route) in slice {
                if !held.datapath.has_route(**cidr, **route)? {
                    found.push(Drift::new("datapath_route", format!("{cidr} is missing or wrong")));
                }
            }
        }
        let wanted: Vec<_> = self.wanted_nodes.iter().collect();
        for slice in wanted.chunks(SLICE) {
            let held = tables.lock();
            for (address, end) in slice {
                if !held.datapath.has_node(**address, **end)? {
                    let detail = format!("the address {address} of a node is missing or wrong");
                    found.push(Drift::new("datapath_node", detail));
                }
            }
        }
        Ok(())
    }
}
