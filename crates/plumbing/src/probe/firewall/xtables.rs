//! Matches and targets of iptables that rules of nf_tables contain (linux/netfilter/xt_*.h). Pure.

use crate::nft::step::Verdict;
use crate::probe::packet::{Bits, Packet, TCP, UDP};

/// XT_CONNTRACK_STATE, and the states: NEW, ESTABLISHED, and a translated destination.
const BY_STATE: u16 = 1;
const STATE_NEW: u16 = 8;
const STATE_ESTABLISHED: u16 = 2;
const STATE_TRANSLATED: u16 = 1 << 7;

/// What a target does.
pub(super) enum Effect {
    Verdict(Verdict),
    Mark,
    Nothing,
}

pub(super) fn effect(target: &str) -> Effect {
    match target {
        "REJECT" | "DROP" => Effect::Verdict(Verdict::Drop),
        "ACCEPT" => Effect::Verdict(Verdict::Accept),
        "MARK" | "CONNMARK" => Effect::Mark,
        "LOG" | "NFLOG" | "TCPMSS" | "CT" | "NOTRACK" | "TRACE" | "CLASSIFY" | "AUDIT" | "SET" | "DSCP"
        | "TOS" | "TTL" | "HL" | "CHECKSUM" => Effect::Nothing,
        _ => Effect::Verdict(Verdict::Elsewhere),
    }
}

/// Whether a match says so; `None`: that is not known.
pub(super) fn matches(packet: &Packet, mark: &Bits, name: &str, revision: u32, info: &[u8]) -> Option<bool> {
    match (name, revision) {
        ("comment", _) => Some(true),
        ("mark", 1) => {
            let (wanted, mask) = (info.get(..4)?, info.get(4..8)?);
            let masked = mark.value.iter().zip(mask).map(|(value, mask)| value & mask).collect();
            let known = mark.known.iter().zip(mask).map(|(known, mask)| known | !mask).collect();
            let equal = Bits { value: masked, known }.equals(wanted)?;
            Some(equal != (*info.get(8)? != 0))
        }
        ("conntrack", 2 | 3) => {
            let (by, inverted, states) = (half(info, 146)?, half(info, 148)?, half(info, 150)?);
            let is = if packet.established { STATE_ESTABLISHED } else { STATE_NEW }
                | if packet.translated { STATE_TRANSLATED } else { 0 };
            let state = (states & is != 0) != (inverted & BY_STATE != 0);
            match by {
                BY_STATE => Some(state),
                _ if by & BY_STATE != 0 && !state => Some(false),
                _ => None,
            }
        }
        ("state", _) => {
            let states = u32::from_ne_bytes(info.get(..4)?.try_into().ok()?);
            let is = if packet.established { STATE_ESTABLISHED } else { STATE_NEW };
            Some(states & u32::from(is) != 0)
        }
        ("tcp", _) => {
            let plain = info.get(8..10)? == [0, 0] && info.get(11)? & !DESTINATION_INVERTED == 0;
            port(packet, TCP, info, *info.get(11)?, plain)
        }
        ("udp", _) => {
            let plain = info.get(8)? & !DESTINATION_INVERTED == 0;
            port(packet, UDP, info, *info.get(8)?, plain)
        }
        _ => None,
    }
}

/// XT_TCP_INV_DSTPT, and UDP's.
const DESTINATION_INVERTED: u8 = 2;

/// The destination port's range; `plain`: there are no other conditions, but perhaps the source port's.
fn port(packet: &Packet, protocol: u8, info: &[u8], inverted: u8, plain: bool) -> Option<bool> {
    if packet.protocol != protocol {
        return Some(false);
    }
    let port = packet.port?;
    let inside = (half(info, 4)?..=half(info, 6)?).contains(&port);
    if inside == (inverted & DESTINATION_INVERTED != 0) {
        return Some(false);
    }
    let any_source = (half(info, 0)?, half(info, 2)?) == (0, u16::MAX);
    (plain && any_source).then_some(true)
}

fn half(info: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(info.get(at..at + 2)?.try_into().ok()?))
}
