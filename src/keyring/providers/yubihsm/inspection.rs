//! Whether a key of the device can sign, and what its session could do besides.

use crate::crypto::{InvalidPublicKey, PublicKey};

use super::{
    capability::Capabilities,
    device::{Device, PublicKeyBytes},
    error::DeviceError,
    object::{Algorithm, Info, ObjectId, ObjectType},
};

/// How a key signs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// Ed25519 over the message.
    Ed25519,
    /// ECDSA with secp256k1 over the message's SHA-256.
    Secp256k1,
}

impl Scheme {
    /// The scheme of keys of this algorithm.
    #[must_use]
    pub fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::ED25519 => Some(Self::Ed25519),
            Algorithm::EC_K256 => Some(Self::Secp256k1),
            _ => None,
        }
    }

    /// What both the key and the authentication key need for it.
    #[must_use]
    pub fn needs(self) -> Capabilities {
        match self {
            Self::Ed25519 => Capabilities::SIGN_EDDSA,
            Self::Secp256k1 => Capabilities::SIGN_ECDSA,
        }
    }

    /// Whether the device gives the same signature for the same message. RFC 8032 says so; of its ECDSA no document does.
    #[must_use]
    pub fn repeats_itself(self) -> bool {
        match self {
            Self::Ed25519 => true,
            Self::Secp256k1 => false,
        }
    }
}

/// A key that can sign.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// What the device tells about it.
    pub info: Info,
    /// How it signs.
    pub scheme: Scheme,
    /// Its public half.
    pub public_key: PublicKey,
}

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// The device said no, or nothing.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no such key, or this session does not see it.
    #[error(
        "there is no asymmetric key 0x{id:04x}, or authentication key 0x{auth_key:04x} shares no domain with it"
    )]
    NotFound {
        /// The key.
        id: ObjectId,
        /// Whose session it is.
        auth_key: ObjectId,
    },
    /// Not an algorithm that votes are signed with.
    #[error("key 0x{id:04x} is a key for {algorithm}, which no consensus key is")]
    Algorithm {
        /// The key.
        id: ObjectId,
        /// Its algorithm.
        algorithm: Algorithm,
    },
    /// The key may not be signed with.
    #[error("key 0x{id:04x} lacks the capability {missing}")]
    KeyLacks {
        /// The key.
        id: ObjectId,
        /// What is missing.
        missing: Capabilities,
    },
    /// The session may not sign.
    #[error("authentication key 0x{auth_key:04x} lacks the capability {missing}")]
    AuthKeyLacks {
        /// The authentication key.
        auth_key: ObjectId,
        /// What is missing.
        missing: Capabilities,
    },
    /// The device gives bytes that are no public key.
    #[error("the public key of 0x{id:04x} is none")]
    PublicKey {
        /// The key.
        id: ObjectId,
        /// What is wrong.
        source: InvalidPublicKey,
    },
}

impl KeyProblem {
    /// Whether it may pass without anybody changing the configuration or the device's objects.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Device(error) if error.is_transient())
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Device(error) => return error.hint(),
            Self::NotFound { .. } => "`tmkms yubihsm keys list` shows the keys that are there; check `key` and the domains".into(),
            Self::Algorithm { .. } => "a consensus key is ed25519 or secp256k1: `tmkms yubihsm keys generate`".into(),
            Self::KeyLacks { .. } => {
                "capabilities of a key are fixed when it is made: import its backup with this one, or make another".into()
            }
            Self::AuthKeyLacks { missing, .. } => format!(
                "use an authentication key with {missing} in `auth` (the validator role of `tmkms yubihsm setup` has it)"
            ),
            Self::PublicKey { .. } => return None,
        })
    }
}

/// Looks whether a key is there, can sign and may be used by this session.
///
/// # Errors
/// `KeyProblem`.
pub fn inspect(device: &mut Device, id: ObjectId) -> Result<Inspected, KeyProblem> {
    let auth_key = device.auth_key();
    let info = device
        .object_info(id, ObjectType::ASYMMETRIC_KEY)?
        .ok_or(KeyProblem::NotFound { id, auth_key })?;
    let algorithm = info.algorithm;
    let scheme = Scheme::of(algorithm).ok_or(KeyProblem::Algorithm { id, algorithm })?;
    let missing = scheme.needs().without(info.capabilities);
    if !missing.is_empty() {
        return Err(KeyProblem::KeyLacks { id, missing });
    }
    // A session sees its own authentication key, unless that is in no domain.
    if let Some(held) = held(device)? {
        let missing = scheme.needs().without(held);
        if !missing.is_empty() {
            return Err(KeyProblem::AuthKeyLacks { auth_key, missing });
        }
    }
    let key = device.public_key(id)?;
    if Scheme::of(key.algorithm) != Some(scheme) {
        let algorithm = key.algorithm;
        return Err(KeyProblem::Algorithm { id, algorithm });
    }
    let public_key = public_key(&key);
    Ok(Inspected {
        info,
        scheme,
        public_key: public_key.map_err(|source| KeyProblem::PublicKey { id, source })?,
    })
}

/// A key of the device as everybody else knows it.
///
/// # Errors
/// `InvalidPublicKey` for bytes that are none, and for an algorithm that no consensus key has.
pub fn public_key(key: &PublicKeyBytes) -> Result<PublicKey, InvalidPublicKey> {
    match Scheme::of(key.algorithm).ok_or(InvalidPublicKey)? {
        Scheme::Ed25519 => PublicKey::ed25519(&key.bytes),
        // The device gives x ‖ y.
        Scheme::Secp256k1 => PublicKey::secp256k1(&[&[0x04], key.bytes.as_slice()].concat()),
    }
}

/// The capabilities of the session's authentication key; `None` if it does not see itself.
///
/// # Errors
/// `DeviceError`.
pub fn held(device: &mut Device) -> Result<Option<Capabilities>, DeviceError> {
    let auth_key = device.auth_key();
    let info = device.object_info(auth_key, ObjectType::AUTHENTICATION_KEY)?;
    Ok(info.map(|info| info.capabilities))
}

/// What an authentication key holds that signing does not need: an intruder on this machine could use it.
#[must_use]
pub fn held_in_vain(held: Capabilities) -> Capabilities {
    let needed = Capabilities::SIGN_EDDSA.with(Capabilities::SIGN_ECDSA);
    held.without(needed)
}
