//! Ports of the node that lead to a Pod: the agent serves them. Where it leaves them to others, `portmap` is executed for
//! the Pods that have some, and for no other.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use tonic::Status;

use crate::agent::Agent;
use crate::node::{Node, Sandbox};

/// What portmap made, by whichever of the two tools it found.
fn rules(node: &Node) -> String {
    let mut all = testkit::run(node.host.command("nft").args(["list", "ruleset"]));
    for save in ["iptables-save", "ip6tables-save"] {
        if let Ok(output) = node.host.command(save).output() {
            all.push_str(&String::from_utf8_lossy(&output.stdout));
        }
    }
    all
}

/// A plugin that is a line of shell.
fn script(path: &Path, line: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{line}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn with_ports(node: &Node) -> Value {
    let mut config = node.config.clone();
    config["runtimeConfig"] = json!({"portMappings": [
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 5353, "containerPort": 53, "protocol": "udp"},
    ]});
    config
}

#[test]
fn the_agent_serves_them_and_an_installed_portmap_is_not_executed() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    let pod = Sandbox::new("c1", "web-0");
    let bin = node.directory.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let called = bin.join("called");
    script(&bin.join("portmap"), &format!("echo called >> {}; exit 1", called.display()));
    let path = ("CNI_PATH", bin.to_str().unwrap());
    let mut config = with_ports(&node);
    config["prevResult"] = node.call("ADD", &pod, &config, &[path]).result();
    assert_eq!(agent.last_bind().port_mappings.len(), 2);
    for verb in ["CHECK", "DEL", "DEL"] {
        node.call(verb, &pod, &config, &[path]).result();
    }
    assert!(!called.exists());
    node.assert_clean(&pod);
    // A Pod of which the agent knows no hostPorts: the plugin before this one had portmap serve them.
    node.call("ADD", &pod, &node.config, &[path]).result();
    node.call("DEL", &pod, &config, &[path]).error();
    assert!(called.exists());
}

#[test]
fn portmap_serves_them_over_both_families() {
    testkit::require_tool("nft", "apt-get install nftables");
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let node = Node::new("midonet-kube-ipam");
        let agent = Agent::start(&node.socket());
        agent.leave_host_ports();
        let pod = Sandbox::new("c1", "web-0");
        let mut config = with_ports(&node);
        config["cniVersion"] = json!(version);
        // Where portmap finds nft.
        let path = std::env::var("PATH").unwrap();
        let call = |verb: &str, config: &Value| node.call(verb, &pod, config, &[("PATH", &path)]);

        config["prevResult"] = call("ADD", &config).result();
        let now = rules(&node);
        for want in ["10.244.1.3:80", "[fd44:0:0:1::3]:80", "10.244.1.3:53", "[fd44:0:0:1::3]:53"] {
            assert!(now.contains(want), "{want} in {now}");
        }
        call("CHECK", &config).result();
        testkit::run(node.host.command("nft").args(["flush", "ruleset"]));
        let (_, msg) = call("CHECK", &config).error();
        assert!(msg.contains("runtimeConfig.portMappings: the plugin portmap failed: "), "{msg}");
        call("DEL", &config).result();

        call("ADD", &with_ports(&node)).result();
        for _ in 0..2 {
            call("DEL", &config).result();
            assert!(!rules(&node).contains("10.244.1.3"), "{}", rules(&node));
            node.assert_clean(&pod);
        }
    }
}

#[test]
fn ports_that_nobody_serves_are_refused() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    agent.leave_host_ports();
    let pod = Sandbox::new("c1", "web-0");
    let nothing = node.directory.path().join("bin");
    std::fs::create_dir(&nothing).unwrap();
    let path = ("CNI_PATH", nothing.to_str().unwrap());
    let (code, msg) = node.call("ADD", &pod, &with_ports(&node), &[path]).error();
    assert_eq!(code, 2);
    for want in ["hostPort 8080/tcp for containerPort 80", "5353/udp", "--services off", "portmap"] {
        assert!(msg.contains(want), "{want} in {msg}");
    }
    node.assert_clean(&pod);
    // A runtime sends DEL after an ADD that failed.
    node.call("DEL", &pod, &with_ports(&node), &[path]).result();
}

#[test]
fn ports_that_the_agent_refuses_leave_nothing() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    let pod = Sandbox::new("c1", "web-0");
    agent.refuse(Some(Status::failed_precondition("hostPort 8080/TCP is taken: Pod default/other has it")));
    let (code, msg) = node.call("ADD", &pod, &with_ports(&node), &[]).error();
    assert!(code == 102 && msg.contains("Pod default/other has it"), "{code} {msg}");
    node.assert_clean(&pod);
}

#[test]
fn a_portmap_that_fails_leaves_nothing_and_keeps_the_address_until_it_works() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    agent.leave_host_ports();
    let pod = Sandbox::new("c1", "web-0");
    let bin = node.directory.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let portmap = |text: &str| script(&bin.join("portmap"), text);
    let call = |verb: &str| node.call(verb, &pod, &with_ports(&node), &[("CNI_PATH", bin.to_str().unwrap())]);
    let fails = r#"cat > /dev/null; echo '{"code": 17, "msg": "no nft here"}'; exit 1"#;
    portmap(fails);
    let (code, msg) = call("ADD").error();
    assert_eq!(
        (code, msg.as_str()),
        (17, "runtimeConfig.portMappings: the plugin portmap failed: no nft here")
    );
    node.assert_clean(&pod);

    portmap("cat > /dev/null; echo {}");
    call("ADD").result();
    portmap(fails);
    assert_eq!(call("DEL").error().0, 17);
    assert_eq!(node.reserved().len(), 2, "the node's ports may still lead to these addresses");
    portmap("cat > /dev/null");
    call("DEL").result();
    node.assert_clean(&pod);
}

#[test]
fn a_pod_without_ports_costs_no_call_of_portmap() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    agent.leave_host_ports();
    let pod = Sandbox::new("c1", "web-0");
    let bin = node.directory.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let called = bin.join("called");
    script(&bin.join("portmap"), &format!("echo called >> {}; exit 1", called.display()));
    let path = ("CNI_PATH", bin.to_str().unwrap());
    let mut config = node.config.clone();
    config["prevResult"] = node.call("ADD", &pod, &config, &[path]).result();
    for verb in ["CHECK", "DEL"] {
        node.call(verb, &pod, &config, &[path]).result();
    }
    assert!(!called.exists());
}
