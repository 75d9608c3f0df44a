/// Numbers that follow from a seed, so that a simulation can be repeated: SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number between the two, both included. The first one if they are in the wrong order.
    pub(crate) fn between(&mut self, first: u32, last: u32) -> u32 {
        let count = u64::from(last.saturating_sub(first)) + 1;
        // The upper 32 bits as a fraction of one: every number is as likely as another, but for one in 2^32.
        let offset = ((self.next() >> 32) * count) >> 32;
        first.saturating_add(u32::try_from(offset).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_all_of_a_range() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..1000).map(|_| random.between(5, 7)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        for number in 5..=7 {
            let times = draw(1).iter().filter(|n| **n == number).count();
            assert!((267..400).contains(&times), "{number}: {times}");
        }
        assert!(draw(1).iter().all(|n| (5..=7).contains(n)));
    }

    #[test]
    fn the_whole_range_and_the_empty_one_are_allowed() {
        let mut random = Random::new(0);
        random.between(0, u32::MAX);
        assert_eq!(random.between(9, 9), 9);
        assert_eq!(random.between(9, 1), 9);
    }
}
