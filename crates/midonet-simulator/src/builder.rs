use std::collections::{HashMap, HashSet, VecDeque};

use midonet::{Body, Kind, PortType, Resource, RouteType};
use uuid::Uuid;

use crate::problem::Why;
use crate::topology::{Filters, Route};
use crate::{Problem, Topology};

/// Collects what a [`Topology`] has.
///
/// There are two ways to add a resource. [`Builder::post`] does what a `POST` does: a rule goes in front of its chain, and
/// a router's port brings a route to its own address along. [`Builder::list`] takes what a server lists: rules come in
/// their order, and routes to own addresses are in the list. What belongs together may come in any order.
#[derive(Debug, Default)]
pub struct Builder {
    pub(crate) zones: HashSet<Uuid>,
    pub(crate) zone_hosts: Vec<(Uuid, midonet::TunnelZoneHost)>,
    pub(crate) devices: Vec<NewDevice>,
    pub(crate) ports: Vec<(Uuid, midonet::Port)>,
    pub(crate) links: Vec<(Uuid, Uuid)>,
    pub(crate) routes: Vec<(Uuid, Route)>,
    pub(crate) chains: Vec<midonet::Chain>,
    pub(crate) rules: HashMap<Uuid, VecDeque<midonet::Rule>>,
    /// Chains of rules in the order in which they came first.
    pub(crate) ruled: Vec<Uuid>,
    pub(crate) bindings: Vec<(Uuid, midonet::HostInterfacePort)>,
    pub(crate) macs: Vec<(Uuid, midonet::MacPort)>,
    pub(crate) arps: Vec<(Uuid, midonet::Ipv4MacPair)>,
    pub(crate) problems: Vec<Problem>,
    /// Where devices and ports are in their lists, and which other ids there are.
    places: HashMap<(Kind, Uuid), usize>,
}

#[derive(Debug)]
pub(crate) struct NewDevice {
    pub(crate) id: Uuid,
    pub(crate) kind: PortType,
    pub(crate) name: String,
    pub(crate) filters: Filters,
}

/// How a resource came.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Posted,
    Listed,
}

impl Topology {
    /// What is there after these resources were posted in this order, and what was left out and why.
    pub fn posted<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> (Self, Vec<Problem>) {
        let mut builder = Builder::default();
        for resource in resources {
            builder.post(resource);
        }
        builder.build()
    }
}

impl Builder {
    /// Adds what is posted now. A device or port that is there already is replaced, as a `PUT` does; anything else that
    /// is there already stays as it is.
    pub fn post(&mut self, resource: &Resource) {
        self.add(resource, Mode::Posted);
    }

    /// Adds what a server has in its lists. Rules of a chain have to come in the chain's order.
    pub fn list(&mut self, resource: &Resource) {
        self.add(resource, Mode::Listed);
    }

    fn add(&mut self, resource: &Resource, mode: Mode) {
        match &resource.body {
            // A zone without an id gets one from the server: nothing refers to it.
            Body::TunnelZone(zone) => self.zones.extend(zone.id),
            Body::Router(router) => self.device(NewDevice {
                id: router.id,
                kind: PortType::Router,
                name: router.name.clone(),
                filters: Filters { inbound: router.inbound_filter_id, outbound: router.outbound_filter_id },
            }),
            Body::Bridge(bridge) => self.device(NewDevice {
                id: bridge.id,
                kind: PortType::Bridge,
                name: bridge.name.clone(),
                filters: Filters { inbound: bridge.inbound_filter_id, outbound: bridge.outbound_filter_id },
            }),
            Body::Chain(chain) => {
                if self.is_new(Kind::Chain, chain.id) {
                    self.chains.push(chain.clone());
                }
            }
            body => match resource.parent {
                Some(parent) => self.child(parent, body, mode),
                None => {
                    let which = resource.item_path().unwrap_or_default();
                    self.problems.push(Problem::new(resource.kind(), &which, Why::NoParent));
                }
            },
        }
    }

    fn child(&mut self, parent: Uuid, body: &Body, mode: Mode) {
        match body {
            Body::TunnelZoneHost(host) => self.zone_hosts.push((parent, host.clone())),
            Body::Port(port) => self.port(parent, port, mode),
            Body::PortLink(link) => self.links.push((parent, link.peer_id)),
            Body::Route(route) => {
                if self.is_new(Kind::Route, route.id) {
                    let route = Route {
                        id: Some(route.id),
                        dst: (route.dst_network_addr, route.dst_network_length),
                        src: (route.src_network_addr, route.src_network_length),
                        kind: route.route_type,
                        gateway: route.next_hop_gateway.filter(|gateway| !gateway.is_unspecified()),
                        port: route.next_hop_port,
                    };
                    self.routes.push((parent, route));
                }
            }
            Body::Rule(rule) => {
                if self.is_new(Kind::Rule, rule.id) {
                    if !self.rules.contains_key(&parent) {
                        self.ruled.push(parent);
                    }
                    let rules = self.rules.entry(parent).or_default();
                    match mode {
                        Mode::Posted => rules.push_front(rule.clone()),
                        Mode::Listed => rules.push_back(rule.clone()),
                    }
                }
            }
            Body::HostInterfacePort(binding) => self.bindings.push((parent, binding.clone())),
            Body::MacPort(entry) => self.macs.push((parent, entry.clone())),
            Body::Ipv4MacPair(entry) => self.arps.push((parent, entry.clone())),
            Body::TunnelZone(_) | Body::Router(_) | Body::Bridge(_) | Body::Chain(_) => {}
        }
    }

    fn device(&mut self, device: NewDevice) {
        let kind = if device.kind == PortType::Bridge { Kind::Bridge } else { Kind::Router };
        let place = *self.places.entry((kind, device.id)).or_insert(self.devices.len());
        match self.devices.get_mut(place) {
            Some(there) => *there = device,
            None => self.devices.push(device),
        }
    }

    fn port(&mut self, parent: Uuid, port: &midonet::Port, mode: Mode) {
        let place = *self.places.entry((Kind::Port, port.id)).or_insert(self.ports.len());
        if let Some(there) = self.ports.get_mut(place) {
            // It stays with its device, and the route to the address that it had stays, too.
            there.1 = port.clone();
            return;
        }
        self.ports.push((parent, port.clone()));
        if let (Mode::Posted, PortType::Router, Some(net)) = (mode, port.port_type, port.port_subnet.first())
        {
            let route = Route {
                id: None,
                dst: (net.addr(), 32),
                src: (std::net::Ipv4Addr::UNSPECIFIED, 0),
                kind: RouteType::Local,
                gateway: None,
                port: Some(port.id),
            };
            self.routes.push((parent, route));
        }
    }

    fn is_new(&mut self, kind: Kind, id: Uuid) -> bool {
        self.places.insert((kind, id), 0).is_none()
    }
}
