//! The key backends, one file each.

use std::path::PathBuf;

use crate::key_file::KeyFileError;

pub mod ledgertm;
pub mod softsign;
pub mod yubihsm;

/// What a key is for: `key_type` of a soft key, `type` of a key in a YubiHSM.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum KeyType {
    /// Signs votes and proposals.
    #[default]
    Consensus,
    /// secp256k1; signs nothing since the original dropped transactions, but may stand in the file.
    Account,
}

/// Why a provider could not open, make or import a key.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The key file could not be read or created.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The key file was read and holds no key that can be used.
    #[error("{} holds no usable key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        source: softsign::KeyError,
    },
    /// An account key where a consensus key is needed.
    #[error("{} is an account key, which signs neither votes nor proposals", path.display())]
    Account {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("the system's random numbers cannot be read")]
    Random(#[source] rand_core::Error),
}

impl ProviderError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Key { source, .. } => source.hint().map(Into::into),
            Self::Account { .. } | Self::Random(_) => None,
        }
    }
}
