use std::collections::BTreeMap;

use midonet::{
    Body, Bridge, Chain, HostInterfacePort, Ipv4MacPair, Kind, MacPort, Port, PortLink, PortType, Resource,
    Route, Router, Rule, TunnelZone, TunnelZoneHost,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::kinds::{self, Schema};
use crate::schema::Record;
use crate::store::Store;

/// What is stored, for those who want to know where packets go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// Hosts, by id.
    pub hosts: Vec<HostNode>,
    /// Tunnel zones, by id, each with its hosts in the order of their coming.
    pub tunnel_zones: Vec<(TunnelZone, Vec<TunnelZoneHost>)>,
    /// Routers, by id.
    pub routers: Vec<Router>,
    /// Bridges, by id.
    pub bridges: Vec<Bridge>,
    /// Ports, by id.
    pub ports: Vec<PortNode>,
    /// Routes, by id.
    pub routes: Vec<RouteNode>,
    /// Chains, by id, each with its rules in the order in which packets meet them.
    pub chains: Vec<(Chain, Vec<Rule>)>,
    /// Entries of MAC tables for untagged packets, by bridge, with that bridge's id.
    pub macs: Vec<(Uuid, MacPort)>,
    /// Entries of ARP tables, by bridge, with that bridge's id.
    pub arps: Vec<(Uuid, Ipv4MacPair)>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNode {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Whether its agent runs.
    pub alive: bool,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortNode {
    /// What was sent of it.
    pub port: Port,
    /// Its router or bridge.
    pub device: Uuid,
    /// The port that it is linked with.
    pub peer: Option<Uuid>,
    /// The host's interface that it is bound to.
    pub binding: Option<HostInterfacePort>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteNode {
    /// What was sent of it.
    pub route: Route,
    /// Its router. None if it is nobody's.
    pub router: Option<Uuid>,
    /// Made for a router's port's address, and not by a request.
    pub automatic: bool,
}

/// Something stored has a value that midonet-kube never sends, so that crate `midonet` has no place for it.
#[derive(Debug, thiserror::Error)]
#[error("the {kind} {id} has something that midonet-kube never sends: {error}")]
pub struct TopologyError {
    /// Its kind.
    pub kind: Kind,
    /// Its id.
    pub id: Uuid,
    /// What.
    pub error: serde_json::Error,
}

impl Store {
    /// What is stored.
    ///
    /// # Errors
    /// Something has a value that crate `midonet` has no place for, such as a port with an IPv6 address.
    pub fn topology(&self) -> Result<Topology, TopologyError> {
        let state = &self.state;
        let mut all = Topology::default();
        for (id, host) in &state.hosts {
            let name = host.record.text("name").unwrap_or_default().to_owned();
            all.hosts.push(HostNode { id: *id, name, alive: host.alive });
        }
        for (id, zone) in &state.zones {
            let hosts = zone
                .hosts
                .iter()
                .map(|(host_id, address)| TunnelZoneHost { host_id: *host_id, ip_address: *address });
            all.tunnel_zones.push((
                typed(Kind::TunnelZone, *id, &zone.record, kinds::TUNNEL_ZONE, None)?,
                hosts.collect(),
            ));
        }
        for (id, router) in &state.routers {
            all.routers.push(typed(Kind::Router, *id, &router.record, kinds::ROUTER, None)?);
        }
        for (id, bridge) in &state.bridges {
            all.bridges.push(typed(Kind::Bridge, *id, &bridge.record, kinds::BRIDGE, None)?);
        }
        for (id, port) in &state.ports {
            let (record, (port_type, schema)) = (&port.record, port.owner.port_type());
            let binding = record.id("hostId").map(|host_id| HostInterfacePort {
                host_id,
                port_id: *id,
                interface_name: record.text("interfaceName").unwrap_or_default().into(),
            });
            let peer = record.id("peerId");
            let typed = typed(Kind::Port, *id, record, schema, Some(port_type))?;
            all.ports.push(PortNode { port: typed, device: port.owner.id(), peer, binding });
        }
        for (id, route) in &state.routes {
            let typed = typed(Kind::Route, *id, &route.record, kinds::ROUTE, None)?;
            all.routes.push(RouteNode {
                route: typed,
                router: state.router_of(route),
                automatic: route.automatic,
            });
        }
        for (id, chain) in &state.chains {
            let rules = chain.rules.iter().filter_map(|id| Some((id, state.rules.get(id)?)));
            let rules = rules.map(|(id, rule)| {
                let schema = kinds::rule(&rule.rule_type).unwrap_or_default();
                typed(Kind::Rule, *id, &rule.record, schema, Some(&rule.rule_type))
            });
            let rules = rules.collect::<Result<_, _>>()?;
            all.chains.push((typed(Kind::Chain, *id, &chain.record, kinds::CHAIN, None)?, rules));
        }
        for ((bridge, vlan), entries) in &state.mac_tables {
            let untagged = entries.iter().filter(|_| *vlan == 0);
            all.macs
                .extend(untagged.map(|(mac, port)| (*bridge, MacPort { mac_addr: *mac, port_id: *port })));
        }
        for (bridge, entries) in &state.arp_tables {
            all.arps.extend(entries.iter().map(|(ip, mac)| (*bridge, Ipv4MacPair { ip: *ip, mac: *mac })));
        }
        Ok(all)
    }

    /// What is stored, in an order that makes the same of an empty store that has the hosts when it is pushed: rules come
    /// in the reverse of their order. The routes that are made for router ports' addresses are left out: the ports make
    /// them.
    ///
    /// # Errors
    /// As [`Self::topology`].
    pub fn resources(&self) -> Result<Vec<Resource>, TopologyError> {
        Ok(self.topology()?.resources())
    }
}

impl Topology {
    /// See [`Store::resources`].
    pub fn resources(&self) -> Vec<Resource> {
        let mut all = Vec::new();
        for (zone, hosts) in &self.tunnel_zones {
            all.push(Resource::top(zone.clone()));
            all.extend(
                zone.id
                    .into_iter()
                    .flat_map(|id| hosts.iter().map(move |host| Resource::of(id, host.clone()))),
            );
        }
        all.extend(self.chains.iter().map(|(chain, _)| Resource::top(chain.clone())));
        for (chain, rules) in &self.chains {
            all.extend(rules.iter().rev().map(|rule| Resource::of(chain.id, rule.clone())));
        }
        all.extend(self.routers.iter().map(|router| Resource::top(router.clone())));
        all.extend(self.bridges.iter().map(|bridge| Resource::top(bridge.clone())));
        all.extend(self.ports.iter().map(|node| Resource::of(node.device, node.port.clone())));
        all.extend(self.links());
        let routes = self.routes.iter().filter(|node| !node.automatic);
        all.extend(routes.filter_map(|node| Some(Resource::of(node.router?, node.route.clone()))));
        let bindings = self.ports.iter().filter_map(|node| node.binding.clone());
        all.extend(bindings.map(|binding| Resource::of(binding.host_id, binding)));
        // An entry whose port is gone, or is another bridge's now, cannot be made again.
        let ports: BTreeMap<_, _> = self.ports.iter().map(|node| (node.port.id, node)).collect();
        let macs = self
            .macs
            .iter()
            .filter(|(bridge, entry)| ports.get(&entry.port_id).is_some_and(|node| node.device == *bridge));
        all.extend(macs.map(|(bridge, entry)| Resource::of(*bridge, entry.clone())));
        all.extend(self.arps.iter().map(|(bridge, pair)| Resource::of(*bridge, pair.clone())));
        all
    }

    /// Each link once, as one of a bridge's port with its peer if it has one.
    fn links(&self) -> impl Iterator<Item = Resource> {
        let types: BTreeMap<_, _> =
            self.ports.iter().map(|node| (node.port.id, node.port.port_type)).collect();
        self.ports.iter().filter_map(move |node| {
            let (id, peer_id) = (node.port.id, node.peer?);
            let is_first = match (node.port.port_type, *types.get(&peer_id)?) {
                (PortType::Bridge, PortType::Router) => true,
                (PortType::Router, PortType::Bridge) => false,
                _ => id <= peer_id,
            };
            is_first.then(|| Resource::of(id, Body::from(PortLink { port_id: None, peer_id })))
        })
    }
}

/// A record as crate `midonet` has its kind.
fn typed<T: DeserializeOwned>(
    kind: Kind,
    id: Uuid,
    record: &Record,
    schema: Schema,
    with_type: Option<&str>,
) -> Result<T, TopologyError> {
    let mut fields: Map<String, Value> = record
        .all(schema)
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    if let Some(name) = with_type {
        fields.insert("type".into(), name.into());
    }
    serde_json::from_value(fields.into()).map_err(|error| TopologyError { kind, id, error })
}
