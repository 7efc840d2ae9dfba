//! The handshake of Tendermint v0.33: the messages of `legacy`, signed over the challenge of v0.34 (protocol.md 1.3).
//!
//! Nothing before the proof tells v0.33 from what came before it: framing, frame keys and counters are the same. A node sends
//! its proof without waiting for ours, and it ends at start when it gets a proof that it does not understand. So the node's is
//! read first, and ours is made for the challenge that the node's verifies under.

use std::fmt;

use crate::{
    connection::{
        Identity,
        secret_connection::{
            Generation, HandshakeError,
            frame::{Opener, SEALED, Sealer},
            handshake::{Agreed, Authenticated, AwaitingAuth, believable},
            legacy,
        },
    },
    crypto::Signature,
};

/// The keys are agreed on with a node up to v0.33. Which challenge it signs, its proof will tell.
pub struct AwaitingProof {
    sealer: Sealer,
    opener: Opener,
    challenges: [(Generation, [u8; 32]); 2],
}

impl AwaitingProof {
    pub(super) fn new(agreed: &Agreed) -> Self {
        Self {
            sealer: Sealer::new(&agreed.derived.send_key()),
            opener: Opener::new(&agreed.derived.receive_key()),
            challenges: [
                (Generation::Legacy, legacy::challenge(&agreed.derived)),
                (Generation::V033, agreed.merlin),
            ],
        }
    }

    /// Takes the node's proof, which fills one frame. The frame (1,044 bytes) is our proof, to be sent next, in the
    /// generation that the node turned out to speak.
    ///
    /// # Errors
    /// `HandshakeError` if the frame does not open, or the proof in it is none under either challenge.
    pub fn receive(
        mut self,
        frame: &mut [u8; SEALED],
        identity: &Identity,
    ) -> Result<(Authenticated, Generation, Vec<u8>), HandshakeError> {
        let message = self.opener.open(frame).map_err(HandshakeError::Frame)?;
        let (key, signature) = legacy::FORM.read_auth(message)?;
        let peer = believable(key)?;
        let signature = Signature::Ed25519(*signature);
        let (generation, challenge) = self
            .challenges
            .into_iter()
            .find(|(_, challenge)| {
                peer.verifies(challenge, &signature) || cfg!(mutant = "no_proof")
            })
            .ok_or(HandshakeError::Signature)?;
        let proof = proof(&mut self.sealer, identity, &challenge)?;
        let authenticated = Authenticated {
            sealer: self.sealer,
            opener: self.opener,
            peer,
        };
        Ok((authenticated, generation, proof))
    }

    /// The side of a node, which says its generation and does not wait: the frame is its proof, to be sent next.
    ///
    /// # Errors
    /// `HandshakeError` if the frame cannot be sealed, or nobody of that generation writes these messages.
    pub fn prove(
        mut self,
        generation: Generation,
        identity: &Identity,
    ) -> Result<(AwaitingAuth, Vec<u8>), HandshakeError> {
        let (_, challenge) = self
            .challenges
            .into_iter()
            .find(|(of, _)| *of == generation)
            .ok_or(HandshakeError::Auth)?;
        let proof = proof(&mut self.sealer, identity, &challenge)?;
        let next = AwaitingAuth::new(generation, self.sealer, self.opener, challenge);
        Ok((next, proof))
    }
}

fn proof(
    sealer: &mut Sealer,
    identity: &Identity,
    challenge: &[u8; 32],
) -> Result<Vec<u8>, HandshakeError> {
    let message =
        legacy::FORM.auth_message(identity.public_key().as_bytes(), &identity.sign(challenge));
    let mut frame = Vec::with_capacity(SEALED);
    sealer
        .seal(&[], &message, &mut frame)
        .map_err(HandshakeError::Frame)?;
    Ok(frame)
}

impl fmt::Debug for AwaitingProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwaitingProof")
    }
}
