//! What can be wrong with the content of a key file.

use crate::crypto::Algorithm;

/// Why the content of a file is no key. Never carries any of the content.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// Nothing in the file.
    #[error("the file is empty")]
    Empty,
    /// Neither JSON nor raw bytes nor base64.
    #[error("invalid encoding: neither base64 nor JSON nor 32 raw bytes")]
    Encoding,
    /// Base64 of a wrong number of bytes.
    #[error("invalid Ed25519 key size: expected 32, 64 or 96 bytes, but got {found}")]
    Length {
        /// How many bytes the base64 stands for.
        found: usize,
    },
    /// Said to be raw, but not 32 bytes.
    #[error("a raw key has 32 bytes, but this file has {found}")]
    RawLength {
        /// How many bytes the file has.
        found: usize,
    },
    /// 64 bytes that are neither seed and public key nor an expanded key.
    #[error("the second half is not the public key of the first, and the first is no expanded key")]
    Halves,
    /// 96 bytes whose public key belongs to another key.
    #[error("the public key in the file is not that of its scalar")]
    Expanded,
    /// Not the JSON of a key file.
    #[error("not a key file's JSON: {problem} at line {line}, column {column}")]
    Json {
        /// Syntax, an unexpected end, or a missing or wrong field.
        problem: &'static str,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A key of a kind that does not sign votes here.
    #[error("{found} is no kind of consensus key that this version signs with")]
    Kind {
        /// The type that the file states, if it is a type of some node: anything else could be a key in the wrong place.
        found: &'static str,
    },
    /// A key of another scheme than the configuration or the command says.
    #[error("the file holds a key of the type {found}, and not {wanted}")]
    Other {
        /// What the file says that it is.
        found: Algorithm,
        /// What it should be.
        wanted: Algorithm,
    },
    /// `priv_key` holds no seed and public key.
    #[error("`priv_key` is not base64 of 64 bytes, seed and public key")]
    PrivKey,
    /// The halves of `priv_key` disagree.
    #[error("the second half of `priv_key` is not the public key of the first")]
    PrivKeyHalves,
    /// `pub_key` belongs to another key.
    #[error("`pub_key` is not the public key of `priv_key`")]
    PubKey,
    /// `address` belongs to another key.
    #[error("`address` is not the address of `priv_key`")]
    Address,
    /// An account key as JSON.
    #[error("an account key is base64, not JSON")]
    AccountJson,
    /// An account key of a wrong length.
    #[error("an account key has 32 bytes, but this one has {found}")]
    AccountLength {
        /// How many bytes the base64 stands for.
        found: usize,
    },
    /// An expanded key where a device needs the seed.
    #[error(
        "the file holds an expanded key, and a device takes nothing but the 32-byte seed that it was made from"
    )]
    NoSeed,
    /// A key of a scheme that no device signs with.
    #[error("no device signs with {scheme} keys")]
    NoDevice {
        /// Which.
        scheme: Algorithm,
    },
    /// Of a wrong length, zero, or beyond the curve's order.
    #[error("not a {scheme} private key")]
    Secret {
        /// What it should be.
        scheme: Algorithm,
    },
}

impl KeyError {
    /// What the operator can do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Halves | Self::Expanded | Self::PrivKeyHalves | Self::PubKey | Self::Address => {
                Some("the file is damaged or was put together by hand; take it from its backup")
            }
            Self::Encoding | Self::Empty | Self::Length { .. } | Self::RawLength { .. } => Some(
                "a key file is base64 of a 32-byte seed, or CometBFT's priv_validator_key.json",
            ),
            Self::NoSeed => Some(
                "import the backup that the device made (-t wrap), or the file that the key came from",
            ),
            Self::Json { .. }
            | Self::Kind { .. }
            | Self::Other { .. }
            | Self::NoDevice { .. }
            | Self::PrivKey
            | Self::AccountJson
            | Self::AccountLength { .. }
            | Self::Secret { .. } => None,
        }
    }
}
