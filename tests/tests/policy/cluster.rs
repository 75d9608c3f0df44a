//! ClusterNetworkPolicies, and what annotations change.

use e2e::{DEADLINE, pod};
use lab::probe::ECHO_PORT;
use serde_json::{Value, json};

use crate::scene::{QUIET, Scene, app, deny_ingress, node};

fn rule(action: &str, peers: &Value) -> Value {
    json!({"name": action.to_lowercase(), "action": action, "from": peers})
}

fn cluster(tier: &str, priority: u16, namespace: &str, rules: &[Value]) -> Value {
    let subject = json!({"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    json!({"tier": tier, "priority": priority, "subject": subject, "ingress": rules})
}

fn namespaces(team: &str) -> Value {
    json!([{"namespaces": {"matchLabels": {"team": team}}}])
}

#[test]
fn tiers_are_asked_in_their_order() {
    let mut scene = Scene::new(&[]);
    let db = scene.pod("node1", "shop", "db", "db");
    let web = scene.pod("node2", "shop", "web", "web");
    let guest = scene.pod("node3", "other", "guest", "guest");
    // The last word where nothing else is said.
    scene.cluster_policy("last", &cluster("Baseline", 0, "shop", &[rule("Deny", &namespaces("guests"))]));
    scene.only(&[&web], &[&guest], &db);
    scene.policy("shop", "db", &json!({"podSelector": {}, "ingress": [{}]}));
    scene.only(&[&web, &guest], &[], &db);
    // Before NetworkPolicies, by priority.
    scene.cluster_policy("second", &cluster("Admin", 20, "shop", &[rule("Deny", &namespaces("guests"))]));
    scene.only(&[&web], &[&guest], &db);
    scene.cluster_policy("first", &cluster("Admin", 10, "shop", &[rule("Accept", &namespaces("guests"))]));
    scene.only(&[&web, &guest], &[], &db);
    // Who passes on asks NetworkPolicies.
    scene.cluster_policy("first", &cluster("Admin", 10, "shop", &[rule("Pass", &namespaces("guests"))]));
    scene.only(&[&web, &guest], &[], &db);
    scene.policy("shop", "db", &deny_ingress(&json!({})));
    scene.only(&[], &[&web, &guest], &db);
    // The own node always passes.
    let everybody = json!([{"namespaces": {}}]);
    scene.cluster_policy("first", &cluster("Admin", 10, "shop", &[rule("Deny", &everybody)]));
    scene.is_reached(&node(1), &db);
}

#[test]
fn an_audit_lets_pass_and_counts_and_a_rejection_is_told() {
    let mut scene = Scene::new(&[]);
    let db = scene.pod("node1", "shop", "db", "db");
    let web = scene.pod("node2", "shop", "web", "web");
    let near = scene.pod("node1", "shop", "near", "near");
    let listed = |scene: &Scene| scene.document(1, "policy shop/db")["pods"][0].clone();
    scene.namespace("shop", json!({}), &json!({"midonet.org/policy-audit": "true"}));
    scene.policy("shop", "deny", &deny_ingress(&json!({})));
    testkit::wait_until(DEADLINE, "the policy is audited", || listed(&scene)["policies"][0]["audit"] == true);
    scene.only(&[&web], &[], &db);
    let audited = |pod: &Value| {
        pod["policies"].as_array().unwrap().iter().filter_map(|one| one["audited"].as_u64()).sum::<u64>()
    };
    assert!(audited(&listed(&scene)) >= 2, "{}", listed(&scene));

    scene.namespace("shop", json!({}), &json!({"midonet.org/policy-deny": "reject"}));
    for address in db.addresses() {
        let netns = scene.netns(&pod(&near));
        testkit::wait_until(DEADLINE, "a connection is reset", || {
            let at = std::net::SocketAddr::new(address, ECHO_PORT);
            let told = netns.run(|| std::net::TcpStream::connect_timeout(&at, QUIET)).unwrap();
            told.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        });
    }
    scene.namespace("shop", json!({}), &json!({}));
    scene.policy("shop", "deny", &deny_ingress(&app("db")));
    scene.only(&[], &[&web], &db);
}
