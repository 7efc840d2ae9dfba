//! SecretConnection against the shared vectors: key derivation, challenge, frames, handshakes, keys to refuse.
//!
//! The directory is the one in `TMKMS_TEST_VECTORS` when that is set. A case that this file does not understand is a failure.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tmkms::connection::{
    Identity, PeerId,
    secret_connection::{
        Generation, HandshakeError,
        frame::{Opener, SEALED, Sealer},
        handshake::Hello,
        keys::{self, Derived, Side},
    },
};

fn directory() -> PathBuf {
    env::var_os("TMKMS_TEST_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
        PathBuf::from,
    )
}

fn cases(file: &str) -> Vec<Value> {
    let path = directory().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: Value = serde_json::from_str(&text).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

/// The keys of an object, which must be among `known`: a new one would be a check that is not made.
fn understood(object: &Value, known: &[&str]) {
    for key in object.as_object().unwrap().keys() {
        assert!(
            known.contains(&key.as_str()),
            "not understood: {key} in {object}"
        );
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not hex"));
    subtle_encoding::hex::decode(text).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn seal(key: &[u8; 32], messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut sealer = Sealer::new(key);
    let mut all = Vec::new();
    for message in messages {
        let mut out = Vec::new();
        sealer.seal(&[], message, &mut out).unwrap();
        all.extend(out.chunks(SEALED).map(<[u8]>::to_vec));
    }
    all
}

fn open(key: &[u8; 32], frames: &[Vec<u8>]) -> Vec<u8> {
    let mut opener = Opener::new(key);
    let mut all = Vec::new();
    for frame in frames {
        let mut frame: [u8; SEALED] = frame.as_slice().try_into().unwrap();
        all.extend_from_slice(opener.open(&mut frame).unwrap());
    }
    all
}

#[test]
fn every_file_of_this_room_has_a_test() {
    let known = [
        "secret_connection_frames.json",
        "secret_connection_handshake.json",
        "secret_connection_kdf.json",
        "secret_connection_low_order.json",
    ];
    let found: BTreeSet<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("secret_connection") && name.ends_with(".json"))
        .collect();
    assert_eq!(found, known.map(str::to_owned).into());
}

#[test]
fn frame_keys_and_the_legacy_challenge_are_derived_as_everybody_derives_them() {
    let cases = cases("secret_connection_kdf.json");
    assert!(cases.len() >= 24, "{} cases", cases.len());
    for case in &cases {
        let (input, expected) = (&case["inputs"], &case["expected"]);
        understood(input, &["dh_secret", "local_eph_key_is_lower"]);
        understood(
            expected,
            &["recv_secret", "send_secret", "legacy_challenge"],
        );
        let side = match input["local_eph_key_is_lower"].as_bool().unwrap() {
            true => Side::Lower,
            false => Side::Upper,
        };
        let derived = Derived::new(&array(&input["dh_secret"]), side);
        assert_eq!(
            derived.receive_key()[..],
            bytes(&expected["recv_secret"])[..]
        );
        assert_eq!(derived.send_key()[..], bytes(&expected["send_secret"])[..]);
        assert_eq!(
            derived.legacy_challenge()[..],
            bytes(&expected["legacy_challenge"])[..]
        );
    }
}

#[test]
fn the_transcript_is_the_one_that_merlin_defines() {
    let cases = cases("merlin.json");
    assert!(!cases.is_empty());
    for case in &cases {
        let (input, expected) = (&case["inputs"], &case["expected"]);
        understood(
            input,
            &["protocol_label", "messages", "challenge_label", "n"],
        );
        understood(expected, &["challenge"]);
        let label = |value: &Value| -> &'static [u8] {
            value.as_str().unwrap().to_owned().leak().as_bytes()
        };
        let mut transcript = merlin::Transcript::new(label(&input["protocol_label"]));
        for message in input["messages"].as_array().unwrap() {
            understood(message, &["label", "data_ascii"]);
            let data = message["data_ascii"].as_str().unwrap();
            transcript.append_message(label(&message["label"]), data.as_bytes());
        }
        let mut challenge = vec![0; usize::try_from(input["n"].as_u64().unwrap()).unwrap()];
        transcript.challenge_bytes(label(&input["challenge_label"]), &mut challenge);
        assert_eq!(challenge, bytes(&expected["challenge"]));
    }
}

#[test]
fn frames_are_sealed_byte_for_byte() {
    let cases = cases("secret_connection_frames.json");
    assert!(cases.len() >= 2, "{} cases", cases.len());
    for case in &cases {
        let (input, expected) = (&case["inputs"], &case["expected"]);
        let key = array(&input["send_secret"]);
        if let Some(plaintexts) = input["plaintexts"].as_array() {
            understood(
                input,
                &[
                    "dh_secret",
                    "local_eph_key_is_lower",
                    "send_secret",
                    "plaintexts",
                ],
            );
            understood(expected, &["frames"]);
            assert_eq!(input["local_eph_key_is_lower"], Value::Bool(false));
            let derived = Derived::new(&array(&input["dh_secret"]), Side::Upper);
            assert_eq!(derived.send_key()[..], key);
            let messages: Vec<_> = plaintexts.iter().map(bytes).collect();
            let frames: Vec<_> = expected["frames"]
                .as_array()
                .unwrap()
                .iter()
                .map(bytes)
                .collect();
            assert_eq!(seal(&key, &messages), frames);
            assert_eq!(open(&key, &frames), messages.concat());
        } else {
            understood(input, &["send_secret", "plaintext_sha256", "plaintext"]);
            understood(expected, &["sealed_len", "sealed_sha256", "frame_sha256"]);
            assert_eq!(
                input["plaintext"],
                "bytes 00..ff repeated 9 times followed by ascii \"tail\""
            );
            let mut message = (0..=255).collect::<Vec<u8>>().repeat(9);
            message.extend_from_slice(b"tail");
            assert_eq!(
                Sha256::digest(&message)[..],
                bytes(&input["plaintext_sha256"])[..]
            );
            let frames = seal(&key, &[message.clone()]);
            let all = frames.concat();
            assert_eq!(all.len() as u64, expected["sealed_len"].as_u64().unwrap());
            assert_eq!(
                Sha256::digest(&all)[..],
                bytes(&expected["sealed_sha256"])[..]
            );
            let hashes: Vec<_> = frames.iter().map(|f| Sha256::digest(f).to_vec()).collect();
            let expected: Vec<_> = expected["frame_sha256"]
                .as_array()
                .unwrap()
                .iter()
                .map(bytes)
                .collect();
            assert_eq!(hashes, expected);
            assert_eq!(open(&key, &frames), message);
        }
    }
}

#[test]
fn handshakes_run_byte_for_byte() {
    let cases = cases("secret_connection_handshake.json");
    assert!(cases.len() >= 3, "{} cases", cases.len());
    let mut seen = BTreeSet::new();
    for case in &cases {
        let (input, expected) = (&case["inputs"], &case["expected"]);
        understood(input, &["protocol", "alice", "bob"]);
        understood(
            expected,
            &[
                "dh_secret",
                "eph_low",
                "eph_high",
                "challenge",
                "alice",
                "bob",
            ],
        );
        let generation = input["protocol"].as_str().unwrap();
        common_to_all_generations(generation, expected);
        match generation {
            "v0.34" => messages_of_v034(expected),
            "v0.33" => messages_of_amino(Generation::V033, expected),
            "legacy" => messages_of_amino(Generation::Legacy, expected),
            other => panic!("not understood: generation {other}"),
        }
        seen.insert(generation);
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

fn common_to_all_generations(generation: &str, expected: &Value) {
    let dh = array(&expected["dh_secret"]);
    let (low, high) = (array(&expected["eph_low"]), array(&expected["eph_high"]));
    for name in ["alice", "bob"] {
        let party = &expected[name];
        understood(
            party,
            &[
                "x25519_secret",
                "x25519_public",
                "ed25519_seed",
                "ed25519_public",
                "peer_id",
                "ephemeral_message",
                "recv_secret",
                "send_secret",
                "auth_message_plaintext",
                "auth_frame_sealed_nonce0",
            ],
        );
        let public: [u8; 32] = array(&party["x25519_public"]);
        let side = if public == low {
            Side::Lower
        } else {
            Side::Upper
        };
        let derived = Derived::new(&dh, side);
        assert_eq!(derived.receive_key()[..], bytes(&party["recv_secret"])[..]);
        assert_eq!(derived.send_key()[..], bytes(&party["send_secret"])[..]);
        let challenge = match generation {
            "legacy" => *derived.legacy_challenge(),
            _ => keys::challenge(&low, &high, &dh),
        };
        assert_eq!(challenge[..], bytes(&expected["challenge"])[..]);
        let identity = Identity::from_seed(&array(&party["ed25519_seed"]));
        assert_eq!(
            identity.public_key().as_bytes(),
            bytes(&party["ed25519_public"])
        );
        let id: PeerId = party["peer_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(identity.peer_id(), id);
        assert_eq!(
            seal(
                &derived.send_key(),
                &[bytes(&party["auth_message_plaintext"])]
            ),
            [bytes(&party["auth_frame_sealed_nonce0"])]
        );
    }
}

fn messages_of_v034(expected: &Value) {
    let hello = |name: &str| Hello::hazmat_from_secret(&array(&expected[name]["x25519_secret"]));
    for (name, other) in [("alice", "bob"), ("bob", "alice")] {
        let (party, peer) = (&expected[name], &expected[other]);
        let identity = Identity::from_seed(&array(&party["ed25519_seed"]));
        let hello = hello(name);
        assert_eq!(hello.message(), array(&party["ephemeral_message"]));
        let (awaiting, proof) = hello
            .receive(&array(&peer["ephemeral_message"]), &identity)
            .unwrap();
        assert_eq!(proof, bytes(&party["auth_frame_sealed_nonce0"]));
        let mut frame = array(&peer["auth_frame_sealed_nonce0"]);
        let authenticated = awaiting.receive(&mut frame).unwrap();
        assert_eq!(
            PeerId::from(&authenticated.peer).to_string(),
            peer["peer_id"].as_str().unwrap()
        );
    }
}

/// The signer reads the node's proof first; the node does not wait.
fn messages_of_amino(generation: Generation, expected: &Value) {
    let hello = |name: &str| Hello::hazmat_from_secret(&array(&expected[name]["x25519_secret"]));
    for (name, other) in [("alice", "bob"), ("bob", "alice")] {
        let (party, peer) = (&expected[name], &expected[other]);
        let identity = Identity::from_seed(&array(&party["ed25519_seed"]));
        let signer = hello(name);
        assert_eq!(signer.amino_message(), array(&party["ephemeral_message"]));
        let message = array(&peer["ephemeral_message"]);
        let awaiting = signer.receive_amino(&message).unwrap();
        let mut frame = array(&peer["auth_frame_sealed_nonce0"]);
        let (authenticated, found, proof) = awaiting.receive(&mut frame, &identity).unwrap();
        assert_eq!(found, generation);
        assert_eq!(proof, bytes(&party["auth_frame_sealed_nonce0"]));
        assert_eq!(
            PeerId::from(&authenticated.peer).to_string(),
            peer["peer_id"].as_str().unwrap()
        );
        let node = hello(name).receive_amino(&message).unwrap();
        let (node, proof) = node.prove(generation, &identity).unwrap();
        assert_eq!(proof, bytes(&party["auth_frame_sealed_nonce0"]));
        let mut frame = array(&peer["auth_frame_sealed_nonce0"]);
        assert_eq!(node.receive(&mut frame).unwrap().peer, authenticated.peer);
    }
}

#[test]
fn ephemeral_keys_of_low_order_are_refused() {
    let cases = cases("secret_connection_low_order.json");
    assert!(cases.len() >= 11, "{} cases", cases.len());
    let identity = Identity::generate().unwrap();
    for case in &cases {
        understood(&case["inputs"], &["remote_eph_pub"]);
        understood(&case["expected"], &["handshake", "x25519_all_zero"]);
        assert_eq!(case["expected"]["handshake"], "reject");
        assert_eq!(case["expected"]["x25519_all_zero"], Value::Bool(true));
        let mut message = vec![0x22, 0x0a, 0x20];
        message.extend(bytes(&case["inputs"]["remote_eph_pub"]));
        let result = Hello::new()
            .unwrap()
            .receive(&message.try_into().unwrap(), &identity);
        assert_eq!(
            result.unwrap_err(),
            HandshakeError::LowOrder,
            "{}",
            case["description"]
        );
        let mut message = vec![0x21, 0x20];
        message.extend(bytes(&case["inputs"]["remote_eph_pub"]));
        let result = Hello::new()
            .unwrap()
            .receive_amino(&message.try_into().unwrap());
        assert_eq!(result.unwrap_err(), HandshakeError::LowOrder);
    }
}
