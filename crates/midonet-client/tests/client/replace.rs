//! What a push does where MidoNet has other content.

use midonet::{
    HostInterfacePort, Port, PortLink, PortType, Resource, Route, RouteType, TunnelZone, TunnelZoneHost,
    TunnelZoneType,
};
use midonet_client::Class;
use serde_json::{Value, json};

use crate::push::{at, bridge, bridge_there, done, exists, gone, has, push, report, rule, rule_there, step};
use crate::{id, ok, says};

#[tokio::test]
async fn what_can_be_replaced_in_place_is() {
    let (result, sent) = push(
        &[bridge("new")],
        vec![
            step("POST /bridges", exists()),
            step(format!("GET {}", at("bridges", "bridge")), has(&bridge_there("old"))),
            step(format!("PUT {}", at("bridges", "bridge")), done()),
        ],
    )
    .await;
    assert_eq!(result.unwrap(), report(0, 1, 0, 3));
    assert_eq!(sent[2], sent[0]);
}

#[tokio::test]
async fn what_has_no_put_is_deleted_and_created() {
    let binding = HostInterfacePort { host_id: id("h"), port_id: id("p"), interface_name: "mido0".into() };
    let route = Route {
        id: id("route"),
        dst_network_addr: [10, 1, 2, 0].into(),
        dst_network_length: 24,
        next_hop_gateway: None,
        next_hop_port: Some(id("p")),
        src_network_addr: [0, 0, 0, 0].into(),
        src_network_length: 0,
        route_type: RouteType::Normal,
    };
    let mut there = serde_json::to_value(&route).unwrap();
    there["nextHopPort"] = json!(id("old"));
    there["routerId"] = json!(id("router"));
    let host = TunnelZoneHost { host_id: id("h"), ip_address: [192, 0, 2, 1].into() };
    let cases = [
        (
            Resource::of(id("h"), binding),
            json!({"hostId": id("h"), "portId": id("p"), "interfaceName": "mido1"}),
        ),
        (Resource::of(id("router"), route), there),
        (Resource::of(id("zone"), host), json!({"hostId": id("h"), "ipAddress": "192.0.2.2"})),
    ];
    for (resource, there) in cases {
        let (collection, item) = (resource.collection_path().unwrap(), resource.item_path().unwrap());
        let (result, _) = push(
            &[resource],
            vec![
                step(format!("POST {collection}"), exists()),
                step(format!("GET {item}"), has(&there)),
                step(format!("DELETE {item}"), done()),
                step(format!("POST {collection}"), ok()),
            ],
        )
        .await;
        assert_eq!(result.unwrap(), report(0, 1, 0, 4));
    }
}

#[tokio::test]
async fn a_rule_that_differs_keeps_its_position() {
    let mut there = rule_there("r", 3);
    there["nwProto"] = json!(17);
    let item = at("rules", "r");
    let rules = format!("{}/rules", at("chains", "chain"));
    let (result, sent) = push(
        &[rule("r")],
        vec![
            step(format!("POST {rules}"), exists()),
            step(format!("GET {item}"), has(&there)),
            step(format!("DELETE {item}"), done()),
            step(format!("POST {rules}"), ok()),
        ],
    )
    .await;
    assert_eq!(result.unwrap(), report(0, 1, 0, 4));
    let sent: Value = serde_json::from_str(&sent[3]).unwrap();
    assert_eq!((&sent["position"], &sent["nwProto"]), (&json!(3), &json!(6)));
}

#[tokio::test]
async fn a_rule_behind_one_that_it_has_to_precede_is_created_in_front() {
    let rules = format!("{}/rules", at("chains", "chain"));
    // The first was lost, and is in front now. The second is in its place behind it; the third is in front of that.
    let (result, sent) = push(
        &[rule("1"), rule("2"), rule("3")],
        vec![
            step(format!("POST {rules}"), ok()),
            step(format!("POST {rules}"), exists()),
            step(format!("GET {}", at("rules", "2")), has(&rule_there("2", 3))),
            step(format!("DELETE {}", at("rules", "2")), done()),
            step(format!("POST {rules}"), ok()),
            step(format!("POST {rules}"), exists()),
            step(format!("GET {}", at("rules", "3")), has(&rule_there("3", 3))),
            step(format!("DELETE {}", at("rules", "3")), done()),
            step(format!("POST {rules}"), ok()),
        ],
    )
    .await;
    assert_eq!(result.unwrap(), report(1, 2, 0, 9));
    assert!(!sent[4].contains("position"), "{}", sent[4]);
    // In order already.
    let (result, _) = push(
        &[rule("1"), rule("2")],
        vec![
            step(format!("POST {rules}"), exists()),
            step(format!("GET {}", at("rules", "1")), has(&rule_there("1", 9))),
            step(format!("POST {rules}"), exists()),
            step(format!("GET {}", at("rules", "2")), has(&rule_there("2", 4))),
        ],
    )
    .await;
    assert_eq!(result.unwrap(), report(0, 0, 2, 4));
}

fn port(port_type: PortType, subnet: &[&str]) -> Port {
    Port {
        id: id("port"),
        port_type,
        port_subnet: subnet.iter().map(|subnet| subnet.parse().unwrap()).collect(),
        port_mac: None,
        inbound_filter_id: None,
        outbound_filter_id: None,
    }
}

#[tokio::test]
async fn a_port_of_another_bridge_is_made_anew() {
    let port = Resource::of(id("bridge"), port(PortType::Bridge, &[]));
    let there = json!({"type": "Bridge", "id": id("port"), "deviceId": id("other"), "hostId": null});
    let (result, _) = push(
        &[port],
        vec![
            step(format!("POST {}/ports", at("bridges", "bridge")), exists()),
            step(format!("GET {}", at("ports", "port")), has(&there)),
            step(format!("DELETE {}", at("ports", "port")), done()),
            step(format!("POST {}/ports", at("bridges", "bridge")), ok()),
        ],
    )
    .await;
    assert_eq!(result.unwrap(), report(0, 1, 0, 4));
}

#[tokio::test]
async fn a_routers_own_route_follows_the_address_of_its_port() {
    let resource = Resource::of(id("router"), port(PortType::Router, &["10.1.2.1/24"]));
    let there =
        json!({"type": "Router", "id": id("port"), "deviceId": id("router"), "portSubnet": ["10.9.9.1/24"]});
    let local = |name: &str, address: &str, of: &str| json!({"id": id(name), "type": "Local", "dstNetworkAddr": address, "dstNetworkLength": 32, "nextHopPort": id(of)});
    let routes = json!([
        local("old", "10.9.9.1", "port"),
        local("others", "10.8.8.1", "another"),
        {"id": id("n"), "type": "Normal", "dstNetworkAddr": "10.9.9.1", "dstNetworkLength": 32, "nextHopPort": id("port")},
    ]);
    let collection = format!("{}/routes", at("routers", "router"));
    let (result, sent) = push(
        &[resource],
        vec![
            step(format!("POST {}/ports", at("routers", "router")), exists()),
            step(format!("GET {}", at("ports", "port")), has(&there)),
            step(format!("GET {collection}"), has(&routes)),
            step(format!("DELETE {}", at("routes", "old")), done()),
            step(format!("POST {collection}"), ok()),
            step(format!("PUT {}", at("ports", "port")), done()),
        ],
    )
    .await;
    assert_eq!(result.unwrap(), report(0, 1, 0, 6));
    let route: Value = serde_json::from_str(&sent[4]).unwrap();
    assert_eq!((&route["type"], &route["dstNetworkAddr"]), (&json!("Local"), &json!("10.1.2.1")));
}

#[tokio::test]
async fn a_binding_at_another_host_is_taken_away() {
    let binding = HostInterfacePort { host_id: id("h"), port_id: id("p"), interface_name: "mido0".into() };
    let binding = Resource::of(id("h"), binding);
    let collection = format!("{}/ports", at("hosts", "h"));
    let begin = |port: &Value| {
        vec![
            step(format!("POST {collection}"), says(409, "Port p is already bound to an interface")),
            step(format!("GET {collection}/{}", id("p")), says(404, "Host interface port not found")),
            step(format!("GET {}", at("ports", "p")), has(port)),
        ]
    };
    let mut script = begin(&json!({"type": "Bridge", "hostId": id("old")}));
    script.push(step(format!("DELETE {}/ports/{}", at("hosts", "old"), id("p")), done()));
    script.push(step(format!("POST {collection}"), ok()));
    assert_eq!(push(std::slice::from_ref(&binding), script).await.0.unwrap(), report(0, 1, 0, 5));
    // Not bound at all: the host is in no tunnel zone, yet.
    let (result, _) = push(&[binding], begin(&json!({"type": "Bridge", "hostId": null}))).await;
    let error = result.unwrap_err();
    assert_eq!(error.error.class(), Class::Conflict);
    assert!(error.to_string().contains("Port p is already bound"), "{error}");
}

#[tokio::test]
async fn a_link_to_another_port_is_replaced() {
    let link = Resource::of(id("a"), PortLink { port_id: None, peer_id: id("b") });
    for (there, linked) in [(json!({"peerId": id("c")}), "a"), (json!({"peerId": null}), "b")] {
        let script = vec![
            step(format!("POST {}/link", at("ports", "a")), says(409, "Ports are not linkable.")),
            step(format!("GET {}", at("ports", "a")), has(&there)),
            step(format!("DELETE {}/link", at("ports", linked)), done()),
            step(format!("POST {}/link", at("ports", "a")), ok()),
        ];
        let (result, sent) = push(std::slice::from_ref(&link), script).await;
        assert_eq!(result.unwrap(), report(0, 1, 0, 4));
        assert_eq!(sent[3], format!(r#"{{"peerId":"{}"}}"#, id("b")));
    }
}

#[tokio::test]
async fn a_rules_place_that_is_gone_does_not_cost_the_rule() {
    let rules = format!("{}/rules", at("chains", "chain"));
    let mut there = rule_there("r", 7);
    there["nwProto"] = 17.into();
    let script = vec![
        step(format!("POST {rules}"), exists()),
        step(format!("GET {}", at("rules", "r")), has(&there)),
        step(format!("DELETE {}", at("rules", "r")), done()),
        step(format!("POST {rules}"), says(400, "position is greater than the number of rules")),
        step(format!("POST {rules}"), ok()),
    ];
    let (result, sent) = push(&[rule("r")], script).await;
    assert_eq!(result.unwrap(), report(0, 1, 0, 5));
    assert!(sent[3].contains(r#""position":7"#) && !sent[4].contains("position"), "{sent:?}");
}

#[tokio::test]
async fn a_tunnel_zones_type_cannot_be_changed_and_its_name_can_be_somebody_elses() {
    let zone = |zone_type| TunnelZone { id: Some(id("zone")), name: "z".into(), zone_type: Some(zone_type) };
    let zone = Resource::top(zone(TunnelZoneType::Vxlan));
    let taken = || says(409, "Tunnel zone name already exists.");
    let (result, _) = push(
        std::slice::from_ref(&zone),
        vec![
            step("POST /tunnel_zones", taken()),
            step(
                format!("GET {}", at("tunnel_zones", "zone")),
                has(&json!({"id": id("zone"), "name": "z", "type": "gre"})),
            ),
        ],
    )
    .await;
    assert_eq!(result.unwrap(), report(0, 0, 1, 2));
    let (result, _) = push(
        std::slice::from_ref(&zone),
        vec![
            step("POST /tunnel_zones", taken()),
            step(
                format!("GET {}", at("tunnel_zones", "zone")),
                has(&json!({"id": id("zone"), "name": "old", "type": "vxlan"})),
            ),
            step(format!("PUT {}", at("tunnel_zones", "zone")), taken()),
        ],
    )
    .await;
    assert_eq!(result.unwrap_err().error.class(), Class::Conflict);
    let (result, _) = push(
        &[zone],
        vec![
            step("POST /tunnel_zones", taken()),
            step(format!("GET {}", at("tunnel_zones", "zone")), gone()),
        ],
    )
    .await;
    let error = result.unwrap_err();
    assert!(
        error.to_string().contains("Tunnel zone name already exists.; delete or rename the other"),
        "{error}"
    );
}
