//! Damage, the same in every run.

/// The kernel's test run takes no shorter frame of an IP packet.
const SHORTEST: usize = 14 + 40;

/// xorshift64*: the same frames in every run.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(0x6d69_646f_6e65_7421)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    /// Changes a few bytes near the front, and sometimes cuts the end off.
    pub fn damage(&mut self, frame: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(frame.len().min(100));
            frame[at] = match self.below(3) {
                0 => frame[at] ^ 1 << self.below(8),
                1 => [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                _ => self.below(256) as u8,
            };
        }
        if self.below(4) == 0 {
            let length = SHORTEST + self.below(frame.len() - SHORTEST + 1);
            frame.truncate(length);
        }
    }
}
