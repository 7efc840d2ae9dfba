//! The handshake of Tendermint up to v0.32: two amino messages, and a challenge that is derived like the keys (protocol.md 1.2).
//!
//! v0.33 writes the same messages. Only the exact form is read: Go takes keys of other lengths and types too, and nobody
//! sends those.

use crate::connection::secret_connection::{HandshakeError, concat, keys::Derived};

/// `21 20` and the key: a byte array of 32, with the length of it all in front.
pub(super) const EPHEMERAL: usize = 34;
/// `69`, the public key and the signature.
pub(super) const AUTH: usize = 106;

/// How the first message begins, and no message of a later generation does.
pub(super) const START: [u8; 2] = [0x21, 0x20];

/// The length of the message, then field 1 with its length.
const AUTH_HEAD: [u8; 3] = [0x69, 0x0a, 0x25];
/// The prefix of `tendermint/PubKeyEd25519`, then the key's length.
const ED25519_HEAD: [u8; 5] = [0x16, 0x24, 0xde, 0x64, 0x20];
const SIGNATURE_HEAD: [u8; 2] = [0x12, 0x40];

/// What both sides sign: the last third of the derived bytes.
pub(super) fn challenge(derived: &Derived) -> [u8; 32] {
    *derived.legacy_challenge()
}

/// The message that carries an ephemeral public key.
pub(super) fn ephemeral_message(key: &[u8; 32]) -> [u8; EPHEMERAL] {
    concat([&START, key])
}

/// The ephemeral public key in a message.
pub(super) fn read_ephemeral(message: &[u8; EPHEMERAL]) -> Result<[u8; 32], HandshakeError> {
    message
        .strip_prefix(&START)
        .and_then(|key| key.try_into().ok())
        .ok_or(HandshakeError::Ephemeral)
}

/// The message that carries an identity's public key and its signature over the challenge.
pub(super) fn auth_message(key: &[u8], signature: &[u8; 64]) -> [u8; AUTH] {
    concat([&AUTH_HEAD, &ED25519_HEAD, key, &SIGNATURE_HEAD, signature])
}

/// The public key and the signature in a message.
pub(super) fn read_auth(message: &[u8]) -> Result<(&[u8; 32], &[u8; 64]), HandshakeError> {
    let malformed = HandshakeError::Auth;
    if message.len() != AUTH {
        // Another key type changes the length.
        return Err(malformed);
    }
    let rest = message.strip_prefix(&AUTH_HEAD).ok_or(malformed)?;
    let rest = rest
        .strip_prefix(&ED25519_HEAD)
        .ok_or(HandshakeError::KeyType)?;
    let (key, rest) = rest.split_first_chunk().ok_or(malformed)?;
    let signature = rest.strip_prefix(&SIGNATURE_HEAD).ok_or(malformed)?;
    Ok((key, signature.try_into().map_err(|_| malformed)?))
}
