//! Rules and NAT targets that several conversions make.

use std::net::Ipv4Addr;

use midonet::{FlowAction, NatTarget, PortRange, Rule, RuleType};
use uuid::Uuid;

/// The EtherType of IPv4.
pub(crate) const IPV4: u16 = 0x800;

/// The ports that connections get whose source is translated, as in midonet-kubernetes.
const SOURCE_PORTS: (u16, u16) = (30_000, 60_000);

/// Packets from this address get another one as their source, and go on.
pub(crate) fn snat(id: Uuid, from: Ipv4Addr, to: Ipv4Addr) -> Rule {
    let (port_from, port_to) = SOURCE_PORTS;
    Rule {
        dl_type: Some(IPV4),
        nw_src_address: Some(from),
        nw_src_length: 32,
        flow_action: Some(FlowAction::Continue),
        nat_targets: Some(vec![NatTarget { address_from: to, address_to: to, port_from, port_to }]),
        ..Rule::new(id, RuleType::Snat)
    }
}

/// The rule, for packets to this address alone.
pub(crate) fn to_address(address: Ipv4Addr, rule: Rule) -> Rule {
    Rule { dl_type: Some(IPV4), nw_dst_address: Some(address), nw_dst_length: 32, ..rule }
}

/// The rule, for packets to this port alone.
pub(crate) fn to_port(address: Ipv4Addr, protocol: u8, port: u16, rule: Rule) -> Rule {
    let rule = Rule { nw_proto: protocol, tp_dst: Some(PortRange { start: port, end: port }), ..rule };
    to_address(address, rule)
}

/// This address and port.
pub(crate) fn target((address, port): (Ipv4Addr, u16)) -> NatTarget {
    NatTarget { address_from: address, address_to: address, port_from: port, port_to: port }
}
