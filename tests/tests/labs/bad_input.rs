//! Invalid input gets a clear error and leaks nothing, with the real agent and kernel. Not repeated here is what other
//! tests cover:
//!
//! - environment and configuration field by field: `midonet-kube-cni/src/{env,request,config/tests}.rs`;
//! - an agent that is absent or refuses, the node's own namespace, the gateway's and the node's address
//!   from IPAM, a second ADD: `midonet-kube-cni/tests/attach/main.rs`;
//! - IPAM plugins that hang (killed with their children) or return invalid results: `cni/src/delegate/tests.rs`;
//! - API servers that refuse, stall or send invalid data: `objects/tests/`;
//! - a vanished uplink: `heal.rs`; malformed packets byte by byte: `datapath/tests/programs/mutations.rs`.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{DEADLINE, TestLab, node1, sh};
use lab::probe::ping;
use lab::{Family, Pod, Target};
use serde_json::{Value, json};

/// What the plugin left on the node: interfaces, addresses, ports.
fn left(lab: &TestLab) -> (String, String, usize) {
    (
        // But for what only waits to be deleted.
        sh(lab, &node1(), "cd /sys/class/net; grep -Lx '702[12]' */netdev_group || true"),
        sh(lab, &node1(), "find /var/lib/cni -name '[0-9f]*[.:]*'"),
        lab.status("node1").unwrap().ports.len(),
    )
}

/// That nothing else is left. An interface that is being deleted is seen for a moment, without its group.
fn is_left(lab: &TestLab, expected: &(String, String, usize), when: &str) {
    testkit::wait_until(DEADLINE, &format!("what is left, {when}: {expected:?}"), || left(lab) == *expected);
}

/// Calls the plugin on node1 with this and nothing else.
fn call(lab: &TestLab, variables: &[(&str, &str)], stdin: &[u8]) -> (bool, String) {
    let mut command = Command::new("/opt/cni/bin/midonet-kube-cni");
    command.env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = lab.enter(&node1(), &mut command).unwrap();
    // It may have ended before it has read everything.
    let _cut = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The configuration that the agent wrote, as a runtime gives it to the plugin.
fn configuration(lab: &TestLab) -> Value {
    let list: Value =
        serde_json::from_str(&sh(lab, &node1(), "cat /etc/cni/net.d/10-midonet.conflist")).unwrap();
    let mut config = list["plugins"][0].clone();
    config["name"] = list["name"].clone();
    config["cniVersion"] = list["cniVersion"].clone();
    config
}

const VARIABLES: [(&str, &str); 5] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c1"),
    ("CNI_NETNS", "/run/netns/pod"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_PATH", "/opt/cni/bin"),
];

const ARGS: (&str, &str) = ("CNI_ARGS", "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web");

/// The usual call, but for one variable.
fn with<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let usual = VARIABLES.into_iter().chain([ARGS]).filter(move |(known, _)| *known != name);
    usual.chain([(name, value)]).collect()
}

/// The error's code and message, which the plugin must have given.
fn error((ok, answer): (bool, String)) -> (u64, String) {
    assert!(!ok, "{answer}");
    let error: Value = serde_json::from_str(&answer).unwrap_or_else(|_| json!({"msg": answer}));
    let text = format!("{} {}", error["msg"].as_str().unwrap(), error["details"].as_str().unwrap_or(""));
    (error["code"].as_u64().unwrap_or_default(), text)
}

#[test]
fn invalid_environments() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    sh(&lab, &node1(), "ip netns add pod");
    let (before, config) = (left(&lab), configuration(&lab).to_string());
    let long = "a".repeat(100_000);
    for (name, value, code, want) in [
        ("CNI_COMMAND", "DESTROY", 4, "DESTROY"),
        ("CNI_CONTAINERID", "../../etc", 4, "CNI_CONTAINERID"),
        ("CNI_IFNAME", long.as_str(), 4, "CNI_IFNAME"),
        ("CNI_IFNAME", "../eth0", 4, "CNI_IFNAME"),
        ("CNI_ARGS", "no equals sign", 4, "CNI_ARGS"),
        ("CNI_ARGS", "K8S_POD_NAME=../../x;K8S_POD_NAMESPACE=y", 4, "K8S_POD_NAME"),
        ("CNI_NETNS", "", 4, "CNI_NETNS"),
    ] {
        let (got, text) = error(call(&lab, &with(name, value), config.as_bytes()));
        assert!(got == code && text.contains(want), "{name}={value:.40}: {got} {text:.300}");
        is_left(&lab, &before, &format!("{name}={value:.40}"));
    }
}

#[test]
fn invalid_configurations() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    sh(&lab, &node1(), "ip netns add pod");
    let (before, config) = (left(&lab), configuration(&lab));
    let nested = "[".repeat(100_000);
    let changed = |path: &str, value: Value| {
        let mut config = config.clone();
        *config.pointer_mut(path).unwrap() = value;
        config.to_string()
    };
    for (stdin, code, want) in [
        (String::new(), 6, "not JSON"),
        ("\u{0}\u{1}\u{2}".into(), 6, "not JSON"),
        (nested, 6, "not JSON"),
        ("[]".into(), 6, "object"),
        (changed("/mtu", json!(-1)), 7, "mtu"),
        (changed("/mtu", json!(1e99)), 7, "mtu"),
        (changed("/name", json!("../..")), 7, "name"),
        (changed("/cniVersion", json!("99.0.0")), 1, "99.0.0"),
        (changed("/ipam", json!(null)), 7, "ipam"),
        (changed("/ipam/type", json!("../../bin/sh")), 7, "IPAM plugin"),
        (changed("/ipam/ranges", json!([])), 7, "ranges"),
        (changed("/ipam/ranges/0/0/subnet", json!("10.244.1.0/31")), 7, "10.244.1.0/31"),
        (changed("/ipam/ranges/0/0/rangeStart", json!("10.9.9.9")), 7, "10.9.9.9"),
        (changed("/ipam/routes", json!([{"dst": "everywhere"}])), 7, "everywhere"),
    ] {
        let (got, text) = error(call(&lab, &with("CNI_COMMAND", "ADD"), stdin.as_bytes()));
        assert!(got == code && text.contains(want), "{stdin:.200}: {got} {text:.300}");
        is_left(&lab, &before, &format!("{stdin:.200}"));
    }
}

#[test]
fn a_file_that_is_no_namespace() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    sh(&lab, &node1(), "mkfifo /run/fifo; ip netns add pod");
    let (before, config) = (left(&lab), configuration(&lab).to_string());
    for path in
        ["/nonexistent", "/etc/hostname", "/etc", "/run/fifo", "/dev/null", "/proc/self/ns/mnt", "relative"]
    {
        let start = Instant::now();
        let (code, text) = error(call(&lab, &with("CNI_NETNS", path), config.as_bytes()));
        assert!(code == 8 && text.contains(path), "{path}: {code} {text}");
        assert!(start.elapsed() < DEADLINE, "{path}");
        // DEL must succeed: the container may be long gone.
        let mut del = with("CNI_NETNS", path);
        del.retain(|(name, _)| *name != "CNI_COMMAND");
        del.push(("CNI_COMMAND", "DEL"));
        assert!(call(&lab, &del, config.as_bytes()).0, "{path}");
        is_left(&lab, &before, path);
    }
}

#[test]
fn an_interface_that_exists() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    sh(&lab, &node1(), "ip netns add pod; ip -n pod link add eth0 type veth peer name other");
    let (before, config) = (left(&lab), configuration(&lab).to_string());
    let (code, text) = error(call(&lab, &with("CNI_COMMAND", "ADD"), config.as_bytes()));
    assert!(code == 103 && text.contains("interface eth0 exists in the container already"), "{code} {text}");
    is_left(&lab, &before, "at the end");
    assert!(sh(&lab, &node1(), "ip -n pod -br link").contains("eth0@other"), "it is somebody else's");
}

#[test]
fn a_stale_interface_on_the_node_is_replaced() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let name = naming::pod_host_interface(&naming::PodKey::new("default", "a"));
    sh(&lab, &node1(), &format!("ip link add {name} up type veth peer name stale"));
    let a = lab.add_pod("node1", "default", "a").unwrap();
    lab.check_pod(&a.key).unwrap();
    ping(&lab.netns(&node1()).unwrap(), a.addresses()[0], DEADLINE).unwrap();
}

#[test]
fn an_ipam_plugin_that_fails_or_returns_invalid_results() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    sh(&lab, &node1(), "ip netns add pod; mkdir /run/plugins");
    let before = left(&lab);
    let mut config = configuration(&lab);
    config["ipam"] = json!({"type": "strange"});
    let gives = |ips: &str| format!("echo '{{\"cniVersion\":\"1.1.0\",\"ips\":[{ips}]}}'");
    let address = |address: &str, gateway: &str| {
        gives(&format!("{{\"address\":\"{address}\",\"gateway\":\"{gateway}\"}}"))
    };
    for (script, want) in [
        ("exit 3".to_owned(), "strange"),
        ("kill -9 $$".to_owned(), "strange"),
        ("echo '{\"code\":77,\"msg\":\"no addresses today\"}'; exit 1".to_owned(), "no addresses today"),
        ("echo garbage".to_owned(), "strange"),
        ("head -c 3000000 /dev/zero".to_owned(), "strange"),
        (gives(""), "strange"),
        (address("10.244.1.300/24", "10.244.1.1"), "10.244.1.300"),
        (address("10.244.1.1/24", "10.244.1.1"), "10.244.1.1"),
        (address("10.244.1.2/24", "10.244.1.1"), "10.244.1.2"),
        (address("10.244.1.0/24", "10.244.1.1"), "10.244.1.0/24, which means the whole subnet"),
        (address("10.244.1.255/24", "10.244.1.1"), "10.244.1.255/24, which means the whole subnet"),
        (address("127.0.0.1/8", "127.0.0.2"), "127.0.0.1"),
        (address("10.9.9.9/24", "10.9.9.1"), "10.9.9.9"),
    ] {
        let file = "/run/plugins/strange";
        let calls = "echo $CNI_COMMAND >> /run/plugins/calls; [ $CNI_COMMAND = DEL ] && exit 0";
        sh(
            &lab,
            &node1(),
            &format!(
                "cat > {file} <<'END'\n#!/bin/sh\ncat > /dev/null\n{calls}\n{script}\nEND\nchmod 755 {file}; rm -f /run/plugins/calls"
            ),
        );
        let (_, text) = error(call(&lab, &with("CNI_PATH", "/run/plugins"), config.to_string().as_bytes()));
        assert!(text.contains(want), "{script:.100}: {text:.300}");
        is_left(&lab, &before, &format!("{script:.100}"));
        assert!(!sh(&lab, &node1(), "ip -n pod -br link").contains("eth0"), "{script:.100}");
        if script.contains("ips") && script.contains("address") {
            assert_eq!(
                sh(&lab, &node1(), "cat /run/plugins/calls"),
                "ADD\nDEL\n",
                "{script}: it is released"
            );
        }
    }
}

#[test]
fn an_agent_that_hangs() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let before = left(&lab);
    let a = lab.add_pod("node1", "default", "a").unwrap();
    let agent = nix::unistd::Pid::from_raw(lab.state().unwrap().nodes[0].agent.unwrap().pid);
    nix::sys::signal::kill(agent, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let start = Instant::now();
    let hung = format!("{:#}", lab.add_pod("node1", "default", "b").unwrap_err());
    let added = start.elapsed();
    let start = Instant::now();
    let deleted = lab.delete_pod(&a.key);
    let took = start.elapsed();
    nix::sys::signal::kill(agent, nix::sys::signal::Signal::SIGCONT).unwrap();
    assert!(hung.contains("code 11") && hung.contains("node agent"), "{hung}");
    // ADD, and the DEL of what failed.
    assert!(added < DEADLINE, "{added:?}");
    deleted.unwrap();
    assert!(took < DEADLINE, "{took:?}");
    testkit::wait_until(DEADLINE, "the agent finishes the rest", || left(&lab) == before);
}

#[test]
fn an_agent_that_restarts_meanwhile() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    lab.stop_agent("node1").unwrap();
    let pod: Pod = std::thread::scope(|scope| {
        // A busy machine's agent may need longer than the plugin waits: then kubelet tries again.
        let adding = scope.spawn(|| {
            let end = Instant::now() + 2 * DEADLINE;
            loop {
                match lab.add_pod("node1", "default", "a") {
                    Ok(pod) => return pod,
                    Err(error) => assert!(Instant::now() < end, "{error:#}"),
                }
            }
        });
        std::thread::sleep(Duration::from_millis(700));
        assert!(!adding.is_finished(), "it waits");
        lab.start_agent("node1").unwrap();
        adding.join().unwrap()
    });
    ping(&lab.netns(&node1()).unwrap(), pod.addresses()[0], DEADLINE).unwrap();
}

/// Rewrites the manifest of a node.
fn edit(lab: &TestLab, node: &str, change: impl FnOnce(String) -> String) {
    let path = lab.manifests().join(format!("node-{node}.yaml"));
    edit_to(lab, node, &change(fs::read_to_string(path).unwrap()));
}

fn edit_to(lab: &TestLab, node: &str, text: &str) {
    let path = lab.manifests().join(format!("node-{node}.yaml"));
    let new = path.with_extension("tmp");
    fs::write(&new, text).unwrap();
    fs::rename(&new, &path).unwrap();
}

#[test]
fn a_pod_cidr_that_is_missing_too_small_or_elsewhere() {
    let lab = TestLab::up(1, Family::V4, &[]).unwrap();
    let a = lab.add_pod("node1", "default", "a").unwrap();
    let good = fs::read_to_string(lab.manifests().join("node-node1.yaml")).unwrap();
    let wrong = || {
        let status = lab.status("node1").unwrap();
        assert!(status.agent.unwrap().ready, "what was set up serves on");
        status.problems.into_iter().map(|one| one.problem).collect::<String>()
    };
    for (bad, want) in [
        (good.replace("10.244.1.0/24", "10.244.1.0/31"), "10.244.1.0/31"),
        (good.replace("10.244.1.0/24", "192.168.0.0/24"), "192.168.0.0/24 lies outside --cluster-cidr"),
        (
            good.lines()
                .filter(|line| !line.contains("10.244.1.0"))
                .collect::<Vec<_>>()
                .join("\n")
                .replace("podCIDRs:", "unschedulable: false"),
            "podCIDR",
        ),
        (
            good.replace("172.30.0.11", "172.30.0.99"),
            "no interface holds this node's tunnel address 172.30.0.99",
        ),
    ] {
        edit(&lab, "node1", |_| bad.clone());
        testkit::wait_until(DEADLINE, &format!("{want:?} is said of {bad}, not {:?}", wrong()), || {
            wrong().contains(want)
        });
        // The Pods that are there go on, and new ones are added.
        ping(&lab.netns(&node1()).unwrap(), a.addresses()[0], DEADLINE).unwrap();
        let new = lab.add_pod("node1", "default", "new").unwrap();
        ping(&lab.netns(&node1()).unwrap(), new.addresses()[0], DEADLINE).unwrap();
        lab.delete_pod(&new.key).unwrap();
        edit(&lab, "node1", |_| good.clone());
        testkit::wait_until(DEADLINE, "nothing is wrong any more", || wrong().is_empty());
    }
    lab.check_pod(&a.key).unwrap();
}

#[test]
fn a_pod_cidr_that_overlaps_another_nodes() {
    let lab = TestLab::up(3, Family::V4, &[]).unwrap();
    edit(&lab, "node3", |text| text.replace("10.244.3.0/24", "10.244.2.0/24"));
    let log = lab.log("node1");
    testkit::wait_until(DEADLINE, "the overlap is logged", || {
        let log = fs::read_to_string(&log).unwrap();
        log.contains("its podCIDR 10.244.2.0/24 is left out")
            && log.contains("it overlaps 10.244.2.0/24 of Node node2")
    });
    let status = lab.status("node1").unwrap();
    assert!(status.agent.unwrap().ready, "one bad object keeps no node from being ready");
    assert!(status.problems.iter().any(|one| one.what == "pod_cidr" && one.object == "Node node3"));
    // Node 2 keeps its Pods.
    let b = lab.add_pod("node2", "default", "b").unwrap();
    ping(&lab.netns(&node1()).unwrap(), b.addresses()[0], DEADLINE).unwrap();
}

/// A Node that says something wrong keeps the others neither from new Pods nor from being repaired.
#[test]
fn an_invalid_node_affects_itself_alone() {
    let lab = TestLab::up(4, Family::Dual, &[]).unwrap();
    let b = lab.add_pod("node2", "default", "b").unwrap();
    let good = fs::read_to_string(lab.manifests().join("node-node3.yaml")).unwrap();
    let annotated = |text: &str| {
        let annotation = format!("metadata:\n  annotations:\n    midonet.org/tunnel-endpoint-ip: \"{text}\"");
        good.replacen("metadata:", &annotation, 1)
    };
    for (bad, what) in [
        (annotated("0.0.0.0"), "tunnel_address"),
        (annotated("172.30.0.11"), "tunnel_address"),
        (annotated("10.244.2.3"), "tunnel_address"),
        (annotated("nonsense"), "tunnel_address"),
        (good.replace("10.244.3.0/24", "192.0.2.0/24"), "pod_cidr"),
        (good.replace("10.244.3.0/24", "10.244.0.0/16"), "pod_cidr"),
        (good.replace("fd44:0:0:3::/64", "fd44::/48"), "pod_cidr"),
    ] {
        edit(&lab, "node3", |_| bad.clone());
        let status = || lab.status("node1").unwrap();
        let named = || status().problems.into_iter().find(|one| one.object == "Node node3");
        testkit::wait_until(DEADLINE, &format!("{bad} is named"), || {
            named().is_some_and(|one| one.what == what)
        });
        assert!(named().is_some_and(|one| !one.remedy.is_empty()));
        assert!(status().agent.unwrap().ready, "{bad}");
        let pod = lab.add_pod("node1", "default", "a").unwrap();
        for address in b.addresses().into_iter().chain(["192.0.2.1".parse().unwrap()]) {
            ping(&lab.netns(&Target::Pod(pod.key.clone())).unwrap(), address, DEADLINE).unwrap();
        }
        lab.delete_pod(&pod.key).unwrap();
        // A node that comes later gets its route.
        let node4 = fs::read_to_string(lab.manifests().join("node-node4.yaml")).unwrap();
        fs::remove_file(lab.manifests().join("node-node4.yaml")).unwrap();
        let peers = || status().peers.into_iter().any(|peer| peer.node == "node4");
        testkit::wait_until(DEADLINE, "node4 is gone", || !peers());
        edit_to(&lab, "node4", &node4);
        testkit::wait_until(DEADLINE, "node4 is there", peers);
        // Drift is repaired.
        lab.output(&node1(), "ip", &["route", "del", "10.244.0.0/16"]).unwrap();
        testkit::wait_until(DEADLINE, "the route is back", || {
            let routes = lab.output(&node1(), "ip", &["route"]).unwrap();
            String::from_utf8_lossy(&routes.stdout).contains("10.244.0.0/16")
        });
        edit(&lab, "node3", |_| good.clone());
        testkit::wait_until(DEADLINE, "nothing is wrong any more", || named().is_none());
    }
}

#[test]
fn a_pod_cidr_that_changes() {
    let lab = TestLab::up(1, Family::V4, &[]).unwrap();
    let old = lab.add_pod("node1", "default", "old").unwrap();
    edit(&lab, "node1", |text| text.replace("10.244.1.0/24", "10.244.9.0/24"));
    testkit::wait_until(DEADLINE, "the configuration follows", || {
        configuration(&lab).to_string().contains("10.244.9.0/24")
    });
    let new = lab.add_pod("node1", "default", "new").unwrap();
    assert_eq!(new.addresses()[0].to_string(), "10.244.9.3");
    ping(&lab.netns(&node1()).unwrap(), new.addresses()[0], DEADLINE).unwrap();
    lab.delete_pod(&old.key).unwrap();
    lab.delete_pod(&new.key).unwrap();
    assert_eq!(left(&lab).1, "", "addresses of both ranges are given back");
}

#[test]
fn invalid_manifests_are_named_and_the_last_state_stays() {
    let lab = TestLab::up(2, Family::Dual, &[]).unwrap();
    let b = lab.add_pod("node2", "default", "b").unwrap();
    let good = fs::read_to_string(lab.manifests().join("node-node2.yaml")).unwrap();
    let source_error = || lab.status("node1").unwrap().agent.unwrap().source_error;
    for bad in ["kind: Node\nmetadata: [", "\u{0}\u{0}", "apiVersion: v1\nkind: Node\nspec: 7\n"] {
        edit(&lab, "node2", |_| bad.into());
        testkit::wait_until(DEADLINE, &format!("{bad:?} is named"), || {
            source_error().contains("node-node2.yaml")
        });
        assert_eq!(lab.status("node1").unwrap().peers.len(), 1);
        for address in b.addresses() {
            ping(&lab.netns(&node1()).unwrap(), address, DEADLINE).unwrap();
        }
    }
    edit(&lab, "node2", |_| good);
    testkit::wait_until(DEADLINE, "all is well again", || source_error().is_empty());
}

#[test]
fn a_full_table_names_the_setting() {
    let lab = TestLab::up(1, Family::Dual, &["--max-pods", "1"]).unwrap();
    let before = left(&lab);
    // The node's own port has its place beside.
    let a = lab.add_pod("node1", "default", "a").unwrap();
    let with_one = left(&lab);
    let full = format!("{:#}", lab.add_pod("node1", "default", "b").unwrap_err());
    assert!(full.contains("--max-pods"), "{full}");
    is_left(&lab, &with_one, "after an ADD that was refused");
    ping(&lab.netns(&node1()).unwrap(), a.addresses()[0], DEADLINE).unwrap();
    lab.delete_pod(&a.key).unwrap();
    is_left(&lab, &before, "after a DEL");
    lab.add_pod("node1", "default", "b").unwrap();
}

#[test]
fn a_full_disk() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let a = lab.add_pod("node1", "default", "a").unwrap();
    sh(
        &lab,
        &node1(),
        "mkdir /run/full; cp -a /var/lib/cni/. /run/full; mount -t tmpfs -o size=64k none /var/lib/cni; cp -a /run/full/. /var/lib/cni",
    );
    let before = left(&lab);
    let _full = lab.output(&node1(), "sh", &["-c", "cat /dev/zero > /var/lib/cni/filler"]).unwrap();
    let error = format!("{:#}", lab.add_pod("node1", "default", "b").unwrap_err());
    assert!(error.contains("No space left") && error.contains("/var/lib/cni"), "{error}");
    is_left(&lab, &before, "at the end");
    // What is there goes on, and can be deleted.
    ping(&lab.netns(&node1()).unwrap(), a.addresses()[0], DEADLINE).unwrap();
    lab.delete_pod(&a.key).unwrap();
    sh(&lab, &node1(), "rm /var/lib/cni/filler");
    lab.add_pod("node1", "default", "b").unwrap();
    sh(&lab, &node1(), "umount /var/lib/cni");
}
