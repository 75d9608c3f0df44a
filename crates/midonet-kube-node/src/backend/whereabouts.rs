//! Who is at which address, as it counts for policy.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use datapath::{OwnAddress, Port, Role, Route};
use ipnet::IpNet;

/// Who is at which address, as the programs look it up when they judge a connection. A copy: it does not change.
#[derive(Debug, Clone, Default)]
pub struct Whereabouts {
    /// Pods of this node, and the node itself.
    endpoints: HashMap<IpAddr, Endpoint>,
    /// This node's other addresses.
    own: BTreeSet<IpAddr>,
    /// Where another proxy's Services are.
    proxied: Vec<IpNet>,
    /// Prefixes inside of these, which are something else.
    routed: Vec<IpNet>,
}

#[derive(Debug, Clone, Copy)]
struct Endpoint {
    ifindex: u32,
    role: Role,
}

impl Whereabouts {
    /// From what is in the datapath's tables: ports, routes, this node's own addresses, and those of all nodes on the
    /// underlay, of which this one's have no end of a tunnel.
    pub fn new(
        ports: &[Port],
        routes: &BTreeMap<IpNet, Route>,
        own: &BTreeMap<IpAddr, OwnAddress>,
        nodes: &BTreeMap<IpAddr, Option<IpAddr>>,
    ) -> Self {
        let of_port = |port: &Port| {
            let endpoint = Endpoint { ifindex: port.ifindex, role: port.role };
            port.addresses.iter().map(move |address| (*address, endpoint)).collect::<Vec<_>>()
        };
        let own = own.keys().chain(nodes.iter().filter(|(_, end)| end.is_none()).map(|(address, _)| address));
        let is_proxied = |route: &Route| matches!(route, Route::Proxied);
        let (proxied, others): (Vec<_>, Vec<_>) = routes.iter().partition(|(_, route)| is_proxied(route));
        let proxied: Vec<IpNet> = proxied.into_iter().map(|(prefix, _)| *prefix).collect();
        let others = others.into_iter().map(|(prefix, _)| *prefix);
        let routed = others.filter(|one| proxied.iter().any(|range| range.contains(one))).collect();
        Self {
            endpoints: ports.iter().flat_map(of_port).collect(),
            own: own.copied().collect(),
            proxied,
            routed,
        }
    }

    /// The interface of the Pod of this node at one end of a connection, of which the connection has the interface: 0 for
    /// what came from or went to the node's network stack. `None`: there is none, or another than the connection is with.
    pub fn pod_at(&self, address: IpAddr, ifindex: u32) -> Option<u32> {
        let endpoint = self.endpoints.get(&address).filter(|endpoint| endpoint.role != Role::Node)?;
        let is_it = endpoint.ifindex == ifindex || (ifindex == 0 && endpoint.role == Role::Pod);
        is_it.then_some(endpoint.ifindex)
    }

    /// The interface of the Pod of this node that has an address; 0 if none has.
    pub fn ifindex_of(&self, address: IpAddr) -> u32 {
        let endpoint = self.endpoints.get(&address).filter(|endpoint| endpoint.role != Role::Node);
        endpoint.map_or(0, |endpoint| endpoint.ifindex)
    }

    /// Whether an address is this node's own, in the Pod network or on the underlay.
    pub fn is_own(&self, address: IpAddr) -> bool {
        match self.endpoints.get(&address) {
            Some(endpoint) => endpoint.role == Role::Node,
            None => self.own.contains(&address),
        }
    }

    /// Whether the node's network stack translates what is sent there, for another proxy than this one.
    pub fn is_proxied(&self, address: IpAddr) -> bool {
        let longest =
            |all: &[IpNet]| all.iter().filter(|one| one.contains(&address)).map(IpNet::prefix_len).max();
        !self.endpoints.contains_key(&address)
            && longest(&self.proxied)
                .is_some_and(|proxied| longest(&self.routed).is_none_or(|other| other < proxied))
    }
}

#[cfg(test)]
mod tests {
    use datapath::Limits;

    use super::*;

    fn port(ifindex: u32, role: Role, addresses: &[&str]) -> Port {
        Port {
            ifindex,
            mac: [2, 0, 0, 0, 0, 7],
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            role,
            limits: Limits::default(),
            set: 0,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_whose_the_tables_say() {
        let ports = [
            port(2, Role::Node, &["10.244.1.1"]),
            port(7, Role::Pod, &["10.244.1.3", "fd44::3"]),
            port(9, Role::Outside, &["10.99.0.3", "172.30.0.9"]),
        ];
        let routes = [
            ("10.96.0.0/16", Route::Proxied),
            ("10.96.7.0/24", Route::Unreachable),
            ("10.96.7.128/25", Route::Proxied),
            ("10.244.2.0/24", Route::Tunnel(ip("172.30.0.12"))),
        ];
        let routes = routes.map(|(prefix, route)| (prefix.parse().unwrap(), route)).into();
        let own = [
            ("172.30.0.11", OwnAddress { node_ports: true }),
            ("172.30.0.9", OwnAddress { node_ports: true }),
        ];
        let nodes = [("fd30::11", None), ("172.30.0.12", Some("172.30.0.12"))];
        let at = Whereabouts::new(
            &ports,
            &routes,
            &own.map(|(address, own)| (ip(address), own)).into(),
            &nodes.map(|(address, end)| (ip(address), end.map(ip))).into(),
        );
        for own in ["10.244.1.1", "172.30.0.11", "fd30::11"] {
            assert!(at.is_own(ip(own)), "{own}");
        }
        // The last is a Pod's by now.
        for other in ["10.244.1.3", "172.30.0.12", "10.244.2.1", "172.30.0.9"] {
            assert!(!at.is_own(ip(other)), "{other}");
        }
        // With its own interface, with none, with another.
        assert_eq!([7, 0, 9].map(|ifindex| at.pod_at(ip("fd44::3"), ifindex)), [Some(7), Some(7), None]);
        assert_eq!([9, 0, 7].map(|ifindex| at.pod_at(ip("10.99.0.3"), ifindex)), [Some(9), None, None]);
        assert_eq!([2, 0].map(|ifindex| at.pod_at(ip("10.244.1.1"), ifindex)), [None, None]);
        assert_eq!((at.ifindex_of(ip("10.99.0.3")), at.ifindex_of(ip("10.244.1.1"))), (9, 0));
        for (address, proxied) in [
            ("10.96.0.1", true),
            ("10.96.7.1", false),
            ("10.96.7.200", true),
            ("10.244.2.1", false),
            ("10.97.0.1", false),
            ("fd44::3", false),
        ] {
            assert_eq!(at.is_proxied(ip(address)), proxied, "{address}");
        }
    }
}
