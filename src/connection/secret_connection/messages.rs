//! The two messages of a handshake, in the form that a generation writes them.
//!
//! Only the exact form is read. Go takes keys of other lengths and types too, and cuts or fills them; nobody sends those.

use crate::connection::secret_connection::HandshakeError;

/// Before the 64 bytes of a signature: field 2 and its length, in every generation.
const SIGNATURE_HEAD: [u8; 2] = [0x12, 0x40];

/// What stands around keys and signatures. `EPHEMERAL` and `AUTH` are the whole messages' lengths.
pub(super) struct Form<const EPHEMERAL: usize, const AUTH: usize> {
    /// Before the ephemeral key.
    pub(super) ephemeral_head: &'static [u8],
    /// How the message with the proof begins.
    pub(super) auth_head: &'static [u8],
    /// Then, before an Ed25519 public key.
    pub(super) ed25519_head: &'static [u8],
}

impl<const EPHEMERAL: usize, const AUTH: usize> Form<EPHEMERAL, AUTH> {
    /// The message that carries an ephemeral public key.
    pub(super) fn ephemeral_message(&self, key: &[u8; 32]) -> [u8; EPHEMERAL] {
        concat([self.ephemeral_head, key])
    }

    /// The ephemeral public key in a message.
    pub(super) fn read_ephemeral(
        &self,
        message: &[u8; EPHEMERAL],
    ) -> Result<[u8; 32], HandshakeError> {
        message
            .strip_prefix(self.ephemeral_head)
            .and_then(|key| key.try_into().ok())
            .ok_or(HandshakeError::Ephemeral)
    }

    /// The message that carries an identity's public key and its signature over the challenge.
    pub(super) fn auth_message(&self, key: &[u8], signature: &[u8; 64]) -> [u8; AUTH] {
        concat([
            self.auth_head,
            self.ed25519_head,
            key,
            &SIGNATURE_HEAD,
            signature,
        ])
    }

    /// The public key and the signature in a message.
    pub(super) fn read_auth<'a>(
        &self,
        message: &'a [u8],
    ) -> Result<(&'a [u8; 32], &'a [u8; 64]), HandshakeError> {
        let malformed = HandshakeError::Auth;
        if message.len() != AUTH {
            // Another key type changes the length.
            return Err(malformed);
        }
        let rest = message.strip_prefix(self.auth_head).ok_or(malformed)?;
        let rest = rest
            .strip_prefix(self.ed25519_head)
            .ok_or(HandshakeError::KeyType)?;
        let (key, rest) = rest.split_first_chunk().ok_or(malformed)?;
        let signature = rest.strip_prefix(&SIGNATURE_HEAD).ok_or(malformed)?;
        Ok((key, signature.try_into().map_err(|_| malformed)?))
    }
}

/// Puts pieces that have N bytes together into one array.
fn concat<const N: usize, const K: usize>(pieces: [&[u8]; K]) -> [u8; N] {
    let mut all = [0; N];
    for (slot, byte) in all.iter_mut().zip(pieces.into_iter().flatten()) {
        *slot = *byte;
    }
    all
}
