//! Keys that come from elsewhere: private keys in files, and backups that a device made.

use std::{fmt, path::Path};

use zeroize::Zeroizing;

use crate::{
    crypto::{self, PublicKey},
    key_file::{self, KeyFileError},
    keyring::providers::{
        ProviderError,
        softsign::{self, FileFormat},
        yubihsm::{Algorithm, Capabilities, Wrapped},
    },
};

/// Bytes of a backup before the object's own: nonce 13, what the device knows of the object 59, tag 16.
const AROUND: usize = 88;

/// A private key that a device can take: 32 bytes of secret, wiped when dropped, and what its public key must be.
pub struct PrivateKey {
    /// Ed25519 or secp256k1.
    pub algorithm: Algorithm,
    /// Its public half.
    pub public_key: PublicKey,
    secret: Zeroizing<[u8; 32]>,
}

impl PrivateKey {
    /// Reads a key file. `scheme`: what it must be; `None`: what the file says, else Ed25519.
    ///
    /// # Errors
    /// `ProviderError` if the file cannot be read, others may read it, or it holds no key of that kind whose 32 secret bytes are known.
    pub fn read(
        path: &Path,
        format: FileFormat,
        scheme: Option<crypto::Algorithm>,
    ) -> Result<Self, ProviderError> {
        let key = softsign::portable(path, format, scheme)?;
        Ok(Self {
            algorithm: match key.public_key.algorithm() {
                crypto::Algorithm::Secp256k1 => Algorithm::EC_K256,
                // Whatever is neither is no portable key.
                _ => Algorithm::ED25519,
            },
            public_key: key.public_key,
            secret: key.secret,
        })
    }

    /// What a device is given: 32 bytes.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        self.secret.as_slice()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// What a key of this algorithm may do: sign, and nothing else.
#[must_use]
pub fn signing_capability(algorithm: Algorithm) -> Capabilities {
    match algorithm {
        Algorithm::ED25519 => Capabilities::SIGN_EDDSA,
        _ => Capabilities::SIGN_ECDSA,
    }
}

/// The file of a backup: an object as a device wrapped it, worth nothing without the wrap key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backup(pub Wrapped);

impl Backup {
    /// Reads a file of base64, as every version of tmkms and yubihsm-shell wrote it; white space between and around is no part of it.
    ///
    /// # Errors
    /// `BackupError` if it cannot be read, is no base64, or too short to be a backup.
    pub fn read(path: &Path) -> Result<Self, BackupError> {
        let mut text = key_file::read(path)?;
        text.retain(|byte| !byte.is_ascii_whitespace());
        let bytes = key_file::from_base64(&text).ok_or(BackupError::Encoding)?;
        if bytes.len() <= AROUND {
            return Err(BackupError::Short { found: bytes.len() });
        }
        Ok(Self(Wrapped(bytes.to_vec())))
    }

    /// Writes it as base64 on one line without its end, as the original did: mode 0600, and never over another file.
    ///
    /// # Errors
    /// `KeyFileError`
    pub fn write(&self, path: &Path) -> Result<(), KeyFileError> {
        key_file::create(path, &subtle_encoding::base64::encode(&self.0.0))
    }
}

/// Why a file is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It could not be read, or others can.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// Not base64.
    #[error("a backup is base64, and this file is not")]
    Encoding,
    /// Too short.
    #[error("a backup has more than 88 bytes, and this file has {found}")]
    Short {
        /// How many bytes the base64 stands for.
        found: usize,
    },
}

impl BackupError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Encoding => Some(
                "say what the file is: -t json for priv_validator_key.json, -t base64 for a private key; a backup in binary: base64 -w0"
                    .into(),
            ),
            Self::Short { .. } => {
                Some("a private key in base64 is imported with -t base64".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

    use super::*;

    const SECP256K1: &str = r#"{"address":"ADDRESS","pub_key":{"type":"tendermint/PubKeySecp256k1","value":"PUBLIC"},
        "priv_key":{"type":"tendermint/PrivKeySecp256k1","value":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}}"#;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        fs::write(&path, text).expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        (directory, path)
    }

    fn base64(bytes: &[u8]) -> String {
        String::from_utf8(subtle_encoding::base64::encode(bytes)).expect("ASCII")
    }

    #[test]
    fn a_secp256k1_key_of_cometbft_is_read_if_all_that_the_file_states_agrees() {
        // The point of scalar 0x0101…01, and its address, computed with Python's ecdsa and hashlib.
        let public = "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f";
        let public = subtle_encoding::hex::decode(public).expect("hex");
        let stated = SECP256K1.replace("PUBLIC", &base64(&public));
        let right = stated.replace("ADDRESS", "79B000887626B294A914501A4CD226B58B235983");
        let (_directory, path) = file(&right);
        let key = PrivateKey::read(&path, FileFormat::Json, None).expect("a key");
        assert_eq!(key.algorithm, Algorithm::EC_K256);
        assert_eq!(key.public_key.as_bytes(), public);
        assert!(!format!("{key:?}").contains("[1, 1"));
        for wrong in [
            stated.replace("ADDRESS", "00B000887626B294A914501A4CD226B58B235983"),
            right.replace(&base64(&public), &base64(&[2; 33])),
            right.replace("AQEBAQEBAQEB", "AQEBAQEBAQEC"),
        ] {
            let (_directory, path) = file(&wrong);
            assert!(PrivateKey::read(&path, FileFormat::Json, None).is_err());
        }
        let asked_otherwise =
            PrivateKey::read(&path, FileFormat::Json, Some(crypto::Algorithm::Ed25519));
        assert!(asked_otherwise.is_err());
    }

    #[test]
    fn base64_is_an_ed25519_seed_unless_the_operator_says_otherwise() {
        let (_directory, path) = file(&(base64(&[1; 32]) + "\n"));
        let key = PrivateKey::read(&path, FileFormat::Base64, None).expect("a key");
        assert_eq!(
            (key.algorithm, key.public_key.as_bytes().len()),
            (Algorithm::ED25519, 32)
        );
        let key = PrivateKey::read(
            &path,
            FileFormat::Base64,
            Some(crypto::Algorithm::Secp256k1),
        );
        assert_eq!(key.expect("a key").public_key.as_bytes().len(), 33);
    }

    #[test]
    fn an_expanded_key_is_refused_with_the_way_to_go() {
        let mut expanded = [0x40; 64];
        expanded.split_at_mut(1).0.fill(0);
        let (_directory, path) = file(&base64(&expanded));
        let error = PrivateKey::read(&path, FileFormat::Base64, None).expect_err("no seed");
        assert!(error.hint().expect("a hint").contains("-t wrap"), "{error}");
    }

    #[test]
    fn a_backup_is_read_with_any_white_space_and_written_without() {
        let (directory, path) = file(&format!(
            " {}\n{}\r\n\n",
            base64(&[7; 30]),
            base64(&[8; 60])
        ));
        let backup = Backup::read(&path).expect("a backup");
        assert_eq!(backup.0.0.len(), 90);
        let copy = directory.path().join("copy");
        backup.write(&copy).expect("writes");
        assert_eq!(fs::read(&copy).expect("is there").len(), 120);
        assert_eq!(Backup::read(&copy).expect("a backup"), backup);
        assert!(matches!(
            backup.write(&copy),
            Err(KeyFileError::Exists { .. })
        ));
    }

    #[test]
    fn what_is_no_backup_is_told_with_what_it_may_be() {
        for text in ["", "{}", &base64(&[1; 88])] {
            let (_directory, path) = file(text);
            let error = Backup::read(&path).expect_err("no backup");
            assert!(error.hint().is_some(), "{error}");
        }
    }
}
