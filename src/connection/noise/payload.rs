//! What libp2p carries inside of the Noise handshake: an identity key, and its signature over the session's static key.

use prost::Message as _;

use crate::connection::{Identity, Libp2pId, noise::NoiseError};

/// What stands before the static key (32 bytes) in the bytes that are signed.
const DOMAIN: &[u8; 24] = b"noise-libp2p-static-key:";

/// libp2p's `NoiseHandshakePayload`. Its extensions (field 4) are for others and passed over.
#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    #[prost(bytes = "vec", tag = "1")]
    identity_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    identity_sig: Vec<u8>,
}

/// Says who we are.
pub(super) fn ours(identity: &Identity, static_key: &[u8; 32]) -> Vec<u8> {
    let payload = Payload {
        identity_key: identity.libp2p_id().message(),
        identity_sig: identity.sign_bound(&signed(static_key)).to_vec(),
    };
    payload.encode_to_vec()
}

/// Who the peer is, proved; an error unless it is `pinned`.
pub(super) fn check(
    payload: &[u8],
    static_key: &[u8; 32],
    pinned: &Libp2pId,
) -> Result<(), NoiseError> {
    let payload = Payload::decode(payload).map_err(|_| NoiseError::Payload)?;
    let found =
        Libp2pId::from_message(&payload.identity_key).map_err(|_| NoiseError::IdentityKey)?;
    if found != *pinned && !cfg!(mutant = "no_pin") {
        return Err(NoiseError::Peer {
            pinned: *pinned,
            found,
        });
    }
    let proved = found.verifies(&signed(static_key), &payload.identity_sig);
    if !proved && !cfg!(mutant = "no_proof") {
        return Err(NoiseError::Signature);
    }
    Ok(())
}

fn signed(static_key: &[u8; 32]) -> [u8; 56] {
    let mut bytes = [0; 56];
    let (domain, key) = bytes.split_at_mut(DOMAIN.len());
    domain.copy_from_slice(DOMAIN);
    key.copy_from_slice(static_key);
    bytes
}
