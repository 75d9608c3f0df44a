//! Reading, sweeping and purging real maps.

use std::net::SocketAddr;
use std::time::Duration;

use aya::maps::MapData;

use super::*;
use crate::layout::Address;
use crate::layout::connections::{
    CONNECTION_CLIENT_UPPER, CONNECTION_FIN_CLIENT, CONNECTION_FIN_SERVER, CONNECTION_FORWARD,
    CONNECTION_REPLIED, CONNECTION_REPLY, Connection as RawConnection,
};
use crate::support::maps::map_pin;
use crate::support::{options, sandbox};
use crate::sys::RawMap;
use crate::{Datapath, Options};

/// The map of established or of new connections.
fn map(options: &Options, name: &str) -> RawMap {
    RawMap::new(MapData::from_pin(map_pin(&options.pin_dir.join("maps"), name)).unwrap()).unwrap()
}

/// Units of the maps' clock before now.
fn before(seconds: u64) -> u32 {
    table::clock().wrapping_sub(u32::try_from((seconds * 1_000_000_000) >> 30).unwrap())
}

fn address(family: u8, host: u32, port: u16) -> SocketAddr {
    match family {
        4 => SocketAddr::new(std::net::Ipv4Addr::from(0x0af4_0000 + host).into(), port),
        _ => SocketAddr::new(std::net::Ipv6Addr::from((0xfd00 << 112) + u128::from(host)).into(), port),
    }
}

/// Puts one entry in a map: from a source to a destination, and what they become.
fn put(
    map: &RawMap,
    protocol: u8,
    (from, to): (SocketAddr, SocketAddr),
    (source, destination): (SocketAddr, SocketAddr),
    state: u32,
    seen: u32,
) {
    let key = tuple(from, to, protocol, false);
    let raw = |one: SocketAddr| (Address::from(one.ip()), one.port().to_be_bytes());
    let upper = (key.upper, key.upper_port) == raw(from);
    let value = RawConnection {
        source: raw(source).0,
        source_port: raw(source).1,
        destination: raw(destination).0,
        destination_port: raw(destination).1,
        service: 7,
        state: state | if upper { CONNECTION_CLIENT_UPPER } else { 0 },
        seen,
        ..RawConnection::default()
    };
    map.set(bytemuck::bytes_of(&key), bytemuck::bytes_of(&value)).unwrap();
}

/// Both entries of a connection through a Service.
fn put_pair(map: &RawMap, protocol: u8, family: u8, host: u32, state: u32, seen: [u32; 2]) {
    let (client, frontend) = (address(family, host, 1000), address(family, 1, 80));
    let backend = address(family, 2 + host % 2, 8080);
    put(map, protocol, (client, frontend), (client, backend), CONNECTION_FORWARD | state, seen[0]);
    put(map, protocol, (client, backend), (client, frontend), CONNECTION_REPLY | state, seen[1]);
}

fn all(connections: &Connections) -> Vec<Connection> {
    let (mut found, mut position) = (Vec::new(), Position::default());
    while let Some(some) = connections.next(&mut position).unwrap() {
        found.extend(some);
    }
    found
}

#[test]
fn what_is_over_goes_with_its_other_half() {
    sandbox(|bpffs| {
        let options = options(bpffs);
        let connections = Datapath::open(&options).unwrap().connections();
        assert_eq!(connections.sweep(|| true).unwrap(), Sweep::default());
        let (established, new) = (map(&options, "connections"), map(&options, "new_connections"));
        let closed = CONNECTION_REPLIED | CONNECTION_FIN_CLIENT | CONNECTION_FIN_SERVER;
        for family in [4, 6] {
            // Goes on; one half is old; closed; over; never answered; not old enough.
            put_pair(&established, 6, family, 10, CONNECTION_REPLIED, [before(1000); 2]);
            put_pair(&established, 17, family, 11, CONNECTION_REPLIED, [before(1), before(1000)]);
            put_pair(&established, 6, family, 12, closed, [before(20); 2]);
            put_pair(&established, 17, family, 13, CONNECTION_REPLIED, [before(200); 2]);
            put_pair(&new, 6, family, 14, 0, [before(70); 2]);
            put_pair(&new, 6, family, 15, 0, [before(50); 2]);
        }
        let before_sweep = all(&connections);
        assert_eq!(before_sweep.len(), 24);
        assert_eq!(before_sweep.iter().filter(|one| one.established).count(), 16);
        let sweep = connections.sweep(|| true).unwrap();
        // Whoever is read second is gone already.
        assert_eq!(sweep.tables, [8, 4]);
        assert_eq!(sweep.active.values().sum::<u64>(), 6);
        let mut left: Vec<_> = all(&connections).iter().map(|one| one.client).collect();
        left.sort();
        left.dedup();
        let mut expected: Vec<_> = [4, 6]
            .into_iter()
            .flat_map(|family| [10, 11, 15].map(|host| address(family, host, 1000)))
            .collect();
        expected.sort();
        assert_eq!(left, expected);
        assert_eq!(all(&connections).len(), 12);
        // Cut short.
        assert_eq!(connections.sweep(|| false).unwrap().tables, [8, 0]);
    });
}

#[test]
fn a_purge_takes_both_halves_out_of_both_tables() {
    sandbox(|bpffs| {
        let options = options(bpffs);
        let connections = Datapath::open(&options).unwrap().connections();
        for (name, first) in [("connections", 0), ("new_connections", 1000)] {
            let map = map(&options, name);
            for host in 0..500 {
                put_pair(&map, 17, 4, 100 + first + host, CONNECTION_REPLIED, [before(0); 2]);
            }
        }
        let key = crate::ServicePortKey {
            service: "default/dns".into(),
            port: "".into(),
            protocol: crate::Protocol::Udp,
            family: crate::Family::V4,
        };
        let serving = address(4, 2, 8080);
        let mut purge = Purge::default();
        purge.change(&key, 7, [crate::Backend { address: serving.ip(), port: serving.port() }].into());
        assert_eq!(all(&connections).len(), 2000);
        assert!(connections.remove_all(|connection| purge.is_wanted(connection), || true).unwrap() >= 500);
        let left = all(&connections);
        assert!(left.len() == 1000 && left.iter().all(|one| one.backend == serving));
        purge.remove(7);
        connections.remove_all(|connection| purge.is_wanted(connection), || true).unwrap();
        assert_eq!(all(&connections), []);
    });
}

/// Another size, while programs go on with the old map: of each connection the state counts that was seen last.
#[test]
fn connections_get_into_a_map_of_another_size() {
    sandbox(|bpffs| {
        let (old, larger) = (options(bpffs), Options { max_connections: Some(8192), ..options(bpffs) });
        drop(Datapath::open(&old).unwrap());
        let at_work = map(&old, "connections");
        let state = |connections: &Connections, host| {
            let found = all(connections);
            found.iter().find(|one| one.client == address(4, host, 1000)).map(|one| (one.state, one.idle))
        };
        put_pair(&at_work, 6, 4, 10, CONNECTION_REPLIED, [before(100); 2]);
        put_pair(&at_work, 6, 4, 11, CONNECTION_REPLIED, [before(100); 2]);
        let mut new = Datapath::open(&larger).unwrap();
        assert_eq!(new.connections().sizes()[0], 8192);
        // Programs with the old map see more of one, less of another than those with the new map, and a new one.
        put_pair(&at_work, 6, 4, 10, CONNECTION_REPLIED | CONNECTION_FIN_CLIENT, [before(50); 2]);
        put_pair(&at_work, 6, 4, 12, CONNECTION_REPLIED, [before(50); 2]);
        new.follow_old_maps().unwrap();
        assert_eq!(state(&new.connections(), 10).unwrap().0, State::Closing);
        assert_eq!(state(&new.connections(), 12).unwrap().0, State::Established);
        let replacing = MapData::from_pin(map_pin(&old.pin_dir.join("new"), "connections")).unwrap();
        let replacing = RawMap::new(replacing).unwrap();
        put_pair(&replacing, 6, 4, 11, CONNECTION_REPLIED | CONNECTION_FIN_SERVER, [before(10); 2]);
        put_pair(&at_work, 6, 4, 13, CONNECTION_REPLIED, [before(5); 2]);
        new.retire_old_maps().unwrap();
        let connections = new.connections();
        assert_eq!(state(&connections, 11).unwrap().0, State::Closing);
        assert!(state(&connections, 11).unwrap().1 < Duration::from_secs(20));
        assert_eq!(state(&connections, 13).unwrap().0, State::Established);
        assert_eq!(all(&connections).len(), 8);
        assert_eq!(map(&larger, "connections").entries().unwrap().len(), 8);
    });
}
