//! The elements of the table's sets: ports of this node that its own processes reach, and where they lead.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::NLM_F_CREATE;

use super::TABLE;
use super::batch::Batch;
use super::encode::{FAMILY, attribute, concat, nested, octets, text};
use super::read::{GET_ELEMENTS, dump};
use super::set::{Kind, Set};
use super::step::{Fields, attributes};
use crate::error::{Error, Result};
use crate::family::Family;

/// NFT_MSG_NEWSETELEM and _DELSETELEM of NFNL_SUBSYS_NFTABLES.
const NEW_ELEMENTS: u16 = (10 << 8) | 12;
const DELETE_ELEMENTS: u16 = (10 << 8) | 14;

/// NFTA_SET_ELEM_LIST_ELEMENTS; NFTA_LIST_ELEM; NFTA_SET_ELEM_KEY and _DATA; NFTA_DATA_VALUE.
const LIST: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const KEY: u16 = 1;
const DATA: u16 = 2;
const VALUE: u16 = 1;

/// So many elements are in one message, whose length has 16 bits.
const SLICE: usize = 500;

/// An element of one of the table's sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A port of Services at this node's addresses.
    NodePort {
        /// The family in which it is served.
        family: Family,
        /// The IP protocol: 6 TCP, 17 UDP, 132 SCTP.
        protocol: u8,
        /// The port.
        port: u16,
    },
    /// An address of this node where NodePorts are served.
    NodePortAddress(IpAddr),
    /// A port of this node that leads to a Pod.
    HostPort {
        /// The one address of the node where the port is; `None`: at all of them.
        at: Option<IpAddr>,
        /// The family in which it is served.
        family: Family,
        /// The IP protocol.
        protocol: u8,
        /// The port.
        port: u16,
    },
}

/// Elements, each with where it leads: a hostPort to the Pod's address and port, others to `None`.
pub type Elements = BTreeMap<Element, Option<SocketAddr>>;

impl Element {
    fn set(&self) -> Set {
        let (kind, family) = match self {
            Self::NodePort { family, .. } => (Kind::NodePorts, *family),
            Self::NodePortAddress(address) => (Kind::NodePortAddresses, Family::of(*address)),
            Self::HostPort { at: None, family, .. } => (Kind::HostPorts, *family),
            Self::HostPort { at: Some(address), .. } => (Kind::HostPortsAt, Family::of(*address)),
        };
        Set { kind, family }
    }

    /// Each field in as many whole words of four bytes as it needs.
    fn key(&self) -> Vec<u8> {
        match self {
            Self::NodePort { protocol, port, .. } | Self::HostPort { at: None, protocol, port, .. } => {
                of_port(*protocol, *port)
            }
            Self::NodePortAddress(address) => octets(*address),
            Self::HostPort { at: Some(address), protocol, port, .. } => {
                concat(&[&octets(*address), &of_port(*protocol, *port)])
            }
        }
    }

    /// What a key in a set stands for; `None` if this program makes none like that.
    fn of_key(set: Set, key: &[u8]) -> Option<Self> {
        let Set { kind, family } = set;
        let at = match kind {
            Kind::NodePorts | Kind::HostPorts => 0,
            Kind::NodePortAddresses => return address(family, key).map(Self::NodePortAddress),
            Kind::HostPortsAt => width(family),
        };
        let (protocol, port) = (*key.get(at)?, port(key.get(at + 4..)?)?);
        Some(match kind {
            Kind::NodePorts => Self::NodePort { family, protocol, port },
            _ => {
                let at = if at > 0 { Some(address(family, key.get(..at)?)?) } else { None };
                Self::HostPort { at, family, protocol, port }
            }
        })
    }
}

fn of_port(protocol: u8, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![protocol, 0, 0, 0, high, low, 0, 0]
}

fn port(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?))
}

/// The length of an address, in bytes.
fn width(family: Family) -> usize {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

fn address(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    Some(match family {
        Family::V4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        Family::V6 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
    })
}

/// Where a map leads.
fn of_value(family: Family, value: &[u8]) -> Option<SocketAddr> {
    let (to, rest) = value.split_at_checked(width(family))?;
    Some(SocketAddr::new(address(family, to)?, port(rest)?))
}

fn encoded(element: &Element, to: Option<SocketAddr>) -> Vec<u8> {
    let data = |bytes: &[u8]| attribute(VALUE, bytes);
    let mut all = nested(KEY, &data(&element.key()));
    if let Some(to) = to {
        let [high, low] = to.port().to_be_bytes();
        all.extend(nested(DATA, &data(&concat(&[&octets(to.ip()), &[high, low, 0, 0]]))));
    }
    nested(LIST_ELEMENT, &all)
}

/// Removes elements and adds others, all or none of them, in one transaction.
///
/// # Errors
/// One of the first is not there, one of the second is there with another value, or there is no table.
pub fn change(remove: &[Element], add: &Elements) -> Result<()> {
    let mut batch = Batch::default();
    write(&mut batch, DELETE_ELEMENTS, 0, remove.iter().map(|element| (element, None)));
    add_all(&mut batch, add);
    batch.commit("change elements of the nftables table inet midonet-kube")
}

/// Adds elements.
pub(super) fn add_all(batch: &mut Batch, elements: &Elements) {
    write(batch, NEW_ELEMENTS, NLM_F_CREATE, elements.iter().map(|(element, to)| (element, *to)));
}

fn write<'a>(
    batch: &mut Batch,
    kind: u16,
    flags: u16,
    elements: impl Iterator<Item = (&'a Element, Option<SocketAddr>)>,
) {
    let mut by_set: BTreeMap<Set, Vec<Vec<u8>>> = BTreeMap::new();
    for (element, to) in elements {
        by_set.entry(element.set()).or_default().push(encoded(element, to));
    }
    for (set, elements) in by_set {
        for slice in elements.chunks(SLICE) {
            let list = nested(LIST, &slice.concat());
            batch.message(kind, flags, &concat(&[&text(1, TABLE), &text(2, set.name()), &list]));
        }
    }
}

/// The elements of the table's sets as the kernel has them; none without the table.
///
/// # Errors
/// The kernel does not answer, or somebody put an element there that this program never makes.
pub fn elements() -> Result<Elements> {
    let mut all = Elements::new();
    for set in Set::ALL {
        let what = || format!("read the nftables set inet {TABLE} {}", set.name());
        let about = concat(&[&text(1, TABLE), &text(2, set.name())]);
        for list in dump(&what(), GET_ELEMENTS, FAMILY, &about)? {
            for (_, element) in attributes(Fields(&list).bytes(LIST).unwrap_or_default()) {
                let element = Fields(element);
                let key = element.value(KEY).and_then(|key| Element::of_key(set, &key));
                let key = key.ok_or_else(|| Error::other(what(), "it has an element that cannot be read"))?;
                let to = element.value(DATA).and_then(|value| of_value(set.family, &value));
                all.insert(key, to);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Element> {
        let mut all = Vec::new();
        for (family, address) in [(Family::V4, "192.0.2.1"), (Family::V6, "2001:db8::1")] {
            let address: IpAddr = address.parse().unwrap();
            all.push(Element::NodePortAddress(address));
            for (protocol, port) in [(6, 1), (17, 30080), (132, u16::MAX)] {
                all.push(Element::NodePort { family, protocol, port });
                for at in [None, Some(address)] {
                    all.push(Element::HostPort { at, family, protocol, port });
                }
            }
        }
        all
    }

    #[test]
    fn a_key_says_which_element_it_is() {
        for element in all() {
            assert_eq!(Element::of_key(element.set(), &element.key()), Some(element));
            // Cut short or of another family it is none.
            for length in 0..element.key().len() {
                let cut = element.key().get(..length).unwrap().to_vec();
                let found = Element::of_key(element.set(), &cut);
                assert!(found.is_none() || length >= element.key().len() - 2, "{cut:?}: {found:?}");
            }
        }
    }

    #[test]
    fn every_set_has_elements_of_its_own() {
        let sets: std::collections::BTreeSet<Set> = all().iter().map(Element::set).collect();
        assert_eq!(sets, Set::ALL.into());
        let names: std::collections::BTreeSet<_> = Set::ALL.iter().map(|set| set.name()).collect();
        assert_eq!(names.len(), Set::ALL.len());
    }
}
