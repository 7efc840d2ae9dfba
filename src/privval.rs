//! The vocabulary of remote signing: what a validator node may ask, in one shape for every wire dialect.

use std::fmt;

use sha2::{Digest, Sha256};

pub mod canonical;

/// A chain ID: 1–50 bytes of `[A-Za-z0-9-_.]`.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct ChainId(Box<str>);

impl ChainId {
    /// The longest chain ID that a genesis file may have, in bytes.
    pub const MAX_LEN: usize = 50;

    /// Checks length and alphabet.
    ///
    /// # Errors
    /// `InvalidChainId` for an empty or over-long ID, or a character that no chain ID has.
    pub fn new(id: &str) -> Result<Self, InvalidChainId> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if id.is_empty() || id.len() > Self::MAX_LEN || !id.chars().all(allowed) {
            return Err(InvalidChainId);
        }
        Ok(Self(id.into()))
    }

    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no chain ID.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a chain ID is 1 to 50 characters of A-Z, a-z, 0-9, '-', '_' and '.'")]
pub struct InvalidChainId;

/// What is being signed within a round. The order is the order of signing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Step {
    /// The proposer's block proposal.
    Proposal = 0,
    /// The first vote.
    Prevote = 1,
    /// The second vote.
    Precommit = 2,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proposal => "Proposal",
            Self::Prevote => "Prevote",
            Self::Precommit => "Precommit",
        })
    }
}

/// Height, round and step. The field order is the rule: comparisons are lexicographic.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Hrs {
    /// Block height; ≥ 1 in a request, 0 in a record that has never signed.
    pub height: i64,
    /// Round, ≥ 0 (an int32 on protobuf nodes, an int on older ones).
    pub round: i64,
    /// Step within the round.
    pub step: Step,
}

impl fmt::Display for Hrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.height, self.round, self.step as u8)
    }
}

/// A complete block ID. A nil vote has none (`Option<BlockId>`); a half-filled one does not exist here.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct BlockId {
    /// Hash of the block header, 32 bytes.
    pub hash: [u8; 32],
    /// Number of parts the block was split into, ≥ 1.
    pub parts_total: u32,
    /// Merkle root of the parts, 32 bytes.
    pub parts_hash: [u8; 32],
}

/// A moment as the node wrote it; it is never converted, since Go's zero time (year 1) is a legal value.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds, 0..=999_999_999.
    pub nanos: i32,
}

impl Timestamp {
    /// Go's zero `time.Time`: 0001-01-01T00:00:00Z.
    pub const GO_ZERO: Self = Self {
        seconds: -62_135_596_800,
        nanos: 0,
    };
}

/// Which family of canonical encoding sign bytes are in. Bytes of different forms never compare equal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Form {
    /// `CanonicalVote`/`CanonicalProposal` in protobuf: v0.34 to v2.
    Proto,
    /// In amino, with the time before the block: votes of v0.26 to v0.28.
    AminoA,
    /// In amino: votes of v0.29 to v0.33, and the proposals of all of these.
    AminoB,
}

impl Form {
    /// The name that stands in a state record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proto => "proto",
            Self::AminoA => "amino-a",
            Self::AminoB => "amino-b",
        }
    }

    /// The inverse of [`Form::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Proto, Self::AminoA, Self::AminoB]
            .into_iter()
            .find(|form| form.name() == name)
    }
}

/// The bytes that a consensus signature is made over (CometBFT's term), and where their timestamp lies.
///
/// Built only by [`canonical`], so that "equal but for the timestamp" needs no codec.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignBytes {
    form: Form,
    bytes: Box<[u8]>,
    /// Start and length of the timestamp field (tag, length and body) within `bytes`.
    timestamp_at: (usize, usize),
    timestamp: Timestamp,
}

impl SignBytes {
    /// The encoding family.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// The bytes themselves, length prefix included: typically 30 to 190.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The timestamp inside the bytes.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// Whether nothing but the timestamp (and so the outer length) differs.
    #[must_use]
    pub fn equal_but_for_timestamp(&self, other: &Self) -> bool {
        self.form == other.form && self.parts_around_timestamp() == other.parts_around_timestamp()
    }

    /// What stands before (without the outer length prefix) and after the timestamp.
    fn parts_around_timestamp(&self) -> Option<(&[u8], &[u8])> {
        let (start, len) = self.timestamp_at;
        let before = self.bytes.get(canonical::prefix_len(&self.bytes)..start)?;
        let after = self.bytes.get(start.checked_add(len)?..)?;
        Some((before, after))
    }
}

/// One vote or proposal to be signed. No signature field exists on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsensusMsg {
    /// Where in the chain's life it stands.
    pub hrs: Hrs,
    /// The block voted for or proposed; `None` is a nil vote (never a proposal).
    pub block_id: Option<BlockId>,
    /// The proof-of-lock round of a proposal (−1 ≤ it < round), −1 for a vote.
    pub pol_round: i64,
    /// Canonical bytes for the chain's own ID.
    pub sign_bytes: SignBytes,
    /// Fields that a reply repeats although they are not signed.
    pub echo: Echo,
}

impl ConsensusMsg {
    /// A precommit for a block: the only message that a vote extension belongs to.
    #[must_use]
    pub fn is_precommit_for_block(&self) -> bool {
        self.hrs.step == Step::Precommit && self.block_id.is_some()
    }
}

/// Unsigned fields of a vote that go back as they came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Echo {
    /// 20 bytes, or none when the node sent none.
    pub validator_address: Vec<u8>,
    /// Index in the validator set, ≥ 0.
    pub validator_index: i64,
}

/// A vote extension (v0.38 and later) of one precommit, as sign bytes of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extension {
    sign_bytes: Box<[u8]>,
    is_empty: bool,
}

impl Extension {
    /// The length-prefixed `CanonicalVoteExtension`.
    #[must_use]
    pub fn sign_bytes(&self) -> &[u8] {
        &self.sign_bytes
    }

    /// Whether the application had nothing to say: on a chain that does not use extensions, all are like that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }
}

/// The second vote extension of CometBFT v2, which has no replay protection: it is signed as it is, without chain, height or
/// prefix. Built only by [`canonical`], which makes none of bytes that could pass for anything else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unprotected {
    sign_bytes: Box<[u8]>,
}

impl Unprotected {
    /// The extension itself; an empty one is signed, too.
    #[must_use]
    pub fn sign_bytes(&self) -> &[u8] {
        &self.sign_bytes
    }
}

/// A request to sign a vote or a proposal, with the extension that has to be signed beside it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignRequest {
    /// The vote or proposal.
    pub msg: ConsensusMsg,
    /// Present exactly on a precommit for a block whose request did not say `skip_extension_signing`.
    pub extension: Option<Extension>,
    /// Present on such a precommit of v2 only.
    pub unprotected: Option<Unprotected>,
}

/// Bytes outside of consensus that a chain's application wants signed with the consensus key, with their domain prefix.
///
/// There is no accessor without the prefix. Built only by [`canonical`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawBytes {
    sign_bytes: Box<[u8]>,
    label: String,
}

impl RawBytes {
    /// What gets signed: domain prefix, length, message.
    #[must_use]
    pub fn sign_bytes(&self) -> &[u8] {
        &self.sign_bytes
    }

    /// SHA-256 of what gets signed: what a log line can show of bytes that are none of its business.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.sign_bytes).into()
    }

    /// What to call it in a log line (how the `unique_id` of the request begins).
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }
}

/// What a heartbeat of v0.26 says: a proposer that waits for transactions is still there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Beat {
    /// Block height, ≥ 1.
    pub height: i64,
    /// Round, ≥ 0.
    pub round: i64,
    /// Counts the heartbeats of one round, ≥ 0.
    pub sequence: i64,
    /// 20 bytes, or none when the node sent none.
    pub validator_address: Vec<u8>,
    /// Index in the validator set, ≥ 0.
    pub validator_index: i64,
}

/// A heartbeat to be signed. It is in no block and under no double-sign rule. Built only by [`canonical`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Heartbeat {
    sign_bytes: Box<[u8]>,
    beat: Beat,
}

impl Heartbeat {
    /// The length-prefixed `CanonicalHeartbeat`.
    #[must_use]
    pub fn sign_bytes(&self) -> &[u8] {
        &self.sign_bytes
    }

    /// What it says.
    #[must_use]
    pub fn beat(&self) -> &Beat {
        &self.beat
    }
}

/// Everything that a validator node can ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// Keep-alive.
    Ping,
    /// The public key of the consensus key.
    PubKey,
    /// A vote or proposal.
    Sign(SignRequest),
    /// Bytes outside of consensus (Celestia's raw bytes, v1's `SignBytes`), already allowed by the codec's options.
    SignRaw(RawBytes),
    /// A heartbeat (v0.26).
    Heartbeat(Heartbeat),
}

/// The kind of reply that a request is waiting for; known even where the request itself is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Answered by a ping response.
    Ping,
    /// Answered by a public-key response.
    PubKey,
    /// Answered by a signed-vote response.
    Vote,
    /// Answered by a signed-proposal response.
    Proposal,
    /// Answered by a raw-bytes (or v1 sign-bytes) response.
    Raw,
    /// Answered by a signed-heartbeat response (v0.26).
    Heartbeat,
}
