//! Public keys of every kind, and how a node verifies with them.

use std::io;

use ed25519_dalek::Verifier as _;
use fips204::traits::{SerDes as _, Verifier as _};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey, signature::hazmat::PrehashVerifier as _};
use ripemd::Ripemd160;
use sha2::{Digest as _, Sha256};
use sha3::Keccak256;

use super::wire;

/// A consensus key as the signer named it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Key {
    /// Field 1 of `crypto.PublicKey`.
    Ed25519(ed25519_dalek::VerifyingKey),
    /// Field 2.
    Secp256k1(VerifyingKey),
    /// Field 3.
    Bls12381(blst::min_pk::PublicKey),
    /// Field 4, of v0.40; 1,952 bytes.
    MlDsa65(Vec<u8>),
    /// Field 5, of v0.40.
    Secp256k1Eth(VerifyingKey),
}

impl Key {
    /// The member that is set, which must be of the type that `pub_key_type` names, and the key in `pub_key_bytes` the same.
    pub fn read(response: wire::PubKeyResponse) -> io::Result<Self> {
        let wire::PublicKey {
            ed25519,
            secp256k1,
            bls12381,
            mldsa65,
            secp256k1eth,
        } = response.pub_key.unwrap_or_default();
        let members = [
            ("ed25519", ed25519),
            ("secp256k1", secp256k1),
            ("bls12_381", bls12381),
            ("ml_dsa_65", mldsa65),
            ("secp256k1eth", secp256k1eth),
        ];
        let mut set = members
            .into_iter()
            .filter_map(|(name, bytes)| Some((name, bytes?)));
        let (Some((name, bytes)), None) = (set.next(), set.next()) else {
            return Err(io::Error::other("not one public key"));
        };
        let key = Self::decode(name, &bytes).ok_or_else(|| io::Error::other("no public key"))?;
        // A signer of before v1, such as the original, says neither.
        let says_both = !response.pub_key_type.is_empty() || !response.pub_key_bytes.is_empty();
        let agrees = response.pub_key_type == name && response.pub_key_bytes == key.later_bytes();
        if says_both && !agrees {
            return Err(io::Error::other(
                "nodes of v1 see another key than those before",
            ));
        }
        Ok(key)
    }

    fn decode(name: &str, bytes: &[u8]) -> Option<Self> {
        Some(match name {
            "ed25519" => Self::Ed25519(bytes.try_into().ok()?),
            "secp256k1" => Self::Secp256k1(VerifyingKey::from_sec1_bytes(bytes).ok()?),
            "secp256k1eth" => Self::Secp256k1Eth(VerifyingKey::from_sec1_bytes(bytes).ok()?),
            "bls12_381" => Self::Bls12381(blst::min_pk::PublicKey::key_validate(bytes).ok()?),
            _ if bytes.len() == 1952 => Self::MlDsa65(bytes.to_vec()),
            _ => return None,
        })
    }

    /// As key files have it.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.to_bytes().to_vec(),
            Self::Secp256k1(key) | Self::Secp256k1Eth(key) => {
                key.to_encoded_point(true).as_bytes().to_vec()
            }
            Self::Bls12381(key) => key.serialize().to_vec(),
            Self::MlDsa65(key) => key.clone(),
        }
    }

    /// As nodes of v1 and v2 read it.
    fn later_bytes(&self) -> Vec<u8> {
        match self {
            Self::Secp256k1Eth(key) => key.to_encoded_point(false).as_bytes().to_vec(),
            _ => self.to_bytes(),
        }
    }

    /// The validator's address, 20 bytes.
    pub fn address(&self) -> Vec<u8> {
        let hash = Sha256::digest(self.to_bytes());
        match self {
            Self::Ed25519(_) | Self::Bls12381(_) | Self::MlDsa65(_) => {
                hash.get(..20).unwrap_or_default().to_vec()
            }
            Self::Secp256k1(_) => Ripemd160::digest(hash).to_vec(),
            Self::Secp256k1Eth(_) => {
                let point = self.later_bytes();
                let hash = Keccak256::digest(point.get(1..).unwrap_or_default());
                hash.get(12..).unwrap_or_default().to_vec()
            }
        }
    }

    /// Whether the signature is one over the bytes. Nodes refuse a high s.
    pub fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(bytes, &signature).is_ok()),
            Self::Secp256k1(key) => Signature::from_slice(signature).is_ok_and(|signature| {
                let hash = Sha256::digest(bytes);
                signature.normalize_s().is_none() && key.verify_prehash(&hash, &signature).is_ok()
            }),
            Self::Secp256k1Eth(key) => recovered(bytes, signature).as_ref() == Some(key),
            Self::Bls12381(key) => {
                let domain = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";
                blst::min_pk::Signature::uncompress(signature).is_ok_and(|signature| {
                    let outcome = signature.verify(true, bytes, domain, &[], key, false);
                    outcome == blst::BLST_ERROR::BLST_SUCCESS
                })
            }
            Self::MlDsa65(key) => ml_dsa_65(key, bytes, signature).unwrap_or(false),
        }
    }
}

/// Whose signature of 65 bytes it is.
fn recovered(bytes: &[u8], signature: &[u8]) -> Option<VerifyingKey> {
    let (v, rs) = signature.split_last()?;
    let signature = Signature::from_slice(rs).ok()?;
    if *v > 1 || signature.normalize_s().is_some() {
        return None;
    }
    let (hash, v) = (Keccak256::digest(bytes), RecoveryId::from_byte(*v)?);
    VerifyingKey::recover_from_prehash(&hash, &signature, v).ok()
}

fn ml_dsa_65(key: &[u8], bytes: &[u8], signature: &[u8]) -> Option<bool> {
    let key = fips204::ml_dsa_65::PublicKey::try_from_bytes(key.try_into().ok()?).ok()?;
    Some(key.verify(bytes, &signature.try_into().ok()?, &[]))
}
