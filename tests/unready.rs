//! A key that is not ready: what its node gets, and that nothing else waits for it.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../examples/validator/node_side.rs"]
mod node_side;
#[path = "support/client.rs"]
mod running;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use node_side::{Answer, Ballot, Link, Validator};
use running::{PATIENCE, PLAIN, Parts, Running, prevote};
use tmkms::{
    crypto::{PublicKey, Signature},
    event::Event,
    keyring::{Signer, SignerError},
    privval::Step,
    protection::Permitted,
};

/// How early and how late "try again" may come: a node asks again at once, but no more than 50 times, and waits for 5 s.
const HELD_BACK: std::ops::Range<Duration> =
    Duration::from_millis(3_900)..Duration::from_millis(4_900);

/// A device that fails at the calls of this number (from 1) and signs at all others.
struct Moody {
    key: Arc<dyn Signer>,
    calls: AtomicU32,
    fails_at: u32,
    error: SignerError,
}

impl Moody {
    fn waits_at(fails_at: u32, key: Arc<dyn Signer>) -> Arc<dyn Signer> {
        let reason = "press the button of the device".to_owned();
        Self::fails(fails_at, key, SignerError::Transient { reason })
    }

    fn fails(fails_at: u32, key: Arc<dyn Signer>, error: SignerError) -> Arc<dyn Signer> {
        Arc::new(Self {
            key,
            calls: AtomicU32::new(0),
            fails_at,
            error,
        })
    }
}

impl Signer for Moody {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.fails_at {
            return Err(self.error.clone());
        }
        self.key.sign(msg)
    }
}

const FIRST_CALL_WAITS: Parts = Parts {
    signer: |key| Moody::waits_at(1, key),
    ..PLAIN
};

/// Asks as [`Validator::ask`] does, with a patience that never ends before the answer comes.
fn ask(validator: &Validator, link: &mut Link, ballot: &Ballot) -> (Answer, Duration) {
    let begun = Instant::now();
    let answer = validator.ask(link, ballot).unwrap();
    (answer, begun.elapsed())
}

fn was_held_back(answer: &(Answer, Duration)) -> bool {
    answer.0 == Answer::TryAgain && HELD_BACK.contains(&answer.1)
}

#[test]
fn a_key_that_is_not_ready_makes_the_node_ask_again_after_four_seconds() {
    let running = Running::new(&FIRST_CALL_WAITS);
    let (mut link, validator) = running.meet();
    let first = ask(&validator, &mut link, &prevote(1));
    assert!(was_held_back(&first), "{first:?}");
    // On the same connection, and with a later timestamp, as a node does.
    let (again, took) = ask(&validator, &mut link, &prevote(1));
    assert!(matches!(again, Answer::Signed(_)), "{again:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let told = running.told.count(|event| {
        matches!(event, Event::NotReady { reason, .. } if reason.contains("press the button"))
    });
    assert_eq!(told, 1);
}

#[test]
fn a_vote_whose_extension_waits_for_the_key_waits_as_a_whole() {
    let running = Running::new(&Parts {
        signer: |key| Moody::waits_at(2, key),
        ..PLAIN
    });
    let (mut link, validator) = running.meet();
    let precommit = Ballot {
        step: Step::Precommit,
        extension: Some(b"price 17".to_vec()),
        ..prevote(1)
    };
    let first = ask(&validator, &mut link, &precommit);
    assert!(was_held_back(&first), "{first:?}");
    match ask(&validator, &mut link, &precommit).0 {
        Answer::Signed(signed) => assert_eq!(signed.extension_signature.len(), 64),
        other => panic!("{other:?}"),
    }
}

#[test]
fn shutdown_does_not_wait_for_an_answer_that_is_held_back() {
    let running = Running::new(&FIRST_CALL_WAITS);
    let (mut link, validator) = running.meet();
    link.send_raw(&validator.request(&prevote(1))).unwrap();
    wait_until_unready(&running);
    let asked = Instant::now();
    running.shutdown.request();
    assert!(running.has_ended());
    assert!(asked.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_node_that_hangs_up_meanwhile_is_dialled_again_at_once() {
    let running = Running::new(&FIRST_CALL_WAITS);
    let (mut link, validator) = running.meet();
    link.send_raw(&validator.request(&prevote(1))).unwrap();
    wait_until_unready(&running);
    let lost = Instant::now();
    drop(link);
    drop(running.meet());
    let took = lost.elapsed();
    // A node that starts waits for 3 s.
    assert!(took < Duration::from_millis(2_000), "{took:?}");
}

#[test]
fn a_key_that_will_not_sign_is_told_to_the_node_at_once() {
    let running = Running::new(&Parts {
        signer: |key| {
            let reason = "the sign bytes are too long for this device".to_owned();
            Moody::fails(1, key, SignerError::Final { reason })
        },
        ..PLAIN
    });
    let (mut link, validator) = running.meet();
    match ask(&validator, &mut link, &prevote(1)) {
        (Answer::Refused { code, description }, took) => {
            assert_eq!(code, 1);
            assert!(description.contains("too long"), "{description}");
            assert!(took < Duration::from_secs(1), "{took:?}");
        }
        other => panic!("{other:?}"),
    }
    let (next, _) = ask(&validator, &mut link, &prevote(2));
    assert!(matches!(next, Answer::Signed(_)), "{next:?}");
}

fn wait_until_unready(running: &Running) {
    let begun = Instant::now();
    while running.told.count(|e| matches!(e, Event::NotReady { .. })) == 0 {
        assert!(begun.elapsed() < PATIENCE, "nothing was told");
        std::thread::yield_now();
    }
}
