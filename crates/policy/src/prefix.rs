//! Prefixes of addresses, in the order in which a prefix comes before those inside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Bits that an IPv4 address leaves free at the end.
const IPV4_SHIFT: u32 = 96;

/// A prefix, or an address as the longest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Prefix {
    ipv6: bool,
    /// From the first bit on; those beyond the length are 0.
    bits: u128,
    length: u8,
}

impl Prefix {
    /// The prefix of a block. Bits beyond it do not count.
    pub(crate) fn of(block: IpNet) -> Self {
        let length = block.prefix_len();
        Self { length, ..Self::address(block.network()) }
    }

    /// A single address.
    pub(crate) fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                Self { ipv6: false, bits: u128::from(address.to_bits()) << IPV4_SHIFT, length: 32 }
            }
            IpAddr::V6(address) => Self { ipv6: true, bits: address.to_bits(), length: 128 },
        }
    }

    /// Whether the other one is inside this one, or this one.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
        self.ipv6 == other.ipv6 && self.length <= other.length && (self.bits ^ other.bits) & mask == 0
    }

    /// Whether these prefixes, which are inside this one and not in each other, leave nothing of it.
    pub(crate) fn is_full(&self, parts: &[Self]) -> bool {
        // In units of a single address of the longest prefix there is; all of them are one more than there are numbers.
        let size = |prefix: &Self| 1u128.checked_shl(128 - u32::from(prefix.length)).unwrap_or(0);
        let taken = parts.iter().fold(0, |taken: u128, part| taken.wrapping_add(size(part)));
        !parts.is_empty() && taken == size(self)
    }

    /// As others write it.
    pub(crate) fn block(&self) -> Option<IpNet> {
        Some(match self.first() {
            IpAddr::V4(address) => Ipv4Net::new(address, self.length).ok()?.into(),
            IpAddr::V6(address) => Ipv6Net::new(address, self.length).ok()?.into(),
        })
    }

    /// The first address.
    pub(crate) fn first(&self) -> IpAddr {
        self.with_bits(self.bits)
    }

    /// The last address.
    pub(crate) fn last(&self) -> IpAddr {
        self.with_bits(self.bits | u128::MAX.checked_shr(u32::from(self.length)).unwrap_or(0))
    }

    /// The last that is inside.
    pub(crate) fn last_inside(&self) -> Self {
        Self::address(self.last())
    }

    fn with_bits(&self, bits: u128) -> IpAddr {
        if self.ipv6 {
            Ipv6Addr::from_bits(bits).into()
        } else {
            // 32 bits are left.
            Ipv4Addr::from_bits(u32::try_from(bits >> IPV4_SHIFT).unwrap_or_default()).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::of(text.parse().unwrap())
    }

    #[test]
    fn contain_what_is_inside_and_come_before_it() {
        let nested = [
            ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32"],
            ["::/0", "fd00::/8", "fd00::/64", "fd00::1/128"],
        ];
        for one in nested.iter().flatten() {
            for other in nested.iter().flatten() {
                let (a, b): (IpNet, IpNet) = (one.parse().unwrap(), other.parse().unwrap());
                let inside = a.addr().is_ipv4() == b.addr().is_ipv4() && a.contains(&b);
                assert_eq!(prefix(one).contains(&prefix(other)), inside, "{one} {other}");
                assert!(!inside || prefix(one) <= prefix(other), "{one} {other}");
                assert!(!inside || prefix(other) <= prefix(one).last_inside(), "{one} {other}");
            }
            assert_eq!(prefix(one).block().unwrap().to_string(), *one);
        }
        assert!(!prefix("10.0.0.0/8").contains(&prefix("11.0.0.0/8")));
    }

    #[test]
    fn are_full_or_not() {
        let halves = |of: [&str; 2]| of.map(prefix);
        for (whole, parts, full) in [
            ("10.0.0.0/8", halves(["10.0.0.0/9", "10.128.0.0/9"]), true),
            ("10.0.0.0/8", halves(["10.0.0.0/9", "10.128.0.0/10"]), false),
            ("0.0.0.0/0", halves(["0.0.0.0/1", "128.0.0.0/1"]), true),
            ("::/0", halves(["::/1", "8000::/1"]), true),
            ("::/0", halves(["::/1", "8000::/128"]), false),
            ("fd00::/127", halves(["fd00::/128", "fd00::1/128"]), true),
        ] {
            assert_eq!(prefix(whole).is_full(&parts), full, "{whole}");
        }
        assert!(!prefix("::/0").is_full(&[]) && !prefix("10.0.0.0/8").is_full(&[]));
    }

    #[test]
    fn have_first_and_last_addresses() {
        for (text, first, last) in [
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("10.1.2.3/16", "10.1.0.0", "10.1.255.255"),
            ("10.1.2.3/32", "10.1.2.3", "10.1.2.3"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fd00::1/120", "fd00::", "fd00::ff"),
            ("fd00::1/128", "fd00::1", "fd00::1"),
        ] {
            let prefix = prefix(text);
            assert_eq!((prefix.first().to_string(), prefix.last().to_string()), (first.into(), last.into()));
        }
    }
}
