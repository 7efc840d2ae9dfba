//! Public keys and signatures: what everybody may see, and the arithmetic of each key type. A secret is lent to this room for one
//! calculation; it keeps none.
//!
//! A key type is one file of this room, which says everything that is special about it, and one line of the table below.

use std::{borrow::Cow, fmt};

use sha2::{Digest, Sha256};
use subtle_encoding::hex;
use zeroize::Zeroizing;

mod bls12381;
mod ed25519;
mod mldsa65;
mod secp256k1;
mod secp256k1eth;
pub(crate) mod stack;
#[cfg(test)]
mod vectors;

/// Makes the types that have one variant for each key type.
macro_rules! key_types {
    ($($(#[$doc:meta])* $variant:ident: $module:ident,)+) => {
        /// The signature scheme of a consensus key.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
        pub enum Algorithm {
            $($(#[$doc])* $variant,)+
        }

        impl Algorithm {
            /// Every scheme that this version signs with.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// What sets the scheme apart from the others.
            #[must_use]
            pub fn facts(self) -> &'static Facts {
                match self {
                    $(Self::$variant => &<$module::Public as KeyType>::FACTS,)+
                }
            }

            /// Decodes a public key of this scheme.
            ///
            /// # Errors
            /// `InvalidPublicKey` if the bytes are of another length or no point of the curve.
            pub fn public_key(self, bytes: &[u8]) -> Result<PublicKey, InvalidPublicKey> {
                match self {
                    $(Self::$variant => $module::Public::decode(bytes).map(PublicKey::$variant),)+
                }
                .ok_or(InvalidPublicKey)
            }

            /// The public half of a secret in any form that the scheme knows; `None` if it is no secret of the scheme.
            pub(crate) fn public_half(self, secret: &[u8]) -> Option<PublicKey> {
                match self {
                    $(Self::$variant => $module::Public::of(secret).map(PublicKey::$variant),)+
                }
            }

            /// The secret in `value`, the private key of CometBFT's JSON, in the form that a soft key has in memory.
            pub(crate) fn secret_from_json(self, value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
                match self {
                    $(Self::$variant => $module::Public::secret_from_json(value),)+
                }
            }
        }

        /// A consensus or identity public key, decoded once and ready to verify with.
        #[derive(Clone, Eq, PartialEq)]
        pub enum PublicKey {
            $($(#[$doc])* $variant($module::Public),)+
        }

        impl PublicKey {
            /// The scheme this key belongs to.
            #[must_use]
            pub fn algorithm(&self) -> Algorithm {
                match self {
                    $(Self::$variant(_) => Algorithm::$variant,)+
                }
            }

            /// The public key as it goes into key files, records and addresses; each scheme has its length.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                match self {
                    $(Self::$variant(key) => key.as_bytes(),)+
                }
            }

            /// The public key as nodes of v1 and v2 want it (`pub_key_bytes`).
            #[must_use]
            pub fn later_bytes(&self) -> Cow<'_, [u8]> {
                match self {
                    $(Self::$variant(key) => key.later_bytes(),)+
                }
            }

            /// The consensus address.
            #[must_use]
            pub fn address(&self) -> [u8; 20] {
                match self {
                    $(Self::$variant(key) => key.address(),)+
                }
            }

            /// A signature of this key's scheme from its wire form, not yet verified; `None` if it has another length.
            #[must_use]
            pub fn signature(&self, bytes: &[u8]) -> Option<Signature> {
                match self {
                    $(Self::$variant(_) => $module::Public::signature(bytes).map(Signature::$variant),)+
                }
            }

            /// Whether `signature` is this key's signature over `msg`.
            #[must_use]
            pub fn verifies(&self, msg: &[u8], signature: &Signature) -> bool {
                match (self, signature) {
                    $((Self::$variant(key), Signature::$variant(signature)) => key.verifies(msg, signature),)+
                    // Of another scheme.
                    _ => false,
                }
            }

            /// Signs with the secret that this is the public half of. For soft keys: what may be signed is not this room's business.
            pub(crate) fn sign_with(&self, secret: &[u8], msg: &[u8]) -> Option<Signature> {
                match self {
                    $(Self::$variant(key) => key.sign(secret, msg).map(Signature::$variant),)+
                }
            }
        }

        /// A signature as it goes on the wire.
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub enum Signature {
            $($(#[$doc])* $variant($module::Signed),)+
        }

        impl Signature {
            /// The wire form; each scheme has its length.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                match self {
                    $(Self::$variant(signature) => signature.as_ref(),)+
                }
            }
        }
    };
}

key_types! {
    /// Ed25519 over the sign bytes themselves (RFC 8032). Public key 32 bytes, signature R ‖ s, 64 bytes.
    Ed25519: ed25519,
    /// ECDSA over the SHA-256 of the sign bytes. Public key 33 bytes (compressed), signature r ‖ s with a low s, 64 bytes.
    Secp256k1: secp256k1,
    /// ECDSA over the Keccak-256 of the sign bytes. Public key 33 bytes (65 in v2), signature r ‖ s ‖ v with a low s, 65 bytes.
    Secp256k1Eth: secp256k1eth,
    /// BLS12-381 over the sign bytes. Public key 96 bytes (uncompressed, G1), signature 96 bytes (compressed, G2).
    Bls12381: bls12381,
    /// ML-DSA-65 over the sign bytes, deterministic. Public key 1,952 bytes, signature 3,309 bytes.
    MlDsa65: mldsa65,
}

/// What a file of this room says of its key type: its decoded public key is the type.
pub(crate) trait KeyType: Sized {
    /// A signature, in its wire form. Kept small: signatures lie in memory by the dozen, so that a long one is boxed.
    type Signature: AsRef<[u8]>;

    /// Names and numbers.
    const FACTS: Facts;

    /// From every form in which the public key is written somewhere.
    fn decode(bytes: &[u8]) -> Option<Self>;

    /// The one form that goes into files and addresses.
    fn as_bytes(&self) -> &[u8];

    /// As nodes of v1 and v2 want it.
    fn later_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.as_bytes())
    }

    /// The consensus address: the start of SHA-256 over the key, for most.
    fn address(&self) -> [u8; 20] {
        let digest: [u8; 32] = Sha256::digest(self.as_bytes()).into();
        let mut address = [0; 20];
        address.copy_from_slice(digest.split_at(20).0);
        address
    }

    /// By its length alone.
    fn signature(bytes: &[u8]) -> Option<Self::Signature>;

    /// As strictly as the strictest node.
    fn verifies(&self, msg: &[u8], signature: &Self::Signature) -> bool;

    /// The public half of a secret. 32 random bytes are one, or are drawn again.
    fn of(secret: &[u8]) -> Option<Self>;

    /// From the private key's value in CometBFT's JSON.
    fn secret_from_json(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        Self::of(value).map(|_| Zeroizing::new(value.to_vec()))
    }

    /// Always the same signature for the same bytes.
    fn sign(&self, secret: &[u8], msg: &[u8]) -> Option<Self::Signature>;
}

/// Names and numbers of a key type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Facts {
    /// The name that CometBFT gives the key type, e.g. in `consensus_params.validator.pub_key_types`.
    pub name: &'static str,
    /// Other spellings of it, which people type.
    pub aliases: &'static [&'static str],
    /// The name for people.
    pub title: &'static str,
    /// The number of the member in `tendermint.crypto.PublicKey`.
    pub member: u32,
    /// What amino puts in front of the public key, before its length. Only the schemes of that time have it, and bech32 with it.
    pub amino: Option<[u8; 4]>,
    /// The Cosmos SDK's `@type`.
    pub sdk_type: &'static str,
    /// The types of public and private key in CometBFT's JSON, in all spellings.
    pub json: &'static [JsonNames],
}

/// A key type's two names in CometBFT's JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonNames {
    /// Of the public key.
    pub public: &'static str,
    /// Of the private key.
    pub private: &'static str,
}

impl Algorithm {
    /// The name that CometBFT gives the key type.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The scheme with a name, as CometBFT or a person spells it: `ml_dsa_65`, `ml-dsa-65`, `mldsa65`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|scheme| scheme.name() == name || scheme.facts().aliases.contains(&name))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().title)
    }
}

impl PublicKey {
    /// The consensus address as nodes write it: 40 upper-case hexadecimal digits.
    #[must_use]
    pub fn address_text(&self) -> String {
        String::from_utf8_lossy(&hex::encode_upper(self.address())).into_owned()
    }

    /// Decodes a 32-byte Ed25519 public key.
    ///
    /// # Errors
    /// `InvalidPublicKey` if the bytes are not 32 or no point of the curve.
    pub fn ed25519(bytes: &[u8]) -> Result<Self, InvalidPublicKey> {
        Algorithm::Ed25519.public_key(bytes)
    }

    /// Decodes a secp256k1 public key: 33 bytes, compressed, or 65 bytes, uncompressed (SEC 1).
    ///
    /// # Errors
    /// `InvalidPublicKey` if the bytes are neither, or no point of the curve.
    pub fn secp256k1(bytes: &[u8]) -> Result<Self, InvalidPublicKey> {
        Algorithm::Secp256k1.public_key(bytes)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey::{}(", self.algorithm())?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// The bytes are not a public key of the expected kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a valid public key")]
pub struct InvalidPublicKey;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_start_of_the_hash_of_the_key() {
        let bytes = subtle_encoding::hex::decode(
            "f26bf4b2a2e84ceb7a53c3f1ae77408779b20064782fbadbdf0e365959ee4534",
        )
        .expect("hex");
        let key = PublicKey::ed25519(&bytes).expect("a point");
        assert_eq!(
            key.address_text(),
            "AD7DAE5FEC609CF02F9BDE7D81D0C3CD66141563"
        );
    }

    #[test]
    fn a_scheme_is_found_by_its_name_and_no_two_have_one() {
        for scheme in Algorithm::ALL {
            assert_eq!(Algorithm::named(scheme.name()), Some(*scheme));
            for alias in scheme.facts().aliases {
                assert_eq!(Algorithm::named(alias), Some(*scheme));
            }
        }
        assert_eq!(Algorithm::named("consensus"), None);
        assert_eq!(Algorithm::named(""), None);
    }

    #[test]
    fn a_signature_of_another_scheme_is_none() {
        let [one, two] = [Algorithm::Ed25519, Algorithm::Secp256k1]
            .map(|scheme| scheme.public_half(&[7; 32]).expect("a key"));
        let signature = one.sign_with(&[7; 32], b"vote").expect("signs");
        assert!(one.verifies(b"vote", &signature));
        assert!(!two.verifies(b"vote", &signature));
    }

    #[test]
    fn keys_and_signatures_stay_small() {
        // Every chain has several of each, and there may be a thousand chains.
        assert!(size_of::<PublicKey>() <= 200, "{}", size_of::<PublicKey>());
        assert!(size_of::<Signature>() <= 72, "{}", size_of::<Signature>());
    }
}
