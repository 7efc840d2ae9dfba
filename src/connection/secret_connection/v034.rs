//! The two handshake messages as v0.34 and later write them: length-delimited protobuf (protocol.md 1.3).

use crate::connection::secret_connection::messages::Form;

/// `22 0a 20` and the key: `BytesValue { value = 1 }`.
pub(super) const EPHEMERAL: usize = 35;
/// `66`, the public key and the signature: `AuthSigMessage { pub_key = 1, sig = 2 }`.
const AUTH: usize = 103;

/// How the first message begins, and no message of an older generation does.
pub(super) const START: [u8; 2] = [0x22, 0x0a];

/// The two messages.
pub(super) const FORM: Form<EPHEMERAL, AUTH> = Form {
    ephemeral_head: &[0x22, 0x0a, 0x20],
    auth_head: &[0x66, 0x0a, 0x22],
    ed25519_head: &[0x0a, 0x20],
};
