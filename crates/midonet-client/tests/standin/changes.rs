//! MidoNet has other content than what is pushed.

use midonet::{Body, Kind, PortLink, PortType, Resource};
use midonet_client::Class;
use midonet_standin::{Effect, Fault, Topology};

use crate::topology::{chain, wanted};
use crate::{converge, count, expected, id, remove, start, there};

/// The same resource with other content. Entries of MAC and ARP tables are nothing but their names.
fn changed(resource: &Resource) -> Resource {
    let mut other = resource.clone();
    match &mut other.body {
        Body::TunnelZone(zone) => zone.name.push_str("-2"),
        Body::TunnelZoneHost(host) => host.ip_address = [198, 51, 100, host.ip_address.octets()[3]].into(),
        Body::Router(router) => router.name.push_str("-2"),
        Body::Bridge(bridge) => {
            (bridge.inbound_filter_id, bridge.outbound_filter_id) = (None, Some(id("chain", "PRE")));
        }
        Body::Port(port) if port.port_type == PortType::Router => {
            let [a, b, c, _] = port.port_subnet[0].addr().octets();
            port.port_subnet = vec![format!("{a}.{b}.{c}.254/25").parse().unwrap()];
            port.port_mac = Some("ac:ca:ba:ff:ff:01".parse().unwrap());
        }
        Body::Port(port) => port.inbound_filter_id = Some(id("chain", "PRE")),
        Body::Route(route) => route.next_hop_gateway = Some([10, 9, 9, 9].into()),
        Body::Rule(rule) => rule.nw_src_address = Some([10, 9, 9, 0].into()),
        Body::HostInterfacePort(binding) => binding.interface_name.push_str("-2"),
        Body::PortLink(_) | Body::Chain(_) | Body::MacPort(_) | Body::Ipv4MacPair(_) => {}
    }
    if let Body::Rule(rule) = &mut other.body {
        rule.nw_src_length = 24;
    }
    other
}

fn all_changed() -> Vec<Vec<Resource>> {
    wanted().iter().map(|list| list.iter().map(changed).collect()).collect()
}

fn nothing_but_hosts(topology: &Topology) -> Topology {
    Topology { hosts: topology.hosts.clone(), ..Topology::default() }
}

#[tokio::test]
async fn each_kind_is_changed_and_changed_back() {
    let (standin, client) = start().await;
    let (wanted, other) = (wanted(), all_changed());
    converge(&client, &wanted).await;
    for lists in [&other, &wanted] {
        standin.take_log();
        let requests = converge(&client, lists).await;
        let log = standin.take_log();
        assert_eq!(there(&standin), expected(lists).await);
        // At most four each, and three more to move a router port's own route.
        assert!(requests <= 4 * count(lists) + 3 * 2, "{requests} of {}", count(lists));
        println!("{requests} requests to change {}", count(lists));
        assert!(
            log.count("DELETE", "Port") + log.count("DELETE", "Bridge") + log.count("DELETE", "Chain") == 0
        );
    }
    remove(&client, &wanted).await;
    let left = there(&standin);
    assert_eq!(left, nothing_but_hosts(&left));
}

#[tokio::test]
async fn each_alone() {
    for (place, list) in wanted().iter().enumerate() {
        for index in 0..list.len() {
            let mut other = wanted();
            other[place][index] = changed(&list[index]);
            if other[place][index] == list[index] {
                continue;
            }
            let (standin, client) = start().await;
            converge(&client, &wanted()).await;
            let report = client.push(&other[place]).await.unwrap();
            assert_eq!((report.replaced, report.unchanged), (1, list.len() - 1), "{:?}", list[index]);
            assert_eq!(there(&standin), expected(&other).await, "{:?}", list[index]);
        }
    }
}

#[tokio::test]
async fn changes_among_faults() {
    let answers = [401, 409, 500, 503].map(|status| (Effect::Answer(status), 5));
    for (effect, part) in answers.into_iter().chain([(Effect::Close, 15), (Effect::CloseAfterwards, 15)]) {
        let (standin, client) = start().await;
        converge(&client, &wanted()).await;
        standin.add_fault(Fault::new(effect).percent(part));
        let requests = converge(&client, &all_changed()).await;
        println!("{effect:?}: {requests} requests to change {}", count(&wanted()));
        assert!(requests <= 10 * count(&wanted()), "{effect:?}: {requests}");
        assert_eq!(there(&standin), expected(&all_changed()).await, "{effect:?}");
        remove(&client, &all_changed()).await;
        let left = there(&standin);
        assert_eq!(left, nothing_but_hosts(&left), "{effect:?}");
    }
}

#[tokio::test]
async fn a_chain_keeps_its_rules_when_its_name_changes() {
    let (standin, client) = start().await;
    converge(&client, &wanted()).await;
    let before = there(&standin);
    let mut renamed = chain("MAIN");
    if let Body::Chain(chain) = &mut renamed.body {
        chain.name = "other".into();
    }
    let report = client.push(&[renamed]).await.unwrap();
    assert_eq!((report.unchanged, report.requests), (1, 2));
    assert_eq!(there(&standin), before);
}

#[tokio::test]
async fn a_port_is_linked_to_another_one() {
    let (standin, client) = start().await;
    converge(&client, &wanted()).await;
    let of = |node: &str, name: &str| id("port", &format!("{node} {name}"));
    let link = |node, peer| Resource::of(of(node, "inner"), PortLink { port_id: None, peer_id: peer });
    // Both are linked otherwise: one link goes with each push.
    let crossed = link("node-1", of("node-2", "outer"));
    let error = client.push(std::slice::from_ref(&crossed)).await.unwrap_err();
    assert_eq!(error.error.class(), Class::Conflict);
    assert_eq!(client.push(&[crossed]).await.unwrap().replaced, 1);
    let peer = |port| there(&standin).ports.into_iter().find(|node| node.port.id == port).unwrap().peer;
    assert_eq!(peer(of("node-1", "inner")), Some(of("node-2", "outer")));
    assert_eq!(peer(of("node-2", "inner")), None);
    converge(&client, &wanted()).await;
    assert_eq!(there(&standin), expected(&wanted()).await);
}

#[tokio::test]
async fn a_pod_moves_to_another_node() {
    let (standin, client) = start().await;
    converge(&client, &wanted()).await;
    let pod = id("port", "pod on node-1");
    let (bridge, host) = (id("bridge", "node-2"), id("host", "node-2"));
    let lists: Vec<_> = wanted()
        .into_iter()
        .map(|list| {
            let of_pod = |resource: &Resource| match &resource.body {
                Body::Port(port) => port.id == pod,
                Body::HostInterfacePort(binding) => binding.port_id == pod,
                Body::MacPort(entry) => entry.port_id == pod,
                _ => false,
            };
            let moved = |mut resource: Resource| {
                if of_pod(&resource) {
                    let binding = resource.kind() == Kind::HostInterfacePort;
                    resource.parent = Some(if binding { host } else { bridge });
                    if let Body::HostInterfacePort(binding) = &mut resource.body {
                        (binding.host_id, binding.interface_name) = (host, "mido1".into());
                    }
                }
                resource
            };
            list.into_iter().map(moved).collect::<Vec<_>>()
        })
        .collect();
    converge(&client, &lists).await;
    // The old entry is another resource, which its Translation removes.
    let old = wanted().into_iter().flatten().find(|resource| match &resource.body {
        Body::MacPort(entry) => entry.port_id == pod,
        _ => false,
    });
    client.remove(&[old.unwrap()]).await.unwrap();
    assert_eq!(there(&standin), expected(&lists).await);
}
