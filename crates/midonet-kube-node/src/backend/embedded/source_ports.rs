//! Which ports a source gets that the datapath translates.

use std::ops::RangeInclusive;

/// Ports that are neither NodePorts nor ephemeral ones, where nobody changed either.
const USUAL: RangeInclusive<u16> = 20_000..=29_999;

/// The kernel's default for ephemeral ports.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// How many ports there should be.
const ENOUGH: u32 = 10_000;

/// The API server's default for NodePorts (--service-node-port-range).
const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;

/// Ports where a packet from outside may be for a Service: those that translated sources get, and NodePorts.
pub(crate) const SERVICE_PORTS: [RangeInclusive<u16>; 2] = [USUAL, NODE_PORTS];

/// Below are those of services that the host offers itself.
const FIRST: u16 = 1024;

/// From where the kernel takes the ports of the host's own connections (net.ipv4.ip_local_port_range, for IPv6, too);
/// `None` if it does not tell.
pub(crate) fn ephemeral() -> Option<RangeInclusive<u16>> {
    let text = plumbing::sysctl::read("ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Some(first..=last),
        _ => None,
    }
}

/// The usual ports, unless the node's ephemeral ones overlap them: then the uppermost of the largest range that is left.
/// If none is left, the usual ones: a connection of the host that has the same tuple then goes wrong, which is rare.
pub(super) fn choose(ephemeral: Option<RangeInclusive<u16>>) -> RangeInclusive<u16> {
    let Some(ephemeral) = ephemeral.filter(|range| overlap(range, &USUAL)) else { return USUAL };
    let mut taken = [ephemeral, NODE_PORTS];
    taken.sort_by_key(|range| *range.start());
    let mut best: Option<RangeInclusive<u16>> = None;
    let mut next = u32::from(FIRST);
    for range in taken
        .iter()
        .map(|range| (u32::from(*range.start()), u32::from(*range.end())))
        .chain([(65_536, 65_536)])
    {
        if let (Ok(first), Ok(last)) = (u16::try_from(next), u16::try_from(range.0.saturating_sub(1)))
            && first <= last
            && best.as_ref().is_none_or(|best| best.len() < (first..=last).len())
        {
            best = Some(first..=last);
        }
        next = next.max(range.1 + 1);
    }
    let Some(best) = best else { return USUAL };
    let first = u32::from(*best.end()).saturating_sub(ENOUGH - 1);
    u16::try_from(first).map_or(USUAL, |first| first.max(*best.start())..=*best.end())
}

/// The ports that a source gets which the host masquerades: ephemeral ones, which are no Service's, but for those that are
/// NodePorts all the same: what answers would be taken for a new connection there.
pub(super) fn masquerade(ephemeral: Option<RangeInclusive<u16>>) -> RangeInclusive<u16> {
    let Some(ephemeral) = ephemeral.filter(|range| range.start() <= range.end()) else { return EPHEMERAL };
    let (first, last) = (*ephemeral.start().max(&FIRST), *ephemeral.end());
    if first > last {
        return EPHEMERAL;
    }
    if !overlap(&(first..=last), &NODE_PORTS) {
        return first..=last;
    }
    let above = (NODE_PORTS.end() + 1).max(first)..=last;
    let below = first..=last.min(NODE_PORTS.start() - 1);
    let larger = if above.len() >= below.len() { above } else { below };
    if larger.is_empty() { EPHEMERAL } else { larger }
}

fn overlap(a: &RangeInclusive<u16>, b: &RangeInclusive<u16>) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_ports_are_neither_node_ports_nor_ephemeral_ones() {
        for (ephemeral, chosen) in [
            (None, USUAL),
            (Some(32_768..=60_999), USUAL),
            (Some(15_000..=60_999), 5_000..=14_999),
            (Some(1024..=60_999), 61_000..=65_535),
            (Some(10_000..=65_535), 1024..=9_999),
            (Some(20_000..=40_000), 55_536..=65_535),
            // None is left.
            (Some(1024..=65_535), USUAL),
            (Some(1..=65_535), USUAL),
        ] {
            assert_eq!(choose(ephemeral.clone()), chosen, "{ephemeral:?}");
        }
    }

    #[test]
    fn masqueraded_sources_get_ephemeral_ports_that_are_no_node_ports() {
        for (ephemeral, chosen) in [
            (None, EPHEMERAL),
            (Some(32_768..=60_999), EPHEMERAL),
            (Some(40_000..=50_000), 40_000..=50_000),
            (Some(15_000..=29_999), 15_000..=29_999),
            (Some(1..=65_535), 32_768..=65_535),
            (Some(10_000..=33_000), 10_000..=29_999),
            (Some(30_000..=40_000), 32_768..=40_000),
            (Some(30_000..=31_000), EPHEMERAL),
            (Some(1..=1000), EPHEMERAL),
        ] {
            assert_eq!(masquerade(ephemeral.clone()), chosen, "{ephemeral:?}");
        }
    }
}
