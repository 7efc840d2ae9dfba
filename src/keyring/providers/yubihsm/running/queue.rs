//! What signers, and others who need the device, tell its thread, and what it tells them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use crate::{crypto::Signature, keyring::providers::watched::Watched};

use super::{Inspected, ObjectId, Scheme, Trouble};

/// How many finished requests are remembered. A node asks again for the last one of its chain.
const REMEMBERED: usize = 64;

/// How many messages of other programs may wait for the device.
const CARRIED: usize = 32;

/// Bytes to sign, and with what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Message {
    pub(super) key: ObjectId,
    pub(super) scheme: Scheme,
    pub(super) bytes: Arc<[u8]>,
}

/// A message, for as long as somebody wants its signature.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) message: Message,
    pub(super) until: Instant,
    /// How often the session broke over it.
    pub(super) tries: u8,
}

/// Another program's message to the device.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) message: Vec<u8>,
    pub(super) until: Instant,
    pub(super) answer: SyncSender<Result<Vec<u8>, Trouble>>,
}

/// What the thread is to do next.
#[derive(Debug)]
pub(super) enum Job {
    Sign(Wanted),
    Look(ObjectId),
    Carry(Carried),
}

/// Whether the thread has a session to work with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Session {
    Open,
    Closed,
}

pub(super) type Queue = Watched<State>;

#[derive(Default)]
pub(super) struct State {
    stopped: bool,
    ended: bool,
    was_open: bool,
    /// Why there is no session, once that was tried.
    trouble: Option<Trouble>,
    /// Asked and not yet at the device, oldest first.
    wanted: VecDeque<Wanted>,
    at_device: Option<Message>,
    /// The newest is the last.
    finished: VecDeque<Finished>,
    looks: VecDeque<ObjectId>,
    /// The key that is being looked at. Who waits for it is not to ask for it again: that look would come back to somebody who
    /// asks later, with what was true before.
    looking: Option<ObjectId>,
    looked: HashMap<ObjectId, Result<Arc<Inspected>, Trouble>>,
    carried: VecDeque<Carried>,
}

struct Finished {
    message: Message,
    outcome: Result<Signature, Trouble>,
    at: Instant,
}

/// The side of those who ask.
impl Queue {
    /// Waits until `deadline` for a signature.
    pub(super) fn sign(&self, message: &Message, deadline: Instant) -> Result<Signature, Trouble> {
        let asked = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(outcome) = state.finished_after(message, asked) {
                return outcome;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.stopped {
                return Err(state.why_not(message));
            }
            if state.want(message, deadline) {
                self.wake();
            }
            state = self.wait(state, left);
        }
    }

    /// Waits at most `patience` for what is known about a key. Without patience it is looked at all the same, and the next call
    /// finds what came of it. A failure is told once; asked again, so is the device.
    pub(super) fn look(&self, id: ObjectId, patience: Duration) -> Result<Arc<Inspected>, Trouble> {
        let asked = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(outcome) = state.take_looked(id) {
                return outcome;
            }
            if let Some(trouble) = state.trouble.as_ref().filter(|trouble| !trouble.transient) {
                return Err(trouble.clone());
            }
            if state.looking != Some(id) && !state.looks.contains(&id) {
                state.looks.push_back(id);
                self.wake();
            }
            let left = patience.saturating_sub(asked.elapsed());
            if left.is_zero() || state.stopped {
                return Err(state.why_away());
            }
            state = self.wait(state, left);
        }
    }

    /// Leaves another program's message for the device. False if too many wait already.
    pub(super) fn carry(&self, carried: Carried) -> bool {
        self.change(|state| {
            let room = state.carried.len() < CARRIED && !state.stopped;
            if room {
                state.carried.push_back(carried);
            }
            room
        })
    }

    /// Whether nothing is wrong with the device, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        let state = self.lock();
        state.was_open && state.trouble.is_none() && !state.stopped
    }

    pub(super) fn stop(&self) {
        self.change(|state| {
            state.stopped = true;
            state.carried.clear();
        });
    }

    pub(super) fn wait_for_the_end(&self, deadline: Instant) {
        let mut state = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return;
            }
            state = self.wait(state, left);
        }
    }
}

/// The thread's side.
impl Queue {
    /// The next thing to do: signatures before everything else. `None` after `limit`, or when it is time to stop.
    pub(super) fn next(&self, limit: Duration, session: Session) -> Option<Job> {
        let start = Instant::now();
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(job) = state.take(session) {
                return Some(job);
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return None;
            }
            state = self.wait(state, left);
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    pub(super) fn finish(&self, message: Message, outcome: Result<Signature, Trouble>) {
        self.change(|state| {
            state.at_device = None;
            state
                .finished
                .retain(|finished| finished.message != message);
            if state.finished.len() == REMEMBERED {
                state.finished.pop_front();
            }
            state.finished.push_back(Finished {
                message,
                outcome,
                at: Instant::now(),
            });
        });
    }

    /// Takes a message back whose session broke, to be tried before all others.
    pub(super) fn put_back(&self, wanted: Wanted) {
        self.change(|state| {
            state.at_device = None;
            state.wanted.push_front(wanted);
        });
    }

    pub(super) fn looked(&self, id: ObjectId, outcome: Result<Inspected, Trouble>) {
        self.change(|state| {
            state.looking = None;
            state.looked.insert(id, outcome.map(Arc::new));
        });
    }

    /// Puts a question about a key back whose session broke.
    pub(super) fn look_again(&self, id: ObjectId) {
        self.change(|state| {
            state.looking = None;
            state.looks.push_front(id);
        });
    }

    pub(super) fn opened(&self) {
        self.change(|state| {
            state.was_open = true;
            state.trouble = None;
        });
    }

    /// Nothing is at the device any more, and nobody knows what came of it.
    pub(super) fn dropped(&self, trouble: Trouble) {
        self.change(|state| {
            state.at_device = None;
            state.looking = None;
            state.trouble = Some(trouble);
        });
    }

    pub(super) fn troubled(&self, trouble: Trouble) {
        self.change(|state| state.trouble = Some(trouble));
    }

    pub(super) fn ended(&self) {
        self.change(|state| {
            state.stopped = true;
            state.ended = true;
            state.carried.clear();
        });
    }
}

impl State {
    /// A signature that is there, or a failure that came after somebody asked: an older one was told to those who asked before.
    fn finished_after(
        &self,
        message: &Message,
        asked: Instant,
    ) -> Option<Result<Signature, Trouble>> {
        let mut finished = self.finished.iter().rev();
        let finished = finished.find(|finished| finished.message == *message)?;
        (finished.outcome.is_ok() || finished.at >= asked).then(|| finished.outcome.clone())
    }

    /// What is known about a key: for good if it can sign, else once.
    fn take_looked(&mut self, id: ObjectId) -> Option<Result<Arc<Inspected>, Trouble>> {
        match self.looked.get(&id)? {
            Ok(inspected) => Some(Ok(Arc::clone(inspected))),
            Err(_) => self.looked.remove(&id),
        }
    }

    /// False if the message waits already or is being signed.
    fn want(&mut self, message: &Message, until: Instant) -> bool {
        if self.at_device.as_ref() == Some(message) {
            return false;
        }
        if let Some(wanted) = self.wanted.iter_mut().find(|w| w.message == *message) {
            wanted.until = wanted.until.max(until);
            return false;
        }
        self.wanted.push_back(Wanted {
            message: message.clone(),
            until,
            tries: 0,
        });
        true
    }

    fn take(&mut self, session: Session) -> Option<Job> {
        // What nobody waits for any more is not sent to the device: by now the chain may have moved on.
        let now = Instant::now();
        self.wanted.retain(|wanted| wanted.until > now);
        if session == Session::Open {
            if let Some(wanted) = self.wanted.pop_front() {
                self.at_device = Some(wanted.message.clone());
                return Some(Job::Sign(wanted));
            }
            if let Some(id) = self.looks.pop_front() {
                self.looking = Some(id);
                return Some(Job::Look(id));
            }
        }
        self.carried.retain(|carried| carried.until > now);
        self.carried.pop_front().map(Job::Carry)
    }

    /// Why this is not signed yet. The same words for as long as the reason stays, so that it is told once.
    fn why_not(&self, message: &Message) -> Trouble {
        match &self.at_device {
            Some(at_device) if at_device == message && !self.stopped => {
                Trouble::passing("the device has not answered yet")
            }
            _ => self.why_away(),
        }
    }

    fn why_away(&self) -> Trouble {
        match &self.trouble {
            _ if self.stopped => Trouble::passing("tmkms is stopping"),
            Some(trouble) => trouble.clone(),
            None => Trouble::passing("the device is busy with other things"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(byte: u8) -> Message {
        Message {
            key: 1,
            scheme: Scheme::Ed25519,
            bytes: [byte].into(),
        }
    }

    fn signature() -> Signature {
        Signature::Ed25519([7; 64])
    }

    #[test]
    fn a_signature_that_was_finished_late_answers_the_repeat_and_a_failure_does_not() {
        let queue = Queue::default();
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(queue.sign(&message(1), soon).expect_err("late").transient);
        queue.finish(message(1), Ok(signature()));
        queue.finish(message(2), Err(Trouble::passing("log full")));
        assert_eq!(queue.sign(&message(1), Instant::now()), Ok(signature()));
        let error = queue.sign(&message(2), Instant::now()).expect_err("anew");
        assert_ne!(error.reason, "log full");
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let queue = Queue::default();
        for byte in 0..=u8::MAX {
            queue.finish(message(byte), Ok(signature()));
        }
        assert_eq!(queue.lock().finished.len(), REMEMBERED);
        assert!(queue.sign(&message(0), Instant::now()).is_err());
        assert!(queue.sign(&message(255), Instant::now()).is_ok());
    }

    #[test]
    fn signatures_come_before_other_programs_and_only_those_go_on_without_a_session() {
        let queue = Queue::default();
        let (answer, _answers) = std::sync::mpsc::sync_channel(1);
        let until = Instant::now() + Duration::from_secs(5);
        let carried = |answer: &SyncSender<_>| Carried {
            message: vec![6, 0, 0],
            until,
            answer: answer.clone(),
        };
        assert!(queue.carry(carried(&answer)) && queue.carry(carried(&answer)));
        assert!(queue.lock().want(&message(1), until));
        assert!(!queue.lock().want(&message(1), until));
        let next = |session| queue.next(Duration::ZERO, session);
        assert!(matches!(next(Session::Closed), Some(Job::Carry(_))));
        assert!(matches!(next(Session::Open), Some(Job::Sign(_))));
        assert!(matches!(next(Session::Open), Some(Job::Carry(_))));
        assert!(next(Session::Open).is_none());
        for _ in 0..CARRIED {
            assert!(queue.carry(carried(&answer)));
        }
        assert!(!queue.carry(carried(&answer)));
    }

    #[test]
    fn a_key_is_looked_at_although_nobody_waits_and_a_failure_is_told_once() {
        let queue = Queue::default();
        let look = || queue.look(1, Duration::ZERO).expect_err("nobody looked");
        assert!(look().transient && look().transient);
        let job = queue.next(Duration::ZERO, Session::Open);
        assert!(matches!(job, Some(Job::Look(1))));
        // Nor is it asked for twice by those who wait while it is looked at.
        assert!(look().transient);
        assert!(queue.next(Duration::ZERO, Session::Open).is_none());
        let missing = Trouble {
            transient: false,
            ..Trouble::passing("no such key")
        };
        queue.looked(1, Err(missing.clone()));
        assert_eq!(look(), missing);
        assert!(look().transient);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_signed() {
        let queue = Queue::default();
        let past = Instant::now();
        assert!(queue.lock().want(&message(1), past));
        assert!(queue.next(Duration::ZERO, Session::Open).is_none());
    }
}
