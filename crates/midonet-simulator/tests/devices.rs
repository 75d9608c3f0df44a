//! Routers, links, connections and what is wrong in a topology.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use midonet::{
    Bridge, Chain, FlowAction, HostInterfacePort, NatTarget, Port, PortLink, PortType, Resource, Route,
    RouteType, Router, Rule, RuleType,
};
use midonet_simulator::{
    Answer, Connection, Did, Ending, IcmpErrorKind, Origin, Packet, Payload, Reason, State, Topology, Trace,
    Transport,
};
use naming::Mac;
use uuid::Uuid;

const ROUTER: Uuid = Uuid::from_u128(0x1000);
const OTHER: Uuid = Uuid::from_u128(0x2000);
const HOST: Uuid = Uuid::from_u128(0x3000);
const IN: Uuid = Uuid::from_u128(0x11);
const OUT: Uuid = Uuid::from_u128(0x12);
const CHAIN: Uuid = Uuid::from_u128(0x4000);
const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const CLIENT: (Mac, Ipv4Addr) = (Mac([2, 0, 0, 0, 0, 3]), Ipv4Addr::new(10, 0, 1, 2));
const SERVER: (Mac, Ipv4Addr) = (Mac([2, 0, 0, 0, 0, 4]), Ipv4Addr::new(10, 0, 2, 2));

fn router(id: Uuid, inbound: Option<Uuid>, outbound: Option<Uuid>) -> Resource {
    let (inbound_filter_id, outbound_filter_id) = (inbound, outbound);
    let (tenant_id, name) = (String::new(), "r".into());
    Resource::top(Router { id, tenant_id, name, inbound_filter_id, outbound_filter_id })
}

fn port(id: Uuid, network: u8) -> Port {
    Port {
        id,
        port_type: PortType::Router,
        port_subnet: vec![format!("10.0.{network}.1/24").parse().unwrap()],
        port_mac: Some(OWN),
        inbound_filter_id: None,
        outbound_filter_id: None,
    }
}

fn bound(port_id: Uuid, interface: &str) -> Resource {
    Resource::of(HOST, HostInterfacePort { host_id: HOST, port_id, interface_name: interface.into() })
}

fn route(id: u128, dst: &str, route_type: RouteType, port: Option<Uuid>) -> Route {
    let dst: ipnet::Ipv4Net = dst.parse().unwrap();
    Route {
        id: Uuid::from_u128(id),
        dst_network_addr: dst.addr(),
        dst_network_length: dst.prefix_len(),
        next_hop_gateway: None,
        next_hop_port: port,
        src_network_addr: Ipv4Addr::UNSPECIFIED,
        src_network_length: 0,
        route_type,
    }
}

/// A router between two interfaces, with a chain that these rules are posted to.
fn between(inbound: Option<Uuid>, outbound: Option<Uuid>, rules: &[Rule]) -> Vec<Resource> {
    let mut all = vec![Resource::top(Chain { id: CHAIN, tenant_id: String::new(), name: "c".into() })];
    all.extend(rules.iter().map(|rule| Resource::of(CHAIN, rule.clone())));
    all.extend([
        router(ROUTER, inbound, outbound),
        Resource::of(ROUTER, port(IN, 1)),
        Resource::of(ROUTER, port(OUT, 2)),
        bound(IN, "in"),
        bound(OUT, "out"),
        Resource::of(ROUTER, route(1, "10.0.1.0/24", RouteType::Normal, Some(IN))),
        Resource::of(ROUTER, route(2, "10.0.2.0/24", RouteType::Normal, Some(OUT))),
        Resource::of(ROUTER, route(3, "10.0.3.0/24", RouteType::BlackHole, None)),
        Resource::of(ROUTER, route(4, "10.0.4.0/24", RouteType::Reject, None)),
    ]);
    all
}

struct Net(Topology, State);

impl Net {
    fn new(resources: &[Resource]) -> Self {
        let (topology, problems) = Topology::posted(resources);
        assert_eq!(problems, []);
        Self(topology, State::new(1))
    }

    /// With both neighbours known.
    fn ready(resources: &[Resource]) -> Self {
        let mut net = Self::new(resources);
        for ((mac, address), name, gateway) in [(CLIENT, "in", [10, 0, 1, 1]), (SERVER, "out", [10, 0, 2, 1])]
        {
            let trace = net.go(name, Packet::arp_request(mac, address, gateway.into()));
            assert!(matches!(answer(&trace).0, Answer::Arp { mac: OWN }), "{trace}");
            assert_eq!(answer(&trace).1.delivered(), [(HOST, name)], "{trace}");
        }
        net
    }

    fn go(&mut self, interface: &str, packet: Packet) -> Trace {
        self.0.simulate(&mut self.1, Origin::Interface { host: HOST, interface }, packet)
    }

    fn to(&mut self, dst: Ipv4Addr) -> Trace {
        self.go("in", Packet::tcp((CLIENT.0, OWN), (CLIENT.1, 4000), (dst, 80)))
    }
}

fn answer(trace: &Trace) -> (&Answer, &Trace) {
    match trace.end().map(|end| &end.ending) {
        Some(Ending::Answered { answer, path }) => (answer, path),
        _ => panic!("not answered:\n{trace}"),
    }
}

fn dropped(trace: &Trace) -> &Reason {
    match trace.end().map(|end| &end.ending) {
        Some(Ending::Dropped { reason }) => reason,
        _ => panic!("not dropped:\n{trace}"),
    }
}

fn error(trace: &Trace) -> (IcmpErrorKind, &Reason) {
    match answer(trace) {
        (Answer::IcmpError { kind, reason }, path) => {
            assert_eq!(path.delivered(), [(HOST, "in")], "{trace}");
            (*kind, reason)
        }
        _ => panic!("{trace}"),
    }
}

fn rule(id: u128, rule_type: RuleType) -> Rule {
    Rule::new(Uuid::from_u128(id), rule_type)
}

fn nat(id: u128, rule_type: RuleType, targets: &[(Ipv4Addr, u16, u16)]) -> Rule {
    let target = |(address, port_from, port_to): &(Ipv4Addr, u16, u16)| NatTarget {
        address_from: *address,
        address_to: *address,
        port_from: *port_from,
        port_to: *port_to,
    };
    Rule {
        flow_action: Some(FlowAction::Accept),
        nat_targets: Some(targets.iter().map(target).collect()),
        ..rule(id, rule_type)
    }
}

#[test]
fn a_router_learns_its_neighbours_by_arp() {
    let mut net = Net::new(&between(None, None, &[]));
    let trace = net.to(SERVER.1);
    assert_eq!(dropped_or_error(&trace), Reason::NoNextHopMac { address: SERVER.1 });
    let mut net = Net::ready(&between(None, None, &[]));
    let trace = net.to(SERVER.1);
    assert_eq!(trace.delivered(), [(HOST, "out")], "{trace}");
    assert_eq!(trace.end().unwrap().packet.dst_mac, SERVER.0);
    // ARP for others, and from outside of the network.
    let other = Packet::arp_request(CLIENT.0, CLIENT.1, [10, 0, 1, 9].into());
    assert_eq!(*dropped(&net.go("in", other)), Reason::ArpNotForRouter);
    let other = Packet::arp_request(CLIENT.0, SERVER.1, [10, 0, 1, 1].into());
    assert_eq!(*dropped(&net.go("in", other)), Reason::ArpNotForRouter);
    let tells = net.go("in", Packet::arp_request(CLIENT.0, CLIENT.1, CLIENT.1));
    assert_eq!(tells.end().unwrap().ending, Ending::Consumed);
    let wrong = Packet::tcp((CLIENT.0, SERVER.0), (CLIENT.1, 1), (SERVER.1, 1));
    assert_eq!(*dropped(&net.go("in", wrong)), Reason::NotTheRoutersMac);
    assert_eq!(
        *dropped(&net.go("nowhere", Packet::arp_request(CLIENT.0, CLIENT.1, CLIENT.1))),
        Reason::NotBound
    );
}

fn dropped_or_error(trace: &Trace) -> Reason {
    match trace.end().map(|end| &end.ending) {
        Some(
            Ending::Answered { answer: Answer::IcmpError { reason, .. }, .. } | Ending::Dropped { reason },
        ) => reason.clone(),
        _ => panic!("{trace}"),
    }
}

#[test]
fn routes_of_every_type() {
    let mut net = Net::ready(&between(None, None, &[]));
    assert_eq!(*dropped(&net.to([10, 0, 3, 1].into())), Reason::BlackHole);
    assert_eq!(error(&net.to([10, 0, 4, 1].into())), (IcmpErrorKind::Prohibited, &Reason::RejectRoute));
    assert_eq!(*dropped(&net.to([10, 0, 2, 1].into())), Reason::RoutersOwnAddress);
    assert_eq!(error(&net.to([10, 0, 5, 1].into())), (IcmpErrorKind::NetworkUnreachable, &Reason::NoRoute));
    // RFC 1812: nobody is told of what was sent to several.
    assert_eq!(*dropped(&net.to([224, 0, 0, 5].into())), Reason::NoRoute);
    let ping = Packet::echo((CLIENT.0, OWN), CLIENT.1, [10, 0, 2, 1].into(), 5);
    let trace = net.go("in", ping);
    assert_eq!(*answer(&trace).0, Answer::EchoReply);
    assert_eq!(answer(&trace).1.delivered(), [(HOST, "in")]);
}

#[test]
fn a_port_that_is_not_plugged_has_no_routes() {
    let mut all = between(None, None, &[]);
    all.retain(|r| !matches!(&r.body, midonet::Body::HostInterfacePort(b) if b.port_id == OUT));
    let mut net = Net::new(&all);
    assert_eq!(dropped_or_error(&net.to(SERVER.1)), Reason::NoRoute);
}

#[test]
fn a_router_says_that_it_rejects() {
    let reject = [rule(7, RuleType::Reject)];
    let filters = [(Some(CHAIN), None), (None, Some(CHAIN))];
    for (inbound, outbound) in filters {
        let mut net = Net::ready(&between(inbound, outbound, &reject));
        let trace = net.to(SERVER.1);
        let (kind, Reason::Rule { rule, .. }) = error(&trace) else { panic!("{trace}") };
        assert_eq!((kind, *rule), (IcmpErrorKind::Prohibited, Uuid::from_u128(7)));
        let mut net = Net::ready(&between(inbound, outbound, &[rule_drop()]));
        assert!(matches!(dropped(&net.to(SERVER.1)), Reason::Rule { .. }));
    }
    // So does its port.
    for (id, network, (inbound_filter_id, outbound_filter_id)) in [(IN, 1, filters[0]), (OUT, 2, filters[1])]
    {
        let mut all = between(None, None, &[Rule { dl_type: Some(0x800), ..reject[0].clone() }]);
        all.push(Resource::of(ROUTER, Port { inbound_filter_id, outbound_filter_id, ..port(id, network) }));
        let trace = Net::ready(&all).to(SERVER.1);
        assert_eq!(error(&trace).0, IcmpErrorKind::Prohibited);
    }
}

fn rule_drop() -> Rule {
    rule(7, RuleType::Drop)
}

#[test]
fn ports_to_translate_to_run_out_per_destination() {
    let gateway = Ipv4Addr::new(10, 0, 2, 1);
    let mut net = Net::ready(&between(None, Some(CHAIN), &[nat(7, RuleType::Snat, &[(gateway, 500, 501)])]));
    let mut go = |src_port, dst_port| {
        net.go("in", Packet::tcp((CLIENT.0, OWN), (CLIENT.1, src_port), (SERVER.1, dst_port)))
    };
    let source = |trace: &Trace| match &trace.end().unwrap().packet.payload {
        Payload::Ipv4(ip) => match ip.transport {
            Transport::Tcp { src_port, .. } => (ip.src, src_port),
            _ => panic!("{trace}"),
        },
        Payload::Arp(_) => panic!("{trace}"),
    };
    let mut used = [source(&go(1, 80)), source(&go(2, 80))];
    assert_eq!(source(&go(1, 80)), used[0]);
    used.sort_unstable();
    assert_eq!(used, [(gateway, 500), (gateway, 501)]);
    assert_eq!(*dropped(&go(3, 80)), Reason::NatExhausted);
    assert_eq!(go(3, 81).delivered(), [(HOST, "out")]);
}

#[test]
fn echoes_are_translated_by_their_id() {
    let public = Ipv4Addr::new(10, 0, 9, 9);
    let out = nat(7, RuleType::Snat, &[(public, 1, 65535)]);
    let back = Rule { nat_targets: None, ..nat(8, RuleType::RevSnat, &[]) };
    // Out through one filter, back through the other, of one router.
    let mut all = between(Some(CHAIN), Some(OTHER), std::slice::from_ref(&back));
    let second = Resource::top(Chain { id: OTHER, tenant_id: String::new(), name: String::new() });
    let only_out = Rule { nw_src_address: Some(CLIENT.1), nw_src_length: 32, ..out };
    all.splice(0..0, [second, Resource::of(OTHER, only_out)]);
    let mut net = Net::ready(&all);
    let trace = net.go("in", Packet::echo((CLIENT.0, OWN), CLIENT.1, SERVER.1, 99));
    let packet = trace.end().unwrap().packet.clone();
    let Payload::Ipv4(ip) = &packet.payload else { panic!() };
    assert_eq!((ip.src, &ip.transport), (public, &Transport::Echo { reply: false, id: 99 }));
    let trace = net.go("out", packet.swapped().unwrap());
    assert_eq!(trace.delivered(), [(HOST, "in")], "{trace}");
    let other_id = Packet::ipv4((SERVER.0, OWN), SERVER.1, public, Transport::Echo { reply: true, id: 98 });
    assert_eq!(dropped_or_error(&net.go("out", other_id)), Reason::NoRoute);
}

#[test]
fn an_address_alone_is_translated_in_every_packet_of_every_protocol() {
    let rules = [nat(7, RuleType::Dnat, &[(SERVER.1, 0, 0)])];
    let mut net = Net::ready(&between(Some(CHAIN), None, &rules));
    for transport in [Transport::Other { protocol: 47 }, Transport::Udp { src_port: 1, dst_port: 2 }] {
        let packet = Packet::ipv4((CLIENT.0, OWN), CLIENT.1, [1, 2, 3, 4].into(), transport.clone());
        let trace = net.go("in", packet);
        assert_eq!(trace.delivered(), [(HOST, "out")], "{trace}");
        assert!(
            trace
                .steps
                .iter()
                .any(|step| matches!(step.did, Did::Rule { connection: Some(Connection::Stateless), .. }))
        );
        let Payload::Ipv4(ip) = &trace.end().unwrap().packet.payload else { panic!() };
        assert_eq!((ip.dst, &ip.transport), (SERVER.1, &transport));
    }
    // With a port it is a connection, and GRE has none.
    let rules = [nat(7, RuleType::Dnat, &[(SERVER.1, 1, 1)])];
    let mut net = Net::ready(&between(Some(CHAIN), None, &rules));
    let gre = Transport::Other { protocol: 47 };
    let trace = net.go("in", Packet::ipv4((CLIENT.0, OWN), CLIENT.1, [1, 2, 3, 4].into(), gre));
    assert_eq!(dropped_or_error(&trace), Reason::NoRoute);
}

#[test]
fn routers_that_send_to_each_other_are_cut() {
    let link = |id, peer| Resource::of(id, PortLink { port_id: None, peer_id: peer });
    let mut all = vec![
        router(ROUTER, None, None),
        router(OTHER, None, None),
        Resource::of(ROUTER, port(IN, 1)),
        Resource::of(ROUTER, port(OUT, 2)),
        bound(IN, "in"),
    ];
    let far = Uuid::from_u128(0x21);
    let mac = Mac([2, 0, 0, 0, 0, 9]);
    all.push(Resource::of(OTHER, Port { port_mac: Some(mac), ..port(far, 3) }));
    all.push(link(OUT, far));
    all.push(Resource::of(ROUTER, route(1, "0.0.0.0/0", RouteType::Normal, Some(OUT))));
    all.push(Resource::of(OTHER, route(2, "0.0.0.0/0", RouteType::Normal, Some(far))));
    assert_eq!(*dropped(&Net::new(&all).to([9, 9, 9, 9].into())), Reason::TooManyDevices);
}

#[test]
fn what_is_wrong_is_told_and_harms_itself_only() {
    let nowhere = Uuid::from_u128(0xdead);
    let bridge = |inbound_filter_id| {
        let (id, tenant_id, name) = (OTHER, String::new(), String::new());
        Resource::top(Bridge { id, tenant_id, name, inbound_filter_id, outbound_filter_id: None })
    };
    let no_address = Port { port_subnet: vec![], ..port(nowhere, 1) };
    let bad = [
        (Resource::of(CHAIN, Rule::jump(Uuid::from_u128(50), nowhere)), "its chain to jump to 0"),
        (Resource::of(nowhere, rule(51, RuleType::Accept)), "its chain 0"),
        (Resource::of(CHAIN, rule(52, RuleType::Dnat)), "how a translated packet goes on"),
        (Resource::of(CHAIN, nat(53, RuleType::Snat, &[])), "it has no target"),
        (Resource::of(CHAIN, nat(54, RuleType::Snat, &[(SERVER.1, 9, 1)])), "a target ends before it begins"),
        (
            Resource::of(CHAIN, nat(55, RuleType::Dnat, &[(SERVER.1, 0, 0), (CLIENT.1, 0, 0)])),
            "all without ports",
        ),
        (Resource::of(CHAIN, rule(56, RuleType::Jump)), "it jumps to no chain"),
        (Resource::of(nowhere, port(nowhere, 1)), "its router 0"),
        (Resource::of(ROUTER, no_address), "a router's port has no address"),
        (Resource::top(rule(57, RuleType::Accept)), "it has no parent"),
        (
            Resource::of(ROUTER, route(58, "10.9.0.0/16", RouteType::Normal, Some(nowhere))),
            "its next hop's port 0",
        ),
        (Resource::of(ROUTER, route(59, "10.9.0.0/16", RouteType::Normal, None)), "no port to the next hop"),
        (
            Resource::of(
                ROUTER,
                Route { dst_network_length: 33, ..route(60, "10.9.0.0/16", RouteType::Reject, None) },
            ),
            "longer than 32 bits",
        ),
        (Resource::of(IN, PortLink { port_id: None, peer_id: IN }), "a port is linked to itself"),
        (Resource::of(IN, PortLink { port_id: None, peer_id: nowhere }), "its peer port 0"),
        (bound(OUT, "in"), "the port is taken"),
        (bound(nowhere, "else"), "its port 0"),
        (bridge(Some(nowhere)), "its inbound filter 0"),
    ];
    for (resource, says) in bad {
        let mut all = between(None, None, &[]);
        all.push(resource);
        let (topology, problems) = Topology::posted(&all);
        // A port's own route to its address is left out with it.
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(told.first().is_some_and(|told| told.contains(says)), "{says}: {told:?}");
        assert!(told.len() == 1 || told[0].starts_with("Port "), "{told:?}");
        let mut net = Net(topology, State::new(1));
        net.go("out", Packet::arp_request(SERVER.0, SERVER.1, [10, 0, 2, 1].into()));
        assert_eq!(net.to(SERVER.1).delivered(), [(HOST, "out")], "{says}");
    }
}
