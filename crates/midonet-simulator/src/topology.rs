use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use midonet::{PortType, RouteType, Rule};
use naming::Mac;
use uuid::Uuid;

use crate::condition::masked;

/// What is in MidoNet, as its agents see it. Everything that it refers to is there: see [`Builder::build`](crate::Builder::build).
#[derive(Debug, Clone, Default)]
pub struct Topology {
    pub(crate) devices: HashMap<Uuid, Device>,
    pub(crate) ports: HashMap<Uuid, Port>,
    pub(crate) chains: HashMap<Uuid, Chain>,
    /// The port that is bound to an interface, by host and name.
    pub(crate) bound: HashMap<Uuid, HashMap<String, Uuid>>,
    /// The address of every host in every tunnel zone.
    pub(crate) zones: BTreeMap<Uuid, HashMap<Uuid, Ipv4Addr>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) filters: Filters,
    pub(crate) forwarding: Forwarding,
}

#[derive(Debug, Clone)]
pub(crate) enum Forwarding {
    Bridge(Bridge),
    Router(Router),
}

/// The chains that packets go through on their way in and out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filters {
    pub(crate) inbound: Option<Uuid>,
    pub(crate) outbound: Option<Uuid>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Bridge {
    /// Its ports that are bound to an interface: where it floods to.
    pub(crate) bound: Vec<Uuid>,
    /// Its port that leads to the router's port with this MAC address.
    pub(crate) router_macs: HashMap<Mac, Uuid>,
    /// The MAC addresses of the router's ports that it is linked to.
    pub(crate) router_addresses: HashMap<Ipv4Addr, Mac>,
    /// The MAC table, as it was written.
    pub(crate) macs: HashMap<Mac, Uuid>,
    /// The ARP table, as it was written.
    pub(crate) arp: HashMap<Ipv4Addr, Mac>,
}

/// By length of the destination and its bits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Router {
    routes: BTreeMap<u8, HashMap<u32, Vec<Route>>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// None for what MidoNet made with a port.
    pub(crate) id: Option<Uuid>,
    pub(crate) dst: (Ipv4Addr, u8),
    pub(crate) src: (Ipv4Addr, u8),
    pub(crate) kind: RouteType,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) port: Option<Uuid>,
}

#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) id: Uuid,
    pub(crate) kind: PortType,
    pub(crate) device: Uuid,
    /// A router's port.
    pub(crate) address: Option<Ipv4Net>,
    pub(crate) mac: Option<Mac>,
    pub(crate) filters: Filters,
    pub(crate) peer: Option<Uuid>,
    /// The host and interface that it is bound to.
    pub(crate) bound: Option<(Uuid, String)>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    pub(crate) name: String,
    pub(crate) rules: Vec<Rule>,
}

impl Topology {
    /// The port that is bound to this interface.
    pub fn port_at(&self, host: Uuid, interface: &str) -> Option<Uuid> {
        self.bound.get(&host)?.get(interface).copied()
    }

    /// The host and interface that a port is bound to.
    pub fn binding_of(&self, port: Uuid) -> Option<(Uuid, &str)> {
        self.ports.get(&port)?.bound.as_ref().map(|(host, interface)| (*host, interface.as_str()))
    }

    /// The addresses that two hosts have in a tunnel zone that both are in: the first's, then the second's.
    pub(crate) fn tunnel(&self, from: Uuid, to: Uuid) -> Option<(Ipv4Addr, Ipv4Addr)> {
        self.zones.values().find_map(|hosts| Some((*hosts.get(&from)?, *hosts.get(&to)?)))
    }

    pub(crate) fn bridge(&self, id: Uuid) -> Option<&Bridge> {
        match &self.devices.get(&id)?.forwarding {
            Forwarding::Bridge(bridge) => Some(bridge),
            Forwarding::Router(_) => None,
        }
    }
}

impl Port {
    /// Whether packets can come from it or go to it at all.
    pub(crate) fn is_plugged(&self) -> bool {
        self.peer.is_some() || self.bound.is_some()
    }
}

impl Router {
    pub(crate) fn add(&mut self, route: Route) {
        let (address, length) = route.dst;
        self.routes.entry(length).or_default().entry(masked(address, length)).or_default().push(route);
    }

    /// The routes of the longest prefix of the destination that match the source, too.
    pub(crate) fn lookup(&self, src: Ipv4Addr, dst: Ipv4Addr) -> Vec<&Route> {
        for (length, networks) in self.routes.iter().rev() {
            let routes = networks.get(&masked(dst, *length)).map(Vec::as_slice).unwrap_or_default();
            let matching: Vec<_> = routes
                .iter()
                .filter(|route| masked(route.src.0, route.src.1) == masked(src, route.src.1))
                .collect();
            if !matching.is_empty() {
                return matching;
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(dst: ([u8; 4], u8), src: ([u8; 4], u8), gateway: u8) -> Route {
        Route {
            id: None,
            dst: (dst.0.into(), dst.1),
            src: (src.0.into(), src.1),
            kind: RouteType::Normal,
            gateway: Some([0, 0, 0, gateway].into()),
            port: None,
        }
    }

    #[test]
    fn the_longest_prefix_that_matches_the_source_wins() {
        let mut router = Router::default();
        router.add(route(([0; 4], 0), ([0; 4], 0), 1));
        router.add(route(([10, 1, 0, 0], 16), ([0; 4], 0), 2));
        router.add(route(([10, 1, 2, 0], 24), ([10, 0, 0, 0], 8), 3));
        let found = |src: [u8; 4], dst: [u8; 4]| {
            let routes = router.lookup(src.into(), dst.into());
            routes.iter().map(|route| route.gateway.unwrap().octets()[3]).collect::<Vec<_>>()
        };
        assert_eq!(found([10, 9, 9, 9], [10, 1, 2, 3]), [3]);
        assert_eq!(found([11, 9, 9, 9], [10, 1, 2, 3]), [2]);
        assert_eq!(found([10, 9, 9, 9], [10, 2, 2, 3]), [1]);
    }
}
