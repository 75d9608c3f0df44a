//! Packets of which not everything is known.

use std::net::IpAddr;

use crate::family::Family;

/// TCP and UDP (IANA protocol numbers).
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// An interface that a packet comes in by or leaves by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) name: String,
    /// `None`: it is not there yet.
    pub(super) ifindex: Option<u32>,
}

/// One packet: what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) family: Family,
    pub(super) input: Option<Port>,
    pub(super) output: Option<Port>,
    /// `None`: anybody.
    pub(super) source: Option<IpAddr>,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    /// The destination's; `None`: any.
    pub(super) port: Option<u16>,
    /// Whether it belongs to a connection that is there.
    pub(super) established: bool,
    /// Whether its destination was translated (DNAT).
    pub(super) translated: bool,
}

/// Bytes of which some bits are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits {
    pub(super) value: Vec<u8>,
    /// A bit that is set here is known.
    pub(super) known: Vec<u8>,
}

impl Bits {
    pub(super) fn unknown(length: usize) -> Self {
        Self { value: vec![0; length], known: vec![0; length] }
    }

    pub(super) fn known(value: &[u8]) -> Self {
        Self { value: value.to_vec(), known: vec![0xff; value.len()] }
    }

    /// A part; what is beyond the end is not known.
    pub(super) fn part(&self, offset: usize, length: usize) -> Self {
        let byte = |from: &[u8], at: usize| from.get(offset + at).copied().unwrap_or_default();
        Self {
            value: (0..length).map(|at| byte(&self.value, at)).collect(),
            known: (0..length).map(|at| byte(&self.known, at)).collect(),
        }
    }

    /// Writes into it.
    pub(super) fn put(&mut self, offset: usize, part: &Self) {
        for (at, (value, known)) in part.value.iter().zip(&part.known).enumerate() {
            if let (Some(to), Some(mask)) = (self.value.get_mut(offset + at), self.known.get_mut(offset + at))
            {
                (*to, *mask) = (*value, *known);
            }
        }
    }

    /// Whether it has this value; `None`: not enough is known.
    pub(super) fn equals(&self, value: &[u8]) -> Option<bool> {
        let mut known = self.value.iter().zip(&self.known).zip(value);
        if known.any(|((is, known), wanted)| (is ^ wanted) & known != 0) {
            return Some(false);
        }
        self.is_known().then_some(true)
    }

    pub(super) fn is_known(&self) -> bool {
        self.known.iter().all(|known| *known == 0xff)
    }
}

impl Packet {
    /// The IP header.
    pub(super) fn network(&self) -> Bits {
        let (length, protocol, source, destination) = match self.family {
            Family::V4 => (20, 9, 12, 16),
            Family::V6 => (40, 6, 8, 24),
        };
        let mut header = Bits::unknown(length);
        header.put(protocol, &Bits::known(&[self.protocol]));
        if let Some(address) = self.source {
            header.put(source, &Bits::known(&octets(address)));
        }
        header.put(destination, &Bits::known(&octets(self.destination)));
        header
    }

    /// The ports.
    pub(super) fn transport(&self) -> Bits {
        let mut header = Bits::unknown(4);
        if let Some(port) = self.port {
            header.put(2, &Bits::known(&port.to_be_bytes()));
        }
        header
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
