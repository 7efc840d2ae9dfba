//! Keys in files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rand_core::{OsRng, RngCore};
use subtle_encoding::base64;
use zeroize::Zeroizing;

use crate::{
    crypto::{Algorithm, PublicKey, Signature},
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
    /// What the key is for.
    pub key_type: KeyType,
    /// The consensus key's scheme; `None`: told from the file's content, and Ed25519 where that does not say.
    pub scheme: Option<Algorithm>,
    /// How the file is written; `None`: told from its content.
    pub key_format: Option<FileFormat>,
    /// The key file.
    pub path: PathBuf,
    /// The file that is this key's record alone; `None`: it is found by the chain's `state_file`.
    pub state_file: Option<PathBuf>,
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
            let key = memory::scrubbed(|| load(&config.path, config.key_format, config.scheme))?;
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

/// Looks at an account key, which signs nothing. Returns its public key.
///
/// # Errors
/// `ProviderError` as in [`open`].
pub fn look_at_account(config: &Config) -> Result<PublicKey, ProviderError> {
    memory::scrubbed(|| {
        let bytes = key_file::read(&config.path)?;
        parse::account(&bytes, config.key_format).map_err(at(&config.path))
    })
}

/// Makes a new consensus key and writes it, mode 0600: of Ed25519 as base64 of its 32-byte seed, of another scheme as the scheme's
/// name, a space, and base64 of 32 bytes.
///
/// # Errors
/// `ProviderError`; an existing file is left as it is.
pub fn generate(scheme: Algorithm, path: &Path) -> Result<PublicKey, ProviderError> {
    memory::scrubbed(|| {
        let (secret, _) = draw(scheme)?;
        let key = parse::Parsed::new(scheme, secret.as_slice()).map_err(at(path))?;
        key_file::create(path, &key.to_file())?;
        Ok(key.public_key)
    })
}

/// Makes a new secp256k1 account key and writes it as base64 of its 32-byte scalar, mode 0600. Returns the public key.
///
/// # Errors
/// `ProviderError`; an existing file is left as it is.
pub fn generate_account(path: &Path) -> Result<PublicKey, ProviderError> {
    memory::scrubbed(|| {
        let (scalar, public_key) = draw(Algorithm::Secp256k1)?;
        key_file::create(path, &Zeroizing::new(base64::encode(scalar.as_slice())))?;
        Ok(public_key)
    })
}

/// Reads a consensus key in any format and of any scheme (`None`: told from the content) and writes it to a new file, as [`generate`]
/// does; base64 of 96 bytes where only the expanded form of an Ed25519 key is known.
///
/// # Errors
/// `ProviderError` as in [`open`] and [`generate`].
pub fn import(
    format: Option<FileFormat>,
    scheme: Option<Algorithm>,
    from: &Path,
    to: &Path,
) -> Result<PublicKey, ProviderError> {
    memory::scrubbed(|| {
        let key = load(from, format, scheme)?.0;
        key_file::create(to, &key.to_file())?;
        Ok(key.public_key)
    })
}

/// A private key on its way from a file into a device: the 32 bytes that a device takes.
pub(in crate::keyring::providers) struct Portable {
    /// An Ed25519 seed, or a secp256k1 scalar in big-endian.
    pub(in crate::keyring::providers) secret: Zeroizing<[u8; 32]>,
    pub(in crate::keyring::providers) public_key: PublicKey,
}

/// Reads a key file for a device. `scheme`: what it must be; `None`: what the file says, else Ed25519.
pub(in crate::keyring::providers) fn portable(
    path: &Path,
    format: FileFormat,
    scheme: Option<Algorithm>,
) -> Result<Portable, ProviderError> {
    memory::scrubbed(|| {
        let bytes = key_file::read(path)?;
        parse::portable(&bytes, format, scheme).map_err(at(path))
    })
}

/// A key in this process's memory.
struct SoftKey(parse::Parsed);

impl Signer for SoftKey {
    fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
        let signature = self.0.secret.sign(msg.as_bytes(), &self.0.public_key);
        signature.ok_or(SignerError::Unusable)
    }
}

fn load(
    path: &Path,
    format: Option<FileFormat>,
    scheme: Option<Algorithm>,
) -> Result<SoftKey, ProviderError> {
    let bytes = key_file::read(path)?;
    let key = parse::consensus(&bytes, format, scheme).map_err(at(path))?;
    Ok(SoftKey(key))
}

/// 32 random bytes that are a secret of the scheme, and its public half.
fn draw(scheme: Algorithm) -> Result<(Zeroizing<[u8; 32]>, PublicKey), ProviderError> {
    let mut secret = Zeroizing::new([0; 32]);
    loop {
        OsRng
            .try_fill_bytes(secret.as_mut_slice())
            .map_err(ProviderError::Random)?;
        // What is none is 0 or beyond the order of the curve.
        if let Some(public_key) = scheme.public_half(secret.as_slice()) {
            return Ok((secret, public_key));
        }
    }
}

fn at(path: &Path) -> impl FnOnce(KeyError) -> ProviderError {
    move |source| ProviderError::Key {
        path: path.into(),
        source,
    }
}
