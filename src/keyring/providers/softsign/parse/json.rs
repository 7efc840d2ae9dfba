//! `priv_validator_key.json`, and `priv_validator.json`, which has the last signed state behind the key.

use std::{borrow::Cow, mem};

use serde::Deserialize;
use subtle_encoding::hex;
use zeroize::Zeroizing;

use super::{KeyError, Parsed, decode};
use crate::crypto::{Algorithm, JsonNames, PublicKey};

/// The kinds of private keys that are none of ours, and that nodes or their documentation have, as an error quotes them.
const KNOWN: [&str; 2] = [
    "`tendermint/PrivKeySr25519`",
    "`tendermint/PrivKeyBls12_381`",
];

#[derive(Deserialize)]
struct JsonKey<'a> {
    #[serde(borrow)]
    address: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub_key: Option<Typed<'a>>,
    #[serde(borrow)]
    priv_key: Typed<'a>,
}

/// Amino's JSON of a key. Borrowed from the file's wiped buffer.
#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

/// A consensus key, of the scheme that the file says.
pub(super) fn read(file: &[u8]) -> Result<Parsed, KeyError> {
    // The error's own text is not kept: it may quote a misplaced private key.
    let mut key: JsonKey<'_> = serde_json::from_slice(file).map_err(|e| KeyError::Json {
        problem: match e.classify() {
            serde_json::error::Category::Eof => "unexpected end",
            serde_json::error::Category::Data => "a missing or wrong field",
            serde_json::error::Category::Io | serde_json::error::Category::Syntax => "syntax error",
        },
        line: e.line(),
        column: e.column(),
    })?;
    let value = match mem::take(&mut key.priv_key.value) {
        Cow::Borrowed(value) => Zeroizing::new(value.to_owned()),
        Cow::Owned(value) => Zeroizing::new(value),
    };
    let kind = key.priv_key.kind.as_ref();
    let (scheme, types) = scheme_of(kind).ok_or_else(|| {
        let found = KNOWN.iter().find(|known| known.trim_matches('`') == kind);
        let found = found.unwrap_or(&"its `type`");
        KeyError::Kind { found }
    })?;
    let value = decode(value.as_bytes()).map_err(|_| KeyError::PrivKey)?;
    let secret = scheme
        .secret_from_json(&value)
        .ok_or(match (scheme, value.len()) {
            (Algorithm::Ed25519, 64) => KeyError::PrivKeyHalves,
            (Algorithm::Ed25519, _) => KeyError::PrivKey,
            _ => KeyError::Secret { scheme },
        })?;
    let parsed = Parsed::new(scheme, &secret)?;
    key.agrees(types, &parsed.public_key)?;
    Ok(parsed)
}

/// Whose private key has this type in JSON, and under which names.
fn scheme_of(kind: &str) -> Option<(Algorithm, &'static JsonNames)> {
    Algorithm::ALL.iter().find_map(|scheme| {
        let mut types = scheme.facts().json.iter();
        Some((*scheme, types.find(|types| types.private == kind)?))
    })
}

impl JsonKey<'_> {
    /// What the file states besides the private key must be about that key.
    fn agrees(&self, types: &JsonNames, key: &PublicKey) -> Result<(), KeyError> {
        if let Some(stated) = &self.pub_key {
            let is_it = |bytes: &[u8]| key.algorithm().public_key(bytes).as_ref() == Ok(key);
            let same = stated.kind == types.public
                && decode(stated.value.as_bytes()).is_ok_and(|stated| is_it(&stated));
            if !same {
                return Err(KeyError::PubKey);
            }
        }
        if let Some(stated) = &self.address {
            let stated = hex::decode(stated.to_ascii_lowercase());
            if stated.as_deref() != Ok(key.address().as_slice()) {
                return Err(KeyError::Address);
            }
        }
        Ok(())
    }
}
