//! The key backends, one file each.
//!
//! A backend's `open` or `key` gives a [`Key`](crate::keyring::Key) that is ready to sign, or says why not. Where
//! [`ProviderError::is_transient`] holds, `kms` has the chain's own threads call it again, with a growing wait, until the key is
//! there; such a call comes back within the patience that it is given and is cheap while a device stays away.

use std::path::PathBuf;

use crate::key_file::KeyFileError;

pub mod ledgertm;
pub mod softsign;
mod watched;
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
    /// A device that is not there yet, busy, or waits for a person. It is tried again; until it opens, its chains wait.
    #[error("{device} is not ready: {reason}")]
    NotReady {
        /// The provider and what tells the device from others: `yubihsm 0012345678`.
        device: String,
        /// What was tried and what came of it, in one line.
        reason: String,
        /// What the operator can do about it.
        hint: Option<String>,
    },
    /// A device that answers, and whose answer no second try will change: no such key, a missing capability, a wrong
    /// password.
    #[error("{device} cannot be used: {reason}")]
    Unusable {
        /// The provider and what tells the device from others: `yubihsm 0012345678`.
        device: String,
        /// What is wrong, in one line.
        reason: String,
        /// What the operator can do about it.
        hint: Option<String>,
    },
    /// The system gives no random numbers.
    #[error("the system's random numbers cannot be read")]
    Random(#[source] rand_core::Error),
}

impl ProviderError {
    /// `NotReady` if what is wrong with the device may pass, else `Unusable`.
    fn of_device(device: String, reason: String, hint: Option<String>, passes: bool) -> Self {
        if passes {
            Self::NotReady {
                device,
                reason,
                hint,
            }
        } else {
            Self::Unusable {
                device,
                reason,
                hint,
            }
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Key { source, .. } => source.hint().map(Into::into),
            Self::NotReady { hint, .. } | Self::Unusable { hint, .. } => hint.clone(),
            Self::Account { .. } | Self::Random(_) => None,
        }
    }

    /// Whether the same call may succeed later, without a new configuration: the chain waits then instead of failing.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NotReady { .. })
    }
}
