//! The test vectors of midonet-kubernetes, and its Translations to the letter.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod objects;
mod problems;

use translation::{CustomResource, Node, NodeAddress, Pod, Reason, Service, Translator, Wanted};

use crate::objects::*;

#[test]
fn globals_are_the_originals() {
    let globals = change(&mut Translator::new("midonetkube"), "globals");
    let all = written(&globals);
    assert_eq!(
        names(&globals),
        ["midonet-global.4.tunnel-zone", "midonet-global.4.cluster-router", "midonet-global.4.chain"]
    );
    assert_eq!(
        serde_json::to_string(&all[0]).unwrap(),
        r#"{"apiVersion":"midonet.org/v1","kind":"Translation","metadata":{"namespace":"kube-system","name":"midonet-global.4.tunnel-zone","labels":{"midonet.org/global":""},"finalizers":["midonet.org/deleter"]},"resources":[{"kind":"TunnelZone","parent":"","body":"{\"id\":\"51329ede-9b0f-5923-98ee-bf4ef08af54f\",\"name\":\"DefaultTunnelZone\",\"type\":\"vxlan\"}"}]}"#
    );
    assert_eq!(
        bodies(&all[1]),
        [(
            "Router",
            r#"{"id":"21607839-c6b4-5b98-8aa1-89a1aab61bca","tenantId":"midonetkube","name":"ClusterRouter"}"#
        )]
    );
    let chains = bodies(&all[2]);
    let main = "23b6f94b-2fb5-55b0-9614-3cbb6d6dc17f";
    assert_eq!(
        chains[0],
        ("Chain", &*format!(r#"{{"id":"{main}","tenantId":"midonetkube","name":"KUBE-MAIN"}}"#))
    );
    let words = ["KUBE-MAIN", "KUBE-PRE", "KUBE-SERVICES", "jump", "jump", "rev_dnat", "rev_snat"];
    for ((_, body), word) in chains.iter().zip(words) {
        assert!(body.contains(&format!("\"{word}\"")), "{body}");
    }
    assert!(chains[5].1.ends_with(r#""type":"rev_dnat","flowAction":"accept"}"#), "{}", chains[5].1);
    assert!(chains[6].1.ends_with(r#""type":"rev_snat","flowAction":"continue"}"#), "{}", chains[6].1);
    assert_eq!(all[2].resources[3].parent, main);
}

#[test]
fn keys_of_a_node_are_the_originals() {
    let zone = |node: &mut Node| {
        node.tunnel_zone_id = Some("8B80D6B7-F04B-4075-AB5D-0C4D5C85D15E".into());
        node.tunnel_endpoint_ip = Some("192.2.0.99".into());
    };
    let key =
        "awesome-node/192.2.0.99/8b80d6b7-f04b-4075-ab5d-0c4d5c85d15e/44fb4381-c99d-4389-86c3-fdca765bcbde";
    let of = of_node(node(zone));
    assert_eq!(names(&of), [named("Node-Tunnel-Endpoint", key), "node.4.awesome-node".into()]);
    assert_eq!(reasons(&of), []);
    assert_eq!(written(&of)[1].resources.len(), 9);

    let of = of_node(node(|node| node.mac_address = Some("99:88:77:66:55:44".into())));
    assert_eq!(
        names(&of),
        [
            "node.4.awesome-node".into(),
            named("Node-MAC", "awesome-node/mac/998877665544"),
            named("Node-ARP", "awesome-node/ip/10.1.2.2/998877665544"),
        ]
    );
    assert_eq!(reasons(&of), [Reason::MissingTunnelEndpoint]);

    let addresses = [("HostName", "awesome"), ("ExternalIP", "192.2.0.9"), ("InternalIP", "192.2.0.10")];
    let address = |(kind, address): (&str, &str)| NodeAddress { kind: kind.into(), address: address.into() };
    let of = of_node(node(|node| node.addresses = addresses.map(address).into()));
    assert_eq!(
        names(&of)[1..],
        [
            named("Node-Address", "awesome-node/ExternalIP/192.2.0.9"),
            named("Node-Address", "awesome-node/InternalIP/192.2.0.10")
        ]
    );
}

#[test]
fn a_nodes_resources_are_the_originals() {
    let mut translator = Translator::new("midonetkube");
    translator.set_node(node(|node| node.name = "k".into()));
    let of = change(&mut translator, "Node k");
    let node = &written(&of)[0];
    let (bridge, main) = ("94a77cda-35dd-5517-a7e1-e9f0ad17be6e", "23b6f94b-2fb5-55b0-9614-3cbb6d6dc17f");
    let all = bodies(node);
    let kinds: Vec<_> = all.iter().map(|(kind, _)| *kind).collect();
    let want = ["Bridge", "Port", "Port", "Route", "PortLink", "Chain", "Port", "HostInterfacePort", "Rule"];
    assert_eq!(kinds, want);
    assert_eq!(
        all[0].1,
        format!(r#"{{"id":"{bridge}","tenantId":"midonetkube","name":"k","inboundFilterId":"{main}"}}"#)
    );
    assert!(
        all[2].1.ends_with(r#""type":"Router","portSubnet":["10.1.2.1/24"],"portMac":"ac:ca:ba:82:54:c3"}"#),
        "{}",
        all[2].1
    );
    assert!(
        all[3].1.contains(r#""dstNetworkAddr":"10.1.2.0","dstNetworkLength":24,"nextHopPort":""#),
        "{}",
        all[3].1
    );
    assert!(
        all[3].1.ends_with(r#""srcNetworkAddr":"0.0.0.0","srcNetworkLength":0,"type":"Normal"}"#),
        "{}",
        all[3].1
    );
    assert!(all[4].1.starts_with(r#"{"portId":null,"peerId":""#), "{}", all[4].1);
    assert!(all[5].1.ends_with(r#""tenantId":"midonetkube","name":"KUBE-NODE-k"}"#), "{}", all[5].1);
    assert!(all[8].1.ends_with(r#""type":"snat","dlType":2048,"nwSrcAddress":"10.1.2.2","nwSrcLength":32,"flowAction":"continue","natTargets":[{"addressFrom":"10.1.2.1","addressTo":"10.1.2.1","portFrom":30000,"portTo":60000}]}"#), "{}", all[8].1);
    let metadata = serde_json::to_value(&node.metadata).unwrap();
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["labels"], serde_json::json!({"midonet.org/owner-uid": "node-uid"}));
    assert_eq!(
        metadata["ownerReferences"],
        serde_json::json!([{"apiVersion": "v1", "kind": "Node", "name": "k", "uid": "node-uid"}])
    );
}

#[test]
fn a_pods_keys_and_ids_are_the_originals() {
    let of = of_pod(pod());
    assert_eq!(
        names(&of),
        [
            "pod.4.awesome-pod".into(),
            named("Pod-MAC", "awesome-pod/mac/332211112233"),
            named("Pod-ARP", "awesome-pod/ip/10.2.2.2/332211112233"),
        ]
    );
    assert_eq!(names(&of_pod(Pod { ips: vec![], ..pod() })).len(), 2);
    assert_eq!(names(&of_pod(Pod { mac_address: None, ..pod() })), ["pod.4.awesome-pod"]);
    for without in [
        Pod { host_network: true, ..pod() },
        Pod { finished: true, ..pod() },
        Pod { node: String::new(), ..pod() },
    ] {
        let of = of_pod(without);
        assert_eq!((names(&of).len(), reasons(&of)), (0, vec![]));
    }

    let mut translator = Translator::new("midonetkube");
    translator.set_node(node(|_| ()));
    translator.set_pod(Pod { namespace: "default".into(), name: "web-0".into(), ..pod() });
    let of = change(&mut translator, "Pod default/web-0");
    let host = HOST.to_lowercase();
    let port = "0e646980-2007-550e-bb96-44dc505bd784";
    assert_eq!(
        bodies(&written(&of)[0]),
        [
            ("Port", &*format!(r#"{{"id":"{port}","type":"Bridge"}}"#)),
            (
                "HostInterfacePort",
                &*format!(r#"{{"hostId":"{host}","portId":"{port}","interfaceName":"mido24d07f86e30"}}"#)
            ),
        ]
    );
}

#[test]
fn a_services_keys_and_ids_are_the_originals() {
    let of = of_service(
        Service { ports: vec![port("cat", "UDP", 8000), port("dog", "TCP", 200)], ..service() },
        vec![],
    );
    assert_eq!(
        names(&of),
        [
            "service.4.bar".into(),
            named("Service-Port", "foo/bar/cat/192.2.0.1/17/8000"),
            named("Service-Port", "foo/bar/dog/192.2.0.1/6/200"),
        ]
    );
    for without in [
        Service { kind: "ExternalName".into(), ..service() },
        Service { cluster_ips: vec!["None".into()], ..service() },
        Service { cluster_ips: vec![String::new()], ..service() },
        Service { cluster_ips: vec![], ..service() },
        Service { ports: vec![], ..service() },
    ] {
        let of = of_service(without, vec![]);
        assert_eq!((names(&of).len(), reasons(&of)), (0, vec![]));
    }
    let mut translator = Translator::new("midonetkube");
    translator.set_service(Service {
        namespace: "kube-system".into(),
        name: "kube-dns".into(),
        ports: vec![port("dns", "UDP", 53)],
        ..service()
    });
    let of = change(&mut translator, "Service kube-system/kube-dns");
    assert_eq!(
        bodies(&written(&of)[0])[0].1,
        r#"{"id":"2f5e38d5-fe35-5644-9ff9-3f92887c3457","tenantId":"midonetkube","name":"KUBE-SVC-kube-system/kube-dns/dns"}"#
    );
}

#[test]
fn endpoints_have_the_originals_keys_and_each_its_own_data() {
    let slices = vec![
        slice("a", &["10.0.0.1", "10.0.0.2"], &[("cat", "UDP", 18_000), ("dog", "TCP", 10_200)]),
        slice("b", &["10.0.0.3", "10.0.0.4"], &[("dog", "TCP", 10_200)]),
    ];
    let of = of_service(service(), slices);
    let want = [
        "bar/cat/192.2.0.1/10.0.0.1/18000/UDP",
        "bar/cat/192.2.0.1/10.0.0.2/18000/UDP",
        "bar/dog/192.2.0.1/10.0.0.1/10200/TCP",
        "bar/dog/192.2.0.1/10.0.0.2/10200/TCP",
        "bar/dog/192.2.0.1/10.0.0.3/10200/TCP",
        "bar/dog/192.2.0.1/10.0.0.4/10200/TCP",
    ];
    let endpoints: Vec<_> =
        written(&of).into_iter().filter(|t| t.metadata.name.starts_with("endpoints-port.")).collect();
    let got: Vec<_> = endpoints.iter().map(|translation| translation.metadata.name.clone()).collect();
    assert_eq!(got, want.map(|key| named("Endpoints-Port", key)));
    for (translation, key) in endpoints.iter().zip(want) {
        let address = key.split('/').nth(3).unwrap();
        let all = bodies(translation);
        assert!(
            all[0].1.ends_with(&format!(r#""tenantId":"MyTenant","name":"KUBE-SEP-{key}"}}"#)),
            "{}",
            all[0].1
        );
        assert!(all[1].1.contains(&format!(r#""type":"snat","dlType":2048,"nwSrcAddress":"{address}","nwSrcLength":32,"flowAction":"continue","natTargets":[{{"addressFrom":"192.2.0.1","addressTo":"192.2.0.1","portFrom":30000,"portTo":60000}}]"#)), "{}", all[1].1);
        assert!(all[2].1.contains(&format!(r#""nwDstAddress":"{address}""#)), "{}", all[2].1);
    }
}

#[test]
fn a_translation_is_read_back() {
    for wanted in [of_node(node(|_| ())), of_pod(pod()), of_service(service(), vec![])] {
        let Wanted::Set(set) = &wanted.wanted else { panic!("{wanted:?}") };
        for translation in set {
            let json = serde_json::to_value(CustomResource::from(translation)).unwrap();
            let read: CustomResource = serde_json::from_value(json).unwrap();
            let resources: Vec<_> = read.resources().map(Result::unwrap).collect();
            assert_eq!(resources, translation.resources);
        }
    }
}
