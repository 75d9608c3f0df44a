//! An IP address in the maps.

use std::net::{IpAddr, Ipv6Addr};

use bytemuck::{Pod, Zeroable};

/// An IP address of either family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Address {
    pub(crate) word: [[u8; 4]; 4],
}

impl Address {
    /// Bits of a mapped IPv4 address that come before the IPv4 address itself.
    pub(crate) const MAPPED_PREFIX: u8 = 96;
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let octets = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Self { word: bytemuck::cast(octets) }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from(bytemuck::cast::<_, [u8; 16]>(address.word)).to_canonical()
    }
}
