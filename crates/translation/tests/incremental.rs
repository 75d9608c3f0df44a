//! After any sequence of events, what was taken of every owner is what a translator gives that is told the same objects
//! at once; and nothing is given before what MidoNet needs for it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use midonet::{Body, Resource};
use proptest::prelude::*;
use translation::{
    AddressType, Change, Endpoint, EndpointPort, EndpointSlice, Key, Node, NodeAddress, Owner, Pod, Problem,
    Service, ServicePort, Translator, Wanted,
};
use uuid::Uuid;

#[derive(Debug, Clone)]
enum Event {
    Node(Node),
    NoNode(String),
    Pod(Pod),
    NoPod(Key),
    Service(Service),
    NoService(Key),
    Slice(EndpointSlice),
    NoSlice(Key),
    All,
}

fn pick(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(of).prop_map(str::to_owned)
}

fn maybe(of: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop::option::of(pick(of))
}

const HOSTS: &[&str] =
    &["44fb4381-c99d-4389-86c3-fdca765bcbde", "54fb4381-c99d-4389-86c3-fdca765bcbde", "x", ""];
const MACS: &[&str] = &["02:00:00:00:00:01", "02:00:00:00:00:02", "no"];

fn node() -> impl Strategy<Value = Node> {
    let cidrs = prop::collection::vec(pick(&["10.1.0.0/24", "10.2.0.0/24", "fd00::/64", "x"]), 0..3);
    let address =
        (pick(&["InternalIP", "ExternalIP", "Hostname"]), pick(&["192.0.2.1", "192.0.2.2", "fd00::1", "x"]))
            .prop_map(|(kind, address)| NodeAddress { kind, address });
    (
        pick(&["a", "b"]),
        pick(&["u1", "u2"]),
        cidrs,
        prop::collection::vec(address, 0..3),
        maybe(HOSTS),
        maybe(HOSTS),
        maybe(&["192.0.2.9", "x"]),
        maybe(MACS),
    )
        .prop_map(
            |(name, uid, pod_cidrs, addresses, host_id, tunnel_zone_id, tunnel_endpoint_ip, mac_address)| {
                Node {
                    name,
                    uid,
                    pod_cidrs,
                    addresses,
                    host_id,
                    tunnel_zone_id,
                    tunnel_endpoint_ip,
                    mac_address,
                }
            },
        )
}

fn pod() -> impl Strategy<Value = Pod> {
    (
        pick(&["p", "q", "r", "_"]),
        pick(&["u3", "u4"]),
        pick(&["a", "b", "c", ""]),
        any::<(bool, bool)>(),
        prop::collection::vec(pick(&["10.1.0.3", "fd00::3", "x"]), 0..3),
        maybe(MACS),
    )
        .prop_map(|(name, uid, node, (host_network, finished), ips, mac_address)| Pod {
            namespace: "default".into(),
            name,
            uid,
            node,
            host_network,
            finished,
            ips,
            mac_address,
        })
}

fn service() -> impl Strategy<Value = Service> {
    let port = (pick(&["web", "dns", ""]), pick(&["TCP", "UDP", "SCTP", ""]), 0..3u16)
        .prop_map(|(name, protocol, port)| ServicePort { name, protocol, port });
    (
        pick(&["s", "t"]),
        pick(&["u5", "u6"]),
        pick(&["ClusterIP", "NodePort", ""]),
        prop::collection::vec(pick(&["10.96.0.1", "10.96.0.2", "fd01::1", "None", "x"]), 0..3),
        prop::collection::vec(port, 0..4),
        any::<(bool, bool)>(),
    )
        .prop_map(|(name, uid, kind, cluster_ips, ports, (session_affinity, local_traffic))| Service {
            namespace: "default".into(),
            name,
            uid,
            kind,
            cluster_ips,
            ports,
            session_affinity,
            local_traffic,
        })
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let endpoint = (pick(&["10.1.0.3", "10.1.0.4", "10.2.0.3", "x"]), any::<(bool, bool, bool)>()).prop_map(
        |(address, (ready, serving, terminating))| Endpoint { address, ready, serving, terminating },
    );
    let port = (pick(&["web", "dns", ""]), pick(&["TCP", "UDP"]), 0..3u16)
        .prop_map(|(name, protocol, port)| EndpointPort { name, protocol, port });
    (
        pick(&["s-1", "s-2", "t-1"]),
        pick(&["s", "t", ""]),
        prop::sample::select(&[AddressType::Ipv4, AddressType::Ipv6, AddressType::Other][..]),
        prop::collection::vec(endpoint, 0..4),
        prop::collection::vec(port, 0..3),
    )
        .prop_map(|(name, service, address_type, endpoints, ports)| EndpointSlice {
            namespace: "default".into(),
            uid: String::new(),
            name,
            service,
            address_type,
            endpoints,
            ports,
        })
}

fn event() -> impl Strategy<Value = Event> {
    let key = |names| pick(names).prop_map(|name| Key::new("default", name));
    prop_oneof![
        4 => node().prop_map(Event::Node),
        1 => pick(&["a", "b"]).prop_map(Event::NoNode),
        4 => pod().prop_map(Event::Pod),
        1 => key(&["p", "q", "r", "_"]).prop_map(Event::NoPod),
        4 => service().prop_map(Event::Service),
        1 => key(&["s", "t"]).prop_map(Event::NoService),
        4 => slice().prop_map(Event::Slice),
        1 => key(&["s-1", "s-2", "t-1"]).prop_map(Event::NoSlice),
        1 => Just(Event::All),
    ]
}

/// The objects that there are.
#[derive(Default)]
struct Objects {
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<Key, Pod>,
    services: BTreeMap<Key, Service>,
    slices: BTreeMap<Key, EndpointSlice>,
}

impl Objects {
    fn apply(&mut self, event: Event, translator: &mut Translator) {
        match event {
            Event::Node(node) => {
                self.nodes.insert(node.name.clone(), node.clone());
                translator.set_node(node);
            }
            Event::NoNode(name) => {
                self.nodes.remove(&name);
                translator.remove_node(&name);
            }
            Event::Pod(pod) => {
                self.pods.insert(pod.key(), pod.clone());
                translator.set_pod(pod);
            }
            Event::NoPod(key) => {
                self.pods.remove(&key);
                translator.remove_pod(&key);
            }
            Event::Service(service) => {
                self.services.insert(service.key(), service.clone());
                translator.set_service(service);
            }
            Event::NoService(key) => {
                self.services.remove(&key);
                translator.remove_service(&key);
            }
            Event::Slice(slice) => {
                self.slices.insert(slice.key(), slice.clone());
                translator.set_slice(slice);
            }
            Event::NoSlice(key) => {
                self.slices.remove(&key);
                translator.remove_slice(&key);
            }
            Event::All => translator.mark_all(),
        }
    }

    /// What a translator gives that is told all of them at once.
    fn at_once(&self) -> Taken {
        let mut translator = Translator::new("midonetkube");
        self.slices.values().cloned().for_each(|slice| translator.set_slice(slice));
        self.services.values().cloned().for_each(|service| translator.set_service(service));
        self.pods.values().cloned().for_each(|pod| translator.set_pod(pod));
        self.nodes.values().cloned().for_each(|node| translator.set_node(node));
        let mut taken = Taken::default();
        taken.take(&mut translator);
        taken
    }
}

/// What was taken of every owner last.
#[derive(Debug, Default, PartialEq)]
struct Taken(BTreeMap<Owner, (Wanted, Vec<Problem>)>);

impl Taken {
    fn take(&mut self, translator: &mut Translator) {
        for Change { owner, wanted, problems } in translator.take_changes() {
            self.0.insert(owner, (wanted, problems));
        }
        // An owner of which nothing is wanted and nothing is wrong is as one that is not there.
        self.0.retain(|_, (wanted, problems)| *wanted != Wanted::Set(Vec::new()) || !problems.is_empty());
        assert_eq!(translator.pending(), 0);
    }
}

/// The ids that a resource is known by, if others refer to it.
fn id(resource: &Resource) -> Option<Uuid> {
    match &resource.body {
        Body::TunnelZone(zone) => zone.id,
        Body::Router(router) => Some(router.id),
        Body::Bridge(bridge) => Some(bridge.id),
        Body::Port(port) => Some(port.id),
        Body::Chain(chain) => Some(chain.id),
        Body::Rule(rule) => Some(rule.id),
        Body::Route(route) => Some(route.id),
        _ => None,
    }
}

/// The ids that MidoNet has to know for the resource to be posted.
fn needs(resource: &Resource) -> Vec<Uuid> {
    let others = match &resource.body {
        Body::Bridge(bridge) => vec![bridge.inbound_filter_id, bridge.outbound_filter_id],
        Body::Port(port) => vec![port.inbound_filter_id, port.outbound_filter_id],
        Body::PortLink(link) => vec![Some(link.peer_id)],
        Body::Route(route) => vec![route.next_hop_port],
        Body::Rule(rule) => vec![rule.jump_chain_id],
        Body::HostInterfacePort(port) => vec![Some(port.port_id)],
        Body::MacPort(entry) => vec![Some(entry.port_id)],
        _ => vec![],
    };
    // A host's id is MidoNet's own.
    let parent = resource.parent.filter(|_| !matches!(resource.body, Body::HostInterfacePort(_)));
    others.into_iter().chain([parent]).flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_sequence_of_events_ends_where_its_objects_lead(
        events in prop::collection::vec((event(), prop::bool::weighted(0.3)), 1..40)
    ) {
        let (mut objects, mut taken) = (Objects::default(), Taken::default());
        let mut translator = Translator::new("midonetkube");
        for (event, take) in events {
            objects.apply(event, &mut translator);
            if take {
                taken.take(&mut translator);
            }
        }
        taken.take(&mut translator);
        prop_assert_eq!(taken, objects.at_once());
    }

    #[test]
    fn parents_come_first_and_no_name_comes_twice(events in prop::collection::vec(event(), 1..40)) {
        let mut translator = Translator::new("midonetkube");
        let mut objects = Objects::default();
        events.into_iter().for_each(|event| objects.apply(event, &mut translator));
        let zones = HOSTS.iter().filter_map(|zone| zone.parse::<Uuid>().ok());
        let mut known: BTreeSet<Uuid> = zones.collect();
        for change in translator.take_changes() {
            let Wanted::Set(set) = change.wanted else { continue };
            let mut names = BTreeSet::new();
            for translation in set {
                for resource in &translation.resources {
                    for needed in needs(resource) {
                        prop_assert!(known.contains(&needed), "{needed} is missing for {resource:?}");
                    }
                    known.extend(id(resource));
                }
                prop_assert!(names.insert(translation.name.clone()), "{} comes twice", translation.name);
            }
        }
    }
}

/// The owners that one event changes.
fn owners(translator: &mut Translator, change: impl FnOnce(&mut Translator)) -> Vec<String> {
    translator.take_changes();
    change(translator);
    let name = |change: Change| match change.owner {
        Owner::Globals => "globals".to_owned(),
        Owner::Object(object) => object.to_string(),
    };
    translator.take_changes().into_iter().map(name).collect()
}

#[test]
fn a_change_marks_what_depends_on_it_alone() {
    let node = |name: &str| Node {
        name: name.into(),
        uid: name.into(),
        pod_cidrs: vec!["10.1.0.0/24".into()],
        host_id: Some(HOSTS[0].into()),
        ..Node::default()
    };
    let pod = |name: &str, node: &str| Pod {
        namespace: "default".into(),
        name: name.into(),
        uid: name.into(),
        node: node.into(),
        ..Pod::default()
    };
    let mut translator = Translator::new("midonetkube");
    let t = &mut translator;
    t.set_node(node("a"));
    t.set_node(node("b"));
    t.set_pod(pod("p", "a"));
    t.set_pod(pod("q", "a"));
    t.set_pod(pod("r", "b"));
    let service = Service { namespace: "default".into(), name: "s".into(), ..Service::default() };
    t.set_service(service.clone());
    assert_eq!(owners(t, |t| t.set_node(node("a"))), [""; 0]);
    assert_eq!(
        owners(t, |t| t.set_node(Node { mac_address: Some(MACS[0].into()), ..node("a") })),
        ["Node a"]
    );
    let moved = Node { host_id: Some(HOSTS[1].into()), ..node("a") };
    assert_eq!(owners(t, |t| t.set_node(moved)), ["Node a", "Pod default/p", "Pod default/q"]);
    assert_eq!(owners(t, |t| t.set_pod(pod("p", "b"))), ["Pod default/p"]);
    assert_eq!(owners(t, |t| t.remove_node("b")), ["Pod default/p", "Pod default/r", "Node b"]);
    let slice = |service: &str| EndpointSlice {
        namespace: "default".into(),
        name: "x".into(),
        service: service.into(),
        ..EndpointSlice::default()
    };
    assert_eq!(owners(t, |t| t.set_slice(slice("s"))), ["Service default/s"]);
    assert_eq!(owners(t, |t| t.set_slice(slice("other"))), ["Service default/s"]);
    assert_eq!(owners(t, |t| t.remove_slice(&Key::new("default", "x"))), [""; 0]);
    let again = Service { uid: "other".into(), ..service };
    assert_eq!(owners(t, |t| t.set_service(again)), ["Service default/s", "Service default/s"]);
}

#[test]
fn an_object_of_the_same_name_replaces_the_other_one() {
    let pod =
        |uid: &str| Pod { namespace: "default".into(), name: "p".into(), uid: uid.into(), ..Pod::default() };
    let uids = |translator: &mut Translator| -> Vec<_> {
        let uid = |change: Change| match change.owner {
            Owner::Globals => None,
            Owner::Object(object) => Some(object.uid),
        };
        translator.take_changes().into_iter().filter_map(uid).collect()
    };
    let mut translator = Translator::new("midonetkube");
    translator.set_pod(pod("one"));
    translator.set_pod(pod("two"));
    assert_eq!(uids(&mut translator), ["two", "one"], "what is wanted comes before what is gone");
    translator.remove_pod(&Key::new("default", "p"));
    translator.set_pod(pod("two"));
    assert_eq!(uids(&mut translator), ["two"], "it came back before it was taken as gone");
}

#[test]
fn owners_that_are_gone_come_last_and_what_others_need_last_of_all() {
    let key = |name: &str| Key::new("default", name);
    let mut translator = Translator::new("midonetkube");
    let t = &mut translator;
    t.set_node(Node { name: "a".into(), uid: "1".into(), ..Node::default() });
    for (name, uid) in [("p", "2"), ("q", "3")] {
        let (namespace, name, uid) = ("default".into(), name.into(), uid.into());
        t.set_pod(Pod { namespace, name, uid, node: "a".into(), ..Pod::default() });
    }
    let service = Service { namespace: "default".into(), name: "s".into(), ..Service::default() };
    t.set_service(service);
    let order = owners(t, |t| {
        t.remove_node("a");
        t.remove_service(&key("s"));
        t.remove_pod(&key("p"));
    });
    assert_eq!(order, ["Pod default/q", "Service default/s", "Pod default/p", "Node a"]);
}
