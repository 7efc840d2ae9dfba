//! Tests of the file store, each kind in a file of its own; this one holds what they share.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop where it stands, and a random one tells its seed"
)]

mod failing;
mod keeping;
mod keys_of_one_chain;
mod opening;
mod power;
mod repeating;
mod rot;
mod simulated;
mod taking_over;

use crate::{
    crypto::PublicKey,
    privval::{BlockId, ChainId, ConsensusMsg, Echo, Hrs, Step, Timestamp, canonical},
    protection::{
        rules::Policy,
        store::{Candidate, Claim, Store, StoreError},
    },
};

/// The time that tests take place at.
const NOW: u64 = 1_700_000_000;

fn chain() -> ChainId {
    ChainId::new("cosmoshub-4").unwrap()
}

/// A public key; another one for each seed.
fn key(seed: u8) -> PublicKey {
    let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    PublicKey::ed25519(key.verifying_key().as_bytes()).unwrap()
}

fn block(name: u8) -> BlockId {
    BlockId {
        hash: [name; 32],
        parts_total: 1,
        parts_hash: [name; 32],
    }
}

fn hrs(height: i64, round: i64, step: Step) -> Hrs {
    Hrs {
        height,
        round,
        step,
    }
}

/// A message with its true sign bytes. Proposals have the POL round −1.
fn message(hrs: Hrs, block_id: Option<BlockId>, seconds: i64) -> ConsensusMsg {
    let timestamp = Timestamp { seconds, nanos: 0 };
    let numbers = (hrs.height, hrs.round, -1);
    ConsensusMsg {
        hrs,
        block_id,
        pol_round: -1,
        sign_bytes: canonical::sign_bytes(
            &chain(),
            hrs.step,
            numbers,
            block_id.as_ref(),
            timestamp,
        ),
        echo: Echo::default(),
    }
}

fn prevote(height: i64, name: u8) -> ConsensusMsg {
    message(hrs(height, 0, Step::Prevote), Some(block(name)), 1)
}

fn claim(store: &mut impl Store, msg: &ConsensusMsg) -> Result<Claim, StoreError> {
    store.claim(&Candidate {
        msg,
        policy: Policy::default(),
        now: NOW,
    })
}

#[track_caller]
fn assert_granted(claimed: Result<Claim, StoreError>) {
    assert!(matches!(claimed, Ok(Claim::Granted)), "{claimed:?}");
}

#[track_caller]
fn assert_refused(claimed: Result<Claim, StoreError>) {
    assert!(matches!(claimed, Ok(Claim::Refused(_))), "{claimed:?}");
}

/// Random numbers (SplitMix64) whose seed is printed, so that a failure can be repeated with `TMKMS_TEST_SEED`.
struct Seeded(u64);

impl Seeded {
    fn from_environment() -> Self {
        let given = std::env::var("TMKMS_TEST_SEED").ok();
        let seed = given.map_or(0x746d_6b6d_7300_0001, |seed| seed.parse().unwrap());
        println!("TMKMS_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 ≤ it < `bound`.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}
