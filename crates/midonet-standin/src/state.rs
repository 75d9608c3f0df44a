//! What the server has stored, and what happens to the rest when something of it goes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use naming::Mac;
use uuid::Uuid;

use crate::schema::Record;

/// An interface of a host, as its agent reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses. Those of all interfaces are the host's.
    pub addresses: Vec<IpAddr>,
}

/// A host. What its agent would say stands beside its fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    pub(crate) record: Record,
    pub(crate) alive: bool,
    pub(crate) interfaces: Vec<Interface>,
    /// The ports that are bound to its interfaces, in the order of binding.
    pub(crate) ports: Vec<Uuid>,
}

#[derive(Debug, Clone)]
pub(crate) struct TunnelZone {
    pub(crate) record: Record,
    /// Its hosts and the addresses that their tunnels end at, in the order of their coming.
    pub(crate) hosts: Vec<(Uuid, Ipv4Addr)>,
}

/// A router or bridge.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) record: Record,
    pub(crate) ports: Vec<Uuid>,
    /// Routes that lead to no port.
    pub(crate) routes: Vec<Uuid>,
}

/// What a port is a port of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Router(Uuid),
    Bridge(Uuid),
}

#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) record: Record,
    pub(crate) owner: Owner,
    /// Routes that lead to it.
    pub(crate) routes: Vec<Uuid>,
}

#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) record: Record,
    /// Made for a router's port, and not by a request.
    pub(crate) automatic: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) record: Record,
    /// Its rules as packets meet them.
    pub(crate) rules: Vec<Uuid>,
}

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) record: Record,
    pub(crate) rule_type: String,
    pub(crate) chain: Uuid,
}

/// Everything that is stored, each kind by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) hosts: BTreeMap<Uuid, Host>,
    /// A host without an id was posted: from then on there is no list of hosts.
    pub(crate) has_nameless_host: bool,
    pub(crate) zones: BTreeMap<Uuid, TunnelZone>,
    pub(crate) routers: BTreeMap<Uuid, Device>,
    pub(crate) bridges: BTreeMap<Uuid, Device>,
    pub(crate) ports: BTreeMap<Uuid, Port>,
    pub(crate) routes: BTreeMap<Uuid, Route>,
    pub(crate) chains: BTreeMap<Uuid, Chain>,
    pub(crate) rules: BTreeMap<Uuid, Rule>,
    /// By bridge and VLAN. A MAC address may be there several times, each time with another port.
    pub(crate) mac_tables: BTreeMap<(Uuid, i64), Vec<(Mac, Uuid)>>,
    /// By bridge. An address may be there several times, each time with another MAC address.
    pub(crate) arp_tables: BTreeMap<Uuid, Vec<(Ipv4Addr, Mac)>>,
    /// How many ports were made: each has a tunnel key of its own.
    pub(crate) tunnel_keys: u32,
}

impl State {
    pub(crate) fn device(&self, owner: Owner) -> Option<&Device> {
        match owner {
            Owner::Router(id) => self.routers.get(&id),
            Owner::Bridge(id) => self.bridges.get(&id),
        }
    }

    pub(crate) fn device_mut(&mut self, owner: Owner) -> Option<&mut Device> {
        match owner {
            Owner::Router(id) => self.routers.get_mut(&id),
            Owner::Bridge(id) => self.bridges.get_mut(&id),
        }
    }

    /// The router of a route: its own, or that of the port that it leads to.
    pub(crate) fn router_of(&self, route: &Route) -> Option<Uuid> {
        route.record.id("routerId").or_else(|| {
            let port = self.ports.get(&route.record.id("nextHopPort")?)?;
            match port.owner {
                Owner::Router(id) => Some(id),
                Owner::Bridge(_) => None,
            }
        })
    }

    /// Removes a router or bridge with its ports, routes and tables.
    pub(crate) fn remove_device(&mut self, owner: Owner) {
        let device = match owner {
            Owner::Router(id) => self.routers.remove(&id),
            Owner::Bridge(id) => {
                self.mac_tables.retain(|(bridge, _), _| *bridge != id);
                self.arp_tables.remove(&id);
                self.bridges.remove(&id)
            }
        };
        let Some(device) = device else { return };
        for port in device.ports {
            self.remove_port(port);
        }
        for route in device.routes {
            self.routes.remove(&route);
        }
    }

    /// Removes a port with the routes that lead to it, its link and its binding. The MAC table keeps its entries.
    pub(crate) fn remove_port(&mut self, id: Uuid) {
        self.unlink(id);
        self.unbind(id);
        let Some(port) = self.ports.remove(&id) else { return };
        for route in port.routes {
            self.routes.remove(&route);
        }
        if let Some(device) = self.device_mut(port.owner) {
            device.ports.retain(|known| *known != id);
        }
    }

    pub(crate) fn remove_route(&mut self, id: Uuid) {
        let Some(route) = self.routes.remove(&id) else { return };
        if let Some(port) = route.record.id("nextHopPort").and_then(|port| self.ports.get_mut(&port)) {
            port.routes.retain(|known| *known != id);
        }
        if let Some(router) = route.record.id("routerId").and_then(|router| self.routers.get_mut(&router)) {
            router.routes.retain(|known| *known != id);
        }
    }

    /// Removes a chain with its rules, the jumps to it, and it as a filter.
    pub(crate) fn remove_chain(&mut self, id: Uuid) {
        let Some(chain) = self.chains.remove(&id) else { return };
        for rule in chain.rules {
            self.rules.remove(&rule);
        }
        let jumps = self.rules.iter().filter(|(_, rule)| rule.record.id("jumpChainId") == Some(id));
        for jump in jumps.map(|(jump, _)| *jump).collect::<Vec<_>>() {
            self.remove_rule(jump);
        }
        let devices =
            self.routers.values_mut().chain(self.bridges.values_mut()).map(|device| &mut device.record);
        for record in devices.chain(self.ports.values_mut().map(|port| &mut port.record)) {
            for filter in ["inboundFilterId", "outboundFilterId", "localRedirectChainId"] {
                if record.id(filter) == Some(id) {
                    record.set_id(filter, None);
                }
            }
        }
    }

    pub(crate) fn remove_rule(&mut self, id: Uuid) {
        let Some(rule) = self.rules.remove(&id) else { return };
        if let Some(chain) = self.chains.get_mut(&rule.chain) {
            chain.rules.retain(|known| *known != id);
        }
    }

    pub(crate) fn remove_host(&mut self, id: Uuid) {
        for zone in self.zones.values_mut() {
            zone.hosts.retain(|(host, _)| *host != id);
        }
        self.hosts.remove(&id);
    }

    /// Whether a host is in a tunnel zone.
    pub(crate) fn is_in_zone(&self, host: Uuid) -> bool {
        self.zones.values().any(|zone| zone.hosts.iter().any(|(known, _)| *known == host))
    }

    /// Parts a port and its peer, if it has one.
    pub(crate) fn unlink(&mut self, id: Uuid) {
        let peer = self.ports.get(&id).and_then(|port| port.record.id("peerId"));
        for end in [Some(id), peer].into_iter().flatten() {
            if let Some(port) = self.ports.get_mut(&end) {
                port.record.set_id("peerId", None);
            }
        }
    }

    /// Takes a port from its interface, if it is bound.
    pub(crate) fn unbind(&mut self, id: Uuid) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        let host = port.record.id("hostId");
        port.record.set_id("hostId", None);
        port.record.set("interfaceName", None::<String>);
        if let Some(host) = host.and_then(|host| self.hosts.get_mut(&host)) {
            host.ports.retain(|known| *known != id);
        }
    }
}
