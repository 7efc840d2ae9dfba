//! Ed25519 (RFC 8032), the key of nearly every validator.

use curve25519_dalek::Scalar;
use ed25519_dalek::{
    SigningKey, Verifier, VerifyingKey,
    hazmat::{self, ExpandedSecretKey},
};
use sha2::Sha512;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Facts, JsonNames, KeyType};

/// 32 bytes, RFC 8032 encoding.
pub(super) type Public = VerifyingKey;
/// R ‖ s.
pub(super) type Signed = [u8; 64];

impl KeyType for VerifyingKey {
    type Signature = Signed;

    const FACTS: Facts = Facts {
        name: "ed25519",
        aliases: &[],
        title: "Ed25519",
        member: 1,
        amino: Some([0x16, 0x24, 0xde, 0x64]),
        sdk_type: "/cosmos.crypto.ed25519.PubKey",
        json: &[JsonNames {
            public: "tendermint/PubKeyEd25519",
            private: "tendermint/PrivKeyEd25519",
        }],
    };

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::from_bytes(bytes.try_into().ok()?).ok()
    }

    fn as_bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn signature(bytes: &[u8]) -> Option<Self::Signature> {
        bytes.try_into().ok()
    }

    fn verifies(&self, msg: &[u8], signature: &Self::Signature) -> bool {
        self.verify(msg, &ed25519_dalek::Signature::from_bytes(signature))
            .is_ok()
    }

    /// A 32-byte seed, or a scalar in little-endian ‖ prefix (64 bytes). The scalar is clamped, as RFC 8032 makes it, or reduced by the
    /// group's order, as a YubiHSM exports it: the same key, as long as nobody clamps it again.
    fn of(secret: &[u8]) -> Option<Self> {
        Some(Self::from(&expand(secret)?))
    }

    /// 64 bytes: the seed and its public key.
    fn secret_from_json(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (seed, public) = value.split_at_checked(32)?;
        let key = SigningKey::from_bytes(seed.try_into().ok()?).verifying_key();
        let is_pair: bool = key.as_bytes().as_slice().ct_eq(public).into();
        is_pair.then(|| Zeroizing::new(seed.to_vec()))
    }

    fn sign(&self, secret: &[u8], msg: &[u8]) -> Option<Self::Signature> {
        Some(hazmat::raw_sign::<Sha512>(&expand(secret)?, msg, self).to_bytes())
    }
}

/// The scalar and prefix; wiped by their own `drop`.
fn expand(secret: &[u8]) -> Option<ExpandedSecretKey> {
    if let Ok(seed) = <&[u8; 32]>::try_from(secret) {
        return Some(ExpandedSecretKey::from(seed));
    }
    let (first, second) = secret.split_at_checked(32)?;
    let hash_prefix = second.try_into().ok()?;
    let mut scalar = Zeroizing::new([0; 32]);
    scalar.copy_from_slice(first);
    Some(ExpandedSecretKey {
        scalar: Scalar::from_bytes_mod_order(*scalar),
        hash_prefix,
    })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signer;

    use super::*;

    #[test]
    fn a_seed_and_its_expanded_form_make_the_signature_of_rfc_8032() {
        let seed = [7; 32];
        let reference = SigningKey::from_bytes(&seed);
        let prefix = ExpandedSecretKey::from(&seed).hash_prefix;
        let reduced = reference.to_scalar().to_bytes();
        let clamped = curve25519_dalek::scalar::clamp_integer(reference.to_scalar_bytes());
        assert_ne!(reduced, clamped);
        let expanded = [reduced, clamped].map(|scalar| [scalar, prefix].concat());
        let signature = reference.sign(b"message").to_bytes();
        for secret in [seed.as_slice(), &expanded[0], &expanded[1]] {
            let key = Public::of(secret).expect("a secret");
            assert_eq!(key, reference.verifying_key());
            assert_eq!(key.sign(secret, b"message"), Some(signature));
        }
        assert_eq!(Public::of(&[7; 33]), None);
    }
}
