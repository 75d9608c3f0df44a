//! What is dropped, for whatever reason, is told of the Pod that sent it and of whom it was for: by a counter, by
//! `midokube drops` and `midokube flows`, on the page and in the deny log; and a trace says it of a packet that is not sent.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use e2e::services::{CLUSTER_IPS, PORT, SERVICE_CIDRS, TARGET, write_service};
use e2e::{DEADLINE, node1, pod, sh};
use lab::Pod;
use naming::GATEWAY_MAC;
use serde_json::{Value, json};
use testkit::packet::{self, Ip, udp_to};

use crate::page::Page;
use crate::scene::{Scene, allow_from, app};

const LOG: &str = "/run/deny.log";

/// Packets of each kind.
const PACKETS: u64 = 3;

/// A Service that has no endpoint, in each family.
const EMPTY: [&str; 2] = ["10.96.0.81", "fd96::81"];

/// What is sent, and what is to be told of it.
struct Case {
    reason: &'static str,
    /// The node that drops it.
    at: u8,
    packet: Ip,
    /// Whose packet it is, as a Pod's namespace and name.
    sender: Value,
    /// Whom it is for: the Pod or the Service at the destination.
    receiver: Value,
    /// The source that it claims.
    claimed: Value,
}

fn name(of: &Pod) -> Value {
    json!(format!("{}/{}", of.key.namespace, of.key.name))
}

fn of_family(pod: &Pod, ipv4: bool) -> IpAddr {
    pod.addresses().into_iter().find(|address| address.is_ipv4() == ipv4).unwrap()
}

/// The cases of a family, each with a port of its own.
fn cases(web: &Pod, db: &Pod, ipv4: bool) -> Vec<Case> {
    let of = |texts: [&str; 2]| texts[usize::from(!ipv4)].parse::<IpAddr>().unwrap();
    let own = of_family(web, ipv4);
    let case = |reason, to: IpAddr, receiver: Value| Case {
        reason,
        at: 1,
        packet: udp_to(own, to, 4000, b"x"),
        sender: name(web),
        receiver,
        claimed: Value::Null,
    };
    let (vip, foreign) = (of(CLUSTER_IPS), of(["198.18.0.66", "2001:db8:66::66"]));
    let mut all = vec![
        case("no_endpoint", of(["10.244.1.200", "fd44:0:0:1::c8"]), Value::Null),
        case("unreachable", of(["10.244.99.9", "fd44:0:0:99::9"]), Value::Null),
        case("service_port", vip, json!("default/web")),
        case("service_address", of(["10.96.7.7", "fd96::7777"]), Value::Null),
        Case {
            packet: udp_to(own, of(EMPTY), PORT, b"x"),
            ..case("no_backend", vip, json!("default/empty"))
        },
        case("policy_ingress", of_family(db, ipv4), name(db)),
        // The other node has no such Pod.
        Case { at: 2, ..case("overlay_unknown", of(["10.244.2.200", "fd44:0:0:2::c8"]), Value::Null) },
    ];
    let forged = case("source_ip", of_family(db, ipv4), name(db));
    all.push(Case {
        packet: Ip { source: foreign, ..forged.packet.clone() },
        claimed: json!(foreign),
        ..forged
    });
    all
}

fn destination_port(packet: &Ip) -> Value {
    json!(u16::from_be_bytes([packet.payload[2], packet.payload[3]]))
}

/// The only element of a list.
fn only(list: &Value, what: &str) -> Value {
    let all = list.as_array().unwrap_or_else(|| panic!("{what}: {list}"));
    assert_eq!(all.len(), 1, "{what}: {list:#}");
    all[0].clone()
}

fn pod_name(pod: &Value) -> Value {
    if pod.is_null() {
        return Value::Null;
    }
    json!(format!("{}/{}", pod["namespace"].as_str().unwrap(), pod["name"].as_str().unwrap()))
}

#[test]
fn what_is_dropped_is_told_of_its_sender_and_whom_it_was_for() {
    let mut scene = Scene::of(2, &[SERVICE_CIDRS, "--flows=on", &format!("--deny-log={LOG}")]);
    let web = scene.silent_pod("node1", "shop", "web", "web");
    let db = scene.pod("node1", "shop", "db", "db");
    let guest = scene.pod("node1", "other", "guest", "guest");
    write_service(&scene.lab, "UDP", std::slice::from_ref(&db)).unwrap();
    let empty = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "empty"},
        "spec": {
            "clusterIP": EMPTY[0], "clusterIPs": EMPTY, "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack", "ports": [{"protocol": "UDP", "port": PORT}],
        },
    });
    scene.lab.write_manifest("empty", &empty).unwrap();
    testkit::wait_until(DEADLINE, "the Services are served", || {
        let told = scene.document(1, "services");
        // Of each Service one of each family.
        told["services"].as_array().is_some_and(|all| all.len() == 4)
    });
    scene.policy(
        "shop",
        "db",
        &allow_from(&app("db"), &json!([{"namespaceSelector": {"matchLabels": {"team": "guests"}}}])),
    );
    scene.only(&[&guest], &[&web], &db);

    let page = Page::open(&scene);
    for ipv4 in [true, false] {
        for case in cases(&web, &db, ipv4) {
            // A trace sends with the Pod's own address.
            if case.claimed.is_null() {
                told_by_trace(&page, &case);
            }
            provoke(&scene, &web, &case);
            told_by_drops(&scene, &case);
            told_by_flows(&scene, &case);
            told_by_the_page(&page, &case);
            told_by_the_log(&scene, &case);
        }
        told_of_the_service(&scene, &web, &db, ipv4);
    }
    // The page of metrics counts them under their reasons, as the counters do.
    let page = sh(&scene.lab, &node1(), "curl -sf -m5 http://127.0.0.1:9454/metrics");
    let series = "midonet_kube_node_datapath_packets_total{verdict=\"drop\",reason=\"source_ip\"} ";
    let told = page.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("{page}"));
    assert_eq!(told.parse::<u64>().unwrap(), 2 * PACKETS);
}

/// Sends the packets, and sees them counted.
fn provoke(scene: &Scene, web: &Pod, case: &Case) {
    let name = format!("node{}", case.at);
    let before = scene.lab.counted(&name, case.reason).unwrap();
    let frame = case.packet.frame(GATEWAY_MAC.0, web.mac.unwrap().0);
    let frames = vec![frame; usize::try_from(PACKETS).unwrap()];
    scene.netns(&pod(web)).run(|| packet::send("eth0", &frames)).unwrap();
    testkit::wait_until(DEADLINE, &format!("{} is counted", case.reason), || {
        scene.lab.counted(&name, case.reason).unwrap() == before + PACKETS
    });
}

/// What midokube is asked for.
fn filter(case: &Case) -> String {
    let Case { reason, packet, .. } = case;
    format!("--reason {reason} --address {} --port udp/{}", packet.destination, destination_port(packet))
}

fn told_by_drops(scene: &Scene, case: &Case) {
    let told = scene.document(case.at, &format!("drops shop/web {}", filter(case)));
    let row = only(&told["drops"], case.reason);
    assert_eq!(pod_name(&row["source"]["pod"]), case.sender, "{row}");
    let receiver = &row["destination"];
    let receiver =
        if receiver["pod"].is_null() { receiver["service"].clone() } else { pod_name(&receiver["pod"]) };
    assert_eq!(receiver, case.receiver, "{row}");
    for (key, want) in [
        ("/destination/address", json!(case.packet.destination)),
        ("/destination/port", destination_port(&case.packet)),
        ("/source/port", json!(12_345)),
        ("/protocol", json!("udp")),
        ("/packets", json!(PACKETS)),
        ("/reason", json!(case.reason)),
        ("/verdict", json!("deny")),
        ("/others", json!(false)),
        ("/claimed/address", case.claimed.clone()),
    ] {
        assert_eq!(*row.pointer(key).unwrap_or(&Value::Null), want, "{key} of {row:#}");
    }
    assert!(row["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{row}");
    assert!(row["why"].as_str().is_some_and(|why| !why.is_empty()), "{row}");
    let by_policy = case.reason.starts_with("policy_");
    assert_eq!(row["interface"].is_null(), by_policy, "{row}");
    assert_eq!(row["decidedBy"] == "none", !by_policy, "{row}");
}

/// What policy denies behind a Service is found by the Service. The reason counts what went to the endpoint's own address, too.
fn told_of_the_service(scene: &Scene, web: &Pod, db: &Pod, ipv4: bool) {
    let to = CLUSTER_IPS[usize::from(!ipv4)].parse().unwrap();
    let packet = udp_to(of_family(web, ipv4), to, PORT, b"x");
    let case = Case {
        reason: "policy_ingress",
        at: 1,
        packet,
        sender: name(web),
        receiver: name(db),
        claimed: Value::Null,
    };
    provoke(scene, web, &case);
    let (endpoint, service) = (of_family(db, ipv4), json!(["default/web"]));
    let rows = |what: &str, filter: &str| {
        let told = scene.document(1, &format!("{what} --address {endpoint} --port udp/{TARGET} {filter}"));
        told[what.split(' ').next().unwrap()].clone()
    };
    let flow = only(&rows("flows --this-node", "--service default/web --verdict deny"), "flows");
    assert_eq!((&flow["backend"]["pod"], &flow["endpointOf"]), (&name(db), &service), "{flow}");
    assert_eq!((&flow["service"], &flow["clientPackets"]), (&Value::Null, &json!(PACKETS)), "{flow}");
    let row = only(&rows("drops", ""), "drops");
    assert_eq!(row["endpointOf"], service, "{row}");
    // To another port of the Pod nobody was sent by a Service.
    let other = format!("flows --this-node --address {endpoint} --port udp/4000 --reason policy_ingress");
    let other = only(&scene.document(1, &other)["flows"], "flows to another port");
    assert_eq!(other["endpointOf"], json!([]), "{other}");
}

fn told_by_flows(scene: &Scene, case: &Case) {
    let told =
        scene.document(case.at, &format!("flows shop/web --this-node --verdict deny {}", filter(case)));
    let row = only(&told["flows"], case.reason);
    assert_eq!((&row["client"]["pod"], &row["state"]), (&case.sender, &json!("denied")), "{row}");
    let receiver = if row["backend"]["pod"].is_null() { &row["service"] } else { &row["backend"]["pod"] };
    assert_eq!(*receiver, case.receiver, "{row}");
    assert_eq!(row["clientPackets"], json!(PACKETS), "{row}");
}

fn told_by_the_page(page: &Page, case: &Case) {
    let port = destination_port(&case.packet);
    let Case { reason, packet, .. } = case;
    let path =
        format!("/api/flows?verdict=deny&reason={reason}&address={}&port=udp/{port}", packet.destination);
    let row = || page.document(&path)["flows"].as_array().unwrap().first().cloned();
    testkit::wait_until(DEADLINE, &format!("{reason} is on the page"), || {
        row().is_some_and(|row| row["clientPackets"] == json!(PACKETS))
    });
    let row = row().unwrap();
    assert_eq!((&row["reason"], &row["client"]["pod"]), (&json!(reason), &case.sender), "{row}");
    let receiver = if row["backend"]["pod"].is_null() { &row["service"] } else { &row["backend"]["pod"] };
    assert_eq!(*receiver, case.receiver, "{row}");
    assert!(row["why"].as_str().is_some_and(|why| !why.is_empty()), "{row}");
}

fn told_by_trace(page: &Page, case: &Case) {
    let port = destination_port(&case.packet);
    let from = case.sender.as_str().unwrap();
    let path = format!("/api/trace?name={from}&to={}&port=udp/{port}", case.packet.destination);
    let traced = page.document(&path);
    assert_eq!(traced["outcome"]["reason"], case.reason, "{traced:#}");
    assert_eq!(traced["outcome"]["answered"], false, "{traced:#}");
    let hops = traced["parts"][0]["trace"]["hops"].as_array().unwrap();
    assert_eq!(hops.last().unwrap()["node"], format!("node{}", case.at), "{traced:#}");
}

fn told_by_the_log(scene: &Scene, case: &Case) {
    let node = crate::scene::node(case.at);
    let lines = || -> Vec<Value> {
        let text = sh(&scene.lab, &node, &format!("cat {LOG} 2>/dev/null || true"));
        let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let destination = json!(case.packet.destination);
        let port = destination_port(&case.packet);
        let is_it = |line: &Value| {
            line["reason"] == case.reason && line["destination"] == destination && line["port"] == port
        };
        all.filter(is_it).collect()
    };
    let packets = || lines().iter().filter_map(|line| line["packets"].as_u64()).sum::<u64>();
    testkit::wait_until(DEADLINE, &format!("{} is in the log", case.reason), || packets() == PACKETS);
    for line in lines() {
        assert_eq!((&line["sourcePod"], &line["verdict"]), (&case.sender, &json!("deny")), "{line}");
        assert_eq!(
            (&line["port"], &line["protocol"]),
            (&destination_port(&case.packet), &json!("udp")),
            "{line}"
        );
        assert_eq!(line["claimedSource"], case.claimed, "{line}");
    }
}

/// A source that no node may send is told of the node that sent it, with what it claimed.
#[test]
fn what_a_node_forges_is_told_of_that_node() {
    let scene = Scene::of(2, &[]);
    let web = scene.silent_pod("node1", "shop", "web", "web");
    let db = scene.silent_pod("node1", "shop", "db", "db");
    let own: SocketAddr = "172.30.0.11:4789".parse().unwrap();
    for ipv4 in [true, false] {
        let (forged, to) = (of_family(&db, ipv4), of_family(&web, ipv4));
        let inner = udp_to(forged, to, 4000, b"x").frame(naming::OVERLAY_MAC.0, GATEWAY_MAC.0);
        let send = || UdpSocket::bind("0.0.0.0:0")?.send_to(&packet::vxlan(1, &inner), own);
        scene.netns(&crate::scene::node(2)).run(send).unwrap().unwrap();
        let told = || scene.document(1, &format!("drops --reason overlay_source --address {to}"));
        testkit::wait_until(DEADLINE, "it is told", || told()["matching"] == 1);
        let row = only(&told()["drops"], "overlay_source");
        let sent =
            json!({"address": "172.30.0.12", "node": "node2", "pod": null, "port": 12_345, "service": null});
        assert_eq!(row["source"], sent, "{row}");
        assert_eq!(pod_name(&row["destination"]["pod"]), name(&web), "{row}");
        assert_eq!(
            (&row["direction"], &row["interface"]),
            (&json!("ingress"), &json!("midokube-vxlan")),
            "{row}"
        );
        assert_eq!(row["claimed"], json!({"address": forged, "mac": null}), "{row}");
        // Whoever looks for the claimed address finds it, too.
        assert_eq!(scene.document(1, &format!("drops --address {forged}"))["matching"], 1);
    }
}
