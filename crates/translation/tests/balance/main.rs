//! A Service's chains do what they are for: the load spreads, a Pod reaches itself, and while endpoints change or an
//! installation of midonet-kubernetes is taken over, every new connection finds an endpoint and is translated once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod midonet;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ::midonet::{Chain, FlowAction, NatTarget, Resource, Rule, RuleType};
use naming::{Tenant, sub_id};
use proptest::prelude::*;
use translation::{
    Endpoint, EndpointPort, EndpointSlice, Service, ServicePort, Translation, Translator, Wanted,
};
use uuid::Uuid;

use crate::midonet::{Chains, Packet, Translations};

const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
const PORT: u16 = 80;
const TARGET: u16 = 8080;
const CLIENT: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 1, 9, 9), 50_000);

fn main_chain() -> Uuid {
    Tenant::default().id("midonet-global", "chain")
}

fn pod(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, n)
}

/// What is wanted of the globals, and of a Service with these endpoints.
fn wanted(endpoints: &[u8]) -> (Vec<Translation>, Vec<Translation>) {
    let mut translator = Translator::new("midonetkube");
    translator.set_service(Service {
        namespace: "default".into(),
        name: "web".into(),
        cluster_ips: vec![CLUSTER_IP.to_string()],
        ports: vec![ServicePort { name: "http".into(), protocol: "TCP".into(), port: PORT }],
        ..Service::default()
    });
    let endpoint =
        |n: &u8| Endpoint { address: pod(*n).to_string(), ready: true, serving: true, terminating: false };
    translator.set_slice(EndpointSlice {
        namespace: "default".into(),
        name: "web-1".into(),
        service: "web".into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ports: vec![EndpointPort { name: "http".into(), protocol: "TCP".into(), port: TARGET }],
        ..EndpointSlice::default()
    });
    let mut sets = translator.take_changes().into_iter().map(|change| match change.wanted {
        Wanted::Set(set) => set,
        Wanted::Keep => panic!("nothing is known"),
    });
    (sets.next().unwrap(), sets.next().unwrap())
}

/// Posts all, in order.
fn push(chains: &mut Chains, translations: &[Translation]) {
    for resource in translations.iter().flat_map(|translation| &translation.resources) {
        assert!(chains.post(resource), "{resource:?} needs what is not there");
    }
}

fn to_service(source: (Ipv4Addr, u16)) -> Packet {
    Packet { source, destination: (CLUSTER_IP, PORT), protocol: 6 }
}

/// Where connections from there go. Each is translated once, and its answers come from the Service.
fn reached(chains: &Chains, source: (Ipv4Addr, u16)) -> BTreeSet<Ipv4Addr> {
    let reach = |pick| {
        let mut translations = Translations::default();
        let sent = to_service(source);
        let arrives = chains.pass(main_chain(), sent, pick, &mut translations);
        assert_eq!((translations.dnats, arrives.destination.1), (1, TARGET), "{arrives:?} from {chains:?}");
        let answer = chains.pass(main_chain(), arrives.answer(), 0, &mut translations);
        assert_eq!(answer, sent.answer(), "of {arrives:?}");
        arrives.destination.0
    };
    (0..12).map(reach).collect()
}

/// All that the chains are for, with these endpoints.
fn check(chains: &Chains, endpoints: &[u8]) {
    let all: BTreeSet<_> = endpoints.iter().map(|n| pod(*n)).collect();
    assert_eq!(reached(chains, CLIENT), all);
    for (pick, own) in all.iter().enumerate() {
        assert_eq!(reached(chains, (*own, 50_000)), all);
        let mut translations = Translations::default();
        let arrives = chains.pass(main_chain(), to_service((*own, 50_000)), pick, &mut translations);
        // The targets are in the addresses' order.
        assert_eq!(arrives.destination, (*own, TARGET));
        assert_eq!(arrives.source.0, CLUSTER_IP, "what a Pod sends to itself comes from the Service");
        let other = chains.pass(main_chain(), to_service((*own, 50_000)), pick + 1, &mut translations);
        assert_eq!(other.source.0 == *own, all.len() > 1, "what it sends to others comes from itself");
    }
    for destination in [(CLUSTER_IP, 81), (pod(1), TARGET), (Ipv4Addr::new(192, 0, 2, 1), PORT)] {
        for packet in [
            Packet { source: CLIENT, destination, protocol: 6 },
            Packet { source: CLIENT, destination: (CLUSTER_IP, PORT), protocol: 17 },
        ] {
            assert_eq!(chains.pass(main_chain(), packet, 0, &mut Translations::default()), packet);
        }
    }
}

#[test]
fn load_spreads_and_a_pod_reaches_itself() {
    for endpoints in [&[1][..], &[1, 2], &[1, 2, 3, 4]] {
        let (globals, service) = wanted(endpoints);
        let mut chains = Chains::default();
        push(&mut chains, &globals);
        push(&mut chains, &service);
        check(&chains, endpoints);
    }
}

#[test]
fn without_endpoints_nothing_is_translated() {
    let (globals, service) = wanted(&[]);
    let mut chains = Chains::default();
    push(&mut chains, &globals);
    push(&mut chains, &service);
    let packet = to_service(CLIENT);
    assert_eq!(chains.pass(main_chain(), packet, 0, &mut Translations::default()), packet);
}

/// What the original made of a Service with these endpoints: each endpoint's Translation with the last one's data.
fn legacy(endpoints: &[u8]) -> Vec<Translation> {
    let (tenant, (_, mut set)) = (Tenant::default(), wanted(endpoints));
    let service_chain = tenant.id("ServicePort", "default/web/http");
    let chain =
        |id, name: &str| Resource::top(Chain { id, tenant_id: "midonetkube".into(), name: name.into() });
    set.retain(|translation| !translation.name.starts_with("endpoints-dnat."));
    let last = pod(*endpoints.last().unwrap());
    let mut addresses = endpoints.iter().map(|n| pod(*n));
    for translation in &mut set {
        if translation.name.starts_with("service.") {
            translation.resources = vec![chain(service_chain, "KUBE-SVC-default/web/http")];
        } else if translation.name.starts_with("endpoints-port.") {
            let key = format!("web/http/{CLUSTER_IP}/{}/{TARGET}/TCP", addresses.next().unwrap());
            let id = tenant.id("Endpoint", &key);
            let nat = |part, rule_type, action, to, from, until| Rule {
                flow_action: Some(action),
                nat_targets: Some(vec![NatTarget {
                    address_from: to,
                    address_to: to,
                    port_from: from,
                    port_to: until,
                }]),
                ..Rule::new(sub_id(&id, part), rule_type)
            };
            let snat = Rule {
                dl_type: Some(0x800),
                nw_src_address: Some(last),
                nw_src_length: 32,
                ..nat("SNAT", RuleType::Snat, FlowAction::Continue, CLUSTER_IP, 30_000, 60_000)
            };
            translation.resources = vec![
                chain(id, &format!("KUBE-SEP-{key}")),
                Resource::of(service_chain, Rule::jump(sub_id(&id, "Jump to Endpoint"), id)),
                Resource::of(id, nat("DNAT", RuleType::Dnat, FlowAction::Accept, last, TARGET, TARGET)),
                Resource::of(id, snat),
            ];
        }
    }
    set
}

/// Pushes a Service's new Translations in place of the old ones, and looks after each request.
fn replace(chains: &mut Chains, old: &[Translation], new: &[Translation], mut look: impl FnMut(&Chains)) {
    let path = |resource: &Resource| resource.item_path();
    for translation in new {
        let before = old.iter().find(|other| other.name == translation.name);
        for resource in &translation.resources {
            assert!(chains.post(resource), "{resource:?}");
            look(chains);
        }
        let kept: BTreeSet<_> = translation.resources.iter().map(path).collect();
        for resource in before.into_iter().flat_map(|before| &before.resources) {
            if !kept.contains(&path(resource)) {
                chains.delete(resource);
                look(chains);
            }
        }
    }
    for gone in old.iter().filter(|old| new.iter().all(|new| new.name != old.name)) {
        for resource in &gone.resources {
            chains.delete(resource);
            look(chains);
        }
    }
}

#[test]
fn the_original_is_taken_over_without_an_outage() {
    for endpoints in [&[1][..], &[1, 2], &[1, 2, 3]] {
        let (globals, new) = wanted(endpoints);
        let old = legacy(endpoints);
        let mut chains = Chains::default();
        push(&mut chains, &globals);
        push(&mut chains, &old);
        let all: BTreeSet<_> = endpoints.iter().map(|n| pod(*n)).collect();
        assert_eq!(reached(&chains, CLIENT), [pod(*endpoints.last().unwrap())].into());
        replace(&mut chains, &old, &new, |chains| assert!(reached(chains, CLIENT).is_subset(&all)));
        check(&chains, endpoints);
        let mut fresh = Chains::default();
        push(&mut fresh, &globals);
        push(&mut fresh, &new);
        check(&fresh, endpoints);
    }
}

/// Pushes the Translations in this order until all are there, as a pusher does that tries again what fails. Where a
/// resource cannot be posted, those after it in its Translation wait. This one cannot when it is first tried.
fn push_in_any_order(chains: &mut Chains, translations: &[&Translation], late: Option<&Resource>) {
    let (mut waiting, mut late) = (translations.to_vec(), late);
    while !waiting.is_empty() {
        waiting.retain(|translation| {
            !translation.resources.iter().all(|resource| {
                let fails = late.take_if(|late| late == &resource).is_some();
                !fails && chains.post(resource)
            })
        });
    }
}

/// All orders of this many numbers.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![vec![]] };
    let with_last = |order: Vec<usize>| {
        (0..count).map(move |at| {
            let mut order = order.clone();
            order.insert(at, last);
            order
        })
    };
    orders(last).into_iter().flat_map(with_last).collect()
}

/// Every order of a Service's Translations, and in each any one resource that is posted late.
#[test]
fn neither_the_order_of_translations_nor_a_late_resource_matters() {
    let (globals, service) = wanted(&[1, 2]);
    let resources: Vec<_> = service.iter().flat_map(|translation| &translation.resources).collect();
    let orders = orders(service.len());
    assert_eq!(orders.len(), 120);
    for order in orders {
        let translations: Vec<_> = order.iter().map(|n| &service[*n]).collect();
        for late in std::iter::once(None).chain(resources.iter().copied().map(Some)) {
            let mut chains = Chains::default();
            push(&mut chains, &globals);
            push_in_any_order(&mut chains, &translations, late);
            check(&chains, &[1, 2]);
        }
    }
}

proptest! {
    #[test]
    fn endpoints_change_without_an_outage(
        steps in prop::collection::vec(prop::collection::btree_set(1..6u8, 1..5), 2..6)
    ) {
        let lists: Vec<Vec<u8>> = steps.into_iter().map(|set| set.into_iter().collect()).collect();
        let mut chains = Chains::default();
        push(&mut chains, &wanted(&[]).0);
        push(&mut chains, &wanted(&lists[0]).1);
        for pair in lists.windows(2) {
            let all: BTreeSet<_> = pair.concat().into_iter().map(pod).collect();
            let (old, new) = (wanted(&pair[0]).1, wanted(&pair[1]).1);
            replace(&mut chains, &old, &new, |chains| assert!(reached(chains, CLIENT).is_subset(&all)));
            check(&chains, &pair[1]);
        }
    }

    /// A pusher that starts with an empty MidoNet has the Translations in any order, and tries again what fails.
    #[test]
    fn the_order_of_translations_does_not_matter(
        order in Just((0..13).collect::<Vec<usize>>()).prop_shuffle(), from in prop::collection::btree_set(1..5u8, 1..5),
        late in any::<prop::sample::Index>(),
    ) {
        let endpoints: Vec<_> = from.into_iter().collect();
        let (globals, service) = wanted(&endpoints);
        let all: Vec<_> = globals.into_iter().chain(service).collect();
        let translations: Vec<_> = order.into_iter().filter_map(|n| all.get(n)).collect();
        prop_assert_eq!(translations.len(), all.len());
        let resources: Vec<_> = all.iter().flat_map(|translation| &translation.resources).collect();
        let mut chains = Chains::default();
        push_in_any_order(&mut chains, &translations, Some(*late.get(&resources)));
        check(&chains, &endpoints);
    }
}
