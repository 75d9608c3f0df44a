//! Policy in the agent's words.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::services::Protocol;

/// The set of a Pod to which no policy applies: everything passes. It has no entries.
pub const OPEN: u32 = 0;

/// The set of a Pod whose policy is not known: nothing passes but what comes from the own node. It has no entries.
pub const CLOSED: u32 = u32::MAX;

/// How many entries the tables can have. A change is complete before what it replaces is removed: each table has space for
/// twice as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Single addresses with a class, and as many blocks: `--max-policy-addresses`. An address takes 96 bytes of the
    /// kernel's memory, a block up to 128; that there can be so many, 32 bytes each.
    pub addresses: u32,
    /// Entries of all sets: `--max-policy-entries`. 96 bytes each; that there can be so many, 32 bytes. Twice as many
    /// prefixes of ports there may be in all lists, of up to 128 bytes; an interval is between 1 and 30.
    pub entries: u32,
    /// Rules that are counted: `--max-policy-rules`. 24 bytes each for each CPU, and 96 more.
    pub rules: u32,
}

impl Default for Sizes {
    /// For 50,000 Pods with two addresses each: 10 MiB, and 60 MiB if all of it is used.
    fn default() -> Self {
        Self { addresses: 131_072, entries: 131_072, rules: 32_768 }
    }
}

impl Sizes {
    /// What is in force and what replaces it fit in together.
    const fn twice(size: u32) -> u32 {
        size.saturating_mul(2)
    }

    pub(crate) const fn classes(self) -> u32 {
        Self::twice(self.addresses)
    }

    /// With the one that all IPv4 addresses are in, which keeps them out of IPv6's.
    pub(crate) const fn blocks(self) -> u32 {
        Self::twice(self.addresses).saturating_add(1)
    }

    pub(crate) const fn sets(self) -> u32 {
        Self::twice(self.entries)
    }

    /// How many prefixes all lists together can have.
    pub(crate) const fn prefixes(self) -> u32 {
        Self::twice(self.entries)
    }

    pub(crate) const fn ports(self) -> u32 {
        Self::twice(self.prefixes())
    }

    pub(crate) const fn counts(self) -> u32 {
        Self::twice(self.rules)
    }

    /// Space for next to nothing: for who only wants to know whether the kernel takes the maps.
    pub const LEAST: Self = Self { addresses: 1, entries: 1, rules: 1 };
}

/// Seen from the Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// What comes to it.
    Ingress,
    /// What it sends.
    Egress,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];
}

/// What decided, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A ClusterNetworkPolicy of the tier Admin.
    Admin,
    /// NetworkPolicies.
    NetworkPolicy,
    /// A ClusterNetworkPolicy of the tier Baseline.
    Baseline,
    /// No policy.
    Nothing,
}

/// What becomes of a connection's first packet in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Whether it passes.
    pub allow: bool,
    /// It should not pass, but does, and is counted. `allow` is true then.
    pub audit: bool,
    /// Whether its sender is told that it does not pass.
    pub reject: bool,
    /// What decided.
    pub origin: Origin,
    /// The rule under which it is counted; 0: none.
    pub rule: u32,
}

/// Ports of one protocol, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    /// What they are of.
    pub protocol: Protocol,
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// What becomes of them.
    pub verdict: Verdict,
}

/// Verdicts by protocol and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct List {
    /// Of what is in no interval: other ports, and what has none.
    pub others: Verdict,
    /// Without overlaps.
    pub intervals: Box<[Interval]>,
}

/// Where a list is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// The Pod's set.
    pub set: u32,
    /// Seen from the Pod.
    pub direction: Direction,
    /// The class of the other end; `None`: every class without an entry of its own.
    pub class: Option<u32>,
}

/// An entry of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub key: EntryKey,
    /// Which list is there.
    pub list: u32,
}

/// How policy changes: everything at once, or nothing.
///
/// Numbers of sets, lists and rules are never used again for something else, and 0 is none of a list or a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// This is all there is: what is in force and not in here is removed, and Pods of which nothing is said are closed.
    pub replace: bool,
    /// Rules that are counted from now on.
    pub rules: Vec<u32>,
    /// New lists.
    pub lists: Vec<(u32, Arc<List>)>,
    /// New entries.
    pub entries: Vec<Entry>,
    /// The classes of single addresses; `None`: the block that an address is in decides.
    pub classes: Vec<(IpAddr, Option<u32>)>,
    /// The classes of blocks, of which the longest that an address is in counts; `None`: it is no such block any more.
    pub blocks: Vec<(IpNet, Option<u32>)>,
    /// The sets of the Pods behind interfaces, by index.
    pub sets: Vec<(u32, u32)>,
    /// Entries that nobody looks up after this.
    pub removed_entries: Vec<EntryKey>,
    /// Lists that nobody looks up after this.
    pub removed_lists: Vec<u32>,
    /// Rules that decide nothing after this.
    pub removed_rules: Vec<u32>,
}

/// How far policy in the kernel is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The generation in force; 0: policy is off.
    pub generation: u32,
    /// The highest class that the tables have.
    pub class: u32,
    /// The highest set but [`CLOSED`].
    pub set: u32,
    /// The highest list.
    pub list: u32,
    /// The highest rule.
    pub rule: u32,
}

/// How often a rule decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that it let begin, and packets that belong to none.
    pub allowed: u64,
    /// Packets that it stopped.
    pub denied: u64,
    /// Connections that it would have stopped, and packets that belong to none.
    pub audited: u64,
}

/// A packet between a Pod of this node and somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// An address of the Pod.
    pub pod: IpAddr,
    /// Seen from the Pod.
    pub direction: Direction,
    /// The other end.
    pub other: IpAddr,
    /// The protocol and the port to which it is sent; `None`: a protocol without ports, a ping for example.
    pub port: Option<(Protocol, u16)>,
}

/// What the tables in the kernel say to a [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The Pod's set.
    pub set: u32,
    /// The class of the other end.
    pub class: u32,
    /// The entry where the list was found; `None`: there is none, or none is needed.
    pub entry: Option<EntryKey>,
    /// The list; 0: none, all ports have one verdict.
    pub list: u32,
    /// `None`: the set is not known, or [`CLOSED`]: nothing passes.
    pub verdict: Option<Verdict>,
}
