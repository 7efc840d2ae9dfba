//! Keys in files.

use std::path::PathBuf;

use crate::privval::ChainId;

/// `[[providers.softsign]]`: one key file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The chains that this key signs for.
    pub chain_ids: Vec<ChainId>,
    /// What kind of key it is.
    pub key_type: KeyType,
    /// How the file is written; `None`: told from its content.
    pub key_format: Option<FileFormat>,
    /// The key file.
    pub path: PathBuf,
}

/// `key_type` of a soft key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum KeyType {
    /// Ed25519, signs votes and proposals.
    #[default]
    Consensus,
    /// secp256k1; signs nothing since the original dropped transactions, but may stand in the file.
    Account,
}

/// `key_format` of a soft key file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileFormat {
    /// Standard base64 of 32, 64 or 96 bytes.
    Base64,
    /// `priv_validator_key.json` or the older `priv_validator.json`.
    Json,
    /// 32 raw bytes.
    Raw,
}
