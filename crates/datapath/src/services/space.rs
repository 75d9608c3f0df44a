//! Which ranges of an array are in use. Pure.

use std::collections::BTreeMap;

/// Up to this length a range is short.
const SHORT: u32 = 32;

/// The ranges of an array that are free, each joined with its neighbours. Short ranges are taken from the first place that
/// has space for them, long ones from the last: so the many short ones, which come and go, never fragment what the few
/// long ones need.
#[derive(Debug)]
pub(super) struct Space {
    size: u32,
    free: BTreeMap<u32, u32>,
}

impl Space {
    /// All of an array of that size.
    pub(super) fn new(size: u32) -> Self {
        Self { size, free: BTreeMap::from([(0, size)]) }
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// Takes a range of that length; `None` if there is none.
    pub(super) fn take(&mut self, length: u32) -> Option<u32> {
        let mut fitting = self.free.iter().filter(|(_, free)| **free >= length);
        let (at, free) = if length > SHORT { fitting.next_back() } else { fitting.next() }?;
        let (at, free) = (*at, *free);
        let start = if length > SHORT { at + free - length } else { at };
        self.cut(at, free, start, length);
        Some(start)
    }

    /// Takes this range; whether all of it was free.
    pub(super) fn take_at(&mut self, start: u32, length: u32) -> bool {
        let Some(end) = start.checked_add(length) else { return false };
        let around = self.free.range(..=start).next_back().map(|(at, length)| (*at, *length));
        match around {
            _ if length == 0 => true,
            Some((at, free)) if at + free >= end => {
                self.cut(at, free, start, length);
                true
            }
            _ => false,
        }
    }

    /// Gives back a range that was taken.
    pub(super) fn free(&mut self, start: u32, length: u32) {
        let (mut start, mut length) = (start, length);
        if length == 0 {
            return;
        }
        if let Some((at, before)) = self.free.range(..start).next_back().map(|(at, length)| (*at, *length))
            && at + before == start
        {
            self.free.remove(&at);
            (start, length) = (at, before + length);
        }
        if let Some(after) = self.free.remove(&(start + length)) {
            length += after;
        }
        self.insert(start, length);
    }

    /// How much is taken.
    pub(super) fn used(&self) -> u32 {
        self.size - self.free.values().sum::<u32>()
    }

    /// The free ranges as (start, length), in their order.
    pub(super) fn free_ranges(&self) -> impl Iterator<Item = (u32, u32)> {
        self.free.iter().map(|(start, length)| (*start, *length))
    }

    /// Cuts a range out of a free one.
    fn cut(&mut self, at: u32, free: u32, start: u32, length: u32) {
        self.free.remove(&at);
        self.insert(at, start - at);
        self.insert(start + length, at + free - start - length);
    }

    fn insert(&mut self, start: u32, length: u32) {
        if length > 0 {
            self.free.insert(start, length);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Take(u32),
        TakeAt(u32, u32),
        Free(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            prop_oneof![1u32..20, 30u32..50].prop_map(Step::Take),
            (0u32..220, 0u32..20).prop_map(|(start, length)| Step::TakeAt(start, length)),
            any::<usize>().prop_map(Step::Free),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        /// Against an array of "taken" for each place.
        #[test]
        fn ranges_never_overlap_and_come_back(steps in steps()) {
            let (mut space, mut taken) = (Space::new(200), [false; 200]);
            let mut held = Vec::new();
            for step in steps {
                match step {
                    Step::Take(length) => match space.take(length) {
                        Some(start) => {
                            let range = start as usize..(start + length) as usize;
                            prop_assert!(taken[range.clone()].iter().all(|taken| !taken));
                            taken[range].fill(true);
                            held.push((start, length));
                        }
                        None => {
                            let longest = taken.split(|taken| *taken).map(<[bool]>::len).max();
                            prop_assert!(longest.unwrap_or(0) < length as usize);
                        }
                    },
                    Step::TakeAt(start, length) => {
                        let range = start as usize..(start + length) as usize;
                        let free = length == 0 || taken.get(range.clone()).is_some_and(|all| all.iter().all(|taken| !taken));
                        prop_assert_eq!(space.take_at(start, length), free);
                        if free && length > 0 {
                            taken[range].fill(true);
                            held.push((start, length));
                        }
                    }
                    Step::Free(which) if !held.is_empty() => {
                        let (start, length) = held.swap_remove(which % held.len());
                        space.free(start, length);
                        taken[start as usize..(start + length) as usize].fill(false);
                    }
                    Step::Free(_) => {}
                }
                let free: u32 = space.free_ranges().map(|(_, length)| length).sum();
                prop_assert_eq!(free as usize, taken.iter().filter(|taken| !**taken).count());
                prop_assert_eq!(space.used() + free, space.size());
                // Joined: none begins where another ends.
                let ranges: Vec<_> = space.free_ranges().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 < pair[1].0));
            }
        }
    }

    /// 10,000 lists of 10, one of 5,000 that changes all the time, others that come and go, and each range is free only
    /// some changes later: there is always space.
    #[test]
    fn a_large_list_that_changes_often_finds_space() {
        let mut space = Space::new(262_144);
        let mut random = 12_345u32;
        let mut draw = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        let mut small: Vec<(u32, u32)> = Vec::new();
        for _ in 0..10_000 {
            let length = 1 + draw(19);
            small.push((space.take(length).unwrap(), length));
        }
        let mut waiting = VecDeque::new();
        for _ in 0..20_000 {
            let length = 4_900 + draw(200);
            waiting.push_back((space.take(length).unwrap(), length));
            for _ in 0..5 {
                let which = draw(10_000) as usize;
                let length = 1 + draw(19);
                let new = space.take(length).unwrap();
                waiting.push_back(std::mem::replace(&mut small[which], (new, length)));
            }
            while waiting.len() > 100 {
                let (start, length) = waiting.pop_front().unwrap();
                space.free(start, length);
            }
        }
        assert!(space.free_ranges().count() < 3_000, "{}", space.free_ranges().count());
    }
}
