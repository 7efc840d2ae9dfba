//! Tests of the guard: every small world (S1), and every interleaving of threads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it stands"
)]

#[cfg(shuttle)]
mod interleavings;
#[cfg(not(shuttle))]
mod keeping;
#[cfg(not(shuttle))]
mod small_world;

use crate::{
    privval::{BlockId, ChainId, ConsensusMsg, Echo, Hrs, Timestamp, canonical},
    protection::Permit,
};

fn block(name: u8) -> BlockId {
    BlockId {
        hash: [name; 32],
        parts_total: 1,
        parts_hash: [name; 32],
    }
}

fn message(hrs: Hrs, block_id: Option<BlockId>, pol_round: i64, seconds: i64) -> ConsensusMsg {
    ConsensusMsg {
        hrs,
        block_id,
        pol_round,
        sign_bytes: canonical::sign_bytes(
            &ChainId::new("small-world-1").unwrap(),
            hrs.step,
            (hrs.height, hrs.round, pol_round),
            block_id.as_ref(),
            Timestamp { seconds, nanos: 0 },
        ),
        echo: Echo::default(),
    }
}

fn bytes_of(permit: &Permit) -> Vec<u8> {
    permit.sign_bytes().as_bytes().to_vec()
}
