//! Whose an address is.

use std::net::IpAddr;

use objects::{Key, Pod};

use super::Judge;
use crate::addresses::Claimant;
use crate::profiles::ProfileId;

/// Of several who claim an address, the first has it. Of equal ones it is the one who claimed it last: where an address is
/// used again, the Pod that had it before may still be known.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank<'a> {
    /// A port of this node has it.
    Local,
    /// A Pod has it in a podCIDR of its node.
    InRange,
    /// A node; of several the oldest.
    Node(Option<i64>, &'a str),
    /// A Pod has it in a podCIDR of its node, says an annotation of it, and no other Pod's says so.
    Early,
    /// A Pod has it outside of its node's podCIDRs: what another node's kubelet says of addresses that are not that node's.
    OutOfRange,
}

impl Judge {
    /// What matches the owner of an address.
    pub(super) fn owner(&self, address: IpAddr, claims: &[Claimant]) -> ProfileId {
        self.first(address, claims).map_or(ProfileId::EMPTY, |(_, profile)| profile)
    }

    /// The Pod that has an address, as far as is known now; `None`: nobody is known to, or it is a node's.
    pub fn pod_at(&self, address: IpAddr) -> Option<&Key> {
        let (claimant, _) = self.first(address, &self.addresses.get(address)?.claims)?;
        match claimant {
            Claimant::Local(id) => self.locals.get(id).map(|local| &local.pod.key),
            Claimant::Pod(id) => self.pods.get(id).map(|holder| &holder.pod.key),
            Claimant::Node(_) => None,
        }
    }

    /// Who of those who claim an address has it, and what matches him.
    fn first(&self, address: IpAddr, claims: &[Claimant]) -> Option<(Claimant, ProfileId)> {
        let early = claims.iter().filter(|claim| self.is_early(**claim, address)).count();
        let claims = claims.iter().rev().filter(|claim| early < 2 || !self.is_early(**claim, address));
        let claims = claims.filter_map(|claim| Some((*claim, self.claim(*claim, address)?)));
        let first = claims.min_by(|(_, (a, _)), (_, (b, _))| a.cmp(b));
        first.map(|(claim, (_, profile))| (claim, profile))
    }

    /// Whether nobody but an annotation says so, and it may be right: anybody who may write the Pod can write that.
    fn is_early(&self, claimant: Claimant, address: IpAddr) -> bool {
        let Claimant::Pod(id) = claimant else { return false };
        self.pods.get(id).is_some_and(|holder| holder.pod.early && self.is_in_range(&holder.pod, address))
    }

    /// Whether an address is in a podCIDR of the Pod's node.
    fn is_in_range(&self, pod: &Pod, address: IpAddr) -> bool {
        pod.node.as_ref().is_some_and(|node| self.terms.nodes.has(node, address))
    }

    /// A claim, and what matches who makes it. Who has ended claims nothing.
    fn claim(&self, claimant: Claimant, address: IpAddr) -> Option<(Rank<'_>, ProfileId)> {
        let profile = |kind| self.kinds.profile(kind);
        match claimant {
            Claimant::Local(id) => {
                let Some(holder) = self.locals.get(id)?.holder else {
                    // Whoever it is, it is no other.
                    return Some((Rank::Local, ProfileId::EMPTY));
                };
                let holder = self.pods.get(holder)?;
                holder.is_peer().then(|| (Rank::Local, holder.kind.map_or(ProfileId::EMPTY, profile)))
            }
            Claimant::Pod(id) => {
                let holder = self.pods.get(id)?;
                let rank = match (holder.pod.early, self.is_in_range(&holder.pod, address)) {
                    (false, true) => Rank::InRange,
                    (false, false) => Rank::OutOfRange,
                    (true, true) => Rank::Early,
                    (true, false) => return None,
                };
                Some((rank, holder.kind.map_or(ProfileId::EMPTY, profile)))
            }
            Claimant::Node(id) => {
                let known = self.terms.nodes.get(id)?;
                Some((Rank::Node(known.node.created, &known.node.name), known.profile))
            }
        }
    }
}
