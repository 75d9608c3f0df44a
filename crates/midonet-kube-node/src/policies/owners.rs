//! Whose an address was: the judge knows whose it is, and here is what changed since.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use objects::Key;

/// So many changes are remembered.
const CHANGES: usize = 16_384;

/// The last changes of whose addresses are. Times are since boot, as those of drops.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// From when on all changes are known; `None`: it is not known yet whose addresses are.
    since: Option<Duration>,
    /// Of each address, the oldest first.
    changes: HashMap<IpAddr, VecDeque<Change>>,
    /// The address of each change, the oldest first.
    order: VecDeque<IpAddr>,
}

/// An address became somebody else's.
#[derive(Debug)]
struct Change {
    at: Duration,
    /// Whose it was before.
    before: Option<Key>,
}

impl Owners {
    /// It is known whose addresses are. Only the first time counts.
    pub(super) fn begin(&mut self, now: Duration) {
        self.since.get_or_insert(now);
    }

    /// Whether changes are to be told.
    pub(super) fn is_begun(&self) -> bool {
        self.since.is_some()
    }

    /// An address is somebody else's than before.
    pub(super) fn changed(&mut self, address: IpAddr, before: Option<Key>, now: Duration) {
        self.changes.entry(address).or_default().push_back(Change { at: now, before });
        self.order.push_back(address);
        while self.order.len() > CHANGES {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(address) = self.order.pop_front() else { return };
        let Some(changes) = self.changes.get_mut(&address) else { return };
        if let Some(change) = changes.pop_front() {
            self.since = Some(change.at);
        }
        if changes.is_empty() {
            self.changes.remove(&address);
        }
    }

    /// Whose an address was at a time, with whose it is `now`; `None`: nobody's, or that is not known any more.
    pub(super) fn at<'a>(&'a self, address: IpAddr, time: Duration, now: Option<&'a Key>) -> Option<&'a Key> {
        if self.since.is_none_or(|since| time < since) {
            return None;
        }
        let changes = self.changes.get(&address).into_iter().flatten();
        match changes.into_iter().find(|change| change.at > time) {
            Some(next) => next.before.as_ref(),
            None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(last: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a01_0000 + last).into()
    }

    #[test]
    fn an_address_was_its_owners_of_that_time() {
        let (a, b) = (Key::namespaced("default", "a"), Key::namespaced("default", "b"));
        let mut owners = Owners::default();
        assert_eq!(owners.at(address(1), 9 * SECOND, Some(&b)), None, "it is not known since when");
        owners.begin(2 * SECOND);
        owners.begin(7 * SECOND);
        // It is a's until second 4, nobody's until second 6, and then b's.
        owners.changed(address(1), Some(a.clone()), 4 * SECOND);
        owners.changed(address(1), None, 6 * SECOND);
        for (time, want) in
            [(1, None), (2, Some(&a)), (3, Some(&a)), (4, None), (5, None), (6, Some(&b)), (9, Some(&b))]
        {
            assert_eq!(owners.at(address(1), time * SECOND, Some(&b)), want, "{time}");
        }
        assert_eq!(owners.at(address(2), 3 * SECOND, Some(&b)), Some(&b), "nothing changed");
    }

    #[test]
    fn what_is_forgotten_is_not_guessed() {
        let a = Key::namespaced("default", "a");
        let mut owners = Owners::default();
        owners.begin(Duration::ZERO);
        let changes = u32::try_from(CHANGES).unwrap();
        for number in 0..=changes {
            owners.changed(address(number), Some(a.clone()), (number + 1) * SECOND);
        }
        assert_eq!((owners.order.len(), owners.changes.len()), (CHANGES, CHANGES));
        // The change of the first address, in second 1, is forgotten: before that nothing is known.
        assert_eq!(owners.at(address(0), SECOND / 2, None), None);
        assert_eq!(owners.at(address(5), SECOND / 2, Some(&a)), None);
        assert_eq!(owners.at(address(5), SECOND, None), Some(&a));
    }
}
