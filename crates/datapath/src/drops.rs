//! What was dropped and why: one row for each reason, source, destination, port and rule, which the programs count.

use std::net::IpAddr;
use std::time::Duration;

use aya::maps::MapData;

use crate::counters::reasons;
use crate::error::{Error, Result};
use crate::layout::Address;
use crate::layout::drops::{DROP_AUDIT, DROP_INGRESS, DROP_OTHERS, DropCounter, DropKey};
use crate::sys::{Cursor, RawMap};

/// The reasons of drops for which policy is to blame.
pub const OF_POLICY: [&str; 4] = ["policy_ingress", "policy_egress", "policy_unknown", "policy_no_port"];

/// Packets that were dropped, or would have been, for one reason between the same two addresses.
///
/// All but [`source_port`](Self::source_port), what was [`claimed`](Self::claimed), the counts and the times tells one row
/// from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Why: the name of one of [`reasons`].
    pub reason: &'static str,
    /// Whether it was about to come to the destination, an end of this node; else the source, one of this node, was about to
    /// send it.
    pub ingress: bool,
    /// It passed: the policy that would have it dropped is on trial.
    pub audit: bool,
    /// All that its sender had dropped for this reason, or this end of policy, when it had too many rows of its own
    /// already: the other end, the port and the protocol are not known.
    pub others: bool,
    /// The protocol's number in IP headers; ICMPv6 has that of ICMP. 0: it is not known.
    pub protocol: u8,
    /// Who sent it, before its address is translated. If it may not have been its own: an address of the Pod at the
    /// interface, or the other node's end of the tunnel. `None`: it is not known.
    pub source: Option<IpAddr>,
    /// The port from which the last packet came; 0: the protocol has none, or it is not known.
    pub source_port: u16,
    /// The endpoint; of a connection through a Service, the backend that it got, if it got one. `None`: it is not known.
    pub destination: Option<IpAddr>,
    /// The destination's port; 0: the protocol has none, or it is not known.
    pub port: u16,
    /// The rule of policy; 0: none.
    pub rule: u32,
    /// The index of the interface where it came in; 0: policy dropped it.
    pub interface: u32,
    /// The source that the last packet had in its header, if that may not have been its own.
    pub claimed: Option<IpAddr>,
    /// The MAC address of such a frame from a Pod's interface.
    pub claimed_mac: Option<[u8; 6]>,
    /// How many packets. With [`audit`](Self::audit): connections, and packets that belong to none.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// When the first one came, since boot ([`now`]).
    pub first: Duration,
    /// When the last one came, since boot.
    pub last: Duration,
}

impl Drop {
    /// Whether policy is to blame.
    pub fn is_of_policy(&self) -> bool {
        OF_POLICY.contains(&self.reason)
    }
}

/// The table of drops. It can be read without holding the datapath: programs write to it all the time anyway.
#[derive(Debug)]
pub struct Drops(RawMap);

impl Drops {
    const MAP: &'static str = "drops";

    pub(crate) fn open(map: MapData) -> Result<Self> {
        RawMap::new(map).map(Self).map_err(|error| Error::map("open", Self::MAP, &error))
    }

    /// How many rows fit in. When it is full, those are evicted that were not seen for longest.
    pub fn size(&self) -> u32 {
        self.0.max_entries()
    }

    /// Every row, in no order. One that was added or evicted meanwhile may be missing.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn all(&self) -> Result<Vec<Drop>> {
        let (mut all, mut cursor) = (Vec::new(), Cursor::default());
        while let Some(batch) =
            self.0.batch(&mut cursor).map_err(|error| Error::map("read", Self::MAP, &error))?
        {
            for (key, value) in batch.iter() {
                all.push(read(key, value)?);
            }
        }
        Ok(all)
    }
}

fn read(key: &[u8], value: &[u8]) -> Result<Drop> {
    let foreign = |_| Error::Foreign { map: Drops::MAP, value: "an entry of another size".to_owned() };
    let key: DropKey = bytemuck::try_pod_read_unaligned(key).map_err(foreign)?;
    let value: DropCounter = bytemuck::try_pod_read_unaligned(value).map_err(foreign)?;
    let known = |address: Address| (address != Address::default()).then(|| IpAddr::from(address));
    Ok(Drop {
        // A later build may know more.
        reason: reasons().get(usize::from(key.reason)).map_or("unknown", |reason| reason.name),
        ingress: key.flags & DROP_INGRESS != 0,
        audit: key.flags & DROP_AUDIT != 0,
        others: key.flags & DROP_OTHERS != 0,
        protocol: key.protocol,
        source: known(key.source),
        source_port: u16::from_be_bytes(value.source_port),
        destination: known(key.destination),
        port: u16::from_be_bytes(key.port),
        rule: key.rule,
        interface: key.ifindex,
        claimed: known(value.claimed),
        claimed_mac: (value.mac != [0; 6]).then_some(value.mac),
        packets: value.packets,
        bytes: value.bytes,
        first: Duration::from_nanos(value.first),
        last: Duration::from_nanos(value.last),
    })
}
