//! The YubiHSM2 simulator of `tests/support/yubihsm`, proved by clients that we did not write.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends by panicking"
)]

#[path = "support/yubihsm/mod.rs"]
mod simulator;
mod support;

use std::{
    env,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use ccm::{
    KeyInit,
    aead::Aead,
    consts::{U13, U16},
};
use curve25519_dalek::Scalar;
use sha2::{Digest, Sha512};
use simulator::{
    Fault, Options, Simulator,
    codes::{self, command, kind},
    object::{Object, Secret},
};
use yubihsm::{
    Capability, Client, Connector, Credentials, Domain, HttpConfig, asymmetric, object, opaque,
    wrap,
};

fn client(hsm: &Simulator) -> Client {
    let config = HttpConfig {
        addr: hsm.addr().ip().to_string(),
        port: hsm.addr().port(),
        ..HttpConfig::default()
    };
    Client::open(Connector::http(&config), Credentials::default(), false).unwrap()
}

fn generate(client: &Client, id: u16, capability: Capability, algorithm: asymmetric::Algorithm) {
    let label = object::Label::from_bytes(b"a key").unwrap();
    let capabilities = capability | Capability::EXPORTABLE_UNDER_WRAP;
    let made = client.generate_asymmetric_key(id, label, Domain::DOM1, capabilities, algorithm);
    assert_eq!(made.unwrap(), id);
}

fn put_wrap_key(client: &Client, key: Vec<u8>) {
    client
        .put_wrap_key(
            1,
            object::Label::from_bytes(b"wrap").unwrap(),
            Domain::all(),
            Capability::EXPORT_WRAPPED | Capability::IMPORT_WRAPPED,
            Capability::all(),
            wrap::Algorithm::Aes256Ccm,
            key,
        )
        .unwrap();
}

#[test]
fn the_crates_client_takes_a_key_through_its_life() {
    let hsm = Simulator::start(Options::default());
    let client = client(&hsm);
    assert_eq!(
        client.device_info().unwrap().serial_number.to_string(),
        hsm.serial()
    );

    generate(
        &client,
        7,
        Capability::SIGN_EDDSA,
        asymmetric::Algorithm::Ed25519,
    );
    let public = client.get_public_key(7).unwrap();
    let public: [u8; 32] = public.as_ref().try_into().unwrap();
    let signature = client.sign_ed25519(7, b"a vote".as_slice()).unwrap();
    let verifying = ed25519_dalek::VerifyingKey::from_bytes(&public).unwrap();
    let signature = ed25519_dalek::Signature::from_bytes(&signature.to_bytes());
    verifying.verify_strict(b"a vote", &signature).unwrap();

    put_wrap_key(&client, vec![7; 32]);
    let backup = client
        .export_wrapped(1, object::Type::AsymmetricKey, 7)
        .unwrap();
    client
        .delete_object(7, object::Type::AsymmetricKey)
        .unwrap();
    assert!(
        client
            .get_object_info(7, object::Type::AsymmetricKey)
            .is_err()
    );
    let back = client.import_wrapped(1, backup).unwrap();
    assert_eq!(
        (back.object_type, back.object_id),
        (object::Type::AsymmetricKey, 7)
    );
    let again = client.sign_ed25519(7, b"a vote".as_slice()).unwrap();
    assert_eq!(again.to_bytes(), signature.to_bytes());

    let listed = client.list_objects(&[]).unwrap();
    let ids: Vec<u16> = listed.iter().map(|entry| entry.object_id).collect();
    assert_eq!(ids, [1, 1, 7]);
}

/// Yubico's own client takes a key through its whole life: `tests/interop/yubihsm/life.py`.
fn python_takes_a_key_through_its_life(firmware: [u8; 3]) {
    let python = match support::python::environment("tests/interop/yubihsm/requirements.txt") {
        Ok(python) => python,
        Err(why) => return support::skip("Yubico's Python client", &why),
    };
    let hsm = Simulator::start(Options {
        firmware,
        ..Options::default()
    });
    live(&python, &hsm.url(), &hsm.serial());
    assert_eq!(hsm.device().open_sessions(), 0, "the reset ended them all");
    // The same on hardware, where a connector has some that may be erased: what differs is a fault of the simulator. One firmware
    // is what it has, so one test does this: two at a time would erase each other's keys.
    if firmware == NEWEST
        && let Ok(url) = env::var("TMKMS_TEST_YUBIHSM")
        && url.starts_with("http://")
        && let Ok(serial) = env::var("TMKMS_TEST_YUBIHSM_ERASE")
    {
        live(&python, &url, &serial);
    }
}

const NEWEST: [u8; 3] = [2, 4, 1];

fn live(python: &Path, url: &str, serial: &str) {
    let life = "tests/interop/yubihsm/life.py";
    let output = support::python::run_script(python, life, &[url, serial]);
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}");
    assert!(said.ends_with("the end\n"), "{said}");
}

#[test]
fn yubicos_client_takes_a_key_through_its_life() {
    python_takes_a_key_through_its_life(NEWEST);
}

#[test]
fn yubicos_client_takes_a_key_through_its_life_on_older_firmware() {
    python_takes_a_key_through_its_life([2, 3, 2]);
}

/// One request on a connection of its own, and all that came back.
fn exchange(hsm: &Simulator, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(hsm.addr())?;
    stream.write_all(request)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(reply)
}

fn get(hsm: &Simulator, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    String::from_utf8(exchange(hsm, request.as_bytes()).unwrap()).unwrap()
}

/// The body of what `POST /connector/api` answers; the headers' names are spelled as nobody spells them.
fn post(hsm: &Simulator, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = message.len();
    let mut request = format!(
        "POST /connector/api HTTP/1.1\r\nhost: x\r\ncontent-LENGTH: {length}\r\nconnection: close\r\n\r\n"
    )
    .into_bytes();
    request.extend(message);
    let reply = exchange(hsm, &request)?;
    let body = reply.windows(4).position(|four| four == b"\r\n\r\n");
    let body = body.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    if !reply.starts_with(b"HTTP/1.1 200 ") {
        let line = String::from_utf8_lossy(&reply[..body]).into_owned();
        return Err(std::io::Error::other(line));
    }
    Ok(reply[body + 4..].to_vec())
}

const ECHO: [u8; 7] = [0x01, 0, 4, b'e', b'c', b'h', b'o'];
const ECHOED: [u8; 7] = [0x81, 0, 4, b'e', b'c', b'h', b'o'];

#[test]
fn the_connector_speaks_as_yubicos_does() {
    let hsm = Simulator::start(Options::default());
    let port = hsm.addr().port();
    let status = get(&hsm, "/connector/status");
    let lines: Vec<&str> = status.lines().collect();
    let body = &lines[lines.iter().position(|line| line.is_empty()).unwrap() + 1..];
    let pid = format!("pid={}", std::process::id());
    let port = format!("port={port}");
    let expected = [
        "status=OK",
        "serial=*",
        "version=3.0.5",
        &pid,
        "address=127.0.0.1",
        &port,
    ];
    assert_eq!(body, expected);

    assert!(get(&hsm, "/connector/api").starts_with("HTTP/1.1 405 "));
    assert!(get(&hsm, "/elsewhere").starts_with("HTTP/1.1 404 "));
    for (length, expected) in [
        (2, "400"),
        (3, "200"),
        (3_139, "200"),
        (3_140, "400"),
        (1 << 20, "400"),
    ] {
        let message = vec![0; length];
        let error = post(&hsm, &message).err().map(|error| error.to_string());
        let line = error.unwrap_or_else(|| "HTTP/1.1 200".into());
        assert!(line.contains(expected), "{length}: {line}");
    }
    // A length that is not the payload's, a command that is none, and one that needs a session.
    for (message, code) in [
        (&[0x01, 0, 9][..], 8),
        (&[0x02, 0, 0], 1),
        (&[0x48, 0, 0], 1),
    ] {
        assert_eq!(post(&hsm, message).unwrap(), [0x7f, 0, 1, code]);
    }
}

#[test]
fn a_message_is_dropped_before_or_after_the_device_has_it() {
    let hsm = Simulator::start(Options::default());
    hsm.fault(Fault::DropBefore);
    assert!(post(&hsm, &ECHO).is_err());
    assert_eq!(hsm.device().count(command::ECHO), 0);
    hsm.fault(Fault::DropAfter);
    assert!(post(&hsm, &ECHO).is_err());
    assert_eq!(hsm.device().count(command::ECHO), 1);
    hsm.fault(Fault::Busy);
    assert!(post(&hsm, &ECHO).unwrap_err().to_string().contains("500"));
    // A fault waits for its command.
    hsm.fault_on(command::DEVICE_INFO, Fault::DropBefore);
    assert_eq!(post(&hsm, &ECHO).unwrap(), ECHOED);
    assert_eq!(hsm.faults_left(), 1);
}

#[test]
fn a_response_comes_in_two_segments_or_late() {
    let hsm = Simulator::start(Options::default());
    hsm.fault(Fault::TwoSegments);
    assert_eq!(post(&hsm, &ECHO).unwrap(), ECHOED);
    hsm.fault(Fault::Delay(Duration::from_millis(60)));
    let asked = Instant::now();
    assert_eq!(post(&hsm, &ECHO).unwrap(), ECHOED);
    assert!(asked.elapsed() >= Duration::from_millis(60));
}

#[test]
fn a_connector_that_is_restarted_has_the_same_port_and_the_same_device() {
    let hsm = Simulator::start(Options::default());
    let mut connection = TcpStream::connect(hsm.addr()).unwrap();
    hsm.device().occupy(3);
    hsm.stop_connector();
    assert_eq!(connection.read(&mut [0]).unwrap_or(0), 0, "it was cut");
    assert!(post(&hsm, &ECHO).is_err());
    hsm.restart_connector();
    assert_eq!(post(&hsm, &ECHO).unwrap(), ECHOED);
    assert_eq!(hsm.device().open_sessions(), 3);
}

#[test]
fn a_device_that_was_pulled_comes_back_without_its_sessions() {
    let hsm = Simulator::start(Options::default());
    let client = client(&hsm);
    generate(
        &client,
        7,
        Capability::SIGN_EDDSA,
        asymmetric::Algorithm::Ed25519,
    );
    hsm.unplug();
    assert!(get(&hsm, "/connector/status").contains("status=NO_DEVICE"));
    assert!(post(&hsm, &ECHO).unwrap_err().to_string().contains("500"));
    hsm.plug();
    assert_eq!(hsm.device().open_sessions(), 0);
    assert!(hsm.device().object(kind::ASYMMETRIC_KEY, 7).is_some());
}

#[test]
fn a_device_is_away_for_a_while_after_a_reset() {
    let hsm = Simulator::start(Options {
        reset_takes: Duration::from_secs(3),
        ..Options::default()
    });
    client(&hsm).reset_device().unwrap();
    assert!(post(&hsm, &ECHO).unwrap_err().to_string().contains("500"));
    hsm.device().skip(Duration::from_secs(3));
    assert_eq!(post(&hsm, &ECHO).unwrap(), ECHOED);
}

#[test]
fn a_fault_can_wait_for_a_later_message() {
    let hsm = Simulator::start(Options::default());
    hsm.fault_after(2, Fault::Pulled);
    for _ in 0..2 {
        assert_eq!(post(&hsm, &ECHO).unwrap(), ECHOED);
    }
    for _ in 0..2 {
        assert!(post(&hsm, &ECHO).is_err());
    }
    hsm.plug();
    assert_eq!(post(&hsm, &ECHO).unwrap(), ECHOED);
}

#[test]
fn a_session_ends_after_thirty_seconds_without_use_and_not_before() {
    let hsm = Simulator::start(Options::default());
    let client = client(&hsm);
    for _ in 0..3 {
        hsm.device().skip(Duration::from_secs(29));
        client.device_info().unwrap();
    }
    assert_eq!(hsm.device().open_sessions(), 1);
    hsm.device().skip(Duration::from_secs(30));
    assert_eq!(hsm.device().open_sessions(), 0);
    assert!(client.device_info().is_err());
}

#[test]
fn a_second_client_can_hold_every_session() {
    let hsm = Simulator::start(Options::default());
    hsm.device().occupy(16);
    let create = [0x03, 0, 10, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(post(&hsm, &create).unwrap(), [0x7f, 0, 1, 0x05]);
    hsm.device().skip(Duration::from_secs(30));
    let reply = post(&hsm, &create).unwrap();
    assert_eq!((reply[0], reply.len()), (0x83, 3 + 17));
}

#[test]
fn a_session_can_be_lost_or_its_answers_falsified() {
    let hsm = Simulator::start(Options::default());
    for fault in [Fault::SessionLost, Fault::WrongMac, Fault::Code(0x07)] {
        let client = client(&hsm);
        generate(
            &client,
            7,
            Capability::SIGN_EDDSA,
            asymmetric::Algorithm::Ed25519,
        );
        hsm.fault_on(command::SIGN_EDDSA, fault);
        assert!(
            client.sign_ed25519(7, b"x".as_slice()).is_err(),
            "{fault:?}"
        );
        assert_eq!(hsm.faults_left(), 0);
        hsm.device().reset();
    }
    let client = client(&hsm);
    generate(
        &client,
        7,
        Capability::SIGN_EDDSA,
        asymmetric::Algorithm::Ed25519,
    );
    let right = client.get_public_key(7).unwrap();
    hsm.device().false_public_keys = true;
    assert_ne!(client.get_public_key(7).unwrap().as_ref(), right.as_ref());
    hsm.device()
        .refused
        .insert(command::SIGN_EDDSA, codes::INSUFFICIENT_PERMISSIONS);
    assert!(client.sign_ed25519(7, b"x".as_slice()).is_err());
}

/// `devices.md` names it: the crate's own list ends silently at such an object, Yubico's goes on.
#[test]
fn a_list_can_begin_with_an_object_of_an_unknown_type() {
    let hsm = Simulator::start(Options::default());
    let client = client(&hsm);
    assert_eq!(client.list_objects(&[]).unwrap().len(), 1);
    hsm.device().list_begins_with_unknown = true;
    assert!(
        client
            .list_objects(&[])
            .map_or(true, |list| list.is_empty())
    );
}

#[test]
fn a_full_log_under_force_audit_stops_what_would_be_logged_and_counts_what_it_cannot() {
    let hsm = Simulator::start(Options::default());
    let client = client(&hsm);
    generate(
        &client,
        7,
        Capability::SIGN_EDDSA,
        asymmetric::Algorithm::Ed25519,
    );
    {
        let mut device = hsm.device();
        device.audit.force = codes::option::ON;
        device.audit.fill();
    }
    assert!(client.sign_ed25519(7, b"x".as_slice()).is_err());
    hsm.plug();
    let client = self::client(&hsm);
    let log = client.get_log_entries().unwrap();
    assert_eq!((log.unlogged_boot_events, log.unlogged_auth_events), (1, 1));
    assert_eq!(log.entries.len(), 62);
    client.set_log_index(log.entries[61].item).unwrap();
    client.sign_ed25519(7, b"x".as_slice()).unwrap();
}

#[test]
fn a_device_holds_256_objects() {
    let hsm = Simulator::start(Options::default());
    let client = client(&hsm);
    let put = |id: u16| {
        let label = object::Label::from_bytes(b"x").unwrap();
        client.put_opaque(
            id,
            label,
            Domain::DOM1,
            Capability::empty(),
            opaque::Algorithm::Data,
            vec![1],
        )
    };
    for id in 1..=255 {
        assert_eq!(put(id).unwrap(), id);
    }
    assert_eq!(client.get_storage_info().unwrap().free_records, 0);
    assert!(put(0).is_err());
    client.delete_object(9, object::Type::Opaque).unwrap();
    assert_ne!(put(0).unwrap(), 0);
}

/// A backup outlives the device that made it: its bytes are those of the documents, read here with nothing but the wrap key.
#[test]
fn a_wrapped_key_has_the_layout_of_the_documents() {
    let hsm = Simulator::start(Options::default());
    let client = client(&hsm);
    let seed = [0x5a; 32];
    let capabilities = Capability::SIGN_EDDSA | Capability::EXPORTABLE_UNDER_WRAP;
    client
        .put_asymmetric_key(
            0x0102,
            object::Label::from_bytes(b"a label").unwrap(),
            Domain::DOM1 | Domain::DOM3,
            capabilities,
            asymmetric::Algorithm::Ed25519,
            seed,
        )
        .unwrap();
    let wrap_key = [7; 32];
    put_wrap_key(&client, wrap_key.to_vec());
    let message = client
        .export_wrapped(1, object::Type::AsymmetricKey, 0x0102)
        .unwrap()
        .into_vec();

    let cipher = ccm::Ccm::<aes::Aes256, U16, U13>::new_from_slice(&wrap_key).unwrap();
    let (nonce, sealed) = message.split_at(13);
    let plain = cipher.decrypt(nonce.into(), sealed).unwrap();
    let mut expected = vec![42];
    expected.extend(capabilities.bits().to_be_bytes());
    // Number, length, domains; type, algorithm, sequence, origin.
    expected.extend([0x01, 0x02, 0, 96, 0, 0b101, 3, 46, 0, 2]);
    expected.extend(b"a label");
    expected.resize(expected.len() + 33, 0);
    // The expanded key of RFC 8032, its scalar reduced and the other way round, and the public key.
    let mut expanded: [u8; 64] = Sha512::digest(seed).into();
    expanded[0] &= 248;
    expanded[31] = expanded[31] & 63 | 64;
    let scalar = *expanded.first_chunk().unwrap();
    expanded[..32].copy_from_slice(Scalar::from_bytes_mod_order(scalar).as_bytes());
    expanded[..32].reverse();
    expected.extend(expanded);
    let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    expected.extend(public.as_bytes());
    assert_eq!(plain, expected);
}

/// What a device and Yubico's tool wrote, from the test files of the signstar project (`signstar_yubihsm2::backup`): the body of an
/// Ed25519 key that a device made, exported with its seed, and that of a key wrapped outside of a device.
#[test]
fn the_bodies_of_real_backups_are_read_and_written_again() {
    let seed = "497a8d9c4f7d93c961cf700f859b11d804fe5847cf8b3faae5f63620ce0c5456";
    let made_by_a_device = [
        "0751707a4b55ad0614b5c71d93bf9d66939d85f995df0e291133b3269266d20f",
        "a137a61588d7b8b6b53e8fdf3e9f13e4b357659e8189cfbabfcedc942c53cb73",
        "fc9d882412243cbcb5994ea9884a0ed296cb2f2a4f02ee0067edca645728fc2c",
    ];
    let made_by_the_tool = [
        "75bc4eaff9ddcf4bb11a5c922b139c07572badc7e83ff9e66483569350e5c1c0",
        "b6718906ce3e6c1e1a8a41d7b20a09d7b5378425a2accaa93896f5c3d4e8ebb7",
        "b9ebfe2ebeab112d381bd3f0452e27e2356d324eb5601eb1a2f07abb521e9cf2",
    ];
    let with_seed = [&[seed], &made_by_a_device[..]].concat();
    let algorithm = codes::algorithm::ED25519;
    for (body, has_seed) in [
        (&with_seed[..], true),
        (&made_by_a_device[..], false),
        (&made_by_the_tool[..], false),
    ] {
        let bytes = subtle_encoding::hex::decode(body.concat()).unwrap();
        let (_, secret) = Object::from_body(kind::ASYMMETRIC_KEY, algorithm, &bytes).unwrap();
        let public = secret.public_key().unwrap();
        assert!(bytes.ends_with(&public), "the public key is the file's");
        let object = Object {
            id: 13,
            kind: kind::ASYMMETRIC_KEY,
            algorithm,
            domains: 1,
            capabilities: 0,
            delegated: 0,
            sequence: 0,
            origin: codes::origin::GENERATED,
            label: [0; 40],
            secret,
        };
        assert_eq!(object.has_seed(), has_seed);
        assert_eq!(object.body(has_seed), bytes);
    }
    let seed = subtle_encoding::hex::decode(seed).unwrap();
    let from_seed = Secret::asymmetric(algorithm, &seed).unwrap();
    let public = from_seed.public_key().unwrap();
    assert_eq!(
        public,
        subtle_encoding::hex::decode(made_by_a_device[2]).unwrap()
    );
}
