//! What midonet-kube pushes for two nodes with a Pod each, and a Service of both Pods. Each list is one Translation. The
//! order of rules of different lists does not matter, so that there is no chain with rules of several.

use std::net::Ipv4Addr;

use midonet::{
    Bridge, Chain, FlowAction, HostInterfacePort, Ipv4MacPair, Kind, MacPort, NatTarget, Port, PortLink,
    PortRange, PortType, Resource, Route, RouteType, Router, Rule, RuleType, TunnelZone, TunnelZoneHost,
    TunnelZoneType,
};
use naming::Mac;
use uuid::Uuid;

use crate::id;

pub const NODES: [&str; 2] = ["node-1", "node-2"];

const TENANT: &str = "midonetkube";

pub fn chain(name: &str) -> Resource {
    Resource::top(Chain { id: id("chain", name), tenant_id: TENANT.into(), name: name.into() })
}

pub fn rule(chain: &str, name: &str, rule: impl FnOnce(Rule) -> Rule) -> Resource {
    Resource::of(id("chain", chain), rule(Rule::new(id("rule", name), RuleType::Accept)))
}

fn jump(from: &str, to: &str, matching: impl FnOnce(Rule) -> Rule) -> Resource {
    let name = format!("{from} to {to}");
    let to = id("chain", to);
    rule(from, &name, |rule| matching(Rule { rule_type: RuleType::Jump, jump_chain_id: Some(to), ..rule }))
}

fn to(address: Ipv4Addr, port: u16) -> impl Fn(Rule) -> Rule {
    move |rule| Rule {
        dl_type: Some(0x800),
        nw_dst_address: Some(address),
        nw_dst_length: 32,
        nw_proto: 6,
        tp_dst: Some(PortRange { start: port, end: port }),
        ..rule
    }
}

fn from(address: Ipv4Addr) -> impl Fn(Rule) -> Rule {
    move |rule| Rule { dl_type: Some(0x800), nw_src_address: Some(address), nw_src_length: 32, ..rule }
}

fn nat(rule_type: RuleType, targets: &[(Ipv4Addr, u16, u16)], rule: &Rule) -> Rule {
    let target = |(address, first, last): &(Ipv4Addr, u16, u16)| NatTarget {
        address_from: *address,
        address_to: *address,
        port_from: *first,
        port_to: *last,
    };
    let nat_targets = (!targets.is_empty()).then(|| targets.iter().map(target).collect());
    Rule { rule_type, nat_targets, flow_action: Some(FlowAction::Continue), ..rule.clone() }
}

fn mac(of: u8) -> Mac {
    format!("ac:ca:ba:00:00:{of:02x}").parse().unwrap()
}

fn port(id: Uuid, port_type: PortType) -> Port {
    Port {
        id,
        port_type,
        port_subnet: Vec::new(),
        port_mac: None,
        inbound_filter_id: None,
        outbound_filter_id: None,
    }
}

fn route(id: Uuid, address: Ipv4Addr, length: u8, gateway: Option<Ipv4Addr>, port: Uuid) -> Route {
    Route {
        id,
        dst_network_addr: address,
        dst_network_length: length,
        next_hop_gateway: gateway,
        next_hop_port: Some(port),
        src_network_addr: Ipv4Addr::UNSPECIFIED,
        src_network_length: 0,
        route_type: RouteType::Normal,
    }
}

fn globals() -> Vec<Vec<Resource>> {
    let zone = TunnelZone {
        id: Some(id("zone", "")),
        name: "DefaultTunnelZone".into(),
        zone_type: Some(TunnelZoneType::Vxlan),
    };
    let router = Router {
        id: id("router", ""),
        tenant_id: TENANT.into(),
        name: "ClusterRouter".into(),
        inbound_filter_id: None,
        outbound_filter_id: None,
    };
    let undo = |name, rule_type, flow_action| {
        rule("PRE", name, |rule| Rule { rule_type, flow_action: Some(flow_action), ..rule })
    };
    let chains = vec![
        chain("MAIN"),
        chain("PRE"),
        chain("SERVICES"),
        jump("MAIN", "SERVICES", |rule| rule),
        jump("MAIN", "PRE", |rule| rule),
        undo("rev_dnat", RuleType::RevDnat, FlowAction::Accept),
        undo("rev_snat", RuleType::RevSnat, FlowAction::Continue),
    ];
    vec![vec![Resource::top(zone)], vec![Resource::top(router)], chains]
}

fn node(number: u8) -> Vec<Vec<Resource>> {
    let name = NODES[usize::from(number) - 1];
    let (host, bridge, router) = (id("host", name), id("bridge", name), id("router", ""));
    let address = |last| Ipv4Addr::new(10, 1, number, last);
    let (gateway, here) = (address(1), Ipv4Addr::new(192, 0, 2, number));
    let [inner, outer, own] = ["inner", "outer", "own"].map(|of| id("port", &format!("{name} {of}")));
    let member = TunnelZoneHost { host_id: host, ip_address: here };
    let device = Bridge {
        id: bridge,
        tenant_id: TENANT.into(),
        name: name.into(),
        inbound_filter_id: Some(id("chain", "MAIN")),
        outbound_filter_id: None,
    };
    let router_port = Port {
        port_subnet: vec![format!("{gateway}/24").parse().unwrap()],
        port_mac: Some(mac(number)),
        ..port(outer, PortType::Router)
    };
    let node_port = Port { outbound_filter_id: Some(id("chain", name)), ..port(own, PortType::Bridge) };
    let bound = HostInterfacePort { host_id: host, port_id: own, interface_name: "midokube-mido".into() };
    let snat = rule(name, &format!("{name} snat"), |rule| {
        nat(RuleType::Snat, &[(gateway, 30000, 60000)], &from(here)(rule))
    });
    let of_node = vec![
        Resource::top(device),
        Resource::of(bridge, port(inner, PortType::Bridge)),
        Resource::of(router, router_port),
        Resource::of(router, route(id("route", name), address(0), 24, None, outer)),
        Resource::of(inner, PortLink { port_id: None, peer_id: outer }),
        chain(name),
        Resource::of(bridge, node_port),
        Resource::of(host, bound),
        snat,
    ];
    let way = route(id("route", &format!("{name} address")), here, 32, Some(address(2)), outer);
    vec![
        vec![Resource::of(id("zone", ""), member)],
        of_node,
        vec![Resource::of(router, way)],
        vec![Resource::of(bridge, MacPort { mac_addr: mac(0x10 + number), port_id: own })],
        vec![Resource::of(bridge, Ipv4MacPair { ip: address(2), mac: mac(0x10 + number) })],
    ]
}

fn pod(number: u8) -> Vec<Vec<Resource>> {
    let name = NODES[usize::from(number) - 1];
    let (host, bridge, own) = (id("host", name), id("bridge", name), id("port", &format!("pod on {name}")));
    let bound = HostInterfacePort { host_id: host, port_id: own, interface_name: "mido0".into() };
    let mac = mac(0x20 + number);
    vec![
        vec![Resource::of(bridge, port(own, PortType::Bridge)), Resource::of(host, bound)],
        vec![Resource::of(bridge, MacPort { mac_addr: mac, port_id: own })],
        vec![Resource::of(bridge, Ipv4MacPair { ip: [10, 1, number, 10].into(), mac })],
    ]
}

fn service() -> Vec<Vec<Resource>> {
    let cluster_ip = Ipv4Addr::new(10, 96, 0, 1);
    let pods = [1, 2].map(|number| Ipv4Addr::new(10, 1, number, 10));
    let dnat = rule("DNAT", "dnat", |rule| {
        nat(RuleType::Dnat, &pods.map(|pod| (pod, 8080, 8080)), &to(cluster_ip, 80)(rule))
    });
    let endpoint = |pod: Ipv4Addr| {
        let sep = format!("SEP {pod}");
        let snat = rule(&sep, &format!("{pod} snat"), |rule| {
            nat(RuleType::Snat, &[(cluster_ip, 30000, 60000)], &from(pod)(rule))
        });
        vec![chain(&sep), snat, jump("EPS", &sep, to(pod, 8080))]
    };
    let accept = rule("END", "accept", |rule| Rule { dl_type: Some(0x800), ..rule });
    vec![
        vec![
            chain("SVC"),
            chain("DNAT"),
            chain("EPS"),
            chain("END"),
            accept,
            jump("SVC", "END", |rule| rule),
            jump("SVC", "EPS", |rule| rule),
            jump("SVC", "DNAT", |rule| rule),
        ],
        vec![jump("SERVICES", "SVC", to(cluster_ip, 80))],
        vec![dnat],
        [endpoint(pods[0]), endpoint(pods[1])].concat(),
    ]
}

/// Everything.
pub fn wanted() -> Vec<Vec<Resource>> {
    let all = [globals(), node(1), node(2), pod(1), pod(2), service()].concat();
    for kind in Kind::ALL {
        assert!(all.iter().flatten().any(|resource| resource.kind() == kind), "no {kind}");
    }
    all
}
