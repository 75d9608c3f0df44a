use serde_json::{Value, json};

use super::*;
use crate::entry::Entry;

fn entry(object: &Value) -> Entry<Pod> {
    Entry::read(|| object).unwrap()
}

fn read(object: &Value) -> Pod {
    entry(object).object.unwrap()
}

fn of(spec: &Value, status: &Value) -> Result<Pod, Invalid> {
    let metadata = json!({"name": "a", "namespace": "shop", "uid": "u"});
    entry(&json!({"metadata": metadata, "spec": spec, "status": status})).object
}

fn port(name: &str, protocol: Protocol, port: u16) -> NamedPort {
    NamedPort { name: name.into(), protocol, port }
}

#[test]
fn is_trimmed() {
    let pod = read(&json!({
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": "u", "labels": {"b": "2", "a": "1"},
            "annotations": {"x": "y"}, "ownerReferences": [{"kind": "ReplicaSet"}],
        },
        "spec": {
            "nodeName": "n1",
            "containers": [
                {"name": "c", "image": "i", "ports": [
                    {"name": "http", "containerPort": 8080, "protocol": "TCP"}, {"containerPort": 9000},
                    {"name": "", "containerPort": 9001},
                ]},
                {"name": "d", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
            ],
        },
        "status": {
            "phase": "Running", "podIP": "10.244.1.7", "podIPs": [{"ip": "10.244.1.7"}, {"ip": "fd44::7"}],
            "conditions": [],
        },
    }));
    assert_eq!(
        (pod.key().to_string().as_str(), pod.uid(), pod.node.as_deref()),
        ("shop/web-1", Some("u"), Some("n1"))
    );
    assert_eq!(pod.labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    assert_eq!(*pod.addresses, ["10.244.1.7".parse::<IpAddr>().unwrap(), "fd44::7".parse().unwrap()]);
    assert_eq!(*pod.ports, [port("http", Protocol::Tcp, 8080), port("dns", Protocol::Udp, 53)]);
    assert!(!pod.host_network && !pod.ended);
}

#[test]
fn what_is_not_there_yet_is_empty() {
    for more in
        [json!({}), json!({"spec": null, "status": null}), json!({"spec": {"nodeName": ""}, "status": {}})]
    {
        let mut object = json!({"metadata": {"name": "a"}});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let pod = read(&object);
        assert_eq!((pod.key.to_string().as_str(), pod.uid(), &pod.node), ("default/a", None, &None));
        assert!(pod.addresses.is_empty() && pod.ports.is_empty() && !pod.host_network && !pod.ended);
    }
}

#[test]
fn its_nodes_agent_announces_addresses_before_the_status_has_them() {
    let read = |announced: &str, status: &Value| {
        let annotations = json!({"midonet.org/ip-addresses": announced});
        let pod = read(&json!({"metadata": {"name": "a", "annotations": annotations}, "status": status}));
        (pod.addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(","), pod.early)
    };
    for (announced, status, want) in [
        ("10.244.1.7,fd44::7", json!({}), ("10.244.1.7,fd44::7", true)),
        ("::ffff:10.244.1.7", json!({"phase": "Pending"}), ("10.244.1.7", true)),
        ("10.244.1.7", json!({"podIP": "10.244.1.9"}), ("10.244.1.9", false)),
        ("10.244.1.7", json!({"phase": "Succeeded"}), ("", false)),
        ("10.244.1.7,", json!({}), ("", false)),
        ("", json!({}), ("", false)),
        ("127.0.0.1", json!({}), ("", false)),
        ("10.244.1.7 ", json!({}), ("", false)),
        ("1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9", json!({}), ("", false)),
    ] {
        assert_eq!(read(announced, &status), (want.0.to_owned(), want.1), "{announced} {status}");
    }
}

#[test]
fn addresses_are_all_of_its_ips() {
    for (status, want) in [
        (json!({"podIP": "10.0.0.1"}), vec!["10.0.0.1"]),
        (json!({"podIP": "fd00::1", "podIPs": []}), vec!["fd00::1"]),
        (json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "fd00::1"}]}), vec!["fd00::1"]),
        (json!({"podIP": "", "podIPs": [{"ip": ""}, {}]}), vec![]),
        (json!({"podIPs": [{"ip": "::ffff:10.0.0.1"}]}), vec!["10.0.0.1"]),
    ] {
        let addresses = of(&json!({}), &status).unwrap().addresses;
        assert_eq!(addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>(), want, "{status}");
    }
}

#[test]
fn one_that_has_ended_has_no_addresses_and_a_terminating_one_has() {
    for (phase, ended) in
        [("Pending", false), ("Running", false), ("Unknown", false), ("Succeeded", true), ("Failed", true)]
    {
        let pod = read(&json!({
            "metadata": {"name": "a", "deletionTimestamp": "2026-01-02T03:04:05Z"},
            "status": {"phase": phase, "podIP": "10.0.0.1"},
        }));
        assert_eq!((pod.ended, pod.addresses.len()), (ended, usize::from(!ended)), "{phase}");
    }
    assert!(of(&json!({"hostNetwork": true}), &json!({})).unwrap().host_network);
}

#[test]
fn a_static_pod_is_known_by_what_the_runtime_calls_it() {
    let uid = |annotations: &Value| {
        let object = json!({"metadata": {"name": "a", "uid": "api", "annotations": annotations}});
        read(&object).uid.unwrap()
    };
    assert_eq!(
        &*uid(&json!({"kubernetes.io/config.mirror": "hash", "kubernetes.io/config.source": "file"})),
        "hash"
    );
    assert_eq!(&*uid(&json!({"kubernetes.io/config.mirror": ""})), "api");
    assert_eq!(&*uid(&json!({})), "api");
}

#[test]
fn ports_are_those_of_containers_and_sidecars_in_order() {
    let ports = |all: &[(&str, u16, &str)]| -> Value {
        all.iter()
            .map(|(name, port, protocol)| json!({"name": name, "containerPort": port, "protocol": protocol}))
            .collect()
    };
    let spec = json!({
        "initContainers": [
            {"restartPolicy": "Always", "ports": ports(&[("proxy", 15001, "TCP"), ("web", 1, "TCP")])},
            {"ports": ports(&[("setup", 2, "TCP")])},
            {"restartPolicy": "Never", "ports": ports(&[("never", 3, "TCP")])},
        ],
        "containers": [
            {"ports": ports(&[("web", 8080, "TCP"), ("web", 8080, "UDP"), ("sig", 7, "SCTP")])},
            {"ports": ports(&[("web", 8081, "TCP"), ("web", 8080, "TCP")])},
            {"ports": null},
        ],
    });
    let want = [
        port("web", Protocol::Tcp, 8080),
        port("web", Protocol::Udp, 8080),
        port("sig", Protocol::Sctp, 7),
        port("web", Protocol::Tcp, 8081),
        port("proxy", Protocol::Tcp, 15001),
        port("web", Protocol::Tcp, 1),
    ];
    assert_eq!(*of(&spec, &json!({})).unwrap().ports, want);
}

/// Its last valid form counts on; of a new one nothing is known, so that it stays closed.
#[test]
fn one_that_cannot_be_read_is_invalid() {
    let container = |port: Value| json!({"containers": [{"ports": [port]}]});
    let none = json!({});
    for (spec, status, want) in [
        (none.clone(), json!({"podIP": "x"}), "status.podIPs: \"x\" is no IP address"),
        (
            none.clone(),
            json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::/64"}]}),
            "\"fd00::/64\" is no IP address",
        ),
        (none.clone(), json!({"podIP": "0.0.0.0"}), "0.0.0.0 is no address of one host"),
        (none.clone(), json!({"podIP": "::1"}), "::1 is no address of one host"),
        (none.clone(), json!({"podIP": "224.0.0.1"}), "is no address of one host"),
        (none.clone(), json!({"podIP": "ff02::1"}), "is no address of one host"),
        (none.clone(), json!({"phase": 7}), "invalid type"),
        (json!({"hostNetwork": "yes"}), none.clone(), "invalid type"),
        (json!({"containers": {}}), none.clone(), "invalid type"),
        (
            container(json!({"name": "a", "containerPort": 0})),
            none.clone(),
            "spec.containers.ports[\"a\"]: its containerPort",
        ),
        (container(json!({"name": "a", "containerPort": 65536})), none.clone(), "is not 1 to 65535"),
        (container(json!({"name": "a"})), none.clone(), "is not 1 to 65535"),
        (
            container(json!({"name": "a", "containerPort": 1, "protocol": "tcp"})),
            none.clone(),
            "the protocol \"tcp\"",
        ),
    ] {
        let invalid = of(&spec, &status).unwrap_err();
        assert!(invalid.problem.contains(want), "{want} in {invalid:?}");
    }
    // What has no name is of no use to a policy.
    assert!(of(&container(json!({"containerPort": 0})), &none).unwrap().ports.is_empty());
}
