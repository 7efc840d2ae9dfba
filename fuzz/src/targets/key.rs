//! Soft key files, told apart by content. No error ever quotes what stands in one.

use std::{error::Error, fs, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use subtle_encoding::base64;
use tmkms::{
    crypto::{Algorithm, PublicKey},
    keyring::providers::softsign::{self, Config, FileFormat, KeyType},
};

use crate::targets::{Target, hold};

/// A published test key: seed ‖ public key.
const WHOLE: &str =
    "skHDGUYe2pOhwfSrXZQ6KeKnmKgTOn+f++Vmj4OOqIHya/SyouhM63pTw/Gud0CHebIAZHgvutvfDjZZWe5FNA==";
const PUBLIC: &str = "8mv0sqLoTOt6U8PxrndAh3myAGR4L7rb3w42WVnuRTQ=";

/// How much of a secret must not be seen in an error.
const WINDOW: usize = 12;

pub(crate) struct Keys {
    home: tempfile::TempDir,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self {
            home: super::scratch(),
        }
    }

    fn config(&self, path: PathBuf, mode: u8) -> Config {
        Config {
            chain_ids: Vec::new(),
            key_type: if mode & 8 == 0 {
                KeyType::Consensus
            } else {
                KeyType::Account
            },
            scheme: usize::from(mode >> 4)
                .checked_sub(1)
                .and_then(|at| Algorithm::ALL.get(at))
                .copied(),
            key_format: match mode & 3 {
                0 => None,
                1 => Some(FileFormat::Base64),
                2 => Some(FileFormat::Json),
                _ => Some(FileFormat::Raw),
            },
            state_file: None,
            path,
        }
    }
}

impl Target for Keys {
    /// The first byte chooses what the configuration says of the file.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let seed = base64::decode(WHOLE)
            .map(|it| it.split_at(32).0.to_vec())
            .unwrap_or_default();
        let modern = format!(
            r#"{{"address":"AD7DAE5FEC609CF02F9BDE7D81D0C3CD66141563","pub_key":{{"type":"tendermint/PubKeyEd25519","value":"{PUBLIC}"}},"priv_key":{{"type":"tendermint/PrivKeyEd25519","value":"{WHOLE}"}}}}"#
        );
        let old = modern.replacen(
            '{',
            r#"{"last_height":"36","last_round":"0","last_step":3,"#,
            1,
        );
        let with = |mode: u8, content: &[u8]| [&[mode], content].concat();
        vec![
            with(0, WHOLE.as_bytes()),
            with(1, &base64::encode(&seed)),
            with(1, &base64::encode([seed.as_slice(), &seed, &seed].concat())),
            with(0, modern.as_bytes()),
            with(2, old.as_bytes()),
            with(3, &seed),
            with(0, &seed),
            with(9, &base64::encode(&seed)),
        ]
    }

    fn run(&mut self, input: &[u8]) -> Result<String, String> {
        let (mode, content) = input.split_first().unwrap_or((&0, &[]));
        let path = self.home.path().join("key");
        write(&path, content)?;
        let config = self.config(path, *mode);
        if config.key_type == KeyType::Account {
            return match softsign::look_at_account(&config) {
                Ok(_) => Ok("account".to_owned()),
                Err(error) => told(&error, content),
            };
        }
        let open = || softsign::open(&config).map(|key| key.signer.public_key().clone());
        match open() {
            Err(error) => told(&error, content),
            Ok(key) => {
                hold!(open().ok().as_ref() == Some(&key), "two readings differ");
                self.import(&config, &key)?;
                Ok("key".to_owned())
            }
        }
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            WHOLE,
            PUBLIC,
            "tendermint/PrivKeyEd25519",
            "tendermint/PrivKeySecp256k1",
            "secp256k1 ",
            "=",
            "\n",
            "{",
            "}",
            "\"",
            ":",
            "null",
        ]
    }
}

impl Keys {
    /// A key that was imported is the same key.
    fn import(&self, config: &Config, key: &PublicKey) -> Result<(), String> {
        let to = self.home.path().join("imported");
        let _ = fs::remove_file(&to);
        let imported = softsign::import(config.key_format, config.scheme, &config.path, &to)
            .map_err(|e| e.to_string())?;
        let again = self.config(to, 0);
        let again = softsign::open(&again).map_err(|e| e.to_string())?;
        hold!(
            imported == *key && again.signer.public_key() == key,
            "an imported key is another"
        );
        Ok(())
    }
}

fn write(path: &PathBuf, content: &[u8]) -> Result<(), String> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|e| e.to_string())
}

/// The whole chain of an error, as people and logs see it.
fn told(error: &dyn Error, content: &[u8]) -> Result<String, String> {
    let mut said = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        said.push_str(&format!(": {error}"));
        next = error.source();
    }
    hold!(said.len() < 1_000, "an error of {} bytes", said.len());
    hold!(
        !said.contains(char::is_control),
        "control characters in {said:?}"
    );
    // The published key stands for a secret one.
    let whole = WHOLE.as_bytes();
    let leaks = content.windows(whole.len()).any(|it| it == whole)
        && whole
            .windows(WINDOW)
            .any(|it| said.as_bytes().windows(WINDOW).any(|there| there == it));
    hold!(!leaks, "the key stands in {said}");
    Ok(super::without_quotes(&said))
}
