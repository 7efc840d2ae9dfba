//! secp256k1 as Ethereum has it: ECDSA over Keccak-256, with the bit that the public key can be recovered by. CometBFT v0.40 and v2 have the
//! same keys and signatures, and write the public key in two ways.

use std::borrow::Cow;

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use sha3::{Digest, Keccak256};

use super::{Facts, JsonNames, KeyType, secp256k1};

/// r ‖ s ‖ v.
pub(super) type Signed = [u8; 65];

/// The point that Bitcoin's key is, too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Public(secp256k1::Public);

impl KeyType for Public {
    type Signature = Signed;

    const FACTS: Facts = Facts {
        name: "secp256k1eth",
        aliases: &[],
        title: "secp256k1eth",
        // Of v0.40. In v2 it has the number 4, but no reply of v2 has this message.
        member: 5,
        amino: None,
        // The Cosmos SDK itself has no such keys; this is the name of Cosmos EVM's.
        sdk_type: "/cosmos.evm.crypto.v1.ethsecp256k1.PubKey",
        json: &[
            JsonNames {
                public: "tendermint/PubKeySecp256k1eth",
                private: "tendermint/PrivKeySecp256k1eth",
            },
            JsonNames {
                public: "cometbft/PubKeySecp256k1eth",
                private: "cometbft/PrivKeySecp256k1eth",
            },
        ],
    };

    fn decode(bytes: &[u8]) -> Option<Self> {
        secp256k1::Public::decode(bytes).map(Self)
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// v2 has them uncompressed: 65 bytes.
    fn later_bytes(&self) -> Cow<'_, [u8]> {
        let point = self.0.key.to_encoded_point(false);
        Cow::Owned(point.as_bytes().to_vec())
    }

    /// The end of Keccak-256 over x ‖ y, which is an Ethereum address.
    fn address(&self) -> [u8; 20] {
        let point = self.later_bytes();
        let hash: [u8; 32] = Keccak256::digest(point.split_at(1).1).into();
        let mut address = [0; 20];
        address.copy_from_slice(hash.split_at(12).1);
        address
    }

    fn signature(bytes: &[u8]) -> Option<Self::Signature> {
        bytes.try_into().ok()
    }

    /// v is verified too, as v0.40 does, and a high s refused.
    fn verifies(&self, msg: &[u8], signature: &Self::Signature) -> bool {
        let [rs @ .., v] = signature;
        let Ok(signature) = Signature::from_slice(rs) else {
            return false;
        };
        let Some(v) = RecoveryId::from_byte(*v).filter(|v| !v.is_x_reduced()) else {
            return false;
        };
        let recovered = VerifyingKey::recover_from_prehash(&Keccak256::digest(msg), &signature, v);
        signature.normalize_s().is_none() && recovered.is_ok_and(|key| key == self.0.key)
    }

    /// A scalar, 32 bytes in big-endian.
    fn of(secret: &[u8]) -> Option<Self> {
        secp256k1::Public::of(secret).map(Self)
    }

    /// RFC 6979: the nonce follows from the key and the message. The s is low, and v fits it.
    fn sign(&self, secret: &[u8], msg: &[u8]) -> Option<Self::Signature> {
        let key = secp256k1::signing_key(secret)?;
        let (signature, v) = key.sign_prehash_recoverable(&Keccak256::digest(msg)).ok()?;
        let mut signed = [v.to_byte(); 65];
        signed
            .split_at_mut(64)
            .0
            .copy_from_slice(&signature.to_bytes());
        Some(signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_high_s_and_another_v_are_refused() {
        let key = Public::of(&[7; 32]).expect("a key");
        let signed = key.sign(&[7; 32], b"vote").expect("signs");
        assert!(key.verifies(b"vote", &signed));
        let [rs @ .., v] = &signed;
        for other in [v ^ 1, v + 2, 27, 28] {
            let mut wrong = signed;
            *wrong.last_mut().expect("65 bytes") = other;
            assert!(!key.verifies(b"vote", &wrong), "v = {other}");
        }
        let (r, s) = Signature::from_slice(rs).expect("valid").split_scalars();
        let high = Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).expect("valid");
        for v in [0, 1] {
            let mut wrong = [v; 65];
            wrong.split_at_mut(64).0.copy_from_slice(&high.to_bytes());
            assert!(!key.verifies(b"vote", &wrong));
        }
    }
}
