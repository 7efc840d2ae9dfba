//! `tmkms generate`: a new soft consensus key.

use std::path::PathBuf;

use crate::{
    commands::{Failure, key_type, note, output},
    crypto::Algorithm,
    keyring::{format::format_key, providers::softsign},
};

/// Make a new consensus key in a file and print its public key
///
/// The file holds the base64 of a 32-byte Ed25519 seed, or the type, a space, and base64 of 32 bytes; mode 0600. An existing file is
/// never overwritten. The key is tied to a chain when `tmkms state init CHAIN` makes its record.
#[derive(clap::Args, Debug)]
pub(super) struct Generate {
    /// What kind of key: one that the chain's `consensus_params.validator.pub_key_types` names
    #[arg(short = 't', long = "type", value_parser = key_type::scheme(), default_value = "ed25519", value_name = "TYPE")]
    scheme: Algorithm,

    /// The file to create
    path: PathBuf,
}

impl Generate {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let key = softsign::generate(self.scheme, &self.path)?;
        note(&format!(
            "generated consensus ({}) private key at {}, address {}",
            self.scheme,
            self.path.display(),
            key.address_text()
        ));
        output(&format!("{}\n", format_key(&key, None)))
    }
}
