//! Policy in few words.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use datapath::policy::{Change, Direction, Entry, EntryKey, Interval, List, Origin, Verdict};
use datapath::{Datapath, Protocol};
use ipnet::IpNet;

/// Of sets and lists: none is ever used again.
static NUMBERS: AtomicU32 = AtomicU32::new(1);

fn number() -> u32 {
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

/// What a NetworkPolicy's rule lets pass.
pub fn allow(rule: u32) -> Verdict {
    Verdict { allow: true, audit: false, reject: false, origin: Origin::NetworkPolicy, rule }
}

pub fn deny(rule: u32) -> Verdict {
    Verdict { allow: false, ..allow(rule) }
}

pub fn reject(rule: u32) -> Verdict {
    Verdict { reject: true, ..deny(rule) }
}

pub fn audit(rule: u32) -> Verdict {
    Verdict { audit: true, ..allow(rule) }
}

pub fn by(origin: Origin, verdict: Verdict) -> Verdict {
    Verdict { origin, ..verdict }
}

/// The same verdict for everything.
pub fn all(verdict: Verdict) -> List {
    List { others: verdict, intervals: [].into() }
}

/// Verdicts of ports, and of the rest.
pub fn ports(others: Verdict, intervals: &[(Protocol, u16, u16, Verdict)]) -> List {
    let interval = |(protocol, first, last, verdict): &(Protocol, u16, u16, Verdict)| Interval {
        protocol: *protocol,
        first: *first,
        last: *last,
        verdict: *verdict,
    };
    List { others, intervals: intervals.iter().map(interval).collect() }
}

/// One direction of a set: the list of each class, and that of all others.
#[derive(Clone)]
pub struct Table(pub List, pub Vec<(u32, List)>);

/// Everything passes, as if no policy said anything.
pub fn open() -> Table {
    Table(all(by(Origin::Nothing, allow(0))), vec![])
}

/// A change that says everything.
#[derive(Clone, Default)]
pub struct Draft(pub Change);

impl Draft {
    pub fn new() -> Self {
        Self(Change { replace: true, ..Change::default() })
    }

    pub fn address(mut self, address: IpAddr, class: u32) -> Self {
        self.0.classes.push((address, Some(class)));
        self
    }

    pub fn block(mut self, block: &str, class: u32) -> Self {
        self.0.blocks.push((block.parse::<IpNet>().unwrap(), Some(class)));
        self
    }

    /// A set for a Pod: what may come to it, and what it may send.
    pub fn pod(mut self, ifindex: u32, ingress: Table, egress: Table) -> Self {
        let set = number();
        for (direction, Table(default, classes)) in
            [(Direction::Ingress, ingress), (Direction::Egress, egress)]
        {
            let classes = classes.into_iter().map(|(class, list)| (Some(class), list));
            for (class, list) in classes.chain([(None, default)]) {
                let number = number();
                let key = EntryKey { set, direction, class };
                self.0.entries.push(Entry { key, list: number });
                self.0.lists.push((number, Arc::new(list)));
            }
        }
        self.0.sets.push((ifindex, set));
        self
    }

    /// With all rules that its verdicts name.
    pub fn change(mut self) -> Change {
        let lists = self.0.lists.iter().flat_map(|(_, list)| {
            list.intervals.iter().map(|interval| interval.verdict.rule).chain([list.others.rule])
        });
        let rules: BTreeSet<u32> = lists.filter(|rule| *rule > 0).collect();
        self.0.rules = rules.into_iter().collect();
        self.0
    }

    pub fn apply(self, datapath: &mut Datapath) {
        datapath.apply_policy(&self.change()).unwrap();
    }
}

/// How often a rule allowed, denied and audited.
pub fn counts(datapath: &Datapath, rule: u32) -> [u64; 3] {
    let counts = datapath.policy_counts().unwrap().get(&rule).copied().unwrap_or_default();
    [counts.allowed, counts.denied, counts.audited]
}
