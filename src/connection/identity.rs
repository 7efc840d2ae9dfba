//! The identity key: who this signer is to the node, in a file of its own.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use ed25519_dalek::{Signer, SigningKey};
use rand_core::{OsRng, RngCore};
use subtle_encoding::base64;
use zeroize::Zeroizing;

use crate::{
    connection::{Libp2pId, PeerId},
    crypto::PublicKey,
    key_file::{self, KeyFileError},
};

/// An Ed25519 key that authenticates this process to a node. It signs handshakes and nothing else.
pub struct Identity {
    // Boxed, so that moving an identity leaves no copies of the seed behind.
    key: Box<SigningKey>,
    public: PublicKey,
}

impl Identity {
    /// Reads the key file, or makes a new key and its file (mode 0600) when there is none. True if it was created.
    ///
    /// The file holds a 32-byte Ed25519 seed in base64; white space at its end does not count.
    ///
    /// # Errors
    /// `IdentityError`; nothing is created or changed when a file is there already.
    pub fn load_or_create(path: &Path) -> Result<(Self, bool), IdentityError> {
        match Self::load(path) {
            Err(IdentityError::File(KeyFileError::Io { source, .. }))
                if source.kind() == io::ErrorKind::NotFound => {}
            loaded => return Ok((loaded?, false)),
        }
        let seed = random_seed()?;
        let text = Zeroizing::new(base64::encode(*seed));
        match key_file::create(path, &text) {
            Ok(()) => Ok((Self::from_seed(&seed), true)),
            // Somebody else was faster, and that key is as good.
            Err(KeyFileError::Exists { .. }) => Ok((Self::load(path)?, false)),
            Err(error) => Err(error.into()),
        }
    }

    /// A key that is in no file: for a node's side and for tests.
    ///
    /// # Errors
    /// `IdentityError::Random` if the system has no random bytes.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self::from_seed(&*random_seed()?))
    }

    /// The key of a 32-byte seed (RFC 8032).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = Box::new(SigningKey::from_bytes(seed));
        let public = PublicKey::Ed25519(key.verifying_key());
        Self { key, public }
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// How a node calls this signer, in 40 hexadecimal digits.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PeerId::from(&self.public)
    }

    /// How a node with a `noise://` listener calls this signer.
    #[must_use]
    pub fn libp2p_id(&self) -> Libp2pId {
        Libp2pId::Ed25519(self.key.verifying_key().to_bytes())
    }

    /// Signs the static key of a Noise session behind libp2p's domain (24 + 32 bytes).
    pub(super) fn sign_bound(&self, bytes: &[u8; 56]) -> [u8; 64] {
        self.key.sign(bytes).to_bytes()
    }

    /// Signs a handshake's challenge (32 bytes).
    pub(super) fn sign(&self, challenge: &[u8; 32]) -> [u8; 64] {
        self.key.sign(challenge).to_bytes()
    }

    /// Reads the key file. Nothing is created.
    ///
    /// # Errors
    /// `IdentityError`.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let text = key_file::read(path)?;
        let invalid = || IdentityError::Encoding { path: path.into() };
        // tmkms 0.1 and 0.2.0 wrote the 32 bytes themselves.
        if text.len() == 32 {
            return Err(invalid());
        }
        let bytes = key_file::from_base64(text.trim_ascii_end()).ok_or_else(invalid)?;
        let seed = <&[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| IdentityError::Length {
            path: path.into(),
            length: bytes.len(),
        })?;
        // Release builds of the first tmkms wrote this key, and everybody has it.
        if seed.iter().all(|&byte| byte == 0) {
            return Err(IdentityError::Zeros { path: path.into() });
        }
        Ok(Self::from_seed(seed))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

fn random_seed() -> Result<Zeroizing<[u8; 32]>, IdentityError> {
    let mut seed = Zeroizing::new([0; 32]);
    OsRng
        .try_fill_bytes(seed.as_mut_slice())
        .map_err(|_| IdentityError::Random)?;
    if seed.iter().all(|&byte| byte == 0) {
        return Err(IdentityError::Random);
    }
    Ok(seed)
}

/// Why there is no identity key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or created.
    #[error("no identity key")]
    File(#[from] KeyFileError),
    /// Not base64.
    #[error("{}: invalid encoding", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
    },
    /// Another kind of key.
    #[error("{}: an identity key is a seed of 32 bytes, this has {length}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Decoded length in bytes.
        length: usize,
    },
    /// A key that everybody knows.
    #[error("{}: the key is all zeros", path.display())]
    Zeros {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
}

impl IdentityError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Encoding { path } | Self::Zeros { path } => Some(format!(
                "delete {}: a new identity key is created at the next start; a node with noise:// must be told its peer ID, others do not mind",
                path.display()
            )),
            Self::Length { .. } => Some(
                "secret_key names the identity key, not the consensus key; choose a path of its own"
                    .to_owned(),
            ),
            Self::Random => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn a_missing_key_is_created_for_its_owner_and_stays_the_same() {
        let dir = directory();
        let path = dir.path().join("identity.key");
        let (first, created) = Identity::load_or_create(&path).expect("creates");
        assert!(created);
        let metadata = fs::metadata(&path).expect("exists");
        assert_eq!(metadata.mode() & 0o777, 0o600);
        let text = fs::read(&path).expect("reads");
        assert_eq!(base64::decode(text).expect("base64").len(), 32);
        let (second, created) = Identity::load_or_create(&path).expect("loads");
        assert!(!created);
        assert_eq!(first.peer_id(), second.peer_id());
        let (other, _) = Identity::load_or_create(&dir.path().join("other")).expect("creates");
        assert_ne!(first.peer_id(), other.peer_id());
    }

    #[test]
    fn white_space_at_the_end_of_the_file_does_not_count() {
        let dir = directory();
        let path = dir.path().join("identity.key");
        let mut text = base64::encode([7; 32]);
        text.extend_from_slice(b" \r\n\n");
        key_file::create(&path, &text).expect("creates");
        let (identity, _) = Identity::load_or_create(&path).expect("loads");
        assert_eq!(identity.peer_id(), Identity::from_seed(&[7; 32]).peer_id());
    }

    #[test]
    fn files_that_are_no_seed_are_refused_and_left_alone() {
        type Kind = fn(&IdentityError) -> bool;
        let cases: &[(&str, Vec<u8>, Kind)] = &[
            ("raw", vec![0x5a; 32], |e| {
                matches!(e, IdentityError::Encoding { .. })
                    && e.to_string().ends_with("invalid encoding")
                    && e.hint().is_some_and(|hint| hint.starts_with("delete "))
            }),
            ("text", b"not base64!".to_vec(), |e| {
                matches!(e, IdentityError::Encoding { .. })
            }),
            ("empty", vec![], |e| {
                matches!(e, IdentityError::Length { length: 0, .. })
            }),
            ("long", base64::encode([1; 64]), |e| {
                matches!(e, IdentityError::Length { length: 64, .. })
            }),
            ("longer", base64::encode([1; 96]), |e| {
                matches!(e, IdentityError::Length { length: 96, .. })
            }),
            ("zeros", base64::encode([0; 32]), |e| {
                matches!(e, IdentityError::Zeros { .. })
            }),
        ];
        let dir = directory();
        for (name, content, kind) in cases {
            let path = dir.path().join(name);
            key_file::create(&path, content).expect("creates");
            let error = Identity::load_or_create(&path).expect_err(name);
            assert!(kind(&error), "{name}: {error:?}");
            assert_eq!(&fs::read(&path).expect("is there"), content);
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", Identity::from_seed(&[7; 32])), "Identity");
    }
}
