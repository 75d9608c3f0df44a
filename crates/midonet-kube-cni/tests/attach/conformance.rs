//! Every verb of every version, as the specification's own runtime asks for it.

use std::time::Duration;

use naming::PodKey;
use nodeapi::v1::ReadyReply;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::cnitool::Cnitool;
use crate::node::{Node, Sandbox};
use crate::schema::{VERSIONS, assert_error, assert_result, has_check, has_gc_and_status};

const OUTER: &str = "mido24d07f86e30";

/// The node's configuration with the ranges of these families alone.
fn of_families(node: &Node, families: &str) -> Value {
    let mut config = node.config.clone();
    let keep = |index: usize| families.contains(if index == 0 { '4' } else { '6' });
    for key in ["ranges", "routes"] {
        let all = config["ipam"][key].as_array().unwrap().iter().enumerate();
        let kept: Vec<Value> =
            all.filter(|(index, _)| keep(*index)).map(|(_, value)| value.clone()).collect();
        config["ipam"][key] = json!(kept);
    }
    config
}

/// What a result says, in any shape: address, gateway, and the index of the interface.
fn addresses(result: &Value) -> Vec<(String, String, Option<u64>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let old = ["ip4", "ip6"].into_iter().filter_map(|key| result.get(key));
    let old = old.map(|ip| (text(&ip["ip"]), text(&ip["gateway"]), None));
    let new = result["ips"].as_array().into_iter().flatten();
    let new = new.map(|ip| (text(&ip["address"]), text(&ip["gateway"]), ip["interface"].as_u64()));
    old.chain(new).collect()
}

/// The cases of the reference's ptp_test.go that need no answering gateway; `tests/conformance.rs` has those.
#[test]
fn a_runtime_adds_checks_and_deletes_in_every_version() {
    for version in VERSIONS {
        for (families, ipam) in [("46", "midonet-kube-ipam"), ("4", "host-local"), ("6", "midonet-kube-ipam")]
        {
            let node = Node::new(ipam);
            let agent = Agent::start(&node.socket());
            let cnitool = Cnitool::new(&node, version, &[of_families(&node, families)]);
            let pod = Sandbox::new("", "web-0");
            cnitool.must("status", &pod);
            cnitool.must("del", &pod); // of what was never added

            let result = cnitool.must("add", &pod);
            assert_result(version, &result);
            let index = (version >= "0.3.0").then_some(1);
            let want: Vec<_> =
                [("4", "10.244.1.3/24", "10.244.1.1"), ("6", "fd44:0:0:1::3/64", "fd44:0:0:1::1")]
                    .into_iter()
                    .filter(|(family, ..)| families.contains(family))
                    .map(|(_, address, gateway)| (address.to_owned(), gateway.to_owned(), index))
                    .collect();
            assert_eq!(addresses(&result), want, "{version} {families}");
            if version >= "0.3.0" {
                let interfaces = result["interfaces"].as_array().unwrap();
                assert_eq!((interfaces.len(), &interfaces[0]["name"]), (2, &json!(OUTER)));
                assert!(interfaces[0].get("sandbox").is_none(), "the first is the node's: {result}");
                assert_eq!(interfaces[1]["sandbox"], json!(pod.netns.path()));
                let link = pod.netns.run(|| plumbing::link::find("eth0")).unwrap().unwrap();
                let mac = link.mac.map(|byte| format!("{byte:02x}")).join(":");
                assert_eq!(interfaces[1]["mac"], json!(mac));
            }
            agent.calls();

            let check = cnitool.run("check", &pod, &[]);
            assert_eq!(check.ok, has_check(version), "{version}: {}", check.stderr);
            assert_eq!(agent.calls().len(), usize::from(has_check(version)));
            assert!(!cnitool.run("add", &pod, &[]).ok, "a second ADD fails");
            assert_eq!(addresses(&result).len(), node.reserved().len(), "and keeps what the first made");

            cnitool.must("del", &pod);
            node.assert_clean(&pod);
            cnitool.must("del", &pod);
        }
    }
}

#[test]
fn a_verb_that_a_version_does_not_have_is_refused() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    let pod = Sandbox::new("c1", "web-0");
    for version in VERSIONS {
        let mut config = node.config.clone();
        config["cniVersion"] = json!(version);
        for (verb, exists) in [
            ("CHECK", has_check(version)),
            ("STATUS", has_gc_and_status(version)),
            ("GC", has_gc_and_status(version)),
        ] {
            let answer = node.call(verb, &pod, &config, &[]);
            if exists && verb != "CHECK" {
                answer.result();
                continue;
            }
            assert_error(version, &answer.json);
            let (code, msg) = answer.error();
            if exists {
                assert!(code == 7 && msg.contains("prevResult: missing"), "{verb} {version}: {msg}");
            } else {
                assert_eq!((code, msg), (1, format!("config version does not allow {verb}")), "{version}");
            }
        }
        let answer = node.call("VERSION", &pod, &json!({"cniVersion": version}), &[]).result();
        assert_eq!(answer, json!({"cniVersion": version, "supportedVersions": VERSIONS}));
    }
    agent.calls();
}

#[test]
fn without_a_version_it_is_0_1_0() {
    let node = Node::new("midonet-kube-ipam");
    let _agent = Agent::start(&node.socket());
    let pod = Sandbox::new("c1", "web-0");
    let mut config = node.config.clone();
    config.as_object_mut().unwrap().remove("cniVersion");
    assert_result("0.1.0", &node.call("ADD", &pod, &config, &[]).result());
    node.call("DEL", &pod, &config, &[]).result();
    node.assert_clean(&pod);
    config["ipam"]["type"] = json!("absent");
    assert_error("0.1.0", &node.call("ADD", &pod, &config, &[]).json);
}

#[test]
fn status_says_50_and_51() {
    let node = Node::new("midonet-kube-ipam");
    let pod = Sandbox::new("c1", "web-0");
    let cnitool = Cnitool::new(&node, "1.1.0", std::slice::from_ref(&node.config));
    let status = || node.call("STATUS", &pod, &node.config, &[]);
    let answer = status();
    assert_error("1.1.0", &answer.json);
    let (code, msg) = answer.error();
    assert!(code == 50 && msg.contains("is midonet-kube-node running"), "{msg}");

    let agent = Agent::start(&node.socket());
    cnitool.must("status", &pod);
    let not_ready = |reason: &str, serves| Ok(ReadyReply { ready: false, reason: reason.into(), serves });
    // 50 also with attached Pods, which go on as they did.
    cnitool.must("add", &pod);
    agent.be(not_ready("no podCIDR yet", true));
    let (code, msg) = status().error();
    assert!(code == 50 && msg.contains("no podCIDR yet"), "{code} {msg}");
    agent.be(not_ready("something undoes the agent's work", false));
    let (code, msg) = status().error();
    assert!(code == 51 && msg.contains("undoes the agent's work"), "{code} {msg}");

    let mut full = node.config.clone();
    full["ipam"]["ranges"][0][0]["rangeEnd"] = json!("10.244.1.3");
    // IPAM is asked in any case.
    let (code, msg) = node.call("STATUS", &pod, &full, &[]).error();
    assert!(code == 51 && msg.contains("undoes the agent's") && msg.contains("10.244.1.3"), "{code} {msg}");
    agent.be(Ok(ReadyReply { ready: true, ..ReadyReply::default() }));
    let (code, msg) = node.call("STATUS", &pod, &full, &[]).error();
    assert!(code == 50 && msg.contains("10.244.1.3"), "{code} {msg}");
}

#[test]
fn status_waits_for_an_agent_that_is_replaced() {
    let node = Node::new("midonet-kube-ipam");
    let pod = Sandbox::new("c1", "web-0");
    let status = || node.call("STATUS", &pod, &node.config, &[]);
    // Its socket is there before it knows whether it can serve.
    let starting = || Err(tonic::Status::unavailable("waiting for the first list of Nodes"));
    let (asked, answer) = std::thread::scope(|scope| {
        let call = scope.spawn(status);
        std::thread::sleep(Duration::from_secs(1));
        let agent = Agent::start(&node.socket());
        agent.be(starting());
        std::thread::sleep(Duration::from_secs(1));
        let asked = !call.is_finished();
        agent.be(Ok(ReadyReply { ready: true, ..ReadyReply::default() }));
        (asked, call.join().unwrap())
    });
    assert!(asked && answer.ok, "{}", answer.json);
    // Not for ever: a node without an agent is not ready.
    let agent = Agent::start(&node.socket());
    agent.be(starting());
    let (code, msg) = status().error();
    assert!(code == 50 && msg.contains("waiting for the first list of Nodes"), "{code} {msg}");
}

#[test]
fn status_asks_an_older_agent_as_before() {
    let node = Node::new("midonet-kube-ipam");
    let pod = Sandbox::new("c1", "web-0");
    let agent = Agent::start(&node.socket());
    agent.be(Err(tonic::Status::unimplemented("")));
    assert!(node.call("STATUS", &pod, &node.config, &[]).ok);
    agent.refuse(Some(tonic::Status::unavailable("no podCIDR yet")));
    let (code, msg) = node.call("STATUS", &pod, &node.config, &[]).error();
    assert!(code == 50 && msg.contains("no podCIDR yet"), "{code} {msg}");
}

#[test]
fn gc_leaves_what_is_valid_alone() {
    for ipam in ["midonet-kube-ipam", "host-local"] {
        for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
            let node = Node::new(ipam);
            let agent = Agent::start(&node.socket());
            let pods =
                [("a", "web-0"), ("b", "web-1"), ("c", "web-2")].map(|(id, name)| Sandbox::new(id, name));
            for pod in &pods {
                node.add(pod).result();
            }
            agent.calls();
            let gc = |list: Value| {
                let mut config = node.config.clone();
                config[key] = list;
                node.call(
                    "GC",
                    &pods[0],
                    &config,
                    &[("CNI_CONTAINERID", ""), ("CNI_IFNAME", ""), ("CNI_NETNS", "")],
                )
            };
            let of_b = json!({"containerID": "b", "ifname": "eth0"});
            let other_interface = json!({"containerID": "c", "ifname": "eth1"});
            assert_eq!(gc(json!([of_b, other_interface])).result(), Value::Null);
            assert_eq!(agent.calls(), ["release default/web-0 a", "release default/web-2 c"], "{ipam}");
            let left = node.interfaces();
            assert_eq!((left.len(), left[0].alias.as_str()), (1, "default/web-1 b eth0 -"));
            assert_eq!(node.reserved(), ["10.244.1.4", "fd44:0:0:1::4"], "{ipam}");

            assert_eq!(gc(Value::Null).result(), Value::Null);
            node.assert_released();
        }
    }
}

#[test]
fn gc_without_a_list_releases_everything() {
    let node = Node::new("midonet-kube-ipam");
    let _agent = Agent::start(&node.socket());
    let (a, b) = (Sandbox::new("", "web-0"), Sandbox::new("b", "web-1"));
    let cnitool = Cnitool::new(&node, "1.1.0", std::slice::from_ref(&node.config));
    cnitool.must("add", &a);
    node.add(&b).result(); // which libcni knows nothing of
    cnitool.must("gc", &a);
    node.assert_released();
}

#[test]
fn gc_of_one_network_leaves_the_others_alone() {
    let node = Node::new("midonet-kube-ipam");
    let _agent = Agent::start(&node.socket());
    let configs = ["midonet-pod-network", "net", "other"].map(|name| {
        let mut config = node.config.clone();
        config["name"] = json!(name);
        config
    });
    let pods = [Sandbox::new("a", "web-0"), Sandbox::new("b", "web-1"), Sandbox::new("c", "web-2")];
    // Their addresses are from one range, but not the same.
    for (number, (pod, config)) in pods.iter().zip(&configs).enumerate() {
        let mut config = config.clone();
        config["args"] =
            json!({"cni": {"ips": [format!("10.244.1.1{number}"), format!("fd44:0:0:1::1{number}")]}});
        node.call("ADD", pod, &config, &[]).result();
    }
    for (number, config) in configs.iter().enumerate() {
        node.call("GC", &pods[0], config, &[]).result();
        let living: Vec<_> = node.interfaces().into_iter().map(|link| link.name).collect();
        let interface = |pod: &Sandbox| naming::pod_host_interface(&PodKey::new("default", pod.pod));
        let want: Vec<_> = pods.iter().skip(number + 1).map(interface).collect();
        assert_eq!(living, want);
    }
    assert_eq!(node.interfaces().len(), 0);
}

#[test]
fn gc_goes_on_past_errors_and_tells_them_all() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    let pods = [Sandbox::new("a", "web-0"), Sandbox::new("b", "web-1")];
    for pod in &pods {
        node.add(pod).result();
    }
    agent.refuse_releases(true);
    let answer = node.call("GC", &pods[0], &node.config, &[]);
    assert_error("1.1.0", &answer.json);
    let (code, msg) = answer.error();
    assert!(code == 102 && msg.contains("web-0 stays") && msg.contains("web-1 stays"), "{code} {msg}");
    node.assert_released();

    // A list that is none releases nothing.
    agent.refuse_releases(false);
    let pod = Sandbox::new("c", "web-2");
    node.add(&pod).result();
    let mut config = node.config.clone();
    config["cni.dev/valid-attachments"] = json!([{"ifname": "eth0"}]);
    let (code, msg) = node.call("GC", &pods[0], &config, &[]).error();
    assert!(code == 7 && msg.contains("cni.dev/valid-attachments[0].containerID: missing"), "{code} {msg}");
    assert_eq!(node.interfaces().len(), 1);
    // Without an agent everything on the node goes all the same, as with DEL.
    drop(agent);
    let answer = node.call("GC", &pods[0], &node.config, &[]);
    assert!(answer.stderr.contains("when it is back"), "{}", answer.stderr);
    answer.result();
    node.assert_released();
}
