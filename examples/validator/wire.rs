//! The messages between a validator node and its signer, as a v0.38 node knows them (`proto/tendermint/privval`), and their
//! length-prefixed frames.
//!
//! Written apart from the signer's own codec, so that the two check each other. The members of the oneof stand as optional
//! fields: a node only ever sets one, and looks which one came back.

use prost::Message as _;

/// `tendermint.privval.Message`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// Asks for the public key.
    #[prost(message, optional, tag = "1")]
    pub pub_key_request: Option<PubKeyRequest>,
    /// The public key.
    #[prost(message, optional, tag = "2")]
    pub pub_key_response: Option<PubKeyResponse>,
    /// Asks for a vote's signature.
    #[prost(message, optional, tag = "3")]
    pub sign_vote_request: Option<SignVoteRequest>,
    /// The signed vote.
    #[prost(message, optional, tag = "4")]
    pub signed_vote_response: Option<SignedVoteResponse>,
    /// Asks for a proposal's signature.
    #[prost(message, optional, tag = "5")]
    pub sign_proposal_request: Option<SignProposalRequest>,
    /// The signed proposal.
    #[prost(message, optional, tag = "6")]
    pub signed_proposal_response: Option<SignedProposalResponse>,
    /// Keep-alive.
    #[prost(message, optional, tag = "7")]
    pub ping_request: Option<Empty>,
    /// Its answer.
    #[prost(message, optional, tag = "8")]
    pub ping_response: Option<Empty>,
}

impl Message {
    /// Length prefix and message, as they go on the wire.
    pub fn framed(&self) -> Vec<u8> {
        self.encode_length_delimited_to_vec()
    }

    /// The length of a whole framed message, once enough of its prefix is there to know it.
    pub fn framed_len(bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        let len = prost::decode_length_delimiter(&mut rest).ok()?;
        len.checked_add(bytes.len() - rest.len())
    }
}

/// A message without fields.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Empty {}

/// `PubKeyRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PubKeyRequest {
    /// Of the node's genesis file.
    #[prost(string, tag = "1")]
    pub chain_id: String,
}

/// `PubKeyResponse`: fields 1 and 2 of v0.34 to v0.40, 2 to 4 of v1 and v2.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PubKeyResponse {
    /// The key.
    #[prost(message, optional, tag = "1")]
    pub pub_key: Option<PublicKey>,
    /// Why there is none.
    #[prost(message, optional, tag = "2")]
    pub error: Option<RemoteSignerError>,
    /// The key.
    #[prost(bytes = "vec", tag = "3")]
    pub pub_key_bytes: Vec<u8>,
    /// What kind of key.
    #[prost(string, tag = "4")]
    pub pub_key_type: String,
}

/// `tendermint.crypto.PublicKey`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PublicKey {
    /// 32 bytes.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub ed25519: Option<Vec<u8>>,
    /// 33 bytes, compressed.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub secp256k1: Option<Vec<u8>>,
    /// 96 bytes, uncompressed.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub bls12381: Option<Vec<u8>>,
    /// 1,952 bytes; v0.40.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub mldsa65: Option<Vec<u8>>,
    /// 33 bytes, compressed; v0.40.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub secp256k1eth: Option<Vec<u8>>,
}

/// `SignVoteRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SignVoteRequest {
    /// The unsigned vote.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    /// Of the node's genesis file.
    #[prost(string, tag = "2")]
    pub chain_id: String,
}

/// `SignedVoteResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SignedVoteResponse {
    /// The signed vote.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    /// Why there is none.
    #[prost(message, optional, tag = "2")]
    pub error: Option<RemoteSignerError>,
}

/// `SignProposalRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SignProposalRequest {
    /// The unsigned proposal.
    #[prost(message, optional, tag = "1")]
    pub proposal: Option<Proposal>,
    /// Of the node's genesis file.
    #[prost(string, tag = "2")]
    pub chain_id: String,
}

/// `SignedProposalResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SignedProposalResponse {
    /// The signed proposal.
    #[prost(message, optional, tag = "1")]
    pub proposal: Option<Proposal>,
    /// Why there is none.
    #[prost(message, optional, tag = "2")]
    pub error: Option<RemoteSignerError>,
}

/// `RemoteSignerError`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoteSignerError {
    /// 2 for a double sign, 1 for everything else.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// What the node writes to its log.
    #[prost(string, tag = "2")]
    pub description: String,
}

/// `tendermint.types.Vote`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Vote {
    /// 1 prevote, 2 precommit.
    #[prost(int32, tag = "1")]
    pub r#type: i32,
    /// Height.
    #[prost(int64, tag = "2")]
    pub height: i64,
    /// Round.
    #[prost(int32, tag = "3")]
    pub round: i32,
    /// Present also on a nil vote, with nothing in it.
    #[prost(message, optional, tag = "4")]
    pub block_id: Option<BlockId>,
    /// When the node made it.
    #[prost(message, optional, tag = "5")]
    pub timestamp: Option<Timestamp>,
    /// 20 bytes.
    #[prost(bytes = "vec", tag = "6")]
    pub validator_address: Vec<u8>,
    /// Index in the validator set.
    #[prost(int32, tag = "7")]
    pub validator_index: i32,
    /// 64 bytes.
    #[prost(bytes = "vec", tag = "8")]
    pub signature: Vec<u8>,
    /// The application's extension of a precommit.
    #[prost(bytes = "vec", tag = "9")]
    pub extension: Vec<u8>,
    /// 64 bytes, on a precommit for a block.
    #[prost(bytes = "vec", tag = "10")]
    pub extension_signature: Vec<u8>,
}

/// `tendermint.types.Proposal`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Proposal {
    /// Always 32.
    #[prost(int32, tag = "1")]
    pub r#type: i32,
    /// Height.
    #[prost(int64, tag = "2")]
    pub height: i64,
    /// Round.
    #[prost(int32, tag = "3")]
    pub round: i32,
    /// −1 where there was no proof of lock.
    #[prost(int32, tag = "4")]
    pub pol_round: i32,
    /// The proposed block.
    #[prost(message, optional, tag = "5")]
    pub block_id: Option<BlockId>,
    /// When the node made it.
    #[prost(message, optional, tag = "6")]
    pub timestamp: Option<Timestamp>,
    /// 64 bytes.
    #[prost(bytes = "vec", tag = "7")]
    pub signature: Vec<u8>,
}

/// `tendermint.types.BlockID`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BlockId {
    /// 32 bytes, empty for nil.
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    /// Always present.
    #[prost(message, optional, tag = "2")]
    pub part_set_header: Option<PartSetHeader>,
}

/// `tendermint.types.PartSetHeader`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PartSetHeader {
    /// Number of parts, 0 for nil.
    #[prost(uint32, tag = "1")]
    pub total: u32,
    /// 32 bytes, empty for nil.
    #[prost(bytes = "vec", tag = "2")]
    pub hash: Vec<u8>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// 0..=999_999_999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}
