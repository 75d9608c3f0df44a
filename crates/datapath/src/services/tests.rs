//! The writer on real maps, against what a naive reading of the rows says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::maps::MapData;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::layout::services::{
    Backend as RawBackend, Choices, List, RangeKey, SERVICE_ADDRESS, SERVICE_REFUSE, Service, ServiceKey,
};
use crate::support::{options, sandbox};
use crate::sys::RawMap;
use crate::{Datapath, Error};

/// The maps, read by the names of their pins.
struct Read(std::path::PathBuf);

impl Read {
    fn new(bpffs: &Path) -> Self {
        Self(options(bpffs).pin_dir.join("maps"))
    }

    fn map(&self, name: &str) -> RawMap {
        RawMap::new(MapData::from_pin(self.0.join(format!("{name}-v1"))).unwrap()).unwrap()
    }

    fn all<K: bytemuck::Pod + Ord, V: bytemuck::Pod>(&self, name: &str) -> BTreeMap<K, V> {
        let entries = self.map(name).entries().unwrap();
        let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
            (bytemuck::pod_read_unaligned(key), bytemuck::pod_read_unaligned(value))
        };
        entries.iter().map(read).collect()
    }

    fn services(&self) -> BTreeMap<ServiceKey, Service> {
        self.all("services")
    }

    /// The backends of a list; its table, if it has one, must be theirs.
    fn list(&self, list: List) -> Vec<Backend> {
        let (slots, choices) = (self.map("backends"), self.map("choices"));
        let slot = |slot: u32| slots.get(&slot.to_ne_bytes()).unwrap().unwrap();
        let block = |block: u32| choices.get(&block.to_ne_bytes()).unwrap().unwrap();
        let backends =
            (list.first..list.first + list.count).map(|index| bytemuck::pod_read_unaligned(&slot(index)));
        let blocks = list.table..list.table + maglev::blocks(list.size);
        let blocks = blocks.map(|index| bytemuck::pod_read_unaligned(&block(index)));
        decode(list, &backends.collect::<Vec<_>>(), &blocks.collect::<Vec<_>>())
    }

    /// The slots and blocks that are not zero, and the range sets.
    fn used(&self) -> [usize; 3] {
        let slots = self.all::<u32, RawBackend>("backends");
        let blocks = self.all::<u32, Choices>("choices");
        [
            slots.values().filter(|slot| **slot != RawBackend::default()).count(),
            blocks.values().filter(|block| **block != Choices::default()).count(),
            self.all::<RangeKey, u32>("source_ranges").len(),
        ]
    }

    fn is_served(&self, protocol: Protocol, port: u16) -> bool {
        let bit = served::Bit::new(protocol, port);
        self.all::<u32, u64>("served_ports")[&bit.word()] & bit.mask() != 0
    }
}

/// The backends of a list by what is in its slots and blocks.
fn decode(list: List, slots: &[RawBackend], blocks: &[Choices]) -> Vec<Backend> {
    let mut table: Vec<u16> = blocks.iter().flat_map(|block| block.slots).collect();
    table.truncate(list.size as usize);
    assert_eq!(list.size > 0, list.count > 32);
    assert_eq!(table, maglev::table(&lists::addresses(slots), list.size));
    let backend = |raw: &RawBackend| {
        let port = u16::from_be_bytes(raw.port);
        assert_eq!(*raw, hash::raw(raw.address, port));
        Backend { address: raw.address.into(), port }
    };
    slots.iter().map(backend).collect()
}

fn key(name: &str, protocol: Protocol, family: Family) -> ServicePortKey {
    ServicePortKey { service: format!("default/{name}").into(), port: "".into(), protocol, family }
}

fn address(family: Family, host: u32) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4((0x0a60_0000 + host).into()),
        Family::V6 => IpAddr::V6(((0xfd00_u128 << 112) + u128::from(host)).into()),
    }
}

fn backends(family: Family, hosts: impl IntoIterator<Item = u32>) -> Arc<[Backend]> {
    hosts.into_iter().map(|host| Backend { address: address(family, 0x1000 + host), port: 8080 }).collect()
}

/// A row with a ClusterIP.
fn cluster_ip(family: Family, host: u32, backends: Arc<[Backend]>) -> ServicePort {
    ServicePort {
        frontends: vec![frontend(FrontendKind::ClusterIp, Some(address(family, host)), 80)],
        refuse: backends.is_empty(),
        cluster: backends,
        local: Arc::default(),
        affinity: None,
        source_ranges: None,
    }
}

fn frontend(kind: FrontendKind, address: Option<IpAddr>, port: u16) -> Frontend {
    Frontend { kind, address, port, inside: Policy::Cluster, outside: Policy::Cluster }
}

/// What the maps must say of rows, when no two want one frontend: lists by their backends, ranges by their prefixes.
fn check(read: &Read, services: &Services, rows: &BTreeMap<ServicePortKey, ServicePort>) {
    let found = read.services();
    let ranges = read.all::<RangeKey, u32>("source_ranges");
    let slots: Vec<RawBackend> = read.all::<u32, _>("backends").into_values().collect();
    let blocks: Vec<Choices> = read.all::<u32, _>("choices").into_values().collect();
    let served = read.all::<u32, u64>("served_ports");
    let part = |first: u32, count: u32| first as usize..(first + count) as usize;
    let contents = |list: List| {
        let blocks = &blocks[part(list.table, maglev::blocks(list.size))];
        decode(list, &slots[part(list.first, list.count)], blocks)
    };
    let mut expected = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (key, port) in rows {
        let number = services.number(key).unwrap();
        assert!(numbers.insert(number) && services.by_number(number) == Some(key));
        for one in &port.frontends {
            let scope = match (one.address, one.kind) {
                (Some(_), _) => 0,
                (None, FrontendKind::HostPort) => 2,
                (None, _) => 1,
            };
            let anywhere = if key.family == Family::V4 { "0.0.0.0" } else { "::" }.parse().unwrap();
            let raw = ServiceKey {
                address: one.address.unwrap_or(anywhere).into(),
                port: one.port.to_be_bytes(),
                protocol: key.protocol.number(),
                scope,
            };
            let value = found.get(&raw).unwrap_or_else(|| panic!("{key}: {one:?} is missing"));
            assert_eq!((value.number, value.affinity), (number, port.affinity.unwrap_or(0)));
            assert_eq!(value.flags == SERVICE_REFUSE, port.refuse);
            assert_eq!(contents(value.inside), *port.list(one.inside), "{key}: {one:?}");
            assert_eq!(contents(value.outside), *port.list(one.outside), "{key}: {one:?}");
            let limited = port.source_ranges.as_ref().filter(|_| one.kind == FrontendKind::LoadBalancer);
            assert_eq!(value.ranges > 0, limited.is_some());
            let count =
                ranges.keys().filter(|range| value.ranges > 0 && range.ranges == value.ranges).count();
            assert_eq!(count, limited.map_or(0, |ranges| ranges.len()));
            expected.insert(raw);
            if let Some(address) = one.address.filter(|_| one.kind != FrontendKind::HostPort) {
                let mark = ServiceKey { address: address.into(), ..ServiceKey::default() };
                assert_eq!((found[&mark].flags, found[&mark].number), (SERVICE_ADDRESS, 0));
                expected.insert(mark);
            }
            let bit = served::Bit::new(key.protocol, one.port);
            let is_served = served[&bit.word()] & bit.mask() != 0;
            assert!(one.kind == FrontendKind::ClusterIp || is_served, "{one:?}");
        }
        assert!(services.is_whole(key).unwrap(), "{key}");
    }
    assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), expected);
}

/// What is in use does not change, and what was is zero after a while.
fn settle(services: &mut Services) {
    std::thread::sleep(GRACE + Duration::from_millis(10));
    services.collect().unwrap();
}

#[test]
fn rows_are_in_the_maps_as_they_were_given() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let read = Read::new(bpffs);
        let mut rows = BTreeMap::new();
        for family in [Family::V4, Family::V6] {
            for (protocol, host) in Protocol::ALL.into_iter().zip(1..) {
                let all = backends(family, [1, 2, 3]);
                let local =
                    Frontend { outside: Policy::Local, ..frontend(FrontendKind::NodePort, None, 30_000) };
                let port = ServicePort {
                    frontends: vec![
                        frontend(FrontendKind::ClusterIp, Some(address(family, host)), 80),
                        local,
                        frontend(FrontendKind::LoadBalancer, Some(address(family, 100 + host)), 80),
                        frontend(FrontendKind::ExternalIp, Some(address(family, 200 + host)), 8080),
                    ],
                    local: backends(family, [2]),
                    affinity: Some(10_800),
                    source_ranges: Some([ipnet::IpNet::from(address(family, 7))].into()),
                    ..cluster_ip(family, host, all)
                };
                rows.insert(key("all", protocol, family), port);
            }
        }
        let services = datapath.services();
        assert!(services.set_all(&rows).is_empty());
        check(&read, services, &rows);
        assert_eq!(read.used(), [6 * 4, 0, 6]);
        // Without changes nothing is written anywhere else.
        let before = read.services();
        assert!(services.set_all(&rows).is_empty());
        settle(services);
        assert_eq!(read.services(), before);
        // A change of what is no list writes no list.
        let one = rows.first_entry().unwrap().into_mut();
        one.affinity = None;
        one.refuse = true;
        let (lists, changed) = (read.used(), rows.first_key_value().unwrap());
        services.set(changed.0, changed.1).unwrap();
        let after = read.services();
        assert_eq!(after.iter().filter(|(key, value)| before[key] != **value).count(), 4);
        assert!(after.iter().all(|(key, value)| value.inside == before[key].inside));
        settle(services);
        assert_eq!(read.used(), lists);
        check(&read, services, &rows);
        for key in rows.keys() {
            services.remove(key).unwrap();
            services.remove(key).unwrap();
        }
        settle(services);
        assert_eq!((read.services(), read.used()), (BTreeMap::new(), [0; 3]));
        assert!(read.all::<u32, u64>("served_ports").values().all(|word| *word == 0));
    });
}

/// One of two lists is read all the time while it changes: it is always one of the two.
#[test]
fn a_changing_list_is_never_half_of_it() {
    sandbox(|bpffs| {
        let options = crate::Options { max_backends: 16_384, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let read = Read::new(bpffs);
        for family in [Family::V4, Family::V6] {
            let key = key("changes", Protocol::Tcp, family);
            let lists = [backends(family, 0..10), backends(family, 5..12)];
            let rows = lists.clone().map(|list| cluster_ip(family, 1, list));
            let services = datapath.services();
            services.set(&key, &rows[0]).unwrap();
            let mut seen = 0;
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    for row in rows.iter().cycle().take(300) {
                        services.set(&key, row).unwrap();
                    }
                });
                let (map, slots) = (read.map("services"), read.map("backends"));
                let contents = |list: List| {
                    let slot = |slot: u32| slots.get(&slot.to_ne_bytes()).unwrap().unwrap();
                    let slots = (list.first..list.first + list.count).map(slot);
                    slots.map(|slot| bytemuck::pod_read_unaligned(&slot)).collect::<Vec<RawBackend>>()
                };
                let lists = lists.map(|list| writer::to_raw(&list).collect::<Vec<_>>());
                let frontend = ServiceKey {
                    address: address(family, 1).into(),
                    port: 80u16.to_be_bytes(),
                    protocol: 6,
                    scope: 0,
                };
                while !writer.is_finished() {
                    let begun = Instant::now();
                    let value = map.get(bytemuck::bytes_of(&frontend)).unwrap().expect("never missing");
                    let list = contents(bytemuck::pod_read_unaligned::<Service>(&value).inside);
                    // A program is never so slow.
                    if begun.elapsed() < GRACE {
                        assert!(lists.contains(&list), "{list:?}");
                        seen += 1;
                    }
                }
            });
            assert!(seen > 10, "{seen}");
        }
    });
}

#[test]
fn long_lists_have_tables_which_ports_of_one_service_share() {
    sandbox(|bpffs| {
        let options = crate::Options { max_backends: 8192, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let read = Read::new(bpffs);
        let services = datapath.services();
        let mut rows = BTreeMap::new();
        let blocks = maglev::blocks(maglev::size(40)) as usize;
        for (host, protocol) in (1..).zip(Protocol::ALL) {
            let mut list = backends(Family::V6, 0..40).to_vec();
            list.iter_mut().for_each(|backend| backend.port += host as u16);
            rows.insert(key("long", protocol, Family::V6), cluster_ip(Family::V6, host, list.into()));
        }
        assert!(services.set_all(&rows).is_empty());
        check(&read, services, &rows);
        assert_eq!(read.used(), [120, blocks, 0]);
        // The first does not share any more.
        let changed = key("long", Protocol::Tcp, Family::V6);
        rows.insert(changed.clone(), cluster_ip(Family::V6, 1, backends(Family::V6, 0..39)));
        services.set(&changed, &rows[&changed]).unwrap();
        check(&read, services, &rows);
        settle(services);
        assert_eq!(read.used(), [119, 2 * blocks, 0]);
        check(&read, services, &rows);
        drop(datapath);
        let mut datapath = Datapath::open(&options).unwrap();
        assert!(datapath.services().set_all(&rows).is_empty());
        settle(datapath.services());
        assert_eq!(read.used(), [119, 2 * blocks, 0], "taken over");
        let services = datapath.services();
        rows.keys().for_each(|key| services.remove(key).unwrap());
        settle(services);
        assert_eq!(read.used(), [0; 3]);
    });
}

#[test]
fn an_agent_that_starts_takes_over_and_removes_only_when_told() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let read = Read::new(bpffs);
        let mut rows = BTreeMap::new();
        for (family, host) in [(Family::V4, 1), (Family::V6, 1), (Family::V4, 2), (Family::V6, 3)] {
            let port = ServicePort {
                frontends: vec![
                    frontend(FrontendKind::ClusterIp, Some(address(family, host)), 80),
                    frontend(FrontendKind::LoadBalancer, Some(address(family, 50 + host)), 80),
                ],
                source_ranges: Some([ipnet::IpNet::from(address(family, host))].into()),
                ..cluster_ip(family, host, backends(family, 0..host + 2))
            };
            rows.insert(key(&host.to_string(), Protocol::Udp, family), port);
        }
        assert!(datapath.services().set_all(&rows).is_empty());
        let (before, used) = (read.services(), read.used());
        let numbers: Vec<_> = rows.keys().map(|key| datapath.services().number(key)).collect();
        let served: BTreeMap<u32, u64> = read.all("served_ports");
        drop(datapath);

        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let services = datapath.services();
        // One is gone, one is new, one has another list; in another order.
        let gone = key("2", Protocol::Udp, Family::V4);
        let new = key("new", Protocol::Udp, Family::V4);
        let mut wanted = rows.clone();
        wanted.remove(&gone);
        wanted.insert(new.clone(), cluster_ip(Family::V4, 9, backends(Family::V4, 7..9)));
        let changed = key("3", Protocol::Udp, Family::V6);
        wanted.get_mut(&changed).unwrap().cluster = backends(Family::V6, 1..4);
        for (key, port) in wanted.iter().rev() {
            services.set(key, port).unwrap();
        }
        for (key, number) in rows.keys().zip(&numbers).filter(|(key, _)| **key != gone) {
            assert_eq!(services.number(key), *number, "{key}");
        }
        let after = read.services();
        let of = |raw: &ServiceKey| IpAddr::from(raw.address);
        for (raw, value) in &before {
            let is_changed =
                [address(Family::V6, 3), address(Family::V6, 53)].contains(&of(raw)) && raw.protocol > 0;
            assert_eq!(after.get(raw) != Some(value), is_changed, "{raw:?}");
        }
        assert_eq!(read.all::<u32, u64>("served_ports"), served);
        let first = after.values().map(|value| value.number).collect::<BTreeSet<_>>();
        assert_eq!(first.len(), 6, "numbers are not given twice, and addresses have none");
        services.prune().unwrap();
        check(&read, services, &wanted);
        settle(services);
        assert_eq!(read.used(), [used[0] + 2 - 4 - 5 + 3, 0, 3]);
        check(&read, services, &wanted);
    });
}

/// A killed agent wrote lists that nothing points to yet.
#[test]
fn leftovers_are_removed_at_the_start() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let read = Read::new(bpffs);
        let row = cluster_ip(Family::V4, 1, backends(Family::V4, 0..3));
        let key = key("kept", Protocol::Tcp, Family::V4);
        datapath.services().set(&key, &row).unwrap();
        drop(datapath);
        let slot = hash::raw(address(Family::V4, 5).into(), 80);
        read.map("backends").set(&77u32.to_ne_bytes(), bytemuck::bytes_of(&slot)).unwrap();
        let range = RangeKey { prefix_length: 128, ranges: 1, ..RangeKey::default() };
        read.map("source_ranges").set(bytemuck::bytes_of(&range), &[1, 0, 0, 0]).unwrap();
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let services = datapath.services();
        services.set(&key, &row).unwrap();
        let limited = ServicePort {
            frontends: vec![frontend(FrontendKind::LoadBalancer, Some(address(Family::V4, 1)), 81)],
            source_ranges: Some(Arc::default()),
            ..row.clone()
        };
        let other = ServicePortKey { port: "other".into(), ..key.clone() };
        services.set(&other, &limited).unwrap();
        services.prune().unwrap();
        assert_eq!(read.used(), [6, 0, 0]);
        check(&read, services, &BTreeMap::from([(key, row), (other, limited)]));
    });
}

#[test]
fn a_row_without_space_leaves_the_former_one_in_force() {
    sandbox(|bpffs| {
        let options = crate::Options { max_services: 4, max_backends: 16, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let (read, services) = (Read::new(bpffs), datapath.services());
        let mut rows = BTreeMap::new();
        let small = key("small", Protocol::Tcp, Family::V4);
        rows.insert(small.clone(), cluster_ip(Family::V4, 1, backends(Family::V4, 0..10)));
        services.set(&small, &rows[&small]).unwrap();
        let larger = cluster_ip(Family::V4, 1, backends(Family::V4, 0..8));
        let said = services.set(&small, &larger).unwrap_err().to_string();
        for word in ["default/small/TCP (IPv4)", "table backends", "16", "--max-backends"] {
            assert!(said.contains(word), "{word} in {said}");
        }
        check(&read, services, &rows);
        // A table has no space, and the slots are not lost by that.
        let others: Vec<_> =
            (2..=4).map(|host| (key(&host.to_string(), Protocol::Tcp, Family::V4), host)).collect();
        for (key, host) in &others {
            rows.insert(key.clone(), cluster_ip(Family::V4, *host, backends(Family::V4, [*host])));
            services.set(key, &rows[key]).unwrap();
        }
        let fifth = key("5", Protocol::Tcp, Family::V4);
        let said = services.set(&fifth, &cluster_ip(Family::V4, 5, Arc::default())).unwrap_err().to_string();
        for word in ["default/5/TCP (IPv4)", "table service_counts", "--max-services"] {
            assert!(said.contains(word), "{word} in {said}");
        }
        let many =
            (0..20).map(|host| frontend(FrontendKind::ExternalIp, Some(address(Family::V4, 60 + host)), 80));
        let many = ServicePort { frontends: many.collect(), ..rows[&small].clone() };
        let said = services.set(&small, &many).unwrap_err().to_string();
        assert!(said.contains("table services") && said.contains("--max-services"), "{said}");
        let ranges: Vec<ipnet::IpNet> = (0..9).map(|host| address(Family::V4, host).into()).collect();
        let limited = ServicePort {
            frontends: vec![frontend(FrontendKind::LoadBalancer, Some(address(Family::V4, 1)), 80)],
            source_ranges: Some(ranges.into()),
            ..rows[&small].clone()
        };
        let said = services.set(&small, &limited).unwrap_err().to_string();
        assert!(said.contains("table source_ranges") && said.contains("--max-services"), "{said}");
        check(&read, services, &rows);

        // Once another one is gone, there will be space.
        let large = cluster_ip(Family::V4, 1, backends(Family::V4, 0..3));
        services.set(&small, &large).unwrap();
        rows.insert(small.clone(), larger.clone());
        let Error::Busy { after, .. } = services.set(&small, &larger).unwrap_err() else { panic!() };
        assert!(after <= GRACE);
        settle(services);
        services.set(&small, &larger).unwrap();
        check(&read, services, &rows);
    });
}

/// Where there is no space for the right table a shorter one serves, and without any the slots are not lost.
#[test]
fn a_table_without_space_is_shorter_or_told() {
    sandbox(|bpffs| {
        let options = crate::Options { max_backends: 260, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let (read, services) = (Read::new(bpffs), datapath.services());
        let [a, b] = ["a", "b"].map(|name| key(name, Protocol::Tcp, Family::V6));
        let long = |host: u32| cluster_ip(Family::V6, host, backends(Family::V6, host..host + 33));
        services.set(&a, &long(1)).unwrap();
        for _ in 0..3 {
            let said = services.set(&b, &long(2)).unwrap_err().to_string();
            assert!(said.contains("table choices") && said.contains("--max-backends"), "{said}");
            assert_eq!(services.number(&b), None);
        }
        let blocks = maglev::blocks(4_099) as usize;
        assert_eq!(read.used(), [33, blocks, 0]);
        let fitting = cluster_ip(Family::V6, 2, backends(Family::V6, 0..32));
        services.set(&b, &fitting).unwrap();
        check(&read, services, &BTreeMap::from([(a, long(1)), (b, fitting)]));
        assert_eq!(read.used(), [65, blocks, 0]);
    });
}

#[test]
fn rows_that_cannot_be_right_are_refused() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let services = datapath.services();
        let (v4, v6) = (key("wrong", Protocol::Tcp, Family::V4), key("wrong", Protocol::Tcp, Family::V6));
        let row = |one| ServicePort { frontends: vec![one], ..cluster_ip(Family::V4, 1, Arc::default()) };
        let of = |text: &str| Some(text.parse().unwrap());
        for (key, port, want) in [
            (&v4, row(frontend(FrontendKind::ClusterIp, of("10.0.0.1"), 0)), "port 0"),
            (&v4, row(frontend(FrontendKind::ClusterIp, None, 80)), "address None"),
            (&v4, row(frontend(FrontendKind::NodePort, of("10.0.0.1"), 80)), "address Some"),
            (&v4, row(frontend(FrontendKind::ClusterIp, of("fd00::1"), 80)), "fd00::1 cannot be an IPv4"),
            (&v6, row(frontend(FrontendKind::ClusterIp, of("10.0.0.1"), 80)), "10.0.0.1 cannot be an IPv6"),
            (&v4, row(frontend(FrontendKind::ClusterIp, of("0.0.0.0"), 80)), "0.0.0.0 cannot be"),
            (&v6, row(frontend(FrontendKind::LoadBalancer, of("ff02::1"), 80)), "ff02::1 cannot be"),
            (&v4, cluster_ip(Family::V4, 1, backends(Family::V6, [1])), "cannot be an IPv4 one"),
            (&v4, cluster_ip(Family::V4, 1, backends(Family::V4, 0..65_536)), "65536 backends"),
        ] {
            let said = services.set(key, &port).unwrap_err().to_string();
            assert!(said.contains(want) && said.contains("default/wrong/TCP ("), "{want} in {said}");
        }
        assert_eq!(Read::new(bpffs).services(), BTreeMap::new());
    });
}

/// A frontend that goes from one row to another, and host ports of two containers.
#[test]
fn who_wants_a_frontend_last_has_it_until_it_goes() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let (read, services) = (Read::new(bpffs), datapath.services());
        for kind in [FrontendKind::NodePort, FrontendKind::HostPort] {
            let row = |host| ServicePort {
                frontends: vec![frontend(kind, None, 31_000)],
                ..cluster_ip(Family::V4, 1, backends(Family::V4, [host]))
            };
            let [a, b] = ["a", "b"].map(|name| key(name, Protocol::Udp, Family::V4));
            let served_by = |want: u32| {
                let found = read.services();
                let lists: Vec<_> = found.values().map(|value| read.list(value.inside)).collect();
                assert_eq!(lists, [backends(Family::V4, [want]).to_vec()]);
                assert!(read.is_served(Protocol::Udp, 31_000));
            };
            services.set(&a, &row(1)).unwrap();
            services.set(&b, &row(2)).unwrap();
            served_by(2);
            // The former one changes: it gets nothing by that.
            services.set(&a, &row(3)).unwrap();
            served_by(2);
            assert!(services.is_whole(&a).unwrap() && services.is_whole(&b).unwrap());
            services.remove(&b).unwrap();
            served_by(3);
            services.set(&b, &row(2)).unwrap();
            services.remove(&a).unwrap();
            served_by(2);
            services.remove(&b).unwrap();
            assert_eq!(read.services(), BTreeMap::new());
            assert!(!read.is_served(Protocol::Udp, 31_000));
        }
    });
}

/// Whatever somebody else changes is noticed and put back where it was.
#[test]
fn what_others_change_is_noticed_and_restored() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let (read, services) = (Read::new(bpffs), datapath.services());
        let key = key("all", Protocol::Sctp, Family::V6);
        let row = ServicePort {
            frontends: vec![frontend(FrontendKind::LoadBalancer, Some(address(Family::V6, 5)), 443)],
            source_ranges: Some([ipnet::IpNet::from(address(Family::V6, 7))].into()),
            ..cluster_ip(Family::V6, 1, backends(Family::V6, 0..35))
        };
        services.set(&key, &row).unwrap();
        for name in ["services", "backends", "choices", "source_ranges", "served_ports"] {
            let map = read.map(name);
            let (one, value) = map
                .entries()
                .unwrap()
                .into_iter()
                .find(|(_, value)| value.iter().any(|byte| *byte > 0))
                .unwrap();
            let other: Vec<u8> = value.iter().map(|byte| !byte).collect();
            assert!(services.is_whole(&key).unwrap(), "{name}");
            map.set(&one, &other).unwrap();
            assert!(!services.is_whole(&key).unwrap(), "{name}");
            services.restore(&key).unwrap();
            assert!(services.is_whole(&key).unwrap(), "{name}");
            assert_eq!(map.get(&one).unwrap(), Some(value), "{name}");
        }
    });
}

/// A counter's number is given to another row later, and its value is not lost by that; nor is it counted twice.
#[test]
fn the_sum_of_counters_never_falls() {
    sandbox(|bpffs| {
        let read = Read::new(bpffs);
        let [web, dns] = ["web", "dns"].map(|name| key(name, Protocol::Tcp, Family::V6));
        let row = |host| cluster_ip(Family::V6, host, backends(Family::V6, 0..3));
        let sum = |connections, refused| ServiceCounters { connections, refused };
        let count = |services: &Services, key: &ServicePortKey, connections, refused| {
            let number = services.number(key).unwrap();
            let value = crate::layout::services::ServiceCounter { connections, refused };
            let map = read.map("service_counts");
            map.set(&number.to_ne_bytes(), bytemuck::bytes_of(&value)).unwrap();
        };
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let services = datapath.services();
        services.set(&web, &row(1)).unwrap();
        services.set(&dns, &row(2)).unwrap();
        assert_eq!(services.totals().unwrap(), sum(0, 0));
        count(services, &web, 7, 1);
        count(services, &dns, 100, 0);
        assert_eq!(services.counters(&web).unwrap(), Some(sum(7, 1)));
        assert_eq!(services.totals().unwrap(), sum(107, 1));
        services.remove(&dns).unwrap();
        assert_eq!(services.totals().unwrap(), sum(107, 1));
        std::thread::sleep(GRACE + Duration::from_millis(10));
        services.collect().unwrap();
        assert_eq!((services.counters(&dns).unwrap(), services.totals().unwrap()), (None, sum(107, 1)));
        let usage: BTreeMap<_, _> =
            services.usage().into_iter().map(|table| (table.name, table.used)).collect();
        // The entry of the frontend and that of its address.
        assert_eq!((usage["services"], usage["backends"], usage["choices"]), (2, 3, 0));

        // The next agent counts from its start on.
        drop(datapath);
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let services = datapath.services();
        assert_eq!(services.totals().unwrap(), sum(0, 0));
        services.set(&web, &row(1)).unwrap();
        assert_eq!(services.counters(&web).unwrap(), Some(sum(7, 1)), "its own go on");
        count(services, &web, 9, 1);
        assert_eq!(services.totals().unwrap(), sum(2, 0));
    });
}

#[derive(Clone, Debug)]
enum Step {
    Set { name: u8, host: u8, first: u8, count: u8, policy: bool, kinds: u8 },
    Remove { name: u8 },
    Restart,
    Prune,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..5, 0u8..3, 0u8..4, 0u8..40, any::<bool>(), 1u8..8).prop_map(|(name, host, first, count, policy, kinds)| {
            Step::Set { name, host, first, count, policy, kinds }
        }),
        2 => (0u8..5).prop_map(|name| Step::Remove { name }),
        1 => Just(Step::Restart),
        1 => Just(Step::Prune),
    ]
}

/// Rows come, change and go, and agents restart: after each step the maps say what the rows say.
#[test]
fn the_maps_follow_any_sequence_of_changes() {
    sandbox(|bpffs| {
        let read = Read::new(bpffs);
        let mut runner =
            TestRunner::new(Config { cases: 16, failure_persistence: None, ..Config::default() });
        let sequence = prop::collection::vec(step(), 1..30);
        let result = runner.run(&sequence, |steps| {
            let options = crate::Options { max_backends: 65_536, ..options(bpffs) };
            let mut datapath = Datapath::open(&options).unwrap();
            let mut rows: BTreeMap<ServicePortKey, ServicePort> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Set { name, host, first, count, policy, kinds } => {
                        let family = if name % 2 == 0 { Family::V4 } else { Family::V6 };
                        let key = key(&name.to_string(), Protocol::ALL[usize::from(name % 3)], family);
                        let hosts = u32::from(first)..u32::from(first) + u32::from(count);
                        // No two rows want one frontend.
                        let at = u32::from(name) * 16 + u32::from(host);
                        let kind = |bit: u8, kind, address, port| {
                            (kinds & bit != 0).then(|| Frontend {
                                outside: if policy { Policy::Local } else { Policy::Cluster },
                                ..frontend(kind, address, port)
                            })
                        };
                        let frontends = [
                            kind(1, FrontendKind::ClusterIp, Some(address(family, at)), 80),
                            kind(2, FrontendKind::NodePort, None, 30_000 + at as u16),
                            kind(4, FrontendKind::LoadBalancer, Some(address(family, 300 + at)), 80),
                        ];
                        let ranges: Arc<[ipnet::IpNet]> = [address(family, at).into()].into();
                        let row = ServicePort {
                            frontends: frontends.into_iter().flatten().collect(),
                            local: backends(family, hosts.clone().take(usize::from(host))),
                            affinity: policy.then_some(5),
                            source_ranges: (host > 0).then_some(ranges),
                            ..cluster_ip(family, at, backends(family, hosts))
                        };
                        match datapath.services().set(&key, &row) {
                            Ok(()) => drop(rows.insert(key, row)),
                            // Too many changes within a moment.
                            Err(Error::Busy { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    Step::Remove { name } => {
                        let family = if name % 2 == 0 { Family::V4 } else { Family::V6 };
                        let key = key(&name.to_string(), Protocol::ALL[usize::from(name % 3)], family);
                        datapath.services().remove(&key).unwrap();
                        rows.remove(&key);
                    }
                    Step::Restart => {
                        datapath = Datapath::open(&options).unwrap();
                        assert!(datapath.services().set_all(&rows).is_empty());
                    }
                    Step::Prune => datapath.services().prune().unwrap(),
                }
                check(&read, datapath.services(), &rows);
            }
            rows.keys().for_each(|key| datapath.services().remove(key).unwrap());
            prop_assert_eq!(read.services(), BTreeMap::new());
            // The next case begins with what this one has not freed yet.
            drop(Datapath::open(&options).unwrap());
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{error}"));
        let options = crate::Options { max_backends: 65_536, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        datapath.services().prune().unwrap();
        assert_eq!(read.used(), [0; 3], "nothing leaks");
    });
}
