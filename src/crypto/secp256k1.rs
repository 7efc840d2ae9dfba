//! secp256k1 as Bitcoin has it: ECDSA over SHA-256.

use k256::ecdsa::{
    Signature, SigningKey, VerifyingKey,
    signature::hazmat::{PrehashSigner, PrehashVerifier},
};
use ripemd::Ripemd160;
use sha2::{Digest, Sha256};

use super::{Facts, JsonNames, KeyType};

/// r ‖ s.
pub(super) type Signed = [u8; 64];

/// A point, and the 33 bytes of its compressed form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Public {
    pub(super) key: VerifyingKey,
    bytes: [u8; 33],
}

impl KeyType for Public {
    type Signature = Signed;

    const FACTS: Facts = Facts {
        name: "secp256k1",
        aliases: &[],
        title: "secp256k1",
        member: 2,
        amino: Some([0xeb, 0x5a, 0xe9, 0x87]),
        sdk_type: "/cosmos.crypto.secp256k1.PubKey",
        json: &[JsonNames {
            public: "tendermint/PubKeySecp256k1",
            private: "tendermint/PrivKeySecp256k1",
        }],
    };

    fn decode(bytes: &[u8]) -> Option<Self> {
        let is_sec1 = matches!(
            (bytes.len(), bytes.first()),
            (33, Some(2 | 3)) | (65, Some(4))
        );
        let key = VerifyingKey::from_sec1_bytes(bytes).ok()?;
        is_sec1.then(|| Self::from(key))
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// RIPEMD-160 of the SHA-256, which is a Bitcoin address.
    fn address(&self) -> [u8; 20] {
        Ripemd160::digest(Sha256::digest(self.bytes)).into()
    }

    fn signature(bytes: &[u8]) -> Option<Self::Signature> {
        bytes.try_into().ok()
    }

    /// A high s is refused, as nodes do: its twin with the low one says the same, and only one of them may be valid.
    fn verifies(&self, msg: &[u8], signature: &Self::Signature) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| {
            let is_low = signature.normalize_s().is_none();
            is_low
                && self
                    .key
                    .verify_prehash(&Sha256::digest(msg), &signature)
                    .is_ok()
        })
    }

    /// A scalar, 32 bytes in big-endian.
    fn of(secret: &[u8]) -> Option<Self> {
        Some(Self::from(*signing_key(secret)?.verifying_key()))
    }

    /// RFC 6979: the nonce follows from the key and the message.
    fn sign(&self, secret: &[u8], msg: &[u8]) -> Option<Self::Signature> {
        let hash = Sha256::digest(msg);
        let signature: Signature = signing_key(secret)?.sign_prehash(&hash).ok()?;
        let signature = signature.normalize_s().unwrap_or(signature);
        Some(signature.to_bytes().into())
    }
}

impl From<VerifyingKey> for Public {
    fn from(key: VerifyingKey) -> Self {
        let mut bytes = [0; 33];
        bytes.copy_from_slice(key.to_encoded_point(true).as_bytes());
        Self { key, bytes }
    }
}

/// Wiped by its own `drop`. `None` for 0, for what is beyond the order, and for other lengths.
pub(super) fn signing_key(secret: &[u8]) -> Option<SigningKey> {
    if secret.len() != 32 {
        return None;
    }
    SigningKey::from_slice(secret).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_high_s_is_refused() {
        let key = Public::of(&[7; 32]).expect("a key");
        let low = key.sign(&[7; 32], b"vote").expect("signs");
        assert!(key.verifies(b"vote", &low));
        let (r, s) = Signature::from_slice(&low).expect("valid").split_scalars();
        let high = Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).expect("valid");
        assert!(!key.verifies(b"vote", &high.to_bytes().into()));
        assert!(!key.verifies(b"veto", &low));
        assert!(!key.verifies(b"vote", &[0; 64]));
    }

    #[test]
    fn both_forms_of_a_point_are_one_key_and_no_other_form_is_any() {
        let key = Public::of(&[7; 32]).expect("a key");
        let long = key.key.to_encoded_point(false);
        for bytes in [key.as_bytes(), long.as_bytes()] {
            assert!(Public::decode(bytes).as_ref() == Some(&key));
        }
        let mut odd = key.bytes;
        odd.fill(0);
        for bytes in [&odd[..], &[0], &[], key.bytes.split_at(32).0] {
            assert!(Public::decode(bytes).is_none());
        }
    }

    #[test]
    fn not_every_32_bytes_are_a_secret() {
        for secret in [&[0; 32][..], &[0xff; 32], &[7; 31], &[7; 33]] {
            assert!(Public::of(secret).is_none());
        }
    }
}
