//! Connections in the maps, written byte for byte as `bpf/layout.h` has them.

use std::path::Path;

use aya::maps::{HashMap, Map, MapData};

use super::super::maps::map_pin;
use super::super::services::{End, address};

/// Kinds of entries, and `CONNECTION_CLIENT_UPPER`, `CONNECTION_REPLIED`.
pub const PLAIN: u32 = 0;
pub const FORWARD: u32 = 1;
pub const REPLY: u32 = 2;
const CLIENT_UPPER: u32 = 4;
const REPLIED: u32 = 8;

/// One entry.
pub struct Entry {
    pub protocol: u8,
    pub kind: u32,
    pub client: End,
    pub server: End,
    /// What the other entry's ends are; of a plain one nothing.
    pub other: Option<[End; 2]>,
    /// The host sides of Pods of this node.
    pub interfaces: [u32; 2],
}

impl Entry {
    /// Writes it among the established connections, or among those without an answer.
    pub fn write(&self, pin_dir: &Path, established: bool) {
        let name = if established { "connections" } else { "new_connections" };
        let data = MapData::from_pin(map_pin(&pin_dir.join("maps"), name)).unwrap();
        let mut map: HashMap<_, [u8; 40], [u8; 60]> = Map::LruHashMap(data).try_into().unwrap();
        let upper = order(self.client) > order(self.server);
        let [lower, higher] = if upper { [self.server, self.client] } else { [self.client, self.server] };
        let mut key = [0; 40];
        key[..16].copy_from_slice(&address(lower.0));
        key[16..32].copy_from_slice(&address(higher.0));
        key[32..34].copy_from_slice(&lower.1.to_be_bytes());
        key[34..36].copy_from_slice(&higher.1.to_be_bytes());
        key[36] = self.protocol;
        let mut value = [0; 60];
        if let Some([source, destination]) = self.other {
            value[..16].copy_from_slice(&address(source.0));
            value[16..32].copy_from_slice(&address(destination.0));
            value[32..34].copy_from_slice(&source.1.to_be_bytes());
            value[34..36].copy_from_slice(&destination.1.to_be_bytes());
        }
        let state = self.kind | if upper { CLIENT_UPPER } else { 0 } | if established { REPLIED } else { 0 };
        value[44..48].copy_from_slice(&state.to_ne_bytes());
        value[48..52].copy_from_slice(&self.interfaces[0].to_ne_bytes());
        value[52..56].copy_from_slice(&self.interfaces[1].to_ne_bytes());
        map.insert(key, value, 0).unwrap();
    }
}

/// By what the programs compare ends: words as they are in memory.
fn order((of, port): End) -> ([u32; 4], u16) {
    let bytes = address(of);
    let word = |at: usize| u32::from_ne_bytes(bytes[at * 4..][..4].try_into().unwrap());
    ([word(0), word(1), word(2), word(3)], u16::from_ne_bytes(port.to_be_bytes()))
}
