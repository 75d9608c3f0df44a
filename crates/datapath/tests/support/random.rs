//! Damaged frames, the same in every run.

use testkit::Random;

/// The kernel's test run takes no shorter frame of an IP packet.
const SHORTEST: usize = 14 + 40;

/// Changes a few bytes near the front, and sometimes cuts the end off.
pub fn damage(random: &mut Random, frame: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        let at = random.index(frame.len().min(100));
        frame[at] = match random.below(3) {
            0 => frame[at] ^ 1 << random.below(8),
            1 => [0, 1, 0x7f, 0x80, 0xff][random.index(5)],
            _ => random.below(256) as u8,
        };
    }
    if random.below(4) == 0 {
        let length = SHORTEST + random.index(frame.len() - SHORTEST + 1);
        frame.truncate(length);
    }
}
