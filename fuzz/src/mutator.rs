//! Small, seeded changes of bytes, the same on every machine.

/// Bytes at which readers decide something.
const EDGES: [u8; 12] = [
    0x00, 0x01, 0x7f, 0x80, 0xff, 0x08, 0x0a, 0x12, 0x1a, 0x20, 0x0b, 0x7e,
];

/// Varints at which readers decide something: 0 in two bytes, −1, the greatest int32 and int64, and beyond.
const VARINTS: [&[u8]; 7] = [
    &[0x80, 0x00],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0xff, 0xff, 0x3f],
];

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, or 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % bound).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> Option<&'a T> {
        from.get(self.below(from.len())).copied()
    }
}

/// Makes mutants of at most `longest` bytes.
pub(crate) struct Mutator {
    random: Random,
    longest: usize,
    words: &'static [&'static str],
}

impl Mutator {
    pub(crate) fn new(seed: u64, longest: usize, words: &'static [&'static str]) -> Self {
        Self {
            random: Random::new(seed),
            longest,
            words,
        }
    }

    /// One of the corpus, changed in one to eight places.
    pub(crate) fn mutant(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let at = self.random.below(corpus.len());
        let mut bytes = corpus.get(at).cloned().unwrap_or_default();
        for _ in 0..1 + self.random.below(8) * self.random.below(2) {
            self.change(&mut bytes, corpus);
        }
        bytes.truncate(self.longest);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.random.below(bytes.len() + 1);
        match self.random.below(11) {
            0 | 1 => {
                let bit = 1 << self.random.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bit;
                }
            }
            2 => {
                let edge = EDGES
                    .get(self.random.below(EDGES.len()))
                    .copied()
                    .unwrap_or_default();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = edge;
                }
            }
            3 => {
                let by = self.random.byte() % 5;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = byte.wrapping_add(by).wrapping_sub(2);
                }
            }
            4 => {
                let byte = self.random.byte();
                bytes.insert(at, byte);
            }
            5 => {
                let end = bytes.len().min(at + 1 + self.random.below(16));
                bytes.drain(at..end);
            }
            6 => bytes.truncate(at),
            7 => {
                // A piece of it once more.
                let end = bytes.len().min(at + 1 + self.random.below(64));
                let piece = bytes.get(at..end).unwrap_or_default().to_vec();
                self.insert(bytes, &piece);
            }
            8 => {
                let other = corpus.get(self.random.below(corpus.len()));
                let other = other.map(Vec::as_slice).unwrap_or_default();
                let from = self.random.below(other.len() + 1);
                let end = other.len().min(from + 1 + self.random.below(256));
                let piece = other.get(from..end).unwrap_or_default().to_vec();
                self.insert(bytes, &piece);
            }
            9 => {
                let varint = self.random.pick(&VARINTS).unwrap_or_default();
                self.replace(bytes, at, varint);
            }
            _ => {
                if let Some(word) = self.random.pick(self.words) {
                    self.replace(bytes, at, word.as_bytes());
                }
            }
        }
    }

    fn insert(&mut self, bytes: &mut Vec<u8>, piece: &[u8]) {
        if bytes.len() + piece.len() <= self.longest {
            let at = self.random.below(bytes.len() + 1);
            bytes.splice(at..at, piece.iter().copied());
        }
    }

    /// Puts a piece in the place of up to as many bytes as it has.
    fn replace(&mut self, bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
        let end = bytes.len().min(at + self.random.below(piece.len() + 1));
        bytes.splice(at..end, piece.iter().copied());
    }
}
