//! The simulator's state and troubles by name, for tests that are data (`tests/cli/`) and for the terminal.

use std::{fmt::Write as _, time::Duration};

use super::{
    Fault, Options, Simulator,
    codes::{Code, algorithm, capability, kind, option, origin},
    object::{Object, Secret, label},
    session::StaticKeys,
};

/// Options as `serial=NUMBER`, `firmware=2.3.2`, `latency=MILLISECONDS`, `reset=MILLISECONDS`.
pub fn options(words: &str) -> Options {
    let mut options = Options::default();
    for word in words.split_ascii_whitespace() {
        let (name, value) = word.split_once('=').expect("NAME=VALUE");
        match name {
            "serial" => options.serial = number(value),
            "latency" => options.latency = Duration::from_millis(number(value)),
            "reset" => options.reset_takes = Duration::from_millis(number(value)),
            "firmware" => {
                let parts: Vec<u8> = value.split('.').map(number).collect();
                options.firmware = parts.try_into().expect("three numbers");
            }
            _ => panic!("a simulator has no option {name}"),
        }
    }
    options
}

/// Makes one thing true or happen.
///
/// | words | |
/// |---|---|
/// | `auth ID PASSWORD CAPABILITIES` | an authentication key of domain 1 that hands on what it has: `sign-eddsa,get-log-entries`, `all`, `none` |
/// | `ed25519 ID BYTE`, `k256 ID BYTE` | a key of domain 1 from a seed of 32 such bytes, to sign and to export |
/// | `wrap ID BYTE` | a wrap key (AES-256) of domain 1 of 32 such bytes |
/// | `delete TYPE ID` | takes an object out |
/// | `log-full`, `log-empty` | the audit log under force audit; the second one switches it off |
/// | `sessions N` | another client opens N sessions |
/// | `skip SECONDS` | time passes |
/// | `unknown-object` | lists begin with an object of an unknown type |
/// | `false-public-keys` | public keys are those of other keys |
/// | `refuse COMMAND CODE` | from now on |
/// | `fault COMMAND NAME` | once: `drop-before`, `drop-after`, `two-segments`, `wrong-mac`, `session-lost`, `busy`, `pulled`, `code=CODE`, `delay=MILLISECONDS` |
/// | `fault-after N NAME` | once, to the message after N others |
/// | `unplug`, `plug`, `stop`, `restart` | the device; the connector |
pub fn apply(hsm: &Simulator, words: &str) {
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    match words[..] {
        ["auth", id, password, capabilities] => {
            hsm.device()
                .store(auth(number(id), password, capabilities_of(capabilities)));
        }
        ["ed25519", id, byte] => hsm.device().store(key(id, algorithm::ED25519, byte)),
        ["k256", id, byte] => hsm.device().store(key(id, algorithm::EC_K256, byte)),
        ["wrap", id, byte] => hsm.device().store(wrap(id, byte)),
        ["delete", kind, id] => {
            let (kind, id) = (number::<u8>(kind), number::<u16>(id));
            let mut device = hsm.device();
            assert!(device.object(kind, id).is_some(), "it is not there");
            device
                .objects
                .retain(|object| (object.kind, object.id) != (kind, id));
        }
        ["log-full"] => {
            let mut device = hsm.device();
            device.audit.force = option::ON;
            device.audit.fill();
        }
        ["log-empty"] => hsm.device().audit.force = option::OFF,
        ["sessions", count] => hsm.device().occupy(number(count)),
        ["skip", seconds] => hsm.device().skip(Duration::from_secs(number(seconds))),
        ["unknown-object"] => hsm.device().list_begins_with_unknown = true,
        ["false-public-keys"] => hsm.device().false_public_keys = true,
        ["refuse", command, code] => {
            hsm.device()
                .refused
                .insert(number(command), Code(number(code)));
        }
        ["fault", command, name] => hsm.fault_on(number(command), fault(name)),
        ["fault-after", count, name] => hsm.fault_after(number(count), fault(name)),
        ["unplug"] => hsm.unplug(),
        ["plug"] => hsm.plug(),
        ["stop"] => hsm.stop_connector(),
        ["restart"] => hsm.restart_connector(),
        _ => panic!("a simulator does not know {words:?}"),
    }
}

/// One line for each object: type, ID, label.
pub fn objects(hsm: &Simulator) -> String {
    let mut text = String::new();
    for object in &hsm.device().objects {
        let name = match object.kind {
            kind::OPAQUE => "opaque",
            kind::AUTHENTICATION_KEY => "authentication-key",
            kind::ASYMMETRIC_KEY => "asymmetric-key",
            kind::WRAP_KEY => "wrap-key",
            _ => "other",
        };
        let label = String::from_utf8_lossy(&object.label);
        let label = label.trim_end_matches('\0');
        writeln!(text, "{name} 0x{:04x} {label}", object.id).unwrap();
    }
    text
}

fn fault(name: &str) -> Fault {
    match name.split_once('=').unwrap_or((name, "")) {
        ("drop-before", _) => Fault::DropBefore,
        ("drop-after", _) => Fault::DropAfter,
        ("two-segments", _) => Fault::TwoSegments,
        ("wrong-mac", _) => Fault::WrongMac,
        ("session-lost", _) => Fault::SessionLost,
        ("busy", _) => Fault::Busy,
        ("pulled", _) => Fault::Pulled,
        ("code", code) => Fault::Code(number(code)),
        ("delay", time) => Fault::Delay(Duration::from_millis(number(time))),
        _ => panic!("a simulator has no fault {name}"),
    }
}

/// An authentication key of domain 1.
pub fn auth(id: u16, password: &str, capabilities: u64) -> Object {
    Object {
        id,
        kind: kind::AUTHENTICATION_KEY,
        algorithm: algorithm::AES128_YUBICO_AUTHENTICATION,
        domains: 1,
        capabilities,
        delegated: capabilities,
        sequence: 0,
        origin: origin::IMPORTED,
        label: label("of a test"),
        secret: Secret::Authentication(StaticKeys::from_password(password)),
    }
}

fn key(id: &str, algorithm: u8, byte: &str) -> Object {
    let secret = Secret::asymmetric(algorithm, &[number::<u8>(byte); 32]);
    let sign = match algorithm {
        algorithm::ED25519 => capability::SIGN_EDDSA,
        _ => capability::SIGN_ECDSA,
    };
    Object {
        id: number(id),
        kind: kind::ASYMMETRIC_KEY,
        algorithm,
        domains: 1,
        capabilities: sign | capability::EXPORTABLE_UNDER_WRAP,
        delegated: 0,
        sequence: 0,
        origin: origin::IMPORTED,
        label: label("of a test"),
        secret: secret.unwrap_or_else(|code| panic!("not such a key: {code:?}")),
    }
}

fn wrap(id: &str, byte: &str) -> Object {
    let algorithm = algorithm::AES256_CCM_WRAP;
    let secret = Secret::wrap(algorithm, &[number::<u8>(byte); 32]);
    Object {
        id: number(id),
        kind: kind::WRAP_KEY,
        algorithm,
        domains: 1,
        capabilities: capability::EXPORT_WRAPPED | capability::IMPORT_WRAPPED,
        delegated: capability::ALL,
        sequence: 0,
        origin: origin::IMPORTED,
        label: label("of a test"),
        secret: secret.unwrap_or_else(|code| panic!("not such a key: {code:?}")),
    }
}

/// As `yubihsm-shell` spells them.
pub fn capabilities_of(names: &str) -> u64 {
    names
        .split(',')
        .fold(0, |set, name| set | capability_of(name))
}

fn capability_of(name: &str) -> u64 {
    match name {
        "none" => 0,
        "all" => capability::ALL,
        "get-opaque" => capability::GET_OPAQUE,
        "put-opaque" => capability::PUT_OPAQUE,
        "put-authentication-key" => capability::PUT_AUTHENTICATION_KEY,
        "put-asymmetric-key" => capability::PUT_ASYMMETRIC_KEY,
        "generate-asymmetric-key" => capability::GENERATE_ASYMMETRIC_KEY,
        "sign-ecdsa" => capability::SIGN_ECDSA,
        "sign-eddsa" => capability::SIGN_EDDSA,
        "export-wrapped" => capability::EXPORT_WRAPPED,
        "import-wrapped" => capability::IMPORT_WRAPPED,
        "put-wrap-key" => capability::PUT_WRAP_KEY,
        "generate-wrap-key" => capability::GENERATE_WRAP_KEY,
        "exportable-under-wrap" => capability::EXPORTABLE_UNDER_WRAP,
        "set-option" => capability::SET_OPTION,
        "get-option" => capability::GET_OPTION,
        "get-pseudo-random" => capability::GET_PSEUDO_RANDOM,
        "get-log-entries" => capability::GET_LOG_ENTRIES,
        "reset-device" => capability::RESET_DEVICE,
        "delete-opaque" => capability::DELETE_OPAQUE,
        "delete-authentication-key" => capability::DELETE_AUTHENTICATION_KEY,
        "delete-asymmetric-key" => capability::DELETE_ASYMMETRIC_KEY,
        "delete-wrap-key" => capability::DELETE_WRAP_KEY,
        "change-authentication-key" => capability::CHANGE_AUTHENTICATION_KEY,
        _ => panic!("no capability of the simulator is called {name}"),
    }
}

/// Decimal, or hexadecimal behind `0x`.
fn number<T: TryFrom<u64>>(text: &str) -> T {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    let number = number.unwrap_or_else(|_| panic!("{text:?} is no number"));
    T::try_from(number).unwrap_or_else(|_| panic!("{text} is too large"))
}
