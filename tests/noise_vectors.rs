//! `noise://` and its peer IDs against vectors that other implementations made.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test ends at the first surprise"
)]

use std::{env, fs, path::Path};

use serde_json::Value;
use tmkms::{
    connection::{Identity, Libp2pId, noise::handshake::Hello},
    crypto::PublicKey,
};

#[path = "support/noise_node.rs"]
mod noise_node;

use noise_node::{framed, read, responder, write};

fn cases(file: &str, count: usize) -> Vec<Value> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let home = env::var_os("TMKMS_TEST_VECTORS").map_or(home, Into::into);
    let file: Value = serde_json::from_slice(&fs::read(home.join(file)).unwrap()).unwrap();
    let cases = file["vectors"].as_array().unwrap().clone();
    assert!(cases.len() >= count, "{} cases", cases.len());
    cases
}

fn bytes(value: &Value) -> Vec<u8> {
    subtle_encoding::hex::decode(value.as_str().expect("a hexadecimal text")).unwrap()
}

fn key(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

/// A key of the case that no check reads would be one that is not made.
fn understood(case: &Value, known: &[&str]) {
    for key in case.as_object().unwrap().keys() {
        assert!(known.contains(&key.as_str()), "not understood: {key}");
    }
}

#[test]
fn peer_ids_are_those_of_libp2p_and_of_cometbft() {
    let (mut ids, mut node_ids, mut seeds) = (0, 0, 0);
    for case in cases("peer_ids.json", 6) {
        understood(
            &case,
            &[
                "name",
                "from",
                "key_type",
                "libp2p_public_key_proto_hex",
                "peer_id_base58",
                "peer_id_cidv1_base32",
                "peer_id_multihash_hex",
                "priv_hex",
                "seed_hex",
                "raw_pub_hex",
                "cometbft_node_id_hex",
            ],
        );
        let raw = bytes(&case["raw_pub_hex"]);
        let public = match case["key_type"].as_str().unwrap() {
            "ed25519" => PublicKey::ed25519(&raw).unwrap(),
            "secp256k1" => PublicKey::secp256k1(&raw).unwrap(),
            other => panic!("{other}"),
        };
        let id = Libp2pId::of(&public).unwrap();
        assert_eq!(id.to_string(), case["peer_id_base58"]);
        assert_eq!(id.message(), bytes(&case["libp2p_public_key_proto_hex"]));
        assert_eq!(id.multihash(), bytes(&case["peer_id_multihash_hex"]));
        assert_eq!(Libp2pId::from_message(&id.message()), Ok(id));
        let cid = case["peer_id_cidv1_base32"].as_str().unwrap();
        let binary = [&[1, 0x72][..], &id.multihash()].concat();
        let hex = subtle_encoding::hex::encode(&binary);
        let hex = String::from_utf8(hex).unwrap();
        for text in [
            id.to_string(),
            cid.to_owned(),
            cid.to_uppercase(),
            format!("f{hex}"),
            format!("F{}", hex.to_uppercase()),
        ] {
            assert_eq!(text.parse(), Ok(id), "{text}");
        }
        // Ed25519 secrets stand under either name.
        let secret = case.get("seed_hex").or_else(|| case.get("priv_hex"));
        if let (PublicKey::Ed25519(_), Some(seed)) = (&public, secret) {
            let identity = Identity::from_seed(&key(seed));
            assert_eq!(identity.libp2p_id(), id);
            seeds += 1;
            if let Some(node_id) = case.get("cometbft_node_id_hex") {
                assert_eq!(identity.peer_id().to_string(), *node_id);
                node_ids += 1;
            }
        }
        ids += 1;
    }
    assert!(
        ids >= 6 && seeds >= 4 && node_ids >= 2,
        "{ids} {seeds} {node_ids}"
    );
}

#[test]
fn ids_in_base_36_and_58_are_the_same_as_in_base_32() {
    // Of the libp2p specification's Ed25519 key, written by a program of its own.
    let id: Libp2pId = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
        .parse()
        .unwrap();
    let binary = [&[1, 0x72][..], &id.multihash()].concat();
    for (prefix, alphabet) in [
        ("k", "0123456789abcdefghijklmnopqrstuvwxyz"),
        ("K", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        (
            "z",
            "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
        ),
    ] {
        let text = format!("{prefix}{}", long_division(&binary, alphabet.as_bytes()));
        assert_eq!(text.parse(), Ok(id), "{text}");
    }
}

fn long_division(number: &[u8], alphabet: &[u8]) -> String {
    let mut number = number.to_vec();
    let mut digits = Vec::new();
    while number.iter().any(|byte| *byte != 0) {
        let mut rest = 0;
        for byte in &mut number {
            let value = rest * 256 + usize::from(*byte);
            *byte = (value / alphabet.len()) as u8;
            rest = value % alphabet.len();
        }
        digits.push(alphabet[rest]);
    }
    digits.reverse();
    String::from_utf8(digits).unwrap()
}

#[test]
fn the_transcript_of_the_go_implementation_comes_out_byte_for_byte() {
    let mut transported = 0;
    for case in cases("noise_privval.json", 2) {
        let keys: Vec<String> = ["initiator", "responder"]
            .iter()
            .flat_map(|side| {
                [
                    "ephemeral_priv_hex",
                    "ephemeral_pub_hex",
                    "identity_seed_hex",
                    "payload_hex",
                    "peer_id",
                    "static_priv_hex",
                    "static_pub_hex",
                ]
                .map(|key| format!("{side}_{key}"))
            })
            .chain(
                [
                    "handshake_hash_hex",
                    "transport",
                    "variant",
                    "wire_msg1_hex",
                    "wire_msg2_hex",
                    "wire_msg3_hex",
                ]
                .map(str::to_owned),
            )
            .collect();
        understood(&case, &keys.iter().map(String::as_str).collect::<Vec<_>>());
        for side in ["initiator", "responder"] {
            for kind in ["ephemeral", "static"] {
                let secret = key(&case[format!("{side}_{kind}_priv_hex")]);
                let public = x25519_dalek::x25519(secret, x25519_dalek::X25519_BASEPOINT_BYTES);
                assert_eq!(public[..], bytes(&case[format!("{side}_{kind}_pub_hex")]));
            }
        }
        let identity = Identity::from_seed(&key(&case["initiator_identity_seed_hex"]));
        assert_eq!(identity.libp2p_id().to_string(), case["initiator_peer_id"]);
        let node = Identity::from_seed(&key(&case["responder_identity_seed_hex"])).libp2p_id();
        assert_eq!(node.to_string(), case["responder_peer_id"]);

        let hello = Hello::hazmat_from_secrets(
            &key(&case["initiator_static_priv_hex"]),
            &key(&case["initiator_ephemeral_priv_hex"]),
        );
        let (awaiting, message) = hello.unwrap().start().unwrap();
        assert_eq!(framed(&message), bytes(&case["wire_msg1_hex"]));

        let second = bytes(&case["wire_msg2_hex"]);
        let [mut theirs, mut for_ours] = [(), ()].map(|()| {
            let mut state = responder(
                &key(&case["responder_static_priv_hex"]),
                Some(&key(&case["responder_ephemeral_priv_hex"])),
            );
            read(&mut state, &message);
            let answer = write(&mut state, &bytes(&case["responder_payload_hex"]));
            assert_eq!(framed(&answer), second);
            state
        });
        let (mut channel, proof) = awaiting.receive(&second[2..], &identity, &node).unwrap();

        // With Go's empty extensions, and with nothing in their place, which is what we send.
        let third = bytes(&case["wire_msg3_hex"]);
        let payload = bytes(&case["initiator_payload_hex"]);
        assert_eq!(read(&mut theirs, &third[2..]), payload);
        assert_eq!(
            theirs.get_handshake_hash(),
            bytes(&case["handshake_hash_hex"])
        );
        let bare = payload.strip_suffix(&[0x22, 0]).unwrap_or(&payload);
        assert_eq!(read(&mut for_ours, &proof), bare);
        match case["variant"].as_str().unwrap() {
            "no extensions" => assert_eq!(framed(&proof), third),
            "go-libp2p (empty extensions sent)" => assert_eq!(proof.len() + 4, third.len()),
            other => panic!("{other}"),
        }
        for message in case["transport"].as_array().unwrap() {
            understood(message, &["dir", "n", "plain_hex", "what", "wire_hex"]);
            let (plain, wire) = (bytes(&message["plain_hex"]), bytes(&message["wire_hex"]));
            if message["dir"] == "initiator->responder" {
                let mut out = Vec::new();
                channel.seal(&plain, &mut out).unwrap();
                assert_eq!(out, wire);
            } else {
                let mut data = Vec::new();
                channel.open(&wire[2..], &mut data).unwrap();
                assert_eq!(data, plain);
            }
            transported += 1;
        }
    }
    assert!(transported >= 6, "{transported}");
}
