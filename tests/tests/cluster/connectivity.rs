//! `midokube connectivity test` on a cluster without faults, on one with planted ones, and when it is broken off.

use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::DEADLINE;
use serde_json::{Value, json};

use super::Cluster;
use super::policy::midokube;

/// By what its namespaces are known.
const LABEL: &str = "midonet.org/connectivity-test";

/// What is wrong, and how it is planted and put right again: lines of shell in a place, or of kubectl.
struct Fault {
    what: &'static str,
    place: &'static str,
    plant: &'static str,
    undo: &'static str,
    /// What is tried, and the scenarios of it that have to fail; the others have to pass.
    tests: &'static [&'static str],
    fails: &'static [&'static str],
    /// The family that is to fail alone.
    family: Option<&'static str>,
    /// What a cause has to say.
    cause: &'static [&'static str],
}

/// Where kubectl is run, in the place of a place.
const KUBECTL: &str = "kubectl";

const FAULTS: &[Fault] = &[
    Fault {
        what: "tunnels to a node are filtered",
        place: "fabric",
        plant: "ip link add sink type veth peer name sink-end; ip link set sink-end up; ip link set sink up; \
                tc qdisc add dev node2 clsact; \
                tc filter add dev node2 egress protocol ip prio 7 u32 match ip protocol 17 0xff match ip dport 4789 0xffff \
                action mirred egress redirect dev sink",
        undo: "tc qdisc del dev node2 clsact; ip link del sink",
        tests: &["pod-to-pod-*-tcp", "service-across-nodes"],
        fails: &["pod-to-pod-across-nodes-tcp", "service-across-nodes"],
        family: None,
        cause: &["path_filtered", "4789"],
    },
    Fault {
        what: "a link between nodes has a smaller MTU",
        place: "fabric",
        plant: "ip link set node2 mtu 1400",
        undo: "ip link set node2 mtu 1500",
        tests: &["largest-packet-*", "pod-to-pod-across-nodes-udp"],
        fails: &["largest-packet-across-nodes"],
        family: None,
        cause: &["path_mtu"],
    },
    Fault {
        what: "the DNS Service has no endpoints",
        place: KUBECTL,
        // Its Pods stay: what is on the nodes is compared later.
        plant: "-n kube-system set selector service/kube-dns k8s-app=nobody",
        undo: "-n kube-system set selector service/kube-dns k8s-app=kube-dns",
        tests: &["dns-*", "service-same-node"],
        fails: &["dns-service", "dns-service-tcp", "dns-headless"],
        family: None,
        cause: &["a Service without a usable endpoint"],
    },
    Fault {
        what: "a policy of the administrator denies",
        place: KUBECTL,
        plant: "apply -f FILE",
        undo: "delete -f FILE",
        tests: &["pod-to-pod-same-node-*", "service-without-endpoints"],
        fails: &["pod-to-pod-same-node-tcp", "pod-to-pod-same-node-udp", "pod-to-pod-same-node-ping"],
        family: None,
        cause: &["ClusterNetworkPolicy"],
    },
    Fault {
        what: "a routing rule takes Pods' addresses",
        place: "node1",
        plant: "ip rule add pref 90 to 10.244.0.0/16 prohibit",
        undo: "ip rule del pref 90",
        tests: &["node-to-own-pod", "pod-to-pod-same-node-tcp"],
        fails: &["node-to-own-pod"],
        family: Some("ipv4"),
        cause: &["foreign_route"],
    },
    Fault {
        what: "a firewall drops what Pods send to their node",
        place: "node2",
        plant: "nft 'table inet fault { chain in { type filter hook input priority 0; \
                ct state new ip saddr 10.244.0.0/16 drop; ct state new ip6 saddr fd44::/48 drop; }; }'",
        undo: "nft delete table inet fault",
        tests: &["pod-to-own-node", "pod-to-pod-same-node-tcp"],
        fails: &["pod-to-own-node"],
        family: None,
        cause: &["input_dropped"],
    },
    Fault {
        what: "a firewall drops what Pods send to the outside",
        place: "node1",
        plant: "nft 'table inet fault { chain forward { type filter hook forward priority 0; \
                ct state new ip saddr 10.244.0.0/16 drop; }; }'",
        undo: "nft delete table inet fault",
        tests: &["pod-to-api-server-address", "service-same-node"],
        fails: &["pod-to-api-server-address"],
        family: Some("ipv4"),
        cause: &["forward_dropped"],
    },
    Fault {
        what: "a node's firewall drops what it sends to NodePorts",
        place: "node3",
        plant: "nft 'table inet fault { chain out { type filter hook output priority -400; \
                tcp dport 30000-32767 drop; udp dport 30000-32767 drop; }; }'",
        undo: "nft delete table inet fault",
        tests: &["node-port-from-other-node", "node-port-from-pod"],
        fails: &["node-port-from-other-node"],
        family: None,
        cause: &["outside of them", "firewall", "node3"],
    },
    Fault {
        what: "a node's firewall drops one family",
        place: "node1",
        plant: "nft 'table ip6 fault { chain out { type filter hook output priority -400; ip6 daddr fd44::/48 drop; }; }'",
        undo: "nft delete table ip6 fault",
        tests: &["node-to-own-pod", "pod-to-pod-same-node-udp"],
        fails: &["node-to-own-pod"],
        family: Some("ipv6"),
        cause: &["outside of them", "firewall", "node1"],
    },
    Fault {
        what: "an agent hangs",
        place: "node3",
        plant: "pkill -STOP -x midonet-kube-no",
        undo: "pkill -CONT -x midonet-kube-no || true",
        tests: &["agents-answer", "pod-to-pod-across-nodes-udp"],
        fails: &["agents-answer"],
        family: None,
        cause: &["agent_silent", "node3"],
    },
];

/// Causes that agents find.
const AGENTS_FIND: [&str; 3] = ["foreign_route", "forward_dropped", "input_dropped"];

/// Denies everything that comes to the test's Pods.
const POLICY: &str = r#"
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: no-tests}
spec:
  tier: Admin
  priority: 7
  subject:
    namespaces: {matchExpressions: [{key: midonet.org/connectivity-test, operator: Exists}]}
  ingress:
  - {name: nobody, action: Deny, from: [{namespaces: {}}]}
"#;

/// With all scenarios, with faults, and without an end. Only with the faults whose words have those that are wanted.
pub(super) fn who_reaches_whom_is_tested(cluster: &Cluster, wanted: &str) {
    let definition = super::commands::repository().join("deploy/clusternetworkpolicies.yaml");
    cluster.kubectl(&["apply", "-f", definition.to_str().unwrap()]);
    all_is_well(cluster);
    for fault in FAULTS.iter().filter(|fault| fault.what.contains(wanted)) {
        is_found(cluster, fault);
    }
    what_is_broken_off_leaves_nothing(cluster);
    what_is_kept_is_removed_on_demand(cluster);
}

/// The document that a test prints, and its exit status.
fn test(cluster: &Cluster, words: &[&str]) -> (Value, Option<i32>) {
    let output = midokube(cluster, &[&["connectivity", "test", "-o", "json"], words].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (document, output.status.code())
}

fn namespaces(cluster: &Cluster) -> String {
    cluster.kubectl(&["get", "namespaces", "-l", LABEL, "-o", "name"])
}

fn all_is_well(cluster: &Cluster) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("connectivity.xml");
    let (document, code) = test(cluster, &["--junit", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{document:#}");
    let count = |what: &str| document[what].as_u64().unwrap();
    assert!(count("passed") >= 50 && count("failed") == 0 && count("skipped") == 0, "{document:#}");
    assert_eq!(document["nodes"], json!(["node1", "node2", "node3"]));
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written.matches("<testcase").count() as u64, count("passed"), "{written}");
    assert_eq!(namespaces(cluster), "");
}

fn is_found(cluster: &Cluster, fault: &Fault) {
    eprintln!("planted: {}", fault.what);
    let file = cluster.directory.join("no-tests.yaml");
    std::fs::write(&file, POLICY).unwrap();
    let run = |line: &str| {
        if fault.place == KUBECTL {
            let line = line.replace("FILE", file.to_str().unwrap());
            cluster.kubectl(&line.split(' ').collect::<Vec<_>>());
        } else {
            cluster.enter(fault.place, &["sh", "-ec", line]);
        }
    };
    run(fault.plant);
    if fault.plant.contains("FILE") {
        let output = midokube(cluster, &["policy", "wait", "clusternetworkpolicy/no-tests"]);
        assert!(output.status.success(), "{output:?}");
    }
    // An agent looks for such faults now and then.
    if AGENTS_FIND.contains(&fault.cause[0]) {
        testkit::wait_until(DEADLINE, &format!("{} is found", fault.cause[0]), || {
            let output = midokube(cluster, &["doctor"]);
            String::from_utf8_lossy(&output.stdout).contains(fault.cause[0])
        });
    }
    let words = fault.tests.iter().flat_map(|test| ["--test", test]).chain(["--timeout", "4s"]);
    let (document, code) = test(cluster, &words.collect::<Vec<_>>());
    run(fault.undo);
    assert_eq!(code, Some(4), "{}: {document:#}", fault.what);
    let scenarios = document["scenarios"].as_array().unwrap();
    let mut failed: Vec<&str> = scenarios
        .iter()
        .filter(|one| one["outcome"] == "failed")
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    let mut wanted = fault.fails.to_vec();
    failed.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(failed, wanted, "{}: {document:#}", fault.what);
    for scenario in scenarios.iter().filter(|one| one["outcome"] == "failed") {
        let failures = scenario["failures"].as_array().unwrap();
        assert!(!failures.is_empty(), "{}: {document:#}", fault.what);
        for failure in failures {
            let cause = failure["cause"].as_str().unwrap();
            assert!(fault.cause.iter().all(|word| cause.contains(word)), "{}: {failure:#}", fault.what);
            assert!(
                fault.family.is_none_or(|family| failure["family"] == family),
                "{}: {failure:#}",
                fault.what
            );
            assert!(failure["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{failure:#}");
        }
    }
    if fault.what.contains("DNS") {
        testkit::wait_until(DEADLINE, "names are known again", || {
            test(cluster, &["--test", "dns-service"]).1 == Some(0)
        });
    }
    // What agents tell of it, too, is over.
    testkit::wait_until(DEADLINE, "doctor finds nothing", || midokube(cluster, &["doctor"]).status.success());
}

/// By a signal while it goes on.
fn what_is_broken_off_leaves_nothing(cluster: &Cluster) {
    let mut command = Command::new(cluster.directory.join("midokube"));
    command.args(["connectivity", "test"]).env("MIDOKUBE_BIN", e2e::programs());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    testkit::wait_until(DEADLINE, "it has made its namespaces", || !namespaces(cluster).is_empty());
    std::thread::sleep(Duration::from_secs(1));
    // The script has become midokube.
    testkit::run(Command::new("kill").args(["-INT", &child.id().to_string()]));
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("interrupted"), "{said}");
    assert!(said.contains("what it made is removed"), "{said}");
    assert_eq!(namespaces(cluster), "");
}

fn what_is_kept_is_removed_on_demand(cluster: &Cluster) {
    let (document, code) = test(cluster, &["--test", "pod-to-itself", "--node", "node2", "--keep"]);
    assert_eq!(code, Some(0), "{document:#}");
    let kept = document["namespace"].as_str().unwrap();
    let pods = cluster.json(&["get", "pods", "-n", kept]);
    let nodes: Vec<&Value> =
        pods["items"].as_array().unwrap().iter().map(|pod| &pod["spec"]["nodeName"]).collect();
    assert!(nodes.len() == 4 && nodes.iter().all(|node| *node == "node2"), "{nodes:?}");
    // The next test leaves what is kept alone.
    assert_eq!(test(cluster, &["--test", "pod-to-itself"]).1, Some(0));
    assert_eq!(namespaces(cluster).lines().count(), 2);
    let output = midokube(cluster, &["connectivity", "test", "--cleanup"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(namespaces(cluster), "");
}
