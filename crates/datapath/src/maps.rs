//! The maps: what they are called, the versions of their shapes, and their sizes.
//!
//! A map is pinned under its name and version. Who changes what a map's bytes are or mean gives it the next version
//! here, and [`former`](MapSpec::former) says how an entry of each version that may still be at work becomes one of
//! the new version. Every other map is used on as it is. A version that keeps the sizes of keys and values changes the map's name, too:
//! without pins a map at work is recognized by its name and sizes.
//!
//! How many entries a map can have is no part of its version: that is a setting, and a changed one migrates the map's
//! entries as they are.

use aya::maps::MapType;

use crate::layout::connections::{
    Connection, FRAGMENTS_MAX, Fragment, FragmentKey, NEW_CONNECTIONS_MAX, Tuple,
};
use crate::layout::drops::{CLAIMED, DropCounter, DropKey, IFINDEX};
use crate::layout::policy::{Class, PortsKey, RuleCounter, SetEntry, SetKey, Verdict};
use crate::layout::records::Record;
use crate::layout::services::{
    ADDRESSES_MAX, AFFINITY_MAX, Affinity, AffinityKey, Backend, Choices, RangeKey, SERVED_PORTS_WORDS,
    Service, ServiceCounter, ServiceKey,
};
use crate::layout::{
    ANSWERS_MAX, Address, Answers, Config, Counter, Endpoint, FLOWS_MAX, Flow, Limit, Port, REASONS_MAX,
    Route, RouteKey,
};
use crate::policy;
use crate::sys::Bytes;

/// A map takes memory entry by entry (`linux/bpf.h`).
const BPF_F_NO_PREALLOC: u32 = 1;

/// What the kernel knows of a map besides its size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) kind: MapType,
    /// Bytes of a key.
    pub(crate) key: usize,
    /// Bytes of a value; for a map with one for each CPU, of one of them.
    pub(crate) value: usize,
    pub(crate) flags: u32,
}

/// Who writes a map, which says how its entries get into another map while traffic runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The agent alone: the new map holds exactly what the old one does before programs use it.
    Agent,
    /// Programs add entries: those that the new map does not have are copied, and once more when no program uses the
    /// old map any more.
    Programs,
    /// Programs add connections and change them: those that the new map does not have are copied; of those that it has,
    /// the one that was seen last counts. In the same steps, and once more when the programs are about to be
    /// attached.
    Connections,
    /// Programs count rows of drops on all CPUs together: the new map begins with the old rows, and what is counted in the
    /// old map until no program uses it is added.
    Drops,
    /// Programs set bits, never clear them: what the old map has set is set in the new one, in the same two steps.
    Bits,
    /// Programs count on each CPU: the new map begins with the old counts, and what is counted in the old map until
    /// no program uses it is added. What is counted in the new map at that very moment is lost to the count.
    Counters,
}

/// A version of a map that an agent before this one may have left at work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Former {
    pub(crate) version: u32,
    pub(crate) shape: Shape,
    /// The entry of the present version; `None` if there is none any more.
    pub(crate) migrate: fn(Bytes) -> Option<Bytes>,
}

/// A map as this build has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapSpec {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
    pub(crate) shape: Shape,
    pub(crate) max_entries: u32,
    /// The agent's flag that sets `max_entries`, if one does.
    pub(crate) setting: Option<&'static str>,
    pub(crate) writer: Writer,
    pub(crate) former: &'static [Former],
}

impl MapSpec {
    /// How entries of a version become entries of this one; `None` if this build does not know that version.
    pub(crate) fn migrate_from(&self, version: u32) -> Option<fn(Bytes) -> Option<Bytes>> {
        if version == self.version {
            return Some(Some);
        }
        self.former.iter().find(|former| former.version == version).map(|former| former.migrate)
    }

    /// The version of a map of this name by its shape.
    pub(crate) fn version_of(&self, shape: Shape) -> Option<u32> {
        if shape == self.shape {
            return Some(self.version);
        }
        self.former.iter().find(|former| former.shape == shape).map(|former| former.version)
    }
}

/// How many entries the maps can have whose size is a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) ports: u32,
    pub(crate) endpoints: u32,
    pub(crate) routes: u32,
    /// Addresses of nodes.
    pub(crate) nodes: u32,
    pub(crate) connections: u32,
    /// Numbers of Service ports.
    pub(crate) services: u32,
    /// Where Service ports are reached.
    pub(crate) frontends: u32,
    pub(crate) backends: u32,
    /// Blocks of Maglev tables.
    pub(crate) choices: u32,
    pub(crate) policy: policy::Sizes,
    pub(crate) drops: u32,
    /// Of connections; 1 if nothing is recorded.
    pub(crate) records: u32,
}

/// For whom only the maps' names and shapes count.
pub(crate) const ANY_SIZES: Sizes = Sizes {
    ports: 1,
    endpoints: 1,
    routes: 1,
    nodes: 1,
    connections: 1,
    services: 1,
    frontends: 1,
    backends: 1,
    choices: 1,
    policy: policy::Sizes::LEAST,
    drops: 1,
    records: 1,
};

/// Version 1 of `config` ended before what Services need: all of it is zero, for no Services.
const CONFIG_1: Former = Former {
    version: 1,
    shape: Shape { kind: MapType::Array, key: 4, value: Config::SIZE_1, flags: 0 },
    migrate: |(key, mut value)| {
        value.resize(size_of::<Config>(), 0);
        Some((key, value))
    },
};

/// Version 2 ended before policy, which is off then.
const CONFIG_2: Former = Former {
    version: 2,
    shape: Shape { kind: MapType::Array, key: 4, value: Config::SIZE_2, flags: 0 },
    migrate: |(key, mut value)| {
        value.resize(size_of::<Config>(), 0);
        Some((key, value))
    },
};

/// Version 1 of `endpoints` ended before the sets of policy: all are open.
const ENDPOINTS_1: Former = Former {
    version: 1,
    shape: Shape { kind: MapType::Hash, key: size_of::<Address>(), value: Endpoint::SIZE_1, flags: 0 },
    migrate: |(key, mut value)| {
        value.resize(size_of::<Endpoint>(), 0);
        Some((key, value))
    },
};

/// Version 1 of both tables of connections ended before policy: none has been judged.
const CONNECTIONS_1: Former = Former {
    version: 1,
    shape: Shape { kind: MapType::LruHash, key: size_of::<Tuple>(), value: Connection::SIZE_1, flags: 0 },
    migrate: |(key, mut value)| {
        value.resize(size_of::<Connection>(), 0);
        Some((key, value))
    },
};

/// Version 1 of `drops` had neither interfaces nor claimed sources: policy alone wrote it, which knows none.
const DROPS_1: Former = Former {
    version: 1,
    shape: Shape { kind: MapType::LruHash, key: DropKey::SIZE_1, value: DropCounter::SIZE_1, flags: 0 },
    migrate: |(mut key, mut value)| {
        key.splice(IFINDEX..IFINDEX, [0; size_of::<u32>()]);
        value.splice(CLAIMED..CLAIMED, [0; size_of::<Address>()]);
        Some((key, value))
    },
};

/// Every map.
pub(crate) fn specs(sizes: &Sizes) -> [MapSpec; 28] {
    fn map<K, V>(name: &'static str, kind: MapType, flags: u32, max_entries: u32, writer: Writer) -> MapSpec {
        let shape = Shape { kind, key: size_of::<K>(), value: size_of::<V>(), flags };
        MapSpec { name, version: 1, shape, max_entries, setting: None, writer, former: &[] }
    }
    let Sizes {
        ports,
        endpoints,
        routes,
        nodes,
        connections,
        services,
        frontends,
        backends,
        choices,
        policy,
        drops,
        records,
    } = *sizes;
    let pods = |spec: MapSpec| MapSpec { setting: Some("--max-pods"), ..spec };
    let peers = |spec: MapSpec| MapSpec { setting: Some("--max-nodes"), ..spec };
    let tracked = |spec: MapSpec| MapSpec { setting: Some("--max-connections"), ..spec };
    let ports_of_services = |spec: MapSpec| MapSpec { setting: Some("--max-services"), ..spec };
    let chosen = |spec: MapSpec| MapSpec { setting: Some("--max-backends"), ..spec };
    let judged = |spec: MapSpec| MapSpec { version: 2, former: &[CONNECTIONS_1], ..spec };
    let config = map::<u32, Config>("config", MapType::Array, 0, 1, Writer::Agent);
    let endpoints = map::<Address, Endpoint>("endpoints", MapType::Hash, 0, endpoints, Writer::Agent);
    [
        MapSpec { version: 3, former: &[CONFIG_1, CONFIG_2], ..config },
        MapSpec { version: 2, former: &[ENDPOINTS_1], ..pods(endpoints) },
        pods(map::<u32, Port>("ports", MapType::Hash, 0, ports, Writer::Agent)),
        pods(map::<u32, Limit>("limits", MapType::Hash, 0, ports, Writer::Agent)),
        peers(map::<RouteKey, Route>("routes", MapType::LpmTrie, BPF_F_NO_PREALLOC, routes, Writer::Agent)),
        peers(map::<Address, Address>("nodes", MapType::Hash, BPF_F_NO_PREALLOC, nodes, Writer::Agent)),
        map::<Flow, u32>("flows", MapType::LruHash, 0, FLOWS_MAX, Writer::Programs),
        map::<u32, u32>("flows_used", MapType::Array, 0, 1, Writer::Bits),
        map::<u32, Answers>("answers", MapType::LruHash, 0, ANSWERS_MAX, Writer::Programs),
        map::<u32, Counter>("counters", MapType::PerCpuArray, 0, REASONS_MAX, Writer::Counters),
        judged(tracked(map::<Tuple, Connection>(
            "connections",
            MapType::LruHash,
            0,
            connections,
            Writer::Connections,
        ))),
        judged(map::<Tuple, Connection>(
            "new_connections",
            MapType::LruHash,
            0,
            NEW_CONNECTIONS_MAX,
            Writer::Connections,
        )),
        ports_of_services(map::<ServiceKey, Service>(
            "services",
            MapType::Hash,
            BPF_F_NO_PREALLOC,
            frontends,
            Writer::Agent,
        )),
        chosen(map::<u32, Backend>("backends", MapType::Array, 0, backends, Writer::Agent)),
        chosen(map::<u32, Choices>("choices", MapType::Array, 0, choices, Writer::Agent)),
        ports_of_services(map::<u32, ServiceCounter>(
            "service_counts",
            MapType::Array,
            0,
            services,
            Writer::Counters,
        )),
        map::<AffinityKey, Affinity>("affinities", MapType::LruHash, 0, AFFINITY_MAX, Writer::Programs),
        ports_of_services(map::<RangeKey, u32>(
            "source_ranges",
            MapType::LpmTrie,
            BPF_F_NO_PREALLOC,
            services,
            Writer::Agent,
        )),
        map::<Address, u32>("addresses", MapType::Hash, BPF_F_NO_PREALLOC, ADDRESSES_MAX, Writer::Agent),
        map::<u32, u64>("served_ports", MapType::Array, 0, SERVED_PORTS_WORDS, Writer::Agent),
        map::<FragmentKey, Fragment>("fragments", MapType::LruHash, 0, FRAGMENTS_MAX, Writer::Programs),
        of_policy::<Address, Class>("classes", MapType::Hash, policy.classes(), ADDRESSES),
        of_policy::<RouteKey, Class>("block_classes", MapType::LpmTrie, policy.blocks(), ADDRESSES),
        of_policy::<SetKey, SetEntry>("policy_sets", MapType::Hash, policy.sets(), ENTRIES),
        of_policy::<PortsKey, Verdict>("policy_ports", MapType::LpmTrie, policy.ports(), ENTRIES),
        MapSpec {
            writer: Writer::Counters,
            ..of_policy::<u32, RuleCounter>("policy_counts", MapType::PerCpuHash, policy.counts(), RULES)
        },
        MapSpec {
            version: 2,
            former: &[DROPS_1],
            setting: Some("--max-drops"),
            ..map::<DropKey, DropCounter>("drops", MapType::LruHash, 0, drops, Writer::Drops)
        },
        MapSpec {
            setting: Some("--max-flows"),
            ..map::<Tuple, Record>("records", MapType::LruHash, 0, records, Writer::Programs)
        },
    ]
}

/// The settings of policy's sizes.
pub(crate) const ADDRESSES: &str = "--max-policy-addresses";
pub(crate) const ENTRIES: &str = "--max-policy-entries";
pub(crate) const RULES: &str = "--max-policy-rules";

fn of_policy<K, V>(name: &'static str, kind: MapType, max_entries: u32, setting: &'static str) -> MapSpec {
    let shape = Shape { kind, key: size_of::<K>(), value: size_of::<V>(), flags: BPF_F_NO_PREALLOC };
    let setting = Some(setting);
    MapSpec { name, version: 1, shape, max_entries, setting, writer: Writer::Agent, former: &[] }
}
