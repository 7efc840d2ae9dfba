//! The numbers of the wire: commands, errors, object types, algorithms, capabilities, options.
//!
//! Source: Yubico's Python client (`yubihsm` 3.1, `defs.py`) and the YubiHSM Command Reference.

/// An error of the device, as the last byte of `7f 0001 cc`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Code(pub u8);

/// The payload of a success, or why there is none.
pub type Reply = Result<Vec<u8>, Code>;

pub const INVALID_COMMAND: Code = Code(0x01);
pub const INVALID_DATA: Code = Code(0x02);
pub const INVALID_SESSION: Code = Code(0x03);
pub const AUTHENTICATION_FAILED: Code = Code(0x04);
pub const SESSIONS_FULL: Code = Code(0x05);
pub const SESSION_FAILED: Code = Code(0x06);
pub const STORAGE_FAILED: Code = Code(0x07);
pub const WRONG_LENGTH: Code = Code(0x08);
pub const INSUFFICIENT_PERMISSIONS: Code = Code(0x09);
pub const LOG_FULL: Code = Code(0x0a);
pub const OBJECT_NOT_FOUND: Code = Code(0x0b);
pub const INVALID_ID: Code = Code(0x0c);
pub const OBJECT_EXISTS: Code = Code(0x11);
pub const ALGORITHM_DISABLED: Code = Code(0x12);

/// What may be sent, in clear or within a session.
pub mod command {
    pub const ECHO: u8 = 0x01;
    pub const CREATE_SESSION: u8 = 0x03;
    pub const AUTHENTICATE_SESSION: u8 = 0x04;
    pub const SESSION_MESSAGE: u8 = 0x05;
    pub const DEVICE_INFO: u8 = 0x06;
    pub const RESET_DEVICE: u8 = 0x08;
    pub const CLOSE_SESSION: u8 = 0x40;
    pub const GET_STORAGE_INFO: u8 = 0x41;
    pub const PUT_OPAQUE: u8 = 0x42;
    pub const GET_OPAQUE: u8 = 0x43;
    pub const PUT_AUTHENTICATION_KEY: u8 = 0x44;
    pub const PUT_ASYMMETRIC_KEY: u8 = 0x45;
    pub const GENERATE_ASYMMETRIC_KEY: u8 = 0x46;
    pub const LIST_OBJECTS: u8 = 0x48;
    pub const EXPORT_WRAPPED: u8 = 0x4a;
    pub const IMPORT_WRAPPED: u8 = 0x4b;
    pub const PUT_WRAP_KEY: u8 = 0x4c;
    pub const GET_LOG_ENTRIES: u8 = 0x4d;
    pub const GET_OBJECT_INFO: u8 = 0x4e;
    pub const SET_OPTION: u8 = 0x4f;
    pub const GET_OPTION: u8 = 0x50;
    pub const GET_PSEUDO_RANDOM: u8 = 0x51;
    pub const GET_PUBLIC_KEY: u8 = 0x54;
    pub const SIGN_ECDSA: u8 = 0x56;
    pub const DELETE_OBJECT: u8 = 0x58;
    pub const GENERATE_WRAP_KEY: u8 = 0x5b;
    pub const SET_LOG_INDEX: u8 = 0x67;
    pub const WRAP_DATA: u8 = 0x68;
    pub const UNWRAP_DATA: u8 = 0x69;
    pub const SIGN_EDDSA: u8 = 0x6a;
    pub const BLINK_DEVICE: u8 = 0x6b;
    pub const CHANGE_AUTHENTICATION_KEY: u8 = 0x6c;
    pub const ERROR: u8 = 0x7f;

    /// Every command whose audit can be set, in the order in which a device lists them.
    pub const AUDITABLE: &[u8] = &[
        0x01, 0x03, 0x04, 0x05, 0x06, 0x07, 0x09, 0x08, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46,
        0x47, 0x55, 0x56, 0x48, 0x49, 0x57, 0x4a, 0x4b, 0x4c, 0x4d, 0x67, 0x4e, 0x4f, 0x50, 0x51,
        0x52, 0x53, 0x54, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x62, 0x63,
        0x64, 0x65, 0x66, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x0a, 0x6d, 0x6e, 0x6f, 0x70, 0x71, 0x72,
        0x73, 0x74, 0x75, 0x76, 0x77,
    ];
}

/// Object types.
pub mod kind {
    pub const OPAQUE: u8 = 0x01;
    pub const AUTHENTICATION_KEY: u8 = 0x02;
    pub const ASYMMETRIC_KEY: u8 = 0x03;
    pub const WRAP_KEY: u8 = 0x04;
    pub const HMAC_KEY: u8 = 0x05;
    pub const TEMPLATE: u8 = 0x06;
    pub const OTP_AEAD_KEY: u8 = 0x07;
    /// A type that no client knows, for lists.
    pub const UNKNOWN: u8 = 0x7e;
}

/// Algorithms that the simulator has code for; it lists more.
pub mod algorithm {
    pub const EC_K256: u8 = 15;
    pub const AES128_CCM_WRAP: u8 = 29;
    pub const OPAQUE_DATA: u8 = 30;
    pub const OPAQUE_X509_CERTIFICATE: u8 = 31;
    pub const AES128_YUBICO_AUTHENTICATION: u8 = 38;
    pub const AES192_CCM_WRAP: u8 = 41;
    pub const AES256_CCM_WRAP: u8 = 42;
    pub const ED25519: u8 = 46;

    /// The last one of firmware 2.3, and of 2.4.
    pub const LAST: [u8; 2] = [49, 55];
}

/// Bits of a capability set.
pub mod capability {
    pub const GET_OPAQUE: u64 = 1 << 0x00;
    pub const PUT_OPAQUE: u64 = 1 << 0x01;
    pub const PUT_AUTHENTICATION_KEY: u64 = 1 << 0x02;
    pub const PUT_ASYMMETRIC_KEY: u64 = 1 << 0x03;
    pub const GENERATE_ASYMMETRIC_KEY: u64 = 1 << 0x04;
    pub const SIGN_ECDSA: u64 = 1 << 0x07;
    pub const SIGN_EDDSA: u64 = 1 << 0x08;
    pub const EXPORT_WRAPPED: u64 = 1 << 0x0c;
    pub const IMPORT_WRAPPED: u64 = 1 << 0x0d;
    pub const PUT_WRAP_KEY: u64 = 1 << 0x0e;
    pub const GENERATE_WRAP_KEY: u64 = 1 << 0x0f;
    pub const EXPORTABLE_UNDER_WRAP: u64 = 1 << 0x10;
    pub const SET_OPTION: u64 = 1 << 0x11;
    pub const GET_OPTION: u64 = 1 << 0x12;
    pub const GET_PSEUDO_RANDOM: u64 = 1 << 0x13;
    pub const GET_LOG_ENTRIES: u64 = 1 << 0x18;
    pub const RESET_DEVICE: u64 = 1 << 0x1c;
    pub const WRAP_DATA: u64 = 1 << 0x25;
    pub const UNWRAP_DATA: u64 = 1 << 0x26;
    pub const DELETE_OPAQUE: u64 = 1 << 0x27;
    pub const DELETE_AUTHENTICATION_KEY: u64 = 1 << 0x28;
    pub const DELETE_ASYMMETRIC_KEY: u64 = 1 << 0x29;
    pub const DELETE_WRAP_KEY: u64 = 1 << 0x2a;
    pub const DELETE_HMAC_KEY: u64 = 1 << 0x2b;
    pub const DELETE_TEMPLATE: u64 = 1 << 0x2c;
    pub const DELETE_OTP_AEAD_KEY: u64 = 1 << 0x2d;
    pub const CHANGE_AUTHENTICATION_KEY: u64 = 1 << 0x2e;
    /// What the default authentication key has: also the bits that mean nothing yet, for tools ask for all of them.
    pub const ALL: u64 = u64::MAX;
}

/// Options and what they can be.
pub mod option {
    pub const FORCE_AUDIT: u8 = 0x01;
    pub const COMMAND_AUDIT: u8 = 0x03;
    pub const ALGORITHM_TOGGLE: u8 = 0x04;

    pub const OFF: u8 = 0;
    pub const ON: u8 = 1;
    /// On until the device is reset.
    pub const FIXED: u8 = 2;
}

/// How an object came into the device.
pub mod origin {
    pub const GENERATED: u8 = 0x01;
    pub const IMPORTED: u8 = 0x02;
    /// Set beside one of the others.
    pub const IMPORTED_WRAPPED: u8 = 0x10;
}
