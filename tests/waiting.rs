//! A chain whose key is not there yet, or whose device hangs: it waits alone.
#![allow(
    clippy::indexing_slicing,
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
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use node_side::{Answer, Link, Validator};
use running::{PATIENCE, PLAIN, Parts, Running, prevote};
use tmkms::{
    chain::{Chain, Failed, NotOpen, Served, Waiting},
    crypto::{PublicKey, Signature},
    event::Event,
    keyring::{Signer, SignerError},
    protection::Permitted,
};

/// A device that is plugged in when the test says so.
#[derive(Clone, Default)]
struct Plug {
    is_in: Arc<AtomicBool>,
    tries: Arc<AtomicU32>,
}

impl Plug {
    /// The chain, as soon as the device is there.
    fn serving(&self, chain: Chain) -> Served {
        let (plug, mut chain) = (self.clone(), Some(chain));
        Served::Waiting(Arc::new(Waiting::new(Box::new(move || {
            plug.tries.fetch_add(1, Ordering::SeqCst);
            if plug.is_in.load(Ordering::SeqCst) {
                Ok(chain.take().expect("no try after the one that opened it"))
            } else {
                Err(NotOpen::NotYet)
            }
        }))))
    }

    fn wait_for_tries(&self, count: u32) {
        wait_until("another try", || self.tries.load(Ordering::SeqCst) >= count);
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn has_signed(validator: &Validator, link: &mut Link, height: i64) -> bool {
    let answer = validator.ask(link, &prevote(height)).unwrap();
    matches!(answer, Answer::Signed(_))
}

#[test]
fn a_node_is_not_dialled_before_its_chain_has_a_key_and_others_are_served_meanwhile() {
    let plug = Plug::default();
    let waiting = Running::serving(&PLAIN, |chain| plug.serving(chain));
    let other = Running::new(&PLAIN);
    let (mut link, validator) = other.meet();
    plug.wait_for_tries(2);
    assert!(has_signed(&validator, &mut link, 1));
    plug.wait_for_tries(3);
    let nobody_dialled = waiting.listener.accept({
        let asked = AtomicU32::new(0);
        move || asked.fetch_add(1, Ordering::SeqCst) > 20
    });
    assert!(nobody_dialled.unwrap().is_none());

    plug.is_in.store(true, Ordering::SeqCst);
    let (mut late, validator) = waiting.meet();
    assert!(has_signed(&validator, &mut late, 1));
    let told = waiting
        .told
        .count(|e| matches!(e, Event::Disconnected { .. }));
    assert_eq!(told, 0, "nothing was dialled in vain");
}

#[test]
fn two_nodes_of_a_chain_wait_for_one_key_and_share_it() {
    let plug = Plug::default();
    let shared = Mutex::new(None);
    let one = Running::serving(&PLAIN, |chain| {
        let served = plug.serving(chain);
        *shared.lock().unwrap() = Some(served.clone());
        served
    });
    let two = Running::serving(&PLAIN, |_| shared.lock().unwrap().take().unwrap());
    plug.wait_for_tries(2);
    plug.is_in.store(true, Ordering::SeqCst);
    let (mut first, validator) = one.meet();
    let (mut second, same) = two.meet();
    assert_eq!(validator.key, same.key);
    assert!(has_signed(&validator, &mut first, 1));
    // One guard: the record knows what the other node got.
    let other_block = node_side::Ballot {
        block: None,
        ..prevote(1)
    };
    match same.ask(&mut second, &other_block).unwrap() {
        Answer::Refused { code, .. } => assert_eq!(code, 2),
        other => panic!("{other:?}"),
    }
}

#[test]
fn shutdown_ends_the_wait_for_a_key() {
    let plug = Plug::default();
    let waiting = Running::serving(&PLAIN, |chain| plug.serving(chain));
    plug.wait_for_tries(3);
    let asked = Instant::now();
    waiting.shutdown.request();
    assert!(waiting.has_ended());
    assert!(asked.elapsed() < Duration::from_secs(1));
}

#[test]
fn the_thread_of_a_chain_that_can_never_be_opened_ends() {
    let failing = Running::serving(&PLAIN, |_| {
        let mut tries = 0;
        Served::Waiting(Arc::new(Waiting::new(Box::new(move || {
            tries += 1;
            Err(match tries {
                1 => NotOpen::NotYet,
                _ => NotOpen::Failed(Failed {
                    reason: "the device has another key".into(),
                    hint: None,
                }),
            })
        }))))
    });
    assert!(failing.has_ended());
}

/// Holds every call back until the test lets go.
struct Stuck {
    key: Arc<dyn Signer>,
    gate: &'static Gate,
}

struct Gate {
    state: Mutex<(u32, bool)>,
    changed: Condvar,
}

static GATE: Gate = Gate {
    state: Mutex::new((0, false)),
    changed: Condvar::new(),
};

impl Signer for Stuck {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
        let mut state = self.gate.state.lock().unwrap();
        state.0 += 1;
        self.gate.changed.notify_all();
        let held = self.gate.changed.wait_while(state, |(_, open)| !*open);
        drop(held.unwrap());
        self.key.sign(msg)
    }
}

#[test]
fn a_device_that_hangs_delays_no_other_chain_and_no_shutdown_of_one() {
    let stuck = Running::new(&Parts {
        signer: |key| Arc::new(Stuck { key, gate: &GATE }),
        ..PLAIN
    });
    let other = Running::new(&PLAIN);
    let (mut link, validator) = other.meet();
    let (mut hanging, of_stuck) = stuck.meet();
    hanging.send_raw(&of_stuck.request(&prevote(1))).unwrap();
    let in_call = GATE.state.lock().unwrap();
    let in_call = GATE.changed.wait_while(in_call, |(calls, _)| *calls == 0);
    drop(in_call.unwrap());

    let mut took: Vec<Duration> = (1..=200)
        .map(|height| {
            let begun = Instant::now();
            assert!(has_signed(&validator, &mut link, height));
            begun.elapsed()
        })
        .collect();
    took.sort();
    assert!(
        took[197] < Duration::from_millis(500),
        "p99 {:?}",
        took[197]
    );
    let asked = Instant::now();
    other.shutdown.request();
    assert!(other.has_ended());
    assert!(asked.elapsed() < Duration::from_secs(1));

    GATE.state.lock().unwrap().1 = true;
    GATE.changed.notify_all();
    let reply = hanging.reply().unwrap();
    let answer = of_stuck.read(&prevote(1), reply).unwrap();
    assert!(matches!(answer, Answer::Signed(_)), "{answer:?}");
}

#[test]
fn the_guard_is_free_while_a_device_is_asked() {
    static CALLED: AtomicU32 = AtomicU32::new(0);
    /// Signs a later vote of the same chain only while the earlier one is being signed.
    struct Meeting(Arc<dyn Signer>);
    impl Signer for Meeting {
        fn public_key(&self) -> &PublicKey {
            self.0.public_key()
        }
        fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
            CALLED.fetch_add(1, Ordering::SeqCst);
            wait_until("the other node's vote", || {
                CALLED.load(Ordering::SeqCst) == 2
            });
            self.0.sign(msg)
        }
    }
    let shared = Mutex::new(None);
    let one = Running::serving(
        &Parts {
            signer: |key| Arc::new(Meeting(key)),
            ..PLAIN
        },
        |chain| {
            let served = Served::from(chain);
            *shared.lock().unwrap() = Some(served.clone());
            served
        },
    );
    let two = Running::serving(&PLAIN, |_| shared.lock().unwrap().take().unwrap());
    let (mut first, validator) = one.meet();
    let (mut second, _) = two.meet();
    first.send_raw(&validator.request(&prevote(1))).unwrap();
    wait_until("the first vote", || CALLED.load(Ordering::SeqCst) == 1);
    assert!(has_signed(&validator, &mut second, 2));
    let reply = first.reply().unwrap();
    let answer = validator.read(&prevote(1), reply).unwrap();
    assert!(matches!(answer, Answer::Signed(_)), "{answer:?}");
}
