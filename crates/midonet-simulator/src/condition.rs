use std::net::Ipv4Addr;

use midonet::{PortRange, Rule};

use crate::packet::{Packet, Payload};

const IPV4: u16 = 0x800;
const ARP: u16 = 0x806;

/// What rules see of a packet. MidoNet has the operation of an ARP packet (1 request, 2 reply) as its protocol and its
/// addresses as source and destination, so that a rule without `dlType` matches ARP, too.
struct Seen {
    ether_type: u16,
    protocol: u8,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    ports: (u16, u16),
}

fn seen(packet: &Packet) -> Seen {
    match &packet.payload {
        Payload::Arp(arp) => Seen {
            ether_type: ARP,
            protocol: if arp.reply { 2 } else { 1 },
            src: arp.sender,
            dst: arp.target,
            ports: (0, 0),
        },
        Payload::Ipv4(ip) => {
            Seen { ether_type: IPV4, protocol: ip.protocol(), src: ip.src, dst: ip.dst, ports: ip.ports() }
        }
    }
}

/// Whether the rule's conditions hold of the packet as it is now, translated by the rules before.
pub(crate) fn matches(rule: &Rule, packet: &Packet) -> bool {
    let seen = seen(packet);
    rule.dl_type.is_none_or(|dl_type| dl_type == seen.ether_type)
        && (rule.nw_proto == 0 || rule.nw_proto == seen.protocol)
        && contains(rule.nw_src_address, rule.nw_src_length, seen.src)
        && contains(rule.nw_dst_address, rule.nw_dst_length, seen.dst)
        && in_range(rule.tp_src, seen.ports.0)
        && in_range(rule.tp_dst, seen.ports.1)
}

fn contains(network: Option<Ipv4Addr>, length: u8, address: Ipv4Addr) -> bool {
    network.is_none_or(|network| masked(network, length) == masked(address, length))
}

fn in_range(range: Option<PortRange>, port: u16) -> bool {
    range.is_none_or(|range| (range.start..=range.end).contains(&port))
}

/// The first `length` bits of an address.
pub(crate) fn masked(address: Ipv4Addr, length: u8) -> u32 {
    let host_bits = 32u32.saturating_sub(u32::from(length));
    u32::from(address).checked_shr(host_bits).map_or(0, |bits| bits << host_bits)
}

#[cfg(test)]
mod tests {
    use midonet::RuleType;
    use naming::Mac;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn lengths_of_networks() {
        let address = Ipv4Addr::new(10, 1, 2, 3);
        assert_eq!(masked(address, 0), 0);
        assert_eq!(masked(address, 8), 10 << 24);
        assert_eq!(masked(address, 32), u32::from(address));
        assert_eq!(masked(address, 200), u32::from(address));
    }

    #[test]
    fn arp_is_seen_as_the_addresses_in_it() {
        let arp = Packet::arp_request(Mac([2; 6]), [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let to = |address: [u8; 4]| Rule {
            nw_dst_address: Some(address.into()),
            nw_dst_length: 32,
            ..Rule::new(Uuid::nil(), RuleType::Drop)
        };
        assert!(matches(&to([10, 0, 0, 2]), &arp));
        assert!(!matches(&to([10, 0, 0, 1]), &arp));
        assert!(!matches(&Rule { dl_type: Some(0x800), ..to([10, 0, 0, 2]) }, &arp));
    }
}
