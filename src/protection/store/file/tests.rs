//! Tests of the file store, each kind in a file of its own; this one holds what they share.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it stands"
)]

mod opening;
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
