//! Asymmetric keys: making, storing, signing, and their way out and in under a wrap key.

use k256::ecdsa;
use zeroize::Zeroizing;

use super::{
    super::{
        capability::Capabilities,
        command::Command,
        error::DeviceError,
        object::{Algorithm, NewObject, ObjectId, ObjectType},
    },
    Device, objects,
};

/// A public key as the device gives it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKeyBytes {
    /// What kind of key.
    pub algorithm: Algorithm,
    /// 32 bytes for Ed25519; x ‖ y, 64 bytes, for secp256k1.
    pub bytes: Vec<u8>,
}

/// An object as it left the device: nonce 13 ‖ ciphertext ‖ tag 16.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrapped(pub Vec<u8>);

impl Device {
    /// Makes a key in the device. Gives its id.
    ///
    /// # Errors
    /// `DeviceError`; `generate-asymmetric-key` is needed.
    pub fn generate_asymmetric_key(
        &mut self,
        object: &NewObject,
        algorithm: Algorithm,
    ) -> Result<ObjectId, DeviceError> {
        let payload = objects::put(object, algorithm);
        self.created(Command::GENERATE_ASYMMETRIC_KEY, &payload)
    }

    /// Stores a key that was made elsewhere: the 32-byte seed of Ed25519, the 32-byte scalar of secp256k1.
    ///
    /// # Errors
    /// `DeviceError`; `put-asymmetric-key` is needed.
    pub fn put_asymmetric_key(
        &mut self,
        object: &NewObject,
        algorithm: Algorithm,
        secret: &[u8],
    ) -> Result<ObjectId, DeviceError> {
        let payload = put_secret(&[&objects::put(object, algorithm)], secret);
        self.created(Command::PUT_ASYMMETRIC_KEY, &payload)
    }

    /// Stores a wrap key. `delegated` is what the objects that come in under it may have.
    ///
    /// # Errors
    /// `DeviceError`; `put-wrap-key` is needed.
    pub fn put_wrap_key(
        &mut self,
        object: &NewObject,
        algorithm: Algorithm,
        delegated: Capabilities,
        secret: &[u8],
    ) -> Result<ObjectId, DeviceError> {
        let begin = objects::put(object, algorithm);
        let payload = put_secret(&[&begin, &delegated.0.to_be_bytes()], secret);
        self.created(Command::PUT_WRAP_KEY, &payload)
    }

    /// The public half of a key.
    ///
    /// # Errors
    /// `DeviceError`.
    pub fn public_key(&mut self, id: ObjectId) -> Result<PublicKeyBytes, DeviceError> {
        let command = Command::GET_PUBLIC_KEY;
        let answer = self.command(command, &id.to_be_bytes())?;
        let (algorithm, bytes) = answer.split_first().ok_or(DeviceError::Malformed {
            command,
            what: "its length",
        })?;
        Ok(PublicKeyBytes {
            algorithm: Algorithm(*algorithm),
            bytes: bytes.to_vec(),
        })
    }

    /// Ed25519 over the message itself. R ‖ s.
    ///
    /// # Errors
    /// `DeviceError`; `sign-eddsa` is needed, and the message must fit the device's buffer.
    pub fn sign_eddsa(&mut self, id: ObjectId, message: &[u8]) -> Result<[u8; 64], DeviceError> {
        let command = Command::SIGN_EDDSA;
        let mut payload = id.to_be_bytes().to_vec();
        payload.extend_from_slice(message);
        let answer = self.command(command, &payload)?;
        <[u8; 64]>::try_from(answer.as_slice()).map_err(|_| {
            let what = "no Ed25519 signature";
            DeviceError::Malformed { command, what }
        })
    }

    /// ECDSA with secp256k1 over a 32-byte hash. r ‖ s with a low s; the device gives DER and either s.
    ///
    /// # Errors
    /// `DeviceError`; `sign-ecdsa` is needed.
    pub fn sign_ecdsa(&mut self, id: ObjectId, hash: &[u8; 32]) -> Result<[u8; 64], DeviceError> {
        let command = Command::SIGN_ECDSA;
        let mut payload = id.to_be_bytes().to_vec();
        payload.extend_from_slice(hash);
        let answer = self.command(command, &payload)?;
        low_s(&answer).ok_or(DeviceError::Malformed {
            command,
            what: "no ECDSA signature",
        })
    }

    /// Exports an object under a wrap key. `with_seed`: firmware 2.4 and later exports an Ed25519 key with its seed.
    ///
    /// # Errors
    /// `DeviceError`; `export-wrapped` is needed, and the object must be `exportable-under-wrap`.
    pub fn export_wrapped(
        &mut self,
        wrap_key: ObjectId,
        object_type: ObjectType,
        id: ObjectId,
        form: WrapForm,
    ) -> Result<Wrapped, DeviceError> {
        let mut payload = wrap_key.to_be_bytes().to_vec();
        payload.push(object_type.0);
        payload.extend_from_slice(&id.to_be_bytes());
        match form {
            WrapForm::Expanded => {}
            WrapForm::Seed => payload.push(1),
        }
        let bytes = self.command(Command::EXPORT_WRAPPED, &payload)?;
        Ok(Wrapped(bytes.to_vec()))
    }

    /// Imports an object under the wrap key that it was exported with. Gives its type and id.
    ///
    /// # Errors
    /// `DeviceError`; `import-wrapped` is needed, and the wrap key's delegated capabilities must cover the object's.
    pub fn import_wrapped(
        &mut self,
        wrap_key: ObjectId,
        wrapped: &Wrapped,
    ) -> Result<(ObjectType, ObjectId), DeviceError> {
        let command = Command::IMPORT_WRAPPED;
        let mut payload = wrap_key.to_be_bytes().to_vec();
        payload.extend_from_slice(&wrapped.0);
        let answer = self.command(command, &payload)?;
        match *answer.as_slice() {
            [object_type, high, low] => {
                Ok((ObjectType(object_type), u16::from_be_bytes([high, low])))
            }
            _ => Err(DeviceError::Malformed {
                command,
                what: "no type and id",
            }),
        }
    }
}

/// How an Ed25519 key is exported.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WrapForm {
    /// As every firmware reads it.
    #[default]
    Expanded,
    /// With its seed; firmware 2.4 and later.
    Seed,
}

fn put_secret(begin: &[&[u8]], secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = begin.iter().map(|part| part.len()).sum::<usize>() + secret.len();
    // Full capacity at once: a growing vector would leave unwiped copies behind.
    let mut payload = Zeroizing::new(Vec::with_capacity(length));
    for part in begin {
        payload.extend_from_slice(part);
    }
    payload.extend_from_slice(secret);
    payload
}

fn low_s(der: &[u8]) -> Option<[u8; 64]> {
    let signature = ecdsa::Signature::from_der(der).ok()?;
    let signature = signature.normalize_s().unwrap_or(signature);
    Some(signature.to_bytes().into())
}

#[cfg(test)]
mod tests {
    use k256::ecdsa::{SigningKey, signature::hazmat::PrehashSigner};

    use super::*;

    #[test]
    fn either_s_becomes_the_low_one() {
        let key = SigningKey::from_slice(&[7; 32]).expect("a scalar");
        let low: ecdsa::Signature = key.sign_prehash(&[9; 32]).expect("signs");
        let (r, s) = low.split_scalars();
        let high = ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).expect("valid");
        assert_ne!(high, low);
        for signature in [low, high] {
            let der = signature.to_der();
            assert_eq!(low_s(der.as_bytes()), Some(low.to_bytes().into()));
        }
        assert_eq!(low_s(&[0x30, 0]), None);
        assert_eq!(low_s(&[]), None);
    }
}
