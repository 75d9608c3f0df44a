//! How a router forwards and answers, as MidoNet's `Router` does for IPv4.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;

use midonet::{PortType, RouteType};
use naming::Mac;

use crate::packet::{
    Arp, BROADCAST, IcmpError, IcmpErrorKind, Ipv4, Packet, Payload, Transport, is_multicast,
};
use crate::run::{Run, Stopped};
use crate::topology::{Filters, Port, Route, Router};
use crate::trace::{Answer, Did, Ending, Filter, Reason};

const ALL_HOSTS: Ipv4Addr = Ipv4Addr::BROADCAST;

impl Run<'_> {
    pub(crate) fn router(&mut self, port: &Port, filters: Filters, router: &Router) {
        // ICMP errors are about the packet as it came.
        let came = self.packet.clone();
        if came.dst_mac != BROADCAST && port.mac != Some(came.dst_mac) {
            return self.drop(Reason::NotTheRoutersMac);
        }
        if let Payload::Arp(arp) = &came.payload {
            return self.router_arp(port, arp);
        }
        if came.dst_mac == BROADCAST {
            return self.drop(Reason::NotTheRoutersMac);
        }
        if let Err(stopped) = self.filter((port.device, None), Filter::DeviceIn, filters.inbound) {
            return self.stopped_at_router(stopped, &came);
        }
        let Payload::Ipv4(ip) = self.packet.payload.clone() else { return };
        let Some(route) = pick(router, &ip) else {
            return self.unreachable(IcmpErrorKind::NetworkUnreachable, Reason::NoRoute, &came);
        };
        match (route.kind, route.port.and_then(|id| self.topology.ports.get(&id))) {
            (RouteType::Local, _) if matches!(ip.transport, Transport::Echo { reply: false, .. }) => {
                self.echo_reply(port, filters, router, &ip);
            }
            (RouteType::Local, _) => self.drop(Reason::RoutersOwnAddress),
            (RouteType::BlackHole, _) => self.drop(Reason::BlackHole),
            (RouteType::Reject, _) => self.prohibited(Reason::RejectRoute, &came),
            (RouteType::Normal, Some(out)) => self.forward(route, out, filters, ip, &came),
            (RouteType::Normal, None) => self.drop(Reason::Unplugged),
        }
    }

    fn forward(&mut self, route: &Route, out: &Port, filters: Filters, mut ip: Ipv4, came: &Packet) {
        if ip.ttl <= 1 {
            return self.unreachable(IcmpErrorKind::TimeExceeded, Reason::TimeExceeded, came);
        }
        ip.ttl -= 1;
        let dst = ip.dst;
        self.packet.payload = Payload::Ipv4(ip);
        let did = Did::Route {
            route: route.id,
            prefix: format!("{}/{}", route.dst.0, route.dst.1),
            next_hop: route.gateway.unwrap_or(dst),
            to: out.id,
        };
        self.step(out.device, None, did);
        if out.address.is_some_and(|net| net.addr() == dst) {
            // Its address without a route of type Local.
            return self.drop(Reason::RoutersOwnAddress);
        }
        if let Err(stopped) = self.filter((out.device, None), Filter::DeviceOut, filters.outbound) {
            return self.stopped_at_router(stopped, came);
        }
        let dst = destination(&self.packet).unwrap_or(dst);
        let address = route.gateway.unwrap_or(dst);
        match (self.next_hop_mac(out, address), out.mac) {
            (Some(mac), Some(own)) => {
                self.packet.src_mac = own;
                self.packet.dst_mac = mac;
                self.egress(out.id);
            }
            _ => {
                let kind = match route.gateway {
                    Some(_) => IcmpErrorKind::NetworkUnreachable,
                    None => IcmpErrorKind::HostUnreachable,
                };
                self.unreachable(kind, Reason::NoNextHopMac { address }, came);
            }
        }
    }

    /// The MAC address of a next hop: what the bridge at the other end knows, or what ARP told the router.
    fn next_hop_mac(&self, out: &Port, address: Ipv4Addr) -> Option<Mac> {
        let learned = || self.state.learned_arp(out.device, address);
        let Some(peer) = out.peer.and_then(|peer| self.topology.ports.get(&peer)) else {
            let net = out.address?;
            return if net.contains(&address) { learned() } else { None };
        };
        match peer.kind {
            PortType::Router => peer.mac.or_else(learned),
            PortType::Bridge => self
                .topology
                .bridge(peer.device)
                .and_then(|bridge| self.known_address(peer.device, bridge, address))
                .or_else(learned),
        }
    }

    /// The reply is routed as any packet, but for the router's inbound filter.
    fn echo_reply(&mut self, port: &Port, filters: Filters, router: &Router, request: &Ipv4) {
        let Transport::Echo { id, .. } = request.transport else { return };
        let (src, dst) = (request.dst, request.src);
        let about = Ipv4 { src, dst, ttl: 0, transport: Transport::Echo { reply: true, id } };
        let way = pick(router, &about).filter(|route| route.kind == RouteType::Normal);
        let out = way.and_then(|route| route.port).and_then(|id| self.topology.ports.get(&id));
        let out = out.filter(|out| out.address.is_some_and(|net| net.addr() != dst));
        let (Some(route), Some(out)) = (way, out) else { return self.drop(Reason::NoRouteBack) };
        let mac = self.next_hop_mac(out, route.gateway.unwrap_or(dst));
        let (Some(mac), Some(own)) = (mac, out.mac) else { return self.drop(Reason::NoRouteBack) };
        let reply = Packet::ipv4((own, mac), src, dst, about.transport);
        let mut run = Run::new(self.topology, self.state, None, reply);
        if run.filter((port.device, None), Filter::DeviceOut, filters.outbound).is_err() {
            return self.drop(Reason::NoRouteBack);
        }
        let reply = run.packet;
        self.answer(Answer::EchoReply, out.id, reply);
    }

    fn router_arp(&mut self, port: &Port, arp: &Arp) {
        let Some(net) = port.address.filter(|net| net.contains(&arp.sender)) else {
            return self.drop(Reason::ArpNotForRouter);
        };
        let tells = arp.sender == arp.target;
        let for_this = net.addr() == arp.target && (!arp.reply || port.mac == Some(arp.target_mac));
        if !tells && !for_this {
            return self.drop(Reason::ArpNotForRouter);
        }
        self.state.learn_arp(port.device, arp.sender, arp.sender_mac);
        match port.mac {
            Some(mac) if !tells && !arp.reply => {
                self.answer(Answer::Arp { mac }, port.id, Packet::arp_reply(arp, mac));
            }
            _ => self.end(Ending::Consumed),
        }
    }

    fn stopped_at_router(&mut self, stopped: Stopped, came: &Packet) {
        if stopped.rejected {
            self.prohibited(stopped.reason, came);
        } else {
            self.drop(stopped.reason);
        }
    }

    /// Drops the packet, and tells its sender that this is meant to be so.
    pub(crate) fn prohibited(&mut self, reason: Reason, about: &Packet) {
        self.unreachable(IcmpErrorKind::Prohibited, reason, about);
    }

    /// Drops the packet, and tells its sender if that is allowed.
    fn unreachable(&mut self, kind: IcmpErrorKind, reason: Reason, about: &Packet) {
        let from = self.in_port.and_then(|id| self.topology.ports.get(&id));
        match from.and_then(|port| Some((port.id, icmp_error(port, kind, about)?))) {
            Some((port, error)) => self.answer(Answer::IcmpError { kind, reason }, port, error),
            None => self.drop(reason),
        }
    }
}

fn destination(packet: &Packet) -> Option<Ipv4Addr> {
    match &packet.payload {
        Payload::Ipv4(ip) => Some(ip.dst),
        Payload::Arp(_) => None,
    }
}

/// One of the best routes. MidoNet takes one of several by a hash of the connection; so does this, by another hash.
fn pick<'a>(router: &'a Router, ip: &Ipv4) -> Option<&'a Route> {
    let routes = router.lookup(ip.src, ip.dst);
    let mut hasher = DefaultHasher::new();
    (ip.src, ip.dst, ip.protocol(), ip.ports()).hash(&mut hasher);
    let count = u64::try_from(routes.len()).unwrap_or(u64::MAX);
    let index = usize::try_from(hasher.finish().checked_rem(count)?).ok()?;
    routes.get(index).copied()
}

/// The error that a router sends from the port that a packet came through. None where RFC 1812, 4.3.2.7, says that
/// nobody is told.
fn icmp_error(port: &Port, kind: IcmpErrorKind, about: &Packet) -> Option<Packet> {
    let (net, mac) = (port.address?, port.mac?);
    let Payload::Ipv4(ip) = &about.payload else { return None };
    let nobody = matches!(ip.transport, Transport::Error(_))
        || ip.dst.is_multicast()
        || ip.dst == net.broadcast()
        || ip.dst == ALL_HOSTS
        || ip.src == ALL_HOSTS
        || is_multicast(about.dst_mac);
    let error = Transport::Error(IcmpError { kind, about: ip.about() });
    (!nobody).then(|| Packet::ipv4((mac, about.src_mac), net.addr(), ip.src, error))
}
