//! Objects as an API server or a manifest may have them, read as every kind. What is kept is what it says it is; a part of a
//! policy that is wrong never lets more pass than it would without that part.

#![no_main]

use ipnet::IpNet;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use midonet_kube_fuzz::edit;
use objects::{
    Action, ClusterNetworkPolicy, ClusterPeer, ClusterPort, EndpointSlice, Kind, Metadata, Namespace,
    NetworkPolicy, Node, Peer, Pod, Ports, Rule, Service, ServiceCidr,
};
use serde::Deserialize;
use serde_json::Value;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    edit::mutate_with(&edit::OBJECTS, data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    let Ok(object) = serde_json::from_slice::<Value>(data) else { return };
    read::<Node>(&object);
    read::<Service>(&object);
    read::<EndpointSlice>(&object);
    read::<ServiceCidr>(&object);
    if let Some(policy) = read::<NetworkPolicy>(&object) {
        check_policy(&policy);
        check_parts(&object, &policy);
    }
    if let Some(policy) = read::<ClusterNetworkPolicy>(&object) {
        check_cluster_policy(&policy);
    }
    if let Some(space) = read::<Namespace>(&object) {
        assert_eq!(space.labels.get("kubernetes.io/metadata.name"), Some(space.key.name()));
    }
    if let Some(pod) = read::<Pod>(&object) {
        assert!(pod.ports.iter().all(|port| port.port != 0 && !port.name.is_empty()));
        assert!(!pod.ended || pod.addresses.is_empty());
    }
});

/// As the library reads it, once it knows the object's name.
fn read<K: Kind>(object: &Value) -> Option<K> {
    let mut metadata = Metadata::deserialize(object.get("metadata")?).ok()?;
    metadata.name = "a".to_owned();
    metadata.uid = metadata.uid.filter(|uid| !uid.is_empty());
    match K::trim(metadata, K::Api::deserialize(object).ok()?) {
        Ok(kept) => {
            let text = serde_json::to_string(&kept).expect("what is kept becomes JSON");
            assert_eq!(serde_json::from_str::<K>(&text).expect("what is kept is read back"), kept);
            Some(kept)
        }
        Err(invalid) => {
            assert!(!invalid.problem.is_empty() && !invalid.remedy.is_empty());
            None
        }
    }
}

fn rules(policy: &NetworkPolicy) -> impl Iterator<Item = &Rule> {
    policy.ingress.iter().chain(&policy.egress).flatten()
}

fn check_policy(policy: &NetworkPolicy) {
    assert!(policy.ingress.is_some() || policy.egress.is_some(), "it always isolates");
    for rule in rules(policy) {
        rule.ports.iter().flatten().for_each(|port| check_ports(&port.ports));
        for peer in rule.peers.iter().flatten() {
            if let Peer::Block { cidr, except } = peer {
                check_network(cidr);
                except.iter().for_each(check_network);
                assert!(except.iter().all(|one| cidr.contains(one) && one != cidr));
            }
        }
    }
}

/// A rule allows everybody, or every port, only if its list is missing or empty, and has as many peers and ports at most as
/// its lists have items.
fn check_parts(object: &Value, policy: &NetworkPolicy) {
    for (direction, peers, read) in [("ingress", "from", &policy.ingress), ("egress", "to", &policy.egress)] {
        let written = object["spec"][direction].as_array().map(Vec::as_slice).unwrap_or_default();
        let read = read.as_deref().unwrap_or_default();
        assert!(read.is_empty() || read.len() == written.len());
        for (rule, written) in read.iter().zip(written) {
            for (count, field) in [
                (rule.peers.as_ref().map(|peers| peers.len()), peers),
                (rule.ports.as_ref().map(|ports| ports.len()), "ports"),
            ] {
                match (count, &written[field]) {
                    (None, Value::Null) => assert!(written.is_object()),
                    (None, Value::Array(all)) => assert!(all.is_empty()),
                    (Some(count), Value::Array(all)) => assert!(count <= all.len()),
                    (Some(count), _) => assert_eq!(count, 0),
                    (None, other) => panic!("{other} allows everything"),
                }
            }
        }
    }
}

fn check_cluster_policy(policy: &ClusterNetworkPolicy) {
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
        for peer in &rule.peers {
            if let ClusterPeer::Networks(all) = peer {
                assert!(!all.is_empty());
                all.iter().for_each(check_network);
            }
        }
    }
}

fn check_ports(ports: &Ports) {
    match ports {
        Ports::All => {}
        Ports::Range(first, last) => assert!(0 < *first && first <= last),
        Ports::Named(name) => assert!(!name.is_empty()),
    }
}

fn check_network(network: &IpNet) {
    assert_eq!(network.trunc(), *network);
    if let IpNet::V6(v6) = network {
        assert!(v6.prefix_len() < 96 || v6.addr().to_ipv4_mapped().is_none());
    }
}
