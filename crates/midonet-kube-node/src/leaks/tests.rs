use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use cni::Attachment;
use datapath::Limits;
use ipam::Reserved;
use naming::alias::PortAlias;
use naming::{Mac, PodKey, pod_host_interface};
use proptest::prelude::*;

use super::classify::{ABANDONED, Classified, Interface, Snapshot, classify};
use crate::backend::{Owner, PortRecord};
use crate::leak::Kind;

const MINUTE: Duration = Duration::from_secs(60);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn address(family: u8, number: u8) -> IpAddr {
    let text = if family == 4 { format!("10.244.1.{number}") } else { format!("fd44:0:0:1::{number:x}") };
    text.parse().unwrap()
}

fn alias(container: &str) -> PortAlias {
    PortAlias {
        pod: PodKey::new("default", format!("pod-{container}")),
        container_id: container.into(),
        ifname: "eth0".into(),
        pod_uid: None,
        network: None,
    }
}

fn reserved(address: IpAddr, container: &str, age: Duration) -> Reserved {
    let owner = Attachment { container_id: container.into(), ifname: "eth0".into() };
    let modified = now() - age;
    Reserved { address, owner: Some(owner), container_id: container.into(), modified }
}

/// What an old host-local, or an interrupted one, wrote.
fn bare(address: IpAddr, content: &str, age: Duration) -> Reserved {
    Reserved { owner: None, ..reserved(address, content, age) }
}

fn interface(ifindex: u32, container: &str) -> Interface {
    let owner = alias(container);
    Interface {
        name: pod_host_interface(&owner.pod),
        ifindex,
        up: true,
        owner: Some(owner),
        portless: Duration::ZERO,
    }
}

fn port(ifindex: u32, container: &str, addresses: &[IpAddr]) -> PortRecord {
    let alias = alias(container);
    PortRecord {
        host_ifname: pod_host_interface(&alias.pod),
        owner: Owner::Known(alias),
        host_ifindex: ifindex,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        addresses: addresses.to_vec(),
        limits: Limits::default(),
        host_ports: Vec::new(),
    }
}

fn snapshot(reserved: Vec<Reserved>, interfaces: Vec<Interface>, ports: Vec<PortRecord>) -> Snapshot {
    Snapshot { reserved: Some(reserved), interfaces, ports, now: now(), boot: now() - 60 * MINUTE }
}

/// For IPv4, IPv6 and both at once.
fn families() -> [Vec<IpAddr>; 3] {
    let (v4, v6) = (address(4, 3), address(6, 3));
    [vec![v4], vec![v6], vec![v4, v6]]
}

fn kinds(classified: &Classified) -> Vec<Kind> {
    classified.leaks.iter().map(|leak| leak.kind).collect()
}

#[test]
fn what_belongs_together_is_left_alone() {
    for addresses in families() {
        for age in [Duration::ZERO, 5 * MINUTE, 30 * MINUTE, 90 * MINUTE] {
            let whole = addresses.iter().map(|a| reserved(*a, "a", age)).collect();
            let old_format = addresses.iter().map(|a| bare(*a, "a", age)).collect();
            for reserved in [whole, old_format] {
                let ports = vec![port(7, "a", &addresses)];
                let snapshot = snapshot(reserved, vec![interface(7, "a")], ports);
                assert_eq!(classify(&snapshot), Classified::default(), "{snapshot:?}");
            }
        }
    }
}

#[test]
fn an_address_comes_free_when_no_add_can_be_under_way() {
    let long =
        |container: &str| PortAlias { pod: PodKey::new("n".repeat(63), "p".repeat(253)), ..alias(container) };
    let shortened = PortAlias::parse(&long("a").encode()).unwrap();
    assert!(!shortened.is_whole());
    let of = |owner: Option<PortAlias>| Interface { owner, ..interface(7, "a") };
    let (other_ifname, nameless) = (
        PortAlias { ifname: "net1".into(), ..alias("a") },
        PortAlias { pod: PodKey::new("cni", "a"), ..alias("a") },
    );
    for addresses in families() {
        // Interfaces that live, the age of the files, whether an interface is named, and whether the files go.
        for (interfaces, age, stale) in [
            (vec![], Duration::ZERO, false),
            (vec![], 4 * MINUTE, false),
            (vec![], ABANDONED, false),
            (vec![], 11 * MINUTE, true),
            (vec![], 61 * MINUTE, true),
            (vec![interface(8, "b")], 11 * MINUTE, true),
            (vec![of(Some(other_ifname.clone()))], 11 * MINUTE, true),
            (vec![of(Some(nameless.clone()))], 61 * MINUTE, false),
            (vec![of(Some(shortened.clone()))], 61 * MINUTE, false),
            // An alias that somebody changed: it may be this container's.
            (vec![interface(8, "b"), of(None)], 61 * MINUTE, false),
        ] {
            let files: Vec<_> = addresses.iter().map(|a| reserved(*a, "a", age)).collect();
            let classified = classify(&snapshot(files.clone(), interfaces.clone(), vec![]));
            let want = if stale { files } else { vec![] };
            assert_eq!(
                classified,
                Classified { release: want, ..Classified::default() },
                "{interfaces:?} {age:?}"
            );
        }
    }
}

#[test]
fn old_and_torn_files_go_by_what_they_say() {
    for (content, interfaces, stale) in [
        ("", vec![interface(7, "a")], true),
        ("a", vec![interface(7, "a")], false),
        ("a", vec![interface(7, "b")], true),
        ("a\r", vec![], true),
    ] {
        for age in [MINUTE, 11 * MINUTE] {
            let files = vec![bare(address(4, 9), content, age), bare(address(6, 9), content, age)];
            let classified = classify(&snapshot(files.clone(), interfaces.clone(), vec![]));
            let want = if stale && age > ABANDONED { files } else { vec![] };
            assert_eq!(classified.release, want, "{content:?} {age:?}");
        }
    }
}

#[test]
fn after_a_restart_of_the_node_what_is_older_goes_at_once() {
    let of_before = reserved(address(4, 3), "a", 2 * MINUTE);
    let of_now = reserved(address(6, 3), "b", Duration::from_secs(10));
    let snapshot =
        Snapshot { boot: now() - MINUTE, ..snapshot(vec![of_before.clone(), of_now], vec![], vec![]) };
    assert_eq!(classify(&snapshot).release, [of_before]);
}

#[test]
fn an_address_that_still_passes_packets_is_not_given_back() {
    for addresses in families() {
        let files = addresses.iter().map(|a| reserved(*a, "a", 30 * MINUTE)).collect();
        // The interface is gone, its port is about to be released.
        let classified = classify(&snapshot(files, vec![], vec![port(7, "a", &addresses)]));
        assert_eq!(classified, Classified::default());
    }
}

#[test]
fn a_file_of_the_future_is_told() {
    let file = Reserved { modified: now() + 60 * MINUTE, ..reserved(address(6, 3), "a", MINUTE) };
    let classified = classify(&snapshot(vec![file], vec![], vec![]));
    assert_eq!((classified.release.len(), kinds(&classified)), (0, vec![Kind::AddressWithoutContainer]));
}

#[test]
fn a_containers_address_is_reserved_again() {
    for addresses in families() {
        let port = port(7, "a", &addresses);
        let lost: Vec<_> = addresses.iter().map(|a| (*a, port.clone())).collect();
        let empty = addresses.iter().map(|a| bare(*a, "", 30 * MINUTE)).collect();
        for files in [vec![], empty] {
            let classified = classify(&snapshot(files, vec![interface(7, "a")], vec![port.clone()]));
            assert_eq!(classified, Classified { reserve: lost.clone(), ..Classified::default() });
        }
        // Another network's are reserved elsewhere.
        let owner = Some(PortAlias { network: Some("other".into()), ..alias("a") });
        let elsewhere = Interface { owner, ..interface(7, "a") };
        let classified = classify(&snapshot(vec![], vec![elsewhere], vec![port.clone()]));
        assert_eq!(classified, Classified::default());
        // Without its interface it is no container's.
        let classified = classify(&snapshot(vec![], vec![interface(8, "a")], vec![port.clone()]));
        assert_eq!(classified, Classified::default());
    }
}

#[test]
fn who_has_anothers_address_is_told_and_nothing_is_touched() {
    for addresses in families() {
        for holder in [reserved(addresses[0], "b", 30 * MINUTE), bare(addresses[0], "b", MINUTE)] {
            let mut files: Vec<_> = addresses.iter().map(|a| reserved(*a, "a", MINUTE)).collect();
            files[0] = holder;
            let ports = vec![port(7, "a", &addresses)];
            let classified = classify(&snapshot(files, vec![interface(7, "a")], ports));
            assert_eq!(kinds(&classified), [Kind::AddressConflict]);
            let told = &classified.leaks[0];
            assert!(told.object.contains(&addresses[0].to_string()) && told.object.contains("default/pod-a"));
            assert!(told.reason.contains("container b"), "{told:?}");
            assert_eq!(classified, Classified { leaks: classified.leaks.clone(), ..Classified::default() });
        }
    }
}

#[test]
fn an_interface_without_a_port_goes_if_it_never_was_up_and_is_told_if_it_is() {
    for owner in [Some(alias("a")), None] {
        for (up, portless, removed, told) in [
            (false, Duration::ZERO, false, false),
            (false, 4 * MINUTE, false, false),
            (false, 11 * MINUTE, true, false),
            (true, Duration::ZERO, false, false),
            (true, MINUTE, false, true),
            (true, 11 * MINUTE, false, true),
        ] {
            let it = Interface { up, portless, owner: owner.clone(), ..interface(7, "a") };
            for reserved in [Some(vec![]), None] {
                let snapshot = Snapshot { reserved, ..snapshot(vec![], vec![it.clone()], vec![]) };
                let classified = classify(&snapshot);
                assert_eq!(classified.remove, if removed { vec![it.clone()] } else { vec![] }, "{it:?}");
                assert_eq!(kinds(&classified), if told { vec![Kind::InterfaceWithoutPort] } else { vec![] });
            }
        }
    }
}

#[test]
fn addresses_that_somebody_else_keeps_are_not_looked_at() {
    let ports = vec![port(7, "a", &families()[2])];
    let snapshot = Snapshot { reserved: None, ..snapshot(vec![], vec![interface(7, "a")], ports) };
    assert_eq!(classify(&snapshot), Classified::default());
}

/// A few containers, addresses and interfaces that fit together or do not.
fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let container = || prop::sample::select(vec!["a", "b", "c", ""]);
    let age = || (0u64..30).prop_map(|minutes| Duration::from_secs(minutes * 60));
    let any_address =
        || (prop::sample::select(vec![4u8, 6]), 3u8..7).prop_map(|(family, n)| address(family, n));
    let file =
        (any_address(), container(), age(), any::<bool>()).prop_map(|(address, container, age, whole)| {
            if whole && !container.is_empty() {
                reserved(address, container, age)
            } else {
                bare(address, container, age)
            }
        });
    let link = (1u32..6, container(), any::<bool>(), age()).prop_map(|(ifindex, container, up, portless)| {
        let owner = (!container.is_empty()).then(|| alias(container));
        Interface { up, portless, owner, ..interface(ifindex, container) }
    });
    let containers = prop::sample::select(vec!["a", "b", "c"]);
    let committed = (1u32..6, containers, prop::collection::btree_set(any_address(), 1..3))
        .prop_map(|(ifindex, container, addresses)| port(ifindex, container, &Vec::from_iter(addresses)));
    let boot = (0u64..60).prop_map(|minutes| now() - Duration::from_secs(minutes * 60));
    (
        prop::collection::vec(file, 0..6),
        prop::collection::vec(link, 0..5),
        prop::collection::vec(committed, 0..4),
        boot,
    )
        .prop_map(|(mut files, mut interfaces, mut ports, boot)| {
            files.sort_by_key(|file| file.address);
            files.dedup_by_key(|file| file.address);
            interfaces.sort_by_key(|interface| interface.ifindex);
            interfaces.dedup_by_key(|interface| interface.ifindex);
            ports.sort_by_key(|port| port.host_ifindex);
            ports.dedup_by_key(|port| port.host_ifindex);
            // The datapath has each address once.
            let mut seen = std::collections::BTreeSet::new();
            ports.iter_mut().for_each(|port| port.addresses.retain(|address| seen.insert(*address)));
            for interface in &mut interfaces {
                if ports.iter().any(|port| port.host_ifindex == interface.ifindex) {
                    interface.portless = Duration::ZERO;
                }
            }
            Snapshot { boot, ..snapshot(files, interfaces, ports) }
        })
}

/// The node after the repairs.
fn repaired(before: &Snapshot, classified: &Classified) -> Snapshot {
    let mut after = before.clone();
    let files = after.reserved.get_or_insert_default();
    files.retain(|file| !classified.release.contains(file));
    for (address, port) in &classified.reserve {
        files.retain(|file| file.address != *address);
        files.push(reserved(*address, &port.alias().container_id, Duration::ZERO));
    }
    after.interfaces.retain(|interface| !classified.remove.contains(interface));
    after
}

proptest! {
    #[test]
    fn no_repair_takes_what_somebody_uses(snapshot in any_snapshot()) {
        let classified = classify(&snapshot);
        let owners: Vec<_> = snapshot.interfaces.iter().map(|i| i.owner.clone()).collect();
        for file in &classified.release {
            prop_assert!(file.modified < snapshot.boot || now() - ABANDONED > file.modified);
            prop_assert!(owners.iter().flatten().all(|owner| owner.container_id != file.container_id));
            prop_assert!(!owners.contains(&None));
            prop_assert!(snapshot.ports.iter().all(|port| !port.addresses.contains(&file.address)));
        }
        for (address, port) in &classified.reserve {
            prop_assert!(port.addresses.contains(address));
            let files = snapshot.reserved.iter().flatten();
            prop_assert!(files.filter(|file| file.address == *address).all(|file| file.container_id.is_empty()));
        }
        for interface in &classified.remove {
            prop_assert!(!interface.up && interface.portless > ABANDONED);
        }
    }

    #[test]
    fn after_the_repairs_there_is_nothing_to_repair(snapshot in any_snapshot()) {
        // An interface that goes sets its container's addresses free.
        let once = repaired(&snapshot, &classify(&snapshot));
        let twice = repaired(&once, &classify(&once));
        let Classified { release, reserve, remove, .. } = classify(&twice);
        prop_assert_eq!((release, reserve, remove), (vec![], vec![], vec![]));
    }
}
