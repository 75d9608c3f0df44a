use std::time::SystemTime;

use datapath::Limit;
use model::Protocol;
use naming::{Mac, PodKey, pod_host_interface};

use super::*;
use crate::backend::HostPort;

fn alias(pod: &str) -> PortAlias {
    let pod = PodKey::new("default", pod);
    PortAlias { pod, container_id: "c1".into(), ifname: "eth0".into(), pod_uid: None, network: None }
}

fn request(pod: &str) -> BindRequest {
    let owner = alias(pod);
    BindRequest {
        host_ifname: pod_host_interface(&owner.pod),
        owner,
        host_ifindex: 7,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        addresses: vec!["10.244.1.3".parse().unwrap()],
        limits: Limits::default(),
        host_ports: Vec::new(),
    }
}

fn record(pod: &str) -> PortRecord {
    let BindRequest { owner, host_ifname, host_ifindex, mac, addresses, limits, host_ports } = request(pod);
    let owner = Owner::Known(owner);
    PortRecord { owner, host_ifname, host_ifindex, mac, addresses, limits, host_ports }
}

fn ports(records: &[PortRecord]) -> Ports {
    let state = tempfile::tempdir().unwrap();
    let mut ports = Ports::new(Names::open(state.path()), plumbing::Netlink::here().unwrap());
    ports.records.extend(records.iter().map(|record| (record.host_ifname.clone(), record.clone())));
    ports
}

#[test]
fn what_midonet_does_not_have_is_refused_with_words() {
    refuse_what_midonet_lacks(&request("a")).unwrap();
    let port = HostPort { address: None, protocol: Protocol::Tcp, port: 80, container_port: 80 };
    let limits = Limits { egress: Some(Limit { rate: 1, burst: 1 }), ..Limits::default() };
    for (wrong, want) in [
        (BindRequest { host_ports: vec![port], ..request("a") }, "Pod default/a asks for hostPorts"),
        (BindRequest { limits, ..request("a") }, "asks for a limit of its bandwidth"),
    ] {
        let error = refuse_what_midonet_lacks(&wrong).unwrap_err();
        assert!(matches!(&error, BindError::Unsupported(what) if what.contains(want)), "{error}");
        assert!(error.to_string().contains("--network midonet"), "{error}");
    }
}

#[test]
fn addresses_are_those_that_are_reserved() {
    let reserved = |address: &str, container: &str| Reserved {
        address: address.parse().unwrap(),
        owner: Some(cni::Attachment { container_id: container.into(), ifname: "eth0".into() }),
        container_id: container.into(),
        modified: SystemTime::UNIX_EPOCH,
    };
    let all = [reserved("10.244.1.3", "c1"), reserved("10.244.1.4", "c2")];
    assert_eq!(addresses(&alias("a"), Some(&all)), Ok(vec!["10.244.1.3".parse().unwrap()]));
    // Another IPAM plugin keeps them to itself.
    assert_eq!(addresses(&alias("a"), None), Ok(Vec::new()));
    let (problem, remedy) = addresses(&alias("a"), Some(&all[1..])).unwrap_err();
    assert!(problem.contains("container c1") && remedy.contains("delete the Pod"), "{problem}; {remedy}");
}

#[test]
fn what_a_pod_keeps_of_the_other_network_is_told() {
    assert_eq!(left_over(false, false), None);
    for (limits, host_ports, want) in [
        (true, false, "only what it gets is limited, not what it sends"),
        (false, true, "its hostPorts are not served"),
        (true, true, "not what it sends, and its hostPorts"),
    ] {
        let (problem, _) = left_over(limits, host_ports).unwrap();
        assert!(problem.contains(want) && problem.contains("embedded network"), "{problem}");
    }
}

#[test]
fn interfaces_that_nobody_binds_are_one_problem() {
    let records = ["a", "b", "c", "d", "e", "f"].map(record);
    let ports = ports(&records);
    assert_eq!(not_bound(&ports, &[]), None);
    let node = interface::MIDO.to_owned();
    let mut late: Vec<&String> = records.iter().map(|record| &record.host_ifname).collect();
    late.insert(0, &node);
    let problem = not_bound(&ports, &late).unwrap();
    assert_eq!(problem.what, "not_bound");
    let want = format!("{node} of the node itself, {} of Pod default/a, ", records[0].host_ifname);
    assert!(problem.problem.contains(&want) && problem.problem.contains(", 2 more:"), "{problem:?}");
}
