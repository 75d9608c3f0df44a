//! The maps that programs write: the datapath's, which a tracer only reads, and its own.

use aya::Ebpf;
use aya::maps::MapData;

use super::maps::{Shared, read, take};
use super::packet::{Packet, Transport};
use super::{id_of, missing};
use crate::connections::tuple;
use crate::counters::Counters;
use crate::drops::{Drop, Drops};
use crate::error::{Error, Result};
use crate::layout::connections::{CONNECTION_KIND, CONNECTION_PLAIN, CONNECTION_TUNNEL, Connection, Tuple};
use crate::layout::services::AffinityKey;
use crate::layout::{Address, Flow};
use crate::model::Counter;
use crate::records::{Place, Record, Records};
use crate::sys::RawMap;

/// The maps whose entries later packets of a connection depend on.
const KEPT: [&str; 5] = ["connections", "new_connections", "flows", "flows_used", "affinities"];

/// More entries than a connection has.
const MOST: usize = 64;

/// An entry of one of the maps that programs write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The map's name.
    pub map: String,
    /// The key's bytes.
    pub key: Vec<u8>,
    /// The value's bytes.
    pub value: Vec<u8>,
}

/// What traced packets of a connection left behind on this node, for the next ones: it is kept by whoever traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(pub Vec<Entry>);

fn failed(action: &'static str, map: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::map(action, map, &error)
}

/// The datapath's own maps, in the order of [`KEPT`].
pub(super) struct Live {
    maps: [RawMap; KEPT.len()],
    ids: [u32; KEPT.len()],
}

impl Live {
    pub(super) fn open(mut map: impl FnMut(&'static str) -> Result<MapData>) -> Result<Self> {
        let mut open = |name: &'static str| {
            let map = map(name)?;
            let id = id_of(&map)?;
            Ok((RawMap::new(map).map_err(|error| Error::map("open", name, &error))?, id))
        };
        let [a, b, c, d, e] = KEPT;
        let [a, b, c, d, e] = [open(a)?, open(b)?, open(c)?, open(d)?, open(e)?];
        Ok(Self { maps: [a.0, b.0, c.0, d.0, e.0], ids: [a.1, b.1, c.1, d.1, e.1] })
    }

    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.ids == other.ids
    }
}

/// A tracer's own maps.
pub(super) struct Own {
    kept: [RawMap; KEPT.len()],
    /// What later packets do not need.
    others: [(&'static str, RawMap); 2],
    counters: Counters,
    drops: Drops,
    /// The same maps, to be emptied.
    rows: [(&'static str, RawMap); 2],
    records: Records,
    _held: Vec<MapData>,
}

impl Own {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let twice = |map: &MapData, name: &'static str| {
            let again = MapData::from_id(id_of(map)?).map_err(|error| Error::map("open", name, &error))?;
            RawMap::new(again).map_err(|error| Error::map("open", name, &error))
        };
        let mut raw = |name: &'static str| {
            RawMap::new(take(ebpf, name)?).map_err(|error| Error::map("open", name, &error))
        };
        let [a, b, c, d, e] = KEPT;
        let kept = [raw(a)?, raw(b)?, raw(c)?, raw(d)?, raw(e)?];
        let others = [("fragments", raw("fragments")?), ("answers", raw("answers")?)];
        let (drops, records) = (take(ebpf, "drops")?, take(ebpf, "records")?);
        let rows = [("drops", twice(&drops, "drops")?), ("records", twice(&records, "records")?)];
        let held = vec![take(ebpf, "service_counts")?, take(ebpf, "policy_counts")?];
        Ok(Self {
            kept,
            others,
            counters: Counters::open(take(ebpf, "counters")?)?,
            drops: Drops::open(drops)?,
            rows,
            records: Records::open(records)?,
            _held: held,
        })
    }

    /// Forgets all that was traced before, and takes in what bears on a packet: what is live, and then a state.
    pub(super) fn prepare(
        &self,
        live: &Live,
        shared: &Shared,
        packet: &Packet,
        State(entries): &State,
    ) -> Result<()> {
        let maps = KEPT.into_iter().zip(&self.kept).filter(|(name, _)| *name != "flows_used");
        let rows = self.others.iter().chain(&self.rows).map(|(name, map)| (*name, map));
        for (name, map) in maps.chain(rows) {
            let keys: Vec<u8> =
                map.entries().map_err(failed("read", name))?.into_iter().flat_map(|(key, _)| key).collect();
            map.remove_all(&keys).map_err(failed("write", name))?;
        }
        self.copy(live, shared, packet)?;
        if entries.len() > MOST {
            return Err(Error::Trace(format!("a state of {} entries is none of a trace", entries.len())));
        }
        for Entry { map, key, value } in entries {
            let place = KEPT.iter().position(|name| name == map);
            let (name, own) =
                place.and_then(|place| Some((*KEPT.get(place)?, self.kept.get(place)?))).ok_or_else(
                    || Error::Trace(format!("a state with an entry of {map:?} is none of a trace")),
                )?;
            own.set(key, value).map_err(failed("write", name))?;
        }
        Ok(())
    }

    /// Copies the live entries that a packet may meet.
    fn copy(&self, live: &Live, shared: &Shared, packet: &Packet) -> Result<()> {
        let [connections, new, flows, used, affinities] = &live.maps;
        let [own_connections, own_new, own_flows, own_used, own_affinities] = &self.kept;
        let Packet { source, destination, transport, .. } = *packet;
        let number = transport.number();
        let tables = [("connections", connections, own_connections), ("new_connections", new, own_new)];
        let copied = |key: &Tuple| -> Result<Option<Connection>> {
            for (name, from, to) in tables {
                let found: Option<Connection> = read(from, name, key)?;
                if let Some(value) = found {
                    let written = to.set(bytemuck::bytes_of(key), bytemuck::bytes_of(&value));
                    written.map_err(failed("write", name))?;
                    return Ok(found);
                }
            }
            Ok(None)
        };
        for direct in [false, true] {
            let key = tuple(source, destination, number, direct);
            if let Some(found) = copied(&key)?
                && found.state & CONNECTION_KIND != CONNECTION_PLAIN
            {
                let from = crate::connections::socket(found.source, found.source_port);
                let to = crate::connections::socket(found.destination, found.destination_port);
                for direct in [false, true] {
                    copied(&tuple(from, to, number, direct))?;
                }
            }
        }
        let zero = 0u32;
        let bits: u32 = read(used, "flows_used", &zero)?.unwrap_or_default();
        let written = own_used.set(bytemuck::bytes_of(&zero), bytemuck::bytes_of(&bits));
        written.map_err(failed("write", "flows_used"))?;
        if bits != 0 {
            let key = flow(packet);
            let found: Option<u32> = read(flows, "flows", &key)?;
            if let Some(kind) = found {
                let written = own_flows.set(bytemuck::bytes_of(&key), bytemuck::bytes_of(&kind));
                written.map_err(failed("write", "flows"))?;
            }
        }
        for service in shared.services(destination, number)? {
            let key = AffinityKey { client: Address::from(source.ip()), service };
            let key = bytemuck::bytes_of(&key);
            if let Some(kept) = affinities.get(key).map_err(failed("read", "affinities"))? {
                own_affinities.set(key, &kept).map_err(failed("write", "affinities"))?;
            }
        }
        Ok(())
    }

    /// What was counted so far.
    pub(super) fn counters(&self) -> Result<Vec<Counter>> {
        self.counters.read()
    }

    /// What policy did not let pass.
    pub(super) fn drops(&self) -> Result<Vec<Drop>> {
        let mut drops = self.drops.all()?;
        drops.retain(Drop::is_of_policy);
        Ok(drops)
    }

    /// The connection of the packet.
    pub(super) fn record(&self) -> Result<Option<Record>> {
        let rows = self.records.next(&mut Place::default())?;
        Ok(rows.and_then(|rows| rows.into_iter().next()))
    }

    /// Where the tunnel of a connection from outside ends, whose answers go there.
    pub(super) fn client_tunnel(&self) -> Result<Option<Address>> {
        let [connections, new, ..] = &self.kept;
        for (name, map) in [("connections", connections), ("new_connections", new)] {
            for (_, value) in map.entries().map_err(failed("read", name))? {
                let read = bytemuck::try_pod_read_unaligned::<Connection>(&value);
                let entry = read.map_err(|_| missing(name))?;
                if entry.state & CONNECTION_KIND == CONNECTION_PLAIN && entry.state & CONNECTION_TUNNEL != 0 {
                    return Ok(Some(entry.source));
                }
            }
        }
        Ok(None)
    }

    /// What the next packets of the connection need.
    pub(super) fn state(&self) -> Result<State> {
        let mut all = Vec::new();
        for (name, map) in KEPT.into_iter().zip(&self.kept) {
            for (key, value) in map.entries().map_err(failed("read", name))? {
                if name != "flows_used" || value.iter().any(|byte| *byte != 0) {
                    all.push(Entry { map: name.to_owned(), key, value });
                }
            }
        }
        Ok(State(all))
    }
}

/// The key of a packet's flow: ordered as a connection's, with ICMPv6 under its own number.
fn flow(packet: &Packet) -> Flow {
    let number = packet.transport.number();
    let Tuple { lower, upper, lower_port, upper_port, .. } =
        tuple(packet.source, packet.destination, number, false);
    let is_icmpv6 = packet.transport == Transport::Icmp && packet.source.is_ipv6();
    let protocol = if is_icmpv6 { 58 } else { number };
    Flow { lower, upper, lower_port, upper_port, protocol, pad: [0; 3] }
}
