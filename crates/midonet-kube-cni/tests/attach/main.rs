//! The plugin as a runtime calls it, in namespaces, with an agent that only notes what it is asked.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod agent;
mod chain;
mod cnitool;
mod conformance;
mod host_local;
mod host_ports;
mod node;
mod runtime;
mod schema;

use std::time::{Duration, Instant};

use agent::Agent;
use node::{Node, Sandbox};
use serde_json::{Value, json};
use tonic::Status;

#[test]
fn add_check_del() {
    for ipam in ["midonet-kube-ipam", "host-local"] {
        let node = Node::new(ipam);
        let agent = Agent::start(&node.socket());
        let pod = Sandbox::new("c1", "web-0");
        let result = node.add(&pod).result();
        let sandbox = pod.netns.path().to_str().unwrap();
        let host_ifname = "mido24d07f86e30";
        assert_eq!(result["cniVersion"], "1.1.0");
        assert_eq!(
            result["interfaces"][0],
            json!({"name": host_ifname, "mac": "02:6d:69:64:6f:01", "mtu": 1450})
        );
        assert_eq!(
            (&result["interfaces"][1]["name"], &result["interfaces"][1]["sandbox"]),
            (&json!("eth0"), &json!(sandbox))
        );
        assert_eq!(
            result["ips"],
            json!([
                {"interface": 1, "address": "10.244.1.3/24", "gateway": "10.244.1.1"},
                {"interface": 1, "address": "fd44:0:0:1::3/64", "gateway": "fd44:0:0:1::1"},
            ])
        );
        let links = node.interfaces();
        assert_eq!((links.len(), links[0].name.as_str(), links[0].up), (1, host_ifname, true));
        assert_eq!(links[0].alias, "default/web-0 c1 eth0 -");
        let bound = agent.last_bind();
        assert_eq!(
            (bound.host_ifindex, &json!(bound.mac)),
            (links[0].ifindex, &result["interfaces"][1]["mac"])
        );
        assert_eq!(bound.addresses, ["10.244.1.3", "fd44:0:0:1::3"]);
        assert!(bound.began_monotonic_ns > 0, "the agent measures how long an ADD takes");
        assert!(pod.netns.ip("route").contains("default via 10.244.1.1"));
        assert!(pod.netns.ip("-6 route").contains("default via fd44:0:0:1::1"));

        let mut config = node.config.clone();
        config["prevResult"] = result;
        let check = || node.call("CHECK", &pod, &config, &[]);
        assert_eq!(check().result(), Value::Null);
        let (code, msg) = node.call("CHECK", &pod, &node.config, &[]).error();
        assert!(code == 7 && msg.contains("prevResult: missing"), "{code} {msg}");
        pod.netns.ip("addr del 10.244.1.3/24 dev eth0");
        let (code, msg) = check().error();
        assert!(code == 101 && msg.contains("lacks the address 10.244.1.3/24"), "{code} {msg}");

        assert_eq!(node.call("DEL", &pod, &config, &[]).result(), Value::Null);
        node.assert_clean(&pod);
        node.del(&pod).result();
        let want =
            ["bind", "check", "check", "release", "release"].map(|verb| format!("{verb} default/web-0 c1"));
        assert_eq!(agent.calls(), want, "{ipam}");
    }
}

/// The longest that Kubernetes, a runtime and the kernel have, and longer ids than today's runtimes make.
#[test]
fn the_longest_names() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    let (namespace, name) = ("s".repeat(63), "n".repeat(253));
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}");
    for (container, ifname) in [(64, 15), (64, 4), (128, 15), (160, 15)] {
        let pod = Sandbox::new("c1", "web-0");
        let (container, ifname) = ("c".repeat(container), "i".repeat(ifname));
        let more = [
            ("CNI_CONTAINERID", container.as_str()),
            ("CNI_IFNAME", ifname.as_str()),
            ("CNI_ARGS", args.as_str()),
        ];
        let call = |verb: &str, config: &Value| node.call(verb, &pod, config, &more);
        let mut config = node.config.clone();
        config["prevResult"] = call("ADD", &config).result();
        let bound = agent.last_bind();
        assert_eq!((&bound.namespace, &bound.name, &bound.container_id), (&namespace, &name, &container));
        assert_eq!(call("CHECK", &config).result(), Value::Null);
        // What is still attached stays, what is not goes.
        let mut gc = node.config.clone();
        gc["cni.dev/valid-attachments"] = json!([{"containerID": container, "ifname": ifname}]);
        call("GC", &gc).result();
        assert_eq!(call("CHECK", &config).result(), Value::Null);
        call("DEL", &config).result();
        node.assert_clean(&pod);
        config["prevResult"] = call("ADD", &node.config).result();
        gc["cni.dev/valid-attachments"] = json!([]);
        call("GC", &gc).result();
        node.assert_clean(&pod);
    }
}

#[test]
fn an_agent_that_refuses_leaves_nothing() {
    for ipam in ["midonet-kube-ipam", "host-local"] {
        let node = Node::new(ipam);
        let agent = Agent::start(&node.socket());
        agent.refuse(Some(Status::resource_exhausted("the endpoint table is full: raise --max-endpoints")));
        let pod = Sandbox::new("c1", "web-0");
        let (code, msg) = node.add(&pod).error();
        assert!(code == 102 && msg.contains("raise --max-endpoints"), "{code} {msg}");
        assert_eq!(agent.calls(), ["bind default/web-0 c1", "release default/web-0 c1"]);
        node.assert_clean(&pod);
        assert_eq!(node.host.run(plumbing::link::list).unwrap().len(), 1, "not even a retired interface");

        agent.refuse(None);
        node.add(&pod).result();
    }
}

#[test]
fn what_the_runtime_asks_for_reaches_the_agent() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    let pod = Sandbox::new("c1", "web-0");
    let mut config = node.config.clone();
    config["runtimeConfig"] = json!({"bandwidth": {"egressRate": 10_000_000, "egressBurst": u32::MAX}});
    config["prevResult"] = node.call("ADD", &pod, &config, &[]).result();
    let bandwidth = agent.last_bind().bandwidth.unwrap();
    assert_eq!((bandwidth.ingress_rate, bandwidth.egress_rate), (0, 10_000_000));
    node.call("CHECK", &pod, &config, &[]).result();
    config["runtimeConfig"]["bandwidth"]["egressRate"] = json!(20_000_000);
    assert_eq!(node.call("CHECK", &pod, &config, &[]).error().0, 102);
    node.call("DEL", &pod, &config, &[]).result();
    node.assert_clean(&pod);
    agent.calls();

    config["runtimeConfig"] =
        json!({"bandwidth": {"egressRate": 10_000_000}, "portMappings": [{"hostPort": -1}]});
    let (code, msg) = node.call("ADD", &pod, &config, &[]).error();
    assert!(code == 7 && msg.contains("portMappings[0].protocol: missing"), "{code} {msg}");
    node.assert_clean(&pod);
    assert!(agent.calls().is_empty(), "refused before anything is done");
    // What cannot be read was never added.
    node.call("DEL", &pod, &config, &[]).result();
}

#[test]
fn an_absent_agent_is_waited_for_and_then_named() {
    let node = Node::new("midonet-kube-ipam");
    let pod = Sandbox::new("c1", "web-0");
    let start = Instant::now();
    let (code, msg) = node.add(&pod).error();
    assert!(code == 11 && msg.contains("is midonet-kube-node running"), "{code} {msg}");
    assert!(start.elapsed().as_secs() >= 5, "{:?}", start.elapsed());
    node.assert_clean(&pod);

    let agent = std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            Agent::start(&node.socket())
        });
        node.add(&pod).result();
        starting.join().unwrap()
    });
    drop(agent);
    // Without an agent everything on the node is released all the same.
    let del = node.del(&pod);
    assert!(del.stderr.contains("the agent will release the port when it is back"), "{}", del.stderr);
    del.result();
    node.assert_clean(&pod);
}

#[test]
fn a_second_add_fails_and_keeps_the_first() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    let pod = Sandbox::new("c1", "web-0");
    node.add(&pod).result();
    let (reserved, links) = (node.reserved(), node.interfaces().len());
    agent.calls();
    let (code, msg) = node.add(&pod).error();
    assert!(code == 103 && msg.contains("send DEL for container c1 first"), "{code} {msg}");
    let (code, msg) = node.call("ADD", &pod, &node.config, &[("CNI_IFNAME", "eth1")]).error();
    assert!(code == 103 && msg.contains("one attachment per Pod"), "{code} {msg}");
    assert_eq!((node.reserved(), node.interfaces().len()), (reserved, links));
    assert!(pod.has_interface() && agent.calls().is_empty());
}

#[test]
fn a_new_sandbox_replaces_the_old_and_a_late_del_harms_nothing() {
    let node = Node::new("midonet-kube-ipam");
    let _agent = Agent::start(&node.socket());
    let (old, new) = (Sandbox::new("old", "web-0"), Sandbox::new("new", "web-0"));
    node.add(&old).result();
    node.add(&new).result();
    node.del(&old).result();
    let links = node.interfaces();
    assert_eq!((links.len(), links[0].alias.as_str(), links[0].up), (1, "default/web-0 new eth0 -", true));
    assert_eq!(node.reserved(), ["10.244.1.4", "fd44:0:0:1::4"]);
    assert!(new.has_interface());
}

#[test]
fn a_vanished_namespace_is_released() {
    let node = Node::new("midonet-kube-ipam");
    let _agent = Agent::start(&node.socket());
    let pod = Sandbox::new("c1", "web-0");
    node.add(&pod).result();
    node.call("DEL", &pod, &node.config, &[("CNI_NETNS", "/nonexistent/netns")]).result();
    assert!(node.reserved().is_empty() && node.interfaces().is_empty());
    let (code, msg) = node.call("ADD", &pod, &node.config, &[("CNI_NETNS", "/nonexistent/netns")]).error();
    assert!(code == 8 && msg.contains("/nonexistent/netns"), "{code} {msg}");
}

#[test]
fn the_nodes_own_namespace_is_refused() {
    let node = Node::new("midonet-kube-ipam");
    let _agent = Agent::start(&node.socket());
    let pod = Sandbox::new("c1", "web-0");
    let own = node.host.path().to_str().unwrap();
    let (code, msg) = node.call("ADD", &pod, &node.config, &[("CNI_NETNS", own)]).error();
    assert!(code == 8 && msg.contains("should not be the same"), "{code} {msg}");
    node.assert_clean(&pod);
}

#[test]
fn the_gateways_and_the_nodes_addresses_are_released() {
    for (start, holder) in [("10.244.1.1", "the gateway"), ("10.244.1.2", "the node")] {
        let node = Node::new("midonet-kube-ipam");
        let agent = Agent::start(&node.socket());
        let pod = Sandbox::new("c1", "web-0");
        let mut config = node.config.clone();
        config["ipam"]["ranges"][0][0]["rangeStart"] = json!(start);
        // Only the virtual gateway is ours to guard: what IPAM calls a gateway it never gives.
        config["ipam"]["ranges"][0][0]["gateway"] = json!("10.244.1.254");
        let (code, msg) = node.call("ADD", &pod, &config, &[]).error();
        assert!(code == 104 && msg.contains(start) && msg.contains(holder), "{code} {msg}");
        node.assert_clean(&pod);
        assert!(agent.calls().is_empty());
    }
}

#[test]
fn bad_calls_say_everything_and_touch_nothing() {
    let node = Node::new("midonet-kube-ipam");
    let pod = Sandbox::new("c1", "web-0");
    let (code, msg) = node.call("ADD", &pod, &node.config, &[("CNI_NETNS", ""), ("CNI_IFNAME", "")]).error();
    assert!(code == 4 && msg.contains("[CNI_NETNS,CNI_IFNAME] missing"), "{code} {msg}");
    let new = json!({"cniVersion": "1.2.0", "name": "net", "ipam": {"type": "x"}});
    assert_eq!(node.call("ADD", &pod, &new, &[]).error().0, 1);
    let absent = json!({"cniVersion": "1.0.0", "name": "net", "mtu": 1450, "ipam": {"type": "absent"}});
    let answer = node.call("ADD", &pod, &absent, &[]);
    assert_eq!(answer.json["cniVersion"], "1.0.0");
    assert!(answer.error().1.contains("there is no such file in CNI_PATH"));
    let version = node.call("VERSION", &pod, &json!({"cniVersion": "1.0.0"}), &[]).result();
    assert_eq!(version["cniVersion"], "1.0.0");
    node.assert_clean(&pod);
}

#[test]
fn under_its_other_name_it_is_the_allocator_alone() {
    let node = Node::new("midonet-kube-ipam");
    let pod = Sandbox::new("c1", "web-0");
    let plugin = node.directory.path().join("midonet-kube-ipam");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_midonet-kube-cni"), &plugin).unwrap();
    let path = node.directory.path().to_str().unwrap();
    let call = cni::Call {
        container_id: "c1",
        netns: None,
        ifname: "eth0",
        args: "",
        path,
        config: &cni::Document::parse(node.config.to_string().into()).unwrap(),
    };
    // As another network plugin would run it.
    let delegate = ipam::Ipam::Delegate("midonet-kube-ipam".into());
    let call = cni::Call { netns: Some("/nonexistent/netns"), ..call };
    let allocation = delegate.add(&call).unwrap();
    assert_eq!(allocation.ips[0].address.to_string(), "10.244.1.3/24");
    assert_eq!(allocation.routes.len(), 2);
    delegate.check(&call).unwrap();
    delegate.del(&call).unwrap();
    node.assert_clean(&pod);
}
