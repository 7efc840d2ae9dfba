//! How the keys of a device are shown.

use ripemd::Ripemd160;
use sha2::{Digest, Sha256};
use subtle_encoding::{base64, bech32, hex};

use crate::{
    crypto::PublicKey,
    keyring::{
        format::{KeyFormat, format_key},
        providers::{
            KeyType,
            yubihsm::{Algorithm, PublicKeyBytes, import::compressed},
        },
    },
};

/// What amino put in front of a secp256k1 public key (`tendermint/PubKeySecp256k1`, and the length).
const AMINO_SECP256K1: [u8; 5] = [0xeb, 0x5a, 0xe9, 0x87, 0x21];

/// A key as its chain writes it: of an account its address where the chain uses bech32. `None` for a key that tmkms does not sign with.
pub(super) fn shown(
    key: &PublicKeyBytes,
    use_for: KeyType,
    format: Option<&KeyFormat>,
) -> Option<String> {
    let bytes = compressed(key)?;
    if key.algorithm == Algorithm::ED25519 {
        return Some(format_key(&PublicKey::ed25519(&bytes).ok()?, format));
    }
    Some(match (format, use_for) {
        (
            Some(KeyFormat::Bech32 {
                account_key_prefix, ..
            }),
            KeyType::Account,
        ) => account(&bytes, account_key_prefix),
        (
            Some(KeyFormat::Bech32 {
                consensus_key_prefix,
                ..
            }),
            KeyType::Consensus,
        ) => bech32::encode(
            consensus_key_prefix,
            [AMINO_SECP256K1.as_slice(), &bytes].concat(),
        ),
        (Some(KeyFormat::CosmosJson), _) => cosmos_json(&bytes),
        (Some(KeyFormat::Hex), _) => upper_hex(&bytes),
        (None, _) => format!("{} {}", upper_hex(&bytes), cosmos_json(&bytes)),
    })
}

/// A key with a prefix of the operator's, else in hex: one word.
pub(super) fn shown_with_prefix(
    key: &PublicKeyBytes,
    use_for: KeyType,
    prefix: Option<&str>,
) -> Option<String> {
    let format = match prefix {
        Some(prefix) => KeyFormat::Bech32 {
            account_key_prefix: prefix.to_owned(),
            consensus_key_prefix: prefix.to_owned(),
        },
        None => KeyFormat::Hex,
    };
    shown(key, use_for, Some(&format))
}

/// The address of an account: RIPEMD-160 of SHA-256 of the compressed key.
fn account(key: &[u8], prefix: &str) -> String {
    bech32::encode(prefix, Ripemd160::digest(Sha256::digest(key)))
}

fn cosmos_json(key: &[u8]) -> String {
    let value = String::from_utf8_lossy(&base64::encode(key)).into_owned();
    format!(r#"{{"@type":"/cosmos.crypto.secp256k1.PubKey","key":"{value}"}}"#)
}

fn upper_hex(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&hex::encode_upper(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scalar 1: the generator, of which the address is published everywhere.
    fn generator() -> PublicKeyBytes {
        let point = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
        PublicKeyBytes {
            algorithm: Algorithm::EC_K256,
            bytes: hex::decode(point).expect("hex"),
        }
    }

    #[test]
    fn an_account_is_its_address_and_a_consensus_key_is_itself() {
        let key = generator();
        let compressed = "0279BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798";
        let shown = |use_for, prefix| shown_with_prefix(&key, use_for, prefix).expect("a key");
        assert_eq!(shown(KeyType::Account, None), compressed);
        // BIP 173's own example has this hash in its first address.
        assert_eq!(
            bech32::decode(shown(KeyType::Account, Some("cosmos")))
                .expect("bech32")
                .1,
            hex::decode("751e76e8199196d454941c45d1b3a323f1433bd6").expect("hex")
        );
        let (prefix, data) =
            bech32::decode(shown(KeyType::Consensus, Some("cosmosvalconspub"))).expect("bech32");
        assert_eq!(prefix, "cosmosvalconspub");
        assert_eq!(upper_hex(&data), format!("EB5AE98721{compressed}"));
    }

    #[test]
    fn what_tmkms_does_not_sign_with_is_not_shown() {
        let mut key = generator();
        key.algorithm = Algorithm(12);
        assert_eq!(shown(&key, KeyType::Consensus, None), None);
        key.algorithm = Algorithm::ED25519;
        assert_eq!(shown(&key, KeyType::Consensus, None), None);
    }
}
