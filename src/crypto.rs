//! Public keys and signatures: what everybody may see. No secret ever enters this room.

use std::fmt;

use ed25519_dalek::{Verifier, VerifyingKey};
use sha2::{Digest, Sha256};

/// The signature scheme of a consensus key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Algorithm {
    /// Ed25519 over the sign bytes themselves (RFC 8032).
    Ed25519,
}

impl Algorithm {
    /// The name that CometBFT gives the key type, e.g. in `consensus_params.validator.pub_key_types`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "Ed25519",
        })
    }
}

/// A consensus or identity public key, decoded once and ready to verify with.
#[derive(Clone, Eq, PartialEq)]
pub enum PublicKey {
    /// 32 bytes, RFC 8032 encoding.
    Ed25519(VerifyingKey),
}

impl PublicKey {
    /// Decodes a 32-byte Ed25519 public key.
    ///
    /// # Errors
    /// `InvalidPublicKey` if the bytes are not 32 or no point of the curve.
    pub fn ed25519(bytes: &[u8]) -> Result<Self, InvalidPublicKey> {
        let bytes = <&[u8; 32]>::try_from(bytes).map_err(|_| InvalidPublicKey)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| InvalidPublicKey)?;
        Ok(Self::Ed25519(key))
    }

    /// The scheme this key belongs to.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// The raw public key: 32 bytes for Ed25519.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(key) => key.as_bytes(),
        }
    }

    /// The consensus address (20 bytes): the start of SHA-256 over the raw key for Ed25519.
    #[must_use]
    pub fn address(&self) -> [u8; 20] {
        let digest: [u8; 32] = Sha256::digest(self.as_bytes()).into();
        let mut address = [0; 20];
        address.copy_from_slice(digest.split_at(20).0);
        address
    }

    /// A signature of this key's scheme from its wire form, not yet verified; `None` if it has another length.
    #[must_use]
    pub fn signature(&self, bytes: &[u8]) -> Option<Signature> {
        match self {
            Self::Ed25519(_) => Some(Signature::Ed25519(bytes.try_into().ok()?)),
        }
    }

    /// Whether `signature` is this key's signature over `msg`.
    #[must_use]
    pub fn verifies(&self, msg: &[u8], signature: &Signature) -> bool {
        match (self, signature) {
            (Self::Ed25519(key), Signature::Ed25519(bytes)) => key
                .verify(msg, &ed25519_dalek::Signature::from_bytes(bytes))
                .is_ok(),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey::{}(", self.algorithm())?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// The bytes are not a public key of the expected kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a valid public key")]
pub struct InvalidPublicKey;

/// A signature as it goes on the wire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Signature {
    /// R ‖ s, 64 bytes (RFC 8032).
    Ed25519([u8; 64]),
}

impl Signature {
    /// The wire form: 64 bytes for Ed25519.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_start_of_the_hash_of_the_key() {
        let bytes = subtle_encoding::hex::decode(
            "f26bf4b2a2e84ceb7a53c3f1ae77408779b20064782fbadbdf0e365959ee4534",
        )
        .expect("hex");
        let key = PublicKey::ed25519(&bytes).expect("a point");
        let address = subtle_encoding::hex::encode_upper(key.address());
        assert_eq!(address, b"AD7DAE5FEC609CF02F9BDE7D81D0C3CD66141563");
    }
}
