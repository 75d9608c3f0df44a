//! Whatever comes in whatever order: the tables are those of the whole computation, and so are all changes together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use objects::{Ignored, Node};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::oracle::{Here, Objects, all};
use super::*;
use crate::{Diff, RouteTarget};

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];
/// A node's, a Pod's, no host's, and some that are nobody's yet.
const ADDRESSES: [&str; 12] = [
    "10.96.0.1",
    "10.96.0.2",
    "fd96::1",
    "fd96::2",
    "192.0.2.1",
    "2001:db8::1",
    "172.30.0.12",
    "172.30.0.13",
    "fd30::13",
    "10.244.9.9",
    "127.0.0.1",
    "fe80::1",
];
const ENDPOINTS: [&str; 6] = ["10.244.1.5", "10.244.2.6", "172.30.0.12", "fd44::5", "fd44::6", "fd30::12"];
const NODES: [&str; 4] = ["n1", "n2", "n3", ""];
const ZONES: [&str; 3] = ["a", "b", "c"];
const RANGES: [&str; 5] = ["198.51.100.0/24", "172.30.0.0/24", "0.0.0.0/0", "fd30::/64", "2001:db8:9::/48"];
const CIDRS: [&str; 5] = ["10.112.0.0/16", "fd97::/112", "172.30.0.8/29", "10.244.0.0/20", "10.96.0.0/12"];

#[derive(Debug, Clone)]
enum Step {
    Service(Arc<Service>),
    DeleteService(&'static str),
    Slice(EndpointSlice),
    DeleteSlice(u8),
    Cidr(u8, Arc<ServiceCidr>),
    DeleteCidr(u8),
    Node(Node),
    DeleteNode(u8),
}

fn addresses(most: usize) -> impl Strategy<Value = Box<[IpAddr]>> {
    subsequence(ADDRESSES.to_vec(), 0..=most).prop_shuffle().prop_map(|texts| ips(&texts))
}

/// One a family.
fn cluster_ips() -> impl Strategy<Value = Box<[IpAddr]>> {
    addresses(3).prop_map(|all| {
        let of = |family| all.iter().copied().find(move |one| Family::of(*one) == family);
        Family::ALL.into_iter().filter_map(of).collect()
    })
}

fn any_port() -> impl Strategy<Value = PortSpec> {
    let protocol = select(&[Protocol::Tcp, Protocol::Udp][..]);
    (select(&["", "x"][..]), protocol, 80u16..82, select(&[0u16, 30080, 30081][..]))
        .prop_map(|(name, protocol, number, node_port)| port(name, protocol, number, node_port))
}

fn any_ports() -> impl Strategy<Value = Box<[PortSpec]>> {
    vec(any_port(), 0..3).prop_map(|mut ports| {
        ports.dedup_by(|a, b| (&a.name, a.protocol) == (&b.name, b.protocol));
        ports.into()
    })
}

fn any_service() -> impl Strategy<Value = Arc<Service>> {
    let kind = select(&[ServiceType::ClusterIp, ServiceType::LoadBalancer][..]);
    let ignored = option::weighted(0.1, Just(Ignored::OtherProxy));
    let ranges = subsequence(RANGES.to_vec(), 0..3);
    let policies = (any::<bool>(), any::<bool>(), select(&[0u16, 30080, 30081, 32000][..]));
    let first = (select(&SERVICES[..]), option::of(0i64..3), kind, ignored, cluster_ips(), any_ports());
    let rest = (addresses(2), addresses(2), ranges, any::<bool>(), policies, option::of(Just(60)));
    (first, rest).prop_map(|((name, created, kind, ignored, cluster_ips, ports), rest)| {
        let (balancers, externals, ranges, unreadable, (internal, external, check), affinity) = rest;
        service(name, |service| {
            (service.created, service.kind, service.ignored) = (created, kind, ignored);
            (service.cluster_ips, service.ports) = (cluster_ips, ports);
            (service.load_balancer_ips, service.external_ips) = (balancers, externals);
            service.source_ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
            service.has_unreadable_range = unreadable;
            (service.internal_local, service.external_local) = (internal, external);
            (service.health_check_node_port, service.affinity) = (check, affinity);
            if service.ignored.is_some() {
                (service.ports, service.cluster_ips) = (Box::default(), Box::default());
                (service.load_balancer_ips, service.external_ips) = (Box::default(), Box::default());
                service.health_check_node_port = 0;
            }
        })
    })
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    let hints = (subsequence(ZONES.to_vec(), 0..2), subsequence(NODES[..3].to_vec(), 0..2));
    let conditions = prop_oneof![
        3 => Just([true, true, false]),
        2 => Just([false, true, true]),
        1 => any::<[bool; 3]>(),
    ];
    (select(&ENDPOINTS[..]), select(&NODES[..]), conditions, option::weighted(0.6, hints)).prop_map(
        |(address, node, conditions, hints)| {
            let endpoint = endpoint(address, node, conditions);
            match hints {
                Some((zones, nodes)) => hinted(endpoint, &zones, &nodes),
                None => endpoint,
            }
        },
    )
}

fn any_slice() -> impl Strategy<Value = EndpointSlice> {
    let protocol = select(&[Protocol::Tcp, Protocol::Udp][..]);
    let of = (select(&["", "x"][..]), protocol, 8080u16..8082)
        .prop_map(|(name, protocol, port)| EndpointPort { name: name.into(), protocol, port });
    let service = option::weighted(0.9, select(&SERVICES[..]));
    (0u8..5, service, select(&Family::ALL[..]), vec(of, 0..3), vec(any_endpoint(), 0..5), option::of(0i64..4))
        .prop_map(|(number, service, family, ports, mut endpoints, triggered)| {
            endpoints.retain(|endpoint| Family::of(endpoint.address) == family);
            let slice = slice(&format!("e{number}"), "", endpoints);
            let service = service.map(|name| format!("shop/{name}").into());
            // One that is of no Service has nothing else.
            match service {
                Some(service) => {
                    EndpointSlice { service: Some(service), family, ports: ports.into(), triggered, ..slice }
                }
                None => EndpointSlice { service, endpoints: Box::default(), ports: Box::default(), ..slice },
            }
        })
}

fn own_node() -> impl Strategy<Value = Node> {
    let addresses = vec![&["172.30.0.11", "fd30::11"][..], &["fd30::11"], &["172.30.0.12", "172.30.0.11"]];
    let addresses = select(addresses);
    (addresses, option::of(select(&ZONES[..]))).prop_map(|(addresses, zone)| {
        let mut own = node("n1", &["10.244.1.0/24", "fd44:0:0:1::/64"], addresses);
        own.zone = zone.map(str::to_owned);
        own
    })
}

fn other_node() -> impl Strategy<Value = Node> {
    let addresses =
        subsequence(vec!["172.30.0.12", "172.30.0.13", "fd30::13", "192.0.2.1", "10.112.0.9"], 1..3);
    (2u8..4, addresses).prop_map(|(number, addresses)| {
        node(&format!("n{number}"), &[&format!("10.244.{number}.0/24")], &addresses)
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_service().prop_map(Step::Service),
        2 => select(&SERVICES[..]).prop_map(Step::DeleteService),
        6 => any_slice().prop_map(Step::Slice),
        2 => (0u8..5).prop_map(Step::DeleteSlice),
        1 => (0u8..2, subsequence(CIDRS.to_vec(), 0..3)).prop_map(|(number, cidrs)| Step::Cidr(number, cidr(&format!("c{number}"), &cidrs))),
        1 => (0u8..2).prop_map(Step::DeleteCidr),
        1 => own_node().prop_map(Step::Node),
        2 => other_node().prop_map(Step::Node),
        1 => (2u8..4).prop_map(Step::DeleteNode),
    ]
}

/// The tables as one gets them from changes alone.
#[derive(Debug, Default)]
struct Replica {
    services: BTreeMap<ServicePortKey, Arc<ServicePort>>,
    cidrs: BTreeMap<ipnet::IpNet, ()>,
    addresses: BTreeMap<IpAddr, ()>,
    checks: BTreeMap<Arc<str>, crate::HealthCheck>,
    routes: BTreeMap<ipnet::IpNet, RouteTarget>,
}

fn apply<K: Ord + Debug + Clone, V: PartialEq + Debug + Clone>(table: &mut BTreeMap<K, V>, diff: Diff<K, V>) {
    for (key, value) in diff.upserts {
        assert_ne!(
            table.insert(key.clone(), value.clone()),
            Some(value),
            "{key:?} told though nothing changed"
        );
    }
    for key in diff.removals {
        assert!(table.remove(&key).is_some(), "{key:?} removed though it was not there");
    }
}

/// Compares the model with the whole computation.
fn compare(model: &mut Model, copy: &mut Replica, objects: &Objects, own: &Node, complete: bool) {
    let ranges = ranges();
    let (desired, changes) = model.update().unwrap();
    let nodes: BTreeSet<IpAddr> = desired.nodes.keys().copied().collect();
    let here =
        Here { name: "n1", zone: own.zone.as_deref(), addresses: &own.internal_ips, nodes, ranges: &ranges };
    let none = Objects { cidrs: objects.cidrs.clone(), ..Objects::default() };
    let want = all(if complete { objects } else { &none }, &here);
    assert_eq!((desired.services_complete, changes.services_complete), (complete, complete));
    apply(&mut copy.services, changes.services);
    apply(&mut copy.cidrs, changes.service_cidrs);
    apply(&mut copy.addresses, changes.service_addresses);
    apply(&mut copy.checks, changes.health_checks);
    apply(&mut copy.routes, changes.routes);
    assert_eq!((&*desired.services, &copy.services), (&want.services, &want.services));
    assert_eq!((&*desired.service_cidrs, &copy.cidrs), (&want.service_cidrs, &want.service_cidrs));
    assert_eq!(
        (&*desired.service_addresses, &copy.addresses),
        (&want.service_addresses, &want.service_addresses)
    );
    assert_eq!((&*desired.health_checks, &copy.checks), (&want.health_checks, &want.health_checks));
    assert_eq!(*desired.routes, copy.routes);
    let routes = desired.routes.iter().filter(|(_, target)| **target == RouteTarget::Services);
    assert!(routes.map(|(cidr, _)| cidr).eq(want.service_cidrs.keys()));
    let told: BTreeSet<String> = desired
        .problems()
        .filter(|problem| problem.what == "service")
        .map(|problem| problem.object.clone())
        .collect();
    assert_eq!(told, want.told);
    for service in objects.services.values() {
        check_view(model, service);
    }
    assert!(model.update().unwrap().1.is_empty());
}

/// What a person is told of a Service is what its row has.
fn check_view(model: &Model, service: &Arc<Service>) {
    let view = model.service_view(&service.id).unwrap();
    for port in &view.ports {
        let Some(row) = &port.row else { continue };
        let list = |is_in: &dyn Fn(&crate::EndpointView) -> bool| {
            let backend = |one: &crate::EndpointView| Some(Backend { address: one.address, port: one.port? });
            let mut list: Vec<Backend> =
                port.endpoints.iter().filter(|one| is_in(one)).filter_map(backend).collect();
            list.sort_unstable();
            list
        };
        assert_eq!(list(&|one| one.cluster.is_none()), *row.cluster);
        assert_eq!(list(&|one| one.local.is_none()), *row.local);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn tables_are_those_of_the_whole_computation(
        own in own_node(),
        steps in vec((step(), any::<bool>()), 1..40),
        complete_after in 0usize..10,
    ) {
        let mut model = Model::new("n1", ranges()).with_services(OPTIONS);
        let (mut copy, mut objects, mut own) = (Replica::default(), Objects::default(), own);
        model.upsert(&own);
        for (number, (step, update)) in steps.into_iter().enumerate() {
            match step {
                Step::Service(service) => {
                    model.upsert_service(&service);
                    objects.services.insert(service.id.to_string(), service);
                }
                Step::DeleteService(name) => {
                    let id = format!("shop/{name}");
                    model.delete_service(&id.as_str().into());
                    objects.services.remove(&id);
                }
                Step::Slice(slice) => {
                    model.upsert_slice(&Arc::new(slice.clone()));
                    objects.slices.insert(slice.key.clone(), slice);
                }
                Step::DeleteSlice(number) => {
                    let key = Key::namespaced("shop", &format!("e{number}"));
                    model.delete_slice(&key);
                    objects.slices.remove(&key);
                }
                Step::Cidr(number, cidr) => {
                    model.upsert_service_cidr(&cidr);
                    objects.cidrs.insert(Key::new(&format!("c{number}")), cidr);
                }
                Step::DeleteCidr(number) => {
                    let key = Key::new(&format!("c{number}"));
                    model.delete_service_cidr(&key);
                    objects.cidrs.remove(&key);
                }
                Step::Node(node) => {
                    model.upsert(&node);
                    if node.name == "n1" {
                        own = node;
                    }
                }
                Step::DeleteNode(number) => model.delete(&format!("n{number}")),
            }
            let complete = number >= complete_after;
            model.services_complete(complete);
            if update {
                compare(&mut model, &mut copy, &objects, &own, complete);
            }
        }
        model.services_complete(true);
        compare(&mut model, &mut copy, &objects, &own, true);
    }
}
