//! How public keys are shown.

use subtle_encoding::{base64, bech32, hex};

use crate::crypto::PublicKey;

/// What amino put in front of an Ed25519 public key; bech32 keys still carry it (`tendermint/PubKeyEd25519`, and the length).
const AMINO_ED25519: [u8; 5] = [0x16, 0x24, 0xde, 0x64, 0x20];

/// `key_format` of a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyFormat {
    /// Bech32 over the amino prefix and the key.
    Bech32 {
        /// Human-readable part for account addresses.
        account_key_prefix: String,
        /// Human-readable part for consensus keys.
        consensus_key_prefix: String,
    },
    /// The Cosmos SDK's JSON.
    CosmosJson,
    /// Upper-case hex of the raw key.
    Hex,
}

/// A consensus key as the chain's tools write it. Without a format: hex and the Cosmos SDK's JSON, a space between.
#[must_use]
pub fn format_key(key: &PublicKey, format: Option<&KeyFormat>) -> String {
    match format {
        Some(KeyFormat::Bech32 {
            consensus_key_prefix,
            ..
        }) => bech32_key(key, consensus_key_prefix),
        Some(KeyFormat::CosmosJson) => cosmos_json(key),
        Some(KeyFormat::Hex) => upper_hex(key.as_bytes()),
        None => format!("{} {}", upper_hex(key.as_bytes()), cosmos_json(key)),
    }
}

fn bech32_key(key: &PublicKey, prefix: &str) -> String {
    let mut data = match key {
        PublicKey::Ed25519(_) => AMINO_ED25519.to_vec(),
    };
    data.extend_from_slice(key.as_bytes());
    bech32::encode(prefix, data)
}

fn cosmos_json(key: &PublicKey) -> String {
    let name = match key {
        PublicKey::Ed25519(_) => "ed25519",
    };
    let value = String::from_utf8_lossy(&base64::encode(key.as_bytes())).into_owned();
    format!(r#"{{"@type":"/cosmos.crypto.{name}.PubKey","key":"{value}"}}"#)
}

fn upper_hex(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&hex::encode_upper(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "CBA8CEC72988A6CD9A61902F38EBC383BB4E3CCABB5A78DF69500FD5D5C6EC1E";

    fn key() -> PublicKey {
        PublicKey::ed25519(&hex::decode_upper(HEX).expect("hex")).expect("a point")
    }

    #[test]
    fn bech32_is_what_the_cosmos_sdk_printed() {
        let format = KeyFormat::Bech32 {
            account_key_prefix: "cosmospub".into(),
            consensus_key_prefix: "cosmosvalconspub".into(),
        };
        assert_eq!(
            format_key(&key(), Some(&format)),
            "cosmosvalconspub1zcjduepqew5va3ef3znvmxnpjqhn367rswa5u0x2hdd83hmf2q8at4wxas0qy7ncuk"
        );
    }

    #[test]
    fn without_a_format_a_key_is_hex_and_json() {
        let json = r#"{"@type":"/cosmos.crypto.ed25519.PubKey","key":"y6jOxymIps2aYZAvOOvDg7tOPMq7WnjfaVAP1dXG7B4="}"#;
        assert_eq!(format_key(&key(), Some(&KeyFormat::Hex)), HEX);
        assert_eq!(format_key(&key(), Some(&KeyFormat::CosmosJson)), json);
        assert_eq!(format_key(&key(), None), format!("{HEX} {json}"));
    }
}
