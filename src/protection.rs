//! Double-sign protection: judge, record durably, permit.
//!
//! [`Guard`] is the one decision point of a key. Comparing and recording are one critical section; signing comes after it.

use std::{
    collections::VecDeque,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    crypto::Signature,
    privval::{ConsensusMsg, Hrs, SignBytes},
};

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
    store::{Candidate, Claim, KeepError, Recorded, Store, StoreError},
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
    /// The signatures that this process made with a key that cannot repeat them, oldest first; empty for all other keys.
    kept: VecDeque<(Hrs, Signature)>,
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
                kept: VecDeque::new(),
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
            Claim::Recorded(mut recorded) => {
                if recorded.signature.is_none() {
                    recorded.signature = state.kept_at(msg.hrs);
                }
                Ok(Permit::repeat(msg, recorded))
            }
            Claim::Refused(refusal @ Refusal::Regression { .. }) => match state.recall(&msg) {
                Some(recorded) => Ok(Permit::repeat(msg, recorded)),
                None => Err(refusal.into()),
            },
            Claim::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Keeps the signature of a key that cannot repeat itself, in the record and in memory, so that a repeat is answered with
    /// it. What is given back is to be sent: when two nodes had the same vote signed at once, both get the signature that was
    /// kept first.
    ///
    /// Nothing is synced, and nothing that fails here is a reason not to send.
    #[must_use]
    pub fn keep(&self, signed: SignedMsg) -> SignedMsg {
        let Ok(mut state) = self.state.lock() else {
            return signed;
        };
        if let Some(first) = state.kept_at(signed.hrs()) {
            return signed.with_signature(first);
        }
        if state.kept.len() == REMEMBERED {
            state.kept.pop_front();
        }
        let (hrs, signature) = (signed.hrs(), signed.signature().clone());
        let kept = state.store.keep(hrs, signed.sign_bytes(), &signature);
        state.kept.push_back((hrs, signature));
        match kept {
            Ok(()) => signed,
            Err(error) => signed.not_in_record(error),
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
    fn recall(&self, msg: &ConsensusMsg) -> Option<Recorded> {
        let (_, recorded) = self
            .remembered
            .iter()
            .rev()
            .find(|(hrs, _)| *hrs == msg.hrs)?;
        rules::repeats(recorded, msg).then(|| Recorded {
            sign_bytes: recorded.clone(),
            signature: self.kept_at(msg.hrs),
        })
    }

    /// The signature that was kept of that height/round/step. One set of bytes only is ever signed there.
    fn kept_at(&self, hrs: Hrs) -> Option<Signature> {
        let kept = self.kept.iter().rev().find(|(of, _)| *of == hrs);
        kept.map(|(_, signature)| signature.clone())
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
