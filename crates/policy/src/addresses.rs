//! Addresses that belong to somebody, and their classes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::node_peers::NodeId;
use crate::pods::HolderId;
use crate::prefix::Prefix;
use crate::profiles::ProfileId;
use crate::tables::{ClassId, LocalId};

/// Somebody says that an address is his.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claimant {
    /// A port of this node.
    Local(LocalId),
    /// A Pod's object.
    Pod(HolderId),
    /// A node.
    Node(NodeId),
}

/// An address that somebody claims.
#[derive(Debug, Clone, Default)]
pub(crate) struct Address {
    /// Who does, the last to begin with it last.
    pub(crate) claims: Vec<Claimant>,
    /// What matches its owner, and what matches the address.
    pub(crate) profiles: (ProfileId, ProfileId),
    /// Its class.
    pub(crate) class: ClassId,
    /// What the table of addresses says: nothing where the blocks say it.
    pub(crate) shown: Option<ClassId>,
}

/// All addresses that somebody claims.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    all: BTreeMap<IpAddr, Address>,
    dirty: Vec<IpAddr>,
}

impl Addresses {
    /// Somebody claims an address from now on.
    pub(crate) fn claim(&mut self, address: IpAddr, who: Claimant) {
        let claims = &mut self.all.entry(address).or_default().claims;
        if !claims.contains(&who) {
            claims.reserve_exact(1);
            claims.push(who);
            self.dirty.push(address);
        }
    }

    /// Somebody does not claim an address any more.
    pub(crate) fn unclaim(&mut self, address: IpAddr, who: Claimant) {
        if let Some(known) = self.all.get_mut(&address) {
            known.claims.retain(|one| *one != who);
            self.dirty.push(address);
        }
    }

    /// The owner of an address may be another, or something else.
    pub(crate) fn touch(&mut self, address: IpAddr) {
        self.dirty.push(address);
    }

    /// What matches the addresses of a prefix may have changed.
    pub(crate) fn touch_all(&mut self, prefix: Prefix) {
        self.dirty.extend(self.all.range(prefix.first()..=prefix.last()).map(|(address, _)| *address));
    }

    /// Whether any is in a prefix.
    pub(crate) fn any_in(&self, prefix: Prefix) -> bool {
        self.all.range(prefix.first()..=prefix.last()).next().is_some()
    }

    /// Those of which something may have changed since the last call, in order: what is looked up next is near.
    pub(crate) fn take_dirty(&mut self) -> Vec<IpAddr> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }

    /// An address.
    pub(crate) fn get(&self, address: IpAddr) -> Option<&Address> {
        self.all.get(&address)
    }

    /// An address.
    pub(crate) fn get_mut(&mut self, address: IpAddr) -> Option<&mut Address> {
        self.all.get_mut(&address)
    }

    /// Nobody claims it.
    pub(crate) fn remove(&mut self, address: IpAddr) {
        self.all.remove(&address);
    }

    /// All addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&IpAddr, &Address)> {
        self.all.iter()
    }
}
