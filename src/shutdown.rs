//! The shutdown token: signal it once, and every sleep ends and every registered socket is unblocked.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A handle on one process-wide "please stop". Clones share the same state.
#[derive(Clone, Default)]
pub struct Shutdown(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    requested: bool,
    next: u64,
    unblock: HashMap<u64, Box<dyn Fn() + Send>>,
}

impl Shutdown {
    /// A token that nobody has signalled yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to stop: wakes sleepers and runs every registered unblock action. Idempotent.
    pub fn request(&self) {
        let mut state = self.lock();
        state.requested = true;
        for unblock in state.unblock.values() {
            unblock();
        }
        self.0.wake.notify_all();
    }

    /// Whether `request` was called.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.lock().requested
    }

    /// Sleeps for at most `timeout`. True as soon as shutdown is requested.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        let mut state = self.lock();
        while !state.requested {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .0
                .wake
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Runs `unblock` when shutdown is requested (at once if it already was), until the returned guard is dropped.
    pub fn on_request(&self, unblock: impl Fn() + Send + 'static) -> Registration {
        let mut state = self.lock();
        if state.requested {
            unblock();
        }
        let id = state.next;
        state.next += 1;
        state.unblock.insert(id, Box::new(unblock));
        Registration {
            shutdown: self.clone(),
            id,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is three plain fields that no panic can leave half-changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("requested", &self.is_requested())
            .finish_non_exhaustive()
    }
}

/// Keeps an unblock action registered; dropping it takes the action back.
#[derive(Debug)]
#[must_use = "the action is taken back when this is dropped"]
pub struct Registration {
    shutdown: Shutdown,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shutdown.lock().unblock.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn a_wait_ends_early_when_shutdown_is_requested() {
        let shutdown = Shutdown::new();
        let sleeper = shutdown.clone();
        let thread = thread::spawn(move || sleeper.wait(Duration::from_secs(60)));
        shutdown.request();
        assert!(thread.join().expect("no panic"));
    }

    #[test]
    fn a_wait_without_a_request_runs_its_time() {
        assert!(!Shutdown::new().wait(Duration::from_millis(5)));
    }

    #[test]
    fn an_action_runs_while_registered_and_not_after() {
        let count = Arc::new(AtomicU32::new(0));
        let shutdown = Shutdown::new();
        let counter = count.clone();
        let dropped = shutdown.on_request(move || {
            counter.fetch_add(100, Ordering::SeqCst);
        });
        drop(dropped);
        let counter = count.clone();
        let _kept = shutdown.on_request(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        shutdown.request();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
