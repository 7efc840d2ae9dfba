//! The Ledger's provider against the simulated device: what it signs, whom it waits for, and how it comes back.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/ledger/mod.rs"]
mod ledger;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ledger::{Fault, Person, Screen, Simulator};
use tmkms::{
    chain::{Chain, GuardedKey, SignError},
    crypto::PublicKey,
    event::{Event, Sink},
    keyring::{
        SignerError,
        providers::{
            ProviderError,
            ledgertm::{Adapter, Ledger},
        },
    },
    privval::{BlockId, ChainId, ConsensusMsg, Echo, Hrs, SignRequest, Step, Timestamp, canonical},
    protection::{
        Guard, Record, SignedMsg,
        store::file::{self, FileStore},
    },
    shutdown::Shutdown,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// What a node waits for a reply.
const NODE: Duration = Duration::from_secs(5);

/// Keeps every event as text.
#[derive(Default)]
struct Told(Mutex<String>);

impl Sink for Told {
    fn tell(&self, event: &Event) {
        let mut told = self.0.lock().unwrap();
        *told += &format!("{event:?}\n");
    }
}

/// A provider over a simulated device.
struct Bench {
    simulator: Simulator,
    told: Arc<Told>,
    shutdown: Shutdown,
    ledger: Ledger,
    directory: tempfile::TempDir,
}

impl Bench {
    fn new(simulator: Simulator) -> Self {
        let told = Arc::new(Told::default());
        let shutdown = Shutdown::new();
        let sink: Arc<dyn Sink> = told.clone();
        Self {
            ledger: Ledger::start(&adapter(&simulator), &sink, &shutdown).unwrap(),
            simulator,
            told,
            shutdown,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A device that signs without a word, and a chain with its key.
    fn ready() -> (Self, Chain) {
        let bench = Self::new(Simulator::start(Person::Confirms));
        let chain = bench.chain("c-1");
        (bench, chain)
    }

    fn chain(&self, id: &str) -> Chain {
        let key = self.ledger.key(PATIENCE).unwrap();
        let id = ChainId::new(id).unwrap();
        let path = self.directory.path().join(id.as_str());
        let public_key = key.signer.public_key().clone();
        file::create(&path, &id, &public_key, &Record::never_signed()).unwrap();
        let store = FileStore::open(&path, &id, &public_key).unwrap().store;
        let guard = Guard::new(store);
        Chain::new(id, GuardedKey { key, guard }, false)
    }

    /// Waits until the log has this.
    fn wait_for(&self, what: &str) {
        let start = Instant::now();
        while !self.told.0.lock().unwrap().contains(what) {
            let told = self.told.0.lock().unwrap().clone();
            assert!(start.elapsed() < PATIENCE, "no {what:?} in\n{told}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn adapter(simulator: &Simulator) -> Adapter {
    Adapter::Tcp {
        host: "127.0.0.1".into(),
        port: simulator.port(),
    }
}

fn at(chain: &Chain, step: Step, height: i64, round: i64) -> SignRequest {
    let block_id = BlockId {
        hash: [7; 32],
        parts_total: 1,
        parts_hash: [8; 32],
    };
    let timestamp = Timestamp {
        seconds: 1_764_000_000,
        nanos: 999_999_999,
    };
    let sign_bytes = canonical::sign_bytes(
        chain.id(),
        step,
        (height, round, -1),
        Some(&block_id),
        timestamp,
    );
    SignRequest {
        msg: ConsensusMsg {
            hrs: Hrs {
                height,
                round,
                step,
            },
            block_id: Some(block_id),
            pol_round: -1,
            sign_bytes,
            echo: Echo::default(),
        },
        extension: None,
        unprotected: None,
    }
}

fn prevote(chain: &Chain, height: i64) -> Result<SignedMsg, SignError> {
    let start = Instant::now();
    let signed = chain.sign(at(chain, Step::Prevote, height, 0), None);
    assert!(start.elapsed() < NODE, "a node has hung up by now");
    signed
}

/// Asks as a node does that is told to try again.
fn prevote_until_signed(chain: &Chain, height: i64) -> SignedMsg {
    let start = Instant::now();
    loop {
        match prevote(chain, height) {
            Ok(signed) => return signed,
            Err(SignError::Signer(SignerError::Transient { reason })) => {
                assert!(start.elapsed() < PATIENCE, "still {reason}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn transient(signed: Result<SignedMsg, SignError>) -> String {
    match signed {
        Err(SignError::Signer(SignerError::Transient { reason })) => reason,
        other => panic!("{other:?}"),
    }
}

fn refused(signed: Result<SignedMsg, SignError>) -> String {
    match signed {
        Err(SignError::Signer(SignerError::Final { reason })) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_height_is_signed_step_by_step_with_the_devices_key() {
    let (bench, chain) = Bench::ready();
    let key = PublicKey::ed25519(&bench.simulator.public_key()).unwrap();
    assert_eq!(*chain.public_key(), key);
    for height in 1..=3 {
        for step in [Step::Proposal, Step::Prevote, Step::Precommit] {
            let request = at(&chain, step, height, 0);
            let bytes = request.msg.sign_bytes.clone();
            let signed = chain.sign(request, None).unwrap();
            assert!(key.verifies(bytes.as_bytes(), signed.signature()));
        }
    }
    assert_eq!(bench.simulator.signed().len(), 9);
    assert_eq!(bench.simulator.connections(), 1);
    bench.wait_for("Tendermint Validator 0.9.13");
}

#[test]
fn the_first_vote_waits_for_a_person_and_its_signature_answers_the_repeat() {
    let bench = Bench::new(Simulator::start(Person::Absent));
    let chain = bench.chain("c-1");
    let reason = transient(prevote(&chain, 5));
    assert_eq!(
        reason,
        "the Ledger waits for a person to confirm on the device"
    );
    // The node asks again, and is told the same.
    assert_eq!(transient(prevote(&chain, 5)), reason);
    // Meanwhile another round has begun; it cannot overtake.
    let later = chain.sign(at(&chain, Step::Prevote, 5, 1), None);
    assert!(transient(later).contains("what it was asked before"));
    bench.simulator.press(true);
    // The person has confirmed the first one, and all others pass.
    let signed = chain.sign(at(&chain, Step::Prevote, 5, 1), None).unwrap();
    assert_eq!(signed.hrs().round, 1);
    assert_eq!(bench.simulator.signed().len(), 2);
    bench.wait_for("the device answered after");
}

#[test]
fn a_finished_signature_answers_however_often_it_is_asked_for() {
    let bench = Bench::new(Simulator::start(Person::Absent));
    let chain = bench.chain("c-1");
    transient(prevote(&chain, 5));
    bench.simulator.press(true);
    let first = prevote(&chain, 5).unwrap();
    let again = prevote(&chain, 5).unwrap();
    assert_eq!(first.signature(), again.signature());
    assert_eq!(bench.simulator.signed().len(), 1);
    assert_eq!(bench.simulator.count(0x6985), 0, "the device was not asked");
}

#[test]
fn a_person_who_refuses_is_obeyed_once() {
    let bench = Bench::new(Simulator::start(Person::Absent));
    let chain = bench.chain("c-1");
    transient(prevote(&chain, 5));
    bench.simulator.press(false);
    let reason = refused(prevote(&chain, 5));
    assert!(
        reason.contains("a person refused it on the device")
            && reason.contains("status 0x6986, command not allowed"),
        "{reason}"
    );
    bench.simulator.person(Person::Confirms);
    prevote(&chain, 5).unwrap();
}

#[test]
fn what_the_device_has_signed_and_nobody_kept_is_refused_with_the_reason() {
    let (bench, chain) = Bench::ready();
    prevote(&chain, 4).unwrap();
    bench.simulator.spoil(Fault::DropAfter);
    let reason = refused(prevote(&chain, 5));
    assert!(
        reason.contains("status 0x6985, conditions not satisfied") && reason.contains("hint"),
        "{reason}"
    );
    prevote(&chain, 6).unwrap();
}

#[test]
fn a_dropped_connection_costs_no_vote() {
    let (bench, chain) = Bench::ready();
    for height in 1..=3 {
        bench.simulator.spoil(Fault::DropBefore);
        prevote_until_signed(&chain, height);
    }
    bench.simulator.spoil(Fault::Split);
    prevote(&chain, 4).unwrap();
    assert_eq!(bench.simulator.signed().len(), 4);
    // The same failure soon after the device was opened is told once, however often it comes.
    let told = bench.told.0.lock().unwrap().clone();
    assert_eq!(told.matches("does not answer").count(), 1, "{told}");
    assert!(told.matches("] opened").count() <= 2, "{told}");
}

#[test]
fn a_slow_device_is_waited_for_in_the_background() {
    let (bench, chain) = Bench::ready();
    prevote(&chain, 1).unwrap();
    bench.simulator.spoil(Fault::Delay(Duration::from_secs(4)));
    transient(prevote(&chain, 2));
    prevote(&chain, 2).unwrap();
    assert_eq!(bench.simulator.signed().len(), 2);
}

#[test]
fn a_device_that_is_pulled_is_back_when_it_is_plugged() {
    let (bench, chain) = Bench::ready();
    prevote(&chain, 1).unwrap();
    bench.simulator.pull();
    let reason = transient(prevote(&chain, 2));
    assert!(reason.contains("hint"), "{reason}");
    bench.simulator.plug();
    prevote_until_signed(&chain, 2);
    prevote(&chain, 3).unwrap();
    bench.wait_for("the emulator does not answer");
}

#[test]
fn a_locked_device_and_another_app_are_named_until_a_person_helps() {
    let (bench, chain) = Bench::ready();
    prevote(&chain, 1).unwrap();
    bench.simulator.show(Screen::Locked);
    let reason = transient(prevote(&chain, 2));
    assert!(
        reason.contains("status 0x5515") && reason.contains("unlock the device"),
        "{reason}"
    );
    bench.simulator.show(Screen::OtherApp);
    bench.wait_for("the open app is Cosmos 2.35.9");
    let reason = transient(prevote(&chain, 2));
    assert!(
        reason.contains("and not \\\"Tendermint Validator\\\"")
            || reason.contains("and not \"Tendermint Validator\""),
        "{reason}"
    );
    bench.simulator.show(Screen::Validator);
    prevote_until_signed(&chain, 2);
}

#[test]
fn a_lock_is_seen_while_nothing_is_signed() {
    let (bench, chain) = Bench::ready();
    prevote(&chain, 1).unwrap();
    bench.simulator.show(Screen::Locked);
    bench.wait_for("0x5515");
    bench.simulator.show(Screen::Validator);
    prevote_until_signed(&chain, 2);
}

#[test]
fn another_devices_key_is_never_used_in_place_of_the_first() {
    let (bench, chain) = Bench::ready();
    prevote(&chain, 1).unwrap();
    bench.simulator.swap([9; 32]);
    let reason = transient(prevote(&chain, 2));
    assert!(reason.contains("another key"), "{reason}");
    assert_eq!(bench.simulator.signed().len(), 1);
    bench.simulator.swap([0x4c; 32]);
    prevote_until_signed(&chain, 2);
}

#[test]
fn a_device_that_is_absent_at_start_is_waited_for() {
    let simulator = Simulator::start(Person::Confirms);
    simulator.pull();
    let bench = Bench::new(simulator);
    let soon = Duration::from_millis(500);
    match bench.ledger.key(soon) {
        Err(error @ ProviderError::NotReady { .. }) => {
            let (text, hint) = (error.to_string(), error.hint().unwrap());
            assert!(text.contains("ledgertm tcp://127.0.0.1:"), "{text}");
            assert!(hint.contains("start the emulator"), "{hint}");
        }
        other => panic!("{other:?}"),
    }
    bench.simulator.plug();
    let chain = bench.chain("c-1");
    prevote(&chain, 1).unwrap();
}

#[test]
fn a_device_that_answers_strangely_at_start_is_asked_again() {
    // What a locked device says differs from one firmware to the next, and some of it are words of the app.
    for word in [0x6982, 0x6985, 0x6f00] {
        let simulator = Simulator::start(Person::Confirms);
        simulator.show(Screen::LockedAs(word));
        let bench = Bench::new(simulator);
        let error = bench.ledger.key(Duration::from_secs(1)).unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(error.hint().unwrap().contains("unlock"), "{error}");
        bench.simulator.show(Screen::Validator);
        prevote_until_signed(&bench.chain("c-1"), 5);
    }
}

#[test]
fn a_signature_that_does_not_verify_is_not_let_out() {
    let (bench, chain) = Bench::ready();
    prevote(&chain, 1).unwrap();
    bench.simulator.spoil(Fault::WrongSignature);
    let reason = refused(prevote(&chain, 2));
    assert!(reason.contains("does not verify"), "{reason}");
    bench.simulator.spoil(Fault::Short);
    // Half a signature is no answer; the device is opened again, and says that it signed.
    let reason = refused(prevote(&chain, 3));
    assert!(reason.contains("0x6985"), "{reason}");
}

#[test]
fn every_status_word_reaches_the_log_with_its_name() {
    let (bench, chain) = Bench::ready();
    prevote(&chain, 1).unwrap();
    let words = [
        (0x6400, "execution error"),
        (0x6700, "wrong length"),
        (0x6982, "empty buffer"),
        (0x6983, "output buffer too small"),
        (0x6984, "data invalid"),
        (0x6985, "conditions not satisfied"),
        (0x6986, "command not allowed"),
        (0x6f00, "unknown error"),
    ];
    for ((word, name), height) in words.into_iter().zip(2..) {
        bench.simulator.spoil(Fault::Status(word));
        let reason = refused(prevote(&chain, height));
        let expected = format!("status 0x{word:04x}, {name}");
        assert!(reason.contains(&expected), "{reason}");
    }
    // These pass: the device is opened again, and signs.
    for (word, height) in [0x6d00, 0x6e00, 0x5515, 0x1234].into_iter().zip(20..) {
        bench.simulator.spoil(Fault::Status(word));
        prevote_until_signed(&chain, height);
        bench.wait_for(&format!("status 0x{word:04x}"));
    }
}

#[test]
fn what_the_app_cannot_sign_is_refused_before_it_is_asked() {
    let (bench, chain) = Bench::ready();
    let reason = refused(chain.sign(at(&chain, Step::Prevote, 1, 256), None));
    assert!(reason.contains("rounds up to 255"), "{reason}");
    let long = bench.chain("chain-of-16-char");
    let reason = refused(long.sign(at(&long, Step::Proposal, 1, 0), None));
    assert!(reason.contains("128 bytes is too long"), "{reason}");
    assert_eq!(bench.simulator.signed().len(), 0);
}

#[test]
fn an_empty_vote_extension_is_left_out_and_any_other_is_refused_with_its_precommit() {
    let (bench, chain) = Bench::ready();
    let precommit = |extension: &[u8]| {
        let mut request = at(&chain, Step::Precommit, 2, 0);
        request.extension = Some(canonical::extension(chain.id(), 2, 0, extension));
        chain.sign(request, None)
    };
    let reason = refused(precommit(b"hello"));
    assert!(reason.contains("no vote extensions"), "{reason}");
    assert_eq!(bench.simulator.signed().len(), 0);
    // Nothing was recorded for it either: another block may still be voted for.
    prevote(&chain, 2).unwrap();
    let signed = precommit(b"").unwrap();
    assert_eq!(signed.extension_signature(), None);
}

#[test]
fn the_end_of_the_process_waits_for_no_person() {
    let bench = Bench::new(Simulator::start(Person::Absent));
    let chain = bench.chain("c-1");
    thread::scope(|scope| {
        let asking = scope.spawn(|| chain.sign(at(&chain, Step::Prevote, 1, 0), None));
        bench.simulator.wait_until_asked();
        let start = Instant::now();
        bench.shutdown.request();
        let reason = transient(asking.join().unwrap());
        assert!(reason.contains("stopping"), "{reason}");
        assert!(start.elapsed() < Duration::from_secs(1));
    });
    let start = Instant::now();
    while bench.simulator.connections() > 0 {
        assert!(start.elapsed() < PATIENCE, "the device is still held");
        bench.simulator.person(Person::Confirms);
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_device_is_let_go_with_the_last_key() {
    let (bench, chain) = Bench::ready();
    let Bench {
        simulator, ledger, ..
    } = bench;
    drop(ledger);
    // A key is enough to keep it.
    prevote(&chain, 1).unwrap();
    drop(chain);
    let start = Instant::now();
    while simulator.connections() > 0 {
        assert!(start.elapsed() < PATIENCE, "the device is still held");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Panics when it is told something for the first time.
struct Fragile(AtomicBool);

impl Sink for Fragile {
    fn tell(&self, _: &Event) {
        assert!(self.0.swap(true, Ordering::SeqCst), "as this test wants it");
    }
}

#[test]
fn a_panic_in_the_devices_thread_is_not_the_end_of_its_chain() {
    let mut bench = Bench::new(Simulator::start(Person::Confirms));
    let sink = Arc::new(Fragile(AtomicBool::new(false)));
    let told: Arc<dyn Sink> = sink.clone();
    bench.ledger = Ledger::start(&adapter(&bench.simulator), &told, &bench.shutdown).unwrap();
    let chain = bench.chain("c-1");
    prevote_until_signed(&chain, 5);
    assert!(sink.0.load(Ordering::SeqCst));
}
