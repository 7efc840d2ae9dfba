//! The wire dialects: bytes of one whole message → [`Request`], [`Response`] → bytes.
//!
//! What a request may contain is checked here, once; after a successful `decode` nothing about it is left to doubt but
//! whether it may be signed. This room knows nothing of connections and keys.

use std::time::Duration;

use crate::{
    crypto::PublicKey,
    privval::{ChainId, Hrs, Kind, Request},
    protection::{SignedHeartbeat, SignedMsg, SignedRaw},
};

pub mod amino;
mod judged;
pub mod messages;
pub mod node;
pub mod proto;
mod schema;
pub mod strict;

pub use self::strict::{Fault, Place};

/// One dialect of the privval protocol, for the life of one connection.
pub trait Codec: Send {
    /// One whole message body (its length prefix already stripped) → a request.
    ///
    /// # Errors
    /// `DecodeError::Answerable` where the peer waits for a reply of a known kind: answer with an error and go on;
    /// `DecodeError::Unanswerable` otherwise: close.
    fn decode(&mut self, message: &[u8]) -> Result<Request, DecodeError>;

    /// Appends the body of the reply (no length prefix) to `out`.
    fn encode(&self, response: &Response<'_>, out: &mut Vec<u8>);

    /// Appends the body of the reply that makes a node ask again for the vote or proposal that was not signed, and says so;
    /// `false`, with nothing appended, where this dialect has none for `kind`.
    ///
    /// Nodes retry 50 times, a tenth of a second apart, and then do without: such a reply is held back.
    fn try_again(&self, kind: Kind, out: &mut Vec<u8>) -> bool {
        let _ = (kind, out);
        false
    }

    /// Fields seen since the last call that this version does not know, each named once per codec (`SignVoteRequest.7`).
    fn take_unknown_fields(&mut self) -> Vec<String>;

    /// A new connection begins: what was found out about the node before may not hold any more. `family` is what its handshake
    /// told; a unix socket has none.
    ///
    /// # Errors
    /// `DecodeError::Unanswerable` if the node is not what the operator says it is.
    fn begin(&mut self, family: Option<Family>) -> Result<(), DecodeError> {
        let _ = family;
        Ok(())
    }

    /// What the node turned out to speak, in words, when that is news.
    fn take_found(&mut self) -> Option<&'static str> {
        None
    }

    /// Whether it is news that requests of this node do not say for which chain they are.
    fn take_nameless(&mut self) -> bool {
        false
    }

    /// How long the node waits for a reply. A later one is not sent: old nodes take it for the answer to their next request.
    fn reply_limit(&self) -> Duration {
        REPLY_LIMIT
    }

    /// Whether the node, once it has stopped waiting for a reply, takes what comes for the answer to its next request.
    fn mistakes_late_replies(&self) -> bool {
        false
    }

    /// Whether the node asks nothing more after this connection, until somebody restarts it.
    fn ends_with_its_connection(&self) -> bool {
        false
    }
}

/// What a dialect says of itself, so that [`node::Node`] finds it: its file implements this, and `node` has a line for it.
trait Dialect: Spoken + Sized {
    /// In words, as far as a first message tells.
    const NAME: &'static str;

    /// The families that speak it.
    const FAMILIES: &'static [Family];

    /// A codec for a node of the chain that the options name.
    fn open(options: &proto::Options) -> Self;

    /// Whether the bytes begin like a request of this dialect, and so of no other.
    fn begins(message: &[u8]) -> bool;
}

/// What is found out about a node by and by.
trait Spoken: Codec {
    /// What it speaks, in words, once that is all that can be known.
    fn found(&self) -> Option<&'static str>;

    /// The family, where a message has told it.
    fn family(&self) -> Option<Family> {
        None
    }

    /// Whether its requests say for which chain they are.
    fn names_its_chain(&self) -> bool {
        true
    }
}

/// How long a node from v0.34 on waits for a reply.
const REPLY_LIMIT: Duration = Duration::from_secs(5);

/// The generations that a handshake tells apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// Tendermint up to v0.32: amino messages.
    Legacy,
    /// Tendermint v0.33: amino messages.
    V033,
    /// Tendermint v0.34 and later, and every CometBFT: protobuf messages.
    Protobuf,
}

impl Family {
    /// For an operator.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Legacy => "amino (Tendermint v0.32 or older)",
            Self::V033 => "amino (Tendermint v0.33)",
            Self::Protobuf => "protobuf (v0.34 or later)",
        }
    }
}

/// What can be said to a node.
#[derive(Debug)]
pub enum Response<'a> {
    /// The answer to a ping.
    Pong,
    /// The public key that this chain's signatures verify under.
    PubKey(&'a PublicKey),
    /// A signed vote or proposal.
    Signed(&'a SignedMsg),
    /// A signature over bytes outside of consensus.
    SignedRaw(&'a SignedRaw),
    /// A signed heartbeat.
    SignedHeartbeat(&'a SignedHeartbeat),
    /// No signature, and why. A node reports it and does not ask again.
    Error {
        /// The kind of request that this answers.
        kind: Kind,
        /// 2 for a conflict, 1 for everything else.
        code: i32,
        /// One line for the node's log.
        description: &'a str,
    },
}

/// The peer sent something that cannot be served.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The kind of the request is known: reply with an error (code 1) and keep the connection.
    #[error("{reason}")]
    Answerable {
        /// The kind of reply that the node waits for.
        kind: Kind,
        /// What it wanted signed, where that much could be read.
        hrs: Option<Hrs>,
        /// What is wrong.
        reason: Reason,
    },
    /// There is nothing to reply to: close the connection.
    #[error("{0}")]
    Unanswerable(Reason),
}

/// What is wrong with a message. The text may go to the node: it holds nothing secret and no control characters.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reason {
    /// The message has no member at all.
    #[error("empty message")]
    Empty,
    /// No member that this dialect knows.
    #[error("unknown request (field {0} of the message)")]
    UnknownRequest(u32),
    /// A reply where a request belongs.
    #[error("a reply (field {0} of the message) where a request is expected")]
    NotARequest(u32),
    /// No name that is registered in amino.
    #[error("unknown request (prefix {0:08x})")]
    UnknownPrefix(u32),
    /// The node of an early version ends the connection.
    #[error("the node ended the connection (poison pill)")]
    PoisonPill,
    /// The votes of one connection are of one version.
    #[error("the fields of this vote stand in another order than those of the votes before it")]
    OtherLayout,
    /// Not what `protocol_version` says.
    #[error("protocol_version is \"{pinned}\", but the node speaks {found}")]
    OtherFamily {
        /// As the operator wrote it.
        pinned: &'static str,
        /// What was found.
        found: &'static str,
    },
    /// More than one member of the oneof.
    #[error("more than one request in one message")]
    SecondMember,
    /// The bytes break the encoding.
    #[error("{place}: {fault}")]
    Malformed {
        /// The message and its field.
        place: Place,
        /// How.
        fault: Fault,
    },
    /// A submessage without which there is no request.
    #[error("{0} is missing")]
    Missing(Place),
    /// The request is for another chain.
    #[error("request for chain '{asked}', but this connection serves '{served}'")]
    OtherChain {
        /// The chain ID in the request, shortened and escaped.
        asked: String,
        /// The chain ID that the connection is configured for.
        served: ChainId,
    },
    /// Not 1 or 2 in a vote, not 32 in a proposal.
    #[error("message type {0} does not belong in this request")]
    Type(i32),
    /// Below 1.
    #[error("height {0} is below 1")]
    Height(i64),
    /// Negative.
    #[error("round {0} is negative")]
    Round(i32),
    /// Negative.
    #[error("sequence {0} is negative")]
    Sequence(i64),
    /// Not −1 ≤ it < round.
    #[error("proof-of-lock round {pol_round} does not fit round {round}")]
    PolRound {
        /// As asked.
        pol_round: i32,
        /// The proposal's own round.
        round: i32,
    },
    /// Neither nil nor complete.
    #[error(
        "block ID is neither nil nor complete (hash {hash} bytes, {total} parts, parts hash {parts_hash} bytes)"
    )]
    BlockId {
        /// Length of the block hash.
        hash: usize,
        /// Number of parts.
        total: u32,
        /// Length of the hash of the parts.
        parts_hash: usize,
    },
    /// A proposal for no block.
    #[error("proposal without a block ID")]
    NilProposal,
    /// Outside of the years 1 to 9999, or nanoseconds outside of 0..=999_999_999.
    #[error("impossible timestamp ({seconds} s, {nanos} ns)")]
    Timestamp {
        /// Seconds since the Unix epoch.
        seconds: i64,
        /// Nanoseconds.
        nanos: i32,
    },
    /// Neither 0 nor 20 bytes.
    #[error("validator address of {0} bytes")]
    Address(usize),
    /// Negative.
    #[error("validator index {0} is negative")]
    Index(i32),
    /// On a prevote or a nil precommit.
    #[error("unexpected vote extension")]
    UnexpectedExtension,
    /// Longer than any node accepts.
    #[error("vote extension of {0} bytes, at most 1048576 are signed")]
    ExtensionTooLong(usize),
    /// CometBFT v2's second extension, whose sign bytes have no domain of their own.
    #[error("extensions without replay protection are signed with sign_bytes = true only")]
    UnprotectedExtension,
    /// Raw bytes on a validator whose configuration does not allow them.
    #[error("signing of raw bytes is not configured for this chain")]
    RawRefused,
    /// Celestia's request on a validator of v1 or v2.
    #[error("this is Celestia's request for raw bytes, and sign_bytes is for CometBFT v1 and v2")]
    RawForeign,
    /// Raw bytes under a name that the configuration does not allow.
    #[error("signing of raw bytes for '{0}' is not configured for this chain")]
    RawUniqueId(String),
    /// Raw bytes that are empty or have no name.
    #[error("raw bytes and their unique ID must not be empty")]
    RawEmpty,
    /// Bare bytes that could pass for a vote, a proposal or an extension.
    #[error("bytes that are empty or could pass for a consensus message are not signed")]
    RawAmbiguous,
}

#[cfg(test)]
mod tests;
