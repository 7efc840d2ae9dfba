//! BLS12-381, public keys in G1: nodes that are built with the tag `bls12381`, from v0.39 and v1.0.1 on.

use blst::{BLST_ERROR, min_pk};

use super::{Facts, JsonNames, KeyType};

/// 96 bytes, a compressed point of G2. Longer than most signatures, so boxed.
pub(super) type Signed = Box<[u8]>;

/// The domain separation of CometBFT's signatures, over the sign bytes themselves. (v1.0.0 had another one, by mistake.)
const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";

/// A point of G1, of the right subgroup, and its uncompressed form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Public(Box<Point>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Point {
    key: min_pk::PublicKey,
    bytes: [u8; 96],
}

impl KeyType for Public {
    type Signature = Signed;

    const FACTS: Facts = Facts {
        name: "bls12_381",
        aliases: &["bls12-381", "bls12381"],
        title: "BLS12-381",
        member: 3,
        amino: None,
        sdk_type: "/cosmos.crypto.bls12_381.PubKey",
        json: &[JsonNames {
            public: "cometbft/PubKeyBls12_381",
            private: "cometbft/PrivKeyBls12_381",
        }],
    };

    /// Uncompressed: nodes have no other form.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = <[u8; 96]>::try_from(bytes).ok()?;
        // Neither the point at infinity nor one outside of the subgroup.
        let key = min_pk::PublicKey::key_validate(&bytes).ok()?;
        Some(Self(Box::new(Point { key, bytes })))
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    fn signature(bytes: &[u8]) -> Option<Self::Signature> {
        (bytes.len() == 96).then(|| bytes.into())
    }

    fn verifies(&self, msg: &[u8], signature: &Self::Signature) -> bool {
        min_pk::Signature::uncompress(signature).is_ok_and(|signature| {
            let outcome = signature.verify(true, msg, DOMAIN, &[], &self.0.key, false);
            outcome == BLST_ERROR::BLST_SUCCESS
        })
    }

    /// A scalar, 32 bytes in big-endian.
    fn of(secret: &[u8]) -> Option<Self> {
        let key = secret_key(secret)?.sk_to_pk();
        let bytes = key.serialize();
        Some(Self(Box::new(Point { key, bytes })))
    }

    fn sign(&self, secret: &[u8], msg: &[u8]) -> Option<Self::Signature> {
        let signature = secret_key(secret)?.sign(msg, DOMAIN, &[]);
        Some(Box::new(signature.compress()))
    }
}

/// Wiped by its own `drop`. `None` for 0, for what is beyond the order, and for other lengths.
fn secret_key(secret: &[u8]) -> Option<min_pk::SecretKey> {
    min_pk::SecretKey::from_bytes(secret).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_uncompressed_point_of_the_subgroup_is_a_key() {
        let key = Public::of(&[7; 32]).expect("a key");
        assert!(Public::decode(key.as_bytes()).as_ref() == Some(&key));
        assert!(Public::decode(&key.0.key.compress()).is_none());
        let mut infinity = [0; 96];
        infinity.split_at_mut(1).0.fill(0x40);
        // (0, 2) is on the curve, and in no group of the right order.
        let mut stray = [0; 96];
        stray.split_at_mut(95).1.fill(2);
        for bytes in [infinity, stray, [0; 96]] {
            assert!(Public::decode(&bytes).is_none());
        }
    }

    #[test]
    fn not_every_32_bytes_are_a_secret() {
        for secret in [&[0; 32][..], &[0xff; 32], &[7; 31], &[7; 33]] {
            assert!(Public::of(secret).is_none());
        }
    }
}
