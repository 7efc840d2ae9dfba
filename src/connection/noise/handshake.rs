//! The handshake as consuming states, without any input or output: `Hello → AwaitingPeer → Channel`.
//!
//! The signer speaks first. The node's message proves who the node is, and it must be the one that is pinned before it hears
//! who we are; only the last state carries data (protocol.md 9.1).

use std::fmt;

use rand_core::{OsRng, RngCore};
use snow::{Builder, HandshakeState, TransportState, params::NoiseParams};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

use crate::connection::{Identity, Libp2pId, noise::payload};

/// Its 32 bytes go into the hash of every handshake.
const PROTOCOL: &str = "Noise_XX_25519_ChaChaPoly_SHA256";

/// The longest message of a handshake that is read, in bytes. A node's has about 200; libp2p leaves room for extensions.
pub const LONGEST: usize = 2048;
/// The most that one message can carry after the handshake, in bytes.
pub const DATA: usize = u16::MAX as usize - TAG;

const TAG: usize = 16;

/// We have keys for this session, and have said nothing.
pub struct Hello {
    state: Box<HandshakeState>,
    static_key: [u8; 32],
}

/// Our ephemeral key is out; the node has not proved who it is.
pub struct AwaitingPeer(Hello);

/// The node has proved that it is the pinned one, and has heard who we are. Data may flow.
pub struct Channel(Box<TransportState>);

impl Hello {
    /// Fresh keys.
    ///
    /// # Errors
    /// `NoiseError::Random` if the system has no random bytes.
    pub fn new() -> Result<Self, NoiseError> {
        let mut secret = Zeroizing::new([0; 32]);
        OsRng
            .try_fill_bytes(secret.as_mut_slice())
            .map_err(|_| NoiseError::Random)?;
        Self::with(&secret, |builder| builder)
    }

    /// Given X25519 secrets (32 bytes each): for test vectors only, a second use gives the session's keys away.
    ///
    /// # Errors
    /// None with 32 bytes.
    pub fn hazmat_from_secrets(
        static_secret: &[u8; 32],
        ephemeral_secret: &[u8; 32],
    ) -> Result<Self, NoiseError> {
        Self::with(static_secret, |builder| {
            builder.fixed_ephemeral_key_for_testing_only(ephemeral_secret)
        })
    }

    fn with<'k>(
        static_secret: &'k [u8; 32],
        ephemeral: impl FnOnce(Builder<'k>) -> Builder<'k>,
    ) -> Result<Self, NoiseError> {
        let params: NoiseParams = PROTOCOL
            .parse()
            .expect("the crate is built with each of the four");
        let builder = Builder::new(params).local_private_key(static_secret)?;
        Ok(Self {
            state: Box::new(ephemeral(builder).build_initiator()?),
            static_key: x25519(*static_secret, X25519_BASEPOINT_BYTES),
        })
    }

    /// What to send first: our ephemeral key, in clear.
    ///
    /// # Errors
    /// `NoiseError::Random` if the system has no random bytes.
    pub fn start(mut self) -> Result<(AwaitingPeer, [u8; 32]), NoiseError> {
        // The crate wants room for a tag, which this message does not have.
        let mut room = [0; 32 + TAG];
        self.state.write_message(&[], &mut room)?;
        let message = room.first_chunk().ok_or(NoiseError::Malformed)?;
        Ok((AwaitingPeer(self), *message))
    }
}

impl AwaitingPeer {
    /// Takes the node's message (at most `LONGEST` bytes). The bytes are our proof, to be sent next.
    ///
    /// # Errors
    /// `NoiseError` if the node is not `pinned`, or does not prove it; it has not heard who we are then.
    pub fn receive(
        self,
        message: &[u8],
        identity: &Identity,
        pinned: &Libp2pId,
    ) -> Result<(Channel, Vec<u8>), NoiseError> {
        let Self(Hello {
            mut state,
            static_key,
        }) = self;
        let ephemeral = message.first_chunk().ok_or(NoiseError::Malformed)?;
        contributes(ephemeral)?;
        let mut payload = vec![0; message.len()];
        let length = state.read_message(message, &mut payload)?;
        payload.truncate(length);
        let theirs = state.get_remote_static().unwrap_or_default();
        let theirs = theirs.try_into().map_err(|_| NoiseError::Malformed)?;
        contributes(theirs)?;
        payload::check(&payload, theirs, pinned)?;

        let proof = payload::ours(identity, &static_key);
        let mut answer = vec![0; LONGEST];
        let length = state.write_message(&proof, &mut answer)?;
        answer.truncate(length);
        Ok((Channel(Box::new(state.into_transport_mode()?)), answer))
    }
}

impl Channel {
    /// Appends a message to `out`, with its length before it. `data` has 1 to `DATA` bytes.
    ///
    /// # Errors
    /// `NoiseError::Exhausted` when the key is used up.
    pub fn seal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let length = u16::try_from(data.len() + TAG).map_err(|_| NoiseError::Malformed)?;
        out.extend_from_slice(&length.to_be_bytes());
        let at = out.len();
        out.resize(at + usize::from(length), 0);
        let room = out.get_mut(at..).unwrap_or_default();
        self.0.write_message(data, room)?;
        Ok(())
    }

    /// Opens the next message (without its length) into `data`, which then holds exactly what it carries.
    ///
    /// # Errors
    /// `NoiseError`; nothing that follows can be trusted then.
    pub fn open(&mut self, message: &[u8], data: &mut Vec<u8>) -> Result<(), NoiseError> {
        data.resize(message.len(), 0);
        let length = self.0.read_message(message, data)?;
        data.truncate(length);
        Ok(())
    }
}

/// Refuses a key that makes everybody know the shared secret: it gives zero, whatever it is multiplied with.
fn contributes(key: &[u8; 32]) -> Result<(), NoiseError> {
    if x25519([0x55; 32], *key) == [0; 32] {
        return Err(NoiseError::LowOrder);
    }
    Ok(())
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hello")
    }
}

impl fmt::Debug for AwaitingPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwaitingPeer")
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel")
    }
}

/// Why there was no handshake, or no message after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoiseError {
    /// The system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
    /// Longer than any message of the handshake.
    #[error("the peer begins with {length} bytes, which is no Noise handshake")]
    Length {
        /// What the first two bytes say.
        length: u16,
    },
    /// Too short for what must be in it.
    #[error("the peer's message is malformed")]
    Malformed,
    /// The tag does not fit: tampered with, out of order, or sent twice.
    #[error("the message was not sealed by the peer")]
    Sealed,
    /// A key that makes everybody know the shared secret.
    #[error("the peer's key has low order")]
    LowOrder,
    /// Not libp2p's message.
    #[error("the peer's proof is malformed")]
    Payload,
    /// Of another type, or malformed.
    #[error("the peer's identity is neither an Ed25519 nor a secp256k1 key")]
    IdentityKey,
    /// Not who the operator said it is. It has not heard who we are.
    #[error("the peer ID is {found}, pinned is {pinned}")]
    Peer {
        /// The ID in `addr`.
        pinned: Libp2pId,
        /// The ID that the peer claims.
        found: Libp2pId,
    },
    /// The signature does not belong to the key and this session.
    #[error("the peer did not prove that it holds its key")]
    Signature,
    /// No nonce is left for this key.
    #[error("the key of this direction is used up")]
    Exhausted,
}

impl NoiseError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Length { .. } | Self::Malformed | Self::Payload => {
                "does the node's priv_validator_laddr begin with noise://? Only CometBFT v0.40 and later know it"
            }
            Self::Sealed | Self::Signature => {
                "something between here and the node changes the bytes"
            }
            Self::Peer { .. } => {
                "`cometbft show-node-id --libp2p` on the node prints the peer ID that belongs into addr"
            }
            Self::Random | Self::LowOrder | Self::IdentityKey | Self::Exhausted => return None,
        };
        Some(hint.to_owned())
    }
}

impl From<snow::Error> for NoiseError {
    fn from(error: snow::Error) -> Self {
        match error {
            snow::Error::Rng => Self::Random,
            snow::Error::Decrypt => Self::Sealed,
            snow::Error::State(snow::error::StateProblem::Exhausted) => Self::Exhausted,
            _ => Self::Malformed,
        }
    }
}
