//! What `midokube` says is what becomes of packets.

use std::net::IpAddr;

use e2e::services::{CLUSTER_IPS, PORT, SERVICE_CIDRS, write_service};
use e2e::{DEADLINE, pod, sh};
use lab::Pod;
use lab::probe::ECHO_PORT;
use serde_json::{Value, json};

use crate::scene::{Scene, allow_from, app, node};

/// What the agent of a node says of a connection, and the exit status.
fn explain(scene: &Scene, at: u8, from: &str, to: &str, port: &str) -> (Value, Option<i32>) {
    let line = format!("policy explain {from} {to} {port}");
    (scene.document(at, &line), scene.midokube(at, &line).status.code())
}

fn key(pod: &Pod) -> String {
    pod.key.to_string()
}

#[test]
fn explain_says_what_becomes_of_packets_and_why() {
    let mut scene = Scene::new(&[SERVICE_CIDRS]);
    let db = scene.pod("node1", "shop", "db", "db");
    let web = scene.pod("node1", "shop", "web", "web");
    let far = scene.pod("node2", "shop", "far", "web");
    let guest = scene.pod("node2", "other", "guest", "guest");
    write_service(&scene.lab, "TCP", std::slice::from_ref(&db)).unwrap();
    scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app("web")}])));
    scene.only(&[&web, &far], &[&guest], &db);
    let tcp = format!("tcp/{ECHO_PORT}");
    for (from, allowed) in [(&web, true), (&far, true), (&guest, false)] {
        let (told, code) = explain(&scene, 1, &key(from), &key(&db), &tcp);
        assert_eq!(code, Some(if allowed { 0 } else { 4 }), "{told}");
        let paths = told["paths"].as_array().unwrap();
        assert_eq!(paths.len(), 2, "{told}");
        for path in paths {
            let ingress = &path["ingress"];
            assert_eq!(ingress["verdict"], if allowed { "allow" } else { "deny" }, "{told}");
            assert_eq!(ingress["policies"], json!(["shop/db"]));
            assert_eq!(ingress["rule"], if allowed { json!(0) } else { Value::Null });
            assert_eq!(ingress["decidedBy"], "networkPolicy");
            assert_eq!(path["egress"].is_null(), from.node != "node1", "{told}");
            let destination: IpAddr =
                path["destination"].as_str().unwrap().parse::<std::net::SocketAddr>().unwrap().ip();
            if allowed {
                scene.gets_an_answer(&pod(from), destination);
            } else {
                scene.gets_no_answer(&pod(from), destination);
            }
        }
    }
    // By address, a ping, from the own node, to itself.
    let (told, _) =
        explain(&scene, 1, &guest.addresses()[1].to_string(), &db.addresses()[1].to_string(), "icmp");
    assert_eq!(told["paths"][0]["ingress"]["verdict"], "deny");
    let own = scene.lab.state().unwrap().node("node1").unwrap().addresses[0];
    let (told, _) = explain(&scene, 1, &own.to_string(), &key(&db), &tcp);
    assert_eq!(told["paths"][0]["ingress"]["decidedBy"], "exempt", "{told}");
    let (told, _) = explain(&scene, 1, &key(&db), &key(&db), &tcp);
    assert_eq!(told["paths"][0]["egress"]["decidedBy"], "exempt", "{told}");
    // The address of a Service stands for its endpoints.
    let (told, _) = explain(&scene, 1, &key(&web), CLUSTER_IPS[0], &format!("tcp/{PORT}"));
    assert!(
        told["paths"][0]["destination"].as_str().unwrap().starts_with(&db.addresses()[0].to_string()),
        "{told}"
    );
    assert!(told["paths"][0]["notes"][0].as_str().unwrap().contains("can never match"), "{told}");
    // Where it is not decided.
    let output = scene.midokube(3, &format!("policy explain {} {} {tcp}", key(&web), key(&db)));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("ask node node1"), "{said}");
}

#[test]
fn policies_are_listed_with_what_they_decided() {
    let mut scene = Scene::new(&[SERVICE_CIDRS]);
    let db = scene.pod("node1", "shop", "db", "db");
    let web = scene.pod("node2", "shop", "web", "web");
    let guest = scene.pod("node2", "other", "guest", "guest");
    let block = json!([{"podSelector": app("web")}, {"ipBlock": {"cidr": "10.96.0.0/24"}}]);
    scene.policy("shop", "db", &allow_from(&app("db"), &block));
    scene.only(&[&web], &[&guest], &db);
    // The policy is in force: what is allowed now, is by it.
    scene.only(&[&web], &[&guest], &db);
    let view = scene.document(1, "policy shop/db");
    let listed = view["pods"][0]["policies"].as_array().unwrap();
    assert_eq!((listed.len(), &view["pods"][0]["state"]), (2, &json!("policed")), "{view}");
    assert_eq!((&listed[0]["policies"], &listed[1]["defaultDeny"]), (&json!(["shop/db"]), &json!(true)));
    assert!(
        listed[0]["allowed"].as_u64().unwrap() >= 4 && listed[1]["denied"].as_u64().unwrap() >= 4,
        "{view}"
    );
    assert!(view["notes"][0].as_str().unwrap().contains("10.96.0.0/24"), "{view}");
    let text = String::from_utf8(scene.midokube(2, "policy").stdout).unwrap();
    assert!(text.contains("open: no policy applies"), "{text}");
    let status = scene.lab.status("node1").unwrap().policy.unwrap();
    assert!(
        status.complete && status.in_force && status.pods_policed == 1 && status.pods_closed == 0,
        "{status:?}"
    );
    assert!(scene.lab.counted("node1", "policy_ingress").unwrap() > 0);
    let page = sh(&scene.lab, &node(1), "curl -sf -m5 http://127.0.0.1:9454/metrics");
    let series = "midonet_kube_node_policy_decisions_total{direction=\"ingress\",tier=\"network_policy\",verdict=\"deny\"} ";
    let denied = page.lines().find_map(|line| line.strip_prefix(series)).unwrap();
    assert!(denied.parse::<u64>().unwrap() >= 4, "{page}");

    // Ties are told.
    for name in ["one", "two"] {
        let subject = json!({"namespaces": {"matchLabels": {"team": "nobody"}}});
        scene.cluster_policy(
            name,
            &json!({"tier": "Admin", "priority": 7, "subject": subject, "ingress": []}),
        );
    }
    testkit::wait_until(DEADLINE, "the tie is told", || {
        scene.lab.status("node1").unwrap().problems.iter().any(|problem| problem.what == "policy_tie")
    });
}
