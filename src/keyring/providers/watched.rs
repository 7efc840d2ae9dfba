//! What the thread of a device and those who wait for the device tell each other.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A state that several threads change, and whose changes they wait for. Every change of it must be one assignment or one call, so
/// that no panic leaves it half-changed.
#[derive(Default)]
pub(super) struct Watched<T> {
    state: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes everybody who waits.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let answer = change(&mut self.lock());
        self.wake();
        answer
    }

    /// Wakes everybody who waits, after a change of what `lock` gave.
    pub(super) fn wake(&self) {
        self.changed.notify_all();
    }

    /// Waits for a change, at most `limit`.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, T>, limit: Duration) -> MutexGuard<'a, T> {
        self.changed
            .wait_timeout(state, limit)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}
