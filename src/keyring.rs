//! Keys and whom they sign for.

use std::{fmt, sync::Arc};

use crate::{
    crypto::{PublicKey, Signature},
    protection::Permitted,
};

pub mod format;
pub mod providers;

/// Something that can sign with one key: a soft key, later a slot of a device.
pub trait Signer: Send + Sync {
    /// The key's public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs bytes that a permit lends.
    ///
    /// # Errors
    /// `SignerError` if there is no signature; the permit is used up all the same.
    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError>;
}

/// Why a key did not sign.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The key's memory could not be used.
    #[error("the key cannot sign")]
    Unusable,
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
