//! Things that others know by numbers, each content once. A number is not used again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::hash::{Map, Set};

/// Where numbers come from. Beyond the last one it begins again, at those that nobody has had for four thousand million
/// numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers(u32);

impl Numbers {
    /// Numbers after this one.
    pub(crate) fn after(last: u32) -> Self {
        Self(last)
    }

    /// The next number. 0 and the highest one mean something else.
    pub(crate) fn next(&mut self, taken: impl Fn(u32) -> bool) -> u32 {
        loop {
            self.0 = self.0.wrapping_add(1);
            if self.0 != 0 && self.0 != u32::MAX && !taken(self.0) {
                return self.0;
            }
        }
    }
}

/// Things by number.
#[derive(Debug, Clone)]
pub(crate) struct Numbered<T> {
    numbers: Numbers,
    known: HashMap<Arc<T>, u32>,
    all: Map<u32, (Arc<T>, usize)>,
    fresh: Vec<u32>,
    idle: Set<u32>,
}

impl<T: Hash + Eq> Numbered<T> {
    /// Nothing. Numbers begin after this one.
    pub(crate) fn after(last: u32) -> Self {
        Self {
            numbers: Numbers::after(last),
            known: HashMap::new(),
            all: Map::default(),
            fresh: Vec::new(),
            idle: Set::default(),
        }
    }

    /// The number of something that is used once more.
    pub(crate) fn acquire(&mut self, thing: T) -> u32 {
        if let Some(number) = self.known.get(&thing) {
            if let Some((_, users)) = self.all.get_mut(number) {
                *users += 1;
            }
            return *number;
        }
        let number = self.numbers.next(|number| self.all.contains_key(&number));
        let thing = Arc::new(thing);
        self.known.insert(Arc::clone(&thing), number);
        self.all.insert(number, (thing, 1));
        self.fresh.push(number);
        number
    }

    /// It is used once less. Until [`Self::settle`] it stays.
    pub(crate) fn release(&mut self, number: u32) {
        let Some((_, users)) = self.all.get_mut(&number) else { return };
        *users -= 1;
        if *users == 0 {
            self.idle.insert(number);
        }
    }

    /// What is new since the last call and used, and what is not used any more.
    pub(crate) fn settle(&mut self) -> (Vec<(u32, Arc<T>)>, Vec<u32>) {
        let mut fresh = std::mem::take(&mut self.fresh);
        let mut removed = Vec::new();
        for number in std::mem::take(&mut self.idle) {
            if self.all.get(&number).is_some_and(|(_, users)| *users == 0)
                && let Some((thing, _)) = self.all.remove(&number)
            {
                self.known.remove(&thing);
                removed.push(number);
            }
        }
        // What came and went in between was never told.
        let told: Set<u32> = fresh.iter().copied().collect();
        removed.retain(|number| !told.contains(number));
        removed.sort_unstable();
        fresh.retain(|number| self.all.contains_key(number));
        let fresh = fresh.into_iter().filter_map(|number| Some((number, Arc::clone(self.get(number)?))));
        (fresh.collect(), removed)
    }

    /// What has this number.
    pub(crate) fn get(&self, number: u32) -> Option<&Arc<T>> {
        self.all.get(&number).map(|(thing, _)| thing)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Arc<T>)> {
        self.all.iter().map(|(number, (thing, _))| (*number, thing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_not_used_again_while_somebody_may_know_them() {
        let mut all = Numbered::after(7);
        assert_eq!((all.acquire("a"), all.acquire("b"), all.acquire("a")), (8, 9, 8));
        all.release(8);
        assert_eq!(all.settle(), (vec![(8, Arc::new("a")), (9, Arc::new("b"))], vec![]));
        all.release(8);
        assert_eq!(all.acquire("a"), 8, "it is still there");
        assert_eq!(all.settle(), (vec![], vec![]));
        all.release(8);
        assert_eq!(all.settle(), (vec![], vec![8]));
        assert_eq!(all.acquire("a"), 10);
        all.release(10);
        assert_eq!(all.settle(), (vec![], vec![]), "nobody was told of it");
        assert_eq!(all.iter().count(), 1);
    }

    #[test]
    fn numbers_begin_again_without_those_that_are_taken() {
        let mut numbers = Numbers::after(u32::MAX - 2);
        let taken = |number| number == 1;
        assert_eq!([numbers.next(taken), numbers.next(taken), numbers.next(taken)], [u32::MAX - 1, 2, 3]);
    }
}
