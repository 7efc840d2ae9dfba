//! `tmkms yubihsm keys`.

use std::path::Path;

use clap::{Subcommand, ValueEnum};

use crate::{
    commands::{
        Failure, Global,
        yubihsm::{connect::Opened, now},
    },
    crypto,
    keyring::providers::{
        self,
        yubihsm::{Algorithm, Label, ObjectId, ObjectType},
    },
};

mod export;
mod generate;
mod import;
mod list;
mod record;
mod shown;

/// The wrap key that `setup` makes.
const PRIMARY_WRAP_KEY: u16 = 1;

#[derive(Debug, Subcommand)]
pub(in crate::commands) enum Keys {
    /// Make a new key in the device and print its public key
    ///
    /// An ID in use is refused.
    Generate(generate::Generate),
    /// Show the keys in the device
    List(list::List),
    /// Write an encrypted backup of a key
    ///
    /// An existing file is never overwritten.
    Export(export::Export),
    /// Bring a key, or a backup, into the device
    ///
    /// The key is read back and compared with the file. An ID in use is refused.
    Import(import::Import),
    /// The command is `tmkms yubihsm test`
    #[command(hide = true)]
    Test {
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

impl Keys {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Generate(command) => command.run(global),
            Self::List(command) => command.run(global),
            Self::Export(command) => command.run(global),
            Self::Import(command) => command.run(global),
            Self::Test { rest } => {
                let words = rest.join(" ");
                let typed = if words.is_empty() { "KEY_ID" } else { &words };
                Err(Failure::usage("there is no `tmkms yubihsm keys test`")
                    .hint(format!("tmkms yubihsm test {typed}")))
            }
        }
    }
}

/// What a key is for, and with it on which curve it lies.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum KeyType {
    /// secp256k1, for accounts
    Account,
    /// Ed25519, signs votes and proposals
    #[default]
    #[value(alias = "ed25519")]
    Consensus,
    /// secp256k1, signs votes and proposals of chains that have such validators
    Secp256k1,
}

impl KeyType {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Consensus => Algorithm::ED25519,
            Self::Account | Self::Secp256k1 => Algorithm::EC_K256,
        }
    }

    /// As lines and labels name it.
    fn name(self) -> &'static str {
        match self.use_for() {
            providers::KeyType::Account => "account",
            providers::KeyType::Consensus => "consensus",
        }
    }

    fn use_for(self) -> providers::KeyType {
        match self {
            Self::Account => providers::KeyType::Account,
            Self::Consensus | Self::Secp256k1 => providers::KeyType::Consensus,
        }
    }
}

/// A curve as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum AlgorithmName {
    Ed25519,
    Secp256k1,
}

impl From<AlgorithmName> for crypto::Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Ed25519 => Self::Ed25519,
            AlgorithmName::Secp256k1 => Self::Secp256k1,
        }
    }
}

/// As lines name the curve of a key; `None` for one that tmkms does not sign with.
fn algorithm_name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::ED25519 => Some("ed25519"),
        Algorithm::EC_K256 => Some("secp256k1"),
        _ => None,
    }
}

/// A label as it is typed: at most 40 bytes.
fn label(typed: &str) -> Result<String, String> {
    if typed.len() <= Label::LEN && !typed.contains('\0') {
        Ok(typed.to_owned())
    } else {
        Err("a label has at most 40 bytes, and none is zero".to_owned())
    }
}

/// The label of a key that was given none: `PREFIX:TIME`, as far as there is room.
fn default_label(prefix: &str) -> String {
    let now = now();
    let room = Label::LEN - 1 - now.len();
    let mut end = prefix.len().min(room);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}:{now}", prefix.get(..end).unwrap_or_default())
}

/// A file that is to be made must not be there, and its directory must. Asked before the device is: nothing is done in vain.
pub(super) fn refuse_existing(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() {
        return Err(Failure::new(format!("{} exists already", path.display()))
            .hint("nothing was done; choose another path, or move the old file away"));
    }
    match path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(directory) if !directory.is_dir() => {
            Err(
                Failure::new(format!("there is no directory {}", directory.display())).hint(
                    format!("nothing was done; mkdir -m 700 {}", directory.display()),
                ),
            )
        }
        _ => Ok(()),
    }
}

/// An ID must be free. Asked about that one object: a list can lie.
fn refuse_id_in_use(hsm: &mut Opened, id: ObjectId) -> Result<(), Failure> {
    let found = hsm.device.object_info(id, ObjectType::ASYMMETRIC_KEY);
    match found.map_err(|error| hsm.failed(&format!("cannot look for key 0x{id:04x}"), &error))? {
        None => Ok(()),
        Some(info) => Err(Failure::new(format!(
            "key 0x{id:04x} exists already in YubiHSM {}: {} {:?}",
            hsm.serial,
            info.algorithm,
            info.label.text()
        ))
        .hint(
            "nothing was changed; choose another ID: `tmkms yubihsm keys list` shows those in use",
        )),
    }
}

/// A name in front of a bech32 key: 1 to 83 letters and digits in one case, as BIP 173 has it.
fn bech32_prefix(typed: &str) -> Result<String, String> {
    let is_sound = (1..=83).contains(&typed.len())
        && typed
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
    if is_sound {
        Ok(typed.to_owned())
    } else {
        Err("a prefix has 1 to 83 lower-case letters and digits".into())
    }
}
