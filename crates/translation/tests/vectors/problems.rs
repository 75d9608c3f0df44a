//! What is wrong with an object is told, harms itself alone, and ends no program.

use translation::{Key, Node, NodeAddress, Pod, Reason, Service, Translator, Wanted};

use crate::objects::*;

#[test]
fn what_is_wrong_harms_itself_alone() {
    let with = |change: &dyn Fn(&mut Node)| {
        let mut node = node(|node| node.tunnel_endpoint_ip = Some("192.2.0.99".into()));
        change(&mut node);
        of_node(node)
    };
    let text = |text: &str| Some(text.to_owned());
    for (change, reason, translations) in [
        (with(&|node| node.host_id = None), Reason::MissingHostId, Some(0)),
        (with(&|node| node.host_id = text("me")), Reason::InvalidHostId, Some(0)),
        (with(&|node| node.pod_cidrs = vec!["10.1.2".into()]), Reason::InvalidPodCidr, None),
        (with(&|node| node.pod_cidrs = vec![]), Reason::InvalidPodCidr, None),
        (with(&|node| node.pod_cidrs = vec!["fd00::/64".into()]), Reason::InvalidPodCidr, None),
        (with(&|node| node.pod_cidrs = vec!["10.1.2.0/31".into()]), Reason::InvalidPodCidr, None),
        (with(&|node| node.tunnel_zone_id = text("zone")), Reason::InvalidTunnelZone, Some(1)),
        (with(&|node| node.tunnel_endpoint_ip = text("::1")), Reason::MissingTunnelEndpoint, Some(1)),
        (with(&|node| node.mac_address = text("99:88")), Reason::InvalidMac, Some(2)),
        (
            with(&|node| node.addresses = vec![address("10.0.0.300"), address("192.2.0.9")]),
            Reason::InvalidAddress,
            Some(3),
        ),
        (
            with(&|node| node.addresses = vec![address("fd00::1"), address("fd00::2")]),
            Reason::Ipv6PassedOver,
            Some(2),
        ),
        (of_pod(Pod { mac_address: text("x"), ..pod() }), Reason::InvalidMac, Some(1)),
        (of_pod(Pod { ips: vec!["x".into()], ..pod() }), Reason::InvalidAddress, Some(2)),
        (
            of_pod(Pod { ips: vec!["fd00::1".into(), "10.2.2.2".into()], ..pod() }),
            Reason::Ipv6PassedOver,
            Some(3),
        ),
        (of_pod(Pod { node: "other".into(), ..pod() }), Reason::UnknownNode, None),
        (
            of_service(Service { kind: "LoadBalancer".into(), ..service() }, vec![]),
            Reason::ServiceTypeNotOffered,
            Some(0),
        ),
        (
            of_service(Service { session_affinity: true, ..service() }, vec![]),
            Reason::SessionAffinityNotOffered,
            Some(4),
        ),
        (
            of_service(Service { local_traffic: true, ..service() }, vec![]),
            Reason::LocalTrafficNotOffered,
            Some(4),
        ),
        (
            of_service(Service { cluster_ips: vec!["x".into()], ..service() }, vec![]),
            Reason::InvalidAddress,
            Some(0),
        ),
        (
            of_service(
                Service { cluster_ips: vec!["fd00::1".into(), "192.2.0.1".into()], ..service() },
                vec![],
            ),
            Reason::Ipv6PassedOver,
            Some(4),
        ),
        (of_service(with_port("SCTP", 80), vec![]), Reason::ProtocolNotOffered, Some(4)),
        (of_service(with_port("TCP", 0), vec![]), Reason::InvalidPort, Some(4)),
    ] {
        assert_eq!(reasons(&change), [reason], "{change:?}");
        let got = match &change.wanted {
            Wanted::Set(set) => Some(set.len()),
            Wanted::Keep => None,
        };
        assert_eq!(got, translations, "{change:?}");
    }
    let twice = Service { ports: vec![port("dog", "TCP", 1), port("dog", "UDP", 2)], ..service() };
    let of = of_service(twice, vec![]);
    assert_eq!((reasons(&of), names(&of).len()), (vec![Reason::InvalidPort], 2));
}

fn address(address: &str) -> NodeAddress {
    NodeAddress { kind: "InternalIP".into(), address: address.into() }
}

fn with_port(protocol: &str, number: u16) -> Service {
    let mut service = service();
    service.ports.push(port("new", protocol, number));
    service
}

#[test]
fn absurd_names_are_told_and_the_rest_goes_on() {
    let mut translator = Translator::new("midonetkube");
    translator.set_node(node(|_| ()));
    for name in ["", "..", "web_0", "Wéb", "a b", "x\n"] {
        translator.set_pod(Pod { name: name.into(), ..pod() });
        let of = change(&mut translator, &format!("Pod {}", Key::new("foo", name)));
        assert!(reasons(&of).iter().all(|reason| *reason == Reason::InvalidName), "{of:?}");
        assert!(!reasons(&of).is_empty(), "{of:?}");
    }
    let longest = "x".repeat(253);
    translator.set_pod(Pod { name: longest.clone(), ..pod() });
    let of = change(&mut translator, &format!("Pod foo/{longest}"));
    assert_eq!((reasons(&of), names(&of).len()), (vec![], 3), "the original's names were too long");
}

#[test]
fn a_pod_waits_for_its_node() {
    let mut translator = Translator::new("midonetkube");
    translator.set_node(node(|node| node.host_id = None));
    translator.set_pod(pod());
    let of = change(&mut translator, "Pod foo/awesome-pod");
    assert_eq!((reasons(&of), of.wanted), (vec![Reason::NodeNotConverted], Wanted::Keep));
    translator.set_node(node(|_| ()));
    let of = change(&mut translator, "Pod foo/awesome-pod");
    assert_eq!((reasons(&of), names(&of).len()), (vec![], 3));
}
