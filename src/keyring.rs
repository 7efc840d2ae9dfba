//! Keys and whom they sign for.

use std::{fmt, sync::Arc};

use crate::{
    crypto::{PublicKey, Signature},
    protection::Permitted,
};

pub mod format;
pub mod key_name;
pub mod providers;

/// Something that can sign with one key: a soft key, later a slot of a device.
pub trait Signer: Send + Sync {
    /// The key's public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs bytes that a permit lends.
    ///
    /// It returns within about four seconds, which is what a node waits; a device that takes longer works on in its
    /// provider's own thread, and its signature answers the next call with the same bytes.
    ///
    /// # Errors
    /// `SignerError` if there is no signature; the permit is used up all the same.
    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError>;

    /// Whether the same bytes get the same signature again, for as long as the key exists. The signatures of a key that
    /// says no are kept in the chain's record, and a repeat is answered from there.
    fn repeats_itself(&self) -> bool {
        true
    }

    /// Whether the key can sign vote extensions. Where it cannot, an empty one is left out of the reply, and a precommit with any
    /// other is refused before it is recorded.
    fn signs_extensions(&self) -> bool {
        true
    }
}

/// Why a key did not sign. The reasons go to the log and to the node: one line, lower case, nothing secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignerError {
    /// The key's memory could not be used.
    #[error("the key cannot sign")]
    Unusable,
    /// Not now, but the same bytes may well be signed when they are asked for again: a device that is busy, away, or waits
    /// for a person. A node is made to ask again.
    #[error("the key is not ready: {reason}")]
    Transient {
        /// What it waits for, and what a person can do about it.
        reason: String,
    },
    /// Not these bytes, however often they are asked for.
    #[error("the key did not sign: {reason}")]
    Final {
        /// What the device said, and what a person can do about it.
        reason: String,
    },
}

impl SignerError {
    /// Whether the same bytes may be signed when they are asked for again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}

/// A key of a provider, ready to sign. Clones share the one copy of the secret.
#[derive(Clone)]
pub struct Key {
    /// `softsign`, later `yubihsm` and others: as in the configuration's section name.
    pub provider: &'static str,
    /// The key itself.
    pub signer: Arc<dyn Signer>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("provider", &self.provider)
            .field("public_key", self.signer.public_key())
            .finish()
    }
}
