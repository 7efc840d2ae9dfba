//! What an operator writes to say which key is meant.

use std::{fmt, str::FromStr};

use serde::Deserialize;
use subtle_encoding::{bech32, hex};

use crate::{
    crypto::{Algorithm, PublicKey},
    key_file,
};

/// How much of a name is shown again; an ML-DSA-65 key has 3,904 hex digits.
const MOST_SHOWN: usize = 100;

/// A public key in any form in which one is printed, or its address: 40 hex digits.
///
/// Hex of the bare key, base64 of it, bech32 with any prefix, the Cosmos SDK's JSON and CometBFT's.
#[derive(Clone, Debug)]
pub struct KeyName {
    written: String,
    /// One; more where key types have keys of one length, and the name does not say which is meant.
    addresses: Vec<[u8; 20]>,
}

impl KeyName {
    /// Whether this key is meant.
    #[must_use]
    pub fn names(&self, key: &PublicKey) -> bool {
        self.addresses.contains(&key.address())
    }

    /// Whether both names can mean one key, however they are spelled.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.addresses.iter().any(|a| other.addresses.contains(a))
    }
}

impl PartialEq for KeyName {
    fn eq(&self, other: &Self) -> bool {
        self.addresses == other.addresses
    }
}

impl Eq for KeyName {}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.written.char_indices().nth(MOST_SHOWN) {
            None => f.write_str(&self.written),
            Some((end, _)) => write!(f, "{}…", self.written.split_at(end).0),
        }
    }
}

/// The text is no public key and no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "no public key (hex, base64, bech32 or JSON, as tmkms prints it) and no address (40 hex digits)"
)]
pub struct NotAKeyName;

impl FromStr for KeyName {
    type Err = NotAKeyName;

    fn from_str(written: &str) -> Result<Self, NotAKeyName> {
        let text = written.trim();
        let address = from_hex(text).and_then(|bytes| <[u8; 20]>::try_from(bytes).ok());
        let addresses = match address {
            Some(address) => vec![address],
            None => keys(text).iter().map(PublicKey::address).collect(),
        };
        if addresses.is_empty() {
            return Err(NotAKeyName);
        }
        Ok(Self {
            written: text.to_owned(),
            addresses,
        })
    }
}

/// The keys that a text can stand for.
fn keys(text: &str) -> Vec<PublicKey> {
    if text.starts_with('{') {
        return from_json(text).into_iter().collect();
    }
    if let Some(bytes) = from_hex(text) {
        return of_any_type(&bytes);
    }
    if let Some(key) = from_bech32(text) {
        return vec![key];
    }
    key_file::from_base64(text.as_bytes())
        .map(|bytes| of_any_type(&bytes))
        .unwrap_or_default()
}

fn of_any_type(bytes: &[u8]) -> Vec<PublicKey> {
    let all = Algorithm::ALL.iter();
    all.filter_map(|scheme| scheme.public_key(bytes).ok())
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.to_ascii_lowercase()).ok()
}

fn from_bech32(text: &str) -> Option<PublicKey> {
    let (_, data) = bech32::decode(text).ok()?;
    let (prefix, rest) = data.split_at_checked(4)?;
    let (length, key) = rest.split_first()?;
    let mut all = Algorithm::ALL.iter();
    let scheme = all.find(|scheme| scheme.facts().amino.is_some_and(|amino| amino == prefix))?;
    (usize::from(*length) == key.len())
        .then(|| scheme.public_key(key).ok())
        .flatten()
}

/// `{"@type":"/cosmos.crypto.ed25519.PubKey","key":"…"}` or `{"type":"tendermint/PubKeyEd25519","value":"…"}`.
fn from_json(text: &str) -> Option<PublicKey> {
    #[derive(Deserialize)]
    struct Json<'a> {
        #[serde(rename = "@type", alias = "type")]
        kind: &'a str,
        #[serde(alias = "value")]
        key: &'a str,
    }

    let json: Json<'_> = serde_json::from_str(text).ok()?;
    let mut all = Algorithm::ALL.iter();
    let scheme = all.find(|scheme| {
        let facts = scheme.facts();
        let mut names = facts.json.iter().map(|names| names.public);
        facts.sdk_type == json.kind || names.any(|name| name == json.kind)
    })?;
    let bytes = key_file::from_base64(json.key.as_bytes())?;
    scheme.public_key(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::format::{KeyFormat, format_key};

    fn key(scheme: Algorithm, seed: u8) -> PublicKey {
        scheme.public_half(&[seed; 32]).expect("a key")
    }

    fn hex_of(bytes: &[u8]) -> String {
        String::from_utf8(hex::encode_upper(bytes)).expect("hex")
    }

    /// Every way in which a key is printed somewhere.
    fn spellings(key: &PublicKey) -> Vec<String> {
        let bech32 = KeyFormat::Bech32 {
            account_key_prefix: "cosmospub".into(),
            consensus_key_prefix: "cosmosvalconspub".into(),
        };
        let json = format_key(key, Some(&KeyFormat::CosmosJson));
        let base64 = subtle_encoding::base64::encode(key.as_bytes());
        let base64 = String::from_utf8(base64).expect("base64");
        let mut spellings = vec![
            hex_of(key.as_bytes()),
            hex_of(key.as_bytes()).to_lowercase(),
            hex_of(&key.later_bytes()),
            hex_of(&key.address()),
            hex_of(&key.address()).to_lowercase(),
            json,
        ];
        for names in key.algorithm().facts().json {
            let name = names.public;
            spellings.push(format!(r#"{{"type":"{name}","value":"{base64}"}}"#));
        }
        if key.algorithm().facts().amino.is_some() {
            spellings.push(format_key(key, Some(&bech32)));
        }
        spellings.push(base64);
        spellings
    }

    #[test]
    fn a_key_is_named_by_every_form_in_which_it_is_printed_and_another_is_not() {
        let mut count = 0;
        for scheme in Algorithm::ALL {
            let (meant, other) = (key(*scheme, 7), key(*scheme, 8));
            let by_address: KeyName = hex_of(&meant.address()).parse().expect("an address");
            for spelling in spellings(&meant) {
                let name: KeyName = spelling.parse().unwrap_or_else(|NotAKeyName| {
                    unreachable!("{scheme}: {spelling} is a name");
                });
                assert!(name.names(&meant), "{scheme}: {spelling}");
                assert!(!name.names(&other), "{scheme}: {spelling}");
                assert!(name.meets(&by_address), "{scheme}: {spelling}");
                count += 1;
            }
        }
        assert!(count >= 5 * 8, "{count}");
    }

    #[test]
    fn what_is_no_key_is_no_name() {
        let long = "41".repeat(48);
        for text in [
            "",
            " ",
            "cosmoshub-4",
            "00",
            &long,
            "cosmosvalconspub1zcjduepqew5va3ef3znvmxnpjqhn367rswa5u0x2hdd83hmf2q8at4wxas0qy7ncux",
            r#"{"@type":"/cosmos.crypto.ed25519.PubKey"}"#,
            r#"{"@type":"/cosmos.crypto.sr25519.PubKey","key":"y6jOxymIps2aYZAvOOvDg7tOPMq7WnjfaVAP1dXG7B4="}"#,
            "====",
        ] {
            assert_eq!(text.parse::<KeyName>(), Err(NotAKeyName), "{text}");
        }
    }

    #[test]
    fn a_long_name_is_shown_by_its_start() {
        let name: KeyName = hex_of(key(Algorithm::MlDsa65, 7).as_bytes())
            .parse()
            .expect("a key");
        let shown = name.to_string();
        assert_eq!(shown.chars().count(), MOST_SHOWN + 1);
        assert!(shown.ends_with('…'));
    }
}
