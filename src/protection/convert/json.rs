//! The JSON of state files: every spelling of a number, of nil and of a block ID that was ever written.

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use subtle_encoding::hex;

use crate::{
    crypto::{Algorithm, PublicKey},
    key_file,
    protection::convert::BlockId,
};

/// A state file. Fields that nobody needs here are ignored; a private key is skipped without being kept.
#[derive(Deserialize)]
pub(super) struct File {
    height: Option<Number>,
    round: Option<Number>,
    step: Option<Number>,
    #[serde(default, deserialize_with = "present")]
    block_id: Option<Option<Block>>,
    /// A string, or `{"type", "value"}` in the oldest files; only its presence counts.
    signature: Option<IgnoredAny>,
    signbytes: Option<String>,
    last_height: Option<Number>,
    last_round: Option<Number>,
    last_step: Option<Number>,
    last_signature: Option<IgnoredAny>,
    last_signbytes: Option<String>,
    pub_key: Option<Key>,
    priv_key: Option<IgnoredAny>,
}

/// The same in one shape.
pub(super) struct Fields {
    /// ≥ 0; 0 for "never".
    pub(super) height: i64,
    /// ≥ 0.
    pub(super) round: i64,
    /// As the file has it.
    pub(super) step: i64,
    /// The block of the last signature.
    pub(super) block: BlockField,
    /// Hex.
    pub(super) sign_bytes: Option<String>,
    /// There is a signature.
    pub(super) has_signature: bool,
    /// The height is a string and the round a number: Go's way to write an int64 beside an int32.
    pub(super) round_is_an_int32: bool,
    /// The fields are called `last_…`.
    pub(super) single_file: bool,
    /// The public key.
    pub(super) key: Option<PublicKey>,
    /// There is a private key.
    pub(super) holds_key: bool,
}

/// What stands for the block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BlockField {
    /// No such field.
    Absent,
    /// `null`, `""`, or all parts empty.
    Nil,
    /// The hash of a block, without its parts.
    HashOnly,
    /// A block.
    Whole(BlockId),
}

impl File {
    /// Sorts the fields; says what is wrong with them.
    pub(super) fn fields(self) -> Result<Fields, String> {
        let single_file = self.last_height.is_some();
        let (height, round, step) = if single_file {
            (self.last_height, self.last_round, self.last_step)
        } else {
            (self.height, self.round, self.step)
        };
        let height = height.ok_or("it has no height")?;
        let round = round.ok_or("it has no round")?;
        let step = step.ok_or("it has no step")?;
        let round_is_an_int32 = matches!((&height, &round), (Number::Text(_), Number::Plain(_)));
        let at_least_0 = |name: &str, number: Number| {
            let number = number.value(name)?;
            if number < 0 {
                return Err(format!("its {name} is {number}"));
            }
            Ok(number)
        };
        let (has_signature, sign_bytes) = if single_file {
            (self.last_signature.is_some(), self.last_signbytes)
        } else {
            (self.signature.is_some(), self.signbytes)
        };
        Ok(Fields {
            height: at_least_0("height", height)?,
            round: at_least_0("round", round)?,
            step: step.value("step")?,
            block: match self.block_id {
                None => BlockField::Absent,
                Some(None) => BlockField::Nil,
                Some(Some(block)) => block.read().ok_or("its block_id is none")?,
            },
            sign_bytes: sign_bytes.filter(|text| !text.is_empty()),
            has_signature,
            round_is_an_int32,
            single_file,
            key: self.pub_key.and_then(Key::read),
            holds_key: self.priv_key.is_some(),
        })
    }
}

/// A number, or one in a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(i64),
    Text(String),
}

impl Number {
    fn value(self, name: &str) -> Result<i64, String> {
        match self {
            Self::Plain(number) => Ok(number),
            Self::Text(text) => text.parse().map_err(|_| format!("its {name} is no number")),
        }
    }
}

/// A block ID: the bare hash of 0.5, or hash and parts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Block {
    Hash(String),
    Full {
        #[serde(default)]
        hash: Option<String>,
        #[serde(default, alias = "part_set_header")]
        parts: Option<Parts>,
    },
}

#[derive(Deserialize)]
struct Parts {
    total: Option<Number>,
    hash: Option<String>,
}

impl Block {
    fn read(self) -> Option<BlockField> {
        let (block_hash, parts) = match self {
            Self::Hash(block_hash) => (block_hash, None),
            Self::Full { hash, parts } => (hash.unwrap_or_default(), parts),
        };
        let block_hash = hash(&block_hash)?;
        let (total, parts_hash) = match parts {
            None => (0, None),
            Some(parts) => (
                match parts.total {
                    None => 0,
                    Some(total) => u32::try_from(total.value("total").ok()?).ok()?,
                },
                hash(&parts.hash.unwrap_or_default())?,
            ),
        };
        Some(match (block_hash, total, parts_hash) {
            (None, 0, None) => BlockField::Nil,
            (Some(hash), 1.., Some(parts_hash)) => BlockField::Whole(BlockId {
                hash,
                parts_total: total,
                parts_hash,
            }),
            _ => BlockField::HashOnly,
        })
    }
}

/// 32 bytes in hex, or the empty string; the outer `None` for anything else.
fn hash(text: &str) -> Option<Option<[u8; 32]>> {
    if text.is_empty() {
        return Some(None);
    }
    let bytes = hex::decode(text.to_ascii_lowercase()).ok()?;
    Some(Some(bytes.try_into().ok()?))
}

#[derive(Deserialize)]
struct Key {
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

impl Key {
    fn read(self) -> Option<PublicKey> {
        let is_it = |scheme: &&Algorithm| {
            let mut names = scheme.facts().json.iter();
            names.any(|names| names.public == self.kind)
        };
        let scheme = Algorithm::ALL.iter().find(is_it)?;
        let bytes = key_file::from_base64(self.value.as_bytes())?;
        scheme.public_key(&bytes).ok()
    }
}

/// Tells a field that is `null` from one that is absent.
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
