//! The few expressions that masquerading needs (linux/netfilter/nf_tables.h).

use std::net::IpAddr;

use ipnet::IpNet;

use super::encode::{attribute, nested, text, word};

/// The one register used: NFT_REG_1, 16 bytes wide.
const REGISTER: u32 = 1;

/// NFT_META_OIFNAME.
const META_OIFNAME: u32 = 7;
/// NFT_META_NFPROTO.
const META_NFPROTO: u32 = 15;
/// NFT_PAYLOAD_NETWORK_HEADER.
const NETWORK_HEADER: u32 = 1;
/// NF_NAT_RANGE_PROTO_RANDOM_FULLY.
const RANDOM_FULLY: u32 = 1 << 4;
/// IFNAMSIZ.
const NAME_LENGTH: usize = 16;

/// NFTA_*_... attributes of one expression, by their numbers there.
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;

pub(super) enum Expression {
    /// Loads what is known of the packet besides its bytes.
    Meta(u32),
    /// Loads bytes of the network header: offset and length.
    NetworkHeader(u32, u32),
    /// Ands the loaded bytes.
    Mask(Vec<u8>),
    /// Goes on only if the loaded bytes equal these.
    Equal(Vec<u8>),
    /// Goes on only if they do not.
    NotEqual(Vec<u8>),
    Counter,
    Masquerade,
}

impl Expression {
    pub(super) fn source_in(cidr: IpNet) -> Vec<Self> {
        let (family, offset, network, mask) = match (cidr.network(), cidr.netmask()) {
            (IpAddr::V4(network), IpAddr::V4(mask)) => {
                (libc::NFPROTO_IPV4, 12, network.octets().to_vec(), mask.octets().to_vec())
            }
            (network, mask) => (libc::NFPROTO_IPV6, 8, octets(network), octets(mask)),
        };
        let length = u32::try_from(network.len()).unwrap_or_default();
        vec![
            Self::Meta(META_NFPROTO),
            Self::Equal(vec![u8::try_from(family).unwrap_or_default()]),
            Self::NetworkHeader(offset, length),
            Self::Mask(mask),
            Self::Equal(network),
        ]
    }

    pub(super) fn output_interface_is_not(name: &str) -> Vec<Self> {
        let mut padded = name.as_bytes().to_vec();
        padded.resize(NAME_LENGTH, 0);
        vec![Self::Meta(META_OIFNAME), Self::NotEqual(padded)]
    }

    /// One list element (NFTA_LIST_ELEM's contents).
    pub(super) fn encode(&self) -> Vec<u8> {
        let (name, data) = match self {
            Self::Meta(key) => ("meta", [word(2, *key), word(1, REGISTER)].concat()),
            Self::NetworkHeader(offset, length) => (
                "payload",
                [word(1, REGISTER), word(2, NETWORK_HEADER), word(3, *offset), word(4, *length)].concat(),
            ),
            Self::Mask(mask) => {
                let length = u32::try_from(mask.len()).unwrap_or_default();
                let zero = vec![0; mask.len()];
                let parts =
                    [word(1, REGISTER), word(2, REGISTER), word(3, length), value(4, mask), value(5, &zero)];
                ("bitwise", parts.concat())
            }
            Self::Equal(bytes) => ("cmp", [word(1, REGISTER), word(2, 0), value(3, bytes)].concat()),
            Self::NotEqual(bytes) => ("cmp", [word(1, REGISTER), word(2, 1), value(3, bytes)].concat()),
            Self::Counter => ("counter", Vec::new()),
            Self::Masquerade => ("masq", word(1, RANDOM_FULLY)),
        };
        [text(NFTA_EXPR_NAME, name), nested(NFTA_EXPR_DATA, &data)].concat()
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn value(kind: u16, bytes: &[u8]) -> Vec<u8> {
    nested(kind, &attribute(NFTA_DATA_VALUE, bytes))
}
