//! The running provider over a YubiHSM2: what a node gets while things go wrong, and that they come right by themselves.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/yubihsm_running.rs"]
mod running;
#[path = "support/yubihsm/mod.rs"]
mod simulator;
#[path = "support/yubihsm_target.rs"]
mod target;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use running::{KEY, PATIENCE, Running, admin, eventually, new_key, raw, start, with_key};
use simulator::{Fault, Options, Simulator, codes::command};
use target::{LONG, Target, config, of};
use tmkms::{
    event::{Event, Sink},
    keyring::providers::{
        ProviderError,
        yubihsm::{
            Algorithm, Audit, Capabilities, DeviceOption, Hsm, NewObject, ObjectType, StaticKeys,
        },
    },
    protection::RawPermit,
    shutdown::Shutdown,
};

#[test]
fn a_key_in_a_device_signs_and_the_session_is_closed_at_the_end() {
    let target = Target::any();
    let mut device = target.open();
    let new = new_key(Capabilities::SIGN_EDDSA);
    device
        .generate_asymmetric_key(&new, Algorithm::ED25519)
        .unwrap();
    drop(device);
    let running = Running::with(&config(target.adapter.clone(), 1, "password"));
    assert!(running.key.signer.repeats_itself());
    let first = running.sign("a vote").unwrap();
    assert_eq!(running.sign("a vote").unwrap(), first);
    assert_ne!(running.sign("another").unwrap(), first);
    assert_eq!(
        running
            .told
            .count("session open with authentication key 0x0001"),
        1
    );
    running.hsm.stop(Instant::now() + PATIENCE);
    let error = running.sign("after the end").unwrap_err();
    assert!(error.is_transient(), "{error}");
    if let Some(simulator) = &target.simulator {
        assert_eq!(simulator.device().open_sessions(), 0);
    }
    let mut device = target.open();
    device
        .delete_object(KEY, ObjectType::ASYMMETRIC_KEY)
        .unwrap();
}

#[test]
fn a_secp256k1_key_signs_what_nodes_verify_and_does_not_repeat_itself() {
    let simulator = Simulator::start(Options::default());
    let new = new_key(Capabilities::SIGN_ECDSA);
    let made = admin(&simulator).generate_asymmetric_key(&new, Algorithm::EC_K256);
    made.unwrap();
    let running = Running::over(&simulator);
    assert_eq!(running.key.signer.public_key().as_bytes().len(), 33);
    assert!(!running.key.signer.repeats_itself());
    for round in 0..20 {
        running.sign(&format!("vote {round}")).unwrap();
    }
}

#[test]
fn whatever_breaks_while_a_vote_is_signed_the_vote_is_signed() {
    let simulator = with_key();
    let running = Running::over(&simulator);
    for fault in [
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::TwoSegments,
        Fault::WrongMac,
        Fault::SessionLost,
        Fault::Busy,
        Fault::Delay(Duration::from_millis(300)),
    ] {
        simulator.fault_on(command::SIGN_EDDSA, fault);
        running.sign(&format!("{fault:?}")).unwrap();
        assert_eq!(simulator.faults_left(), 0, "{fault:?}");
    }
    simulator.device().skip(Duration::from_secs(40));
    running.sign("after the session expired").unwrap();
    simulator.restart_connector();
    running.sign("after the connector was restarted").unwrap();
    simulator.drop_connections();
    running.sign("after the connections were cut").unwrap();
    simulator.unplug();
    simulator.plug();
    running
        .sign("after the device was pulled and plugged")
        .unwrap();
}

#[test]
fn a_device_that_is_away_makes_the_node_ask_again_and_is_opened_when_it_is_back() {
    let simulator = with_key();
    let running = Running::over(&simulator);
    simulator.unplug();
    let start = Instant::now();
    let error = running.sign("a vote").unwrap_err();
    assert!(
        error.is_transient() && error.to_string().contains("HTTP status"),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(4));
    simulator.plug();
    // It is opened before anybody asks for a signature.
    eventually("a session again", || {
        running.told.count("session open") == 2
    });
    let opened = simulator.device().count(command::CREATE_SESSION);
    running.sign("a vote").unwrap();
    assert_eq!(simulator.device().count(command::CREATE_SESSION), opened);

    simulator.stop_connector();
    assert!(running.sign("another").unwrap_err().is_transient());
    simulator.restart_connector();
    eventually("the vote", || running.sign("another").is_ok());
}

#[test]
fn a_device_whose_sessions_are_all_taken_is_opened_when_one_is_free() {
    let simulator = with_key();
    let running = Running::over(&simulator);
    simulator.device().lose_sessions();
    simulator.device().occupy(16);
    let error = running.sign("a vote").unwrap_err();
    assert!(
        error.is_transient() && error.to_string().contains("sessions full"),
        "{error}"
    );
    simulator.device().lose_sessions();
    eventually("the vote", || running.sign("a vote").is_ok());
    assert!(
        running
            .told
            .count("all 16 sessions of the device are taken")
            >= 1
    );
}

#[test]
fn an_idle_session_is_kept_alive() {
    let simulator = with_key();
    let running = Running::over(&simulator);
    // A third less than a real one's.
    simulator.device().session_expiry = Duration::from_secs(20);
    let opened = simulator.device().count(command::CREATE_SESSION);
    eventually("a sign of life", || {
        simulator.device().count(command::ECHO) >= 1
    });
    assert_eq!(simulator.device().open_sessions(), 1);
    running.sign("a vote").unwrap();
    assert_eq!(simulator.device().count(command::CREATE_SESSION), opened);
}

#[test]
fn a_signature_that_is_finished_late_answers_the_repeat() {
    let simulator = with_key();
    let running = Running::over(&simulator);
    simulator.fault_on(
        command::SIGN_EDDSA,
        Fault::Delay(Duration::from_millis(3_500)),
    );
    let start = Instant::now();
    let error = running.sign("a vote").unwrap_err();
    assert!(error.is_transient(), "{error}");
    let took = start.elapsed();
    assert!(
        took > Duration::from_millis(2_000) && took < Duration::from_secs(4),
        "{took:?}"
    );
    running.sign("a vote").unwrap();
    running.sign("a vote").unwrap();
    assert_eq!(simulator.device().count(command::SIGN_EDDSA), 1);
}

#[test]
fn a_device_that_hangs_does_not_hang_another() {
    let (slow, quick) = (with_key(), with_key());
    let (hangs, signs) = (Running::over(&slow), Running::over(&quick));
    slow.fault_on(command::SIGN_EDDSA, Fault::Delay(Duration::from_secs(10)));
    thread::scope(|scope| {
        let waits = scope.spawn(|| hangs.sign("a vote"));
        eventually("the device has it", || slow.faults_left() == 0);
        for round in 0..50 {
            let start = Instant::now();
            signs.sign(&format!("vote {round}")).unwrap();
            assert!(start.elapsed() < Duration::from_secs(1));
        }
        assert!(waits.join().unwrap().unwrap_err().is_transient());
    });
}

#[test]
fn a_full_log_is_named_and_signing_goes_on_when_it_is_freed() {
    let simulator = with_key();
    let running = Running::over(&simulator);
    let mut auditor = admin(&simulator);
    let on = [Audit::On as u8];
    auditor.set_option(DeviceOption::ForceAudit, &on).unwrap();
    simulator.device().audit.fill();
    let error = running.sign("a vote").unwrap_err();
    assert!(error.is_transient(), "{error}");
    for part in ["log full (0x0a)", "set-log-index"] {
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(running.told.count(part), 1);
    }
    let read = auditor.log_entries().unwrap().entries.pop().unwrap();
    auditor.set_log_index(read.number).unwrap();
    running.sign("a vote").unwrap();
}

#[test]
fn a_device_that_is_absent_at_the_start_is_opened_when_it_comes() {
    let simulator = with_key();
    simulator.stop_connector();
    let (hsm, told, shutdown) = start(&config(of(&simulator, LONG), 1, "password"));
    let error = hsm.key(KEY, Duration::from_millis(300)).unwrap_err();
    assert!(error.is_transient() && error.hint().is_some(), "{error}");
    simulator.restart_connector();
    hsm.key(KEY, PATIENCE).unwrap();
    assert_eq!(told.count("cannot reach the connector"), 1);
    shutdown.request();
}

#[test]
fn a_key_that_cannot_sign_is_told_at_once_and_why() {
    let simulator = Simulator::start(Options::default());
    let mut device = admin(&simulator);
    let (hsm, _told, shutdown) = start(&config(of(&simulator, LONG), 1, "password"));
    let begun = Instant::now();
    let why = |hsm: &Hsm| {
        let error = hsm.key(KEY, PATIENCE).unwrap_err();
        assert!(matches!(error, ProviderError::Unusable { .. }), "{error}");
        assert!(error.hint().is_some(), "{error}");
        error.to_string()
    };
    let text = why(&hsm);
    assert!(text.contains("there is no asymmetric key 0x7a01"), "{text}");
    let made = device.generate_asymmetric_key(&new_key(Capabilities::NONE), Algorithm::ED25519);
    made.unwrap();
    let text = why(&hsm);
    assert!(
        text.contains("key 0x7a01 lacks the capability sign-eddsa"),
        "{text}"
    );
    device
        .delete_object(KEY, ObjectType::ASYMMETRIC_KEY)
        .unwrap();
    shutdown.request();
    let keys = StaticKeys::from_password(&target::password("auditor"));
    let auditor = NewObject {
        id: 9,
        ..new_key(Capabilities::GET_LOG_ENTRIES)
    };
    let put = device.put_authentication_key(&auditor, Capabilities::NONE, &keys);
    put.unwrap();
    let made =
        device.generate_asymmetric_key(&new_key(Capabilities::SIGN_EDDSA), Algorithm::ED25519);
    made.unwrap();
    let (hsm, _told, shutdown) = start(&config(of(&simulator, LONG), 9, "auditor"));
    let text = why(&hsm);
    let part = "authentication key 0x0009 lacks the capability sign-eddsa";
    assert!(text.contains(part), "{text}");
    shutdown.request();
    let (hsm, _told, shutdown) = start(&config(of(&simulator, LONG), 9, "wrong"));
    let text = why(&hsm);
    assert!(
        text.contains("the password is not that of authentication key 0x0009"),
        "{text}"
    );
    shutdown.request();
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_key_that_is_deleted_while_it_is_used_is_a_final_answer() {
    let simulator = with_key();
    let running = Running::over(&simulator);
    let mut device = admin(&simulator);
    device
        .delete_object(KEY, ObjectType::ASYMMETRIC_KEY)
        .unwrap();
    let error = running.sign("a vote").unwrap_err();
    assert!(!error.is_transient(), "{error}");
    assert!(error.to_string().contains("object not found"), "{error}");
}

#[test]
fn another_device_in_the_place_of_the_first_signs_nothing() {
    let simulator = with_key();
    let port = simulator.addr().port();
    let running = Running::over(&simulator);
    drop(simulator);
    let other = Simulator::start(Options {
        serial: 87_654_321,
        port,
        ..Options::default()
    });
    let mut device = admin(&other);
    let new = new_key(Capabilities::SIGN_EDDSA);
    device
        .generate_asymmetric_key(&new, Algorithm::ED25519)
        .unwrap();
    eventually("it is seen", || {
        running
            .told
            .count("the device has serial number 0087654321")
            == 1
    });
    let error = running.sign("a vote").unwrap_err();
    assert!(error.to_string().contains("0087654321"), "{error}");
    assert_eq!(other.device().count(command::SIGN_EDDSA), 0);
}

/// `tests/interop/yubihsm/life.py` ends with a reset, which takes our session, our key and the device for a while.
#[test]
fn a_device_that_comes_late_is_found_by_calls_that_do_not_wait() {
    let simulator = with_key();
    simulator.unplug();
    let (hsm, _told, shutdown) = start(&config(of(&simulator, LONG), 1, "password"));
    let error = hsm.key(KEY, Duration::ZERO).unwrap_err();
    assert!(error.is_transient(), "{error}");
    simulator.plug();
    eventually("the key", || hsm.key(KEY, Duration::ZERO).is_ok());
    shutdown.request();
}

/// Panics when it is told something for the first time.
struct Fragile(AtomicBool);

impl Sink for Fragile {
    fn tell(&self, _: &Event) {
        assert!(self.0.swap(true, Ordering::SeqCst), "as this test wants it");
    }
}

#[test]
fn a_panic_in_the_devices_thread_is_not_the_end_of_its_chains() {
    let simulator = with_key();
    let fragile = Arc::new(Fragile(AtomicBool::new(false)));
    let sink: Arc<dyn Sink> = fragile.clone();
    let shutdown = Shutdown::new();
    let config = config(of(&simulator, LONG), 1, "password");
    let hsm = Hsm::start(&config, &sink, &shutdown).unwrap();
    let key = hsm.key(KEY, PATIENCE).unwrap();
    let raw = raw("a vote");
    let permit = RawPermit::for_raw_bytes(&raw);
    key.signer.sign(permit.sign_bytes()).unwrap();
    assert!(fragile.0.load(Ordering::SeqCst));
    shutdown.request();
}
