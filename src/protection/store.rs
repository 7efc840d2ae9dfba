//! Where the record lives. One conditional, durable write decides.

use std::{io, path::PathBuf};

use crate::{
    privval::{ConsensusMsg, SignBytes},
    protection::rules::{Policy, Refusal},
};

pub mod file;
#[cfg(any(test, shuttle))]
pub mod memory;

/// One request for a place in the record.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The vote or proposal.
    pub msg: &'a ConsensusMsg,
    /// The operator's choices.
    pub policy: Policy,
    /// Unix time, in seconds.
    pub now: u64,
}

/// What a store says of a candidate.
#[derive(Debug)]
pub enum Claim {
    /// It is recorded, durably, as of now.
    Granted,
    /// It stands there already, durably: these bytes may be signed again.
    Recorded(SignBytes),
    /// It must not be signed. Nothing was written.
    Refused(Refusal),
}

/// A place for one chain's and key's record.
///
/// Sealed: a store decides whether the validator double-signs, so each lives in this room.
pub trait Store: sealed::Sealed + Send {
    /// Durably claims this height/round/step for these sign bytes, or says what already stands there.
    ///
    /// # Errors
    /// `StoreError` when the outcome is unknown. The store must then answer every later claim with `Stopped`.
    fn claim(&mut self, candidate: &Candidate<'_>) -> Result<Claim, StoreError>;
}

pub(super) mod sealed {
    /// Implemented by the stores of this room only.
    pub trait Sealed {}
}

/// Why it cannot be known or recorded what was signed. The chain signs nothing until the next start has re-read the disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A write or sync failed: what the disk holds is unknown.
    #[error("cannot record what is about to be signed in {}", path.display())]
    InDoubt {
        /// The record.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier write failed or a thread died in the middle of one.
    #[error(
        "this chain stopped signing after an earlier failure; restart tmkms to read its record again"
    )]
    Stopped,
}
