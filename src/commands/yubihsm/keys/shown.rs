//! How the keys of a device are shown.

use subtle_encoding::bech32;

use crate::{
    crypto::PublicKey,
    keyring::{
        format::{KeyFormat, format_key},
        providers::{
            KeyType,
            yubihsm::{PublicKeyBytes, public_key},
        },
    },
};

/// A key as its chain writes it: of an account its address where the chain uses bech32. `None` for a key that tmkms does not sign with.
pub(super) fn shown(
    key: &PublicKeyBytes,
    use_for: KeyType,
    format: Option<&KeyFormat>,
) -> Option<String> {
    let key = public_key(key).ok()?;
    Some(match (&key, use_for, format) {
        (
            PublicKey::Secp256k1(_),
            KeyType::Account,
            Some(KeyFormat::Bech32 {
                account_key_prefix, ..
            }),
        ) => bech32::encode(account_key_prefix, key.address()),
        _ => format_key(&key, format),
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

#[cfg(test)]
mod tests {
    use subtle_encoding::hex;

    use super::*;
    use crate::keyring::providers::yubihsm::Algorithm;

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
        let wanted = format!("EB5AE98721{compressed}");
        assert_eq!(hex::encode_upper(data), wanted.as_bytes());
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
