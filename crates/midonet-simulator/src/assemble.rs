//! Puts together what a [`Builder`] has, from what refers to nothing to what refers to the rest, so that what needs
//! something that is left out is left out, too.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;

use midonet::{FlowAction, Kind, NatTarget, PortType, RouteType, Rule, RuleType};
use uuid::Uuid;

use crate::builder::NewDevice;
use crate::problem::Why;
use crate::topology::{Bridge, Chain, Device, Filters, Forwarding, Port, Route, Router};
use crate::{Builder, Problem, Topology};

impl Builder {
    /// The topology, and what is not in it because something is missing or wrong.
    pub fn build(self) -> (Topology, Vec<Problem>) {
        assemble(self)
    }
}

fn assemble(mut builder: Builder) -> (Topology, Vec<Problem>) {
    let mut to = Assembly { topology: Topology::default(), problems: std::mem::take(&mut builder.problems) };
    for zone in &builder.zones {
        to.topology.zones.insert(*zone, HashMap::new());
    }
    for (zone, host) in builder.zone_hosts {
        let added = to.zone_host(zone, &host);
        to.note(Kind::TunnelZoneHost, &host.host_id, added);
    }
    for chain in builder.chains {
        to.topology.chains.insert(chain.id, Chain { name: chain.name, rules: Vec::new() });
    }
    for id in builder.ruled {
        for rule in builder.rules.remove(&id).unwrap_or_default() {
            let (which, added) = (rule.id, to.rule(id, rule));
            to.note(Kind::Rule, &which, added);
        }
    }
    for device in builder.devices {
        let kind = if device.kind == PortType::Bridge { Kind::Bridge } else { Kind::Router };
        let (which, added) = (device.id, to.device(device));
        to.note(kind, &which, added);
    }
    for (device, port) in builder.ports {
        let added = to.port(device, &port);
        to.note(Kind::Port, &port.id, added);
    }
    for (port, peer) in builder.links {
        let added = to.link(port, peer);
        to.note(Kind::PortLink, &format!("{port} to {peer}"), added);
    }
    for (host, binding) in builder.bindings {
        let added = to.binding(host, &binding);
        to.note(Kind::HostInterfacePort, &format!("{} of host {host}", binding.interface_name), added);
    }
    for (router, route) in builder.routes {
        let which = route.id.or(route.port).unwrap_or_default();
        let added = to.route(router, route);
        to.note(Kind::Route, &which, added);
    }
    for (bridge, entry) in builder.macs {
        let added = to.mac(bridge, &entry);
        to.note(Kind::MacPort, &format!("{} at {}", entry.mac_addr, entry.port_id), added);
    }
    for (bridge, entry) in builder.arps {
        let added = to.arp(bridge, &entry);
        to.note(Kind::Ipv4MacPair, &format!("{} {}", entry.ip, entry.mac), added);
    }
    to.plug();
    (to.topology, to.problems)
}

struct Assembly {
    topology: Topology,
    problems: Vec<Problem>,
}

fn missing(what: &'static str, id: Uuid) -> Why {
    Why::Missing { what, id }
}

impl Assembly {
    fn note(&mut self, kind: Kind, which: &dyn Display, added: Result<(), Why>) {
        if let Err(why) = added {
            self.problems.push(Problem::new(kind, which, why));
        }
    }

    fn zone_host(&mut self, zone: Uuid, host: &midonet::TunnelZoneHost) -> Result<(), Why> {
        let hosts = self.topology.zones.get_mut(&zone).ok_or(missing("tunnel zone", zone))?;
        if *hosts.entry(host.host_id).or_insert(host.ip_address) == host.ip_address {
            Ok(())
        } else {
            Err(Why::Taken { what: "the host's place in the zone" })
        }
    }

    fn rule(&mut self, chain: Uuid, mut rule: Rule) -> Result<(), Why> {
        check_nat(&mut rule)?;
        if rule.rule_type == RuleType::Jump {
            let to = rule.jump_chain_id.ok_or(Why::Invalid { what: "it jumps to no chain" })?;
            self.chain(Some(to), "chain to jump to")?;
        }
        let chain = self.topology.chains.get_mut(&chain).ok_or(missing("chain", chain))?;
        chain.rules.push(rule);
        Ok(())
    }

    fn chain(&self, id: Option<Uuid>, what: &'static str) -> Result<(), Why> {
        match id {
            Some(id) if !self.topology.chains.contains_key(&id) => Err(missing(what, id)),
            _ => Ok(()),
        }
    }

    fn filters(&self, filters: Filters) -> Result<(), Why> {
        self.chain(filters.inbound, "inbound filter")?;
        self.chain(filters.outbound, "outbound filter")
    }

    fn device(&mut self, device: NewDevice) -> Result<(), Why> {
        self.filters(device.filters)?;
        let forwarding = match device.kind {
            PortType::Bridge => Forwarding::Bridge(Bridge::default()),
            PortType::Router => Forwarding::Router(Router::default()),
        };
        let built = Device { name: device.name, filters: device.filters, forwarding };
        self.topology.devices.insert(device.id, built);
        Ok(())
    }

    fn port(&mut self, device: Uuid, port: &midonet::Port) -> Result<(), Why> {
        let filters = Filters { inbound: port.inbound_filter_id, outbound: port.outbound_filter_id };
        let address = port.port_subnet.first().copied();
        match (self.topology.devices.get(&device).map(|d| &d.forwarding), port.port_type) {
            (None, PortType::Bridge) => return Err(missing("bridge", device)),
            (None, PortType::Router) => return Err(missing("router", device)),
            (Some(Forwarding::Bridge(_)), PortType::Router) => return Err(missing("router", device)),
            (Some(Forwarding::Router(_)), PortType::Bridge) => return Err(missing("bridge", device)),
            (Some(Forwarding::Router(_)), PortType::Router) if address.is_none() => {
                return Err(Why::Invalid { what: "a router's port has no address" });
            }
            _ => {}
        }
        self.filters(filters)?;
        let (id, kind) = (port.id, port.port_type);
        let built = Port { id, kind, device, address, mac: port.port_mac, filters, peer: None, bound: None };
        self.topology.ports.insert(port.id, built);
        Ok(())
    }

    fn peer_of(&self, port: Uuid, what: &'static str) -> Result<Option<Uuid>, Why> {
        self.topology.ports.get(&port).map(|port| port.peer).ok_or(missing(what, port))
    }

    fn link(&mut self, port: Uuid, peer: Uuid) -> Result<(), Why> {
        let there = (self.peer_of(port, "port")?, self.peer_of(peer, "peer port")?);
        if there != (None, None) && there != (Some(peer), Some(port)) {
            return Err(Why::Taken { what: "one of the ports" });
        }
        if port == peer {
            return Err(Why::Invalid { what: "a port is linked to itself" });
        }
        for (one, other) in [(port, peer), (peer, port)] {
            if let Some(port) = self.topology.ports.get_mut(&one) {
                port.peer = Some(other);
            }
        }
        Ok(())
    }

    fn binding(&mut self, host: Uuid, binding: &midonet::HostInterfacePort) -> Result<(), Why> {
        let id = binding.port_id;
        let port = self.topology.ports.get_mut(&id).ok_or(missing("port", id))?;
        let place = (host, binding.interface_name.clone());
        if port.bound.as_ref().is_some_and(|bound| *bound != place) {
            return Err(Why::Taken { what: "the port" });
        }
        let interfaces = self.topology.bound.entry(host).or_default();
        if *interfaces.entry(binding.interface_name.clone()).or_insert(id) != id {
            return Err(Why::Taken { what: "the interface" });
        }
        port.bound = Some(place);
        Ok(())
    }

    fn route(&mut self, router: Uuid, route: Route) -> Result<(), Why> {
        if route.dst.1 > 32 || route.src.1 > 32 {
            return Err(Why::Invalid { what: "a prefix is longer than 32 bits" });
        }
        if let Some(id) = route.port {
            let port = self.topology.ports.get(&id).ok_or(missing("next hop's port", id))?;
            if port.device != router {
                return Err(Why::Invalid { what: "the next hop's port is not the router's" });
            }
            if !port.is_plugged() {
                // It is there, and agents do not use it: nothing goes through that port.
                return Ok(());
            }
        } else if route.kind == RouteType::Normal {
            return Err(Why::Invalid { what: "it has no port to the next hop" });
        }
        match self.topology.devices.get_mut(&router).map(|device| &mut device.forwarding) {
            Some(Forwarding::Router(table)) => table.add(route),
            _ => return Err(missing("router", router)),
        }
        Ok(())
    }

    fn table(&mut self, id: Uuid) -> Result<&mut Bridge, Why> {
        match self.topology.devices.get_mut(&id).map(|device| &mut device.forwarding) {
            Some(Forwarding::Bridge(bridge)) => Ok(bridge),
            _ => Err(missing("bridge", id)),
        }
    }

    fn mac(&mut self, bridge: Uuid, entry: &midonet::MacPort) -> Result<(), Why> {
        let port = self.topology.ports.get(&entry.port_id).ok_or(missing("port", entry.port_id))?;
        if port.device != bridge {
            return Err(Why::Invalid { what: "the port is not the bridge's" });
        }
        self.table(bridge)?.macs.insert(entry.mac_addr, entry.port_id);
        Ok(())
    }

    fn arp(&mut self, bridge: Uuid, entry: &midonet::Ipv4MacPair) -> Result<(), Why> {
        self.table(bridge)?.arp.insert(entry.ip, entry.mac);
        Ok(())
    }

    /// What bridges know of their ports: which are bound, and which lead to routers.
    fn plug(&mut self) {
        let Topology { devices, ports, .. } = &mut self.topology;
        let mut ids: Vec<_> = ports.keys().copied().collect();
        ids.sort_unstable();
        for port in ids.iter().filter_map(|id| ports.get(id)) {
            let Some(Forwarding::Bridge(bridge)) = devices.get_mut(&port.device).map(|d| &mut d.forwarding)
            else {
                continue;
            };
            if port.bound.is_some() {
                bridge.bound.push(port.id);
            }
            let peer =
                port.peer.and_then(|peer| ports.get(&peer)).filter(|peer| peer.kind == PortType::Router);
            if let Some(mac) = peer.and_then(|peer| peer.mac) {
                bridge.router_macs.insert(mac, port.id);
                if let Some(net) = peer.and_then(|peer| peer.address) {
                    bridge.router_addresses.insert(net.addr(), mac);
                }
            }
        }
    }
}

/// Whether a rule that translates says into what. Targets that are there twice are one, as in MidoNet.
fn check_nat(rule: &mut Rule) -> Result<(), Why> {
    let forward = matches!(rule.rule_type, RuleType::Dnat | RuleType::Snat);
    if !forward && !matches!(rule.rule_type, RuleType::RevDnat | RuleType::RevSnat) {
        return Ok(());
    }
    match rule.flow_action {
        Some(FlowAction::Accept | FlowAction::Continue | FlowAction::Return) => {}
        None => return Err(Why::Invalid { what: "it does not say how a translated packet goes on" }),
    }
    let targets = rule.nat_targets.get_or_insert_default();
    let mut seen = HashSet::new();
    targets.retain(|target| {
        seen.insert((target.address_from, target.address_to, target.port_from, target.port_to))
    });
    if forward && targets.is_empty() {
        return Err(Why::Invalid { what: "it has no target" });
    }
    if targets
        .iter()
        .any(|target| target.address_from > target.address_to || target.port_from > target.port_to)
    {
        return Err(Why::Invalid { what: "a target ends before it begins" });
    }
    if targets.len() > 1 && targets.iter().all(has_no_ports) {
        return Err(Why::Invalid { what: "it has several targets, all without ports" });
    }
    Ok(())
}

/// Whether it is an address alone: what such a rule translates is no connection, but every packet by itself.
pub(crate) fn has_no_ports(target: &NatTarget) -> bool {
    target.port_from == 0 && target.port_to == 0
}
