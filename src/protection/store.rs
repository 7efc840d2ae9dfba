//! Where the record lives. One conditional, durable write decides.

use std::{io, path::PathBuf};

use crate::{
    crypto::Signature,
    privval::{ConsensusMsg, Hrs, SignBytes},
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
    Recorded(Recorded),
    /// It must not be signed. Nothing was written.
    Refused(Refusal),
}

/// What stands in a record already.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    /// The bytes, and in them their timestamp.
    pub sign_bytes: SignBytes,
    /// Their signature, where it was kept for a key that cannot make it again.
    pub signature: Option<Signature>,
}

impl From<SignBytes> for Recorded {
    /// Without a signature.
    fn from(sign_bytes: SignBytes) -> Self {
        Self {
            sign_bytes,
            signature: None,
        }
    }
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

    /// Adds a verified signature to what stands in the record, if that is still what was signed. It need not be durable: to
    /// lose it costs a vote, never a conflict. A store that does not outlive the process has no need to: the guard remembers.
    ///
    /// # Errors
    /// `KeepError`; the record is as good as before.
    fn keep(
        &mut self,
        hrs: Hrs,
        sign_bytes: &SignBytes,
        signature: &Signature,
    ) -> Result<(), KeepError> {
        let _ = (hrs, sign_bytes, signature);
        Ok(())
    }
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

/// The signature of a key that cannot make it again could not be added to the record. A repeat is answered from memory; after
/// a restart the key would have to sign anew.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep a signature in {}", path.display())]
pub struct KeepError {
    /// The record.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}
