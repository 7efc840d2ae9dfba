//! The shared vectors of every key type: `NAME.json` under `tests/vectors/`, or where `TMKMS_TEST_VECTORS` says. A field or file that
//! is not understood is a failure.

use std::{env, fs, path::PathBuf};

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use sha3::{
    Keccak256, Shake256,
    digest::{ExtendableOutput as _, Update as _},
};
use subtle_encoding::hex;

use super::{Algorithm, PublicKey};

/// The fields that hold the secret in one of its forms.
const SECRETS: [&str; 3] = ["priv_hex", "seed_hex", "priv_packed_hex"];
/// The one that addresses and key files have comes first in each file.
const PUBLIC_KEYS: [&str; 3] = ["pub_compressed_hex", "pub_uncompressed_hex", "pub_hex"];
const SIGNATURES: [&str; 4] = ["sig_rs_hex", "sig_rsv_hex", "sig_compressed_hex", "sig_hex"];
/// About the vector; `tests/vectors.rs` reads the key files.
const SKIPPED: [&str; 3] = ["name", "note", "priv_validator_key_json"];

#[test]
fn secp256k1() {
    file("secp256k1.json", Algorithm::Secp256k1, (3, 9));
}

#[test]
fn secp256k1eth() {
    file("secp256k1eth.json", Algorithm::Secp256k1Eth, (3, 9));
}

#[test]
fn bls12_381() {
    file("bls12381.json", Algorithm::Bls12381, (2, 4));
}

#[test]
fn ml_dsa_65() {
    file("mldsa65.json", Algorithm::MlDsa65, (3, 9));
}

/// Reads a file, which must have so many keys and signatures.
fn file(name: &str, scheme: Algorithm, count: (usize, usize)) {
    let directory = env::var_os("TMKMS_TEST_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
        PathBuf::from,
    );
    let text = fs::read_to_string(directory.join(name)).expect("the file is there");
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let mut seen = (0, 0);
    for (field, value) in file.as_object().expect("an object") {
        let described = value.get("json_pub").is_some();
        if described {
            facts(scheme, value.as_object().expect("an object"));
        }
        let known = ["vectors", "source", "address", "proto_field", "scheme"];
        assert!(
            described || known.contains(&field.as_str()) || field == "sizes",
            "{field}"
        );
    }
    for case in file
        .get("vectors")
        .and_then(Value::as_array)
        .expect("a list")
    {
        seen.1 += key(scheme, case.as_object().expect("a key"));
        seen.0 += 1;
    }
    assert_eq!(seen, count, "{name}");
}

/// What a file says of its key type, in one of its spellings.
fn facts(scheme: Algorithm, said: &Map<String, Value>) {
    let facts = scheme.facts();
    let text = |field| said.get(field).and_then(Value::as_str);
    let names = facts.json.iter().find(|names| {
        Some(names.public) == text("json_pub") && Some(names.private) == text("json_priv")
    });
    assert!(names.is_some(), "{said:?}");
    // A form that only keys in files have is named by the main one.
    if let Some(name) = text("key_type") {
        assert_eq!(facts.name, name);
        let member = said.get("proto_field").and_then(Value::as_u64);
        assert_eq!(member, Some(facts.member.into()));
    }
}

/// Checks everything that is said of one key. Gives the number of its signatures.
fn key(scheme: Algorithm, case: &Map<String, Value>) -> usize {
    let secrets: Vec<Vec<u8>> = some(case, &SECRETS);
    let keys: Vec<PublicKey> = secrets
        .iter()
        .map(|secret| scheme.public_half(secret).expect("a secret"))
        .collect();
    let key = keys.first().expect("a secret").clone();
    assert!(
        keys.iter().all(|other| *other == key),
        "{:?}",
        case.get("name")
    );
    let mut count = 0;
    for (field, value) in case {
        let field = field.as_str();
        match field {
            "address_hex" => assert_eq!(key.address().to_vec(), bytes(value)),
            "proto_public_key_hex" => assert_eq!(member(&key), bytes(value)),
            "signatures" => {
                for signature in value.as_array().expect("a list") {
                    check(&key, &secrets, signature.as_object().expect("a signature"));
                    count += 1;
                }
            }
            _ if PUBLIC_KEYS.contains(&field) => check_public_key(&key, &bytes(value)),
            _ => assert!(
                SECRETS.contains(&field) || SKIPPED.contains(&field),
                "{field}"
            ),
        }
    }
    count
}

/// A form of the public key. If the key has it, it is the key's own or the one for v1 and v2.
fn check_public_key(key: &PublicKey, form: &[u8]) {
    let is_known = form == key.as_bytes() || form == &*key.later_bytes();
    let decoded = key.algorithm().public_key(form);
    if is_known || decoded.is_ok() {
        assert_eq!(decoded.as_ref(), Ok(key));
    } else {
        // The compressed form of BLS12-381 is on no wire and in no file.
        assert_eq!(form.len(), 48);
    }
}

fn check(key: &PublicKey, secrets: &[Vec<u8>], case: &Map<String, Value>) {
    let msg = bytes(case.get("msg_hex").expect("a message"));
    let wanted = some(case, &SIGNATURES);
    assert_eq!(wanted.len(), 1, "signatures");
    let wanted = wanted.first().expect("one");
    for (field, value) in case {
        let field = field.as_str();
        match field {
            "sha256_hex" => assert_eq!(Sha256::digest(&msg).to_vec(), bytes(value)),
            "keccak256_hex" => assert_eq!(Keccak256::digest(&msg).to_vec(), bytes(value)),
            "sig_sha256" => assert_eq!(Sha256::digest(wanted).to_vec(), bytes(value)),
            "mu_hex" => assert_eq!(mu(key, &msg), bytes(value)),
            _ => assert!(
                field == "msg_hex" || SIGNATURES.contains(&field) || SKIPPED.contains(&field),
                "{field}"
            ),
        }
    }
    for secret in secrets {
        let signature = key.sign_with(secret, &msg).expect("signs");
        assert_eq!(signature.as_bytes(), wanted);
    }
    let signature = key.signature(wanted).expect("of the right length");
    assert!(key.verifies(&msg, &signature));
    assert!(!key.verifies(&[&msg[..], b"!"].concat(), &signature));
    // Every part of a signature matters.
    for at in [0, wanted.len() / 2, wanted.len() - 1] {
        let mut wrong = wanted.clone();
        *wrong.get_mut(at).expect("within") ^= 0x01;
        let signature = key.signature(&wrong).expect("of the right length");
        assert!(!key.verifies(&msg, &signature), "byte {at}");
    }
    assert_eq!(key.signature(wanted.split_at(wanted.len() - 1).0), None);
}

/// What FIPS 204 signs in the message's place, without a context.
fn mu(key: &PublicKey, msg: &[u8]) -> Vec<u8> {
    let hashed = |pieces: &[&[u8]]| {
        let mut hash = Shake256::default();
        pieces.iter().for_each(|piece| hash.update(piece));
        hash.finalize_boxed(64)
    };
    hashed(&[&hashed(&[key.as_bytes()]), &[0, 0], msg]).to_vec()
}

/// `tendermint.crypto.PublicKey`.
fn member(key: &PublicKey) -> Vec<u8> {
    let tag = key.algorithm().facts().member << 3 | 2;
    let mut encoded = Vec::new();
    prost::encoding::encode_varint(tag.into(), &mut encoded);
    prost::encoding::encode_varint(key.as_bytes().len() as u64, &mut encoded);
    encoded.extend_from_slice(key.as_bytes());
    encoded
}

fn some(case: &Map<String, Value>, fields: &[&str]) -> Vec<Vec<u8>> {
    let values = fields.iter().filter_map(|field| case.get(*field));
    values.map(bytes).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("text").to_ascii_lowercase();
    hex::decode(text).expect("hex")
}
