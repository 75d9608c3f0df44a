//! The tables that the datapath looks verdicts up in, and how they change.
//!
//! Numbers are never used again for something else: a set, a list or a rule that is in force cannot change its meaning while
//! a change is being applied, or is not applied because it does not fit.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use objects::{Key, Protocol};

/// A class of addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u32);

impl ClassId {
    /// Of addresses that nothing in use matches, and that no table has.
    pub const OTHER: Self = Self(0);
}

/// The verdicts of a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(pub u32);

impl SetId {
    /// No policy applies: everything passes. It has no entries.
    pub const OPEN: Self = Self(0);
    /// The policy is not known: nothing passes but what comes from the own node. It has no entries.
    pub const CLOSED: Self = Self(u32::MAX);
}

/// Verdicts by protocol and port. 0 is no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListId(pub u32);

/// What decided: a rule of a policy, or the absence of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

impl RuleId {
    /// Nothing decided: no policy says anything, or none is known.
    pub const NONE: Self = Self(0);
}

/// A Pod of this node, as the agent numbers them: the index of its host side, which no other Pod ever gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalId(pub u32);

/// A Pod of this node, as the CNI plugin named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPod {
    /// `namespace/name`.
    pub key: Key,
    /// Its UID, where the runtime tells it: an object with another UID is another Pod. `None`: the name is enough.
    pub uid: Option<Box<str>>,
    /// Its addresses, which its object has some time later.
    pub addresses: Box<[IpAddr]>,
}

/// Seen from the Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// What comes to it.
    Ingress,
    /// What it sends.
    Egress,
}

impl Direction {
    /// As messages and labels have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// What decided, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A ClusterNetworkPolicy of the tier Admin.
    Admin,
    /// NetworkPolicies.
    NetworkPolicy,
    /// A ClusterNetworkPolicy of the tier Baseline.
    Baseline,
    /// No policy: it passes.
    Nothing,
}

impl Origin {
    /// As documents have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::NetworkPolicy => "networkPolicy",
            Self::Baseline => "baseline",
            Self::Nothing => "none",
        }
    }
}

/// What becomes of a connection's first packet in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Whether it passes.
    pub allow: bool,
    /// Not to pass, but it does, and is only told (audit). `allow` is true then.
    pub audit: bool,
    /// Whether its sender is told that it does not pass.
    pub reject: bool,
    /// What decided.
    pub origin: Origin,
    /// What decided, for counting and explaining.
    pub rule: RuleId,
}

/// Ports of one protocol, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct List {
    /// Of what is in no interval: other ports, and what has none (ICMP echo, other protocols).
    pub others: Verdict,
    /// By protocol and port, without overlaps; neighbours differ from each other and from `others`.
    pub intervals: Box<[Interval]>,
}

impl List {
    /// What becomes of a port, or of what has none.
    pub fn verdict(&self, port: Option<(Protocol, u16)>) -> Verdict {
        let within = |interval: &&Interval| {
            port.is_some_and(|(protocol, port)| {
                interval.protocol == protocol && (interval.first..=interval.last).contains(&port)
            })
        };
        self.intervals.iter().find(within).map_or(self.others, |interval| interval.verdict)
    }
}

/// Where a list is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// The Pod's set.
    pub set: SetId,
    /// Seen from the Pod.
    pub direction: Direction,
    /// The class of the other end; `None`: every class without an entry of its own. Each set has that one, for both
    /// directions.
    pub class: Option<ClassId>,
}

/// An entry of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub key: EntryKey,
    /// Which list is there.
    pub list: ListId,
}

/// Names what decided.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName {
    /// Which kind of policy.
    pub origin: Origin,
    /// Seen from the Pod.
    pub direction: Direction,
    /// The policies: one, or, where none of several NetworkPolicies allows (the default deny), all of those.
    pub policies: Arc<[Key]>,
    /// The rule's index in its policy, from 0; `None`: the default deny.
    pub rule: Option<u32>,
    /// The rule's name; empty if it has none.
    pub name: Arc<str>,
}

/// With its policy: `ingress[0] ("web") of NetworkPolicy shop/db`.
impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, direction, policies, rule, name } = self;
        match rule {
            Some(rule) if name.is_empty() => write!(f, "{}[{rule}] of ", direction.name())?,
            Some(rule) => write!(f, "{}[{rule}] (\"{}\") of ", direction.name(), name.escape_debug())?,
            None => f.write_str("the default deny of ")?,
        }
        f.write_str(match origin {
            Origin::NetworkPolicy => "NetworkPolicy ",
            _ => "ClusterNetworkPolicy ",
        })?;
        f.write_str(&policies.iter().map(Key::to_string).collect::<Vec<_>>().join(", "))
    }
}

/// How the tables change. What is added to `lists` and `entries` is looked up by nobody until `classes`, `blocks` and `pods`
/// are switched, all in one step; what is removed, by nobody after that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// New names of rules.
    pub rules: Vec<(RuleId, Arc<RuleName>)>,
    /// New lists.
    pub lists: Vec<(ListId, Arc<List>)>,
    /// New entries: of new sets, or for new classes of sets that are in force.
    pub entries: Vec<Entry>,
    /// The classes of single addresses, where the blocks do not say the same: of Pods and nodes; `None`: the block decides
    /// again.
    pub classes: Vec<(IpAddr, Option<ClassId>)>,
    /// The classes of blocks, of which the longest that an address is in counts; `None`: it is no such block any more.
    pub blocks: Vec<(IpNet, Option<ClassId>)>,
    /// The sets of this node's Pods.
    pub pods: Vec<(LocalId, SetId)>,
    /// Entries that nobody looks up any more.
    pub removed_entries: Vec<EntryKey>,
    /// Lists that nobody looks up any more.
    pub removed_lists: Vec<ListId>,
    /// Rules that decide nothing any more.
    pub removed_rules: Vec<RuleId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_named_as_its_manifest_has_it() {
        let name = |origin, policies: Vec<Key>, rule, name: &str| RuleName {
            origin,
            direction: Direction::Ingress,
            policies: policies.into(),
            rule,
            name: name.into(),
        };
        let db = || Key::namespaced("shop", "db");
        for (of, want) in [
            (name(Origin::NetworkPolicy, vec![db()], Some(0), ""), "ingress[0] of NetworkPolicy shop/db"),
            (
                name(Origin::NetworkPolicy, vec![db(), Key::namespaced("shop", "x")], None, ""),
                "the default deny of NetworkPolicy shop/db, shop/x",
            ),
            (
                name(Origin::Admin, vec![Key::new("base")], Some(3), "dns"),
                "ingress[3] (\"dns\") of ClusterNetworkPolicy base",
            ),
        ] {
            assert_eq!(of.to_string(), want);
        }
    }
}
