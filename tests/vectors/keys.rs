//! Keys, addresses, node IDs.

use serde_json::Value;
use subtle_encoding::base64;
use tmkms::{
    connection::Identity,
    crypto::PublicKey,
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
        key_format,
        path,
    })
}

fn opened(content: &[u8], key_format: Option<FileFormat>) -> PublicKey {
    with_file(content, KeyType::Consensus, key_format, |config| {
        softsign::open(config).unwrap().signer.public_key().clone()
    })
}

/// This version looks at secp256k1 keys, which sign nothing here: it knows their public key, not their address.
fn check_secp256k1(input: &Value, expected: &Value) -> bool {
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
    let key = with_file(&content, KeyType::Account, None, |config| {
        softsign::look_at_account(config).unwrap()
    });
    let wanted = expected["pub_key"].as_str().or(expected["pub"].as_str());
    wanted.is_some_and(|wanted| {
        assert_eq!(text(&key), wanted);
        true
    })
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
    let (mut checked, mut skipped) = (0, 0);
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
        } else if input["type"] == "secp256k1" || source.contains("secp256k1") {
            let read = check_secp256k1(input, expected);
            say(&format!(
                "skipped{}, no such key in this version: {}",
                if read { " but for the public key" } else { "" },
                case["description"]
            ));
            skipped += 1;
            continue;
        } else {
            panic!("not understood: {case}");
        }
        checked += 1;
    }
    say(&format!(
        "keys_and_files.json: {checked} cases, {skipped} skipped"
    ));
}
