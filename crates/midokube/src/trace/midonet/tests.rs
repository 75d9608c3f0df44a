//! Traces through what the conversion itself makes of a small cluster.

use std::net::Ipv4Addr;

use translation::{
    CustomResource, Endpoint, EndpointPort, EndpointSlice, Node as NodeObject, NodeAddress, Pod, Service,
    ServicePort, Translator, Wanted,
};

use super::topology::{Node, Snapshot, Source};
use super::walk::walk;
use crate::trace::text::text;
use crate::trace::view::View;

const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

fn host(number: u8) -> String {
    format!("00000000-0000-0000-0000-00000000000{number}")
}

fn pod_address(node: u8, pod: u8) -> Ipv4Addr {
    [10, 1, node, pod].into()
}

fn mac(node: u8, pod: u8) -> String {
    format!("02:00:00:00:0{node}:0{pod}")
}

fn node(number: u8) -> NodeObject {
    let address = format!("192.0.2.{number}");
    NodeObject {
        name: format!("node{number}"),
        uid: format!("node-{number}"),
        pod_cidrs: vec![format!("10.1.{number}.0/24")],
        addresses: vec![NodeAddress { kind: "InternalIP".into(), address: address.clone() }],
        host_id: Some(host(number)),
        tunnel_endpoint_ip: Some(address),
        mac_address: Some(mac(number, 2)),
        ..NodeObject::default()
    }
}

fn pod(node: u8, last: u8) -> Pod {
    Pod {
        namespace: "default".into(),
        name: format!("pod{node}-{last}"),
        uid: format!("pod-{node}-{last}"),
        node: format!("node{node}"),
        ips: vec![pod_address(node, last).to_string()],
        mac_address: Some(mac(node, last)),
        ..Pod::default()
    }
}

/// Two nodes with two Pods each; one Pod of each node serves.
fn cluster(change: impl FnOnce(&mut Translator)) -> Snapshot {
    let mut translator = Translator::new("midonetkube");
    for number in [1, 2] {
        translator.set_node(node(number));
        [3, 4].into_iter().for_each(|last| translator.set_pod(pod(number, last)));
    }
    translator.set_service(Service {
        namespace: "default".into(),
        name: "web".into(),
        uid: "web".into(),
        cluster_ips: vec![SERVICE.to_string()],
        ports: vec![ServicePort { port: 80, ..ServicePort::default() }],
        ..Service::default()
    });
    let endpoint = |node| Endpoint {
        address: pod_address(node, 4).to_string(),
        ready: true,
        serving: true,
        terminating: false,
    };
    translator.set_slice(EndpointSlice {
        namespace: "default".into(),
        name: "web-1".into(),
        uid: "web-1".into(),
        service: "web".into(),
        endpoints: vec![endpoint(1), endpoint(2)],
        ports: vec![EndpointPort { port: 8080, ..EndpointPort::default() }],
        ..EndpointSlice::default()
    });
    change(&mut translator);
    let mut snapshot = Snapshot::default();
    for change in translator.take_changes() {
        let Wanted::Set(wanted) = change.wanted else { continue };
        for translation in &wanted {
            snapshot.add(&CustomResource::from(translation));
        }
    }
    let node = |number: u8| Node {
        name: format!("node{number}"),
        host: host(number).parse().unwrap(),
        cidr: format!("10.1.{number}.0/24").parse().unwrap(),
    };
    snapshot.nodes = [1, 2].map(node).into();
    snapshot
}

fn trace(snapshot: &Snapshot, from: (u8, u8), to: Ipv4Addr, port: &str) -> View<midonet_simulator::Trace> {
    let (number, last) = from;
    let name = format!("pod{number}-{last}");
    let source = Source {
        name: format!("Pod default/{name}"),
        node: snapshot.nodes[usize::from(number) - 1].clone(),
        interface: naming::pod_host_interface(&naming::PodKey::new("default", name.as_str())),
        mac: mac(number, last).parse().unwrap(),
        address: pod_address(number, last),
    };
    walk(snapshot, &source, &(to.to_string(), to), &port.parse().unwrap(), 1).unwrap()
}

#[test]
fn a_packet_and_its_reply_are_followed() {
    let snapshot = cluster(|_| {});
    for (to, port, by) in [
        (pod_address(1, 4), "tcp/80", "Pod default/pod1-4 on node1"),
        (pod_address(2, 4), "tcp/80", "Pod default/pod2-4 on node2"),
        (pod_address(2, 3), "udp/53", "Pod default/pod2-3 on node2"),
        (pod_address(2, 3), "icmp", "Pod default/pod2-3 on node2"),
        ([192, 0, 2, 2].into(), "tcp/22", "Node node2 on node2"),
    ] {
        let view = trace(&snapshot, (1, 3), to, port);
        let text = text(&view);
        assert!(view.is_answered(), "{text}");
        assert!(
            text.contains(&format!("Verdict: arrives: at {by}, and a reply would come back; ")),
            "{text}"
        );
    }
    let view = trace(&snapshot, (1, 3), SERVICE, "tcp/80");
    let text = text(&view);
    assert!(
        view.is_answered() && text.contains("KUBE-SVC") && text.contains("dnat of a new connection"),
        "{text}"
    );
    // An endpoint reaches itself, too.
    assert!((1..=20).all(|_| trace(&snapshot, (1, 4), SERVICE, "tcp/80").is_answered()));
    let document = serde_json::to_value(&view).unwrap();
    assert_eq!((&document["kind"], &document["outcome"]["answered"]), (&"Trace".into(), &true.into()));
}

#[test]
fn what_does_not_arrive_has_a_reason_and_a_remedy() {
    let no_tunnel = |translator: &mut Translator| {
        translator.set_node(NodeObject { tunnel_endpoint_ip: None, ..node(2) });
    };
    for (snapshot, to, port, why, remedy) in [
        (
            cluster(|_| {}),
            pod_address(1, 77),
            "tcp/80",
            "10.1.1.77, the next hop",
            "kubectl get translations",
        ),
        (cluster(|_| {}), pod_address(2, 77), "tcp/80", "10.1.2.77", "kubectl get translations"),
        (
            cluster(|_| {}),
            [198, 51, 100, 1].into(),
            "tcp/80",
            "no route",
            "no Pod's, no Node's and no Service's",
        ),
        (cluster(|_| {}), SERVICE, "tcp/81", "no route", "no Service's"),
        (cluster(no_tunnel), pod_address(2, 3), "tcp/80", "tunnel", "midonet.org/tunnel-endpoint-ip"),
        (
            cluster(|translator| translator.remove_pod(&pod(1, 3).key())),
            pod_address(1, 4),
            "tcp/80",
            "no port is bound",
            "see the Events of the Pod",
        ),
    ] {
        let view = trace(&snapshot, (1, 3), to, port);
        let text = text(&view);
        assert!(!view.is_answered(), "{text}");
        assert!(view.outcome.why.contains(why) && view.outcome.remedy.contains(remedy), "{text}");
        assert!(text.contains("Verdict: DOES NOT ARRIVE: "), "{text}");
    }
}

#[test]
fn what_cannot_be_read_or_simulated_is_told() {
    let mut snapshot = cluster(|_| {});
    let text_of = |resources: &str| {
        format!(
            r#"{{"apiVersion": "midonet.org/v1", "kind": "Translation", "metadata": {{"namespace": "default", "name": "bad"}},
            "resources": {resources}}}"#
        )
    };
    let bad = text_of(r#"[{"kind": "Toaster", "parent": "", "body": "{}"}]"#);
    snapshot.add(&serde_json::from_str(&bad).unwrap());
    let view = trace(&snapshot, (1, 3), pod_address(2, 3), "tcp/80");
    assert!(view.is_answered());
    let text = text(&view);
    assert!(text.contains("Left out: Translation default/bad: \"Toaster\" is no kind"), "{text}");
    let source = Source {
        name: "Pod default/pod1-3".into(),
        node: snapshot.nodes[0].clone(),
        interface: "mido".into(),
        mac: mac(1, 3).parse().unwrap(),
        address: pod_address(1, 3),
    };
    let error = walk(&snapshot, &source, &("x".into(), SERVICE), &"sctp/80".parse().unwrap(), 1).unwrap_err();
    assert_eq!(error.to_string(), "sctp is not simulated: tcp, udp and icmp are");
}
