//! Keys that cannot repeat themselves: a repeated request gets the byte-identical signature, also after a restart (S2).
#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and a random one tells its seed"
)]

use std::{
    path::Path,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use ed25519_dalek::{
    SigningKey, VerifyingKey,
    hazmat::{ExpandedSecretKey, raw_sign},
};
use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha512};
use tmkms::{
    chain::{Chain, GuardedKey},
    crypto::{PublicKey, Signature},
    keyring::{Key, Signer, SignerError},
    privval::{
        BlockId, ChainId, ConsensusMsg, Echo, Extension, Hrs, SignRequest, Step, Timestamp,
        canonical,
    },
    protection::{
        Guard, Permitted, Record, SignedMsg,
        store::file::{self, FileStore},
    },
};

/// A key in a device that takes another nonce for every signature.
struct Dice {
    public: PublicKey,
    calls: AtomicU32,
    /// Held back until so many calls have come, so that they overlap.
    together: Option<Barrier>,
}

const SEED: [u8; 32] = [7; 32];

impl Dice {
    fn new(together: Option<usize>) -> Arc<Self> {
        let public = SigningKey::from_bytes(&SEED).verifying_key();
        Arc::new(Self {
            public: PublicKey::ed25519(public.as_bytes()).unwrap(),
            calls: AtomicU32::new(0),
            together: together.map(Barrier::new),
        })
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Signer for Dice {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(together) = &self.together {
            together.wait();
        }
        let mut key = ExpandedSecretKey::from_bytes(&Sha512::digest(SEED).into());
        OsRng.fill_bytes(&mut key.hash_prefix);
        let public: VerifyingKey = SigningKey::from_bytes(&SEED).verifying_key();
        let signature = raw_sign::<Sha512>(&key, msg.as_bytes(), &public);
        Ok(Signature::Ed25519(signature.to_bytes()))
    }

    fn repeats_itself(&self) -> bool {
        false
    }
}

fn chain_id() -> ChainId {
    ChainId::new("kept-1").unwrap()
}

fn make_record(path: &Path, signer: &Dice) {
    file::create(path, &chain_id(), &signer.public, &Record::never_signed()).unwrap();
}

fn open(path: &Path, signer: &Arc<Dice>) -> Chain {
    let store = FileStore::open(path, &chain_id(), &signer.public).unwrap();
    let key = Key {
        provider: "test",
        signer: signer.clone(),
    };
    let guard = Guard::new(store.store);
    Chain::new(chain_id(), GuardedKey { key, guard }, false)
}

fn request(hrs: Hrs, seconds: i64, extension: Option<&[u8]>) -> SignRequest {
    let timestamp = Timestamp { seconds, nanos: 0 };
    let block_id = Some(BlockId {
        hash: [0xaa; 32],
        parts_total: 1,
        parts_hash: [0xaa; 32],
    });
    let numbers = (hrs.height, hrs.round, -1);
    let extension: Option<Extension> =
        extension.map(|bytes| canonical::extension(&chain_id(), hrs.height, hrs.round, bytes));
    SignRequest {
        msg: ConsensusMsg {
            hrs,
            block_id,
            pol_round: -1,
            sign_bytes: canonical::sign_bytes(
                &chain_id(),
                hrs.step,
                numbers,
                block_id.as_ref(),
                timestamp,
            ),
            echo: Echo::default(),
        },
        extension,
        unprotected: None,
    }
}

fn hrs(height: i64, step: Step) -> Hrs {
    Hrs {
        height,
        round: 0,
        step,
    }
}

fn sign(chain: &Chain, hrs: Hrs, seconds: i64) -> SignedMsg {
    chain.sign(request(hrs, seconds, None), None).unwrap()
}

#[test]
fn a_repeat_gets_the_first_signature_also_after_restarts_and_the_device_is_not_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    let signer = Dice::new(None);
    make_record(&path, &signer);
    let mut chain = open(&path, &signer);
    for height in 1..=20 {
        for step in [Step::Proposal, Step::Prevote, Step::Precommit] {
            let first = sign(&chain, hrs(height, step), 1);
            let calls = signer.calls();
            for again in 0..3 {
                if again > 0 {
                    drop(chain);
                    chain = open(&path, &signer);
                }
                let later = if step == Step::Proposal { 1 } else { 2 + again };
                let repeat = sign(&chain, hrs(height, step), later);
                assert!(repeat.repeats());
                assert_eq!(repeat.signature(), first.signature());
                assert_eq!(repeat.timestamp(), first.timestamp());
                assert!(repeat.not_kept().is_none());
            }
            assert_eq!(signer.calls(), calls, "the device was asked again");
        }
    }
}

#[test]
fn a_repeat_has_its_own_extension_signed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    let signer = Dice::new(None);
    make_record(&path, &signer);
    let chain = open(&path, &signer);
    let at = hrs(1, Step::Precommit);
    let first = chain.sign(request(at, 1, Some(b"price 1")), None).unwrap();
    let again = chain.sign(request(at, 1, Some(b"price 2")), None).unwrap();
    assert_eq!(first.signature(), again.signature());
    assert_ne!(first.extension_signature(), again.extension_signature());
    assert!(again.extension_signature().is_some());
    assert_eq!(signer.calls(), 3);
}

#[test]
fn nodes_that_ask_at_once_get_one_signature_although_two_were_made() {
    const NODES: usize = 2;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    let signer = Dice::new(Some(NODES));
    make_record(&path, &signer);
    let chain = open(&path, &signer);
    for height in 1..=50 {
        let released = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..NODES {
                scope.spawn(|| {
                    let signed = sign(&chain, hrs(height, Step::Prevote), 1);
                    released.lock().unwrap().push(signed.signature().clone());
                });
            }
        });
        let released = released.into_inner().unwrap();
        assert!(released.windows(2).all(|pair| pair.first() == pair.last()));
        assert_eq!(released.len(), NODES);
    }
    assert_eq!(signer.calls(), 100, "the calls did not overlap");
}
