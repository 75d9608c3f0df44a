//! What was dropped since the last look at the datapath's table.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use datapath::drops::Drop;

/// What tells one row of the table from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    rule: u32,
    interface: u32,
    port: u16,
    protocol: u8,
    ingress: bool,
    audit: bool,
    others: bool,
    reason: &'static str,
}

/// A row as it was seen last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    first: Duration,
    packets: u64,
    /// How many of them are told.
    told: u64,
    /// At which look it had its last line; 0: never.
    line: u64,
}

/// The rows of the last look: as many as the table has.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// `None` before the first look.
    rows: Option<HashMap<Key, Seen>>,
    looks: u64,
}

/// A row that has more packets than before.
#[derive(Debug, Clone)]
pub(super) struct Difference {
    /// The row as it is now.
    pub(super) row: Drop,
    /// Packets since the last look.
    pub(super) new: u64,
    /// Packets that are not told, those of former looks included.
    pub(super) untold: u64,
    /// At which look it had its last line; 0: never.
    line: u64,
}

impl Differences {
    /// Takes in what the table has now. What it had at the first look is no difference: an agent before this one told of it.
    ///
    /// A row that was evicted and came again counts from its beginning, and so does one whose counter went back.
    pub(super) fn look(&mut self, rows: Vec<Drop>) -> Vec<Difference> {
        self.looks += 1;
        let before = self.rows.take();
        let mut now = HashMap::with_capacity(rows.len());
        let mut found = Vec::new();
        for row in rows {
            let key = key(&row);
            // The kernel may hand a row over twice while others come and go.
            if now.contains_key(&key) {
                continue;
            }
            let (first, packets) = (row.first, row.packets);
            let Some(before) = &before else {
                now.insert(key, Seen { first, packets, told: packets, line: 0 });
                continue;
            };
            let same = before.get(&key).filter(|seen| seen.first == first && seen.packets <= packets);
            let (seen, told, line) = same.map_or((0, 0, 0), |seen| (seen.packets, seen.told, seen.line));
            now.insert(key, Seen { first, packets, told, line });
            if packets > seen {
                found.push(Difference { row, new: packets - seen, untold: packets - told, line });
            }
        }
        self.rows = Some(now);
        found
    }

    /// Whether the next look is the first.
    pub(super) fn is_first(&self) -> bool {
        self.rows.is_none()
    }

    /// What was not told of a row is told now, by a line.
    pub(super) fn tell(&mut self, Difference { row, .. }: &Difference) {
        let line = self.looks;
        if let Some(seen) = self.rows.as_mut().and_then(|rows| rows.get_mut(&key(row))) {
            (seen.told, seen.line) = (row.packets, line);
        }
    }

    /// What was not told of any row is told now, by a line that says how much is missing.
    pub(super) fn tell_all(&mut self) {
        self.rows.iter_mut().flat_map(HashMap::values_mut).for_each(|seen| seen.told = seen.packets);
    }
}

fn key(row: &Drop) -> Key {
    let Drop { source, destination, rule, interface, port, protocol, ingress, audit, others, reason, .. } =
        *row;
    Key { source, destination, rule, interface, port, protocol, ingress, audit, others, reason }
}

/// Orders them so that each Pod and rule, or interface and reason, has its turn: one that is flooded takes no line from the
/// others. Of each, what had no line for longest comes first, and of several what has most packets.
pub(super) fn by_turns(found: &mut [Difference]) {
    found.sort_by_key(|one| (one.line, std::cmp::Reverse(one.untold)));
    let mut turns = HashMap::<_, usize>::new();
    found.sort_by_cached_key(|Difference { row, .. }| {
        let by_policy = row.is_of_policy().then(|| (own_end(row), row.rule, row.audit));
        let by_others = by_policy.is_none().then_some((row.interface, row.reason));
        let turn = turns.entry((by_policy, by_others)).or_default();
        *turn += 1;
        *turn
    });
}

/// The address of the Pod whose policy decided.
pub(super) fn own_end(row: &Drop) -> Option<IpAddr> {
    if row.ingress { row.destination } else { row.source }
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    fn at(packets: u64) -> Drop {
        Drop { packets, ..row() }
    }

    impl Difference {
        /// Of a row that nobody saw before.
        pub(crate) fn new(row: Drop) -> Self {
            Self { row, new: row.packets, untold: row.packets, line: 0 }
        }
    }

    /// The packets that are new, and those that are not told.
    fn look(differences: &mut Differences, rows: Vec<Drop>) -> Vec<(u64, u64)> {
        differences.look(rows).iter().map(|one| (one.new, one.untold)).collect()
    }

    #[test]
    fn only_what_moved_is_a_difference() {
        let mut differences = Differences::default();
        assert_eq!(look(&mut differences, vec![at(7)]), []);
        assert_eq!(look(&mut differences, vec![at(7)]), []);
        let other = Drop { port: 81, ..at(1) };
        let found = differences.look(vec![at(10), other]);
        assert_eq!(found.iter().map(|one| (one.new, one.untold)).collect::<Vec<_>>(), [(3, 3), (1, 1)]);
        // Told, or not yet.
        differences.tell(&found[0]);
        assert_eq!(look(&mut differences, vec![at(12), Drop { packets: 3, ..other }]), [(2, 2), (2, 3)]);
        assert_eq!(look(&mut differences, vec![at(13)]), [(1, 3)]);
        differences.tell_all();
        assert_eq!(look(&mut differences, vec![at(14)]), [(1, 1)]);
    }

    #[test]
    fn rows_that_differ_in_anything_are_others() {
        let mut differences = Differences::default();
        assert_eq!(look(&mut differences, Vec::new()), []);
        let address = |text: &str| Some(text.parse().unwrap());
        let rows = [
            row(),
            Drop { source: address("fd44::9"), ..row() },
            Drop { destination: address("10.244.1.9"), ..row() },
            Drop { destination: None, ..row() },
            Drop { rule: 9, ..row() },
            Drop { interface: 9, ..row() },
            Drop { others: true, ..row() },
            Drop { port: 9, ..row() },
            Drop { protocol: 17, ..row() },
            Drop { ingress: false, ..row() },
            Drop { audit: true, ..row() },
            Drop { reason: "policy_unknown", ..row() },
        ];
        assert_eq!(look(&mut differences, rows.to_vec()).len(), rows.len());
        // What is handed over twice is one.
        assert_eq!(look(&mut differences, vec![at(2), at(3)]), [(1, 2)]);
    }

    #[test]
    fn a_row_that_was_evicted_counts_from_its_beginning() {
        let mut differences = Differences::default();
        look(&mut differences, vec![at(100)]);
        let later = |packets| Drop { first: row().first + Duration::from_secs(1), ..at(packets) };
        // In between, with fewer packets, as many and more.
        for packets in [5, 100, 150] {
            let mut differences = Differences::default();
            look(&mut differences, vec![at(100)]);
            assert_eq!(look(&mut differences, vec![later(packets)]), [(packets, packets)]);
        }
        assert_eq!(look(&mut differences, Vec::new()), []);
        assert_eq!(look(&mut differences, vec![later(2)]), [(2, 2)]);
    }

    #[test]
    fn a_counter_that_goes_back_counts_from_its_beginning() {
        let mut differences = Differences::default();
        look(&mut differences, vec![at(100)]);
        assert_eq!(look(&mut differences, vec![at(4)]), [(4, 4)]);
        assert_eq!(look(&mut differences, vec![at(4)]), []);
        // What is not there any more needs no memory.
        look(&mut differences, Vec::new());
        assert_eq!(differences.rows.unwrap().len(), 0);
    }

    #[test]
    fn one_pod_that_is_flooded_takes_no_turn_from_others() {
        let address = |text: &str| Some(text.parse().unwrap());
        let flood = (1..=1000).map(|port| Drop { port, packets: 50, ..row() });
        let other = Drop { destination: address("10.244.1.9"), packets: 1, ..row() };
        let sent = Drop { ingress: false, packets: 2, ..row() };
        let audited = Drop { audit: true, packets: 3, ..row() };
        let forged = |interface| Drop { reason: "source_ip", interface, packets: 4, ..row() };
        let rows = flood.chain([other, sent, audited, forged(7), forged(8)]);
        let mut differences = Differences::default();
        differences.look(Vec::new());
        let mut found = differences.look(rows.collect());
        by_turns(&mut found);
        let first: Vec<u64> = found.iter().take(7).map(|one| one.untold).collect();
        assert_eq!(first, [50, 4, 4, 3, 2, 1, 50]);
        assert_eq!(found.len(), 1005);
    }
}
