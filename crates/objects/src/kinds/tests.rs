//! Whatever an object's fields have, reading ends, and what is kept holds what it is documented to.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::*;
use crate::entry::Entry;
use crate::network::Family;

fn service() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop", "labels": {}, "creationTimestamp": "1970-01-01T00:01:00Z"},
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd96::7"],
            "ports": [
                {"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP"},
                {"name": "dns", "port": 53, "nodePort": 30053, "protocol": "UDP"},
            ],
            "externalIPs": ["192.0.2.1"], "loadBalancerSourceRanges": ["198.51.100.0/24"],
            "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
            "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000,
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1", "ipMode": "VIP"}]}},
    })
}

fn slice() -> Value {
    json!({
        "metadata": {
            "name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "1970-01-01T00:00:01Z"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{
            "addresses": ["10.244.1.7"], "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": "n1", "zone": "a", "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "n1"}]},
        }],
    })
}

fn cidr() -> Value {
    json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12", "fd96::/112"]}})
}

fn network_policy() -> Value {
    json!({
        "metadata": {
            "name": "p", "namespace": "shop", "uid": "u", "generation": 1,
            "annotations": {"midonet.org/policy-audit": "true"},
        },
        "spec": {
            "podSelector": {
                "matchLabels": {"app": "db"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}],
            },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{
                "from": [
                    {"podSelector": {"matchLabels": {"app": "web"}}, "namespaceSelector": {}},
                    {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.1/32", "192.0.2.128/25"]}},
                ],
                "ports": [{"protocol": "UDP", "port": 1, "endPort": 2}, {"port": "http"}],
            }],
            "egress": [{"to": [{"ipBlock": {"cidr": "::/0", "except": ["fd00::/8"]}}]}, {}],
        },
    })
}

fn cluster_network_policy() -> Value {
    json!({
        "metadata": {"name": "p", "uid": "u", "generation": 1, "annotations": {"midonet.org/policy-audit": "true"}},
        "spec": {
            "tier": "Admin", "priority": 1, "subject": {"pods": {"namespaceSelector": {}, "podSelector": {}}},
            "ingress": [{"name": "a", "action": "Deny", "from": [{"namespaces": {"matchLabels": {"a": "1"}}}]}],
            "egress": [{
                "action": "Pass",
                "to": [{"networks": ["10.0.0.0/8", "fd00::/8"]}, {"nodes": {}}, {"namespaces": {}}],
                "protocols": [
                    {"tcp": {"destinationPort": {"number": 1}}},
                    {"udp": {"destinationPort": {"range": {"start": 1, "end": 2}}}},
                ],
            }, {
                "action": "Accept", "to": [{"pods": {"podSelector": {}}}], "protocols": [{"destinationNamedPort": "a"}],
            }],
        },
    })
}

fn namespace() -> Value {
    let annotations = json!({"midonet.org/policy-deny": "reject", "midonet.org/policy-audit": "true"});
    json!({"metadata": {"name": "shop", "uid": "u", "labels": {"a": "1"}, "annotations": annotations}, "spec": {}})
}

fn pod() -> Value {
    let port = json!({"name": "http", "containerPort": 80, "protocol": "TCP"});
    json!({
        "metadata": {
            "name": "a", "namespace": "shop", "uid": "u", "labels": {"a": "1"},
            "annotations": {"kubernetes.io/config.mirror": "hash"},
        },
        "spec": {
            "nodeName": "n1", "hostNetwork": false, "containers": [{"ports": [port, port]}],
            "initContainers": [{"restartPolicy": "Always", "ports": [port]}],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
    })
}

fn node() -> Value {
    let address = json!({"type": "ExternalIP", "address": "192.0.2.1"});
    json!({
        "metadata": {"name": "n1", "uid": "u", "labels": {"a": "1"}},
        "spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}, "status": {"addresses": [address, address]},
    })
}

/// Everything in an object, outside in.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| {
                places(value, &format!("{path}/{}", name.replace('/', "~1")), found);
            });
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| places(item, &format!("{path}/{index}"), found));
        }
        _ => {}
    }
}

fn nasty() -> impl Strategy<Value = Value> {
    let values = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(65536),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("x"),
        json!("None"),
        json!("0.0.0.0"),
        json!("::"),
        json!("::ffff:10.0.0.1"),
        json!("fe80::1"),
        json!("255.255.255.255"),
        json!("0.0.0.0/0"),
        json!("10.0.0.0/33"),
        json!("FQDN"),
        json!("IPv6"),
        json!("SCTP"),
        json!("Egress"),
        json!("Deny"),
        json!("Exists"),
        json!({"a": "1"}),
        json!([{"podSelector": {}}]),
        json!("9999-99-99T99:99:99Z"),
        json!("\u{0}\u{ffff}"),
        json!([]),
        json!({}),
        json!([null]),
        json!([[]]),
        json!([{}]),
    ];
    prop_oneof![3 => select(values), 1 => any::<i64>().prop_map(Value::from), 1 => ".{0,8}".prop_map(Value::from)]
}

fn check_service(service: &Service) {
    let is_of = |family: Family| service.cluster_ips.iter().filter(|one| Family::of(**one) == family).count();
    assert!(Family::ALL.into_iter().all(|family| is_of(family) <= 1));
    assert!(service.ports.iter().all(|port| port.port != 0));
    let names: std::collections::BTreeSet<_> =
        service.ports.iter().map(|port| (&port.name, port.protocol)).collect();
    assert_eq!(names.len(), service.ports.len());
    assert!(service.affinity.is_none_or(|seconds| (1..=86_400).contains(&seconds)));
    assert!(service.source_ranges.iter().all(|range| range.trunc() == *range));
    assert_eq!(&*service.id, service.key.to_string());
    if service.ignored.is_some() {
        assert!(service.ports.is_empty() && service.cluster_ips.is_empty() && service.defects.is_empty());
    }
}

fn check_slice(slice: &EndpointSlice) {
    assert!(slice.endpoints.iter().all(|one| Family::of(one.address) == slice.family));
    assert!(slice.endpoints.iter().all(|one| one.node.as_deref() != Some("")));
    assert!(slice.ports.iter().all(|port| port.port != 0));
    if slice.service.is_none() {
        assert!(slice.ports.is_empty() && slice.endpoints.is_empty() && slice.defects.is_empty());
    }
}

fn check_ports(ports: &Ports) {
    match ports {
        Ports::All => {}
        Ports::Range(first, last) => assert!(0 < *first && first <= last),
        Ports::Named(name) => assert!(!name.is_empty()),
    }
}

fn check_network_policy(policy: &NetworkPolicy) {
    assert!(policy.ingress.is_some() || policy.egress.is_some(), "it always isolates");
    for rule in policy.ingress.iter().chain(&policy.egress).flatten() {
        for port in rule.ports.iter().flatten() {
            check_ports(&port.ports);
        }
        for peer in rule.peers.iter().flatten() {
            if let Peer::Block { cidr, except } = peer {
                assert_eq!(cidr.trunc(), *cidr);
                assert!(except.iter().all(|one| cidr.contains(one) && one != cidr && one.trunc() == *one));
                assert!(except.is_sorted());
            }
        }
    }
}

fn check_cluster_network_policy(policy: &ClusterNetworkPolicy) {
    assert!(policy.priority <= 1000);
    for rule in policy.ingress.iter().chain(&policy.egress) {
        assert!(!rule.peers.is_empty() && rule.ports.as_ref().is_none_or(|ports| !ports.is_empty()));
        let mut unknown = rule.peers.contains(&ClusterPeer::Unknown);
        for port in rule.ports.iter().flatten() {
            match port {
                ClusterPort::Of(_, ports) => check_ports(ports),
                ClusterPort::Named(name) => assert!(!name.is_empty()),
                ClusterPort::Unknown => unknown = true,
            }
        }
        match rule.action {
            Action::Accept => {}
            Action::Deny => assert!(!unknown || rule.ports.is_none()),
            Action::Pass => assert!(!unknown, "it is not known what would pass"),
        }
        assert!(!unknown || !policy.defects.is_empty());
        for peer in &rule.peers {
            if let ClusterPeer::Networks(all) = peer {
                assert!(!all.is_empty() && all.iter().all(|one| one.trunc() == *one));
            }
        }
    }
}

fn check_pod(pod: &Pod) {
    assert!(pod.ports.iter().all(|port| port.port != 0 && !port.name.is_empty()));
    assert!(!pod.ended || pod.addresses.is_empty());
    assert!(pod.addresses.iter().all(|address| address.to_canonical() == *address));
    assert!(pod.uid() != Some("") && pod.node.as_deref() != Some(""));
}

/// What is read of it, whatever it is; what is kept, is kept on disk the same.
fn read<K: Kind>(object: &Value, check: impl Fn(&K), defects: impl Fn(&K) -> usize) {
    let Ok(entry) = Entry::<K>::read(|| object) else { return };
    match entry.object {
        Ok(kept) => {
            assert_eq!(kept.key(), entry.key);
            assert!(defects(&kept) <= 4, "{kept:?}");
            check(&kept);
            let text = serde_json::to_string(&kept).unwrap();
            assert_eq!(serde_json::from_str::<K>(&text).unwrap(), kept);
        }
        Err(invalid) => assert!(!invalid.problem.is_empty() && !invalid.remedy.is_empty()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_fields_have_reading_ends(edits in vec((any::<Index>(), nasty()), 1..5)) {
        let edited = |mut object: Value| {
            for (place, value) in &edits {
                let mut found = Vec::new();
                places(&object, "", &mut found);
                if let Some(field) = object.pointer_mut(place.get::<String>(&found)) {
                    *field = value.clone();
                }
            }
            object
        };
        read::<Service>(&edited(service()), check_service, |service| service.defects.len());
        read::<EndpointSlice>(&edited(slice()), check_slice, |slice| slice.defects.len());
        read::<ServiceCidr>(&edited(cidr()), |_| (), |cidr| cidr.defects.len());
        read::<NetworkPolicy>(&edited(network_policy()), check_network_policy, |policy| policy.defects.len());
        read::<ClusterNetworkPolicy>(
            &edited(cluster_network_policy()),
            check_cluster_network_policy,
            |policy| policy.defects.len(),
        );
        let has_name = |space: &Namespace| {
            assert_eq!(space.labels.get("kubernetes.io/metadata.name"), Some(space.key.name()));
        };
        read::<Namespace>(&edited(namespace()), has_name, |space| space.defects.len());
        read::<Pod>(&edited(pod()), check_pod, |_| 0);
        let others = |node: &Node| {
            assert!(node.other_ips.iter().all(|other| !node.internal_ips.contains(other)));
        };
        read::<Node>(&edited(node()), others, |_| 0);
    }
}
