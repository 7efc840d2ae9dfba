//! The two handshake messages as v0.34 and later write them: length-delimited protobuf (protocol.md 1.3).
//!
//! Only the exact form is read. Go also takes keys of other lengths, and cuts or fills them; nobody sends those.

use crate::connection::secret_connection::{HandshakeError, concat};

/// `22 0a 20` and the key: `BytesValue { value = 1 }`.
pub(super) const EPHEMERAL: usize = 35;
/// `66`, the public key and the signature: `AuthSigMessage { pub_key = 1, sig = 2 }`.
pub(super) const AUTH: usize = 103;

/// How the first message begins, and no message of an older generation does.
pub(super) const START: [u8; 2] = [0x22, 0x0a];

const EPHEMERAL_HEAD: [u8; 3] = [0x22, 0x0a, 0x20];
const AUTH_HEAD: [u8; 3] = [0x66, 0x0a, 0x22];
const ED25519_HEAD: [u8; 2] = [0x0a, 0x20];
const SIGNATURE_HEAD: [u8; 2] = [0x12, 0x40];

/// The message that carries an ephemeral public key.
pub(super) fn ephemeral_message(key: &[u8; 32]) -> [u8; EPHEMERAL] {
    concat([&EPHEMERAL_HEAD, key])
}

/// The ephemeral public key in a message.
pub(super) fn read_ephemeral(message: &[u8; EPHEMERAL]) -> Result<[u8; 32], HandshakeError> {
    message
        .strip_prefix(&EPHEMERAL_HEAD)
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
