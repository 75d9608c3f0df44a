//! Which nodes claim which addresses and podCIDRs, and which of them have them: what a Node is validated against, and
//! who has to be validated again when it changes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use ipnet::IpNet;

use crate::facts::Facts;

/// The order in which nodes get what they claim: the oldest first, on every node alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) created: Option<i64>,
    pub(crate) name: Arc<str>,
}

/// Who claims something. `None` is this node, which comes before all others.
pub(crate) type Claimant = Option<Rank>;

/// All claims.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub(crate) addresses: Addresses,
    pub(crate) prefixes: Prefixes,
}

impl Claims {
    /// Adds what a node claims. It has none of it yet.
    pub(crate) fn insert(&mut self, claimant: &Claimant, facts: &Facts) {
        for address in &facts.internal_ips {
            self.addresses.0.entry((*address, claimant.clone())).or_default().internal = true;
        }
        for address in facts.addresses() {
            self.addresses.0.entry((address, claimant.clone())).or_default();
        }
        for cidr in &facts.pod_cidrs {
            self.prefixes.insert(*cidr, claimant);
        }
    }

    /// Removes what a node claims.
    pub(crate) fn remove(&mut self, claimant: &Claimant, facts: &Facts) {
        for address in facts.internal_ips.iter().copied().chain(facts.addresses()) {
            self.addresses.0.remove(&(address, claimant.clone()));
        }
        for cidr in &facts.pod_cidrs {
            self.prefixes.remove(*cidr, claimant);
        }
    }
}

/// What an address is to a node that names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Use {
    /// It is one of its InternalIPs.
    pub(crate) internal: bool,
    /// Tunnels to the node end there.
    pub(crate) tunnel: bool,
    /// It is accepted as the node's own.
    pub(crate) accepted: bool,
}

/// The addresses that nodes name, each with those who do.
#[derive(Debug, Default)]
pub(crate) struct Addresses(BTreeMap<(IpAddr, Claimant), Use>);

impl Addresses {
    /// Who names an address, in order.
    pub(crate) fn claims(&self, address: IpAddr) -> impl Iterator<Item = (&Claimant, &Use)> {
        let from = self.0.range((address, None)..);
        from.take_while(move |((at, _), _)| *at == address).map(|((_, claimant), used)| (claimant, used))
    }

    /// Those of them that come before a node.
    pub(crate) fn before(
        &self,
        address: IpAddr,
        rank: &Rank,
    ) -> impl DoubleEndedIterator<Item = (&Claimant, &Use)> {
        let range = self.0.range((address, None)..(address, Some(rank.clone())));
        range.map(|((_, claimant), used)| (claimant, used))
    }

    /// Those of them that come after a node.
    pub(crate) fn after(&self, address: IpAddr, rank: &Rank) -> impl Iterator<Item = &Rank> {
        let start = Bound::Excluded((address, Some(rank.clone())));
        let from = self.0.range((start, Bound::Unbounded));
        from.take_while(move |((at, _), _)| *at == address).filter_map(|((_, claimant), _)| claimant.as_ref())
    }

    /// The first InternalIP within a range, and whose it is: this node's, else the youngest node's that has it.
    pub(crate) fn internal_within(&self, cidr: IpNet) -> Option<(IpAddr, &Claimant)> {
        let last = cidr.broadcast();
        let mut within = self.0.range((cidr.network(), None)..).take_while(|((at, _), _)| *at <= last);
        let address = within.find(|(_, used)| used.internal)?.0.0;
        let mut owners = self.claims(address).filter(|(_, used)| used.internal).map(|(claimant, _)| claimant);
        let first = owners.next()?;
        Some((address, if first.is_none() { first } else { owners.last().unwrap_or(first) }))
    }

    /// Sets what a named address is to a node; returns whether that is something else than before.
    pub(crate) fn set(&mut self, address: IpAddr, claimant: &Claimant, tunnel: bool, accepted: bool) -> bool {
        let Some(used) = self.0.get_mut(&(address, claimant.clone())) else { return false };
        let before = std::mem::replace(used, Use { tunnel, accepted, ..*used });
        before != *used
    }
}

/// A node's claim of a podCIDR.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    /// The podCIDR as the Node has it; the key is without host bits.
    pub(crate) cidr: IpNet,
    /// Whether the node has it.
    pub(crate) granted: bool,
}

/// The podCIDRs that nodes claim, each with those who do.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    claims: BTreeMap<(IpNet, Claimant), Claim>,
    /// How many claims there are of each family (IPv6: true) and prefix length. There are few of them.
    lengths: BTreeMap<(bool, u8), usize>,
}

impl Prefixes {
    fn insert(&mut self, cidr: IpNet, claimant: &Claimant) {
        let claim = Claim { cidr, granted: false };
        if self.claims.insert((cidr.trunc(), claimant.clone()), claim).is_none() {
            *self.lengths.entry(length(cidr)).or_default() += 1;
        }
    }

    fn remove(&mut self, cidr: IpNet, claimant: &Claimant) {
        if self.claims.remove(&(cidr.trunc(), claimant.clone())).is_none() {
            return;
        }
        if let Some(count) = self.lengths.get_mut(&length(cidr)) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.lengths.remove(&length(cidr));
            }
        }
    }

    /// Sets whether a node has a podCIDR that it claims; returns whether that is something else than before.
    pub(crate) fn set(&mut self, cidr: IpNet, claimant: &Claimant, granted: bool) -> bool {
        let Some(claim) = self.claims.get_mut(&(cidr.trunc(), claimant.clone())) else { return false };
        std::mem::replace(&mut claim.granted, granted) != granted
    }

    /// Who claims exactly a podCIDR, in order.
    pub(crate) fn claims(&self, cidr: IpNet) -> impl Iterator<Item = (&Claimant, &Claim)> {
        let cidr = cidr.trunc();
        let from = self.claims.range((cidr, None)..);
        from.take_while(move |((at, _), _)| *at == cidr).map(|((_, claimant), claim)| (claimant, claim))
    }

    /// Who claims what overlaps a podCIDR.
    pub(crate) fn overlapping(&self, cidr: IpNet) -> impl Iterator<Item = &Claimant> {
        let within = self.claims.range((cidr.trunc(), None)..);
        let within =
            within.take_while(move |((at, _), _)| cidr.contains(at)).map(|((_, claimant), _)| claimant);
        within.chain(self.around(cidr).map(|(claimant, _)| claimant))
    }

    /// What a node that comes before has and overlaps. If there are several, the last by address.
    pub(crate) fn granted_before(&self, cidr: IpNet, rank: &Rank) -> Option<(IpNet, &Claimant)> {
        let comes_before = |claimant: &Claimant| claimant.as_ref().is_none_or(|claimant| claimant < rank);
        let last = (IpNet::from(cidr.broadcast()), Some(rank.clone()));
        let within = self.claims.range((cidr.trunc(), None)..last).rev();
        let within = within.map(|((_, claimant), claim)| (claimant, claim));
        let mut all = within.chain(self.around(cidr));
        let (claimant, claim) = all.find(|(claimant, claim)| claim.granted && comes_before(claimant))?;
        Some((claim.cidr, claimant))
    }

    /// Who claims what holds a podCIDR and more.
    fn around(&self, cidr: IpNet) -> impl Iterator<Item = (&Claimant, &Claim)> {
        let (is_ipv6, len) = length(cidr);
        let shorter = self.lengths.range((is_ipv6, 0)..(is_ipv6, len)).map(|((_, len), _)| *len);
        let wider = shorter.filter_map(move |len| IpNet::new(cidr.addr(), len).ok());
        wider.flat_map(|wider| self.claims(wider))
    }
}

fn length(cidr: IpNet) -> (bool, u8) {
    (cidr.addr().is_ipv6(), cidr.prefix_len())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::facts::overlap;

    fn cidr() -> impl Strategy<Value = IpNet> {
        let v4 = (0u32..256, 24u8..=32)
            .prop_map(|(low, length)| IpNet::new(Ipv4Addr::from(0x0a00_0000 | low).into(), length).unwrap());
        let v6 = (0u128..256, 120u8..=128)
            .prop_map(|(low, length)| IpNet::new(Ipv6Addr::from(low).into(), length).unwrap());
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn an_overlap_is_found_as_by_comparing_with_all(cidrs in proptest::collection::vec(cidr(), 1..40)) {
            let (mut prefixes, mut naive) = (Prefixes::default(), Vec::<IpNet>::new());
            let rank = |created| Rank { created: Some(created), name: "n".into() };
            for (created, cidr) in (0..).zip(cidrs) {
                let overlaps = naive.iter().filter(|other| overlap(other, &cidr)).max();
                let found = prefixes.granted_before(cidr, &rank(created)).map(|(other, _)| other);
                prop_assert_eq!(found, overlaps.copied(), "{} in {:?}", cidr, naive);
                let overlaps = overlaps.is_some();
                prop_assert_eq!(prefixes.overlapping(cidr).next().is_some(), overlaps);
                if !overlaps {
                    prefixes.insert(cidr, &Some(rank(created)));
                    prefixes.set(cidr, &Some(rank(created)), true);
                    naive.push(cidr);
                }
            }
        }
    }
}
