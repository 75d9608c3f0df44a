//! Which list of endpoints counts, what becomes of a packet for which there is none, whose address the backend sees, and
//! what a load balancer's and external addresses are.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::NODES;
use super::service_scene::{
    DEADLINE, From, HOST_PORT, PROTOCOLS, Protocol, REFUSED, Scene, TIMEOUT, To, both, node_port, ready,
    terminating,
};

/// Of a ClusterIP: local ready endpoints, else local ones that serve and terminate, else nobody answers.
pub(super) fn internal_traffic_policy(scene: &Scene<'_>) {
    let policy = json!({"spec": {"internalTrafficPolicy": "Local"}});
    let service = scene.serve("internal", &policy, &[ready(1), ready(2), terminating(3)]);
    let to = service.cluster();
    for from in [From::Pod("node1"), From::Node("node1")] {
        scene.expect_all(from, &to, &["web1"]);
    }
    scene.expect_all(From::Pod("node3"), &to, &["web3"]);
    scene.endpoints(service.name, &[ready(2), ready(3)]);
    scene.expect_all(From::Pod("node3"), &to, &["web3"]);
    for from in [From::Pod("node1"), From::Node("node1")] {
        scene.expect_all(from, &to, TIMEOUT);
    }
    scene.endpoints(service.name, &[]);
    for from in [From::Pod("node1"), From::Node("node1")] {
        scene.expect_all(from, &to, REFUSED);
    }
    scene.forget(service.name);
}

/// Of a NodePort: from outside a node's own endpoints, with the client's address; from Pods and nodes all.
pub(super) fn external_traffic_policy(scene: &Scene<'_>) {
    let policy = json!({"spec": {"type": "NodePort", "externalTrafficPolicy": "Local"}});
    let service = scene.serve("external", &policy, &[ready(1), terminating(2)]);
    let at = |node: usize| service.node(scene.nodes[node - 1]);
    scene.expect_all(From::Outside, &at(1), &["web1"]);
    for to in at(1) {
        assert!(outside().contains(&scene.client_address(From::Outside, to)), "{to:?}");
    }
    // All that node2 has is terminating.
    scene.expect_all(From::Outside, &at(2), &["web2"]);
    scene.expect_all(From::Outside, &at(3), TIMEOUT);
    // A Pod is inside only for the NodePorts of its own node.
    for (node, outside) in [["web1"].as_slice(), &["web2"], TIMEOUT].into_iter().enumerate() {
        for from in NODES {
            let want = if from == NODES[node] { &["web1"] } else { outside };
            scene.expect_all(From::Pod(from), &at(node + 1), want);
        }
    }
    // A node's processes are inside only for its own NodePorts.
    scene.expect_all(From::Node("node3"), &at(1), &["web1"]);
    scene.expect_all(From::Node("node3"), &at(3), &["web1"]);
    scene.expect_all(From::Node("node1"), &at(3), TIMEOUT);
    for to in at(3) {
        let seen = scene.client_address(From::Node("node3"), to);
        assert!(scene.nodes[2].contains(&seen), "{to:?} from node3 was from {seen}");
    }
    scene.expect_all(From::Pod("node2"), &service.cluster(), &["web1"]);
    scene.change(service.name, &json!({"spec": {"externalTrafficPolicy": "Cluster"}}));
    for node in 1..=NODES.len() {
        scene.expect_all(From::Outside, &at(node), &["web1"]);
    }
    scene.forget(service.name);
}

/// Without any endpoint every frontend refuses, over every protocol.
pub(super) fn no_endpoint(scene: &Scene<'_>) {
    let external = [external_address(0, 90), external_address(1, 90)];
    let frontends = json!({"spec": {"type": "LoadBalancer", "externalIPs": external}});
    let service = scene.serve("nobody", &frontends, &[]);
    let balanced = load_balancer(scene, service.name);
    let mut all = service.cluster();
    all.extend(both(external, 80));
    all.extend(both(balanced, 80));
    all.extend(NODES.iter().enumerate().flat_map(|(node, _)| service.node(scene.nodes[node])));
    for from in [From::Pod("node1"), From::Node("node2")] {
        scene.expect_all(from, &all, REFUSED);
    }
    scene.expect_all(From::Outside, &service.node(scene.nodes[0]), REFUSED);
    scene.expect_all(From::Outside, &both(balanced, 80), REFUSED);
    // One comes, and goes.
    scene.endpoints(service.name, &[ready(3)]);
    scene.expect_all(From::Pod("node1"), &all, &["web3"]);
    scene.endpoints(service.name, &[]);
    scene.expect_all(From::Pod("node1"), &service.cluster(), REFUSED);
    scene.forget(service.name);
}

/// A port that no Service has is refused at a ClusterIP; the ranges' other addresses lead nowhere, and not out of the node.
pub(super) fn unknown_ports_and_addresses(scene: &Scene<'_>) {
    let service = scene.serve("unknown", &json!({}), &[ready(1)]);
    let from = [From::Pod("node1"), From::Node("node1")];
    for from in from {
        scene.expect_all(from, &both(service.addresses, 4321), REFUSED);
    }
    let capture = scene.cluster.directory.join("fabric/left-the-node");
    let filter = "net 10.96.0.0/16 or net 10.97.0.0/16 or net fd96::/112 or net fd97::/112";
    let listener = format!(
        "timeout 900 tcpdump -lni br0 -c 1 '{filter}' >{} 2>/dev/null & echo $! >/run/left-the-node",
        capture.display()
    );
    scene.sh(From::Outside, &listener);
    let unused: [IpAddr; 2] = ["10.96.200.200".parse().unwrap(), "fd96::abcd".parse().unwrap()];
    for from in from {
        scene.expect_all(from, &both(unused, 80), TIMEOUT);
    }
    // A range that comes at run time.
    let range = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"},
        "spec": {"cidrs": ["10.97.0.0/16", "fd97::/112"]}});
    scene.apply(&range);
    scene.cluster.kubectl(&["wait", "--for=condition=Ready", "servicecidr/more", "--timeout=30s"]);
    let addresses = ["10.97.0.10", "fd97::10"];
    let more = scene.serve(
        "more",
        &json!({"spec": {"clusterIP": addresses[0], "clusterIPs": addresses}}),
        &[ready(2)],
    );
    let unused: [IpAddr; 2] = ["10.97.200.200".parse().unwrap(), "fd97::abcd".parse().unwrap()];
    for from in from {
        scene.expect_all(from, &more.cluster(), &["web2"]);
        scene.expect_all(from, &both(more.addresses, 4321), REFUSED);
        scene.expect_all(from, &both(unused, 80), TIMEOUT);
    }
    scene.forget(more.name);
    scene.cluster.kubectl(&["delete", "servicecidr", "more", "--wait=true"]);
    scene.forget(service.name);
    let left = std::fs::read_to_string(&capture).unwrap();
    assert!(left.is_empty(), "a packet for a Service's address left its node: {left}");
    // It fails if nobody has listened until now.
    scene.sh(From::Outside, "kill $(cat /run/left-the-node)");
}

/// A node's other ports stay the node's, also at addresses that have NodePorts.
pub(super) fn other_ports_of_a_node(scene: &Scene<'_>) {
    let service = scene.serve("own-ports", &node_port(), &[ready(1)]);
    for (node, name) in NODES.iter().enumerate() {
        let to = both(scene.nodes[node], HOST_PORT);
        for from in [From::Outside, From::Pod("node1"), From::Node("node1")] {
            scene.expect_all(from, &to, &[*name]);
        }
        scene.expect_all(From::Outside, &both(scene.nodes[node], 4321), REFUSED);
    }
    scene.forget(service.name);
}

/// Whose address a backend sees: the client's own, but a Pod's that reaches itself.
pub(super) fn client_addresses(scene: &Scene<'_>) {
    let service = scene.serve("source", &node_port(), &[ready(2)]);
    for from in NODES {
        let own = scene.client(from);
        for to in service.cluster() {
            scene.expect(From::Pod(from), to, &["web2"]);
            assert!(own.contains(&scene.client_address(From::Pod(from), to)), "{to:?} from {from}");
        }
    }
    for (node, name) in NODES.iter().enumerate() {
        for to in service.node(scene.nodes[node]) {
            let seen = scene.client_address(From::Outside, to);
            assert!(outside().contains(&seen), "{to:?} at {name} from outside was from {seen}");
        }
    }
    for to in service.cluster() {
        scene.expect(From::Web(2), to, &["web2"]);
        let seen = scene.client_address(From::Web(2), to);
        assert!(!scene.webs[1].contains(&seen), "{to:?} from itself was from {seen}");
    }
    scene.forget(service.name);
}

/// `loadBalancerSourceRanges`: of the load balancer's addresses alone, for clients inside, too, per family.
pub(super) fn source_ranges(scene: &Scene<'_>) {
    let [four, six] = scene.client("node1");
    let ranges = |list: Value| json!({"spec": {"type": "LoadBalancer", "loadBalancerSourceRanges": list}});
    let both_of_node1 = ranges(json!([format!(" {four}/32 "), format!("{six}/128")]));
    let service = scene.serve("ranges", &both_of_node1, &[ready(3)]);
    let balanced = both(load_balancer(scene, service.name), 80);
    scene.expect_all(From::Pod("node1"), &balanced, &["web3"]);
    scene.expect_all(From::Pod("node2"), &balanced, TIMEOUT);
    scene.expect_all(From::Outside, &balanced, TIMEOUT);
    scene.expect_all(From::Pod("node2"), &service.cluster(), &["web3"]);
    scene.expect_all(From::Outside, &service.node(scene.nodes[0]), &["web3"]);
    // Of one family only: the other is open.
    scene.change(service.name, &ranges(json!([format!("{four}/32")])));
    for to in &balanced {
        scene.expect(From::Pod("node1"), *to, &["web3"]);
        scene.expect(From::Pod("node2"), *to, if to.1.is_ipv4() { TIMEOUT } else { &["web3"] });
    }
    scene.change(service.name, &ranges(json!(["192.0.2.1/32", "2001:db8::1/128"])));
    scene.expect_all(From::Outside, &balanced, &["web3"]);
    scene.expect_all(From::Pod("node1"), &balanced, TIMEOUT);
    scene.change(service.name, &ranges(json!(["0.0.0.0/0", "::/0"])));
    for from in [From::Pod("node2"), From::Node("node2"), From::Outside] {
        scene.expect_all(from, &balanced, &["web3"]);
    }
    scene.change(service.name, &ranges(Value::Null));
    scene.expect_all(From::Pod("node2"), &balanced, &["web3"]);
    scene.forget(service.name);
}

/// Of the status's ingress an `ip` counts whose `ipMode` is nil or VIP.
pub(super) fn ingress_mode(scene: &Scene<'_>) {
    let service = scene.serve("mode", &json!({"spec": {"type": "LoadBalancer"}}), &[ready(1)]);
    let addresses = load_balancer(scene, service.name);
    let to = both(addresses, 80);
    scene.expect_all(From::Pod("node1"), &to, &["web1"]);
    let with = |mode: &str| {
        let ingress = addresses.map(|ip| json!({"ip": ip, "ipMode": mode}));
        let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
        scene.cluster.kubectl(&[
            "patch",
            "service",
            service.name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ]);
    };
    with("Proxy");
    // Not captured: it goes to where the address is routed, which is a node that does not serve it.
    for to in &to {
        let answer = || scene.ask(From::Pod("node1"), *to, "/hostname", 1);
        testkit::wait_until(DEADLINE, "it is not served", || answer() != ["web1"]);
    }
    with("VIP");
    scene.expect_all(From::Pod("node1"), &to, &["web1"]);
    scene.forget(service.name);
}

/// `externalIPs`: from Pods, nodes and outside.
pub(super) fn external_ips(scene: &Scene<'_>) {
    let external = [external_address(0, 91), external_address(1, 91)];
    let service = scene.serve(
        "external-ip",
        &json!({"spec": {"externalIPs": external}}),
        &[ready(1), ready(2), ready(3)],
    );
    scene.sh(
        From::Outside,
        &format!(
            "ip route replace {} via 172.30.0.12; ip -6 route replace {} via fd30::12",
            external[0], external[1]
        ),
    );
    for from in [From::Pod("node1"), From::Node("node3"), From::Outside] {
        scene.expect_all(from, &both(external, 80), &["web1", "web2", "web3"]);
    }
    scene.forget(service.name);
}

/// A client stays at one backend, over all frontends, as long as it is one and the time is not over.
pub(super) fn session_affinity(scene: &Scene<'_>) {
    let affinity = |seconds: u32| {
        json!({"spec": {"type": "NodePort", "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}})
    };
    let all = [ready(1), ready(2), ready(3)];
    let service = scene.serve("affinity", &affinity(3600), &all);
    let own = |to: To| {
        let said = scene.ask(From::Pod("node1"), to, "/hostname", 20);
        assert!(said.len() == 20 && said.iter().all(|name| *name == said[0]), "{to:?}: {said:?}");
        said[0].clone()
    };
    for (index, protocol) in PROTOCOLS.iter().enumerate() {
        for (address, node) in service.addresses.iter().zip(scene.nodes[0]) {
            let cluster = To(*protocol, *address, 80);
            scene.expect_some(From::Pod("node1"), cluster);
            let chosen = own(cluster);
            assert_eq!(own(To(*protocol, node, service.node_ports[index])), chosen, "by the NodePort");
            // Gone, it is another one, which stays when the first is back.
            let without: Vec<_> =
                all.iter().filter(|(web, _)| chosen != format!("web{web}")).cloned().collect();
            scene.endpoints(service.name, &without);
            testkit::wait_until(DEADLINE, "another backend", || {
                scene.ask(From::Pod("node1"), cluster, "/hostname", 1) != [chosen.as_str()]
            });
            let second = own(cluster);
            scene.endpoints(service.name, &all);
            std::thread::sleep(std::time::Duration::from_secs(1));
            assert_eq!(own(cluster), second);
        }
    }
    // Every request restarts the time; once it is over any backend may answer.
    scene.change(service.name, &affinity(2));
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for address in service.addresses {
            let to = To(protocol, address, 80);
            let ask = || scene.ask(From::Pod("node2"), to, "/hostname", 1).remove(0);
            let first = ask();
            for _ in 0..4 {
                std::thread::sleep(std::time::Duration::from_secs(1));
                assert_eq!(ask(), first, "{to:?}");
            }
            let changed = (0..12).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(3200));
                ask() != first
            });
            assert!(changed, "{to:?} was {first} for ever");
        }
    }
    scene.forget(service.name);
}

/// The addresses of the host outside.
fn outside() -> [IpAddr; 2] {
    ["172.30.0.1".parse().unwrap(), "fd30::1".parse().unwrap()]
}

/// An address that nobody has.
fn external_address(family: usize, number: u8) -> IpAddr {
    [format!("172.30.2.{number}"), format!("fd30:2::{number}")][family].parse().unwrap()
}

/// The addresses that the load balancer gave a Service.
fn load_balancer(scene: &Scene<'_>, service: &'static str) -> [IpAddr; 2] {
    let mut found = Vec::new();
    testkit::wait_until(DEADLINE, "the load balancer gives an address", || {
        let object = scene.service(service).object;
        let ingress = object["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
        found = ingress.iter().filter_map(|ip| ip["ip"].as_str()?.parse().ok()).collect();
        found.len() == 2
    });
    found.sort_by_key(IpAddr::is_ipv6);
    [found[0], found[1]]
}
