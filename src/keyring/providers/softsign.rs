//! Keys in files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ed25519_dalek::VerifyingKey;
use rand_core::{OsRng, RngCore};
use subtle_encoding::base64;
use zeroize::Zeroizing;

use crate::{
    crypto::{PublicKey, Signature},
    key_file,
    keyring::{Key, Signer, SignerError},
    privval::ChainId,
    protection::Permitted,
};

mod memory;
mod parse;

pub use self::parse::KeyError;
pub use crate::keyring::providers::{KeyType, ProviderError};

/// As in the configuration's section name.
const NAME: &str = "softsign";

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

/// Opens a consensus key, ready to sign.
///
/// # Errors
/// `ProviderError` if the file cannot be read, others may read it, or it holds no key of the stated format; `Account` for an
/// account key, which is none to sign with.
pub fn open(config: &Config) -> Result<Key, ProviderError> {
    match config.key_type {
        KeyType::Consensus => {
            let key = memory::scrubbed(|| load(&config.path, config.key_format))?;
            Ok(Key {
                provider: NAME,
                signer: Arc::new(key),
            })
        }
        KeyType::Account => Err(ProviderError::Account {
            path: config.path.clone(),
        }),
    }
}

/// Looks at an account key, which signs nothing. Returns its compressed public key (33 bytes).
///
/// # Errors
/// `ProviderError` as in [`open`].
pub fn look_at_account(config: &Config) -> Result<[u8; 33], ProviderError> {
    memory::scrubbed(|| {
        let bytes = key_file::read(&config.path)?;
        parse::account(&bytes, config.key_format).map_err(at(&config.path))
    })
}

/// Makes a new Ed25519 consensus key and writes it as base64 of its 32-byte seed, mode 0600.
///
/// # Errors
/// `ProviderError`; an existing file is left as it is.
pub fn generate(path: &Path) -> Result<PublicKey, ProviderError> {
    memory::scrubbed(|| {
        let mut seed = Zeroizing::new([0; 32]);
        OsRng
            .try_fill_bytes(seed.as_mut_slice())
            .map_err(ProviderError::Random)?;
        let secret = memory::Secret::seed(&seed);
        key_file::create(path, &Zeroizing::new(base64::encode(seed.as_slice())))?;
        Ok(PublicKey::Ed25519(secret.verifying_key()))
    })
}

/// Makes a new secp256k1 account key and writes it as base64 of its 32-byte scalar, mode 0600. Returns the compressed
/// public key (33 bytes).
///
/// # Errors
/// `ProviderError`; an existing file is left as it is.
pub fn generate_account(path: &Path) -> Result<[u8; 33], ProviderError> {
    memory::scrubbed(|| {
        let mut scalar = Zeroizing::new([0; 32]);
        loop {
            OsRng
                .try_fill_bytes(scalar.as_mut_slice())
                .map_err(ProviderError::Random)?;
            // Fails for 0 and for values beyond the order: one in 2^127.
            if let Ok(public_key) = parse::account_public_key(&scalar) {
                key_file::create(path, &Zeroizing::new(base64::encode(scalar.as_slice())))?;
                return Ok(public_key);
            }
        }
    })
}

/// Reads a consensus key in any format (`None`: told from the content) and writes it to a new file: base64 of the 32-byte
/// seed, or of 96 bytes where only the expanded form is known.
///
/// # Errors
/// `ProviderError` as in [`open`] and [`generate`].
pub fn import(
    format: Option<FileFormat>,
    from: &Path,
    to: &Path,
) -> Result<PublicKey, ProviderError> {
    memory::scrubbed(|| {
        let key = load(from, format)?;
        let written = key.secret.file_bytes(key.verifying_key.as_bytes());
        key_file::create(to, &Zeroizing::new(base64::encode(written.as_slice())))?;
        Ok(key.public_key)
    })
}

/// A private key on its way from a file into a device: the 32 bytes that a device takes.
pub(in crate::keyring::providers) struct Portable {
    /// An Ed25519 seed, or a secp256k1 scalar in big-endian.
    pub(in crate::keyring::providers) secret: Zeroizing<[u8; 32]>,
    /// 32 bytes, or 33 of a compressed point.
    pub(in crate::keyring::providers) public_key: Vec<u8>,
    pub(in crate::keyring::providers) curve: Curve,
}

/// What a private key of 32 bytes belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Curve {
    /// Edwards, RFC 8032.
    Ed25519,
    /// Bitcoin's.
    Secp256k1,
}

/// Reads a key file for a device. `curve`: what it must be; `None`: what the file's JSON says, else Ed25519.
pub(in crate::keyring::providers) fn portable(
    path: &Path,
    format: FileFormat,
    curve: Option<Curve>,
) -> Result<Portable, ProviderError> {
    memory::scrubbed(|| {
        let bytes = key_file::read(path)?;
        let curve = curve.unwrap_or_else(|| {
            let is_other = format == FileFormat::Json && parse::is_secp256k1_json(&bytes);
            if is_other {
                Curve::Secp256k1
            } else {
                Curve::Ed25519
            }
        });
        parse::portable(&bytes, format, curve).map_err(at(path))
    })
}

/// An Ed25519 key in this process's memory.
struct SoftKey {
    secret: memory::Secret,
    verifying_key: VerifyingKey,
    public_key: PublicKey,
}

impl Signer for SoftKey {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
        let signature = self.secret.sign(msg.as_bytes(), &self.verifying_key);
        Ok(Signature::Ed25519(signature))
    }
}

fn load(path: &Path, format: Option<FileFormat>) -> Result<SoftKey, ProviderError> {
    let bytes = key_file::read(path)?;
    let secret = parse::consensus(&bytes, format).map_err(at(path))?;
    let verifying_key = secret.verifying_key();
    Ok(SoftKey {
        secret,
        verifying_key,
        public_key: PublicKey::Ed25519(verifying_key),
    })
}

fn at(path: &Path) -> impl FnOnce(KeyError) -> ProviderError {
    move |source| ProviderError::Key {
        path: path.into(),
        source,
    }
}
