//! `tmkms softsign`: key files.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use subtle_encoding::hex;

use crate::{
    commands::{
        Failure,
        key_type::{self, Purpose},
        note, output,
    },
    crypto::Algorithm,
    keyring::{
        format::format_key,
        providers::softsign::{self, FileFormat},
    },
};

/// Make and import keys in files
#[derive(Debug, Subcommand)]
pub(super) enum Softsign {
    /// Make a new key in a file and print its public key
    ///
    /// An existing file is never overwritten.
    Keygen {
        /// What the key is for
        #[arg(
            short = 't',
            long = "type",
            value_parser = key_type::purpose(),
            default_value = "consensus",
            value_name = "TYPE"
        )]
        purpose: Purpose,

        /// The file to create
        path: PathBuf,
    },
    /// Import a consensus key from another file format and print its public key
    ///
    /// Reads CometBFT's priv_validator_key.json, the older priv_validator.json, 32 raw bytes, or base64. The two halves of the key
    /// and the stated public key and address must agree. Writes base64, mode 0600; an existing file is never overwritten.
    Import {
        /// How IN is written [default: told from its content]
        #[arg(short, long, value_enum, value_name = "FORMAT")]
        format: Option<Format>,

        /// What kind of key it must be [default: what IN says, else ed25519]
        #[arg(short = 't', long = "type", value_parser = key_type::scheme(), value_name = "TYPE")]
        scheme: Option<Algorithm>,

        /// The file to read
        #[arg(value_name = "IN")]
        from: PathBuf,

        /// The file to create
        #[arg(value_name = "OUT")]
        to: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// priv_validator_key.json or priv_validator.json
    Json,
    /// 32 raw bytes
    Raw,
    /// Base64 of 32, 64 or 96 bytes, or what `softsign keygen` writes
    Base64,
}

impl Softsign {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Keygen {
                purpose: Purpose::Consensus(scheme),
                path,
            } => {
                let key = softsign::generate(*scheme, path)?;
                note(&format!(
                    "generated consensus ({scheme}) private key at {}, address {}",
                    path.display(),
                    key.address_text()
                ));
                output(&format!("{}\n", format_key(&key, None)))
            }
            Self::Keygen {
                purpose: Purpose::Account,
                path,
            } => {
                let key = softsign::generate_account(path)?;
                note(&format!(
                    "generated account (secp256k1) private key at {}",
                    path.display()
                ));
                let key = hex::encode_upper(key.as_bytes());
                output(&format!("{}\n", String::from_utf8_lossy(&key)))
            }
            Self::Import {
                format,
                scheme,
                from,
                to,
            } => {
                let key = softsign::import(format.map(Into::into), *scheme, from, to)?;
                note(&format!(
                    "imported consensus ({}) private key to {}, address {}",
                    key.algorithm(),
                    to.display(),
                    key.address_text()
                ));
                output(&format!("{}\n", format_key(&key, None)))
            }
        }
    }
}

impl From<Format> for FileFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Raw => Self::Raw,
            Format::Base64 => Self::Base64,
        }
    }
}
