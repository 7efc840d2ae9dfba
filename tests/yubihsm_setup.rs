//! Setting a YubiHSM2 up, on the wire: what it makes, and what is left when anything fails at any point.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends by panicking"
)]

#[path = "support/yubihsm/mod.rs"]
mod simulator;
#[path = "support/yubihsm_target.rs"]
mod target;

use std::{sync::Mutex, thread, time::Duration};

use simulator::{
    Fault, Options, Simulator,
    codes::{INSUFFICIENT_PERMISSIONS, STORAGE_FAILED, command, kind},
};
use target::Target;
use tmkms::keyring::providers::yubihsm::{
    Adapter, Algorithm, Capabilities, Credentials, Device, DeviceError, Domains, Label, NewObject,
    ObjectType, Password, SerialNumber, StaticKeys, Status,
    setup::{
        Left, PRIMARY_WRAP_KEY, Phrase, Progress, Provision, Report, Role, SetupError,
        TEMPORARY_KEY, WrapKey, login, new_device, temporary,
    },
};
use zeroize::Zeroizing;

const STAMP: &str = "2026-11-25T07:45:24Z";

fn phrase() -> Phrase {
    Phrase::parse(&("abandon ".repeat(23) + "art")).unwrap()
}

fn open(hsm: &Simulator, credentials: &Credentials) -> Result<Device, DeviceError> {
    let adapter = Adapter::Http {
        host: hsm.addr().ip().to_string(),
        port: hsm.addr().port(),
        timeout: Duration::from_secs(5),
    };
    Device::open(&adapter, None, credentials)
}

/// Opens a session with the device of a test that a real one can have.
fn on(target: &Target, credentials: &Credentials) -> Result<Device, DeviceError> {
    Device::open(&target.adapter, target.serial, credentials)
}

fn log_in(hsm: &Simulator, role: Role) -> Device {
    open(hsm, &login(&phrase(), role)).unwrap()
}

/// What is derived from passwords: once, since that is most of the work.
struct Kit {
    ways: [Credentials; 3],
    provision: Provision,
}

impl Kit {
    fn new(second: Option<WrapKey>) -> Self {
        let phrase = phrase();
        let report = Report::new(SerialNumber(12_345_678), None, None, STAMP).unwrap();
        Self {
            ways: [
                login(&phrase, Role::Admin),
                temporary(&phrase),
                new_device(),
            ],
            provision: Provision::new(&phrase, second, report, STAMP),
        }
    }

    /// Sets a device up from whatever opens it, as the command does.
    fn set_up(&self, hsm: &Simulator) -> Result<Vec<Progress>, SetupError> {
        let (way, session) = self
            .ways
            .iter()
            .find_map(|way| Some((way, open(hsm, way).ok()?)))
            .expect("no key opens the device");
        let mut seen = Vec::new();
        self.provision.run(
            session,
            &|| open(hsm, way),
            &|credentials| open(hsm, credentials),
            &mut |progress| seen.push(progress),
        )?;
        Ok(seen)
    }
}

fn set_up(hsm: &Simulator) -> Result<Vec<Progress>, SetupError> {
    Kit::new(None).set_up(hsm)
}

/// Type, ID and label of every object.
fn objects(hsm: &Simulator) -> Vec<(u8, u16, String)> {
    let device = hsm.device();
    let label = |label: &[u8]| {
        String::from_utf8_lossy(label)
            .trim_end_matches('\0')
            .to_owned()
    };
    device
        .objects
        .iter()
        .map(|object| (object.kind, object.id, label(&object.label)))
        .collect()
}

fn has_temporary_key(hsm: &Simulator) -> bool {
    hsm.device()
        .object(kind::AUTHENTICATION_KEY, TEMPORARY_KEY)
        .is_some()
}

fn expected_objects() -> Vec<(u8, u16, String)> {
    let named = |kind, id, name: &str| (kind, id, format!("{name}:{STAMP}"));
    vec![
        named(kind::AUTHENTICATION_KEY, 1, "admin"),
        named(kind::WRAP_KEY, 1, "primary"),
        named(kind::AUTHENTICATION_KEY, 2, "operator"),
        named(kind::AUTHENTICATION_KEY, 3, "auditor"),
        named(kind::AUTHENTICATION_KEY, 4, "validator"),
        (kind::OPAQUE, 0xfffe, "tmkms setup report".into()),
    ]
}

fn key(id: u16, capabilities: Capabilities) -> NewObject {
    NewObject {
        id,
        label: Label::new("a key"),
        domains: Domains::ONE,
        capabilities,
    }
}

/// What comes back when a role does what it may not.
fn refused<T: std::fmt::Debug>(result: Result<T, DeviceError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(
        error.status(),
        Some(Status::InsufficientPermissions),
        "{error}"
    );
    error.hint().unwrap()
}

#[test]
fn a_new_device_gets_roles_wrap_keys_and_a_report_and_nothing_else() {
    let hsm = Simulator::start(Options::default());
    let second = WrapKey(Zeroizing::new([7; 32]));
    let seen = Kit::new(Some(second)).set_up(&hsm).unwrap();
    assert_eq!(seen.first(), Some(&Progress::Erased));
    assert_eq!(seen.last(), Some(&Progress::Reported));
    let mut expected = expected_objects();
    expected.insert(3, (kind::WRAP_KEY, 2, format!("second:{STAMP}")));
    assert_eq!(objects(&hsm), expected);
    // Not even of the admin's password, which was tried before there was an admin.
    assert_eq!(hsm.device().open_sessions(), 0);
    let report = log_in(&hsm, Role::Auditor).get_opaque(0xfffe).unwrap();
    assert!(String::from_utf8(report).unwrap().contains(&hsm.serial()));
    // The factory's password opens nothing any more.
    assert!(open(&hsm, &new_device()).is_err());
}

#[test]
fn everything_that_was_on_the_device_is_gone() {
    let hsm = Simulator::start(Options::default());
    let mut device = open(&hsm, &new_device()).unwrap();
    device
        .generate_asymmetric_key(&key(7, Capabilities::SIGN_EDDSA), Algorithm::ED25519)
        .unwrap();
    drop(device);
    set_up(&hsm).unwrap();
    assert_eq!(objects(&hsm), expected_objects());
}

#[test]
fn each_role_can_do_its_work_and_what_it_may_not_is_refused_with_the_capability_named() {
    let Some(target) = Target::to_be_erased() else {
        return;
    };
    let log_in = |role| on(&target, &login(&phrase(), role)).unwrap();
    let kit = Kit::new(None);
    let open = |credentials: &Credentials| on(&target, credentials);
    let session = open(&new_device()).unwrap();
    let run = kit
        .provision
        .run(session, &|| open(&new_device()), &open, &mut |_| {});
    run.unwrap();
    let exportable = Capabilities::SIGN_EDDSA.with(Capabilities::EXPORTABLE_UNDER_WRAP);

    let mut operator = log_in(Role::Operator);
    operator
        .generate_asymmetric_key(&key(7, exportable), Algorithm::ED25519)
        .unwrap();
    operator
        .put_asymmetric_key(&key(8, exportable), Algorithm::ED25519, &[8; 32])
        .unwrap();
    let wrapped = operator
        .export_wrapped(
            PRIMARY_WRAP_KEY,
            ObjectType::ASYMMETRIC_KEY,
            7,
            Default::default(),
        )
        .unwrap();
    assert!(refused(operator.sign_eddsa(7, b"vote")).contains("sign-eddsa"));
    refused(operator.delete_object(7, ObjectType::ASYMMETRIC_KEY));
    assert!(refused(operator.reset()).contains("reset-device"));

    let mut validator = log_in(Role::Validator);
    validator.sign_eddsa(7, b"vote").unwrap();
    let new = key(9, Capabilities::SIGN_EDDSA);
    let answer = validator.generate_asymmetric_key(&new, Algorithm::ED25519);
    assert!(refused(answer).contains("generate-asymmetric-key"));
    let form = Default::default();
    let answer = validator.export_wrapped(PRIMARY_WRAP_KEY, ObjectType::ASYMMETRIC_KEY, 7, form);
    // It does not even see the wrap key's capability: neither key nor domain would help.
    assert!(refused(answer).contains("export-wrapped"));

    let mut auditor = log_in(Role::Auditor);
    auditor.log_entries().unwrap();
    assert!(refused(auditor.sign_eddsa(7, b"vote")).contains("sign-eddsa"));
    let answer = auditor.import_wrapped(PRIMARY_WRAP_KEY, &wrapped);
    assert!(refused(answer).contains("import-wrapped"));

    let mut admin = log_in(Role::Admin);
    admin.delete_object(7, ObjectType::ASYMMETRIC_KEY).unwrap();
    let back = log_in(Role::Operator).import_wrapped(PRIMARY_WRAP_KEY, &wrapped);
    assert_eq!(back.unwrap(), (ObjectType::ASYMMETRIC_KEY, 7));
    // A device that was lent goes back as it came from the factory.
    admin.reset().unwrap();
}

/// How many messages a set-up takes.
fn messages() -> usize {
    let hsm = Simulator::start(Options::default());
    set_up(&hsm).unwrap();
    hsm.device().asked.len()
}

/// Runs a check for every number of a range, on two threads: most of the time goes into the derivation of session keys.
fn for_each(numbers: impl Iterator<Item = usize> + Send, check: impl Fn(usize) + Sync) {
    let numbers = Mutex::new(numbers);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(number) = numbers.lock().unwrap().next() else {
                        return;
                    };
                    check(number);
                }
            });
        }
    });
}

/// The message with this number has this fault.
fn fault_at(hsm: &Simulator, number: usize, fault: Fault) {
    for _ in 0..number {
        hsm.fault(Fault::Delay(Duration::ZERO));
    }
    hsm.fault(fault);
}

#[test]
fn one_fault_at_any_message_leaves_a_device_that_is_set_up_and_has_no_temporary_key() {
    let kit = Kit::new(None);
    // The first eleven find out how to log in.
    for_each(11..messages(), |number| {
        for fault in [Fault::DropBefore, Fault::DropAfter, Fault::SessionLost] {
            let hsm = Simulator::start(Options::default());
            fault_at(&hsm, number, fault);
            let result = kit.set_up(&hsm);
            assert!(!has_temporary_key(&hsm), "{fault:?} at {number}");
            assert!(result.is_ok(), "{fault:?} at {number}: {result:?}");
            assert_eq!(objects(&hsm), expected_objects(), "{fault:?} at {number}");
        }
    });
}

#[test]
fn one_refusal_at_any_message_leaves_a_device_without_a_temporary_key_and_says_how() {
    let kit = Kit::new(None);
    for_each((11..messages()).step_by(2), |number| {
        let hsm = Simulator::start(Options::default());
        fault_at(&hsm, number, Fault::Code(INSUFFICIENT_PERMISSIONS.0));
        let left = kit.set_up(&hsm).map_err(|error| error.left);
        assert!(!has_temporary_key(&hsm), "at {number}");
        match left {
            Ok(_) => assert_eq!(objects(&hsm), expected_objects(), "at {number}"),
            Err(Left::Untouched) => drop(open(&hsm, &new_device()).unwrap()),
            Err(Left::WithAdmin) => drop(log_in(&hsm, Role::Admin)),
            Err(Left::Unknown) => panic!("the device was there: at {number}"),
        }
    });
}

#[test]
fn a_device_that_vanishes_at_any_message_is_taken_up_by_the_next_run() {
    let kit = Kit::new(None);
    for_each((11..messages()).step_by(3), |number| {
        let hsm = Simulator::start(Options::default());
        fault_at(&hsm, number, Fault::DropBefore);
        // It stays away for longer than anybody waits.
        for _ in 0..1_000 {
            hsm.fault(Fault::DropBefore);
        }
        match kit.set_up(&hsm) {
            Err(failed) => assert_eq!(failed.left, Left::Unknown, "at {number}"),
            // Only the last session could not be closed.
            Ok(_) => assert_eq!(objects(&hsm), expected_objects(), "at {number}"),
        }
        hsm.clear_faults();
        kit.set_up(&hsm).unwrap();
        assert_eq!(objects(&hsm), expected_objects(), "at {number}");
    });
}

#[test]
fn a_command_that_is_refused_for_good_ends_without_a_temporary_key_and_says_how_the_device_was_left()
 {
    for (refusing, left) in [
        (command::RESET_DEVICE, Left::Untouched),
        (command::PUT_WRAP_KEY, Left::WithAdmin),
        (command::PUT_OPAQUE, Left::WithAdmin),
    ] {
        let hsm = Simulator::start(Options::default());
        hsm.device()
            .refused
            .insert(refusing, INSUFFICIENT_PERMISSIONS);
        let error = set_up(&hsm).expect_err("refused");
        assert_eq!(error.left, left, "{error}");
        assert!(!has_temporary_key(&hsm));
    }
}

#[test]
fn a_full_storage_in_the_middle_is_told_and_leaves_the_admin() {
    let hsm = Simulator::start(Options::default());
    hsm.device()
        .refused
        .insert(command::PUT_OPAQUE, STORAGE_FAILED);
    let error = set_up(&hsm).expect_err("no room for the report");
    assert_eq!(error.left, Left::WithAdmin);
    assert!(error.to_string().contains("report"), "{error}");
    log_in(&hsm, Role::Admin);
}

#[test]
fn the_temporary_key_of_a_try_with_another_phrase_goes_with_the_reset() {
    let hsm = Simulator::start(Options::default());
    let mut device = open(&hsm, &new_device()).unwrap();
    let temporary = NewObject {
        id: TEMPORARY_KEY,
        label: Label::new("of another phrase"),
        domains: Domains::ALL,
        capabilities: Capabilities::ALL,
    };
    let other = Password::new(Zeroizing::new("of another phrase".to_owned()));
    let keys = StaticKeys::from_password(&other);
    device
        .put_authentication_key(&temporary, Capabilities::ALL, &keys)
        .unwrap();
    drop(device);
    set_up(&hsm).unwrap();
    assert_eq!(objects(&hsm), expected_objects());
}
