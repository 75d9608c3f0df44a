use midonet::{Bridge, Chain, Port, PortType, TunnelZoneHost};
use translation::OwnerReference;

use super::*;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn bridge(number: u128) -> Resource {
    let name = number.to_string();
    Resource::top(Bridge {
        id: id(number),
        tenant_id: "t".into(),
        name,
        inbound_filter_id: None,
        outbound_filter_id: None,
    })
}

fn port(bridge: u128, number: u128) -> Resource {
    let port = Port {
        id: id(number),
        port_type: PortType::Bridge,
        port_subnet: Vec::new(),
        port_mac: None,
        inbound_filter_id: None,
        outbound_filter_id: None,
    };
    Resource::of(id(bridge), port)
}

fn stored(name: &str, version: u64, resources: &[Resource]) -> Stored {
    Stored {
        key: Key::namespaced("default", name),
        uid: format!("uid-{name}"),
        version: version.to_string(),
        owner: OwnedBy::Uid("o".into()),
        reference: None,
        finalizers: vec![translation::FINALIZER.into()],
        deleting: false,
        resources: resources.iter().map(Entry::from).collect(),
        replaced: Box::default(),
    }
}

fn key(name: &str) -> Key {
    Key::namespaced("default", name)
}

#[test]
fn an_older_state_does_not_count_but_another_object_does() {
    let mut inventory = Inventory::default();
    assert!(inventory.upsert(stored("a", 5, &[]).into()));
    assert!(!inventory.upsert(stored("a", 4, &[bridge(1)]).into()));
    assert!(!inventory.upsert(stored("a", 5, &[]).into()));
    assert!(inventory.upsert(stored("a", 6, &[bridge(1)]).into()));
    assert!(inventory.upsert(Stored { uid: "another".into(), ..stored("a", 3, &[]) }.into()));
    assert_eq!(inventory.get(&key("a")).unwrap().version, "3");
}

#[test]
fn what_another_translation_wants_is_not_unclaimed() {
    let mut inventory = Inventory::default();
    let host = |address: u8| {
        Resource::of(id(1), TunnelZoneHost { host_id: id(2), ip_address: [192, 0, 2, address].into() })
    };
    // Two Translations of one path: an address changed.
    inventory.upsert(stored("old", 1, &[host(1), bridge(9)]).into());
    inventory.upsert(stored("new", 1, &[host(2)]).into());
    assert!(inventory.unclaimed(vec![host(1), bridge(9)]).is_empty());
    inventory.upsert(Stored { deleting: true, ..stored("old", 2, &[host(1), bridge(9)]) }.into());
    assert_eq!(inventory.unclaimed(vec![host(1), bridge(9)]), [bridge(9)]);
    inventory.remove(&key("new"));
    assert_eq!(inventory.unclaimed(vec![host(1)]).len(), 1);
    assert_eq!((inventory.claims.len(), inventory.len()), (0, 1));
}

#[test]
fn who_makes_and_who_needs_a_device_is_known() {
    let mut inventory = Inventory::default();
    inventory.upsert(stored("node", 1, &[bridge(1), port(1, 2)]).into());
    inventory.upsert(stored("pod", 1, &[port(1, 3)]).into());
    inventory.upsert(stored("other", 1, &[port(7, 4)]).into());
    assert_eq!(inventory.dependent_on(&key("node")), [key("pod")]);
    assert_eq!(inventory.needed_by(&key("pod")), [key("node")]);
    assert!(inventory.needed_by(&key("node")).is_empty());
    inventory.remove(&key("pod"));
    assert!(inventory.dependent_on(&key("node")).is_empty());
    inventory.remove(&key("node"));
    inventory.remove(&key("other"));
    let Inventory { records, owners, endpoints, claims, makers, dependents } = inventory;
    assert!(records.is_empty() && owners.is_empty() && endpoints.is_empty());
    assert!(claims.is_empty() && makers.is_empty() && dependents.is_empty());
}

#[test]
fn those_of_endpoints_are_found_by_the_service() {
    let mut inventory = Inventory::default();
    let reference = OwnerReference {
        kind: "Endpoints".into(),
        name: "web".into(),
        uid: "e".into(),
        ..OwnerReference::default()
    };
    inventory.upsert(Stored { reference: Some(reference), ..stored("a", 1, &[]) }.into());
    assert_eq!(inventory.of_endpoints(&key("web")).count(), 1);
    assert_eq!(inventory.of(&OwnedBy::Uid("o".into())).count(), 1);
    assert_eq!(inventory.of(&OwnedBy::Globals).count(), 0);
    inventory.remove(&key("a"));
    assert_eq!(inventory.of_endpoints(&key("web")).count(), 0);
}

#[test]
fn a_round_goes_through_all_names() {
    let mut inventory = Inventory::default();
    for name in ["a", "b", "c"] {
        inventory.upsert(stored(name, 1, &[]).into());
    }
    assert_eq!(inventory.after(None, 2), [key("a"), key("b")]);
    assert_eq!(inventory.after(Some(&key("b")), 2), [key("c")]);
    let chain = Chain { id: id(5), tenant_id: "t".into(), name: "c".into() };
    let unreadable = Entry { body: "{".into(), ..Entry::from(&Resource::top(chain)) };
    assert!(readable(&[unreadable]).is_empty());
}
