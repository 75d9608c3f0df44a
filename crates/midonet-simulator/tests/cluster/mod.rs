//! The topology that midonet-kubernetes makes of two nodes, four Pods and two Services, by hand, in the order in which it
//! is posted: rules in the reverse of the order in which packets meet them.

pub(crate) mod ends;

use std::net::Ipv4Addr;

use midonet::{
    Bridge, Chain, FlowAction, HostInterfacePort, Ipv4MacPair, MacPort, NatTarget, Port, PortLink, PortRange,
    PortType, Resource, Route, RouteType, Router, Rule, RuleType, TunnelZone, TunnelZoneHost,
};
use midonet_simulator::{Origin, Packet, State, Topology, Trace};
use naming::{Mac, Tenant, key_mac, sub_id};
use uuid::Uuid;

/// Nodes `1` and `2` with Pods `a` and `b` each.
pub(crate) const PODS: [(u8, &str); 4] = [(1, "a"), (1, "b"), (2, "a"), (2, "b")];
/// Service `web`: port 80 to port 8080 of the Pods 1a, 2a and 2b.
pub(crate) const WEB: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 10), 80);
/// Service `api`: port 443 to port 6443 of node 1 itself.
pub(crate) const API: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 1), 443);
/// The Pods of the Service `web`.
pub(crate) const ENDPOINTS: [(u8, &str); 3] = [(1, "a"), (2, "a"), (2, "b")];

pub(crate) fn id(kind: &str, key: &str) -> Uuid {
    Tenant::default().id(kind, key)
}

pub(crate) fn node_id(node: u8) -> Uuid {
    id("Node", &node.to_string())
}

pub(crate) fn host(node: u8) -> Uuid {
    id("Host", &node.to_string())
}

pub(crate) fn gateway_mac(node: u8) -> Mac {
    key_mac(&node.to_string())
}

pub(crate) fn gateway(node: u8) -> Ipv4Addr {
    [10, 1, node, 1].into()
}

/// The node's address in its Pods' network.
pub(crate) fn node_ip(node: u8) -> Ipv4Addr {
    [10, 1, node, 2].into()
}

/// The node's address in the network of nodes.
pub(crate) fn node_address(node: u8) -> Ipv4Addr {
    [192, 168, 0, node].into()
}

pub(crate) fn node_mac(node: u8) -> Mac {
    Mac([2, 0, 0, 0, node, 2])
}

pub(crate) fn pod_ip(pod: (u8, &str)) -> Ipv4Addr {
    [10, 1, pod.0, if pod.1 == "a" { 3 } else { 4 }].into()
}

pub(crate) fn pod_mac(pod: (u8, &str)) -> Mac {
    let [.., last] = pod_ip(pod).octets();
    Mac([2, 0, 0, 0, pod.0, last])
}

pub(crate) fn interface(pod: (u8, &str)) -> String {
    format!("mido{}{}", pod.0, pod.1)
}

pub(crate) fn ipv4(rule: Rule) -> Rule {
    Rule { dl_type: Some(0x800), ..rule }
}

pub(crate) fn to(rule: Rule, dst: (Ipv4Addr, u16)) -> Rule {
    Rule {
        nw_dst_address: Some(dst.0),
        nw_dst_length: 32,
        nw_proto: 6,
        tp_dst: Some(PortRange { start: dst.1, end: dst.1 }),
        ..ipv4(rule)
    }
}

pub(crate) fn target(address: Ipv4Addr, ports: (u16, u16)) -> NatTarget {
    NatTarget { address_from: address, address_to: address, port_from: ports.0, port_to: ports.1 }
}

pub(crate) fn nat(id: Uuid, rule_type: RuleType, action: FlowAction, targets: &[NatTarget]) -> Rule {
    let nat_targets = (!targets.is_empty()).then(|| targets.to_vec());
    Rule { flow_action: Some(action), nat_targets, ..Rule::new(id, rule_type) }
}

fn chain(id: Uuid, name: &str) -> Resource {
    Resource::top(Chain { id, tenant_id: "midonetkube".into(), name: name.into() })
}

fn port(id: Uuid, port_type: PortType) -> Port {
    let (inbound_filter_id, outbound_filter_id) = (None, None);
    Port { id, port_type, port_subnet: vec![], port_mac: None, inbound_filter_id, outbound_filter_id }
}

pub(crate) fn main_chain() -> Uuid {
    id("midonet-global", "chain")
}

pub(crate) fn router() -> Uuid {
    sub_id(&main_chain(), "Cluster Router")
}

pub(crate) fn zone() -> Uuid {
    sub_id(&main_chain(), "Default Tunnel Zone")
}

fn globals() -> Vec<Resource> {
    let main = main_chain();
    let sub = |name| sub_id(&main, name);
    let (pre, services) = (sub("Pre Chain"), sub("Services Chain"));
    let device = (router(), "ClusterRouter".into());
    vec![
        Resource::top(TunnelZone { id: Some(zone()), name: "DefaultTunnelZone".into(), zone_type: None }),
        Resource::top(Router {
            id: device.0,
            tenant_id: String::new(),
            name: device.1,
            inbound_filter_id: None,
            outbound_filter_id: None,
        }),
        chain(main, "KUBE-MAIN"),
        chain(pre, "KUBE-PRE"),
        chain(services, "KUBE-SERVICES"),
        Resource::of(main, Rule::jump(sub("Jump To Services"), services)),
        Resource::of(main, Rule::jump(sub("Jump To Pre"), pre)),
        Resource::of(pre, nat(sub("Reverse DNAT"), RuleType::RevDnat, FlowAction::Accept, &[])),
        Resource::of(pre, nat(sub("Reverse SNAT"), RuleType::RevSnat, FlowAction::Continue, &[])),
    ]
}

fn route(id: Uuid, dst: (Ipv4Addr, u8), via: Option<Ipv4Addr>, port: Uuid) -> Resource {
    Resource::of(
        router(),
        Route {
            id,
            dst_network_addr: dst.0,
            dst_network_length: dst.1,
            next_hop_gateway: via,
            next_hop_port: Some(port),
            src_network_addr: Ipv4Addr::UNSPECIFIED,
            src_network_length: 0,
            route_type: RouteType::Normal,
        },
    )
}

fn node(node: u8) -> Vec<Resource> {
    let bridge = node_id(node);
    let sub = |name| sub_id(&bridge, name);
    let (to_router, of_router, own) = (sub("Bridge Port"), sub("Router Port"), sub("Node Port"));
    let snat = sub("Node Port Chain");
    let source = Rule {
        nw_src_address: Some(node_ip(node)),
        nw_src_length: 32,
        ..ipv4(nat(
            sub("Node Port SNAT Rule"),
            RuleType::Snat,
            FlowAction::Continue,
            &[target(gateway(node), (30000, 60000))],
        ))
    };
    let subnet = format!("{}/24", gateway(node)).parse().unwrap();
    vec![
        Resource::top(Bridge {
            id: bridge,
            tenant_id: String::new(),
            name: node.to_string(),
            inbound_filter_id: Some(main_chain()),
            outbound_filter_id: None,
        }),
        Resource::of(bridge, port(to_router, PortType::Bridge)),
        Resource::of(
            router(),
            Port {
                port_subnet: vec![subnet],
                port_mac: Some(gateway_mac(node)),
                ..port(of_router, PortType::Router)
            },
        ),
        route(sub("Route"), ([10, 1, node, 0].into(), 24), None, of_router),
        Resource::of(to_router, PortLink { port_id: None, peer_id: of_router }),
        chain(snat, &format!("KUBE-NODE-{node}")),
        Resource::of(bridge, Port { outbound_filter_id: Some(snat), ..port(own, PortType::Bridge) }),
        Resource::of(host(node), binding(node, own, "midokube-mido")),
        Resource::of(snat, source),
        route(
            id("Node Address", &format!("{node}/InternalIP")),
            (node_address(node), 32),
            Some(node_ip(node)),
            of_router,
        ),
        Resource::of(zone(), TunnelZoneHost { host_id: host(node), ip_address: node_address(node) }),
        Resource::of(bridge, MacPort { mac_addr: node_mac(node), port_id: own }),
        Resource::of(bridge, Ipv4MacPair { ip: node_ip(node), mac: node_mac(node) }),
    ]
}

fn binding(node: u8, port_id: Uuid, interface: &str) -> HostInterfacePort {
    HostInterfacePort { host_id: host(node), port_id, interface_name: interface.into() }
}

pub(crate) fn pod_port(pod: (u8, &str)) -> Uuid {
    id("Pod", &format!("default/{}{}", pod.0, pod.1))
}

fn pod(pod: (u8, &str)) -> Vec<Resource> {
    let bridge = node_id(pod.0);
    vec![
        Resource::of(bridge, port(pod_port(pod), PortType::Bridge)),
        Resource::of(host(pod.0), binding(pod.0, pod_port(pod), &interface(pod))),
        Resource::of(bridge, MacPort { mac_addr: pod_mac(pod), port_id: pod_port(pod) }),
        Resource::of(bridge, Ipv4MacPair { ip: pod_ip(pod), mac: pod_mac(pod) }),
    ]
}

pub(crate) fn service_chain(name: &str) -> Uuid {
    id("ServicePort", &format!("default/{name}/"))
}

/// The rule that spreads connections to a Service. It matches the Service's address alone, so that it leaves what another
/// such rule translated as it is.
pub(crate) fn spread(rule: Uuid, service: (Ipv4Addr, u16), endpoints: &[(Ipv4Addr, u16)]) -> Rule {
    let targets: Vec<_> = endpoints.iter().map(|(address, port)| target(*address, (*port, *port))).collect();
    to(nat(rule, RuleType::Dnat, FlowAction::Continue, &targets), service)
}

fn service(name: &str, address: (Ipv4Addr, u16), endpoints: &[(Ipv4Addr, u16)]) -> Vec<Resource> {
    let services = sub_id(&main_chain(), "Services Chain");
    let svc = service_chain(name);
    let mut all = vec![
        chain(svc, &format!("KUBE-SVC-default/{name}/")),
        Resource::of(services, to(Rule::jump(id("ServicePortSub", name), svc), address)),
    ];
    for endpoint in endpoints {
        let sep = id("Endpoint", &format!("{name}/{}", endpoint.0));
        let own = Rule {
            nw_src_address: Some(endpoint.0),
            nw_src_length: 32,
            ..ipv4(nat(
                sub_id(&sep, "SNAT"),
                RuleType::Snat,
                FlowAction::Continue,
                &[target(address.0, (30000, 60000))],
            ))
        };
        all.extend([
            chain(sep, &format!("KUBE-SEP-{name}/{}", endpoint.0)),
            Resource::of(sep, Rule::new(sub_id(&sep, "Accept"), RuleType::Accept)),
            Resource::of(sep, own),
            Resource::of(svc, to(Rule::jump(sub_id(&sep, "Jump to Endpoint"), sep), *endpoint)),
        ]);
    }
    all.push(Resource::of(svc, spread(id("Spread", name), address, endpoints)));
    all
}

pub(crate) fn endpoints() -> Vec<(Ipv4Addr, u16)> {
    ENDPOINTS.iter().map(|pod| (pod_ip(*pod), 8080)).collect()
}

pub(crate) fn resources() -> Vec<Resource> {
    let mut all = globals();
    all.extend(node(1));
    all.extend(node(2));
    all.extend(PODS.into_iter().flat_map(pod));
    all.extend(service("web", WEB, &endpoints()));
    all.extend(service("api", API, &[(node_address(1), 6443)]));
    all
}

/// The topology and what agents know: nothing yet.
pub(crate) struct Cluster {
    pub(crate) topology: Topology,
    pub(crate) state: State,
}

impl Cluster {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(&resources(), seed)
    }

    pub(crate) fn of(resources: &[Resource], seed: u64) -> Self {
        let (topology, problems) = Topology::posted(resources);
        assert_eq!(problems, []);
        Self { topology, state: State::new(seed) }
    }

    pub(crate) fn pod_sends(&mut self, pod: (u8, &str), packet: Packet) -> Trace {
        let at = Origin::Interface { host: host(pod.0), interface: &interface(pod) };
        self.topology.simulate(&mut self.state, at, packet)
    }

    pub(crate) fn node_sends(&mut self, node: u8, packet: Packet) -> Trace {
        let at = Origin::Interface { host: host(node), interface: "midokube-mido" };
        self.topology.simulate(&mut self.state, at, packet)
    }
}

/// From a Pod to an address that is not on its node's network, or to a Service.
pub(crate) fn through_gateway(pod: (u8, &str), src_port: u16, dst: (Ipv4Addr, u16)) -> Packet {
    Packet::tcp((pod_mac(pod), gateway_mac(pod.0)), (pod_ip(pod), src_port), dst)
}
