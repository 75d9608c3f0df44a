//! Numbers, given to one user at a time: of Services' ports, and of sets of source ranges. Pure.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// The numbers from 1 to a limit. One that was never given is preferred, and then the one that is free for longest.
#[derive(Debug)]
pub(super) struct Numbers {
    limit: u32,
    next: u32,
    free: VecDeque<u32>,
    /// How often each number is in use.
    users: HashMap<u32, u32>,
}

impl Numbers {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, next: 1, free: VecDeque::new(), users: HashMap::new() }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// A number that nobody uses; `None` if all are in use.
    pub(super) fn take(&mut self) -> Option<u32> {
        while self.next <= self.limit {
            let number = self.next;
            self.next += 1;
            if let Entry::Vacant(unused) = self.users.entry(number) {
                unused.insert(1);
                return Some(number);
            }
        }
        let number = self.free.pop_front()?;
        self.users.insert(number, 1);
        Some(number)
    }

    /// Uses a number that was found, or uses one once more; whether it can be one.
    pub(super) fn hold(&mut self, number: u32) -> bool {
        let can_be = (1..=self.limit).contains(&number);
        if can_be {
            *self.users.entry(number).or_default() += 1;
        }
        can_be
    }

    /// Ends a use. Whether nobody uses it any more: then it is to be [freed](Self::free) later.
    pub(super) fn release(&mut self, number: u32) -> bool {
        let Some(users) = self.users.get_mut(&number) else { return false };
        *users -= 1;
        *users == 0
    }

    /// Has a number that was taken never be given again, and not be in use.
    pub(super) fn forget(&mut self, number: u32) {
        self.users.remove(&number);
    }

    /// Whether a number is in use, or was and is not freed yet.
    pub(super) fn is_known(&self, number: u32) -> bool {
        self.users.contains_key(&number)
    }

    /// Lets others have a number.
    pub(super) fn free(&mut self, number: u32) {
        if self.users.get(&number) == Some(&0) {
            self.users.remove(&number);
            if number < self.next {
                self.free.push_back(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_as_late_as_can_be() {
        let mut numbers = Numbers::new(4);
        assert!(numbers.hold(2) && numbers.hold(2) && !numbers.hold(5) && !numbers.hold(0));
        assert_eq!([numbers.take(), numbers.take()], [Some(1), Some(3)]);
        assert!(numbers.release(1) && numbers.release(3));
        numbers.free(3);
        numbers.free(1);
        assert_eq!([numbers.take(), numbers.take(), numbers.take()], [Some(4), Some(3), Some(1)]);
        assert_eq!(numbers.take(), None);
        assert!(!numbers.release(2) && numbers.release(2));
        assert_eq!(numbers.take(), None, "not before it is freed");
        numbers.free(2);
        numbers.free(2);
        assert_eq!([numbers.take(), numbers.take()], [Some(2), None]);
    }

    #[test]
    fn a_found_number_that_nobody_wants_is_given_to_others() {
        let mut numbers = Numbers::new(2);
        assert!(numbers.hold(2) && numbers.release(2));
        numbers.free(2);
        assert_eq!([numbers.take(), numbers.take(), numbers.take()], [Some(1), Some(2), None]);
    }
}
