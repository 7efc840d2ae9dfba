//! What a device holds: types, algorithms, labels, and what the device tells about an object.

use std::fmt;

use super::capability::{Capabilities, Domains};

/// Number of an object; unique together with its type. 0 lets the device choose, 0xffff is reserved.
pub type ObjectId = u16;

/// The type of an object. Types that this version has no name for are kept as numbers: a list never ends at one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectType(pub u8);

impl ObjectType {
    /// Bytes that the device does not look into.
    pub const OPAQUE: Self = Self(0x01);
    /// What a session is opened with.
    pub const AUTHENTICATION_KEY: Self = Self(0x02);
    /// A private key.
    pub const ASYMMETRIC_KEY: Self = Self(0x03);
    /// A key that others leave and enter the device under.
    pub const WRAP_KEY: Self = Self(0x04);
    /// An HMAC key.
    pub const HMAC_KEY: Self = Self(0x05);
}

impl fmt::Display for ObjectType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0x01 => "opaque",
            0x02 => "authentication-key",
            0x03 => "asymmetric-key",
            0x04 => "wrap-key",
            0x05 => "hmac-key",
            0x06 => "template",
            0x07 => "otp-aead-key",
            0x08 => "symmetric-key",
            0x09 => "public-wrap-key",
            other => return write!(f, "type 0x{other:02x}"),
        })
    }
}

/// An algorithm; ones without a name here are kept as numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Algorithm(pub u8);

impl Algorithm {
    /// ECDSA over secp256k1.
    pub const EC_K256: Self = Self(15);
    /// AES-256-CCM, of wrap keys.
    pub const AES256_CCM_WRAP: Self = Self(42);
    /// Opaque bytes.
    pub const OPAQUE_DATA: Self = Self(30);
    /// AES-128 authentication keys, from passwords.
    pub const AES128_YUBICO_AUTHENTICATION: Self = Self(38);
    /// Ed25519.
    pub const ED25519: Self = Self(46);
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            9 => "rsa2048",
            10 => "rsa3072",
            11 => "rsa4096",
            12 => "ecp256",
            13 => "ecp384",
            14 => "ecp521",
            15 => "eck256",
            16 => "ecbp256",
            17 => "ecbp384",
            18 => "ecbp512",
            19 => "hmac-sha1",
            20 => "hmac-sha256",
            21 => "hmac-sha384",
            22 => "hmac-sha512",
            29 => "aes128-ccm-wrap",
            30 => "opaque-data",
            31 => "opaque-x509-certificate",
            36 => "template-ssh",
            37 => "aes128-yubico-otp",
            38 => "aes128-yubico-authentication",
            39 => "aes192-yubico-otp",
            40 => "aes256-yubico-otp",
            41 => "aes192-ccm-wrap",
            42 => "aes256-ccm-wrap",
            46 => "ed25519",
            47 => "ecp224",
            49 => "ecp256-yubico-authentication",
            50 => "aes128",
            51 => "aes192",
            52 => "aes256",
            other => return write!(f, "algorithm 0x{other:02x}"),
        })
    }
}

/// A label: 40 bytes, filled up with zeros.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Label(pub [u8; Self::LEN]);

impl Label {
    /// Bytes of a label.
    pub const LEN: usize = 40;

    /// A label of a text; what is over 40 bytes is cut off at a character's end.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut end = text.len().min(Self::LEN);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut label = [0; Self::LEN];
        for (to, from) in label.iter_mut().zip(text.as_bytes().iter().take(end)) {
            *to = *from;
        }
        Self(label)
    }

    /// The text up to the first zero; what is no UTF-8 or could move a terminal's cursor is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(bytes).replace(char::is_control, "\u{fffd}")
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Label({:?})", self.text())
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// One line of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its number.
    pub id: ObjectId,
    /// Its type.
    pub object_type: ObjectType,
    /// How many objects had this number and type before.
    pub sequence: u8,
}

/// What the device tells about an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Info {
    /// What it may do, or what may be done with it.
    pub capabilities: Capabilities,
    /// Its number.
    pub id: ObjectId,
    /// Bytes that it takes.
    pub length: u16,
    /// Its domains.
    pub domains: Domains,
    /// Its type.
    pub object_type: ObjectType,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// How many objects had this number and type before.
    pub sequence: u8,
    /// Where it came from.
    pub origin: Origin,
    /// Its label.
    pub label: Label,
    /// Of authentication and wrap keys: what the objects that come in by them may have.
    pub delegated: Capabilities,
}

/// Where an object came from: 0x01 made in the device, 0x02 imported; 0x10 with either: came back under wrap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Origin(pub u8);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0x01 => "generated",
            0x02 => "imported",
            0x11 => "generated, came back under wrap",
            0x12 => "imported, came back under wrap",
            other => return write!(f, "origin 0x{other:02x}"),
        })
    }
}

/// What an object that is being made or stored is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewObject {
    /// Its number; 0 lets the device choose.
    pub id: ObjectId,
    /// Its label.
    pub label: Label,
    /// Its domains.
    pub domains: Domains,
    /// Its capabilities.
    pub capabilities: Capabilities,
}

/// Which objects a list shall have. All that are set must fit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// This number.
    pub id: Option<ObjectId>,
    /// This type.
    pub object_type: Option<ObjectType>,
    /// In one of these domains.
    pub domains: Option<Domains>,
    /// With one of these capabilities.
    pub capabilities: Option<Capabilities>,
    /// This algorithm.
    pub algorithm: Option<Algorithm>,
    /// This label.
    pub label: Option<Label>,
}

impl Filter {
    /// As LIST OBJECTS takes it: a tag and a value for each that is set.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |tag: u8, value: Option<&[u8]>| {
            if let Some(value) = value {
                bytes.push(tag);
                bytes.extend_from_slice(value);
            }
        };
        put(
            1,
            self.id
                .map(u16::to_be_bytes)
                .as_ref()
                .map(<[u8; 2]>::as_slice),
        );
        put(
            2,
            self.object_type
                .map(|kind| [kind.0])
                .as_ref()
                .map(<[u8; 1]>::as_slice),
        );
        put(
            3,
            self.domains
                .map(|d| d.0.to_be_bytes())
                .as_ref()
                .map(<[u8; 2]>::as_slice),
        );
        put(
            4,
            self.capabilities
                .map(|c| c.0.to_be_bytes())
                .as_ref()
                .map(<[u8; 8]>::as_slice),
        );
        put(
            5,
            self.algorithm
                .map(|a| [a.0])
                .as_ref()
                .map(<[u8; 1]>::as_slice),
        );
        put(6, self.label.as_ref().map(|label| label.0.as_slice()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_tags_and_values() {
        let filter = Filter {
            id: Some(9002),
            object_type: Some(ObjectType::ASYMMETRIC_KEY),
            ..Filter::default()
        };
        assert_eq!(filter.to_bytes(), [1, 0x23, 0x2a, 2, 3]);
        assert!(Filter::default().to_bytes().is_empty());
    }

    #[test]
    fn a_label_is_cut_at_a_characters_end_and_shown_without_controls() {
        let long = "é".repeat(21);
        assert_eq!(Label::new(&long).text(), "é".repeat(20));
        assert_eq!(
            Label::new(&format!("a{long}")).text(),
            format!("a{}", "é".repeat(19))
        );
        assert_eq!(Label::new("a\x1b[2J").text(), "a\u{fffd}[2J");
    }

    #[test]
    fn names_agree_with_the_yubihsm_crate() {
        for number in 1..=7 {
            let theirs = yubihsm::object::Type::from_u8(number).expect("a type");
            assert_eq!(ObjectType(number).to_string(), theirs.to_string());
        }
        assert_eq!(ObjectType(0x2a).to_string(), "type 0x2a");
    }
}
