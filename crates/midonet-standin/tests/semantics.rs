//! What the table shows only the beginning of, or not at all: the facts that were observed beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use midonet_standin::{Request, Response, Store};
use serde_json::{Value, json};
use uuid::Uuid;

fn id(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

fn send(store: &mut Store, method: &str, path: &str, body: &Value) -> Response {
    store.handle(&Request::new(method, path).with_body("application/json", &body.to_string()))
}

fn post(store: &mut Store, path: &str, body: &Value) -> Response {
    send(store, "POST", path, body)
}

/// The body of an answer. Keys may be there twice: the last one is taken.
fn get(store: &mut Store, path: &str) -> Value {
    let response = store.handle(&Request::new("GET", path).accepting("application/json"));
    assert_eq!(response.status, 200, "{path}: {}", response.body);
    serde_json::from_str(&response.body).unwrap()
}

fn made(response: &Response) {
    assert_eq!(response.status, 201, "{}", response.body);
}

/// A router with a port, a bridge with two, a host in a tunnel zone, and two chains.
fn network() -> Store {
    let mut store = Store::new(1);
    store.add_host(id("host"), "node-1");
    let zone = json!({"id": id("zone"), "name": "zone", "type": "vxlan"});
    made(&post(&mut store, "/tunnel_zones", &zone));
    let at = format!("/tunnel_zones/{}/hosts", id("zone"));
    let member = json!({"hostId": id("host"), "ipAddress": "192.0.2.1"}).to_string();
    let request =
        Request::new("POST", &at).with_body("application/vnd.org.midonet.TunnelZoneHost-v1+json", &member);
    made(&store.handle(&request));
    for chain in ["chain", "other"] {
        made(&post(&mut store, "/chains", &json!({"id": id(chain), "name": chain, "tenantId": "t"})));
    }
    made(&post(&mut store, "/routers", &json!({"id": id("router"), "tenantId": "t", "name": "router"})));
    made(&post(
        &mut store,
        "/bridges",
        &json!({"id": id("bridge"), "tenantId": "t", "inboundFilterId": id("chain")}),
    ));
    let port = json!({"id": id("rport"), "type": "Router", "portSubnet": ["10.1.0.1/24"], "portMac": "ac:ca:ba:00:00:01"});
    made(&post(&mut store, &format!("/routers/{}/ports", id("router")), &port));
    for port in ["bport", "pod"] {
        let body = json!({"id": id(port), "type": "Bridge", "outboundFilterId": id("chain")});
        made(&post(&mut store, &format!("/bridges/{}/ports", id("bridge")), &body));
    }
    made(&post(&mut store, &format!("/ports/{}/link", id("bport")), &json!({"peerId": id("rport")})));
    made(&post(
        &mut store,
        &format!("/hosts/{}/ports", id("host")),
        &json!({"portId": id("pod"), "interfaceName": "mido0"}),
    ));
    store
}

#[test]
fn rules_go_to_the_front_or_where_they_are_told() {
    let mut store = network();
    let rules = format!("/chains/{}/rules", id("chain"));
    for (name, position) in [("a", None), ("b", None), ("c", Some(3)), ("d", Some(2)), ("e", Some(0))] {
        let mut body = json!({"id": id(name), "type": "accept"});
        if let Some(position) = position {
            body["position"] = position.into();
        }
        made(&post(&mut store, &rules, &body));
    }
    let list = get(&mut store, &rules);
    let found: Vec<_> =
        list.as_array().unwrap().iter().map(|rule| (rule["id"].clone(), rule["position"].clone())).collect();
    let wanted: Vec<_> =
        ["e", "b", "d", "a", "c"].iter().zip(1..).map(|(name, at)| (json!(id(name)), json!(at))).collect();
    assert_eq!(found, wanted);
    assert_eq!(get(&mut store, &format!("/rules/{}", id("a")))["position"], 4);
    let topology = store.topology().unwrap();
    let (_, rules) = topology.chains.iter().find(|(chain, _)| chain.id == id("chain")).unwrap();
    assert_eq!(rules.iter().map(|rule| rule.id).collect::<Vec<_>>(), ["e", "b", "d", "a", "c"].map(id));
}

#[test]
fn the_fragment_policy_follows_what_is_matched_and_translated() {
    let mut store = network();
    let target = |port: u16| json!([{"addressFrom": "10.1.0.5", "addressTo": "10.1.0.5", "portFrom": port, "portTo": port}]);
    for (wanted, body) in [
        ("any", json!({"type": "accept"})),
        ("header", json!({"type": "drop", "nwProto": 6, "tpDst": {"start": 80, "end": 80}})),
        ("unfragmented", json!({"type": "dnat", "flowAction": "continue", "natTargets": target(80)})),
        ("any", json!({"type": "dnat", "flowAction": "continue", "natTargets": target(0)})),
        ("any", json!({"type": "rev_snat", "flowAction": "continue"})),
    ] {
        let made = post(&mut store, &format!("/chains/{}/rules", id("chain")), &body);
        let path = made.location.unwrap_or_else(|| panic!("{body}: {}", made.body));
        assert_eq!(get(&mut store, &path)["fragmentPolicy"], wanted, "{body}");
    }
}

#[test]
fn a_put_replaces_all_but_what_the_server_keeps() {
    let mut store = network();
    let (bridge, pod) = (format!("/bridges/{}", id("bridge")), format!("/ports/{}", id("pod")));
    assert_eq!(send(&mut store, "PUT", &bridge, &json!({"name": "new"})).status, 204);
    let found = get(&mut store, &bridge);
    assert_eq!(
        (&found["name"], &found["tenantId"], &found["inboundFilterId"]),
        (&json!("new"), &Value::Null, &Value::Null)
    );
    let before = get(&mut store, &pod);
    assert_eq!(
        send(&mut store, "PUT", &pod, &json!({"id": id("x"), "type": "Bridge", "adminStateUp": false}))
            .status,
        204
    );
    let after = get(&mut store, &pod);
    for field in ["id", "hostId", "interfaceName", "tunnelKey"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!((&after["adminStateUp"], &after["outboundFilterId"]), (&json!(false), &Value::Null));
    let link = format!("/ports/{}", id("bport"));
    assert_eq!(send(&mut store, "PUT", &link, &json!({"type": "Bridge"})).status, 204);
    assert_eq!(get(&mut store, &link)["peerId"], json!(id("rport")));
}

#[test]
fn a_router_port_has_a_local_route_of_the_address_that_it_was_made_with() {
    let mut store = network();
    let routes = format!("/routers/{}/routes", id("router"));
    let local = |store: &mut Store| {
        let list = get(store, &routes);
        let route = &list.as_array().unwrap()[0];
        assert_eq!(
            (&route["type"], &route["weight"], &route["nextHopPort"]),
            (&json!("Local"), &json!(0), &json!(id("rport")))
        );
        route["dstNetworkAddr"].as_str().unwrap().to_owned()
    };
    assert_eq!(local(&mut store), "10.1.0.1");
    let body = json!({"type": "Router", "portSubnet": ["10.9.0.1/24"], "portMac": "ac:ca:ba:00:00:01"});
    let port = format!("/ports/{}", id("rport"));
    assert_eq!(send(&mut store, "PUT", &port, &body).status, 204);
    assert_eq!(get(&mut store, &port)["portAddress"], "10.9.0.1");
    assert_eq!(local(&mut store), "10.1.0.1");
    assert!(store.topology().unwrap().routes[0].automatic);
    assert_eq!(send(&mut store, "DELETE", &port, &Value::Null).status, 204);
    assert_eq!(get(&mut store, &routes), json!([]));
}

#[test]
fn what_goes_takes_along_what_is_its_own_and_leaves_the_rest() {
    let mut store = network();
    let jump = json!({"id": id("jump"), "type": "jump", "jumpChainId": id("chain")});
    made(&post(&mut store, &format!("/chains/{}/rules", id("other")), &jump));
    let macs = format!("/bridges/{}/mac_table", id("bridge"));
    made(&post(&mut store, &macs, &json!({"macAddr": "02:00:00:00:00:01", "portId": id("pod")})));
    send(&mut store, "DELETE", &format!("/chains/{}", id("chain")), &Value::Null);
    let topology = store.topology().unwrap();
    assert_eq!(topology.chains.len(), 1);
    assert_eq!(topology.chains[0].1, []);
    assert!(topology.bridges.iter().all(|bridge| bridge.inbound_filter_id.is_none()));
    assert!(topology.ports.iter().all(|node| node.port.outbound_filter_id.is_none()));

    send(&mut store, "DELETE", &format!("/ports/{}", id("pod")), &Value::Null);
    assert_eq!(get(&mut store, &macs)[0]["portId"], json!(id("pod")), "the entry stays");
    send(&mut store, "DELETE", &format!("/bridges/{}", id("bridge")), &Value::Null);
    let topology = store.topology().unwrap();
    assert_eq!((topology.bridges.len(), topology.macs.len()), (0, 0));
    assert_eq!(
        topology.ports.iter().map(|node| (node.port.id, node.peer)).collect::<Vec<_>>(),
        [(id("rport"), None)]
    );
}

#[test]
fn what_is_lost_is_gone() {
    let mut store = network();
    store.lose_topology();
    let left = store.topology().unwrap();
    assert_eq!((left.hosts.len(), left.ports.len(), left.tunnel_zones.len()), (1, 0, 0));
    store.wipe();
    assert_eq!(store.topology().unwrap(), midonet_standin::Topology::default());
}

#[test]
fn what_the_stand_in_lacks_is_said() {
    let mut store = network();
    for (method, path) in [("GET", "/load_balancers"), ("POST", "/vteps"), ("GET", "/bridges/b/dhcp")] {
        let response = send(&mut store, method, path, &Value::Null);
        assert_eq!(response.status, 501, "{path}");
        assert!(response.body.contains("stand-in"), "{}", response.body);
    }
    let trace = post(&mut store, &format!("/chains/{}/rules", id("chain")), &json!({"type": "trace"}));
    assert_eq!(trace.status, 501);
}
