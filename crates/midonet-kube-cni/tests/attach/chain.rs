//! Chains with the reference plugins, before and after ours, as `cnitool` runs them.

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::cnitool::Cnitool;
use crate::node::{Node, Sandbox};
use crate::schema::{assert_result, has_check};

const OUTER: &str = "mido24d07f86e30";
const PORTS: &str = r#"{"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}"#;

fn chain(node: &Node) -> [Value; 5] {
    [
        json!({"type": "loopback"}),
        node.config.clone(),
        json!({
            "type": "tuning", "dataDir": node.directory.path().join("tuning"), "mtu": 1400,
            "sysctl": {"net.core.somaxconn": "500", "net.ipv4.ip_forward": "1"},
        }),
        json!({"type": "bandwidth", "ingressRate": 10_000_000, "ingressBurst": 1_000_000}),
        json!({"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}}),
    ]
}

fn rules(node: &Node) -> String {
    testkit::run(node.host.command("nft").args(["list", "ruleset"]))
}

#[test]
fn others_before_and_after_get_what_they_need() {
    testkit::require_tool("nft", "apt-get install nftables");
    for ipam in ["midonet-kube-ipam", "host-local"] {
        for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            let node = Node::new(ipam);
            let _agent = Agent::start(&node.socket());
            let cnitool = Cnitool::new(&node, version, &chain(&node));
            let pod = Sandbox::new("", "web-0");
            let run = |verb: &str| cnitool.run(verb, &pod, &[("CAP_ARGS", PORTS)]);

            let result = run("add").result();
            assert_result(version, &result);
            let names: Vec<&Value> =
                result["interfaces"].as_array().unwrap().iter().map(|interface| &interface["name"]).collect();
            assert_eq!(names, ["lo", OUTER, "eth0"], "{version}");
            let ips: Vec<String> = result["ips"]
                .as_array()
                .unwrap()
                .iter()
                .map(|ip| format!("{} {}", ip["address"].as_str().unwrap(), ip["interface"]))
                .collect();
            assert_eq!(ips, ["127.0.0.1/8 0", "::1/128 0", "10.244.1.3/24 2", "fd44:0:0:1::3/64 2"]);
            let rules_now = rules(&node);
            for dnat in ["10.244.1.3:80", "[fd44:0:0:1::3]:80"] {
                assert!(rules_now.contains("8080") && rules_now.contains(dnat), "{rules_now}");
            }
            let shaped = testkit::run(node.host.command("tc").args(["qdisc", "show", "dev", OUTER]));
            assert!(shaped.contains("tbf") && shaped.contains("clsact"), "{shaped}");
            assert!(pod.netns.ip("link show eth0").contains("mtu 1400"));

            let check = run("check");
            assert_eq!(check.ok, has_check(version), "{version}: {}", check.stderr);

            // What a runtime that restarted in between does: GC, and DEL more than once.
            run("gc").result();
            node.assert_clean(&pod);
            for _ in 0..2 {
                run("del").result();
                node.assert_clean(&pod);
            }
            assert!(!rules(&node).contains("10.244.1.3:80"), "{}", rules(&node));
        }
    }
}

#[test]
fn check_tells_that_a_later_plugin_cut_the_pod_off() {
    let node = Node::new("midonet-kube-ipam");
    let _agent = Agent::start(&node.socket());
    let pod = Sandbox::new("", "web-0");
    let mac = "02:00:00:00:00:77";
    let tuning = |mac: Value| {
        let mut tuning = mac;
        tuning["type"] = json!("tuning");
        tuning["dataDir"] = json!(node.directory.path().join("tuning"));
        tuning
    };
    // The datapath lets only the MAC address pass that it was told of.
    let cnitool = Cnitool::new(&node, "1.1.0", &[node.config.clone(), tuning(json!({"mac": mac}))]);
    let result = cnitool.must("add", &pod);
    assert_eq!(result["interfaces"][1]["mac"], mac);
    let check = cnitool.run("check", &pod, &[]);
    assert!(!check.ok && check.stderr.contains("is bound, not"), "{}", check.stderr);
    cnitool.must("del", &pod);

    // With the capability both have the same.
    let capable = |mut config: Value| {
        config["capabilities"] = json!({"mac": true});
        config
    };
    let cnitool = Cnitool::new(&node, "1.1.0", &[capable(node.config.clone()), capable(tuning(json!({})))]);
    let runtime = format!(r#"{{"mac": "{mac}"}}"#);
    for verb in ["add", "check", "del"] {
        cnitool.run(verb, &pod, &[("CAP_ARGS", &runtime)]).result();
    }
    node.assert_clean(&pod);
}

#[test]
fn an_interface_of_an_earlier_plugin_is_not_replaced() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    let pod = Sandbox::new("", "web-0");
    let ptp = json!({
        "type": "ptp",
        "ipam": {"type": "host-local", "dataDir": node.directory.path().join("ptp"), "subnet": "192.0.2.0/24"},
    });
    let cnitool = Cnitool::new(&node, "1.1.0", &[ptp, node.config.clone()]);
    let add = cnitool.run("add", &pod, &[]);
    assert!(
        !add.ok && add.stderr.contains("interface eth0 exists in the container already"),
        "{}",
        add.stderr
    );
    assert!(node.reserved().is_empty() && agent.calls().is_empty());
    cnitool.must("del", &pod);
    node.assert_clean(&pod);
}
