//! The names that go-amino knows messages and keys by, as the four bytes that stand for each on the wire (`protocol.md` 2.3).

use sha2::{Digest, Sha256};

/// The four bytes of a registered name.
pub type Prefix = [u8; 4];

/// v0.26 and v0.27; the request and its reply.
pub const PUB_KEY_MSG: Prefix = [0xa1, 0x17, 0x76, 0x25];
/// v0.28 and later.
pub const PUB_KEY_REQUEST: Prefix = [0xcb, 0x94, 0xd6, 0x20];
/// v0.28 and later.
pub const PUB_KEY_RESPONSE: Prefix = [0x17, 0x0e, 0xd5, 0x7c];
/// All versions.
pub const SIGN_VOTE_REQUEST: Prefix = [0xf3, 0xf4, 0x12, 0x04];
/// All versions.
pub const SIGNED_VOTE_RESPONSE: Prefix = [0xb2, 0x48, 0xa6, 0x16];
/// All versions.
pub const SIGN_PROPOSAL_REQUEST: Prefix = [0xbd, 0xe4, 0x98, 0xe2];
/// All versions.
pub const SIGNED_PROPOSAL_RESPONSE: Prefix = [0x4a, 0x04, 0xfb, 0x87];
/// v0.26.
pub const SIGN_HEARTBEAT_REQUEST: Prefix = [0xbb, 0x13, 0x3f, 0x07];
/// v0.26.
pub const SIGNED_HEARTBEAT_RESPONSE: Prefix = [0xab, 0xe8, 0x1e, 0xaa];
/// All versions.
pub const PING_REQUEST: Prefix = [0x1b, 0xad, 0xb6, 0x0d];
/// All versions.
pub const PING_RESPONSE: Prefix = [0xa2, 0x9a, 0x03, 0x1a];
/// The very first versions: the node ends the connection.
pub const POISON_PILL: Prefix = [0xc3, 0xd7, 0x43, 0x26];
/// A public key of 32 bytes.
pub const ED25519: Prefix = [0x16, 0x24, 0xde, 0x64];
/// A public key of 33 bytes.
pub const SECP256K1: Prefix = [0xeb, 0x5a, 0xe9, 0x87];

/// The disambiguation bytes and the prefix of a name: what its hash has after leading zero bytes, three and then four bytes,
/// none of them beginning with a zero byte.
#[must_use]
pub fn of(name: &str) -> ([u8; 3], Prefix) {
    let hash = Sha256::digest(name.as_bytes());
    let mut rest = hash.iter().copied().skip_while(|byte| *byte == 0);
    let mut disambiguation = [0; 3];
    disambiguation.fill_with(|| rest.next().unwrap_or_default());
    let mut rest = rest.skip_while(|byte| *byte == 0);
    let mut prefix = [0; 4];
    prefix.fill_with(|| rest.next().unwrap_or_default());
    (disambiguation, prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_is_the_one_that_its_name_gives() {
        for (name, prefix) in [
            ("remotesigner/PubKeyMsg", PUB_KEY_MSG),
            ("remotesigner/PubKeyRequest", PUB_KEY_REQUEST),
            ("remotesigner/PubKeyResponse", PUB_KEY_RESPONSE),
            ("remotesigner/SignVoteRequest", SIGN_VOTE_REQUEST),
            ("remotesigner/SignedVoteResponse", SIGNED_VOTE_RESPONSE),
            ("remotesigner/SignProposalRequest", SIGN_PROPOSAL_REQUEST),
            (
                "remotesigner/SignedProposalResponse",
                SIGNED_PROPOSAL_RESPONSE,
            ),
            ("remotesigner/SignHeartbeatRequest", SIGN_HEARTBEAT_REQUEST),
            (
                "remotesigner/SignedHeartbeatResponse",
                SIGNED_HEARTBEAT_RESPONSE,
            ),
            ("remotesigner/PingRequest", PING_REQUEST),
            ("remotesigner/PingResponse", PING_RESPONSE),
            ("kms/PoisonPillMsg", POISON_PILL),
            ("PubKeyEd25519", ED25519),
            ("PubKeySecp256k1", SECP256K1),
        ] {
            assert_eq!(of(&format!("tendermint/{name}")).1, prefix, "{name}");
        }
    }
}
