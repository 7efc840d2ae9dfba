//! Commands, by the numbers and names that Yubico gives them.

use std::fmt;

use super::capability::Capabilities;

/// A command that this client sends, or that an entry of the audit log names.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Command(pub u8);

/// What an answer has on top of its command's number.
pub(super) const ANSWER: u8 = 0x80;

/// The number of an answer that is an error.
pub(super) const ERROR: u8 = 0x7f;

impl Command {
    pub(super) const ECHO: Self = Self(0x01);
    pub(super) const CREATE_SESSION: Self = Self(0x03);
    pub(super) const AUTHENTICATE_SESSION: Self = Self(0x04);
    pub(super) const SESSION_MESSAGE: Self = Self(0x05);
    pub(super) const DEVICE_INFO: Self = Self(0x06);
    pub(super) const RESET_DEVICE: Self = Self(0x08);
    pub(super) const CLOSE_SESSION: Self = Self(0x40);
    pub(super) const GET_STORAGE_INFO: Self = Self(0x41);
    pub(super) const PUT_OPAQUE: Self = Self(0x42);
    pub(super) const GET_OPAQUE: Self = Self(0x43);
    pub(super) const PUT_AUTHENTICATION_KEY: Self = Self(0x44);
    pub(super) const PUT_ASYMMETRIC_KEY: Self = Self(0x45);
    pub(super) const GENERATE_ASYMMETRIC_KEY: Self = Self(0x46);
    pub(super) const LIST_OBJECTS: Self = Self(0x48);
    pub(super) const EXPORT_WRAPPED: Self = Self(0x4a);
    pub(super) const IMPORT_WRAPPED: Self = Self(0x4b);
    pub(super) const PUT_WRAP_KEY: Self = Self(0x4c);
    pub(super) const GET_LOG_ENTRIES: Self = Self(0x4d);
    pub(super) const GET_OBJECT_INFO: Self = Self(0x4e);
    pub(super) const SET_OPTION: Self = Self(0x4f);
    pub(super) const GET_OPTION: Self = Self(0x50);
    pub(super) const GET_PSEUDO_RANDOM: Self = Self(0x51);
    pub(super) const GET_PUBLIC_KEY: Self = Self(0x54);
    pub(super) const SIGN_ECDSA: Self = Self(0x56);
    pub(super) const DELETE_OBJECT: Self = Self(0x58);
    pub(super) const SET_LOG_INDEX: Self = Self(0x67);
    pub(super) const SIGN_EDDSA: Self = Self(0x6a);
    pub(super) const BLINK_DEVICE: Self = Self(0x6b);
    pub(super) const CHANGE_AUTHENTICATION_KEY: Self = Self(0x6c);

    /// What a session's authentication key must have for it; none where it depends on the object, or nothing is needed.
    #[must_use]
    pub fn needs(self) -> Capabilities {
        match self {
            Self::RESET_DEVICE => Capabilities::RESET_DEVICE,
            Self::PUT_OPAQUE => Capabilities::PUT_OPAQUE,
            Self::GET_OPAQUE => Capabilities::GET_OPAQUE,
            Self::PUT_AUTHENTICATION_KEY => Capabilities::PUT_AUTHENTICATION_KEY,
            Self::PUT_ASYMMETRIC_KEY => Capabilities::PUT_ASYMMETRIC_KEY,
            Self::GENERATE_ASYMMETRIC_KEY => Capabilities::GENERATE_ASYMMETRIC_KEY,
            Self::EXPORT_WRAPPED => Capabilities::EXPORT_WRAPPED,
            Self::IMPORT_WRAPPED => Capabilities::IMPORT_WRAPPED,
            Self::PUT_WRAP_KEY => Capabilities::PUT_WRAP_KEY,
            Self::GET_LOG_ENTRIES | Self::SET_LOG_INDEX => Capabilities::GET_LOG_ENTRIES,
            Self::SET_OPTION => Capabilities::SET_OPTION,
            Self::GET_OPTION => Capabilities::GET_OPTION,
            Self::GET_PSEUDO_RANDOM => Capabilities::GET_PSEUDO_RANDOM,
            Self::SIGN_ECDSA => Capabilities::SIGN_ECDSA,
            Self::SIGN_EDDSA => Capabilities::SIGN_EDDSA,
            Self::CHANGE_AUTHENTICATION_KEY => Capabilities::CHANGE_AUTHENTICATION_KEY,
            _ => Capabilities::NONE,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0x01 => "echo",
            0x03 => "create session",
            0x04 => "authenticate session",
            0x05 => "session message",
            0x06 => "device info",
            0x08 => "reset device",
            0x0a => "get device public key",
            0x40 => "close session",
            0x41 => "get storage info",
            0x42 => "put opaque",
            0x43 => "get opaque",
            0x44 => "put authentication key",
            0x45 => "put asymmetric key",
            0x46 => "generate asymmetric key",
            0x48 => "list objects",
            0x4a => "export wrapped",
            0x4b => "import wrapped",
            0x4c => "put wrap key",
            0x4d => "get log entries",
            0x4e => "get object info",
            0x4f => "set option",
            0x50 => "get option",
            0x51 => "get pseudo random",
            0x52 => "put hmac key",
            0x54 => "get public key",
            0x56 => "sign ecdsa",
            0x58 => "delete object",
            0x5a => "generate hmac key",
            0x5b => "generate wrap key",
            0x64 => "sign attestation certificate",
            0x67 => "set log index",
            0x68 => "wrap data",
            0x69 => "unwrap data",
            0x6a => "sign eddsa",
            0x6b => "blink device",
            0x6c => "change authentication key",
            other => return write!(f, "command 0x{other:02x}"),
        })
    }
}
