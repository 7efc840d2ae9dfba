//! The handshake as consuming states, without any input or output: `Hello → AwaitingAuth → Authenticated` with a node from v0.34
//! on, `Hello → AwaitingProof → Authenticated` with an older one.
//!
//! Only the last one gives the frame keys away, so that nothing but the handshake itself can be said before the peer has
//! proved who it is. There are no roles: both sides do the same (protocol.md 1.1).

use std::fmt;

use rand_core::{CryptoRng, OsRng, RngCore};
use x25519_dalek::{EphemeralSecret, PublicKey as EphemeralKey};
use zeroize::Zeroizing;

use crate::{
    connection::{
        Identity,
        secret_connection::{
            Generation,
            frame::{FrameError, Opener, SEALED, Sealer},
            keys::{self, Derived, Side},
            legacy,
            v033::AwaitingProof,
            v034,
        },
    },
    crypto::{PublicKey, Signature},
};

/// We have an ephemeral key, and have heard nothing.
pub struct Hello {
    secret: EphemeralSecret,
    public: [u8; 32],
}

/// The keys are agreed on; the peer has not proved yet who it is.
pub struct AwaitingAuth {
    generation: Generation,
    sealer: Sealer,
    opener: Opener,
    challenge: [u8; 32],
}

/// The peer has proved that it holds its key. Data may flow.
pub struct Authenticated {
    /// Our direction, one frame in.
    pub sealer: Sealer,
    /// The peer's direction, one frame in.
    pub opener: Opener,
    /// The peer's identity key.
    pub peer: PublicKey,
}

impl Hello {
    /// A fresh ephemeral key.
    ///
    /// # Errors
    /// `HandshakeError::Random` if the system has no random bytes.
    pub fn new() -> Result<Self, HandshakeError> {
        let mut secret = Zeroizing::new([0; 32]);
        OsRng
            .try_fill_bytes(secret.as_mut_slice())
            .map_err(|_| HandshakeError::Random)?;
        Ok(Self::hazmat_from_secret(&secret))
    }

    /// A given X25519 secret (32 bytes): for test vectors only, a second use gives the session's keys away.
    #[must_use]
    pub fn hazmat_from_secret(secret: &[u8; 32]) -> Self {
        let secret = EphemeralSecret::random_from_rng(Given(secret));
        let public = EphemeralKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    /// What to send first, in clear (35 bytes).
    #[must_use]
    pub fn message(&self) -> [u8; v034::EPHEMERAL] {
        v034::FORM.ephemeral_message(&self.public)
    }

    /// Takes the peer's first message. The frame (1,044 bytes) is our proof, to be sent next.
    ///
    /// # Errors
    /// `HandshakeError` if the message is not exactly an ephemeral key, or the key is one that makes the secret known.
    pub fn receive(
        self,
        message: &[u8; v034::EPHEMERAL],
        identity: &Identity,
    ) -> Result<(AwaitingAuth, Vec<u8>), HandshakeError> {
        let agreed = self.agree(v034::FORM.read_ephemeral(message)?)?;
        let mut sealer = Sealer::new(&agreed.derived.send_key());
        let proof = v034::FORM.auth_message(
            identity.public_key().as_bytes(),
            &identity.sign(&agreed.merlin),
        );
        let mut frame = Vec::with_capacity(SEALED);
        sealer
            .seal(&[], &proof, &mut frame)
            .map_err(HandshakeError::Frame)?;
        let opener = Opener::new(&agreed.derived.receive_key());
        let next = AwaitingAuth::new(Generation::V034, sealer, opener, agreed.merlin);
        Ok((next, frame))
    }

    /// What to send first to a node up to v0.33, in clear (34 bytes).
    #[must_use]
    pub fn amino_message(&self) -> [u8; legacy::EPHEMERAL] {
        legacy::FORM.ephemeral_message(&self.public)
    }

    /// Takes the first message of a node up to v0.33. Nothing is sent before its proof has come.
    ///
    /// # Errors
    /// As `receive`.
    pub fn receive_amino(
        self,
        message: &[u8; legacy::EPHEMERAL],
    ) -> Result<AwaitingProof, HandshakeError> {
        let theirs = legacy::FORM.read_ephemeral(message)?;
        let agreed = self.agree(theirs)?;
        // The challenge up to v0.32 does not cover the keys, so that nothing else would notice a change of the one bit that
        // X25519 does not look at. Nobody sets it.
        if theirs.last().is_some_and(|byte| byte & 0x80 != 0) {
            return Err(HandshakeError::Ephemeral);
        }
        Ok(AwaitingProof::new(&agreed))
    }

    fn agree(self, theirs: [u8; 32]) -> Result<Agreed, HandshakeError> {
        if theirs == self.public {
            return Err(HandshakeError::Reflected);
        }
        let dh = self.secret.diffie_hellman(&EphemeralKey::from(theirs));
        if !dh.was_contributory() {
            return Err(HandshakeError::LowOrder);
        }
        let (low, high, side) = if self.public < theirs {
            (&self.public, &theirs, Side::Lower)
        } else {
            (&theirs, &self.public, Side::Upper)
        };
        Ok(Agreed {
            derived: Derived::new(dh.as_bytes(), side),
            merlin: keys::challenge(low, high, dh.as_bytes()),
        })
    }
}

/// What both sides know after their first messages.
pub(super) struct Agreed {
    /// Frame keys, and the challenge up to v0.32.
    pub(super) derived: Derived,
    /// The challenge since v0.33.
    pub(super) merlin: [u8; 32],
}

impl AwaitingAuth {
    pub(super) fn new(
        generation: Generation,
        sealer: Sealer,
        opener: Opener,
        challenge: [u8; 32],
    ) -> Self {
        Self {
            generation,
            sealer,
            opener,
            challenge,
        }
    }

    /// Takes the peer's proof, which fills one frame.
    ///
    /// # Errors
    /// `HandshakeError` if the frame does not open, or the proof in it is none.
    pub fn receive(mut self, frame: &mut [u8; SEALED]) -> Result<Authenticated, HandshakeError> {
        let message = self.opener.open(frame).map_err(HandshakeError::Frame)?;
        let (key, signature) = match self.generation {
            Generation::Legacy | Generation::V033 => legacy::FORM.read_auth(message)?,
            Generation::V034 => v034::FORM.read_auth(message)?,
        };
        let peer = believable(key)?;
        let proved = peer.verifies(&self.challenge, &Signature::Ed25519(*signature));
        if !proved && !cfg!(mutant = "no_proof") {
            return Err(HandshakeError::Signature);
        }
        Ok(Authenticated {
            sealer: self.sealer,
            opener: self.opener,
            peer,
        })
    }
}

/// A peer's key that its signature can be held against.
pub(super) fn believable(key: &[u8; 32]) -> Result<PublicKey, HandshakeError> {
    let peer = PublicKey::ed25519(key).map_err(|_| HandshakeError::Key)?;
    // A key of small order has signatures that are valid for any message.
    match &peer {
        PublicKey::Ed25519(point) if !point.is_weak() => Ok(peer),
        _ => Err(HandshakeError::Key),
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hello")
    }
}

impl fmt::Debug for AwaitingAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwaitingAuth")
    }
}

impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Why there was no handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HandshakeError {
    /// The system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
    /// The first bytes belong to no handshake.
    #[error("the peer does not begin a handshake, its first bytes are {start:02x?}")]
    Start {
        /// The first two bytes.
        start: [u8; 2],
    },
    /// Another generation than the one that this side was told to speak.
    #[error("the peer begins another generation's handshake")]
    Generation,
    /// Not exactly a 32-byte key.
    #[error("the ephemeral key's message is malformed")]
    Ephemeral,
    /// A key that makes everybody know the shared secret.
    #[error("the ephemeral key has low order")]
    LowOrder,
    /// Our own key came back.
    #[error("the peer sent our own ephemeral key back")]
    Reflected,
    /// The frame with the proof does not open.
    #[error("the peer's proof cannot be opened")]
    Frame(#[source] FrameError),
    /// Not exactly a public key and a signature.
    #[error("the peer's proof is malformed")]
    Auth,
    /// Not an Ed25519 key.
    #[error("the peer's key is not an Ed25519 key")]
    KeyType,
    /// No point of the curve, or one of small order.
    #[error("the peer's key is invalid")]
    Key,
    /// The signature does not belong to the key and this handshake.
    #[error("the peer did not prove that it holds its key")]
    Signature,
}

impl HandshakeError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Start { .. } | Self::Ephemeral => {
                "does addr name the node's priv_validator_laddr, and not its RPC or P2P port?"
            }
            Self::Frame(_) | Self::Signature => {
                "something between here and the node changes the bytes"
            }
            Self::Random
            | Self::Generation
            | Self::LowOrder
            | Self::Reflected
            | Self::Auth
            | Self::KeyType
            | Self::Key => return None,
        };
        Some(hint.to_owned())
    }
}

/// Gives the bytes that it has, so that a failing system generator is an error before it and not a panic within.
struct Given<'a>(&'a [u8; 32]);

impl CryptoRng for Given<'_> {}

impl RngCore for Given<'_> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, destination: &mut [u8]) {
        for (slot, byte) in destination.iter_mut().zip(self.0) {
            *slot = *byte;
        }
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(destination);
        Ok(())
    }
}
