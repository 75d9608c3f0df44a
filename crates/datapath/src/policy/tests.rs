//! The tables on real maps, against what a naive reading of the changes says.

mod crashes;
mod model;
mod numbers;
mod sequences;

use std::collections::BTreeMap;
use std::path::Path;

use aya::maps::MapData;
use bytemuck::Pod;

use super::found::read;
use super::*;
use crate::layout::policy::{Class, PortsKey, SetEntry, SetKey, Verdict as RawVerdict};
use crate::layout::{Address, RouteKey};
use crate::support::maps::map_pin;
use crate::support::{options, port, sandbox};
use crate::sys::RawMap;
use crate::{Datapath, Options};

/// Tables that are full soon.
const SMALL: Sizes = Sizes { addresses: 8, entries: 12, rules: 6 };

fn small(bpffs: &Path) -> Options {
    Options { policy: SMALL, ..options(bpffs) }
}

/// All of the kernel's tables, as they are.
#[derive(Debug, PartialEq)]
struct Kernel {
    classes: BTreeMap<Vec<u8>, Class>,
    blocks: BTreeMap<Vec<u8>, Class>,
    entries: BTreeMap<Vec<u8>, SetEntry>,
    ports: BTreeMap<Vec<u8>, RawVerdict>,
    rules: Vec<u32>,
    /// Of each port.
    sets: BTreeMap<u32, u32>,
}

impl Kernel {
    fn read(bpffs: &Path, datapath: &Datapath) -> Self {
        let maps = options(bpffs).pin_dir.join("maps");
        let map = |name| RawMap::new(MapData::from_pin(map_pin(&maps, name)).unwrap()).unwrap();
        fn all<K: Pod, V: Pod>(map: &RawMap) -> BTreeMap<Vec<u8>, V> {
            let entries = read::<K, V>(map, "one").unwrap();
            entries.into_iter().map(|(key, value)| (bytemuck::bytes_of(&key).to_vec(), value)).collect()
        }
        Self {
            classes: all::<Address, _>(&map("classes")),
            blocks: all::<RouteKey, _>(&map("block_classes")),
            entries: all::<SetKey, _>(&map("policy_sets")),
            ports: all::<PortsKey, _>(&map("policy_ports")),
            rules: found::counters(&map("policy_counts"), "one")
                .map(|all| {
                    let mut rules: Vec<_> = all.into_keys().collect();
                    rules.sort_unstable();
                    rules
                })
                .unwrap(),
            sets: datapath.ports().unwrap().iter().map(|port| (port.ifindex, port.set)).collect(),
        }
    }
}
