//! After any requests, what is stored agrees with itself, and what is told of it makes the same again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use midonet::{Kind, Resource};
use midonet_standin::{Request, Store, Topology};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

const NAMES: u8 = 3;

/// One of a few ids of a kind.
fn id(kind: &str, name: u8) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{kind}{name}").as_bytes())
}

/// A request that may or may not be refused.
fn request(what: u8, a: u8, b: u8, c: u8) -> Request {
    let of = |kind: &str, name: u8| id(kind, name);
    let post = |path: String, kind: Kind, body: serde_json::Value| {
        Request::new("POST", &path).with_body(kind.media_type(), &body.to_string())
    };
    let delete = |path: String| Request::new("DELETE", &path);
    match what {
        0 => post("/chains".into(), Kind::Chain, json!({"id": of("chain", a)})),
        1 => post(
            "/routers".into(),
            Kind::Router,
            json!({"id": of("router", a), "inboundFilterId": of("chain", b)}),
        ),
        2 => post(
            "/bridges".into(),
            Kind::Bridge,
            json!({"id": of("bridge", a), "outboundFilterId": of("chain", b)}),
        ),
        3 => {
            let body =
                json!({"id": of("port", a), "type": "Router", "portSubnet": [format!("10.{a}.0.1/24")]});
            post(format!("/routers/{}/ports", of("router", b)), Kind::Port, body)
        }
        4 => {
            let body = json!({"id": of("port", a), "type": "Bridge", "inboundFilterId": of("chain", c)});
            post(format!("/bridges/{}/ports", of("bridge", b)), Kind::Port, body)
        }
        5 => post(format!("/ports/{}/link", of("port", a)), Kind::PortLink, json!({"peerId": of("port", b)})),
        6 => {
            let body = json!({
                "id": of("route", a), "type": if c == 0 { "BlackHole" } else { "Normal" }, "dstNetworkAddr": "10.9.0.0",
                "dstNetworkLength": 16, "srcNetworkAddr": "0.0.0.0", "nextHopPort": (c > 0).then(|| of("port", c)),
            });
            post(format!("/routers/{}/routes", of("router", b)), Kind::Route, body)
        }
        7 => {
            let body = json!({"id": of("rule", a), "type": "jump", "jumpChainId": of("chain", c)});
            post(format!("/chains/{}/rules", of("chain", b)), Kind::Rule, body)
        }
        8 => {
            let body = json!({"portId": of("port", b), "interfaceName": format!("mido{c}")});
            post(format!("/hosts/{}/ports", of("host", a)), Kind::HostInterfacePort, body)
        }
        9 => {
            let body = json!({"macAddr": format!("02:00:00:00:00:0{c}"), "portId": of("port", b)});
            post(format!("/bridges/{}/mac_table", of("bridge", a)), Kind::MacPort, body)
        }
        10 => {
            let body = json!({"ip": format!("10.0.0.{b}"), "mac": format!("02:00:00:00:00:0{c}")});
            post(format!("/bridges/{}/arp_table", of("bridge", a)), Kind::Ipv4MacPair, body)
        }
        11 => delete(format!("/chains/{}", of("chain", a))),
        12 => delete(format!("/routers/{}", of("router", a))),
        13 => delete(format!("/bridges/{}", of("bridge", a))),
        14 => delete(format!("/ports/{}", of("port", a))),
        15 => delete(format!("/ports/{}/link", of("port", a))),
        16 => delete(format!("/routes/{}", of("route", a))),
        17 => delete(format!("/rules/{}", of("rule", a))),
        18 => delete(format!("/hosts/{}/ports/{}", of("host", a), of("port", b))),
        _ => {
            let body =
                json!({"type": if c == 0 { "Router" } else { "Bridge" }, "outboundFilterId": of("chain", b)});
            Request::new("PUT", &format!("/ports/{}", of("port", a)))
                .with_body(Kind::Port.media_type(), &body.to_string())
        }
    }
}

/// Chains, routers, bridges, a router's port and two of bridges, a link, a binding, jumps and routes: what follows finds
/// something.
const BEGINNING: [(u8, u8, u8, u8); 16] = [
    (0, 0, 0, 0),
    (0, 1, 0, 0),
    (0, 2, 0, 0),
    (1, 0, 1, 0),
    (1, 1, 2, 0),
    (2, 0, 1, 0),
    (2, 1, 2, 0),
    (3, 0, 0, 0),
    (4, 1, 0, 1),
    (4, 2, 1, 2),
    (5, 1, 0, 0),
    (7, 0, 0, 1),
    (7, 1, 1, 2),
    (6, 0, 0, 0),
    (8, 0, 2, 0),
    (9, 1, 2, 0),
];

/// An empty store with hosts in a tunnel zone.
fn empty(with_zone: bool) -> Store {
    let mut store = Store::new(1);
    for name in 0..NAMES {
        store.add_host(id("host", name), "host");
    }
    if with_zone {
        let zone = json!({"id": id("zone", 0), "name": "zone", "type": "vxlan"}).to_string();
        let request = Request::new("POST", "/tunnel_zones").with_body(Kind::TunnelZone.media_type(), &zone);
        assert_eq!(store.handle(&request).status, 201);
        for name in 0..NAMES {
            let member =
                json!({"hostId": id("host", name), "ipAddress": format!("192.0.2.{name}")}).to_string();
            let request = Request::new("POST", &format!("/tunnel_zones/{}/hosts", id("zone", 0)))
                .with_body(Kind::TunnelZoneHost.media_type(), &member);
            assert_eq!(store.handle(&request).status, 201);
        }
    }
    store
}

/// Everything that is named is there.
fn check(topology: &Topology) {
    let chains: BTreeSet<_> = topology.chains.iter().map(|(chain, _)| chain.id).collect();
    let devices = topology
        .routers
        .iter()
        .map(|router| router.id)
        .chain(topology.bridges.iter().map(|bridge| bridge.id));
    let devices: BTreeSet<_> = devices.collect();
    let ports: BTreeMap<_, _> = topology.ports.iter().map(|node| (node.port.id, node)).collect();
    let filters =
        topology.routers.iter().flat_map(|router| [router.inbound_filter_id, router.outbound_filter_id]);
    let filters = filters.chain(
        topology.bridges.iter().flat_map(|bridge| [bridge.inbound_filter_id, bridge.outbound_filter_id]),
    );
    let filters = filters
        .chain(ports.values().flat_map(|node| [node.port.inbound_filter_id, node.port.outbound_filter_id]));
    let jumps = topology.chains.iter().flat_map(|(_, rules)| rules).map(|rule| rule.jump_chain_id);
    for chain in filters.chain(jumps).flatten() {
        assert!(chains.contains(&chain), "chain {chain}");
    }
    let mut interfaces = BTreeSet::new();
    for (id, node) in &ports {
        assert!(devices.contains(&node.device), "device {}", node.device);
        if let Some(peer) = node.peer {
            assert_eq!(ports[&peer].peer, Some(*id));
        }
        if let Some(binding) = &node.binding {
            assert!(interfaces.insert((binding.host_id, binding.interface_name.clone())), "{binding:?}");
        }
    }
    for node in &topology.routes {
        assert!(node.router.is_some_and(|router| devices.contains(&router)), "{node:?}");
        assert!(node.route.next_hop_port.is_none_or(|port| ports.contains_key(&port)), "{node:?}");
    }
}

/// Pushes a resource as midonet-kube does.
fn push(store: &mut Store, resource: &Resource) {
    let mut body = serde_json::to_value(&resource.body).unwrap();
    if resource.kind() == Kind::PortLink {
        body.as_object_mut().unwrap().remove("portId");
    }
    let request = Request::new("POST", &resource.collection_path().unwrap())
        .with_body(resource.kind().media_type(), &body.to_string());
    let response = store.handle(&request);
    assert_eq!(response.status, 201, "{resource:?}: {}", response.body);
}

/// The same without what cannot be made again: entries of ports that are gone, and the random ids of automatic routes.
fn comparable(mut topology: Topology) -> Topology {
    let ports: BTreeSet<_> = topology.ports.iter().map(|node| (node.device, node.port.id)).collect();
    topology.macs.retain(|(bridge, entry)| ports.contains(&(*bridge, entry.port_id)));
    topology.routes.retain(|node| !node.automatic);
    topology
}

#[test]
fn the_beginning_is_not_refused() {
    let mut store = empty(true);
    for (what, a, b, c) in BEGINNING {
        let response = store.handle(&request(what, a, b, c));
        assert_eq!(response.status, 201, "{what} {a} {b} {c}: {}", response.body);
    }
}

proptest! {
    #[test]
    fn after_any_requests(
        requests in prop::collection::vec((0u8..20, 0..NAMES, 0..NAMES, 0..NAMES), 0..80),
    ) {
        let mut store = empty(true);
        for (what, a, b, c) in BEGINNING.into_iter().chain(requests) {
            let response = store.handle(&request(what, a, b, c));
            prop_assert!(response.status != 501);
        }
        let topology = store.topology().unwrap();
        check(&topology);
        // A router's port that lost its address by a PUT cannot be made again.
        prop_assume!(topology.ports.iter().all(|node| {
            node.port.port_type == midonet::PortType::Bridge || !node.port.port_subnet.is_empty()
        }));
        let mut again = empty(false);
        for resource in topology.resources() {
            push(&mut again, &resource);
        }
        prop_assert_eq!(comparable(again.topology().unwrap()), comparable(topology));
    }
}
