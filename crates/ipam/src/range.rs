//! Ranges of addresses, and the order in which they are offered. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::json::{Element, Invalid};
use ipnet::IpNet;

/// A part of one subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The subnet; no host bits set.
    pub subnet: IpNet,
    /// The first address of the range.
    pub start: IpAddr,
    /// The last address of the range.
    pub end: IpAddr,
    /// Never given out; may lie outside the subnet.
    pub gateway: IpAddr,
}

/// Ranges of one family; an attachment gets one address of every set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSet(Vec<Range>);

impl Range {
    /// Reads `{"subnet", "rangeStart", "rangeEnd", "gateway"}` and fills in what is absent: the gateway
    /// and the start are the subnet's first host, the end its last.
    ///
    /// # Errors
    /// What cannot work, in host-local's words.
    pub fn read(element: &Element<'_>) -> Result<Self, Invalid> {
        let subnet: IpNet = element.require("subnet")?.parse()?;
        if subnet.prefix_len() + 2 > subnet.max_prefix_len() {
            return Err(element.invalid(format!("Network {subnet} too small to allocate from")));
        }
        if subnet.addr() != subnet.network() {
            let (length, network) = (subnet.prefix_len(), subnet.network());
            return Err(element.invalid(format!(
                "Network has host bits set. For a subnet mask of length {length} the network address is {network}"
            )));
        }
        let first = next(subnet.network());
        let last = match subnet.broadcast() {
            IpAddr::V4(last) => IpAddr::V4(Ipv4Addr::from_bits(last.to_bits().saturating_sub(1))),
            last @ IpAddr::V6(_) => last,
        };
        let start = element.address("rangeStart")?;
        let end = element.address("rangeEnd")?;
        let outside = |ip: &IpAddr| !subnet.contains(ip);
        match (start, end) {
            (Some(start), end) if outside(&start) || end.is_some_and(|end| start > end) => {
                return Err(element.invalid(format!("RangeStart {start} not in network {subnet}")));
            }
            (start, Some(end)) if outside(&end) || end < start.unwrap_or(first) => {
                return Err(element.invalid(format!("RangeEnd {end} not in network {subnet}")));
            }
            _ => {}
        }
        let gateway = element.address("gateway")?.unwrap_or(first);
        Ok(Self { subnet, start: start.unwrap_or(first), end: end.unwrap_or(last), gateway })
    }

    /// Whether the address may be given out, but for the gateway.
    pub fn contains(&self, address: IpAddr) -> bool {
        same_family(address, self.start) && (self.start..=self.end).contains(&address)
    }

    fn overlaps(&self, other: &Self) -> bool {
        same_family(self.start, other.start) && self.start <= other.end && other.start <= self.end
    }

    fn addresses(&self, from: IpAddr, to: IpAddr) -> impl Iterator<Item = (IpAddr, &Self)> {
        let build = address_of(self.start.is_ipv4());
        (bits(from)..=bits(to)).map(build).filter(|a| *a != self.gateway).map(move |a| (a, self))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.start, self.end)
    }
}

impl RangeSet {
    /// A set of ranges; not empty, of one family, without overlaps.
    ///
    /// # Errors
    /// What cannot work, in host-local's words.
    pub fn new(ranges: Vec<Range>) -> Result<Self, String> {
        let Some(first) = ranges.first() else { return Err("empty range set".into()) };
        if ranges.iter().any(|r| !same_family(r.start, first.start)) {
            return Err("mixed address families".into());
        }
        for (i, a) in ranges.iter().enumerate() {
            if let Some(b) = ranges.iter().skip(i + 1).find(|b| a.overlaps(b)) {
                return Err(format!("subnets {a} and {b} overlap"));
            }
        }
        Ok(Self(ranges))
    }

    /// Whether the set is of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.0.first().is_some_and(|r| r.start.is_ipv4())
    }

    /// The range that holds the address.
    pub fn range_for(&self, address: IpAddr) -> Option<&Range> {
        self.0.iter().find(|r| r.contains(address))
    }

    /// Whether any range holds an address of the other set.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|a| other.0.iter().any(|b| a.overlaps(b)))
    }

    /// How many addresses can be given out.
    pub fn capacity(&self) -> u128 {
        let one =
            |r: &Range| (bits(r.end) - bits(r.start)).saturating_add(1) - u128::from(r.contains(r.gateway));
        self.0.iter().map(one).fold(0, u128::saturating_add)
    }

    /// All addresses in the order in which they are offered: from the one after `last` on, around the
    /// set, `last` itself at the end, so that an address is used again as late as possible. Without a
    /// usable `last` from the first range's start on. Gateways are left out.
    pub fn candidates(&self, last: Option<IpAddr>) -> impl Iterator<Item = (IpAddr, &Range)> {
        let at = last.and_then(|last| Some((self.0.iter().position(|r| r.contains(last))?, last)));
        let position = at.map_or(0, |(position, _)| position);
        let (before, after) = self.0.split_at_checked(position).unwrap_or((&[], &self.0));
        let current = after.first().filter(|_| at.is_some());
        let rest = if current.is_some() { after.get(1..).unwrap_or_default() } else { after };
        let last = at.map(|(_, last)| last);
        let tail = current.zip(last).filter(|(r, last)| *last != r.end);
        let head = current.zip(last);
        tail.into_iter()
            .flat_map(|(r, last)| r.addresses(next(last), r.end))
            .chain(rest.iter().chain(before).flat_map(|r| r.addresses(r.start, r.end)))
            .chain(head.into_iter().flat_map(|(r, last)| r.addresses(r.start, last)))
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<String> = self.0.iter().map(Range::to_string).collect();
        out.write_str(&ranges.join(","))
    }
}

fn same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn address_of(ipv4: bool) -> impl Fn(u128) -> IpAddr {
    move |bits| match u32::try_from(bits) {
        Ok(bits) if ipv4 => IpAddr::V4(Ipv4Addr::from_bits(bits)),
        _ => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

fn next(address: IpAddr) -> IpAddr {
    address_of(address.is_ipv4())(bits(address).saturating_add(1))
}

#[cfg(test)]
mod tests;
