//! The handshake of Tendermint up to v0.32: two amino messages, and a challenge that is derived like the keys (protocol.md 1.2).
//!
//! v0.33 writes the same messages.

use crate::connection::secret_connection::{keys::Derived, messages::Form};

/// `21 20` and the key: a byte array of 32, with the length of it all in front.
pub(super) const EPHEMERAL: usize = 34;
/// `69`, the public key and the signature.
const AUTH: usize = 106;

/// How the first message begins, and no message of a later generation does.
pub(super) const START: [u8; 2] = [0x21, 0x20];

/// The two messages.
pub(super) const FORM: Form<EPHEMERAL, AUTH> = Form {
    ephemeral_head: &START,
    // The length of the message, then field 1 with its length.
    auth_head: &[0x69, 0x0a, 0x25],
    // The prefix of `tendermint/PubKeyEd25519`, then the key's length.
    ed25519_head: &[0x16, 0x24, 0xde, 0x64, 0x20],
};

/// What both sides sign: the last third of the derived bytes.
pub(super) fn challenge(derived: &Derived) -> [u8; 32] {
    *derived.legacy_challenge()
}
