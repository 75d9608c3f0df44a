//! The runtime's part towards a plugin that notes what it is told: what it gets, what becomes of its
//! answers, and that a failed Pod leaves nothing. As root.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::path::Path;

use common::{output, up};
use lab::{Family, Guard, Target};
use naming::PodKey;
use serde_json::Value;

/// Fails the verbs for which /run/fail-VERB exists; notes each call in /run/calls.
const PLUGIN: &str = r#"#!/bin/sh
mkdir -p /run/calls
call=/run/calls/$(ls /run/calls | wc -l)
{ echo "$CNI_COMMAND"; echo "$CNI_CONTAINERID"; echo "$CNI_NETNS"; echo "$CNI_IFNAME"; echo "$CNI_PATH"
  echo "$CNI_ARGS"; cat; } >$call
[ -e "$CNI_NETNS" ] || { echo '{"code":8,"msg":"no namespace"}'; exit 1; }
[ -e /run/fail-$CNI_COMMAND ] && { echo '{"cniVersion":"1.1.0","code":11,"msg":"not today"}'; exit 1; }
[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mac":"0a:00:00:00:00:01",
  "sandbox":"'$CNI_NETNS'"}],"ips":[{"address":"10.244.1.3/24","interface":0}]}'
exit 0
"#;

const CONFLIST: &str = r#"{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"note","mtu":1450}]}"#;

fn node() -> Target {
    Target::Node("node1".into())
}

fn lab() -> Guard {
    let lab = up(1, Family::V4);
    let script = format!(
        "cat >/opt/cni/bin/note <<'END'\n{PLUGIN}END\nchmod +x /opt/cni/bin/note\n\
         cat >/etc/cni/net.d/10-note.conflist <<'END'\n{CONFLIST}\nEND\n"
    );
    output(&lab, &node(), "sh", &["-c", &script]);
    lab
}

/// The calls so far: the lines of their environment, and their configuration.
fn calls(lab: &Guard) -> Vec<(Vec<String>, Value)> {
    let text = output(lab, &node(), "sh", &["-c", "for f in /run/calls/*; do cat $f; echo; echo ==; done"]);
    let calls = text.split("==\n").filter(|call| !call.is_empty()).map(|call| {
        let (environment, config) = call.split_once('{').unwrap();
        (
            environment.lines().map(str::to_owned).collect(),
            serde_json::from_str(&format!("{{{config}")).unwrap(),
        )
    });
    calls.collect()
}

#[test]
fn the_plugin_gets_what_a_runtime_gives() {
    let lab = lab();
    let pod = lab.add_pod("node1", "default", "a").unwrap();
    assert_eq!(pod.ips, ["10.244.1.3/24".parse().unwrap()]);
    assert_eq!(pod.mac.unwrap().to_string(), "0a:00:00:00:00:01");
    assert!(pod.add_microseconds > 0);
    assert!(pod.container_id.len() == 64 && pod.container_id.bytes().all(|b| b.is_ascii_hexdigit()));
    lab.check_pod(&pod.key).unwrap();
    lab.delete_pod(&pod.key).unwrap();

    let calls = calls(&lab);
    let netns = format!("/run/netns/{}", pod.container_id);
    let arguments = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=a;K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
        pod.container_id, pod.uid
    );
    for ((environment, config), verb) in calls.iter().zip(["ADD", "CHECK", "DEL"]) {
        assert_eq!(*environment, [verb, &pod.container_id, &netns, "eth0", "/opt/cni/bin", &arguments]);
        assert_eq!(config["name"], "net");
        assert_eq!(config["cniVersion"], "1.1.0");
        assert_eq!(config["mtu"], 1450);
        assert_eq!(config.get("prevResult"), Some(&pod.result).filter(|_| verb != "ADD"));
    }
    assert_eq!(calls.len(), 3);
}

#[test]
fn a_pod_has_a_network_of_its_own_and_its_nodes_files() {
    let lab = lab();
    let pod = lab.add_pod("node1", "default", "a").unwrap();
    let inside = Target::Pod(pod.key.clone());
    assert_eq!(lab.find("a", None).unwrap(), inside);
    let links = output(&lab, &inside, "sh", &["-c", "cut -d: -f1 /proc/net/dev | tail -n +3"]);
    assert_eq!(links.trim(), "lo", "not a fresh namespace");
    assert_eq!(output(&lab, &inside, "hostname", &[]), "node1\n");
    assert_ne!(
        lab.netns(&inside).unwrap().identity().unwrap(),
        lab.netns(&node()).unwrap().identity().unwrap()
    );
    lab::probe::ping(
        &lab.netns(&inside).unwrap(),
        "127.0.0.1".parse().unwrap(),
        std::time::Duration::from_secs(60),
    )
    .unwrap();
    assert!(!Path::new(&format!("/run/netns/{}", pod.container_id)).exists(), "leaked to the host");

    let manifest = lab.manifests().join("pod-default_a.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    assert!(text.contains("nodeName: node1") && text.contains(&pod.uid), "{text}");
    lab.delete_pod(&pod.key).unwrap();
    assert!(!manifest.exists());
    assert_eq!(output(&lab, &node(), "ls", &["/run/netns"]), "");
    assert!(lab.state().unwrap().pods.is_empty());
}

#[test]
fn a_failed_add_has_the_plugins_message_and_leaves_nothing() {
    let lab = lab();
    output(&lab, &node(), "touch", &["/run/fail-ADD"]);
    let error = format!("{:#}", lab.add_pod("node1", "default", "a").unwrap_err());
    for want in ["ADD", "default/a", "note", "node1", "code 11: not today"] {
        assert!(error.contains(want), "{want} is not in {error}");
    }
    assert_eq!(calls(&lab).len(), 2, "a failed ADD must be followed by DEL");
    assert_eq!(output(&lab, &node(), "ls", &["/run/netns"]), "");
    assert!(lab.state().unwrap().pods.is_empty());
}

#[test]
fn a_failed_delete_can_be_repeated() {
    let lab = lab();
    let key = lab.add_pod("node1", "default", "a").unwrap().key;
    output(&lab, &node(), "touch", &["/run/fail-DEL"]);
    assert!(format!("{:#}", lab.delete_pod(&key).unwrap_err()).contains("not today"));
    assert_eq!(lab.state().unwrap().pods.len(), 1);
    output(&lab, &node(), "rm", &["/run/fail-DEL"]);
    lab.delete_pod(&key).unwrap();
    let error = lab.delete_pod(&key).unwrap_err().to_string();
    assert!(error.contains("no Pod default/a"), "{error}");
}

#[test]
fn bad_requests_change_nothing() {
    let lab = lab();
    lab.add_pod("node1", "default", "a").unwrap();
    for (node, name, want) in
        [("node9", "b", "no node node9"), ("node1", "a", "already, on node1"), ("node1", "../b", "no name")]
    {
        let error = format!("{:#}", lab.add_pod(node, "default", name).unwrap_err());
        assert!(error.contains(want), "{error}");
    }
    assert_eq!(lab.state().unwrap().pods.len(), 1);
}

#[test]
fn a_named_namespace_selects_its_pods_alone() {
    let lab = lab();
    for (namespace, name) in [("default", "a"), ("other", "a"), ("other", "b"), ("other", "node1")] {
        lab.add_pod("node1", namespace, name).unwrap();
    }
    let pod = |namespace: &str, name: &str| Target::Pod(PodKey::new(namespace, name));
    for (name, namespace, target) in [
        ("other/a", None, pod("other", "a")),
        ("a", Some("other"), pod("other", "a")),
        ("a", Some("default"), pod("default", "a")),
        ("other/a", Some("other"), pod("other", "a")),
        ("b", None, pod("other", "b")),
        ("node1", None, node()),
        ("node1", Some("other"), pod("other", "node1")),
        ("outside", None, Target::Outside),
    ] {
        assert_eq!(lab.find(name, namespace).unwrap(), target, "{name} {namespace:?}");
    }
    for (name, namespace, want) in [
        ("a", None, "several Pods called a, default/a and other/a among them: give its namespace"),
        ("b", Some("default"), "no Pod default/b"),
        ("default/b", None, "no Pod default/b"),
        ("other/a", Some("default"), "other/a is not in namespace default"),
        ("node1", Some("default"), "no Pod default/node1"),
        ("fabric", Some("other"), "no Pod other/fabric"),
        ("nobody", None, "name a node, a Pod, outside or fabric"),
        ("other/", None, "other/"),
    ] {
        let error = lab.find(name, namespace).unwrap_err().to_string();
        assert!(error.contains(want), "{name} {namespace:?}: {error}");
    }
    assert_eq!(lab.find_pod("node1", None).unwrap(), PodKey::new("other", "node1"), "a node is no Pod");
    assert!(lab.find_pod("outside", None).unwrap_err().to_string().contains("no Pod outside"));
}

#[test]
fn pods_can_be_added_at_the_same_time() {
    let lab = lab();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let lab = &lab;
            scope.spawn(move || lab.add_pod("node1", "default", &format!("p{number}")).unwrap());
        }
    });
    let state = lab.state().unwrap();
    assert_eq!(state.pods.len(), 8);
    assert!(state.pods.iter().all(|pod| !pod.ips.is_empty()), "{:?}", state.pods);
}
