//! Opening the datapath: what is pinned is used, what is missing is created, and the programs are loaded.

use std::collections::BTreeSet;
use std::sync::Arc;

use aya::maps::{Map, MapData, RingBuf};
use aya::{Ebpf, EbpfLoader};

use crate::api::{CONFIG, Datapath};
use crate::connections::Connections;
use crate::counters::Counters;
use crate::drops::Drops;
use crate::error::{Error, Result, chain};
use crate::layout;
use crate::legacy;
use crate::maps::{self, MapSpec, Sizes};
use crate::migration::{self, Migration};
use crate::model::Options;
use crate::pins::{Pins, replace_pin};
use crate::policy::{self, Policies};
use crate::ports::Ports;
use crate::programs::{OBJECT, PROGRAMS, load};
use crate::records::{Events, Records};
use crate::recovery;
use crate::services::{self, Services};
use crate::sys::{self, RawMap};
use crate::table::Table;

impl Datapath {
    /// Uses the pinned maps with all that is in them, creates those that are missing or have another version or size
    /// and fills them from what is at work, and loads the programs.
    ///
    /// What is attached goes on with the programs and maps of before until
    /// [`endpoint_program`](Self::endpoint_program) is put into the block and
    /// [`attach_overlay`](Self::attach_overlay) is called.
    ///
    /// # Errors
    ///
    /// If the directory is not on a BPF file system or not root's alone, a pinned map has another shape or an unknown
    /// version, maps at work have more in them than fits, or the kernel refuses the maps or the programs.
    pub fn open(options: &Options) -> Result<Self> {
        Self::open_with(options, maps::specs(&sizes(options)?).to_vec())
    }

    pub(crate) fn open_with(options: &Options, specs: Vec<MapSpec>) -> Result<Self> {
        let pins = Pins::create(&options.pin_dir)?;
        legacy::import(&pins, &specs)?;
        if let Some(program) = options.at_work {
            recovery::restore(&pins, program, &specs)?;
        }
        let plans = specs.iter().map(|spec| migration::plan(&pins, *spec)).collect::<Result<Vec<_>>>()?;
        let mut loader = EbpfLoader::new();
        // Nothing in the object is relocated against the kernel's own types.
        loader.btf(None);
        for plan in &plans {
            loader.map_max_entries(plan.spec.name, plan.spec.max_entries);
            loader.map_pin_path(plan.spec.name, &plan.pin);
        }
        let (events, ring) = (options.recording.map_or(0, |recording| recording.events), ring_bytes(options));
        loader.override_global("record_events", &events, true);
        let rows = (options.max_drops / SENDERS).max(1);
        loader.override_global("drop_rows", &rows, true);
        loader.map_max_entries("record_ring", ring);
        let mut ebpf =
            loader.load(OBJECT).map_err(|error| Error::Load { what: "maps", reason: chain(&error) })?;
        for name in PROGRAMS {
            replace_pin(load(&mut ebpf, name)?, &pins.program(name))?;
        }
        let migrations = plans.iter().filter_map(|plan| Migration::new(plan).transpose());
        let mut migrations = migrations.collect::<Result<Vec<_>>>()?;
        migrations.iter_mut().try_for_each(Migration::fill)?;
        let mut take = |name: &'static str| take(&mut ebpf, &specs, name);
        macro_rules! table {
            ($name:literal) => {{
                let (map, spec) = take($name)?;
                Table::open(map, &spec)?
            }};
        }
        let (config, routes) = (table!("config"), table!("routes"));
        let (nodes, addresses) = (table!("nodes"), table!("addresses"));
        let ports =
            Ports { ports: table!("ports"), endpoints: table!("endpoints"), limits: table!("limits") };
        let connections = Connections::open(take("connections")?.0, take("new_connections")?.0)?;
        let drops = Drops::open(take("drops")?.0)?;
        let records = Records::open(take("records")?.0)?;
        let mut raw = |name| RawMap::new(take(name)?.0).map_err(|error| Error::map("open", name, &error));
        let services = Services::open(services::Maps {
            services: raw("services")?,
            backends: raw("backends")?,
            choices: raw("choices")?,
            source_ranges: raw("source_ranges")?,
            served_ports: raw("served_ports")?,
            counters: raw("service_counts")?,
        })?;
        let policies = Policies::open(
            policy::Maps {
                classes: raw("classes")?,
                blocks: raw("block_classes")?,
                sets: raw("policy_sets")?,
                ports: raw("policy_ports")?,
                counts: raw("policy_counts")?,
            },
            options.policy,
            &ports,
            &config.get(&CONFIG)?.unwrap_or_default(),
        )?;
        let counters = Counters::open(take("counters")?.0)?;
        let events = options.recording.map(|_| events_of(&mut ebpf)).transpose()?;
        tracing::debug!(directory = %pins.base().display(), migrations = migrations.len(), "datapath is open");
        let uplinks = BTreeSet::new();
        Ok(Self {
            ebpf,
            pins,
            specs,
            migrations,
            uplinks,
            config,
            ports,
            routes,
            nodes,
            services,
            policies,
            addresses,
            connections: Arc::new(connections),
            counters,
            drops: Arc::new(drops),
            records: Arc::new(records),
            events,
        })
    }
}

/// The most that [`Options::max_endpoints`] and [`Options::max_routes`] can be: far more than a node can run or a
/// cluster can have, and no harm to the kernel's memory.
pub const MOST_ENTRIES: u32 = 1 << 16;

/// The most that [`Options::max_connections`] can be: 3 GiB of memory.
pub const MOST_CONNECTIONS: u32 = 1 << 24;

/// The most that [`Options::max_services`] can be.
pub const MOST_SERVICES: u32 = 1 << 20;

/// The most that [`Options::max_backends`] can be.
pub const MOST_BACKENDS: u32 = 1 << 22;

/// The most that each of [`Options::policy`] can be.
pub const MOST_POLICY: u32 = 1 << 20;

/// So many senders fill the table of drops at least: each may add a part of it at once (`bpf/drops.h`).
const SENDERS: u32 = 16;

/// The most that [`Options::max_drops`] can be: 44 MiB of memory.
pub const MOST_DROPS: u32 = 1 << 18;

/// The most that [`Recording::most`](crate::records::Recording::most) can be: 224 MiB of memory.
pub const MOST_RECORDS: u32 = 1 << 20;

/// The most that [`Recording::events`](crate::records::Recording::events) can be.
pub const MOST_EVENTS: u32 = 100_000;

/// What an event takes in the ring, and the least that a ring can have.
const EVENT_BYTES: u32 = 176;
const PAGE: u32 = 4096;

/// The bytes of the ring: those of a second's events, which may come at once, as the kernel wants it: a power of two, and
/// whole pages.
fn ring_bytes(options: &Options) -> u32 {
    let events = options.recording.map_or(0, |recording| recording.events.min(MOST_EVENTS));
    (events * EVENT_BYTES).next_power_of_two().max(PAGE)
}

fn events_of(ebpf: &mut Ebpf) -> Result<Events> {
    let missing = |what: &str| Error::Load { what: "maps", reason: format!("map {what} is missing") };
    let ring = ebpf.take_map("record_ring").ok_or_else(|| missing("record_ring"))?;
    let ring = RingBuf::try_from(ring).map_err(|error| Error::map("open", "record_ring", &error))?;
    match ebpf.take_map("record_budget") {
        Some(Map::Array(budget)) => Events::open(ring, budget),
        _ => Err(missing("record_budget")),
    }
}

/// How many connections are tracked at least if the node's memory decides.
const LEAST_CONNECTIONS: u32 = 131_072;

pub(crate) fn sizes(options: &Options) -> Result<Sizes> {
    let Options { max_endpoints, max_routes, max_connections, max_services, max_backends, .. } = *options;
    for (what, value, most) in [
        ("endpoints", max_endpoints, MOST_ENTRIES),
        ("routes", max_routes, MOST_ENTRIES),
        ("connections", max_connections.unwrap_or(1), MOST_CONNECTIONS),
        ("ports of Services", max_services, MOST_SERVICES),
        ("backends", max_backends, MOST_BACKENDS),
        ("addresses of policy", options.policy.addresses, MOST_POLICY),
        ("entries of policy", options.policy.entries, MOST_POLICY),
        ("rules of policy", options.policy.rules, MOST_POLICY),
        ("drops", options.max_drops, MOST_DROPS),
        ("flows", options.recording.map_or(1, |recording| recording.most), MOST_RECORDS),
        ("events of flows a second", options.recording.map_or(1, |recording| recording.events), MOST_EVENTS),
    ] {
        if !(1..=most).contains(&value) {
            return Err(Error::Sizes { what, value, most });
        }
    }
    // With space for every address of every port, only one map can ever be full.
    let addresses = u32::try_from(layout::PORT_ADDRESSES).unwrap_or(u32::MAX);
    Ok(Sizes {
        ports: max_endpoints,
        endpoints: max_endpoints.saturating_mul(addresses),
        routes: max_routes,
        // A node with a route for each family seldom has more than two addresses of each.
        nodes: max_routes.saturating_mul(2),
        connections: max_connections.unwrap_or_else(|| connections_for(sys::memory())),
        // Number 0 is nobody's.
        services: max_services.saturating_add(1),
        // One of a load balancer has a ClusterIP, a NodePort, an external address, and marks of two addresses.
        frontends: max_services.saturating_mul(4),
        backends: max_backends,
        // 16 entries of tables for each backend: few are in lists that are so long that they need tables of 100 to 200
        // for each.
        choices: max_backends.div_ceil(2),
        policy: options.policy,
        drops: options.max_drops,
        records: options.recording.map_or(1, |recording| recording.most),
    })
}

/// How many connections a node with so many bytes of memory tracks: 0.25 % of it, at 128 bytes each. In steps, so that
/// a little memory more or less is no other size.
fn connections_for(memory: u64) -> u32 {
    let fitting = u32::try_from(memory / 400 / 128).unwrap_or(u32::MAX);
    (fitting / 65_536 * 65_536).clamp(LEAST_CONNECTIONS, MOST_CONNECTIONS)
}

fn take(ebpf: &mut Ebpf, specs: &[MapSpec], name: &str) -> Result<(MapData, MapSpec)> {
    let spec = specs.iter().find(|spec| spec.name == name);
    let map = match ebpf.take_map(name) {
        Some(
            Map::Array(map)
            | Map::HashMap(map)
            | Map::LruHashMap(map)
            | Map::LpmTrie(map)
            | Map::PerCpuArray(map)
            | Map::PerCpuHashMap(map),
        ) => Some(map),
        _ => None,
    };
    let found = map.zip(spec.copied());
    found.ok_or_else(|| Error::Load { what: "maps", reason: format!("map {name} is missing") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_follow_the_nodes_memory() {
        const GIB: u64 = 1 << 30;
        for (memory, connections) in [
            (0, LEAST_CONNECTIONS),
            (4 * GIB, LEAST_CONNECTIONS),
            (24 * GIB, 458_752),
            (64 * GIB, 1_310_720),
            (1 << 50, MOST_CONNECTIONS),
            (u64::MAX, MOST_CONNECTIONS),
        ] {
            assert_eq!(connections_for(memory), connections, "{memory}");
        }
    }
}
