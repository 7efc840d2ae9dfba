//! What an object may be used for, and which sessions see it.

use std::fmt;

/// A set of capabilities, one bit each. Bits that this version has no name for are kept, and shown as numbers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Capabilities(pub u64);

/// The bits and the names that Yubico's shell gives them ("YubiHSM 2 user guide", capabilities).
const NAMES: [(u8, &str); 56] = [
    (0x00, "get-opaque"),
    (0x01, "put-opaque"),
    (0x02, "put-authentication-key"),
    (0x03, "put-asymmetric-key"),
    (0x04, "generate-asymmetric-key"),
    (0x05, "sign-pkcs"),
    (0x06, "sign-pss"),
    (0x07, "sign-ecdsa"),
    (0x08, "sign-eddsa"),
    (0x09, "decrypt-pkcs"),
    (0x0a, "decrypt-oaep"),
    (0x0b, "derive-ecdh"),
    (0x0c, "export-wrapped"),
    (0x0d, "import-wrapped"),
    (0x0e, "put-wrap-key"),
    (0x0f, "generate-wrap-key"),
    (0x10, "exportable-under-wrap"),
    (0x11, "set-option"),
    (0x12, "get-option"),
    (0x13, "get-pseudo-random"),
    (0x14, "put-mac-key"),
    (0x15, "generate-hmac-key"),
    (0x16, "sign-hmac"),
    (0x17, "verify-hmac"),
    (0x18, "get-log-entries"),
    (0x19, "sign-ssh-certificate"),
    (0x1a, "get-template"),
    (0x1b, "put-template"),
    (0x1c, "reset-device"),
    (0x1d, "decrypt-otp"),
    (0x1e, "create-otp-aead"),
    (0x1f, "randomize-otp-aead"),
    (0x20, "rewrap-from-otp-aead-key"),
    (0x21, "rewrap-to-otp-aead-key"),
    (0x22, "sign-attestation-certificate"),
    (0x23, "put-otp-aead-key"),
    (0x24, "generate-otp-aead-key"),
    (0x25, "wrap-data"),
    (0x26, "unwrap-data"),
    (0x27, "delete-opaque"),
    (0x28, "delete-authentication-key"),
    (0x29, "delete-asymmetric-key"),
    (0x2a, "delete-wrap-key"),
    (0x2b, "delete-hmac-key"),
    (0x2c, "delete-template"),
    (0x2d, "delete-otp-aead-key"),
    (0x2e, "change-authentication-key"),
    (0x2f, "put-symmetric-key"),
    (0x30, "generate-symmetric-key"),
    (0x31, "delete-symmetric-key"),
    (0x32, "decrypt-ecb"),
    (0x33, "encrypt-ecb"),
    (0x34, "decrypt-cbc"),
    (0x35, "encrypt-cbc"),
    (0x36, "put-public-wrap-key"),
    (0x37, "delete-public-wrap-key"),
];

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every capability of firmware 2.3 and older, 0x00 to 0x2e: what the factory's key 1 has, and what every firmware takes.
    pub const ALL: Self = Self((1 << 0x2f) - 1);
    /// Read an opaque object.
    pub const GET_OPAQUE: Self = Self(1);
    /// Store an opaque object.
    pub const PUT_OPAQUE: Self = Self(1 << 0x01);
    /// Store an authentication key.
    pub const PUT_AUTHENTICATION_KEY: Self = Self(1 << 0x02);
    /// Store an asymmetric key that was made elsewhere.
    pub const PUT_ASYMMETRIC_KEY: Self = Self(1 << 0x03);
    /// Make an asymmetric key in the device.
    pub const GENERATE_ASYMMETRIC_KEY: Self = Self(1 << 0x04);
    /// Sign with ECDSA.
    pub const SIGN_ECDSA: Self = Self(1 << 0x07);
    /// Sign with Ed25519.
    pub const SIGN_EDDSA: Self = Self(1 << 0x08);
    /// Export objects under a wrap key.
    pub const EXPORT_WRAPPED: Self = Self(1 << 0x0c);
    /// Import objects under a wrap key.
    pub const IMPORT_WRAPPED: Self = Self(1 << 0x0d);
    /// Store a wrap key.
    pub const PUT_WRAP_KEY: Self = Self(1 << 0x0e);
    /// Make a wrap key in the device.
    pub const GENERATE_WRAP_KEY: Self = Self(1 << 0x0f);
    /// Of an object: it may leave the device, wrapped.
    pub const EXPORTABLE_UNDER_WRAP: Self = Self(1 << 0x10);
    /// Set a device option.
    pub const SET_OPTION: Self = Self(1 << 0x11);
    /// Read a device option.
    pub const GET_OPTION: Self = Self(1 << 0x12);
    /// Get random bytes.
    pub const GET_PSEUDO_RANDOM: Self = Self(1 << 0x13);
    /// Store an HMAC key.
    pub const PUT_HMAC_KEY: Self = Self(1 << 0x14);
    /// Make an HMAC key in the device.
    pub const GENERATE_HMAC_KEY: Self = Self(1 << 0x15);
    /// Read and free the audit log.
    pub const GET_LOG_ENTRIES: Self = Self(1 << 0x18);
    /// Erase the device.
    pub const RESET_DEVICE: Self = Self(1 << 0x1c);
    /// Sign an attestation certificate.
    pub const SIGN_ATTESTATION_CERTIFICATE: Self = Self(1 << 0x22);
    /// Wrap data.
    pub const WRAP_DATA: Self = Self(1 << 0x25);
    /// Unwrap data.
    pub const UNWRAP_DATA: Self = Self(1 << 0x26);
    /// Delete an opaque object.
    pub const DELETE_OPAQUE: Self = Self(1 << 0x27);
    /// Delete an authentication key.
    pub const DELETE_AUTHENTICATION_KEY: Self = Self(1 << 0x28);
    /// Delete an asymmetric key.
    pub const DELETE_ASYMMETRIC_KEY: Self = Self(1 << 0x29);
    /// Delete a wrap key.
    pub const DELETE_WRAP_KEY: Self = Self(1 << 0x2a);
    /// Change an authentication key.
    pub const CHANGE_AUTHENTICATION_KEY: Self = Self(1 << 0x2e);

    /// The capabilities of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What `self` has and `other` has not.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether every one of `other` is among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The one with this name in Yubico's shell, e.g. `sign-eddsa`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (bit, _) = NAMES.iter().find(|(_, known)| *known == name)?;
        Some(Self(1 << bit))
    }

    /// Each by itself, the lowest bit first.
    pub fn each(self) -> impl Iterator<Item = Self> {
        (0..u64::BITS)
            .map(|bit| Self(1 << bit))
            .filter(move |one| self.contains(*one))
    }
}

/// `sign-eddsa, get-log-entries`; a bit without a name as `bit 0x3a`; `none`.
impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, one) in self.each().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            let bit = one.0.trailing_zeros();
            match NAMES.iter().find(|(known, _)| u32::from(*known) == bit) {
                Some((_, name)) => f.write_str(name)?,
                None => write!(f, "bit 0x{bit:02x}")?,
            }
        }
        Ok(())
    }
}

/// A set of the 16 domains, bit 0 is domain 1. A session sees an object if they share one.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Domains(pub u16);

impl Domains {
    /// All sixteen.
    pub const ALL: Self = Self(0xffff);
    /// Domain 1 only, as the validator role has it.
    pub const ONE: Self = Self(1);
}

/// `1, 3`; `all`; `none`.
impl fmt::Display for Domains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("none"),
            0xffff => f.write_str("all"),
            bits => {
                let mut between = "";
                for domain in (1..=16).filter(|domain| bits >> (domain - 1) & 1 == 1) {
                    write!(f, "{between}{domain}")?;
                    between = ", ";
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_shown_by_name_and_unknown_ones_by_number() {
        let known = Capabilities::SIGN_EDDSA.with(Capabilities::GET_LOG_ENTRIES);
        assert_eq!(known.to_string(), "sign-eddsa, get-log-entries");
        assert_eq!(Capabilities(1 << 0x3a).to_string(), "bit 0x3a");
        assert_eq!(Capabilities::NONE.to_string(), "none");
        assert_eq!(
            Capabilities::named("sign-eddsa"),
            Some(Capabilities::SIGN_EDDSA)
        );
        assert_eq!(Capabilities::named("sign"), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let held = Capabilities::SIGN_EDDSA;
        let asked = held.with(Capabilities::GET_OPAQUE);
        assert!(!held.contains(asked));
        assert_eq!(asked.without(held).to_string(), "get-opaque");
        assert!(Capabilities::ALL.contains(asked));
    }

    #[test]
    fn every_bit_is_where_the_yubihsm_crate_has_it() {
        let mut compared = 0;
        for (name, flag) in yubihsm::Capability::all().iter_names() {
            let name = match name {
                // Yubico's shell has other names for these.
                "PUT_OPTION" => "set-option".to_owned(),
                "PUT_HMAC_KEY" => "put-mac-key".to_owned(),
                other => other.to_lowercase().replace('_', "-"),
            };
            if let Some(ours) = Capabilities::named(&name) {
                assert_eq!(ours.0, flag.bits(), "{name}");
                compared += 1;
            } else {
                assert!(name.starts_with("unknown"), "{name}");
            }
        }
        assert!(compared >= 47, "{compared}");
    }

    #[test]
    fn domains_count_from_one() {
        assert_eq!(Domains::ONE.to_string(), "1");
        assert_eq!(Domains(0b101).to_string(), "1, 3");
        assert_eq!(Domains::ALL.to_string(), "all");
        assert_eq!(Domains(0x8000).to_string(), "16");
    }
}
