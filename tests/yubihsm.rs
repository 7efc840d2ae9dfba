//! Our YubiHSM2 client, against the simulator or, where `TMKMS_TEST_YUBIHSM` names one, a real device.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/yubihsm/mod.rs"]
mod simulator;
#[path = "support/yubihsm_target.rs"]
mod target;

use std::time::{Duration, Instant};

use k256::ecdsa::signature::hazmat::PrehashVerifier;
use simulator::{Fault, Options, Simulator, codes};
use target::{LONG, Target, credentials, of};
use tmkms::{
    crypto::{PublicKey, Signature},
    keyring::providers::yubihsm::{
        Adapter, Algorithm, Audit, Capabilities, Device, DeviceError, DeviceOption, Domains,
        Filter, Label, Lost, NewObject, ObjectId, ObjectType, StaticKeys, Status, TransportError,
        WrapForm, inspect,
    },
};

/// What the tests store on a real device has these numbers.
const KEY: ObjectId = 0x7a01;
const WRAP: ObjectId = 0x7a02;
const AUTH: ObjectId = 0x7a03;

fn object(id: ObjectId, capabilities: Capabilities) -> NewObject {
    NewObject {
        id,
        label: Label::new(target::LABEL),
        domains: Domains::ONE,
        capabilities,
    }
}

fn signing() -> Capabilities {
    Capabilities::SIGN_EDDSA
        .with(Capabilities::SIGN_ECDSA)
        .with(Capabilities::EXPORTABLE_UNDER_WRAP)
}

fn generate(device: &mut Device, id: ObjectId, algorithm: Algorithm) {
    let made = device.generate_asymmetric_key(&object(id, signing()), algorithm);
    assert_eq!(made.unwrap(), id);
}

fn delete(device: &mut Device, id: ObjectId, object_type: ObjectType) {
    device.delete_object(id, object_type).unwrap();
    assert!(device.object_info(id, object_type).unwrap().is_none());
}

fn simulated() -> (Simulator, Device) {
    let simulator = Simulator::start(Options::default());
    let device = open(&simulator, LONG);
    (simulator, device)
}

fn open(simulator: &Simulator, timeout: Duration) -> Device {
    let credentials = credentials(1, "password");
    Device::open(&of(simulator, timeout), None, &credentials).unwrap()
}

#[test]
fn an_ed25519_key_lives_from_its_making_to_its_return_from_a_backup() {
    let target = Target::any();
    let mut device = target.open();
    generate(&mut device, KEY, Algorithm::ED25519);
    let inspected = inspect(&mut device, KEY).unwrap();
    assert_eq!(inspected.info.label.text(), target::LABEL);
    assert_eq!(inspected.info.domains, Domains::ONE);
    assert_eq!(inspected.info.origin.to_string(), "generated");
    let signature = device.sign_eddsa(KEY, b"a vote").unwrap();
    let key = &inspected.public_key;
    assert!(key.verifies(b"a vote", &Signature::Ed25519(signature)));
    assert_eq!(device.sign_eddsa(KEY, b"a vote").unwrap(), signature);

    let taken = device.generate_asymmetric_key(&object(KEY, signing()), Algorithm::ED25519);
    assert_eq!(taken.unwrap_err().status(), Some(Status::ObjectExists));

    let wrapping = Capabilities::EXPORT_WRAPPED.with(Capabilities::IMPORT_WRAPPED);
    let wrap_key = object(WRAP, wrapping);
    let algorithm = Algorithm::AES256_CCM_WRAP;
    let put = device.put_wrap_key(&wrap_key, algorithm, Capabilities::ALL, &[7; 32]);
    assert_eq!(put.unwrap(), WRAP);
    let asymmetric = ObjectType::ASYMMETRIC_KEY;
    let mut forms = vec![WrapForm::Expanded];
    if device.info().is_at_least(2, 4) {
        // First: a key that came back in the other form has no seed any more.
        forms.insert(0, WrapForm::Seed);
    }
    for form in forms {
        let backup = device.export_wrapped(WRAP, asymmetric, KEY, form).unwrap();
        delete(&mut device, KEY, asymmetric);
        let back = device.import_wrapped(WRAP, &backup).unwrap();
        assert_eq!(back, (asymmetric, KEY));
        assert_eq!(inspect(&mut device, KEY).unwrap().public_key, *key);
        assert_eq!(device.sign_eddsa(KEY, b"a vote").unwrap(), signature);
    }
    delete(&mut device, WRAP, ObjectType::WRAP_KEY);
    delete(&mut device, KEY, asymmetric);
    device.close().unwrap();
}

#[test]
fn keys_that_were_made_elsewhere_are_the_same_in_the_device() {
    let target = Target::any();
    let mut device = target.open();
    let seed = [9; 32];
    let new = object(KEY + 0x10, signing());
    let put = device.put_asymmetric_key(&new, Algorithm::ED25519, &seed);
    assert_eq!(put.unwrap(), new.id);
    let expected = ed25519_dalek::SigningKey::from_bytes(&seed);
    let public = device.public_key(new.id).unwrap();
    assert_eq!(public.bytes, expected.verifying_key().as_bytes());
    delete(&mut device, new.id, ObjectType::ASYMMETRIC_KEY);

    let scalar = k256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap();
    let put = device.put_asymmetric_key(&new, Algorithm::EC_K256, &[5; 32]);
    assert_eq!(put.unwrap(), new.id);
    let public = device.public_key(new.id).unwrap();
    assert_eq!(public.algorithm, Algorithm::EC_K256);
    let point = scalar.verifying_key().to_encoded_point(false);
    assert_eq!(public.bytes, point.as_bytes()[1..]);
    for round in 0..8 {
        let hash = [round; 32];
        let signature = device.sign_ecdsa(new.id, &hash).unwrap();
        let signature = k256::ecdsa::Signature::from_slice(&signature).unwrap();
        assert!(signature.normalize_s().is_none(), "a high s");
        let verified = scalar.verifying_key().verify_prehash(&hash, &signature);
        verified.unwrap();
    }
    delete(&mut device, new.id, ObjectType::ASYMMETRIC_KEY);
}

#[test]
fn a_device_tells_of_itself_and_its_objects() {
    let target = Target::any();
    let mut device = target.open();
    assert_eq!(device.echo(b"still there?").unwrap(), b"still there?");
    let info = device.device_info().unwrap();
    assert_eq!(info.log_size, 62);
    assert!(info.algorithms.contains(&Algorithm::ED25519));
    assert_eq!(info.part.is_some(), info.is_at_least(2, 4));
    let storage = device.storage_info().unwrap();
    assert!(storage.free_records <= storage.total_records && storage.page_size > 0);
    assert_eq!(device.random(64).unwrap().len(), 64);
    assert_ne!(device.random(32).unwrap(), device.random(32).unwrap());
    device.blink(1).unwrap();

    let new = object(KEY + 0x20, Capabilities::NONE);
    let put = device.put_opaque(&new, Algorithm::OPAQUE_DATA, b"a report");
    assert_eq!(put.unwrap(), new.id);
    assert_eq!(device.get_opaque(new.id).unwrap(), b"a report");
    let all = device.list_objects(&Filter::default()).unwrap();
    let by_type = Filter {
        object_type: Some(ObjectType::OPAQUE),
        id: Some(new.id),
        ..Filter::default()
    };
    let some = device.list_objects(&by_type).unwrap();
    assert_eq!(some.len(), 1);
    assert!(all.len() >= 2 && all.contains(&some[0]));
    let other = Filter {
        label: Some(Label::new("no such label")),
        ..Filter::default()
    };
    assert!(device.list_objects(&other).unwrap().is_empty());
    delete(&mut device, new.id, ObjectType::OPAQUE);
}

#[test]
fn the_log_is_a_chain() {
    let target = Target::any();
    let mut device = target.open();
    let forced = device.get_option(DeviceOption::ForceAudit).unwrap();
    assert!(matches!(forced[..], [0..=2]), "{forced:?}");
    let mut log = device.log_entries().unwrap();
    assert!(!log.entries.is_empty());
    for pair in log.entries.windows(2) {
        assert!(pair[1].follows(&pair[0]));
    }
    if target.simulator.is_some() {
        let read = log.entries.pop().unwrap();
        device.set_log_index(read.number).unwrap();
        assert!(device.log_entries().unwrap().entries.len() < 3);
    }
}

#[test]
fn an_authentication_key_gets_another_password() {
    let target = Target::any();
    let mut admin = target.open();
    let capabilities = Capabilities::SIGN_EDDSA.with(Capabilities::CHANGE_AUTHENTICATION_KEY);
    let keys = |text: &str| StaticKeys::from_password(&target::password(text));
    let new = object(AUTH, capabilities);
    let put = admin.put_authentication_key(&new, Capabilities::NONE, &keys("one"));
    assert_eq!(put.unwrap(), AUTH);
    let open = |text| Device::open(&target.adapter, target.serial, &credentials(AUTH, text));
    // USB has one user at a time.
    drop(admin);
    let mut device = open("one").unwrap();
    let changed = device.change_authentication_key(AUTH, &keys("two"));
    assert_eq!(changed.unwrap(), AUTH);
    drop(device);
    let wrong = open("one").unwrap_err();
    assert!(
        matches!(wrong, DeviceError::WrongPassword { auth_key: AUTH }),
        "{wrong}"
    );
    drop(open("two").unwrap());
    delete(&mut target.open(), AUTH, ObjectType::AUTHENTICATION_KEY);
}

#[test]
fn a_hundred_sessions_in_a_row_leave_none_open() {
    let target = Target::any();
    for round in 0..100 {
        let mut device = target.open();
        device.echo(b"here").unwrap();
        match round % 2 {
            0 => drop(device),
            _ => device.close().unwrap(),
        }
    }
    if let Some(simulator) = &target.simulator {
        assert_eq!(simulator.device().open_sessions(), 0);
    }
}

#[test]
fn a_reset_leaves_what_the_factory_left() {
    let Some(target) = Target::to_be_erased() else {
        return;
    };
    let mut device = target.open();
    generate(&mut device, KEY, Algorithm::ED25519);
    device.reset().unwrap();
    let start = Instant::now();
    let mut device = loop {
        match target.try_open("password") {
            Ok(device) => break device,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(20), "{error}"),
        }
    };
    let all = device.list_objects(&Filter::default()).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].object_type, ObjectType::AUTHENTICATION_KEY);
}

#[test]
fn old_and_new_firmware_are_served() {
    for (firmware, longest) in [([2, 0, 0], 2048), ([2, 3, 2], 2048), ([2, 4, 1], 3136)] {
        let options = Options {
            firmware,
            ..Options::default()
        };
        let simulator = Simulator::start(options);
        let mut device = open(&simulator, LONG);
        let (major, minor, patch) = device.info().firmware;
        assert_eq!([major, minor, patch], firmware);
        assert_eq!(device.info().part.is_some(), firmware[1] >= 4);
        generate(&mut device, KEY, Algorithm::ED25519);
        // A session adds at most 28 bytes to a command, which has three and a key's number. Yubico's client keeps one byte free.
        let fits = vec![1; longest - 28 - 3 - 2 - 1];
        let signature = device.sign_eddsa(KEY, &fits).unwrap();
        let public = PublicKey::ed25519(&device.public_key(KEY).unwrap().bytes).unwrap();
        assert!(public.verifies(&fits, &Signature::Ed25519(signature)));
        let asked = simulator.device().asked.len();
        let error = device.sign_eddsa(KEY, &vec![1; longest]).unwrap_err();
        assert!(matches!(error, DeviceError::TooLong { .. }), "{error}");
        assert!(error.hint().unwrap().contains("vote extension"));
        assert_eq!(simulator.device().asked.len(), asked);
        assert!(device.echo(b"goes on").is_ok());
    }
}

#[test]
fn a_type_without_a_name_at_the_head_of_a_list_does_not_end_it() {
    let (simulator, mut device) = simulated();
    generate(&mut device, KEY, Algorithm::ED25519);
    simulator.device().list_begins_with_unknown = true;
    let all = device.list_objects(&Filter::default()).unwrap();
    assert!(all[0].object_type.to_string().starts_with("type 0x"));
    assert!(all.iter().any(|entry| entry.id == KEY));
}

#[test]
fn who_may_not_sign_is_told_which_capability_is_missing() {
    let (simulator, mut admin) = simulated();
    generate(&mut admin, KEY, Algorithm::ED25519);
    let keys = StaticKeys::from_password(&target::password("auditor"));
    let auditor = object(AUTH, Capabilities::GET_LOG_ENTRIES);
    let put = admin.put_authentication_key(&auditor, Capabilities::NONE, &keys);
    put.unwrap();
    let who = credentials(AUTH, "auditor");
    let mut device = Device::open(&of(&simulator, LONG), None, &who).unwrap();
    let error = device.sign_eddsa(KEY, b"a vote").unwrap_err();
    assert_eq!(error.status(), Some(Status::InsufficientPermissions));
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("0x7a03") && hint.contains("sign-eddsa"),
        "{hint}"
    );
    let problem = inspect(&mut device, KEY).unwrap_err().to_string();
    assert!(
        problem.contains("lacks the capability sign-eddsa"),
        "{problem}"
    );
}

#[test]
fn a_session_needs_the_right_device_key_and_password() {
    let simulator = Simulator::start(Options::default());
    let adapter = of(&simulator, LONG);
    let wrong = Device::open(&adapter, None, &credentials(1, "passw0rd")).unwrap_err();
    assert!(
        matches!(wrong, DeviceError::WrongPassword { .. }),
        "{wrong}"
    );
    let missing = Device::open(&adapter, None, &credentials(7, "password")).unwrap_err();
    assert_eq!(missing.status(), Some(Status::ObjectNotFound));
    assert!(missing.hint().unwrap().contains("0x0007"));
    let serial = "0000000007".parse().ok();
    let other = Device::open(&adapter, serial, &credentials(1, "password")).unwrap_err();
    assert!(matches!(other, DeviceError::WrongDevice { .. }), "{other}");
    let serial = simulator.serial().parse().ok();
    drop(Device::open(&adapter, serial, &credentials(1, "password")).unwrap());
}

#[test]
fn a_connector_that_is_not_there_or_has_no_device_is_told_apart() {
    let simulator = Simulator::start(Options::default());
    let target = Target::simulated(simulator);
    let simulator = target.simulator.as_ref().unwrap();
    simulator.unplug();
    let error = target.try_open("password").unwrap_err();
    assert!(
        matches!(
            &error,
            DeviceError::Transport(TransportError::HttpStatus { .. })
        ),
        "{error}"
    );
    simulator.plug();
    simulator.stop_connector();
    let error = target.try_open("password").unwrap_err();
    assert!(
        matches!(&error, DeviceError::Transport(TransportError::Connector(_))),
        "{error}"
    );
    assert!(error.is_transient() && error.hint().is_some());
    simulator.restart_connector();
    drop(target.open());
}

#[test]
fn a_connection_that_drops_ends_the_session_and_not_the_device() {
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let (simulator, mut device) = simulated();
        simulator.fault_on(codes::command::ECHO, fault);
        let error = device.echo(b"lost").unwrap_err();
        assert!(matches!(error, DeviceError::Transport(_)), "{error}");
        assert!(!device.is_alive());
        let error = device.echo(b"lost").unwrap_err();
        let reason = Lost::Earlier;
        assert_eq!(
            error.to_string(),
            DeviceError::SessionLost { reason }.to_string()
        );
        let mut device = open(&simulator, LONG);
        assert_eq!(device.echo(b"back").unwrap(), b"back");
    }
}

#[test]
fn a_connector_that_was_restarted_between_two_commands_is_not_noticed() {
    let (simulator, mut device) = simulated();
    device.echo(b"one").unwrap();
    simulator.restart_connector();
    assert_eq!(device.echo(b"two").unwrap(), b"two");
    simulator.drop_connections();
    assert_eq!(device.echo(b"three").unwrap(), b"three");
}

#[test]
fn an_answer_in_two_segments_is_whole() {
    let (simulator, mut device) = simulated();
    for _ in 0..3 {
        simulator.fault(Fault::TwoSegments);
        assert_eq!(device.random(1000).unwrap().len(), 1000);
    }
    assert_eq!(simulator.faults_left(), 0);
}

#[test]
fn no_answer_in_time_is_an_error_in_time() {
    let simulator = Simulator::start(Options::default());
    let mut device = open(&simulator, Duration::from_millis(200));
    simulator.fault(Fault::Delay(Duration::from_secs(3)));
    let start = Instant::now();
    let error = device.echo(b"late").unwrap_err();
    assert!(
        matches!(
            &error,
            DeviceError::Transport(TransportError::Timeout { .. })
        ),
        "{error}"
    );
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(150) && took < Duration::from_secs(1),
        "{took:?}"
    );
    assert!(error.is_transient() && error.leaves_it_open());
}

#[test]
fn a_wrong_mac_or_a_forgotten_session_is_a_lost_session() {
    let forgotten = Lost::Status(Status::InvalidSession);
    for (fault, reason) in [
        (Fault::WrongMac, Lost::Mac),
        (Fault::SessionLost, forgotten),
    ] {
        let (simulator, mut device) = simulated();
        simulator.fault_on(codes::command::ECHO, fault);
        let error = device.echo(b"?").unwrap_err();
        assert!(error.leaves_it_open() && error.is_transient());
        let expected = DeviceError::SessionLost { reason };
        assert_eq!(error.to_string(), expected.to_string());
    }
    let (simulator, mut device) = simulated();
    simulator.device().skip(Duration::from_secs(31));
    let error = device.echo(b"?").unwrap_err().to_string();
    assert!(error.contains("invalid session (0x03)"), "{error}");
}

#[test]
fn a_device_without_a_free_session_says_so_until_one_is_forgotten() {
    let simulator = Simulator::start(Options::default());
    simulator.device().occupy(16);
    let target = Target::simulated(simulator);
    let error = target.try_open("password").unwrap_err();
    assert_eq!(error.status(), Some(Status::SessionsFull));
    assert!(error.is_transient() && error.hint().unwrap().contains("16 sessions"));
    let simulator = target.simulator.as_ref().unwrap();
    simulator.device().skip(Duration::from_secs(31));
    drop(target.open());
}

#[test]
fn a_full_log_under_force_audit_is_named_and_freed_by_the_auditor() {
    let (simulator, mut device) = simulated();
    generate(&mut device, KEY, Algorithm::ED25519);
    let on = [Audit::On as u8];
    device.set_option(DeviceOption::ForceAudit, &on).unwrap();
    simulator.device().audit.fill();
    let error = device.sign_eddsa(KEY, b"a vote").unwrap_err();
    assert_eq!(error.status(), Some(Status::LogFull));
    assert!(error.to_string().contains("log full (0x0a)"), "{error}");
    assert!(error.hint().unwrap().contains("set-log-index"));
    assert!(error.is_transient() && !error.leaves_it_open());
    let read = device.log_entries().unwrap().entries.pop().unwrap();
    device.set_log_index(read.number).unwrap();
    device.sign_eddsa(KEY, b"a vote").unwrap();
}

#[test]
fn two_clients_do_not_disturb_each_other() {
    let (simulator, mut one) = simulated();
    let mut two = open(&simulator, LONG);
    generate(&mut one, KEY, Algorithm::ED25519);
    for _ in 0..20 {
        let first = one.sign_eddsa(KEY, b"a vote").unwrap();
        assert_eq!(two.sign_eddsa(KEY, b"a vote").unwrap(), first);
    }
}

#[test]
fn usb_without_usb_says_so_plainly() {
    if std::env::var_os("TMKMS_TEST_YUBIHSM").is_some() {
        return;
    }
    let adapter = Adapter::Usb { timeout: LONG };
    let serial = "0000000001".parse().ok();
    let error = Device::open(&adapter, serial, &credentials(1, "password")).unwrap_err();
    let DeviceError::Transport(error) = error else {
        panic!("{error}");
    };
    // On a machine with USB and without this device, and in a container without USB.
    let plain = matches!(
        error,
        TransportError::NoUsb | TransportError::NoDevice | TransportError::NotAmong { .. }
    );
    assert!(plain && error.hint().is_some(), "{error}");
}
