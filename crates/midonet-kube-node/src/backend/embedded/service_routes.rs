//! Kernel routes by which this node's own processes reach Services: to where Services have their addresses, and to each
//! address of a load balancer and each external one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::Result;
use datapath::OwnAddress;
use ipnet::IpNet;
use model::{Diff, Local, Problem};
use naming::interface;
use plumbing::KernelRoute;

use crate::drift::Drift;

/// What should be there.
#[derive(Debug, Default)]
pub(super) struct ServiceRoutes {
    cidrs: BTreeSet<IpNet>,
    addresses: BTreeSet<IpNet>,
    /// Has to be added or removed.
    due: BTreeSet<IpNet>,
    /// Whether what nobody wants was removed once.
    pruned: bool,
}

impl ServiceRoutes {
    /// Those to the ranges that the agent is set up with: the same before any object is known.
    pub(super) fn new(cidrs: &[IpNet]) -> Self {
        let cidrs: BTreeSet<IpNet> = cidrs.iter().map(IpNet::trunc).collect();
        Self { due: cidrs.clone(), cidrs, ..Self::default() }
    }

    /// Takes in what changed. It is in the kernel after the next [`apply`](Self::apply).
    pub(super) fn change(&mut self, cidrs: Diff<IpNet, ()>, addresses: Diff<IpAddr, ()>) {
        let nets = |addresses: Vec<IpAddr>| addresses.into_iter().map(IpNet::from).collect::<Vec<_>>();
        let added = |upserts: Vec<(IpAddr, ())>| upserts.into_iter().map(|(address, ())| address).collect();
        let changes = [
            (&mut self.cidrs, cidrs.upserts.into_iter().map(|(cidr, ())| cidr).collect(), cidrs.removals),
            (&mut self.addresses, nets(added(addresses.upserts)), nets(addresses.removals)),
        ];
        for (table, upserts, removals) in changes {
            self.due.extend(upserts.iter().chain(&removals));
            table.extend(upserts);
            for removal in removals {
                table.remove(&removal);
            }
        }
    }

    /// What there should be on this node: no route to an address that it holds itself, and none of a family that it has no
    /// gateway of.
    fn wanted(&self, net: IpNet, local: &Local, own: &BTreeMap<IpAddr, OwnAddress>) -> Option<KernelRoute> {
        let is_own = net.prefix_len() == net.max_prefix_len() && own.contains_key(&net.addr());
        if is_own || !(self.cidrs.contains(&net) || self.addresses.contains(&net)) {
            return None;
        }
        let gateway = local.gateways.iter().find(|gateway| gateway.is_ipv4() == net.addr().is_ipv4());
        gateway.map(|gateway| KernelRoute::through(net, *gateway))
    }

    /// Makes the kernel agree: in what changed, or, with `all`, in everything. With `prune`, what nobody wants is removed
    /// once. `keep` are the other routes out of that interface. Returns what could not be done; it costs the others nothing.
    ///
    /// # Errors
    /// The kernel does not tell its routes, or the node's interface is gone.
    pub(super) fn apply(
        &mut self,
        all: bool,
        prune: bool,
        local: &Local,
        own: &BTreeMap<IpAddr, OwnAddress>,
        keep: &[IpNet],
    ) -> Result<Vec<Problem>> {
        if all || prune && !self.pruned {
            self.due.extend(self.cidrs.iter().chain(&self.addresses));
            let there = plumbing::own_routes(interface::NODE)?;
            self.due.extend(there.into_keys().filter(|net| prune && !keep.contains(net)));
            self.pruned |= prune;
        }
        let (mut add, mut remove) = (Vec::new(), Vec::new());
        for net in &self.due {
            match self.wanted(*net, local, own) {
                Some(route) => add.push(route),
                None if !keep.contains(net) => remove.push(*net),
                None => {}
            }
        }
        // New ones first: a range that is part of another one is never without a route.
        let mut failed =
            if add.is_empty() { Vec::new() } else { plumbing::add_routes(interface::NODE, &add)? };
        if !remove.is_empty() {
            failed.extend(plumbing::remove_routes(interface::NODE, &remove)?);
        }
        self.due = failed.iter().map(|(net, _)| *net).collect();
        let problem = |(net, error): &(IpNet, plumbing::Error)| {
            let problem = format!("processes of this node do not reach Services there: {error}");
            let remedy = format!("see `ip route show to match {net}`, and remove what leads elsewhere");
            Problem::new("route", net.to_string(), problem, remedy)
        };
        Ok(failed.iter().map(problem).collect())
    }

    /// What the kernel lacks.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(super) fn drift(&self, local: &Local, own: &BTreeMap<IpAddr, OwnAddress>) -> Result<Vec<Drift>> {
        if self.cidrs.is_empty() && self.addresses.is_empty() {
            return Ok(Vec::new());
        }
        let there = plumbing::own_routes(interface::NODE)?;
        let all = self.cidrs.iter().chain(&self.addresses).filter(|net| !self.due.contains(net));
        let wanted = all.filter_map(|net| self.wanted(*net, local, own));
        let missing = wanted.filter(|route| there.get(&route.dst) != Some(&route.via));
        Ok(missing.map(|route| Drift::new("route", format!("the route to {route} is gone"))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Local {
        Local {
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
            gateways: vec!["10.244.1.1".parse().unwrap()],
            node_addresses: vec!["10.244.1.2/24".parse().unwrap()],
            tunnel_address: "192.0.2.1".parse().unwrap(),
            tunnel_addresses: vec!["192.0.2.1".parse().unwrap()],
        }
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn diff<K>(upserts: Vec<K>, removals: Vec<K>) -> Diff<K, ()> {
        Diff { upserts: upserts.into_iter().map(|key| (key, ())).collect(), removals }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn there_is_a_route_to_each_range_and_address_but_the_nodes_own() {
        let mut routes = ServiceRoutes::new(&[net("10.96.0.0/16")]);
        let addresses = diff(["203.0.113.1", "203.0.113.2", "2001:db8::1"].map(ip).to_vec(), vec![]);
        routes.change(diff(vec![net("10.97.0.0/16")], vec![]), addresses);
        let own = [(ip("203.0.113.2"), OwnAddress { node_ports: false })].into();
        let wanted = |routes: &ServiceRoutes, text| routes.wanted(net(text), &local(), &own);
        for text in ["10.96.0.0/16", "10.97.0.0/16", "203.0.113.1/32"] {
            let want = KernelRoute::through(net(text), ip("10.244.1.1"));
            assert_eq!(wanted(&routes, text), Some(want));
        }
        for (text, why) in [
            ("203.0.113.2/32", "the node's own"),
            ("2001:db8::1/128", "no gateway of that family"),
            ("203.0.113.3/32", "nobody asked for it"),
        ] {
            assert_eq!(wanted(&routes, text), None, "{why}");
        }
        assert_eq!(routes.due.len(), 5);
        routes.due.clear();
        routes.change(
            diff(vec![], vec![net("10.96.0.0/16")]),
            diff(vec![ip("203.0.113.4")], vec![ip("203.0.113.1")]),
        );
        let due = ["10.96.0.0/16", "203.0.113.1/32", "203.0.113.4/32"].map(net);
        assert_eq!(routes.due, due.into());
        assert_eq!(wanted(&routes, "10.96.0.0/16"), None);
        assert_eq!(wanted(&routes, "203.0.113.1/32"), None);
    }
}
