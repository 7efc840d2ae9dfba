//! Frames: 1,024 bytes of data at most, sealed with ChaCha20-Poly1305 and a counter (protocol.md 1.4).

use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit, Nonce, Tag};

/// How much data a frame can carry, in bytes.
pub const DATA: usize = 1024;
/// A sealed frame: the data's length (4 bytes), the data and its padding, the tag (16 bytes).
pub const SEALED: usize = LENGTH + DATA + TAG;

const LENGTH: usize = 4;
const TAG: usize = 16;

/// The sending direction: its key, and a counter that never repeats.
pub struct Sealer {
    cipher: ChaCha20Poly1305,
    counter: Counter,
}

/// The receiving direction.
pub struct Opener {
    cipher: ChaCha20Poly1305,
    counter: Counter,
}

impl Sealer {
    /// A direction that has sent nothing yet. `key` is 32 bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            cipher: ChaCha20Poly1305::new(key.into()),
            counter: Counter(Some(0)),
        }
    }

    /// Seals `prefix ‖ data` into as many frames as it takes, at least one, in `out` (which is overwritten).
    ///
    /// # Errors
    /// `FrameError::Counter` when the key is used up.
    pub fn seal(
        &mut self,
        prefix: &[u8],
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let frames = (prefix.len() + data.len()).div_ceil(DATA).max(1);
        out.resize(frames * SEALED, 0);
        let (mut prefix, mut data) = (prefix, data);
        for frame in out.chunks_exact_mut(SEALED) {
            let (first, later) = prefix.split_at(prefix.len().min(DATA));
            let (second, rest) = data.split_at(data.len().min(DATA - first.len()));
            (prefix, data) = (later, rest);
            self.seal_one(first, second, frame)?;
        }
        Ok(())
    }

    /// Seals one frame in place. `frame` has 1,044 bytes, `first` and `second` together at most 1,024.
    fn seal_one(
        &mut self,
        first: &[u8],
        second: &[u8],
        frame: &mut [u8],
    ) -> Result<(), FrameError> {
        let (plain, tag) = frame.split_at_mut(LENGTH + DATA);
        let (length, room) = plain.split_at_mut(LENGTH);
        let count = first.len() + second.len();
        let claim = u32::try_from(count).map_err(|_| FrameError::Sealed)?;
        length.copy_from_slice(&claim.to_le_bytes());
        let (used, padding) = room.split_at_mut(count);
        let (left, right) = used.split_at_mut(first.len());
        left.copy_from_slice(first);
        right.copy_from_slice(second);
        // Whatever stood here before is nobody's business.
        padding.fill(0);
        let nonce = self.counter.next()?;
        let sealed = self
            .cipher
            .encrypt_in_place_detached(&nonce, b"", plain)
            .map_err(|_| FrameError::Sealed)?;
        tag.copy_from_slice(&sealed);
        Ok(())
    }
}

impl Opener {
    /// A direction that has received nothing yet. `key` is 32 bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            cipher: ChaCha20Poly1305::new(key.into()),
            counter: Counter(Some(0)),
        }
    }

    /// Opens the next frame in place and gives its data, 0 to 1,024 bytes. The padding is not looked at: Go leaves old data
    /// in it.
    ///
    /// # Errors
    /// `FrameError`, after which nothing opens any more.
    pub fn open<'a>(&mut self, frame: &'a mut [u8; SEALED]) -> Result<&'a [u8], FrameError> {
        let nonce = self.counter.next()?;
        let (plain, tag) = frame.split_at_mut(LENGTH + DATA);
        let opened =
            self.cipher
                .decrypt_in_place_detached(&nonce, b"", plain, Tag::from_slice(tag));
        if opened.is_err() {
            self.counter = Counter(None);
            return Err(FrameError::Sealed);
        }
        let (length, data) = plain.split_first_chunk().ok_or(FrameError::Sealed)?;
        let length = u32::from_le_bytes(*length);
        let used = usize::try_from(length).ok().and_then(|n| data.get(..n));
        used.ok_or_else(|| {
            self.counter = Counter(None);
            FrameError::Length { length }
        })
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener")
    }
}

/// Why a frame was not sealed or opened. The connection is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// The tag does not fit: tampered with, out of order, or sent twice.
    #[error("the frame was not sealed by the peer")]
    Sealed,
    /// It claims to carry more than a frame holds.
    #[error("the frame claims {length} bytes of data, and it holds at most 1024")]
    Length {
        /// The claim.
        length: u32,
    },
    /// No nonce is left for this key: after 2^64 frames, or after a frame that did not open.
    #[error("the key of this direction is used up")]
    Counter,
}

/// The next nonce; none when the key must not be used any more.
struct Counter(Option<u64>);

impl Counter {
    /// 4 zero bytes, then the counter in little-endian order.
    fn next(&mut self) -> Result<Nonce, FrameError> {
        let now = self.0.ok_or(FrameError::Counter)?;
        self.0 = now.checked_add(1);
        let mut nonce = Nonce::default();
        nonce.split_at_mut(4).1.copy_from_slice(&now.to_le_bytes());
        Ok(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(sealer: &mut Sealer, data: &[u8]) -> Vec<[u8; SEALED]> {
        let mut out = Vec::new();
        sealer.seal(&[], data, &mut out).expect("seals");
        out.chunks_exact(SEALED)
            .map(|frame| frame.try_into().expect("a frame"))
            .collect()
    }

    #[test]
    fn a_frame_opens_once_and_in_its_turn() {
        let (mut sealer, mut opener) = (Sealer::new(&[1; 32]), Opener::new(&[1; 32]));
        let mut first = sealed(&mut sealer, b"one").remove(0);
        let replay = first;
        assert_eq!(opener.open(&mut first), Ok(&b"one"[..]));
        assert_eq!(opener.open(&mut replay.clone()), Err(FrameError::Sealed));
        let mut second = sealed(&mut sealer, b"two").remove(0);
        assert_eq!(opener.open(&mut second), Err(FrameError::Counter));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let good = sealed(&mut Sealer::new(&[1; 32]), b"one").remove(0);
        for bit in (0..SEALED * 8).step_by(97) {
            let mut bad = good;
            *bad.get_mut(bit / 8).expect("within") ^= 1 << (bit % 8);
            let result = Opener::new(&[1; 32]).open(&mut bad).map(<[u8]>::to_vec);
            assert_eq!(result, Err(FrameError::Sealed), "bit {bit}");
        }
    }

    #[test]
    fn the_last_counter_is_used_and_none_after_it() {
        let mut sealer = Sealer::new(&[1; 32]);
        sealer.counter = Counter(Some(u64::MAX));
        let mut out = Vec::new();
        assert_eq!(sealer.seal(&[], b"last", &mut out), Ok(()));
        assert_eq!(
            sealer.seal(&[], b"more", &mut out),
            Err(FrameError::Counter)
        );
    }

    #[test]
    fn a_claim_of_more_data_than_a_frame_holds_is_refused_for_good() {
        for length in [1025, 1040, u32::MAX] {
            let mut frame = [0; SEALED];
            let (plain, tag) = frame.split_at_mut(LENGTH + DATA);
            plain
                .split_at_mut(LENGTH)
                .0
                .copy_from_slice(&length.to_le_bytes());
            let cipher = ChaCha20Poly1305::new(&[1; 32].into());
            let sealed = cipher
                .encrypt_in_place_detached(&Nonce::default(), b"", plain)
                .expect("seals");
            tag.copy_from_slice(&sealed);
            let mut opener = Opener::new(&[1; 32]);
            let result = opener.open(&mut frame).map(<[u8]>::to_vec);
            assert_eq!(result, Err(FrameError::Length { length }));
            assert_eq!(opener.open(&mut frame), Err(FrameError::Counter));
        }
    }

    #[test]
    fn the_padding_is_zero_even_in_a_used_buffer() {
        let mut out = vec![0xff; SEALED];
        let mut sealer = Sealer::new(&[1; 32]);
        sealer.seal(b"pre", b"fix", &mut out).expect("seals");
        let cipher = ChaCha20Poly1305::new(&[1; 32].into());
        let (plain, tag) = out.split_at_mut(LENGTH + DATA);
        cipher
            .decrypt_in_place_detached(&Nonce::default(), b"", plain, Tag::from_slice(tag))
            .expect("opens");
        let mut expected = vec![6, 0, 0, 0];
        expected.extend_from_slice(b"prefix");
        expected.resize(LENGTH + DATA, 0);
        assert_eq!(plain, expected);
    }
}
