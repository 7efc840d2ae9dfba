//! One phrase, from which everything that a device is set up with can be had again.
//!
//! Byte for byte as the original derived it (compat.md 5.2): HKD32 over the phrase's 32 bytes of entropy. For every part of a path
//! HMAC-SHA512(key, part) is taken; its right half is the key of the next part, the left half of the last one is the result.

use std::fmt;

use hkd32::{
    Component, KeyMaterial, PathBuf,
    mnemonic::{self, Language},
};
use hkdf::Hkdf;
use rand_core::{OsRng, RngCore};
use sha2::Sha512;
use subtle_encoding::bech32;
use zeroize::Zeroizing;

use crate::keyring::providers::yubihsm::{Password, setup::roles::Role};

/// Words in a phrase: 256 bits of entropy and 8 of checksum, 11 in each word.
pub const WORDS: usize = 24;

/// Bytes of a wrap key (AES-256).
pub const WRAP_KEY_LEN: usize = 32;

/// What the entropy of the device and of the system is mixed under (HKDF's info), as the original did.
const MIXING: &[u8] = b"yubihsm setup BIP39 derivation";

/// What every path begins with: the version of this scheme.
const SCHEME: &[u8] = b"1";

/// Bytes of a role's password before bech32.
const PASSWORD_LEN: usize = 16;

/// A BIP39 phrase of 24 English words. It is the admin's password, and everything else comes from it. Wiped when dropped.
pub struct Phrase(mnemonic::Phrase);

impl Phrase {
    /// A new phrase, from 32 bytes of the system's random numbers and whatever the device gave, mixed: it is as good as the better
    /// of the two.
    ///
    /// # Errors
    /// The system's, if it gives no random numbers.
    pub fn random(from_device: &[u8]) -> Result<Self, rand_core::Error> {
        let mut mixed = Zeroizing::new(Vec::with_capacity(from_device.len() + 32));
        mixed.extend_from_slice(from_device);
        let mut from_system = Zeroizing::new([0; 32]);
        OsRng.try_fill_bytes(from_system.as_mut_slice())?;
        mixed.extend_from_slice(from_system.as_slice());
        let mut entropy = Zeroizing::new([0; 32]);
        Hkdf::<Sha512>::new(None, &mixed)
            .expand(MIXING, entropy.as_mut_slice())
            .expect("32 bytes are fewer than HKDF can give");
        Ok(Self(mnemonic::Phrase::from_entropy(
            *entropy,
            Language::English,
        )))
    }

    /// What somebody typed: letters of either case, any white space between the words and around them.
    ///
    /// # Errors
    /// `PhraseError` for another number of words, a word that is not in the list, or a wrong checksum. It quotes nothing.
    pub fn parse(typed: &str) -> Result<Self, PhraseError> {
        // As long as any phrase can be, so that nothing is left behind by growing.
        let mut normal = Zeroizing::new(String::with_capacity(typed.len() + 1));
        let mut words = 0;
        for word in typed.split_whitespace() {
            if words > 0 {
                normal.push(' ');
            }
            normal.extend(word.chars().map(|c| c.to_ascii_lowercase()));
            words += 1;
        }
        if words != WORDS {
            return Err(PhraseError::Words { found: words });
        }
        mnemonic::Phrase::new(normal.as_str(), Language::English)
            .map(Self)
            .map_err(|_| unknown_word(&normal).unwrap_or(PhraseError::Checksum))
    }

    /// The 24 words with single spaces: also the admin's password.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.phrase()
    }

    /// The password of a role's authentication key.
    #[must_use]
    pub fn password(&self, role: Role) -> Password {
        if role == Role::Admin {
            return Password::new(Zeroizing::new(self.expose().to_owned()));
        }
        let name = role.name();
        self.bech32_password(name, &[b"role", name.as_bytes()])
    }

    /// The password of the temporary key that exists while a device is set up. It comes from the phrase as well, so that whoever
    /// has the phrase can take up an interrupted set-up.
    #[must_use]
    pub fn temporary_password(&self) -> Password {
        self.bech32_password("setup", &[b"setup", b"0xfffe"])
    }

    /// The wrap key that the device gets as 0x0001.
    #[must_use]
    pub fn wrap_key(&self) -> Zeroizing<[u8; WRAP_KEY_LEN]> {
        let mut key = Zeroizing::new([0; WRAP_KEY_LEN]);
        key.copy_from_slice(self.derive(&[b"wrap", b"0x0001"]).as_bytes());
        key
    }

    fn bech32_password(&self, name: &str, path: &[&[u8]]) -> Password {
        let derived = self.derive(path);
        let (bytes, _) = derived.as_bytes().split_at(PASSWORD_LEN);
        let password = bech32::encode(format!("kms-{name}-password-"), bytes);
        Password::new(Zeroizing::new(password))
    }

    fn derive(&self, parts: &[&[u8]]) -> KeyMaterial {
        let mut path = PathBuf::new();
        for part in [SCHEME].iter().chain(parts) {
            path.push(Component::new(part).expect("no part of a path here is empty or long"));
        }
        self.0.clone().derive_subkey(path)
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phrase(secret)")
    }
}

/// Why what was typed is no phrase. Never carries any of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PhraseError {
    /// Not 24 words.
    #[error("a phrase has 24 words, and this one has {found}")]
    Words {
        /// How many there are.
        found: usize,
    },
    /// A word that is not one of BIP39's English ones.
    #[error("word {number} is not in the list of words (BIP39, English)")]
    Unknown {
        /// Which one, counted from 1.
        number: usize,
    },
    /// Every word is in the list, but they do not fit together.
    #[error("the checksum is wrong: a word is another one of the list, or two changed places")]
    Checksum,
}

/// The first word that is in no phrase. The library keeps its list to itself, so every word is asked about: where it is the first of a
/// phrase, the entropy begins with its number.
fn unknown_word(normal: &str) -> Option<PhraseError> {
    let known: Vec<String> = (0..2048_u16)
        .filter_map(|number| {
            let mut entropy = [0; 32];
            let [high, low, ..] = &mut entropy;
            // 11 bits, from the top.
            [*high, *low] = (number << 5).to_be_bytes();
            let phrase = mnemonic::Phrase::from_entropy(entropy, Language::English);
            phrase.phrase().split(' ').next().map(str::to_owned)
        })
        .collect();
    let mut words = normal.split(' ');
    let index = words.position(|word| !known.iter().any(|known| known == word))?;
    Some(PhraseError::Unknown { number: index + 1 })
}

#[cfg(test)]
mod tests {
    use subtle_encoding::hex;

    use super::*;

    /// 32 zero bytes.
    fn vector() -> Phrase {
        Phrase::parse(&("abandon ".repeat(23) + "art")).expect("a phrase")
    }

    #[test]
    fn what_is_derived_is_what_the_original_derived() {
        let phrase = vector();
        assert_eq!(
            hex::encode(phrase.wrap_key().as_slice()),
            b"483ec3f60fb17911120c41b6b5fe10456919788b36ff4284f7f521c81710cbdd"
        );
        for (role, password) in [
            (
                Role::Operator,
                "kms-operator-password-1wkjfj02kntmxd45pktl305speuas2eum",
            ),
            (
                Role::Auditor,
                "kms-auditor-password-1c9kcqaa6e5fzmcxgn4kd7hl8fqvc397q",
            ),
            (
                Role::Validator,
                "kms-validator-password-12mj5e85pfpj8k0cd4asmtp0g6qkw2unt",
            ),
        ] {
            assert_eq!(phrase.password(role).expose_secret(), password);
        }
        let admin = phrase.password(Role::Admin);
        assert_eq!(admin.expose_secret(), phrase.expose());
    }

    #[test]
    fn the_temporary_key_has_a_password_of_its_own() {
        let phrase = vector();
        let temporary = phrase.temporary_password();
        let temporary = temporary.expose_secret();
        assert!(temporary.starts_with("kms-setup-password-1"));
        for role in Role::ALL {
            assert_ne!(phrase.password(role).expose_secret(), temporary);
        }
    }

    #[test]
    fn a_phrase_may_be_typed_with_any_white_space_and_case() {
        let typed = format!("\n  Abandon\tABANDON {}  art \r\n", "abandon ".repeat(21));
        let phrase = Phrase::parse(&typed).expect("a phrase");
        assert_eq!(phrase.expose(), vector().expose());
    }

    #[test]
    fn what_is_wrong_with_a_phrase_is_told_without_quoting_it() {
        let words = "abandon ".repeat(23);
        let wrong = |typed: &str| Phrase::parse(typed).expect_err("no phrase");
        assert_eq!(wrong(&words), PhraseError::Words { found: 23 });
        assert_eq!(wrong(""), PhraseError::Words { found: 0 });
        assert_eq!(wrong(&(words.clone() + "zoo")), PhraseError::Checksum);
        assert_eq!(
            wrong(&(words.clone() + "arts")),
            PhraseError::Unknown { number: 24 }
        );
        assert!(!format!("{:?}", vector()).contains("abandon"));
    }

    #[test]
    fn no_two_new_phrases_are_the_same_even_if_the_device_always_says_the_same() {
        let one = Phrase::random(&[0; 32]).expect("random numbers");
        let two = Phrase::random(&[0; 32]).expect("random numbers");
        assert_ne!(one.expose(), two.expose());
        let again = Phrase::parse(one.expose()).expect("a phrase");
        assert_eq!(*again.wrap_key(), *one.wrap_key());
    }
}
