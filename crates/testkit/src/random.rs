//! Random numbers that are the same in every run.

/// A generator (xorshift64*). The same seed gives the same numbers, so that a failure can be repeated.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A generator for this seed; different seeds give different numbers.
    pub fn new(seed: u64) -> Self {
        Self(0x6d69_646f_6b75_6265 ^ (seed << 32))
    }

    /// A number below the limit.
    ///
    /// # Panics
    /// The limit is zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    /// An index into something of that length.
    ///
    /// # Panics
    /// The length is zero.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("less than a usize")
    }

    /// Whether an event of that probability happens.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
