//! `midokube drops` names who was denied what, by which rule, and how often.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use e2e::services::{CLUSTER_IPS, PORT, SERVICE_CIDRS, TARGET, write_service};
use e2e::{DEADLINE, pod};
use lab::{Pod, Target};
use serde_json::{Value, json};

use crate::scene::{Scene, allow_from, app};

/// A port that nothing else of the tests is sent to.
const QUIET_PORT: u16 = 4321;

/// Sends so many datagrams of 10 bytes from one socket. Returns its port.
fn send(scene: &Scene, from: &Target, to: SocketAddr, datagrams: usize) -> u16 {
    let socket = scene.netns(from).run(|| {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
        UdpSocket::bind(SocketAddr::new(any, 0))
    });
    let socket = socket.unwrap().unwrap();
    for _ in 0..datagrams {
        socket.send_to(b"0123456789", to).unwrap();
    }
    socket.local_addr().unwrap().port()
}

/// The only drop that a node tells of, once it has so many packets.
fn drop(scene: &Scene, at: u8, filter: &str, packets: u64) -> Value {
    let told = || scene.document(at, &format!("drops {filter}"));
    testkit::wait_until(DEADLINE, &format!("drops {filter}: {packets} packets"), || {
        told()["drops"][0]["packets"].as_u64() >= Some(packets)
    });
    let told = told();
    assert_eq!((&told["matching"], told["drops"].as_array().map(Vec::len)), (&json!(1), Some(1)), "{told}");
    told["drops"][0].clone()
}

/// One end of a drop.
fn end(pod: &Pod, address: IpAddr, port: u16) -> Value {
    let (namespace, name) = (&pod.key.namespace, &pod.key.name);
    let pod = json!({"namespace": namespace, "name": name});
    json!({"address": address, "port": port, "pod": pod, "node": null, "service": null})
}

fn of_family(pod: &Pod, like: IpAddr) -> IpAddr {
    pod.addresses().into_iter().find(|address| address.is_ipv4() == like.is_ipv4()).unwrap()
}

/// Bytes of frames of [`send`]'s datagrams.
fn bytes(to: IpAddr, datagrams: u64) -> u64 {
    datagrams * (14 + if to.is_ipv4() { 20 } else { 40 } + 8 + 10)
}

#[test]
fn drops_say_who_whom_on_which_port_why_and_how_often() {
    let mut scene = Scene::new(&[SERVICE_CIDRS]);
    let db = scene.pod("node1", "shop", "db", "db");
    let web = scene.pod("node1", "shop", "web", "web");
    let guest = scene.pod("node2", "other", "guest", "guest");
    write_service(&scene.lab, "UDP", std::slice::from_ref(&db)).unwrap();
    scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app("web")}])));
    scene.only(&[&web], &[&guest], &db);

    // What comes to a Pod of this node, from another one's: five packets in one row, and no more.
    for to in db.addresses() {
        let port = send(&scene, &pod(&guest), SocketAddr::new(to, QUIET_PORT), 5);
        let filter = format!("other/guest --address {to} --port udp/{QUIET_PORT} --since 10m");
        let told = drop(&scene, 1, &filter, 5);
        assert_eq!((&told["packets"], &told["bytes"]), (&json!(5), &json!(bytes(to, 5))), "{told}");
        assert_eq!(told["source"], end(&guest, of_family(&guest, to), port), "{told}");
        assert_eq!(told["destination"], end(&db, to, QUIET_PORT), "{told}");
        assert_eq!(
            (&told["direction"], &told["verdict"], &told["reason"], &told["protocol"]),
            (&json!("ingress"), &json!("deny"), &json!("policy_ingress"), &json!("udp")),
            "{told}"
        );
        assert_eq!(
            (&told["decidedBy"], &told["policies"], &told["rule"]),
            (&json!("networkPolicy"), &json!(["shop/db"]), &Value::Null),
            "{told}"
        );
        assert_eq!(told["why"], "the default deny of NetworkPolicy shop/db denies it");
        assert!(
            told["lastSeconds"].as_u64() < Some(60) && told["first"].as_str() <= told["last"].as_str(),
            "{told}"
        );
    }
    // Who may is in no row, and the other node decided nothing.
    for (at, filter) in [(1, "shop/web"), (2, "-n other"), (1, "-n other --reason policy_egress")] {
        assert_eq!(scene.document(at, &format!("drops {filter}"))["drops"], json!([]), "{filter}");
    }

    // What a Pod sends, through a Service: the node of the client names the endpoint and its port.
    let subject = json!({"namespaces": {"matchLabels": {"team": "guests"}}});
    let to = json!([{"namespaces": {"matchLabels": {"team": "shop"}}}]);
    let rule = json!({"name": "no-shop", "action": "Deny", "to": to});
    let spec = json!({"tier": "Admin", "priority": 7, "subject": subject, "egress": [rule]});
    scene.cluster_policy("guests", &spec);
    for vip in CLUSTER_IPS.map(|text| text.parse::<IpAddr>().unwrap()) {
        let at = of_family(&db, vip);
        let denied = format!("drops --address {at} --port udp/{TARGET} --reason policy_egress");
        let mut port = 0;
        testkit::wait_until(DEADLINE, "the node of the client denies it", || {
            port = send(&scene, &pod(&guest), SocketAddr::new(vip, PORT), 1);
            scene.document(2, &denied)["matching"] == 1
        });
        let told = scene.document(2, &denied)["drops"][0].clone();
        assert_eq!(told["source"], end(&guest, of_family(&guest, vip), port), "{told}");
        assert_eq!(told["destination"], end(&db, at, TARGET), "{told}");
        assert_eq!((&told["direction"], &told["decidedBy"]), (&json!("egress"), &json!("admin")), "{told}");
        assert_eq!(
            (&told["policies"], &told["rule"], &told["ruleName"]),
            (&json!(["guests"]), &json!(0), &json!("no-shop")),
            "{told}"
        );
    }

    // A Pod that is gone had its address then; its policy, too, is remembered.
    scene.lab.delete_pod(&guest.key).unwrap();
    scene.remove("policy-shop-db");
    scene.only(&[&web], &[], &db);
    let to = db.addresses()[0];
    let told = drop(&scene, 1, &format!("other/guest --address {to} --port udp/{QUIET_PORT}"), 5);
    assert_eq!((&told["policies"], &told["packets"]), (&json!(["shop/db"]), &json!(5)), "{told}");
    // Rows outlive the agent, which names nobody then whom it did not see.
    scene.lab.restart_agent("node1").unwrap();
    let told = drop(&scene, 1, &format!("--address {to} --port udp/{QUIET_PORT}"), 5);
    assert_eq!((&told["decidedBy"], &told["source"]["pod"]), (&json!("unknown"), &Value::Null), "{told}");
    let unknown = scene.midokube(1, "drops other/nobody");
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(1) && said.contains("no Pod other/nobody"), "{said}");
}

#[test]
fn an_audit_lists_what_it_would_have_denied() {
    let mut scene = Scene::new(&[]);
    let db = scene.pod("node1", "shop", "db", "db");
    let guest = scene.pod("node1", "other", "guest", "guest");
    scene.namespace("shop", json!({"team": "shop"}), &json!({"midonet.org/policy-audit": "true"}));
    scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app("web")}])));
    testkit::wait_until(DEADLINE, "the policy is audited", || {
        scene.document(1, "policy shop/db")["pods"][0]["policies"][0]["audit"] == true
    });
    scene.only(&[&guest], &[], &db);
    for to in db.addresses() {
        // Three datagrams of one socket are one connection.
        let port = send(&scene, &pod(&guest), SocketAddr::new(to, QUIET_PORT), 3);
        let told = drop(&scene, 1, &format!("shop/db --address {to} --port udp/{QUIET_PORT}"), 1);
        assert_eq!((&told["verdict"], &told["packets"]), (&json!("audit"), &json!(1)), "{told}");
        assert_eq!(told["source"], end(&guest, of_family(&guest, to), port), "{told}");
        let why = "the default deny of NetworkPolicy shop/db would deny it, but is only audited";
        assert_eq!(told["why"], why);
    }
}
