//! Public keys of every kind and how a node verifies with them: other code than the signer's, where there is another crate.

use std::io;

use ed25519_dalek::Verifier as _;
use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use ripemd::Ripemd160;
use sha2::{Digest, Sha256};

use super::wire;

/// A consensus key as the signer named it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Key {
    /// Field 1 of `crypto.PublicKey`.
    Ed25519(ed25519_dalek::VerifyingKey),
    /// Field 2.
    Secp256k1(k256::ecdsa::VerifyingKey),
}

impl Key {
    /// The member that is set, of the type that `pub_key_type` names, with the bytes in both fields.
    pub fn read(response: wire::PubKeyResponse) -> io::Result<Self> {
        let key = response.pub_key.unwrap_or_default();
        let (name, bytes) = match (key.ed25519, key.secp256k1) {
            (Some(bytes), None) => ("ed25519", bytes),
            (None, Some(bytes)) => ("secp256k1", bytes),
            _ => return Err(io::Error::other("not one public key")),
        };
        if response.pub_key_type != name || response.pub_key_bytes != bytes {
            return Err(io::Error::other(
                "nodes of v1 see another key than those before",
            ));
        }
        let wrong = |_| io::Error::other("the public key is none");
        match name {
            "secp256k1" => k256::ecdsa::VerifyingKey::from_sec1_bytes(&bytes)
                .map(Self::Secp256k1)
                .map_err(wrong),
            _ => ed25519_dalek::VerifyingKey::try_from(bytes.as_slice())
                .map(Self::Ed25519)
                .map_err(wrong),
        }
    }

    /// As key files have it.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.to_bytes().to_vec(),
            Self::Secp256k1(key) => key.to_encoded_point(true).as_bytes().to_vec(),
        }
    }

    /// The validator's address, 20 bytes.
    pub fn address(&self) -> Vec<u8> {
        let hash = Sha256::digest(self.to_bytes());
        match self {
            Self::Ed25519(_) => hash.get(..20).unwrap_or_default().to_vec(),
            Self::Secp256k1(_) => Ripemd160::digest(hash).to_vec(),
        }
    }

    /// Whether the signature is one over the bytes.
    pub fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(bytes, &signature).is_ok()),
            Self::Secp256k1(key) => {
                // Nodes refuse a high s.
                k256::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| {
                    signature.normalize_s().is_none()
                        && key
                            .verify_prehash(&Sha256::digest(bytes), &signature)
                            .is_ok()
                })
            }
        }
    }
}
