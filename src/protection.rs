//! Double-sign protection: judge, record durably, permit.
//!
//! [`Guard`] is the one decision point of a key. Comparing and recording are one critical section; signing comes after it.

use std::{
    collections::VecDeque,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::privval::{ConsensusMsg, Hrs, SignBytes};

pub mod convert;
mod disk;
pub mod hook;
pub mod permit;
pub mod rules;
pub mod store;

pub use self::{
    permit::{
        BadSignature, HeartbeatPermit, Permit, Permitted, RawPermit, SignedHeartbeat, SignedMsg,
        SignedRaw,
    },
    rules::{Policy, Record, Refusal},
    store::{Candidate, Claim, Store, StoreError},
};

#[cfg(not(shuttle))]
use std::sync::Mutex;

#[cfg(shuttle)]
use shuttle::sync::Mutex;

/// How many signatures back a late second node is still answered.
const REMEMBERED: usize = 64;

/// The guard of one (chain, key): every signature of that key passes it.
pub struct Guard {
    state: Mutex<State>,
}

struct State {
    store: Box<dyn Store>,
    /// What this process claimed, oldest first. All of it is durable or was superseded by something durable.
    remembered: VecDeque<(Hrs, SignBytes)>,
}

/// Why no permit was given.
#[derive(Debug, thiserror::Error)]
pub enum Denial {
    /// Must not be signed; the chain goes on.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The record is unknown; the chain stops until the next start.
    #[error(transparent)]
    Stopped(#[from] StoreError),
}

impl Guard {
    /// A guard over an opened record.
    #[must_use]
    pub fn new(store: impl Store + 'static) -> Self {
        Self {
            state: Mutex::new(State {
                store: Box::new(store),
                remembered: VecDeque::with_capacity(REMEMBERED),
            }),
        }
    }

    /// Judges a request and, if it may be signed, returns the permit after its record is durable.
    ///
    /// # Errors
    /// `Denial::Refused` changes nothing; `Denial::Stopped` ends this guard for the life of the process.
    pub fn judge(&self, msg: ConsensusMsg, policy: Policy) -> Result<Permit, Denial> {
        // A poisoned lock: a thread died between comparing and recording, so what stands there is unknown.
        let mut state = self.state.lock().map_err(|_| StoreError::Stopped)?;
        let candidate = Candidate {
            msg: &msg,
            policy,
            now: unix_now(),
        };
        match state.store.claim(&candidate)? {
            Claim::Granted => {
                state.remember(msg.hrs, msg.sign_bytes.clone());
                Ok(Permit::advance(msg))
            }
            Claim::Recorded(recorded) => Ok(Permit::repeat(msg, recorded)),
            Claim::Refused(refusal @ Refusal::Regression { .. }) => match state.recall(&msg) {
                Some(recorded) => Ok(Permit::repeat(msg, recorded)),
                None => Err(refusal.into()),
            },
            Claim::Refused(refusal) => Err(refusal.into()),
        }
    }
}

impl State {
    fn remember(&mut self, hrs: Hrs, sign_bytes: SignBytes) {
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back((hrs, sign_bytes));
    }

    /// What this process signed for that height/round/step, if the request may be answered with it.
    fn recall(&self, msg: &ConsensusMsg) -> Option<SignBytes> {
        let (_, recorded) = self
            .remembered
            .iter()
            .rev()
            .find(|(hrs, _)| *hrs == msg.hrs)?;
        rules::repeats(recorded, msg).then(|| recorded.clone())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

/// Unix time in seconds; 0 for a clock before 1970, which only makes the jump limit stricter.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
