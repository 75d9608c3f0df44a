use naming::Mac;
use uuid::Uuid;

use crate::access::{Access, Guard};
use crate::kinds::Schema;
use crate::media::Takes;
use crate::message::{Answer, Request, Response};
use crate::random::Random;
use crate::schema::Record;
use crate::state::State;
use crate::target::Target;
use crate::{body, root};

/// What a server has stored, and how it answers. It has no clock, and no randomness but that of its seed.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) state: State,
    pub(crate) random: Random,
    pub(crate) guard: Guard,
}

impl Store {
    /// An empty one.
    pub fn new(seed: u64) -> Self {
        Self { state: State::default(), random: Random::new(seed), guard: Guard::default() }
    }

    /// Lets in whom `access` says. Tokens that were given are forgotten.
    pub fn set_access(&mut self, access: Access) {
        self.guard = Guard { access, ..Guard::default() };
    }

    /// Forgets the tokens that were given: all who have one must log in again.
    pub fn expire_tokens(&mut self) {
        self.guard.tokens.clear();
    }

    /// Loses everything that was stored, hosts too.
    pub fn wipe(&mut self) {
        self.state = State::default();
    }

    /// Loses everything but the hosts: their agents have reported again, and they are in no tunnel zone.
    pub fn lose_topology(&mut self) {
        let mut hosts = std::mem::take(&mut self.state.hosts);
        for host in hosts.values_mut() {
            host.ports.clear();
        }
        self.state = State { hosts, ..State::default() };
    }

    /// Answers a request.
    pub fn handle(&mut self, request: &Request) -> Response {
        match self.answer(request) {
            Ok(response) | Err(response) if request.method == "HEAD" => {
                Response { body: String::new(), ..response }
            }
            Ok(response) | Err(response) => response,
        }
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let target = Target::of(&request.path);
        if target == Target::Login {
            return self.guard.login(request, &mut self.random);
        }
        self.guard.check(request)?;
        match request.method.as_str() {
            "GET" | "HEAD" => self.get(request, target),
            "POST" => self.post(request, target),
            "PUT" => self.put(request, target),
            "DELETE" => self.delete(target),
            _ => Err(absent(target).unwrap_or_else(|| Response::bodiless(405))),
        }
    }

    fn get(&self, request: &Request, target: Target<'_>) -> Answer {
        match target {
            Target::Root => root::application(request),
            Target::SystemState => root::system_state(request),
            Target::Hosts => self.list_hosts(request),
            Target::Host(id) => self.get_host(request, id),
            Target::Interfaces(host) => self.list_interfaces(request, host),
            Target::Interface(host, name) => self.get_interface(request, host, name),
            Target::Bindings(host) => self.list_bindings(request, host),
            Target::Binding(host, port) => self.get_binding(request, host, port),
            Target::TunnelZones => self.list_zones(request),
            Target::TunnelZone(id) => self.get_zone(request, id),
            Target::TunnelZoneHosts(zone) => self.list_zone_hosts(request, zone),
            Target::TunnelZoneHost(zone, host) => self.get_zone_host(request, zone, host),
            Target::Routers => self.list_routers(request),
            Target::Router(id) => self.get_router(request, id),
            Target::Bridges => self.list_bridges(request),
            Target::Bridge(id) => self.get_bridge(request, id),
            Target::Ports => self.list_ports(request),
            Target::PortsOf(owner) => self.list_ports_of(request, owner),
            Target::PeerPortsOf(owner) => self.list_peers_of(request, owner),
            Target::Port(id) => self.get_port(request, id),
            Target::RoutesOf(router) => self.list_routes(request, router),
            Target::Route(id) => self.get_route(request, id),
            Target::Chains => self.list_chains(request),
            Target::Chain(id) => self.get_chain(request, id),
            Target::RulesOf(chain) => self.list_rules(request, chain),
            Target::Rule(id) => self.get_rule(request, id),
            Target::MacTable(bridge, vlan) => self.list_macs(request, bridge, vlan),
            Target::MacEntry(bridge, vlan, entry) => self.get_mac(request, bridge, vlan, entry),
            Target::ArpTable(bridge) => self.list_arps(request, bridge),
            Target::ArpEntry(bridge, entry) => self.get_arp(request, bridge, entry),
            other => Err(absent(other).unwrap_or_else(|| Response::bodiless(405))),
        }
    }

    fn post(&mut self, request: &Request, target: Target<'_>) -> Answer {
        match target {
            Target::Hosts => self.post_host(request),
            Target::Bindings(host) => self.post_binding(request, host),
            Target::TunnelZones => self.post_zone(request),
            Target::TunnelZoneHosts(zone) => self.post_zone_host(request, zone),
            Target::Routers => self.post_router(request),
            Target::Bridges => self.post_bridge(request),
            Target::PortsOf(owner) => self.post_port(request, owner),
            Target::Link(port) => self.post_link(request, port),
            Target::RoutesOf(router) => self.post_route(request, router),
            Target::Chains => self.post_chain(request),
            Target::RulesOf(chain) => self.post_rule(request, chain),
            Target::MacTable(bridge, vlan) => self.post_mac(request, bridge, vlan),
            Target::ArpTable(bridge) => self.post_arp(request, bridge),
            other => Err(absent(other).unwrap_or_else(|| Response::bodiless(405))),
        }
    }

    fn put(&mut self, request: &Request, target: Target<'_>) -> Answer {
        match target {
            Target::Host(id) => self.put_host(request, id),
            Target::TunnelZone(id) => self.put_zone(request, id),
            Target::Router(id) => self.put_router(request, id),
            Target::Bridge(id) => self.put_bridge(request, id),
            Target::Port(id) => self.put_port(request, id),
            other => Err(absent(other).unwrap_or_else(|| Response::bodiless(405))),
        }
    }

    fn delete(&mut self, target: Target<'_>) -> Answer {
        match target {
            Target::Host(id) => self.delete_host(id),
            Target::Binding(_, port) => self.delete_binding(port),
            Target::TunnelZone(id) => self.delete_zone(id),
            Target::TunnelZoneHost(zone, host) => self.delete_zone_host(zone, host),
            Target::Router(id) => self.delete_router(id),
            Target::Bridge(id) => self.delete_bridge(id),
            Target::Port(id) => self.delete_port(id),
            Target::Link(port) => self.delete_link(port),
            Target::Route(id) => self.delete_route(id),
            Target::Chain(id) => self.delete_chain(id),
            Target::Rule(id) => self.delete_rule(id),
            Target::MacEntry(bridge, vlan, entry) => self.delete_mac(bridge, vlan, entry),
            Target::ArpEntry(bridge, entry) => self.delete_arp(bridge, entry),
            other => Err(absent(other).unwrap_or_else(|| Response::bodiless(405))),
        }
    }
}

/// The answer where nothing is, whatever the method.
fn absent(target: Target<'_>) -> Option<Response> {
    match target {
        Target::UnknownRoot(name) => Some(Response::error(404, &format!("Root resource {name} not found"))),
        Target::Lacking(name) => {
            Some(Response::error(501, &format!("The stand-in for MidoNet has no {name}.")))
        }
        Target::Nothing => Some(Response::bodiless(404)),
        _ => None,
    }
}

/// The record in a request's body.
pub(crate) fn read(request: &Request, takes: Takes<'_>, schema: Schema) -> Result<Record, Response> {
    takes.before(request)?;
    let record = Record::read(schema, &body::fields(&request.body)?)?;
    takes.after(request)?;
    Ok(record)
}

/// Refuses a record that the schema refuses.
pub(crate) fn valid(record: &Record, schema: Schema) -> Result<(), Response> {
    match record.violations(schema) {
        none if none.is_empty() => Ok(()),
        some => Err(Response::violations(&some)),
    }
}

/// An item that is looked up by what its path says. Ids that are none are of nothing.
pub(crate) fn id_of(text: &str, kind: &str) -> Result<Uuid, Response> {
    text.parse().map_err(|_| Response::missing(kind, text))
}

/// A MAC address as paths have it.
pub(crate) fn in_path(mac: Mac) -> String {
    mac.to_string().replace(':', "-")
}
