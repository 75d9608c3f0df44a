//! Who may reach whom.

use e2e::pod;
use ipnet::IpNet;
use lab::Pod;
use lab::probe::ECHO_PORT;
use serde_json::{Value, json};

use crate::scene::{Scene, allow_from, app, deny_ingress, node};

/// A block of one address, each.
fn blocks(pod: &Pod) -> Vec<Value> {
    pod.addresses().into_iter().map(|address| json!({"ipBlock": {"cidr": IpNet::from(address)}})).collect()
}

#[test]
fn ingress_is_denied_by_default_and_allowed_by_selectors_and_blocks() {
    let mut scene = Scene::new(&[]);
    let db = scene.pod("node1", "shop", "db", "db");
    let near = scene.pod("node1", "shop", "near", "web");
    let far = scene.pod("node2", "shop", "far", "web");
    let batch = scene.pod("node3", "shop", "batch", "batch");
    let guest = scene.pod("node2", "other", "guest", "web");
    let everybody = [&near, &far, &batch, &guest];
    scene.only(&everybody, &[], &db);

    // Of one Pod, then of all of the namespace; others are not concerned.
    scene.policy("shop", "deny", &deny_ingress(&app("db")));
    scene.only(&[], &everybody, &db);
    scene.only(&[&db, &far, &guest], &[], &near);
    // What comes from its own node always passes, another node is like anybody else.
    scene.is_reached(&node(1), &db);
    scene.is_not_reached(&node(2), &db);
    // What it sends is answered.
    scene.is_reached(&pod(&db), &guest);

    // Of the own namespace alone.
    scene.policy("shop", "allow", &allow_from(&app("db"), &json!([{"podSelector": app("web")}])));
    scene.only(&[&near, &far], &[&batch, &guest], &db);
    let guests = json!({"matchLabels": {"team": "guests"}});
    scene.policy("shop", "allow", &allow_from(&app("db"), &json!([{"namespaceSelector": guests}])));
    scene.only(&[&guest], &[&near, &far, &batch], &db);
    // Both, and two policies together.
    let both = json!([{"namespaceSelector": {}, "podSelector": app("batch")}]);
    scene.policy("shop", "more", &allow_from(&app("db"), &both));
    scene.only(&[&guest, &batch], &[&near, &far], &db);
    // The label of a namespace, and of a Pod.
    scene.namespace("other", json!({"team": "strangers"}), &json!({}));
    scene.only(&[&batch], &[&near, &far, &guest], &db);
    scene.lab.change_pod(&far.key, &json!({"metadata": {"labels": {"app": "batch"}}})).unwrap();
    scene.only(&[&batch, &far], &[&near, &guest], &db);
    scene.remove("policy-shop-more");
    scene.only(&[], &everybody, &db);

    // Blocks are about Pods, too; what is excepted is only so of its own block.
    let all = json!([
        {"ipBlock": {"cidr": "10.244.0.0/16", "except": [IpNet::from(near.addresses()[0])]}},
        {"ipBlock": {"cidr": "fd44::/48", "except": [IpNet::from(near.addresses()[1])]}},
    ]);
    scene.policy("shop", "allow", &allow_from(&app("db"), &all));
    scene.only(&[&far, &batch, &guest], &[&near], &db);
    scene.policy("shop", "more", &allow_from(&app("db"), &json!(blocks(&near))));
    scene.only(&everybody, &[], &db);

    for file in ["policy-shop-allow", "policy-shop-more"] {
        scene.remove(file);
    }
    scene.only(&[], &everybody, &db);
    scene.remove("policy-shop-deny");
    scene.only(&everybody, &[], &db);
}

#[test]
fn egress_is_judged_where_it_begins_and_ingress_where_it_ends() {
    let mut scene = Scene::new(&[]);
    let client = scene.pod("node1", "shop", "client", "client");
    let near = scene.pod("node1", "shop", "near", "db");
    let far = scene.pod("node2", "shop", "far", "db");
    let web = scene.pod("node2", "shop", "web", "web");
    let to_db = json!({"podSelector": app("client"), "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": app("db")}]}]});
    scene.policy("shop", "client", &to_db);
    for to in [&near, &far] {
        scene.only(&[&client], &[], to);
    }
    scene.only(&[&far], &[&client], &web);
    // What comes to it is answered; what it sends to its node is judged.
    scene.only(&[&web, &far, &near], &[], &client);
    scene.is_reached(&node(1), &client);
    // Both ends have to allow.
    scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app("web")}])));
    for to in [&near, &far] {
        scene.only(&[&web], &[&client], to);
    }
    scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app("client")}])));
    for to in [&near, &far] {
        scene.only(&[&client], &[&web], to);
    }
    // A Pod reaches itself, whatever policies say.
    scene.policy("shop", "none", &json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    scene.policy(
        "shop",
        "client",
        &json!({"podSelector": app("client"), "policyTypes": ["Ingress", "Egress"]}),
    );
    scene.only(&[&client], &[&web], &client);
}

#[test]
fn ports_are_numbers_ranges_and_names_of_the_destination() {
    let mut scene = Scene::new(&[]);
    let db = scene.pod("node1", "shop", "db", "db");
    let client = scene.pod("node2", "shop", "client", "client");
    let with = |ports: Value| json!({"podSelector": app("db"), "policyTypes": ["Ingress"], "ingress": [{"ports": ports}]});
    let both = |port: Value, end: Option<u16>| {
        let one = |protocol: &str| json!({"protocol": protocol, "port": port, "endPort": end});
        with(json!([one("TCP"), one("UDP")]))
    };
    let reached = |spec: &Value, is: bool| {
        scene.policy("shop", "db", spec);
        let (reach, others): (&[&Pod], &[&Pod]) = if is { (&[&client], &[]) } else { (&[], &[&client]) };
        scene.only(reach, others, &db);
    };
    for (port, end, is) in [
        (json!(ECHO_PORT), None, true),
        (json!(ECHO_PORT + 1), None, false),
        (json!(ECHO_PORT - 100), Some(ECHO_PORT), true),
        (json!(ECHO_PORT - 100), Some(ECHO_PORT - 1), false),
        (json!("echo"), None, true),
        (json!("other"), None, false),
    ] {
        reached(&both(port, end), is);
    }
    // No port is every one of its protocol, and no list is everything.
    reached(&with(json!([{"protocol": "TCP"}, {"protocol": "UDP"}])), true);
    reached(&with(json!([])), true);
    // The name of a port of egress is the destination's.
    let egress = |name: &str| {
        let ports = ["TCP", "UDP"].map(|protocol| json!({"protocol": protocol, "port": name}));
        let rule = json!({"to": [{"podSelector": app("db")}], "ports": ports});
        json!({"podSelector": app("client"), "policyTypes": ["Egress"], "egress": [rule]})
    };
    scene.policy("shop", "client", &egress("echo"));
    scene.only(&[&client], &[], &db);
    scene.policy("shop", "client", &egress("other"));
    scene.only(&[], &[&client], &db);
}
