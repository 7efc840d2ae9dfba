//! ML-DSA-65 (FIPS 204), which no quantum computer breaks: CometBFT v0.40 and later.

use std::{fmt, sync::Arc, thread};

use fips204::{
    ml_dsa_65::{KG, PK_LEN, PrivateKey, PublicKey, SIG_LEN, SK_LEN},
    traits::{KeyGen, SerDes, Signer, Verifier},
};

use super::{Facts, JsonNames, KeyType, stack::scrubbed};

/// 3,309 bytes.
pub(super) type Signed = Box<[u8]>;

/// CometBFT signs without one.
const CONTEXT: &[u8] = b"";

/// The deterministic variant. Nodes sign with it too, and take either.
const NO_RANDOMNESS: [u8; 32] = [0; 32];

/// What a key signs to itself before it is believed. No vote begins so, and the signature goes nowhere.
const PROBE: &[u8] = b"is this key whole?";

/// The vectors of this scheme fill more stack than the thread of a validator has. Only what is used of it takes memory.
const STACK: usize = 4 * 1024 * 1024;

/// How much of it is overwritten afterwards: more than an optimised build uses.
const SCRUBBED: usize = 256 * 1024;

/// A decoded key, about 6 KiB, and its 1,952 bytes; clones share it.
#[derive(Clone)]
pub struct Public(Arc<Decoded>);

struct Decoded {
    key: PublicKey,
    bytes: [u8; PK_LEN],
}

impl PartialEq for Public {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Public {}

impl fmt::Debug for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Public").field(&self.0.bytes).finish()
    }
}

impl KeyType for Public {
    type Signature = Signed;

    const FACTS: Facts = Facts {
        name: "ml_dsa_65",
        aliases: &["ml-dsa-65", "mldsa65"],
        title: "ML-DSA-65",
        member: 4,
        amino: None,
        sdk_type: "/cosmos.crypto.mldsa65.PubKey",
        json: &[JsonNames {
            public: "cometbft/PubKeyMlDsa65",
            private: "cometbft/PrivKeyMlDsa65",
        }],
    };

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.try_into().ok()?;
        apart(|| Self::decoded(bytes))
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    fn signature(bytes: &[u8]) -> Option<Self::Signature> {
        (bytes.len() == SIG_LEN).then(|| bytes.into())
    }

    fn verifies(&self, msg: &[u8], signature: &Self::Signature) -> bool {
        let Ok(signature) = <&[u8; SIG_LEN]>::try_from(&**signature) else {
            return false;
        };
        apart(|| Some(self.0.key.verify(msg, signature, CONTEXT))).unwrap_or(false)
    }

    /// A seed of 32 bytes, as keys that are made here have it, or the packed form of 4,032 bytes, in which CometBFT has lost the seed.
    fn of(secret: &[u8]) -> Option<Self> {
        apart(|| {
            let private = private_key(secret)?;
            // Decoded anew: the packed form also holds a hash of the public key, which may be damaged.
            let public = Self::decoded(private.get_public_key().into_bytes())?;
            let signed = private.try_sign_with_seed(&NO_RANDOMNESS, PROBE, CONTEXT);
            let sound = public.0.key.verify(PROBE, &signed.ok()?, CONTEXT);
            sound.then_some(public)
        })
    }

    fn sign(&self, secret: &[u8], msg: &[u8]) -> Option<Self::Signature> {
        apart(|| {
            let key = private_key(secret)?;
            let signature = key.try_sign_with_seed(&NO_RANDOMNESS, msg, CONTEXT);
            Some(signature.ok()?.into())
        })
    }
}

impl Public {
    /// Needs the stack of [`apart`].
    fn decoded(bytes: [u8; PK_LEN]) -> Option<Self> {
        let key = PublicKey::try_from_bytes(bytes).ok()?;
        Some(Self(Arc::new(Decoded { key, bytes })))
    }
}

/// Wiped by its own `drop`.
fn private_key(secret: &[u8]) -> Option<PrivateKey> {
    if let Ok(seed) = secret.try_into() {
        return Some(KG::keygen_from_seed(seed).1);
    }
    let packed = <&[u8; SK_LEN]>::try_from(secret).ok()?;
    PrivateKey::try_from_bytes(*packed).ok()
}

/// Does work on a stack of its own, which is clean afterwards. `None` also if the system has no thread to give.
fn apart<T: Send>(work: impl FnOnce() -> Option<T> + Send) -> Option<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK);
        let running = thread.spawn_scoped(scope, || scrubbed::<SCRUBBED, _>(work));
        running.ok()?.join().ok()?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_seed_or_packed_and_of_no_other_length() {
        let key = Public::of(&[7; 32]).expect("a key");
        let packed = apart(|| Some(private_key(&[7; 32])?.into_bytes())).expect("a key");
        assert!(Public::of(&packed).as_ref() == Some(&key));
        assert_eq!(key.sign(&packed, b"vote"), key.sign(&[7; 32], b"vote"));
        for length in [0, 31, 33, SK_LEN - 1, SK_LEN + 1] {
            assert!(Public::of(&vec![1; length]).is_none(), "{length}");
        }
        // What stands in it of the public key's hash is not looked at by the arithmetic, and goes into each signature.
        let mut damaged = packed;
        damaged
            .split_at_mut(64)
            .1
            .split_at_mut(1)
            .0
            .fill(!packed[64]);
        assert!(Public::of(&damaged).is_none());
        assert!(Public::decode(key.as_bytes()).as_ref() == Some(&key));
        assert!(Public::decode(key.as_bytes().split_at(1951).0).is_none());
    }
}
