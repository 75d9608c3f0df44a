//! The writer on real maps, against what a naive reading of the rows says.

mod counters;
mod drift;
mod full;
mod restart;
mod rows;
mod sequences;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aya::maps::MapData;

use super::*;
use crate::Datapath;
use crate::layout::services::{
    Backend as RawBackend, Choices, List, RangeKey, SERVICE_ADDRESS, SERVICE_LOCAL, SERVICE_REFUSE, Service,
    ServiceKey,
};
use crate::support::{options, sandbox};
use crate::sys::RawMap;

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
        assert!(numbers.insert(number) && services.by_number.get(&number) == Some(key));
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
            let is_local = one.outside == Policy::Local;
            let flags = [(port.refuse, SERVICE_REFUSE), (is_local, SERVICE_LOCAL)];
            assert_eq!(value.flags, flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
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
