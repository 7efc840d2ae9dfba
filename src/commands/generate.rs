//! `tmkms generate`: a new soft consensus key.

use std::path::PathBuf;

use crate::{
    commands::{Failure, note, output},
    keyring::{format::format_key, providers::softsign},
};

/// Make a new consensus key in a file and print its public key
///
/// The file holds the base64 of a 32-byte Ed25519 seed, mode 0600. An existing file is never overwritten. The key is tied to a
/// chain when `tmkms state init CHAIN` makes its record.
#[derive(clap::Args, Debug)]
pub(super) struct Generate {
    /// The file to create
    path: PathBuf,
}

impl Generate {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let key = softsign::generate(&self.path)?;
        note(&format!(
            "generated consensus (Ed25519) private key at {}",
            self.path.display()
        ));
        output(&format!("{}\n", format_key(&key, None)))
    }
}
