//! Tracing: what becomes of a packet on this node, judged by the programs, without sending it.
//!
//! A second load of the programs shares with the first one the maps that decide (ports, routes, Services, policy), which only
//! the agent writes. Those that programs write are its own: it changes no connection, no counter and no record. What of
//! connections bears on a packet is copied there first. The kernel then runs the program of a hook on the packet
//! (`BPF_PROG_TEST_RUN`), as it came in there.
//!
//! The second load records every connection, whether the first one does or not: that tells the rules of policy.

mod copies;
mod exits;
mod maps;
mod packet;
mod run;

use std::net::IpAddr;
use std::path::PathBuf;

use aya::Ebpf;
use aya::EbpfLoader;
use aya::maps::{MapData, ProgramArray};
use aya::programs::SchedClassifier;

use crate::api::Datapath;
use crate::counters::Reason;
use crate::drops::Drop;
use crate::error::{Error, Result, chain};
use crate::maps::Writer;
use crate::programs::{FROM_OVERLAY, OBJECT, load};
use crate::records::Record;

pub use copies::{Entry, State};
pub use packet::{Packet, Transport};

use copies::{Live, Own};
use maps::{Shared, own_entries};

/// The program that gives a packet the metadata of a tunnel.
const TUNNEL: &str = "with_tunnel";

static TUNNEL_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tunnel.bpf.o"));

/// Where a packet comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// At the host side of a Pod, by its index.
    Port(u32),
    /// From a process of this node, through `midokube-mido`.
    Node,
    /// Through the tunnel, from the node with this address.
    Tunnel(IpAddr),
}

/// Where it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Nowhere: it was dropped. `answered`: its sender is told.
    Dropped {
        /// By an ICMP error or a reset.
        answered: bool,
    },
    /// The network itself answered it: a ping of the gateway, or an ICMP error that is due.
    Answered,
    /// To a Pod, whose host side has this index.
    Port(u32),
    /// To the node's network stack: a process of this node, or what that forwards.
    Node,
    /// Through the tunnel, which ends at that address.
    Tunnel {
        /// The other node's end.
        end: IpAddr,
        /// This node's: what the other node knows the packet by.
        own: IpAddr,
    },
    /// To a host outside, through an uplink, past the node's network stack.
    Outside,
}

/// What became of a packet on this node.
#[derive(Clone, Debug)]
pub struct Traced {
    /// As it came in.
    pub sent: Packet,
    /// Why: one of [`reasons`](crate::reasons).
    pub reason: &'static Reason,
    /// Where it left.
    pub exit: Exit,
    /// As it left; as it came in, if it went nowhere.
    pub packet: Packet,
    /// Whether it queued at the shaper first, for its sender's limit.
    pub shaped: bool,
    /// Whether the other node's packet came in past the VXLAN device: its header was removed by the uplink's program.
    pub direct: bool,
    /// Its connection, if it has one that may go on here.
    pub record: Option<Record>,
    /// What policy did not let pass, or would not.
    pub drops: Vec<Drop>,
    /// What has to be known when the next packet of the connection is traced here.
    pub state: State,
}

/// The maps of a datapath, as a tracer needs them.
pub struct Source {
    shared: Vec<(&'static str, PathBuf, u32, u32)>,
    live: Live,
}

impl Datapath {
    /// What a [`Tracer`] needs of this datapath. Opening one, and tracing, then needs it no more.
    ///
    /// # Errors
    /// The kernel does not tell which maps the programs use.
    pub fn trace_source(&self) -> Result<Source> {
        let mut maps = self.maps()?;
        let mut take = |name: &'static str| {
            let map = maps.remove(name);
            map.ok_or_else(|| Error::Load { what: "maps", reason: format!("no program uses map {name}") })
        };
        let mut shared = Vec::new();
        for (name, pin) in self.map_pins() {
            let Some(spec) = self.specs.iter().find(|spec| spec.name == name) else { continue };
            if spec.writer == Writer::Agent {
                shared.push((name, pin, id_of(&take(name)?)?, spec.max_entries));
            }
        }
        Ok(Source { shared, live: Live::open(&mut take)? })
    }
}

fn id_of(map: &MapData) -> Result<u32> {
    let info = map.info().map_err(|error| Error::map("read", "of the programs", &error))?;
    Ok(info.id())
}

/// A second load of the programs, for single packets.
pub struct Tracer {
    ebpf: Ebpf,
    /// With the program that stands in for the VXLAN device, once it was needed.
    tunnel: Option<Ebpf>,
    loaded: Vec<&'static str>,
    shared: Shared,
    own: Own,
    ids: Vec<u32>,
    live: Live,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").field("loaded", &self.loaded).finish_non_exhaustive()
    }
}

impl Tracer {
    /// Makes the maps; programs are loaded when a packet needs them first.
    ///
    /// # Errors
    /// The kernel refuses them, or a map of the datapath was replaced in this moment.
    pub fn open(source: Source) -> Result<Self> {
        let Source { shared, live } = source;
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        for (name, pin, _, max_entries) in &shared {
            if !pin.exists() {
                let reason = format!("{} is gone: the agent puts it back within seconds", pin.display());
                return Err(Error::Load { what: "maps", reason });
            }
            loader.map_max_entries(name, *max_entries);
            loader.map_pin_path(name, pin);
        }
        for spec in crate::maps::specs(&crate::maps::ANY_SIZES) {
            if let Some(entries) = own_entries(spec.name) {
                loader.map_max_entries(spec.name, entries);
            }
        }
        // So that connections have records.
        loader.override_global("record_events", &1u32, true);
        // And no row of drops stands for several.
        loader.override_global("drop_rows", &u32::MAX, true);
        let mut ebpf =
            loader.load(OBJECT).map_err(|error| Error::Load { what: "maps", reason: chain(&error) })?;
        let ids = shared.iter().map(|(_, _, id, _)| *id).collect();
        let (shared, own) = (Shared::take(&mut ebpf, &shared)?, Own::take(&mut ebpf)?);
        Ok(Self { ebpf, tunnel: None, loaded: Vec::new(), shared, own, ids, live })
    }

    /// Whether it shares the maps of a datapath as it is now.
    pub fn is_of(&self, source: &Source) -> bool {
        self.ids.iter().eq(source.shared.iter().map(|(_, _, id, _)| id)) && self.live.is_as(&source.live)
    }

    /// A program, loaded.
    fn program(&mut self, name: &'static str) -> Result<&SchedClassifier> {
        if !self.loaded.contains(&name) {
            load(&mut self.ebpf, name)?;
            self.loaded.push(name);
        }
        classifier(&self.ebpf, name)
    }

    /// What stands in for the VXLAN device, which goes on with the overlay's program.
    fn tunnel_program(&mut self) -> Result<&mut Ebpf> {
        if self.tunnel.is_none() {
            let failed = |error: &dyn std::error::Error| Error::Load { what: TUNNEL, reason: chain(error) };
            let mut tunnel =
                EbpfLoader::new().btf(None).load(TUNNEL_OBJECT).map_err(|error| failed(&error))?;
            load(&mut tunnel, TUNNEL)?;
            let overlay = self.program(FROM_OVERLAY)?.fd().map_err(|error| failed(&error))?;
            let next = tunnel.map_mut("next").map(ProgramArray::try_from);
            let mut next = next.and_then(|next| next.ok()).ok_or_else(|| missing(TUNNEL))?;
            next.set(0, overlay, 0).map_err(|error| failed(&error))?;
            self.tunnel = Some(tunnel);
        }
        self.tunnel.as_mut().ok_or_else(|| missing(TUNNEL))
    }
}

fn classifier<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a SchedClassifier> {
    let program = ebpf.program(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(|error| Error::Load { what: name, reason: chain(&error) })
}

fn missing(what: &'static str) -> Error {
    Error::Load { what, reason: "it is missing".into() }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails"
)]
mod tests;
