//! From a Diffie-Hellman secret to frame keys and a challenge: what all generations share (protocol.md 1.1, 1.3).

use hkdf::Hkdf;
use merlin::Transcript;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Which of the two ephemeral keys is ours, when they are sorted bytewise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Ours is the lower.
    Lower,
    /// Ours is the upper.
    Upper,
}

/// The 96 bytes that the HKDF gives, seen from one side. Wiped on drop.
pub struct Derived {
    okm: Zeroizing<[u8; 96]>,
    side: Side,
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Derived")
    }
}

impl Derived {
    /// HKDF-SHA256 over the shared secret (32 bytes), without salt.
    #[must_use]
    pub fn new(dh: &[u8; 32], side: Side) -> Self {
        let mut okm = Zeroizing::new([0; 96]);
        Hkdf::<Sha256>::new(None, dh)
            .expand(
                b"TENDERMINT_SECRET_CONNECTION_KEY_AND_CHALLENGE_GEN",
                okm.as_mut_slice(),
            )
            .expect("96 bytes are less than the 8,160 that HKDF-SHA256 can give");
        Self { okm, side }
    }

    /// The key of the frames that we receive, 32 bytes.
    #[must_use]
    pub fn receive_key(&self) -> Zeroizing<[u8; 32]> {
        match self.side {
            Side::Lower => self.third(0),
            Side::Upper => self.third(1),
        }
    }

    /// The key of the frames that we send, 32 bytes.
    #[must_use]
    pub fn send_key(&self) -> Zeroizing<[u8; 32]> {
        match self.side {
            Side::Lower => self.third(1),
            Side::Upper => self.third(0),
        }
    }

    /// The challenge of the generations up to v0.32, 32 bytes; later ones take it from the transcript.
    #[must_use]
    pub fn legacy_challenge(&self) -> Zeroizing<[u8; 32]> {
        self.third(2)
    }

    fn third(&self, index: usize) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let bytes = self.okm.chunks_exact(32).nth(index);
        key.copy_from_slice(bytes.expect("96 bytes are three times 32"));
        key
    }
}

/// The challenge (32 bytes) that both sides sign since v0.33. `low` and `high` are the sorted ephemeral public keys.
#[must_use]
pub fn challenge(low: &[u8; 32], high: &[u8; 32], dh: &[u8; 32]) -> [u8; 32] {
    let mut transcript = Transcript::new(b"TENDERMINT_SECRET_CONNECTION_TRANSCRIPT_HASH");
    transcript.append_message(b"EPHEMERAL_LOWER_PUBLIC_KEY", low);
    transcript.append_message(b"EPHEMERAL_UPPER_PUBLIC_KEY", high);
    transcript.append_message(b"DH_SECRET", dh);
    let mut challenge = [0; 32];
    transcript.challenge_bytes(b"SECRET_CONNECTION_MAC", &mut challenge);
    challenge
}
