//! Routes of the kernel that this project makes, out of one link.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType,
};

use crate::address::family;
use crate::error::{Error, Result};
use crate::link;
use crate::netlink::Netlink;
use crate::netlink::Request;

/// The protocol of this project's routes (`ip route` shows `proto 109`): no daemon takes them for its own or
/// flushes them.
pub(crate) const PROTOCOL: RouteProtocol = RouteProtocol::Other(109);

/// The main table.
const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// A kernel route out of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRoute {
    /// The destination.
    pub dst: IpNet,
    /// The next hop; `None`: the destination is on the link itself.
    pub via: Option<IpAddr>,
    /// The path MTU, in bytes.
    pub mtu: Option<u32>,
    /// The TCP segment size to announce, in bytes.
    pub advmss: Option<u32>,
    /// The metric: lower wins.
    pub priority: Option<u32>,
    /// The routing table; `None` and 0: the main one.
    pub table: Option<u32>,
    /// The scope (rtnetlink(7)); by default that of `via`. IPv6 has none.
    pub scope: Option<u8>,
}

impl KernelRoute {
    /// A route to `dst` through `via` without metrics.
    pub fn new(dst: IpNet, via: Option<IpAddr>) -> Self {
        Self { dst, via, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }

    /// A route to `dst` through a next hop.
    pub fn through(dst: IpNet, via: IpAddr) -> Self {
        Self::new(dst, Some(via))
    }

    /// Whether this route, as the kernel has it, is the wanted one.
    pub(crate) fn satisfies(&self, wanted: &Self) -> bool {
        let same = |wanted: Option<u32>, is: Option<u32>| wanted.is_none() || wanted == is;
        let has_scope = self.dst.addr().is_ipv4() && wanted.scope.is_some();
        (self.dst, self.via, self.table()) == (wanted.dst.trunc(), wanted.via, wanted.table())
            && same(wanted.mtu, self.mtu)
            && same(wanted.advmss, self.advmss)
            && same(wanted.priority, self.priority)
            && (!has_scope || wanted.scope == self.scope)
    }

    fn table(&self) -> u32 {
        self.table.filter(|table| *table != 0).unwrap_or(MAIN)
    }
}

impl fmt::Display for KernelRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dst)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        for (name, value) in [
            ("mtu", self.mtu),
            ("advmss", self.advmss),
            ("metric", self.priority),
            ("table", self.table),
            ("scope", self.scope.map(u32::from)),
        ] {
            if let Some(value) = value {
                write!(f, " {name} {value}")?;
            }
        }
        Ok(())
    }
}

/// The route to a neighbour on the link.
pub(crate) fn to_neighbour(neighbour: IpAddr) -> KernelRoute {
    KernelRoute::new(IpNet::from(neighbour), None)
}

pub(crate) fn add(ifindex: u32, ifname: &str, route: &KernelRoute) -> Request {
    Request {
        what: format!("route {route} on {ifname}"),
        message: RouteNetlinkMessage::NewRoute(message(ifindex, route)),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// Adds routes out of a link, in the place of others of this project to the same destinations. Returns those destinations
/// that have no such route, each with why: somebody else may have one. The others have it.
///
/// # Errors
/// There is no such link, or the kernel does not tell its routes.
pub fn add_routes(ifname: &str, routes: &[KernelRoute]) -> Result<Vec<(IpNet, Error)>> {
    let mut netlink = Netlink::here()?;
    let ifindex = link::require(&mut netlink, ifname)?.ifindex;
    let mut own = None;
    let mut failed = Vec::new();
    for route in routes {
        let mut outcome = netlink.request(add(ifindex, ifname, route));
        if outcome.as_ref().is_err_and(Error::is_exists) {
            let own = match &own {
                Some(own) => own,
                None => own.insert(own_routes_of(&mut netlink, ifindex)?),
            };
            if own.contains_key(&route.dst) {
                outcome = netlink.request(replacing(add(ifindex, ifname, route)));
            }
        }
        failed.extend(outcome.err().map(|error| (route.dst, error)));
    }
    Ok(failed)
}

/// Removes this project's routes to these destinations out of a link; one that is not there is gone already. Returns those
/// that the kernel did not remove, each with why.
///
/// # Errors
/// There is no such link.
pub fn remove_routes(ifname: &str, destinations: &[IpNet]) -> Result<Vec<(IpNet, Error)>> {
    let mut netlink = Netlink::here()?;
    let ifindex = link::require(&mut netlink, ifname)?.ifindex;
    let mut failed = Vec::new();
    for destination in destinations {
        // Of any scope: it depends on the next hop.
        let scope = Some(RouteScope::NoWhere.into());
        let route = KernelRoute { scope, ..KernelRoute::new(*destination, None) };
        let outcome = netlink.request(Request {
            what: format!("remove the route to {destination} on {ifname}"),
            message: RouteNetlinkMessage::DelRoute(message(ifindex, &route)),
            flags: 0,
        });
        match outcome {
            Err(error) if !error.is_missing() && !error.is(libc::ESRCH) => failed.push((*destination, error)),
            _ => {}
        }
    }
    Ok(failed)
}

/// This project's routes out of a link, in the main table: destinations and next hops. None without the link.
///
/// # Errors
/// The kernel does not answer.
pub fn own_routes(ifname: &str) -> Result<BTreeMap<IpNet, Option<IpAddr>>> {
    let mut netlink = Netlink::here()?;
    match netlink.find(ifname)? {
        Some(link) => own_routes_of(&mut netlink, link.ifindex),
        None => Ok(BTreeMap::new()),
    }
}

fn own_routes_of(netlink: &mut Netlink, ifindex: u32) -> Result<BTreeMap<IpNet, Option<IpAddr>>> {
    // The kernel leaves out most of the others: there may be very many.
    let mut own = RouteMessage::default();
    own.header.protocol = PROTOCOL;
    own.attributes = vec![RouteAttribute::Oif(ifindex)];
    let messages = netlink.dump("list routes", &RouteNetlinkMessage::GetRoute(own))?.into_iter();
    let own = messages.filter(|message| {
        matches!(message, RouteNetlinkMessage::NewRoute(route) if route.header.protocol == PROTOCOL)
    });
    let routes = own.filter_map(|message| read(message, ifindex));
    Ok(routes.filter(|route| route.table() == MAIN).map(|route| (route.dst, route.via)).collect())
}

/// Replaces a route to the same destination, if there is one.
pub(crate) fn replacing(request: Request) -> Request {
    Request { flags: NLM_F_CREATE | NLM_F_REPLACE, ..request }
}

fn message(ifindex: u32, route: &KernelRoute) -> RouteMessage {
    let mut message = RouteMessage::default();
    let default_scope = if route.via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.header.address_family = family(route.dst.addr());
    message.header.destination_prefix_length = route.dst.prefix_len();
    // Larger numbers have an attribute of their own.
    message.header.table = u8::try_from(route.table()).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.header.protocol = PROTOCOL;
    message.header.kind = RouteType::Unicast;
    message.header.scope = route.scope.map_or(default_scope, RouteScope::from);
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Oif(ifindex));
    if route.dst.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(route.dst.network().into()));
    }
    attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    attributes.extend(route.priority.map(RouteAttribute::Priority));
    attributes.extend(route.table.map(|_| RouteAttribute::Table(route.table())));
    let metrics = [route.mtu.map(RouteMetric::Mtu), route.advmss.map(RouteMetric::Advmss)];
    let metrics: Vec<_> = metrics.into_iter().flatten().collect();
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

/// The routes out of a link, of all tables.
pub(crate) fn list(netlink: &mut Netlink, ifindex: u32) -> Result<Vec<KernelRoute>> {
    let all = RouteNetlinkMessage::GetRoute(RouteMessage::default());
    let messages = netlink.dump("list routes", &all)?;
    Ok(messages.into_iter().filter_map(|message| read(message, ifindex)).collect())
}

fn read(message: RouteNetlinkMessage, ifindex: u32) -> Option<KernelRoute> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    if !message.attributes.contains(&RouteAttribute::Oif(ifindex)) {
        return None;
    }
    let unspecified: IpAddr = match message.header.address_family {
        netlink_packet_route::AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut route =
        KernelRoute::new(IpNet::new(unspecified, message.header.destination_prefix_length).ok()?, None);
    route.table = Some(message.header.table.into());
    route.scope = Some(message.header.scope.into());
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                route.dst = IpNet::new(ip(&address)?, route.dst.prefix_len()).ok()?;
            }
            RouteAttribute::Gateway(address) => route.via = Some(ip(&address)?),
            RouteAttribute::Priority(priority) => route.priority = Some(priority),
            RouteAttribute::Table(table) => route.table = Some(table),
            RouteAttribute::Metrics(metrics) => {
                for metric in metrics {
                    match metric {
                        RouteMetric::Mtu(mtu) => route.mtu = Some(mtu),
                        RouteMetric::Advmss(advmss) => route.advmss = Some(advmss),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(route)
}

pub(crate) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
