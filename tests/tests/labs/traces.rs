//! `midokube trace` where a node's own network stack does not carry what the network hands to it.

use std::process::{Command, Stdio};
use std::time::Instant;

use e2e::{DEADLINE, TestLab, sh};
use lab::{Family, Target};
use serde_json::Value;

/// What a trace from a Pod says, asked of all agents of the lab.
fn trace(lab: &TestLab, from: &str, to: &str, port: &str) -> Value {
    let mut command = Command::new(testkit::bin("midokube-lab"));
    command.arg("--dir").arg(lab.dir()).args(["midokube", "trace", from, to, port, "-o", "json"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let document: Result<Value, _> = serde_json::from_slice(&output.stdout);
    let document = document.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let arrives = document["outcome"]["answered"] == true;
    assert_eq!(output.status.code(), Some(if arrives { 0 } else { 4 }), "{document:#}");
    document["outcome"].clone()
}

#[test]
fn a_node_without_a_route_is_named() {
    let lab = TestLab::up(2, Family::Dual, &[]).unwrap();
    let node = |name: &str| Target::Node(name.into());
    let pods = ["a", "b"]
        .map(|name| lab.add_pod(if name == "a" { "node1" } else { "node2" }, "default", name).unwrap());
    let [a, b] = ["default/a", "default/b"];
    // Until both agents know both Pods.
    let end = Instant::now() + DEADLINE;
    while trace(&lab, a, &pods[1].addresses()[0].to_string(), "icmp")["answered"] != true {
        assert!(Instant::now() < end);
    }
    for (family, outside) in [("-4", "192.0.2.1"), ("-6", "2001:db8::1")] {
        assert_eq!(trace(&lab, a, outside, "tcp/443")["answered"], true);
        let route = sh(&lab, &node("node1"), &format!("ip {family} route show default"));
        sh(&lab, &node("node1"), &format!("ip {family} route del default"));
        let outcome = trace(&lab, a, outside, "tcp/443");
        let why = outcome["why"].as_str().unwrap();
        assert!(
            why.contains("node node1's network stack") && why.ends_with(&format!("no route to {outside}")),
            "{outcome}"
        );
        // A route that carries nothing is none.
        sh(&lab, &node("node1"), &format!("ip {family} route add blackhole default"));
        let outcome = trace(&lab, a, outside, "tcp/443");
        assert!(outcome["why"].as_str().unwrap().contains("no route to"), "{outcome}");
        sh(&lab, &node("node1"), &format!("ip {family} route del blackhole default"));
        sh(&lab, &node("node1"), &format!("ip {family} route add {}", route.trim()));
        assert_eq!(trace(&lab, a, outside, "tcp/443")["answered"], true);
    }
    // The packet arrives as far as node1 can say. The reply does not leave.
    sh(&lab, &node("node2"), "ip link set eth0 down");
    for address in pods[1].addresses() {
        let outcome = trace(&lab, a, &address.to_string(), "tcp/80");
        let why = outcome["why"].as_str().unwrap();
        assert!(
            why.starts_with("the reply is dropped by node node2's network stack: it has no route to"),
            "{outcome}"
        );
        assert!(why.ends_with("where the tunnel to node node1 ends"), "{outcome}");
    }
    let outcome = trace(&lab, b, a, "tcp/80");
    assert!(outcome["why"].as_str().unwrap().starts_with("the packet is dropped by node node2"), "{outcome}");
}

#[test]
fn a_command_for_one_node_is_not_asked_of_all() {
    let lab = TestLab::without_agents(1, Family::V4).unwrap();
    let mut command = Command::new(testkit::bin("midokube-lab"));
    let output = command.arg("--dir").arg(lab.dir()).args(["midokube", "services"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("exec node1 midokube services"), "{said}");
}
