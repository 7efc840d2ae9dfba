//! How public keys are shown.

use subtle_encoding::{base64, bech32, hex};

use crate::crypto::PublicKey;

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

/// A consensus key as the chain's tools write it. Without a format: hex and the Cosmos SDK's JSON, a space between. So also where
/// the format is bech32, and the key of a kind that has none.
#[must_use]
pub fn format_key(key: &PublicKey, format: Option<&KeyFormat>) -> String {
    match format {
        Some(KeyFormat::Bech32 {
            consensus_key_prefix,
            ..
        }) => bech32_key(key, consensus_key_prefix).unwrap_or_else(|| both(key)),
        Some(KeyFormat::CosmosJson) => cosmos_json(key),
        Some(KeyFormat::Hex) => upper_hex(key.as_bytes()),
        None => both(key),
    }
}

fn both(key: &PublicKey) -> String {
    format!("{} {}", upper_hex(key.as_bytes()), cosmos_json(key))
}

/// Over amino's prefix, the length and the key: only what amino knew has such a form.
fn bech32_key(key: &PublicKey, prefix: &str) -> Option<String> {
    let mut data = key.algorithm().facts().amino?.to_vec();
    data.push(u8::try_from(key.as_bytes().len()).ok()?);
    data.extend_from_slice(key.as_bytes());
    Some(bech32::encode(prefix, data))
}

fn cosmos_json(key: &PublicKey) -> String {
    let name = key.algorithm().facts().sdk_type;
    let value = String::from_utf8_lossy(&base64::encode(key.as_bytes())).into_owned();
    format!(r#"{{"@type":"{name}","key":"{value}"}}"#)
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
    fn a_secp256k1_key_has_bech32_too() {
        // The generator of the curve, as a consensus key.
        let bytes = "0279BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798";
        let key = PublicKey::secp256k1(&hex::decode_upper(bytes).expect("hex")).expect("a point");
        let format = KeyFormat::Bech32 {
            account_key_prefix: "cosmospub".into(),
            consensus_key_prefix: "cosmosvalconspub".into(),
        };
        let shown = format_key(&key, Some(&format));
        let (prefix, data) = bech32::decode(shown).expect("bech32");
        let wanted = ["EB5AE98721", bytes].concat();
        assert_eq!(
            (prefix.as_str(), upper_hex(&data)),
            ("cosmosvalconspub", wanted)
        );
        let json = r#"{"@type":"/cosmos.crypto.secp256k1.PubKey","key":"Anm+Zn753LusVaBilc6HCwcCm/zbLc4o2VnygVsW+BeY"}"#;
        assert_eq!(format_key(&key, Some(&KeyFormat::CosmosJson)), json);
        assert_eq!(format_key(&key, Some(&KeyFormat::Hex)), bytes);
    }

    #[test]
    fn without_a_format_a_key_is_hex_and_json() {
        let json = r#"{"@type":"/cosmos.crypto.ed25519.PubKey","key":"y6jOxymIps2aYZAvOOvDg7tOPMq7WnjfaVAP1dXG7B4="}"#;
        assert_eq!(format_key(&key(), Some(&KeyFormat::Hex)), HEX);
        assert_eq!(format_key(&key(), Some(&KeyFormat::CosmosJson)), json);
        assert_eq!(format_key(&key(), None), format!("{HEX} {json}"));
    }
}
