//! The registers of the machine: loading and comparing them.

use crate::family::Family;
use crate::nft::ruleset::{Element, Set};
use crate::nft::step::{Comparison, Key};
use crate::probe::packet::{Bits, Packet, Port};

/// IFNAMSIZ.
const NAME: usize = 16;

/// What kube-proxy marks packets with that shall be masqueraded or dropped: no such packet is asked about.
const KUBE_PROXY_MARKS: u32 = 0xc000;

/// IPS_DST_NAT.
const TRANSLATED: u32 = 1 << 5;

/// Whether a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    Maybe,
    No,
}

impl From<Option<bool>> for Match {
    fn from(known: Option<bool>) -> Self {
        match known {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => Self::Maybe,
        }
    }
}

/// The packet's mark; `changed`: a rule may have changed it.
pub(super) fn mark(changed: bool) -> Bits {
    let known = if changed { 0 } else { KUBE_PROXY_MARKS };
    Bits { value: vec![0; 4], known: known.to_ne_bytes().to_vec() }
}

/// The value of a key; `changed`: a rule may have changed the packet's mark.
pub(super) fn load(packet: &Packet, changed: bool, key: Key) -> Bits {
    match key {
        Key::Mark => mark(changed),
        Key::InputIndex => index(packet.input.as_ref()),
        Key::OutputIndex => index(packet.output.as_ref()),
        Key::InputName => name(packet.input.as_ref()),
        Key::OutputName => name(packet.output.as_ref()),
        Key::Family => Bits::known(&[if packet.family == Family::V4 { 2 } else { 10 }, 0, 0, 0]),
        Key::Ethertype => Bits::known(match packet.family {
            Family::V4 => &[0x08, 0x00, 0, 0],
            Family::V6 => &[0x86, 0xdd, 0, 0],
        }),
        Key::Protocol => Bits::known(&[packet.protocol, 0, 0, 0]),
        Key::ConnectionState => {
            let state: u32 = if packet.established { 2 } else { 8 };
            Bits::known(&state.to_ne_bytes())
        }
        Key::ConnectionStatus => {
            let status = if packet.translated { TRANSLATED } else { 0 };
            let (value, known) = (status.to_ne_bytes().to_vec(), TRANSLATED.to_ne_bytes().to_vec());
            Bits { value, known }
        }
        Key::Other => Bits::unknown(NAME),
    }
}

/// Whether a set has the value of a register, and its element.
pub(super) fn find<'a>(set: &'a Set, registers: &Bits, from: usize) -> (Match, Option<&'a Element>) {
    let absent = if set.partial { Match::Maybe } else { Match::No };
    let Some(length) = set.elements.keys().map(Vec::len).next() else { return (absent, None) };
    let bits = registers.part(from, length);
    if set.interval {
        if !bits.is_known() {
            return (Match::Maybe, None);
        }
        // An interval that reaches to the end of all keys has no end.
        return match set.elements.range(..=bits.value).next_back() {
            Some((_, element)) if !element.end => (Match::Yes, Some(element)),
            _ => (absent, None),
        };
    }
    if bits.is_known() {
        return set.elements.get(&bits.value).map_or((absent, None), |found| (Match::Yes, Some(found)));
    }
    let possible = set.elements.keys().any(|key| bits.equals(key) != Some(false));
    (if possible { Match::Maybe } else { absent }, None)
}

pub(super) fn compare(bits: &Bits, how: Comparison, value: &[u8]) -> Match {
    let is = bits.value.as_slice();
    let known = match how {
        Comparison::Equal => bits.equals(value),
        Comparison::NotEqual => bits.equals(value).map(|equal| !equal),
        _ if !bits.is_known() => None,
        Comparison::Less => Some(is < value),
        Comparison::LessOrEqual => Some(is <= value),
        Comparison::Greater => Some(is > value),
        Comparison::GreaterOrEqual => Some(is >= value),
    };
    known.into()
}

/// The kernel has 0 and an empty name where there is no interface.
fn index(port: Option<&Port>) -> Bits {
    match port {
        None => Bits::known(&0u32.to_ne_bytes()),
        Some(Port { ifindex: Some(ifindex), .. }) => Bits::known(&ifindex.to_ne_bytes()),
        Some(Port { ifindex: None, .. }) => Bits::unknown(4),
    }
}

fn name(port: Option<&Port>) -> Bits {
    let mut padded = port.map(|port| port.name.as_bytes().to_vec()).unwrap_or_default();
    padded.resize(NAME, 0);
    Bits::known(&padded)
}
