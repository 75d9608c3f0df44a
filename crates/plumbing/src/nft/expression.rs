//! The few expressions that the table's rules need (linux/netfilter/nf_tables.h).

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::encode::{attribute, nested, octets, text, word};
use super::set::{Kind, Set};
use crate::family::Family;

/// Registers of four bytes each, NFT_REG32_00 and on: what is compared or looked up begins in the first, what a map has in
/// another one behind all of it.
const KEY: u32 = 8;
const VALUE: u32 = 16;
/// NFT_REG_VERDICT, and NFT_RETURN as a verdict.
const VERDICT: u32 = 0;
const RETURN: i32 = -5;

/// NFT_META_OIFNAME, _NFPROTO and _L4PROTO.
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
/// NFT_CT_STATUS; IPS_DST_NAT (linux/netfilter/nf_conntrack_common.h).
const CT_STATUS: u32 = 2;
const DESTINATION_NAT: u32 = 1 << 5;
/// NFTA_FIB_F_DADDR; NFT_FIB_RESULT_ADDRTYPE; RTN_LOCAL.
const FIB_DESTINATION: u32 = 2;
const FIB_ADDRESS_TYPE: u32 = 3;
const LOCAL: u32 = 2;
/// NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// Where TCP, UDP and SCTP have the destination's port, and its length, in bytes.
const DESTINATION_PORT: (u32, u32) = (2, 2);
/// NF_NAT_RANGE_PROTO_RANDOM_FULLY.
const RANDOM_FULLY: u32 = 1 << 4;
/// NFT_NAT_DNAT.
const DESTINATION: u32 = 1;
/// IFNAMSIZ.
const NAME_LENGTH: usize = 16;

/// NFTA_*_... attributes of one expression, by their numbers there.
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;

#[derive(Debug, Clone)]
pub(super) enum Expression {
    /// Loads what is known of the packet besides its bytes: which, and into which register.
    Meta(u32, u32),
    /// Loads bytes of a header: which header, offset, length, and into which register.
    Payload(u32, u32, u32, u32),
    /// Loads the state of the connection.
    Connection(u32),
    /// Loads the type of the destination's address.
    DestinationType,
    /// Loads a constant into a register.
    Constant(u32, Vec<u8>),
    /// Ands the loaded bytes.
    Mask(Vec<u8>),
    /// Goes on only if the loaded bytes equal these.
    Equal(Vec<u8>),
    /// Goes on only if they do not.
    NotEqual(Vec<u8>),
    /// Goes on only if the set has what is loaded; of a map the value is loaded, too.
    Lookup(Set),
    Counter,
    /// Leaves the chain.
    Return,
    /// Gives the source the address of the interface that the packet leaves by, and a port between those in two registers.
    Masquerade(u32, u32),
    /// Gives the destination the address and, if there is one, the port in these registers.
    Translate(Family, u32, Option<u32>),
}

/// A length of bytes as the kernel has it.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or_default()
}

/// The number of registers that an address takes.
fn registers(family: Family) -> u32 {
    match family {
        Family::V4 => 1,
        Family::V6 => 4,
    }
}

/// Offset and length of the source's and the destination's address in the network header, in bytes.
fn addresses(family: Family) -> [(u32, u32); 2] {
    match family {
        Family::V4 => [(12, 4), (16, 4)],
        Family::V6 => [(8, 16), (24, 16)],
    }
}

impl Expression {
    /// The packet is of that family.
    pub(super) fn family(family: Family) -> Vec<Self> {
        let number = match family {
            Family::V4 => libc::NFPROTO_IPV4,
            Family::V6 => libc::NFPROTO_IPV6,
        };
        vec![Self::Meta(META_NFPROTO, KEY), Self::Equal(vec![u8::try_from(number).unwrap_or_default()])]
    }

    pub(super) fn source_in(cidr: IpNet) -> Vec<Self> {
        let family = Family::of(cidr.network());
        let [(offset, length), _] = addresses(family);
        let mut all = Self::family(family);
        all.extend([
            Self::Payload(NETWORK_HEADER, offset, length, KEY),
            Self::Mask(octets(cidr.netmask())),
            Self::Equal(octets(cidr.network())),
        ]);
        all
    }

    /// The packet leaves by an interface of this name, or by another one.
    pub(super) fn output_interface(name: &str, is: bool) -> Vec<Self> {
        let mut padded = name.as_bytes().to_vec();
        padded.resize(NAME_LENGTH, 0);
        vec![Self::Meta(META_OIFNAME, KEY), if is { Self::Equal(padded) } else { Self::NotEqual(padded) }]
    }

    /// The destination is no address of this node.
    pub(super) fn destination_is_not_own() -> Vec<Self> {
        vec![Self::DestinationType, Self::NotEqual(LOCAL.to_ne_bytes().to_vec())]
    }

    /// The source is one that no packet on a wire has.
    pub(super) fn source_is_loopback(family: Family) -> Vec<Self> {
        let [source, _] = addresses(family);
        Self::is_loopback(family, source)
    }

    /// The destination is one that no packet on a wire has.
    pub(super) fn destination_is_loopback(family: Family) -> Vec<Self> {
        let [_, destination] = addresses(family);
        Self::is_loopback(family, destination)
    }

    fn is_loopback(family: Family, (offset, length): (u32, u32)) -> Vec<Self> {
        let load = Self::Payload(NETWORK_HEADER, offset, length, KEY);
        match family {
            Family::V4 => vec![load, Self::Mask(vec![255, 0, 0, 0]), Self::Equal(vec![127, 0, 0, 0])],
            Family::V6 => vec![load, Self::Equal(octets(std::net::Ipv6Addr::LOCALHOST.into()))],
        }
    }

    /// The connection's destination was translated.
    pub(super) fn destination_is_translated() -> Vec<Self> {
        let mask = DESTINATION_NAT.to_ne_bytes().to_vec();
        vec![Self::Connection(CT_STATUS), Self::Mask(mask.clone()), Self::Equal(mask)]
    }

    /// Loads what a set has as its key.
    fn key_of(Set { kind, family }: Set) -> Vec<Self> {
        let [_, (offset, length)] = addresses(family);
        let (has_address, has_port) = match kind {
            Kind::NodePorts | Kind::HostPorts => (false, true),
            Kind::NodePortAddresses => (true, false),
            Kind::HostPortsAt => (true, true),
        };
        let mut next = KEY;
        let mut all = Vec::new();
        if has_address {
            all.push(Self::Payload(NETWORK_HEADER, offset, length, next));
            next += registers(family);
        }
        if has_port {
            let (offset, length) = DESTINATION_PORT;
            all.push(Self::Meta(META_L4PROTO, next));
            all.push(Self::Payload(TRANSPORT_HEADER, offset, length, next + 1));
        }
        all
    }

    /// The set has the packet's destination.
    pub(super) fn in_set(set: Set) -> Vec<Self> {
        let mut all = Self::key_of(set);
        all.push(Self::Lookup(set));
        all
    }

    /// The destination gets the address and the port that the map looked up before has for it.
    pub(super) fn to_mapped(family: Family) -> Vec<Self> {
        vec![Self::Translate(family, VALUE, Some(VALUE + registers(family)))]
    }

    /// The destination gets this address, and keeps its port.
    pub(super) fn to_address(address: IpAddr) -> Vec<Self> {
        vec![Self::Constant(VALUE, octets(address)), Self::Translate(Family::of(address), VALUE, None)]
    }

    /// The source gets the address of the interface that the packet leaves by, and one of these ports.
    pub(super) fn masquerade(ports: &RangeInclusive<u16>) -> Vec<Self> {
        let port = |register, port: &u16| Self::Constant(register, port.to_be_bytes().to_vec());
        vec![port(KEY, ports.start()), port(VALUE, ports.end()), Self::Masquerade(KEY, VALUE)]
    }

    /// One list element (NFTA_LIST_ELEM's contents).
    pub(super) fn encode(&self) -> Vec<u8> {
        let (name, data) = match self {
            Self::Meta(key, to) => ("meta", [word(2, *key), word(1, *to)].concat()),
            Self::Payload(header, offset, length, to) => {
                ("payload", [word(1, *to), word(2, *header), word(3, *offset), word(4, *length)].concat())
            }
            Self::Connection(key) => ("ct", [word(1, KEY), word(2, *key)].concat()),
            Self::DestinationType => {
                ("fib", [word(1, KEY), word(2, FIB_ADDRESS_TYPE), word(3, FIB_DESTINATION)].concat())
            }
            Self::Constant(to, bytes) => ("immediate", [word(1, *to), value(2, bytes)].concat()),
            Self::Mask(mask) => {
                let zero = vec![0; mask.len()];
                let parts =
                    [word(1, KEY), word(2, KEY), word(3, length(mask)), value(4, mask), value(5, &zero)];
                ("bitwise", parts.concat())
            }
            Self::Equal(bytes) => ("cmp", [word(1, KEY), word(2, 0), value(3, bytes)].concat()),
            Self::NotEqual(bytes) => ("cmp", [word(1, KEY), word(2, 1), value(3, bytes)].concat()),
            Self::Lookup(set) => {
                let mut parts = [text(1, set.name()), word(2, KEY)].concat();
                if set.is_map() {
                    parts.extend(word(3, VALUE));
                }
                ("lookup", parts)
            }
            Self::Counter => ("counter", Vec::new()),
            Self::Return => {
                let verdict = nested(NFTA_DATA_VERDICT, &word(1, RETURN.cast_unsigned()));
                ("immediate", [word(1, VERDICT), nested(2, &verdict)].concat())
            }
            Self::Masquerade(first, last) => {
                ("masq", [word(1, RANDOM_FULLY), word(2, *first), word(3, *last)].concat())
            }
            Self::Translate(family, address, port) => {
                let number = match family {
                    Family::V4 => libc::NFPROTO_IPV4,
                    Family::V6 => libc::NFPROTO_IPV6,
                };
                let family = word(2, number.unsigned_abs());
                let mut parts = [word(1, DESTINATION), family, word(3, *address)].concat();
                parts.extend(port.iter().flat_map(|port| word(5, *port)));
                ("nat", parts)
            }
        };
        [text(NFTA_EXPR_NAME, name), nested(NFTA_EXPR_DATA, &data)].concat()
    }
}

fn value(kind: u16, bytes: &[u8]) -> Vec<u8> {
    nested(kind, &attribute(NFTA_DATA_VALUE, bytes))
}
