use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use naming::Mac;
use uuid::Uuid;

use crate::random::Random;

/// How many translated connections are kept, and how many entries were learned. Far more than a simulation needs.
const MOST: usize = 1 << 20;

/// What MidoNet's agents share and learn from packets: the translations of connections, and where MAC addresses are. With
/// the same one, the reply to a packet and later packets of its connection can be simulated.
///
/// It belongs to one topology. What was learned of ports that are not there any more does no harm.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) random: Random,
    bindings: HashMap<NatKey, Endpoint>,
    /// Addresses and ports that connections to a destination come from since their source was translated.
    sources: HashSet<(Option<Uuid>, Endpoint, Endpoint)>,
    macs: HashMap<(Uuid, Mac), Uuid>,
    arp: HashMap<(Uuid, Ipv4Addr), Mac>,
}

/// An address and a port. The port of ICMP echo is its id.
pub(crate) type Endpoint = (Ipv4Addr, u16);

/// Which packets of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Dnat,
    Snat,
    RevDnat,
    RevSnat,
}

/// A connection as one device sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NatKey {
    pub(crate) direction: Direction,
    pub(crate) src: Endpoint,
    pub(crate) dst: Endpoint,
    pub(crate) protocol: u8,
    /// None for what a device answers, until it comes to the next one.
    pub(crate) device: Option<Uuid>,
}

/// There is no space for another connection.
pub(crate) struct Exhausted;

impl State {
    /// Nothing is known. Random choices, which endpoint of a Service gets a connection and which port it comes from,
    /// follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            bindings: HashMap::new(),
            sources: HashSet::new(),
            macs: HashMap::new(),
            arp: HashMap::new(),
        }
    }

    pub(crate) fn binding(&self, key: &NatKey) -> Option<Endpoint> {
        self.bindings.get(key).copied()
    }

    /// Keeps what the packets of a new connection become, and what the packets of its other direction do.
    pub(crate) fn bind(&mut self, key: NatKey, to: Endpoint) -> Result<(), Exhausted> {
        if self.bindings.len() >= MOST {
            return Err(Exhausted);
        }
        let (reverse, original) = match key.direction {
            Direction::Snat => {
                self.sources.insert((key.device, to, key.dst));
                (NatKey { direction: Direction::RevSnat, src: key.dst, dst: to, ..key }, key.src)
            }
            _ => (NatKey { direction: Direction::RevDnat, src: to, dst: key.src, ..key }, key.dst),
        };
        self.bindings.insert(key, to);
        self.bindings.insert(reverse, original);
        Ok(())
    }

    /// Whether no connection to that destination comes from here.
    pub(crate) fn is_free(&self, device: Option<Uuid>, source: Endpoint, dst: Endpoint) -> bool {
        !self.sources.contains(&(device, source, dst))
    }

    pub(crate) fn learn_mac(&mut self, bridge: Uuid, mac: Mac, port: Uuid) {
        if self.macs.len() < MOST || self.macs.contains_key(&(bridge, mac)) {
            self.macs.insert((bridge, mac), port);
        }
    }

    pub(crate) fn learned_mac(&self, bridge: Uuid, mac: Mac) -> Option<Uuid> {
        self.macs.get(&(bridge, mac)).copied()
    }

    pub(crate) fn learn_arp(&mut self, device: Uuid, address: Ipv4Addr, mac: Mac) {
        if self.arp.len() < MOST || self.arp.contains_key(&(device, address)) {
            self.arp.insert((device, address), mac);
        }
    }

    pub(crate) fn learned_arp(&self, device: Uuid, address: Ipv4Addr) -> Option<Mac> {
        self.arp.get(&(device, address)).copied()
    }
}
