//! A shop on three nodes, one of which cannot be asked.

use serde_json::{Value, json};

use super::{Flow, Known, flow};

/// A name that no Pod can have, and a page must not believe that.
pub(crate) const HOSTILE: &str = "shop/<img src=x onerror=alert(1)>";

/// The Pod that is denied something, the one that it wants, and why.
pub(crate) const DENIED: (&str, &str, &str) = (
    "shop/web-7d4b9c6f5d-x2x4k",
    "shop/db-0",
    "no NetworkPolicy that applies to shop/db-0 allows it: default deny of shop/db",
);

const WEB: [&str; 3] =
    ["shop/web-7d4b9c6f5d-x2x4k", "shop/web-7d4b9c6f5d-qqzv7", "shop/web-7d4b9c6f5d-m8n2p"];
const API: [&str; 2] = ["shop/api-6c5f8d9b74-hj2lp", "shop/api-6c5f8d9b74-t9w4z"];
const DNS: &str = "kube-system/coredns-5d78c9869d-4xk7v";

/// A cluster in which not all is well.
pub(crate) fn shop() -> Known {
    Known {
        version: 1,
        nodes: vec![
            ("node1".to_owned(), None),
            ("node2".to_owned(), None),
            (
                "node3".to_owned(),
                Some("its Pod midonet-kube-node-9x2bk did not answer within 30s".to_owned()),
            ),
        ],
        flows: flows(),
        statuses: [("node1", 1), ("node2", 2)]
            .map(|(name, number)| (name.to_owned(), status(name, number)))
            .into(),
        policies: [
            (DENIED.0.to_owned(), policies(DENIED.0, false)),
            (DENIED.1.to_owned(), policies(DENIED.1, true)),
        ]
        .into(),
        ..Known::default()
    }
}

/// Edges without end: `edges` pairs of workloads, each with so many flows.
pub(crate) fn crowd(edges: usize, flows_each: usize, round: usize) -> Vec<Flow> {
    let all = (0..edges).flat_map(|edge| {
        let (client, server) = (edge % 23, 23 + edge / 23);
        (0..flows_each).map(move |number| Flow {
            id: format!("{round} {edge} {number}"),
            rate: (edge as u64 * 97) % 9000,
            ..flow(
                &format!("ns{client}/client-{client}"),
                &format!("ns{server}/server-{}", server % 7),
                "tcp/8080",
            )
        })
    });
    all.collect()
}

fn flows() -> Vec<Flow> {
    let mut all = Vec::new();
    for (index, web) in WEB.iter().enumerate() {
        all.push(Flow {
            rate: 84_000,
            node: "node2".to_owned(),
            ..flow("198.51.100.7", web, "tcp/8443").via("shop/web")
        });
        all.push(Flow {
            rate: 4_100 + 900 * index as u64,
            ..flow(web, API[index % 2], "tcp/8080").via("shop/api")
        });
        all.push(Flow {
            rate: 0,
            last_seconds: 12,
            ended: true,
            round_trip: None,
            ..flow(web, DNS, "udp/53").via("kube-system/kube-dns")
        });
        all.push(Flow { rate: 300, last_seconds: 4, ..flow("node1", web, "tcp/8080") });
        all.push(Flow { rate: 120, last_seconds: 8, ..flow("monitoring/prometheus-0", web, "tcp/9090") });
    }
    for api in API {
        all.push(Flow {
            rate: 2_600_000,
            round_trip: Some(180),
            ..flow(api, "shop/db-0", "tcp/5432").via("shop/db")
        });
        all.push(Flow { rate: 900, ..flow(api, "fd00:10:244:2::15", "tcp/443") });
        all.push(Flow {
            rate: 0,
            last_seconds: 40,
            ended: true,
            ..flow(api, DNS, "udp/53").via("kube-system/kube-dns")
        });
        all.push(Flow {
            verdict: "audit",
            policies: vec!["shop/trial".to_owned()],
            ..flow(api, "payments/gate-0", "tcp/9443")
        });
    }
    all.push(Flow { rate: 51_000, ..flow("shop/db-0", "shop/db-1", "tcp/5432") });
    all.push(
        Flow { packets: 18, last_seconds: 2, ..flow("batch/report-28940512-x5x2t", "shop/db-0", "tcp/5432") }
            .denied(
                "shop/db",
                "no NetworkPolicy that applies to shop/db-0 allows it: default deny of shop/db",
            ),
    );
    all.push(Flow { rate: 700, ..flow("monitoring/prometheus-0", "payments/gate-0", "tcp/9100") });
    all.push(Flow {
        rate: 0,
        last_seconds: 300,
        ended: true,
        ..flow("monitoring/grafana-7f9d5b-zx4w2", "monitoring/prometheus-0", "tcp/9090")
    });
    all.push(flow(HOSTILE, DNS, "udp/53"));
    all
}

/// What web is denied.
pub(crate) fn drop() -> Flow {
    Flow { packets: 3, last_seconds: 0, ..flow(DENIED.0, DENIED.1, "tcp/5432") }.denied("shop/db", DENIED.2)
}

fn status(name: &str, number: u32) -> Value {
    let pods: Vec<&str> = if number == 1 {
        vec![WEB[0], WEB[1], API[0], DNS]
    } else {
        vec![WEB[2], API[1], "shop/db-0", "shop/db-1", HOSTILE]
    };
    let ports: Vec<Value> = pods.iter().enumerate().map(|(index, pod)| port(pod, number, index)).collect();
    let problems = (number == 2).then(|| json!({
        "what": "reverse_path", "object": "interface eth0",
        "problem": "net.ipv4.conf.eth0.rp_filter is 1: answers of Pods that come in by another interface are dropped",
        "remedy": "sysctl -w net.ipv4.conf.eth0.rp_filter=2",
    }));
    let counter = |name: &str, help: &str, verdict: &str, packets: u64| json!({"name": name, "help": help, "verdict": verdict, "drop": verdict != "forward", "packets": packets, "bytes": packets * 98});
    json!({
        "apiVersion": super::API_VERSION, "kind": "Status",
        "agent": {"version": "0.1.0", "node": name, "uptimeSeconds": 93_840, "ready": true, "notReadyReason": null,
                  "source": "https://10.0.0.1:6443", "sourceError": null, "objectsFromDiskSeconds": null, "pendingAnnotations": 0},
        "network": {"kind": "embedded", "podCIDRs": [format!("10.244.{number}.0/24"), format!("fd00:10:244:{number}::/64")],
                    "gateways": [format!("10.244.{number}.1"), format!("fd00:10:244:{number}::1")],
                    "nodeAddresses": [format!("10.244.{number}.2"), format!("fd00:10:244:{number}::2")], "nodeMac": "ac:ca:ba:00:00:01",
                    "nodePortId": null, "mtu": 1450, "uplink": "eth0", "tunnelAddress": format!("192.0.2.{number}"), "overlayPort": 4789,
                    "vni": 1, "encapsulation": "direct", "nodePortBound": null, "clusterCIDRs": ["10.244.0.0/16", "fd00:10:244::/56"]},
        "ports": ports,
        "peers": [{"node": if number == 1 { "node2" } else { "node1" }, "podCIDRs": [format!("10.244.{}.0/24", 3 - number)], "tunnelAddress": "192.0.2.9"},
                  {"node": "node3", "podCIDRs": ["10.244.3.0/24", "fd00:10:244:3::/64"], "tunnelAddress": "192.0.2.3"}],
        "services": {"complete": true, "services": 41, "ports": 58, "backends": 133, "portsWithoutBackends": 1,
                     "tables": [{"name": "connections", "used": if number == 1 { 221_000 } else { 31_200 }, "limit": 262_144},
                                {"name": "frontends", "used": 116, "limit": 65_536}]},
        "policy": {"complete": true, "inForce": true, "generation": 12, "sets": 5, "classes": 17, "rules": 31, "podsPoliced": 4, "podsClosed": 0,
                   "tables": [{"name": "policy_entries", "used": 5_120, "limit": 16_384}]},
        "problems": problems.into_iter().collect::<Vec<_>>(), "leaks": [], "leaksIncomplete": null,
        "counters": [counter("delivered", "to a Pod of this node", "forward", 9_120_331),
                     counter("policy_ingress", "a policy of the destination denies it", "drop", 1_412),
                     counter("bad_source", "its source is no address of the Pod that sent it", "drop", 7)],
    })
}

fn port(pod: &str, number: u32, index: usize) -> Value {
    let (namespace, name) = pod.split_once('/').unwrap();
    let address = index + 3;
    let traffic = |packets: u64| json!({"packets": packets, "bytes": packets * 611});
    json!({
        "namespace": namespace, "name": name, "containerId": "c0ffee", "ifname": "eth0", "hostIfname": format!("mido{index:011x}"), "hostIfindex": index + 10,
        "addresses": [format!("10.244.{number}.{address}"), format!("fd00:10:244:{number}::{address}")], "mac": "ac:ca:ba:12:34:56",
        "portId": "0b3d2a8e-5a0e-5d5c-9c57-4d1f7f0c8f2e", "sent": traffic(81_223), "received": traffic(77_001),
        "bandwidth": (index == 1).then(|| json!({"ingressRate": 100_000_000, "ingressBurst": 1_000_000, "egressRate": 0, "egressBurst": 0})),
        "bound": null,
    })
}

fn policies(pod: &str, denies: bool) -> Value {
    let (namespace, name) = pod.split_once('/').unwrap();
    let rule = |index: u32, name: Option<&str>, allowed: u64| json!({"index": index, "name": name, "allowed": allowed, "denied": 0, "audited": 0});
    let policy = |direction: &str, tier: &str, name: &str, deny: bool, rules: Vec<Value>, denied: u64| {
        json!({"direction": direction, "tier": tier, "policies": [name], "priority": null, "audit": false, "asked": true, "defaultDeny": deny,
               "rules": rules, "allowed": 120, "denied": denied, "audited": 0})
    };
    let mut all = vec![policy(
        "ingress",
        "admin",
        "cluster-monitoring",
        false,
        vec![rule(0, Some("prometheus"), 88)],
        0,
    )];
    if denies {
        all.push(policy(
            "ingress",
            "networkPolicy",
            "shop/db",
            false,
            vec![rule(0, None, 4_120), rule(1, None, 0)],
            0,
        ));
        all.push(policy("ingress", "networkPolicy", "shop/db", true, Vec::new(), 21));
    }
    json!({"namespace": namespace, "name": name, "addresses": ["10.244.2.5"], "state": "policed", "reason": null, "set": 3, "policies": all})
}
