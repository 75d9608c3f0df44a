//! Services in the maps, written byte for byte as `bpf/layout.h` has them.

use std::net::IpAddr;
use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData};

use super::ifindex;

/// `IPPROTO_TCP` and its like.
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;

/// `SCOPE_ADDRESS` and its like.
pub const AT_ADDRESS: u8 = 0;
pub const NODE_PORT: u8 = 1;
pub const HOST_PORT: u8 = 2;

/// `SERVICE_REFUSE`.
pub const REFUSE: u32 = 1;
/// `SERVICE_ADDRESS`.
pub const ADDRESS: u32 = 2;

/// What a frontend leads to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Service {
    pub number: u32,
    pub flags: u32,
    /// Seconds.
    pub affinity: u32,
    pub ranges: u32,
    pub inside: List,
    pub outside: List,
}

/// `struct list`.
#[derive(Clone, Copy, Debug, Default)]
pub struct List {
    pub first: u32,
    pub count: u32,
    pub table: u32,
    pub size: u32,
}

/// The maps of an agent's pin directory.
pub struct Maps {
    pins: std::path::PathBuf,
    slots: u32,
}

/// 16 bytes, as in the maps.
pub fn bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The zero of an address's family, which NodePorts and host ports have for an address.
pub fn any(address: IpAddr) -> IpAddr {
    if address.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) }
}

impl Maps {
    /// Those below a pin directory.
    pub fn new(pin_dir: &Path) -> Self {
        Self { pins: pin_dir.join("maps"), slots: 0 }
    }

    fn map(&self, name: &str) -> MapData {
        MapData::from_pin(self.pins.join(format!("{name}-v1"))).unwrap()
    }

    fn hash<K: aya::Pod, V: aya::Pod>(&self, name: &str) -> HashMap<MapData, K, V> {
        HashMap::try_from(Map::HashMap(self.map(name))).unwrap()
    }

    fn array<V: aya::Pod>(&self, name: &str) -> Array<MapData, V> {
        Array::try_from(Map::Array(self.map(name))).unwrap()
    }

    /// A list of backends without a table.
    pub fn list(&mut self, backends: &[(IpAddr, u16)]) -> List {
        let mut slots = self.array::<[u8; 24]>("backends");
        let first = self.slots;
        for (address, port) in backends {
            let mut value = [0; 24];
            value[..16].copy_from_slice(&bytes(*address));
            value[16..18].copy_from_slice(&port.to_be_bytes());
            value[20..].copy_from_slice(&seed(*address, *port).to_ne_bytes());
            slots.set(self.slots, value, 0).unwrap();
            self.slots += 1;
        }
        List { first, count: backends.len() as u32, ..List::default() }
    }

    /// A frontend; port and protocol 0: the address alone.
    pub fn frontend(&self, address: IpAddr, port: u16, protocol: u8, scope: u8, service: &Service) {
        let mut value = [0; 48];
        let Service { number, flags, affinity, ranges, inside, outside } = *service;
        let words = [number, flags, affinity, ranges].into_iter().chain(
            [inside, outside].into_iter().flat_map(|list| [list.first, list.count, list.table, list.size]),
        );
        for (at, word) in words.enumerate() {
            value[at * 4..][..4].copy_from_slice(&word.to_ne_bytes());
        }
        self.hash::<[u8; 20], [u8; 48]>("services")
            .insert(key(address, port, protocol, scope), value, 0)
            .unwrap();
        if port != 0 && (scope != AT_ADDRESS || service.outside.count > 0) {
            let protocol = [TCP, UDP, SCTP].iter().position(|other| *other == protocol).unwrap();
            let at = protocol * 1024 + usize::from(port) / 64;
            let mut bits = self.array::<u64>("served_ports");
            let word = bits.get(&(at as u32), 0).unwrap() | 1 << (port % 64);
            bits.set(at as u32, word, 0).unwrap();
        }
    }

    /// Takes a frontend away.
    pub fn remove_frontend(&self, address: IpAddr, port: u16, protocol: u8, scope: u8) {
        self.hash::<[u8; 20], [u8; 48]>("services").remove(&key(address, port, protocol, scope)).unwrap();
    }

    /// An address of this node.
    pub fn own_address(&self, address: IpAddr, flags: u32) {
        self.hash::<[u8; 16], u32>("addresses").insert(bytes(address), flags, 0).unwrap();
    }

    /// Connections opened and refused.
    pub fn counts(&self, number: u32) -> [u64; 2] {
        self.array::<[u64; 2]>("service_counts").get(&number, 0).unwrap()
    }
}

fn key(address: IpAddr, port: u16, protocol: u8, scope: u8) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&bytes(address));
    key[16..18].copy_from_slice(&port.to_be_bytes());
    key[18] = protocol;
    key[19] = scope;
    key
}

/// A hash of a backend.
pub fn seed(address: IpAddr, port: u16) -> u32 {
    let words = bytes(address).into_iter().chain(port.to_be_bytes());
    words.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Attaches `to_uplink` to the egress of an interface.
pub fn attach_to_uplink(pin_dir: &Path, interface: &str) {
    assert!(ifindex(interface) > 0);
    let program = pin_dir.join("programs/to_uplink");
    super::run("tc", &format!("qdisc add dev {interface} clsact"));
    super::run(
        "tc",
        &format!("filter add dev {interface} egress bpf direct-action object-pinned {}", program.display()),
    );
}
