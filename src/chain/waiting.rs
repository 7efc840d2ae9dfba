//! A chain that waits for its key: a device that is not there yet, or does not answer. It is served as soon as it is.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
};

use crate::chain::Chain;

/// A chain as its clients share it.
#[derive(Clone, Debug)]
pub enum Served {
    /// Open from the start.
    Open(Arc<Chain>),
    /// Not yet.
    Waiting(Arc<Waiting>),
}

impl From<Chain> for Served {
    fn from(chain: Chain) -> Self {
        Self::Open(Arc::new(chain))
    }
}

impl Served {
    /// The chain if it is open. Otherwise one try to open it, unless another client is at one.
    #[must_use]
    pub fn try_open(&self) -> Attempt {
        match self {
            Self::Open(chain) => Attempt::Open(chain.clone()),
            Self::Waiting(waiting) => waiting.try_open(),
        }
    }
}

/// What came of a try.
#[derive(Debug)]
pub enum Attempt {
    /// It is open.
    Open(Arc<Chain>),
    /// Try again.
    NotYet,
    /// It will never be open.
    Failed,
}

/// One try to open a chain. It tells the operator what is news; no two calls happen at once, and none after one that gave the chain
/// or `NotOpen::Failed`.
pub type Open = dyn FnMut() -> Result<Chain, NotOpen> + Send;

/// Why a try did not open a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NotOpen {
    /// The key is not there yet.
    NotYet,
    /// No later try will do better.
    Failed(Failed),
}

/// Why a chain will never be open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failed {
    /// What went wrong, in one line.
    pub reason: String,
    /// What the operator can do about it.
    pub hint: Option<String>,
}

/// A chain that is opened by one of its clients' threads, whichever comes first, once that is possible.
pub struct Waiting(Mutex<State>);

enum State {
    Waiting(Box<Open>),
    Open(Arc<Chain>),
    Failed(Failed),
}

impl Waiting {
    /// A chain that `open` opens.
    #[must_use]
    pub fn new(open: Box<Open>) -> Self {
        Self(Mutex::new(State::Waiting(open)))
    }

    /// Why it will never be open, where that is so.
    #[must_use]
    pub fn failure(&self) -> Option<Failed> {
        // The one who holds the lock is trying, so nothing has failed.
        match &*self.lock()? {
            State::Failed(failed) => Some(failed.clone()),
            State::Waiting(_) | State::Open(_) => None,
        }
    }

    fn try_open(&self) -> Attempt {
        // Not a wait: who waits for a device that another thread asks would not notice a shutdown.
        let Some(mut state) = self.lock() else {
            return Attempt::NotYet;
        };
        let open = match &mut *state {
            State::Open(chain) => return Attempt::Open(chain.clone()),
            State::Failed(_) => return Attempt::Failed,
            State::Waiting(open) => open,
        };
        match open() {
            Ok(chain) => {
                let chain = Arc::new(chain);
                *state = State::Open(chain.clone());
                Attempt::Open(chain)
            }
            Err(NotOpen::NotYet) => Attempt::NotYet,
            Err(NotOpen::Failed(failed)) => {
                *state = State::Failed(failed);
                Attempt::Failed
            }
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.0.try_lock() {
            Ok(state) => Some(state),
            // A try that panicked has opened nothing, and the next one starts from the disk.
            Err(TryLockError::Poisoned(poisoned)) => Some(PoisonError::into_inner(poisoned)),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_final_and_says_why() {
        let mut tries = 0;
        let served = Served::Waiting(Arc::new(Waiting::new(Box::new(move || {
            tries += 1;
            assert!(tries < 3, "no try after the last one");
            Err(match tries {
                1 => NotOpen::NotYet,
                _ => NotOpen::Failed(Failed {
                    reason: "another key".into(),
                    hint: None,
                }),
            })
        }))));
        assert!(matches!(served.try_open(), Attempt::NotYet));
        for _ in 0..3 {
            assert!(matches!(served.try_open(), Attempt::Failed));
        }
        let Served::Waiting(waiting) = served else {
            unreachable!("as it was made");
        };
        let failed = waiting.failure().expect("it failed");
        assert_eq!(failed.reason, "another key");
    }

    #[test]
    fn a_try_that_panics_leaves_the_next_one() {
        let mut tries = 0;
        let waiting = Waiting::new(Box::new(move || {
            tries += 1;
            assert!(tries > 1, "the first one fails");
            Err(NotOpen::NotYet)
        }));
        let first = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waiting.try_open()));
        first.expect_err("it panicked");
        assert!(matches!(waiting.try_open(), Attempt::NotYet));
    }
}
