//! Keys, addresses, node IDs.

use serde_json::Value;
use subtle_encoding::base64;
use tmkms::{
    connection::Identity,
    crypto::{Algorithm, PublicKey},
    key_file,
    keyring::providers::softsign::{self, Config, FileFormat, KeyType},
};

use super::case::{bytes, cases, say, text, understood};

fn from_base64(value: &Value) -> Vec<u8> {
    base64::decode(value.as_str().unwrap()).unwrap()
}

/// Writes a soft key file and reads it by `read`.
fn with_file<T>(
    content: &[u8],
    key_type: KeyType,
    key_format: Option<FileFormat>,
    read: impl FnOnce(&Config) -> T,
) -> T {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("consensus.key");
    key_file::create(&path, content).unwrap();
    read(&Config {
        chain_ids: Vec::new(),
        key_type,
        scheme: None,
        key_format,
        state_file: None,
        path,
    })
}

/// A new key.
pub(crate) fn new(scheme: Algorithm) -> PublicKey {
    let home = tempfile::tempdir().unwrap();
    softsign::generate(scheme, &home.path().join("consensus.key")).unwrap()
}

fn opened(content: &[u8], key_format: Option<FileFormat>) -> PublicKey {
    with_file(content, KeyType::Consensus, key_format, |config| {
        softsign::open(config).unwrap().signer.public_key().clone()
    })
}

/// A secp256k1 key, as a consensus key and as the original's account key.
fn check_secp256k1(input: &Value, expected: &Value) {
    understood(
        expected,
        &[
            "pub_key",
            "pub",
            "pub_value_b64",
            "address",
            "pubkey_matches_private",
        ],
    );
    let scalar = match input["priv"].as_str() {
        Some(_) => bytes(&input["priv"]),
        None => from_base64(&input["priv_value_b64"]),
    };
    let content = base64::encode(scalar);
    let account = with_file(&content, KeyType::Account, None, |config| {
        softsign::look_at_account(config).unwrap()
    });
    let named = [b"secp256k1 ".as_slice(), &content].concat();
    let key = opened(&named, None);
    assert_eq!(key, account);
    let mut checked = 0;
    for wanted in [&expected["pub_key"], &expected["pub"]] {
        if let Some(wanted) = wanted.as_str() {
            assert_eq!(text(key.as_bytes()), wanted);
            checked += 1;
        }
    }
    if !expected["pub_value_b64"].is_null() {
        assert_eq!(key.as_bytes(), from_base64(&expected["pub_value_b64"]));
        checked += 1;
    }
    if let Some(address) = expected["address"].as_str() {
        assert_eq!(text(&key.address()), address.to_lowercase());
        checked += 1;
    }
    assert!(checked > 0, "nothing to compare: {expected}");
}

fn check_ed25519(seed: &[u8], whole: Option<&Value>, expected: &Value) {
    understood(expected, &["seed", "pub_key", "pub_value_b64", "address"]);
    assert_eq!(text(seed), expected["seed"].as_str().unwrap());
    let key = opened(&base64::encode(seed), None);
    assert_eq!(text(key.as_bytes()), expected["pub_key"].as_str().unwrap());
    if let Some(address) = expected["address"].as_str() {
        assert_eq!(text(&key.address()).to_uppercase(), address);
    }
    let Some(whole) = whole else { return };
    assert_eq!(
        base64::encode(key.as_bytes()),
        expected["pub_value_b64"].as_str().unwrap().as_bytes()
    );
    let json = serde_json::json!({
        "address": expected["address"],
        "pub_key": { "type": "tendermint/PubKeyEd25519", "value": expected["pub_value_b64"] },
        "priv_key": { "type": "tendermint/PrivKeyEd25519", "value": whole },
    })
    .to_string();
    for format in [None, Some(FileFormat::Json)] {
        assert_eq!(opened(json.as_bytes(), format), key);
    }
    let base64 = whole.as_str().unwrap().as_bytes();
    assert_eq!(opened(base64, Some(FileFormat::Base64)), key);
}

#[test]
fn keys_and_addresses() {
    let mut checked = 0;
    for case in cases("keys_and_files.json", 9) {
        let (input, expected) = (&case["inputs"], &case["expected"]);
        understood(input, &["type", "priv_value_b64", "priv", "secret_ascii"]);
        let source = case["source"].as_str().unwrap();
        if let Some(secret) = input["secret_ascii"].as_str() {
            let seed: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(secret).into();
            check_ed25519(&seed, None, expected);
        } else if let Some(node_id) = expected["node_id"].as_str() {
            understood(expected, &["node_id"]);
            let seed = from_base64(&input["priv_value_b64"]);
            let identity = Identity::from_seed(seed.first_chunk().unwrap());
            assert_eq!(identity.peer_id().to_string(), node_id);
        } else if input["type"] == "ed25519" {
            let whole = &input["priv_value_b64"];
            check_ed25519(
                from_base64(whole).first_chunk::<32>().unwrap(),
                Some(whole),
                expected,
            );
        } else if source.contains("secp256k1eth") {
            understood(expected, &["address"]);
            let scalar = base64::encode(bytes(&input["priv"]));
            let key = opened(&[b"secp256k1eth ".as_slice(), &scalar].concat(), None);
            assert_eq!(text(&key.address()), expected["address"].as_str().unwrap());
        } else if input["type"] == "secp256k1" || source.contains("secp256k1") {
            check_secp256k1(input, expected);
        } else {
            panic!("not understood: {case}");
        }
        checked += 1;
    }
    say(&format!("keys_and_files.json: {checked} cases"));
}

/// The key files of the key types' own vectors.
#[test]
fn key_files_of_ml_dsa_65() {
    let mut count = 0;
    for case in cases("mldsa65.json", 3) {
        let file = case["priv_validator_key_json"].to_string();
        let key = opened(file.as_bytes(), None);
        assert_eq!(text(key.as_bytes()), case["pub_hex"]);
        for (field, length) in [("seed_hex", 32), ("priv_packed_hex", 4_032)] {
            let secret = bytes(&case[field]);
            assert_eq!(secret.len(), length);
            let named = [b"ml_dsa_65 ".as_slice(), &base64::encode(secret)].concat();
            assert_eq!(opened(&named, None), key);
        }
        // Of another key.
        let other = file.replace(&case["address_hex"].as_str().unwrap()[..8], "00000000");
        with_file(other.as_bytes(), KeyType::Consensus, None, |config| {
            assert!(softsign::open(config).is_err());
        });
        count += 1;
    }
    assert_eq!(count, 3);
}
