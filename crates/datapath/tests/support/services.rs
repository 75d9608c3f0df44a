//! Services in the maps, written byte by byte as `bpf/layout.h` has them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapType};
use ipnet::IpNet;
use testkit::packet::{TCP, UDP};

use super::maps::map_pin;

pub const SCOPE_ADDRESS: u8 = 0;
pub const SCOPE_NODE_PORT: u8 = 1;
pub const SCOPE_HOST_PORT: u8 = 2;
/// `SERVICE_REFUSE` and `SERVICE_ADDRESS`.
pub const REFUSE: u32 = 1;
const MARKS_ADDRESS: u32 = 2;
/// `ADDRESS_OWN` and `ADDRESS_NODE_PORTS`.
pub const OWN_ADDRESS: u32 = 1;
pub const NODE_PORTS: u32 = 2;
/// Slots of a Maglev table in one entry of the map.
const BLOCK: usize = 32;

pub type End = (IpAddr, u16);

/// An address as it stands in the maps.
pub fn address(of: IpAddr) -> [u8; 16] {
    match of {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn mix(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

fn mix_address(hash: u32, of: IpAddr) -> u32 {
    let words = address(of);
    words.chunks(4).fold(hash, |hash, word| {
        mix(hash ^ u32::from_ne_bytes(word.try_into().unwrap())).wrapping_add(0x9e37_79b9)
    })
}

/// A port as the programs have it in a register.
fn port(number: u16) -> u32 {
    u32::from(number.to_be())
}

/// What a backend's slot holds besides address and port.
pub fn seed(backend: End) -> u32 {
    mix(mix_address(port(backend.1), backend.0))
}

/// The number by which a connection without affinity chooses; of NodePorts, the node's address does not count.
pub fn choice(protocol: u8, client: End, frontend: End, scope: u8) -> u32 {
    let mut hash = mix_address(u32::from(protocol), client.0);
    if scope == SCOPE_ADDRESS {
        hash = mix_address(hash, frontend.0);
    }
    mix(hash ^ port(client.1) ^ port(frontend.1) << 16)
}

/// The backend that rendezvous hashing gives.
pub fn rendezvous(backends: &[End], choice: u32) -> End {
    let score = |backend: &End| mix(choice ^ seed(*backend));
    *backends.iter().rev().max_by_key(|backend| score(backend)).unwrap()
}

/// A Service port's entry.
#[derive(Clone, Default)]
pub struct Service {
    pub number: u32,
    pub flags: u32,
    pub affinity: u32,
    pub ranges: u32,
    pub inside: Vec<End>,
    pub outside: Vec<End>,
    /// A Maglev table for `inside`: indexes of its backends.
    pub table: Vec<u16>,
}

impl Service {
    /// With the same backends for everybody.
    pub fn new(number: u32, backends: &[End]) -> Self {
        Self { number, inside: backends.to_vec(), outside: backends.to_vec(), ..Self::default() }
    }
}

/// Writes the maps that the agent writes, and reads those that the programs write.
pub struct Maps {
    directory: PathBuf,
    slots: u32,
    blocks: u32,
}

impl Maps {
    pub fn new(programs: &Path) -> Self {
        Self { directory: programs.with_file_name("maps"), slots: 0, blocks: 0 }
    }

    fn data(&self, name: &str) -> MapData {
        MapData::from_pin(map_pin(&self.directory, name)).unwrap()
    }

    /// A hash map, of the kernel's kind with eviction or without.
    pub fn hash<const K: usize, const V: usize>(&self, name: &str) -> HashMap<MapData, [u8; K], [u8; V]> {
        let data = self.data(name);
        let map = match data.info().unwrap().map_type().unwrap() {
            MapType::LruHash => Map::LruHashMap(data),
            _ => Map::HashMap(data),
        };
        map.try_into().unwrap()
    }

    fn array<const V: usize>(&self, name: &str) -> Array<MapData, [u8; V]> {
        Map::Array(self.data(name)).try_into().unwrap()
    }

    fn list(&mut self, backends: &[End], table: &[u16]) -> Vec<u8> {
        let mut slots = self.array::<24>("backends");
        for (index, backend) in (self.slots..).zip(backends) {
            let port = backend.1.to_be_bytes();
            let value = [&address(backend.0)[..], &port, &[0; 2], &seed(*backend).to_ne_bytes()].concat();
            slots.set(index, <[u8; 24]>::try_from(value).unwrap(), 0).unwrap();
        }
        let mut choices = self.array::<64>("choices");
        for (index, block) in (self.blocks..).zip(table.chunks(BLOCK)) {
            let mut value = [0; 64];
            for (to, slot) in value.chunks_mut(2).zip(block) {
                to.copy_from_slice(&slot.to_ne_bytes());
            }
            choices.set(index, value, 0).unwrap();
        }
        let list = [self.slots, backends.len() as u32, self.blocks, table.len() as u32];
        self.slots += backends.len() as u32;
        self.blocks += table.len().div_ceil(BLOCK) as u32;
        list.map(u32::to_ne_bytes).concat()
    }

    fn write(&mut self, key: [u8; 20], service: &Service) {
        let head = [service.number, service.flags, service.affinity, service.ranges];
        let inside = self.list(&service.inside, &service.table);
        let outside =
            if service.outside == service.inside { inside.clone() } else { self.list(&service.outside, &[]) };
        let value = [head.map(u32::to_ne_bytes).concat(), inside, outside].concat();
        self.hash::<20, 48>("services").insert(key, <[u8; 48]>::try_from(value).unwrap(), 0).unwrap();
    }

    /// A Service at a frontend. A NodePort's or hostPort's address only says the family.
    pub fn serve(&mut self, scope: u8, protocol: u8, frontend: End, service: &Service) {
        let at = match frontend.0 {
            IpAddr::V4(_) if scope != SCOPE_ADDRESS => "0.0.0.0".parse().unwrap(),
            IpAddr::V6(_) if scope != SCOPE_ADDRESS => "::".parse().unwrap(),
            at => at,
        };
        let key = [&address(at)[..], &frontend.1.to_be_bytes(), &[protocol, scope]].concat();
        self.write(key.try_into().unwrap(), service);
        if scope == SCOPE_ADDRESS {
            let key = [&address(at)[..], &[0; 4]].concat();
            self.write(key.try_into().unwrap(), &Service { flags: MARKS_ADDRESS, ..Service::default() });
        }
    }

    /// At uplinks, packets to this port are looked at.
    pub fn serve_port(&self, protocol: u8, port: u16) {
        let index = match protocol {
            TCP => 0,
            UDP => 1,
            _ => 2,
        };
        let mut words = self.array::<8>("served_ports");
        let word = index * 1024 + u32::from(port) / 64;
        let bits = u64::from_ne_bytes(words.get(&word, 0).unwrap()) | 1 << (port % 64);
        words.set(word, bits.to_ne_bytes(), 0).unwrap();
    }

    /// An own address of the node.
    pub fn own(&self, own: IpAddr, flags: u32) {
        self.hash::<16, 4>("addresses").insert(address(own), flags.to_ne_bytes(), 0).unwrap();
    }

    /// Lets a range of clients in.
    pub fn allow(&self, ranges: u32, range: IpNet) {
        let mut map: LpmTrie<_, [u8; 20], [u8; 4]> =
            Map::LpmTrie(self.data("source_ranges")).try_into().unwrap();
        let data: [u8; 20] = [&ranges.to_ne_bytes()[..], &address(range.addr())].concat().try_into().unwrap();
        let mapped = if range.addr().is_ipv4() { 96 } else { 0 };
        let length = 32 + mapped + u32::from(range.prefix_len());
        map.insert(&Key::new(length, data), 1u32.to_ne_bytes(), 0).unwrap();
    }

    /// New connections, and those that were refused, of a Service's number.
    pub fn counts(&self, number: u32) -> (u64, u64) {
        let counts = self.array::<16>("service_counts").get(&number, 0).unwrap();
        let number = |at: usize| u64::from_ne_bytes(counts[at..at + 8].try_into().unwrap());
        (number(0), number(8))
    }
}
