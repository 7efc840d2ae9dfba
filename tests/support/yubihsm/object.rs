//! What a device stores: an object with its metadata and its secret.

use curve25519_dalek::Scalar;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use k256::ecdsa::signature::hazmat::RandomizedPrehashSigner;
use rand_core::{OsRng, RngCore};
use sha2::Sha512;

use super::{
    codes::{Code, INVALID_DATA, WRONG_LENGTH, algorithm, kind},
    session::StaticKeys,
};

/// Bytes of a label, padded with zeros.
pub const LABEL: usize = 40;

/// An object of the store.
#[derive(Clone)]
pub struct Object {
    pub id: u16,
    pub kind: u8,
    pub algorithm: u8,
    pub domains: u16,
    pub capabilities: u64,
    /// What it can give to others; zero where the type has none.
    pub delegated: u64,
    pub sequence: u8,
    pub origin: u8,
    pub label: [u8; LABEL],
    pub secret: Secret,
}

/// What makes an object worth having.
#[derive(Clone)]
pub enum Secret {
    Opaque(Vec<u8>),
    Authentication(StaticKeys),
    Ed25519(Ed25519),
    K256(k256::ecdsa::SigningKey),
    /// 16, 24 or 32 bytes of an AES key.
    Wrap(Vec<u8>),
}

/// An Ed25519 key as a device keeps it: expanded, the seed only where it had one.
#[derive(Clone)]
pub struct Ed25519 {
    /// Little-endian. A device reduces it by the group's order, which Yubico's tool for making backups elsewhere does not; both mean the
    /// same, and neither may be clamped again.
    scalar: [u8; 32],
    prefix: [u8; 32],
    seed: Option<[u8; 32]>,
}

impl Ed25519 {
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let ExpandedSecretKey {
            scalar,
            hash_prefix,
        } = ExpandedSecretKey::from(&seed);
        Self {
            scalar: scalar.to_bytes(),
            prefix: hash_prefix,
            seed: Some(seed),
        }
    }

    pub fn public_key(&self) -> [u8; 32] {
        ed25519_dalek::VerifyingKey::from(&self.expanded()).to_bytes()
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let expanded = self.expanded();
        let public = ed25519_dalek::VerifyingKey::from(&expanded);
        raw_sign::<Sha512>(&expanded, message, &public).to_bytes()
    }

    fn expanded(&self) -> ExpandedSecretKey {
        ExpandedSecretKey {
            scalar: Scalar::from_bytes_mod_order(self.scalar),
            hash_prefix: self.prefix,
        }
    }

    /// The seed where it is asked for and known ‖ the scalar byte-reversed ‖ prefix ‖ public key.
    fn to_body(&self, with_seed: bool) -> Vec<u8> {
        let seed = self.seed.filter(|_| with_seed);
        let mut body: Vec<u8> = seed.into_iter().flatten().collect();
        body.extend(self.scalar.iter().rev());
        body.extend(self.prefix);
        body.extend(self.public_key());
        body
    }

    /// A device computes the public key itself.
    fn from_body(body: &[u8]) -> Result<Self, Code> {
        let (seed, expanded) = match body.len() {
            96 => (None, body),
            128 => (body.first_chunk().copied(), &body[32..]),
            _ => return Err(WRONG_LENGTH),
        };
        let (mut scalar, mut prefix) = ([0; 32], [0; 32]);
        scalar.copy_from_slice(&expanded[..32]);
        scalar.reverse();
        prefix.copy_from_slice(&expanded[32..64]);
        Ok(Self {
            scalar,
            prefix,
            seed,
        })
    }
}

/// Where a signature stands with s over half of the order is up to the device: this one tosses a coin, so that a client normalises.
pub fn sign_ecdsa(key: &k256::ecdsa::SigningKey, hash: &[u8]) -> Result<Vec<u8>, Code> {
    let signature: k256::ecdsa::Signature = key
        .sign_prehash_with_rng(&mut OsRng, hash)
        .map_err(|_| INVALID_DATA)?;
    let signature = signature.normalize_s().unwrap_or(signature);
    let (r, s) = signature.split_scalars();
    let s = if OsRng.next_u32().is_multiple_of(2) {
        *s
    } else {
        -*s
    };
    let signature = k256::ecdsa::Signature::from_scalars(r.to_bytes(), s.to_bytes())
        .map_err(|_| INVALID_DATA)?;
    Ok(signature.to_der().as_bytes().to_vec())
}

impl Secret {
    /// A new asymmetric key.
    pub fn generate(algorithm: u8) -> Result<Self, Code> {
        match algorithm {
            algorithm::ED25519 => Ok(Self::Ed25519(Ed25519::from_seed(random()))),
            algorithm::EC_K256 => Ok(Self::K256(k256::ecdsa::SigningKey::random(&mut OsRng))),
            _ => Err(INVALID_DATA),
        }
    }

    /// An asymmetric key from what PUT ASYMMETRIC KEY carries.
    pub fn asymmetric(algorithm: u8, key: &[u8]) -> Result<Self, Code> {
        if !matches!(algorithm, algorithm::ED25519 | algorithm::EC_K256) {
            return Err(INVALID_DATA);
        }
        let key: [u8; 32] = key.try_into().map_err(|_| WRONG_LENGTH)?;
        if algorithm == algorithm::ED25519 {
            return Ok(Self::Ed25519(Ed25519::from_seed(key)));
        }
        let key = k256::ecdsa::SigningKey::from_slice(&key).map_err(|_| INVALID_DATA)?;
        Ok(Self::K256(key))
    }

    pub fn wrap(algorithm: u8, key: &[u8]) -> Result<Self, Code> {
        if key.len() == wrap_key_length(algorithm)? {
            Ok(Self::Wrap(key.to_vec()))
        } else {
            Err(WRONG_LENGTH)
        }
    }

    pub fn generate_wrap(algorithm: u8) -> Result<Self, Code> {
        let mut key = vec![0; wrap_key_length(algorithm)?];
        OsRng.fill_bytes(&mut key);
        Ok(Self::Wrap(key))
    }

    /// What GET PUBLIC KEY answers behind the algorithm.
    pub fn public_key(&self) -> Option<Vec<u8>> {
        match self {
            Self::Ed25519(key) => Some(key.public_key().to_vec()),
            Self::K256(key) => {
                let point = key.verifying_key().to_encoded_point(false);
                Some(point.as_bytes()[1..].to_vec())
            }
            _ => None,
        }
    }
}

impl Object {
    /// Whether an export can carry the seed.
    pub fn has_seed(&self) -> bool {
        matches!(&self.secret, Secret::Ed25519(key) if key.seed.is_some())
    }

    /// The size that GET OBJECT INFO tells.
    pub fn size(&self) -> usize {
        self.body(false).len()
    }

    /// What follows the metadata in a wrapped object.
    pub fn body(&self, with_seed: bool) -> Vec<u8> {
        match &self.secret {
            Secret::Opaque(data) => data.clone(),
            Secret::Authentication(keys) => self.with_delegated(&keys.to_bytes()),
            Secret::Wrap(key) => self.with_delegated(key),
            Secret::Ed25519(key) => key.to_body(with_seed),
            Secret::K256(key) => {
                let mut body = key.to_bytes().to_vec();
                body.extend(self.secret.public_key().unwrap_or_default());
                body
            }
        }
    }

    /// The other way round: delegated capabilities and secret.
    pub fn from_body(kind: u8, algorithm: u8, body: &[u8]) -> Result<(u64, Secret), Code> {
        Ok(match kind {
            kind::OPAQUE => (0, Secret::Opaque(body.to_vec())),
            kind::ASYMMETRIC_KEY if algorithm == algorithm::ED25519 => {
                (0, Secret::Ed25519(Ed25519::from_body(body)?))
            }
            kind::ASYMMETRIC_KEY => {
                let scalar = body.get(..32).ok_or(WRONG_LENGTH)?;
                (0, Secret::asymmetric(algorithm, scalar)?)
            }
            kind::AUTHENTICATION_KEY => {
                let (delegated, keys) = split_delegated(body)?;
                let keys = keys.try_into().map_err(|_| WRONG_LENGTH)?;
                (
                    delegated,
                    Secret::Authentication(StaticKeys::from_bytes(keys)),
                )
            }
            kind::WRAP_KEY => {
                let (delegated, key) = split_delegated(body)?;
                (delegated, Secret::wrap(algorithm, key)?)
            }
            _ => return Err(INVALID_DATA),
        })
    }

    /// The payload of GET OBJECT INFO.
    pub fn info(&self) -> Vec<u8> {
        let size = u16::try_from(self.size()).expect("an object fits into a message");
        let mut info = self.capabilities.to_be_bytes().to_vec();
        for number in [self.id, size, self.domains] {
            info.extend(number.to_be_bytes());
        }
        info.extend([self.kind, self.algorithm, self.sequence, self.origin]);
        info.extend(self.label);
        info.extend(self.delegated.to_be_bytes());
        info
    }

    /// The label as text.
    pub fn label_text(&self) -> String {
        String::from_utf8_lossy(&self.label)
            .trim_end_matches('\0')
            .to_owned()
    }

    fn with_delegated(&self, secret: &[u8]) -> Vec<u8> {
        let mut body = self.delegated.to_be_bytes().to_vec();
        body.extend(secret);
        body
    }
}

/// A label of the wire.
pub fn label(text: &str) -> [u8; LABEL] {
    let mut label = [0; LABEL];
    label[..text.len()].copy_from_slice(text.as_bytes());
    label
}

/// Fresh random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

fn split_delegated(body: &[u8]) -> Result<(u64, &[u8]), Code> {
    let (delegated, secret) = body.split_first_chunk().ok_or(WRONG_LENGTH)?;
    Ok((u64::from_be_bytes(*delegated), secret))
}

fn wrap_key_length(algorithm: u8) -> Result<usize, Code> {
    match algorithm {
        algorithm::AES128_CCM_WRAP => Ok(16),
        algorithm::AES192_CCM_WRAP => Ok(24),
        algorithm::AES256_CCM_WRAP => Ok(32),
        _ => Err(INVALID_DATA),
    }
}
