//! Random numbers that are the same everywhere, for hostile variants.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::cast_possible_truncation,
    reason = "shared by several test crates, none of which uses all of it; the low bits are what is wanted"
)]

/// SplitMix64: small and seeded.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// The same with something changed: cut off, longer, a piece taken out, or a bit flipped.
    pub fn mutated(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        match self.below(5) {
            0 => bytes.truncate(self.below(good.len())),
            1 => {
                let more = 1 + self.below(40);
                bytes.extend(self.bytes(more));
            }
            2 => {
                let (at, gone) = (self.below(good.len()), 1 + self.below(4));
                bytes.drain(at..(at + gone).min(good.len()));
            }
            _ => {
                let at = self.below(good.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
        }
        bytes
    }
}
