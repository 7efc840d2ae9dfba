//! The messages of `privval.proto` and what they are made of, v0.34 to v2 and Celestia's, as prost sees them.
//!
//! The replies are written with them. Requests are read by [`strict`](crate::codec::strict) instead, since prost merges
//! duplicates; their types serve whoever plays the node.

#![allow(
    missing_docs,
    reason = "the fields are those of the protobuf definitions, by name"
)]

use prost::{
    DecodeError, Message as _, Oneof,
    bytes::{Buf, BufMut},
    encoding::{DecodeContext, WireType, bytes},
};

/// The envelope: one of the requests or replies.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    #[prost(oneof = "Sum", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub sum: Option<Sum>,
}

/// The members of the envelope; their numbers are the same in every version.
#[derive(Clone, PartialEq, Oneof)]
pub enum Sum {
    #[prost(message, tag = "1")]
    PubKeyRequest(PubKeyRequest),
    #[prost(message, tag = "2")]
    PubKeyResponse(PubKeyResponse),
    #[prost(message, tag = "3")]
    SignVoteRequest(SignVoteRequest),
    #[prost(message, tag = "4")]
    SignedVoteResponse(SignedVoteResponse),
    #[prost(message, tag = "5")]
    SignProposalRequest(SignProposalRequest),
    #[prost(message, tag = "6")]
    SignedProposalResponse(SignedProposalResponse),
    #[prost(message, tag = "7")]
    PingRequest(Ping),
    #[prost(message, tag = "8")]
    PingResponse(Ping),
    #[prost(message, tag = "9")]
    SignRawRequest(SignRawRequest),
    #[prost(message, tag = "10")]
    SignedRawResponse(SignedRawResponse),
}

/// `PingRequest` and `PingResponse`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Ping {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PubKeyRequest {
    #[prost(string, tag = "1")]
    pub chain_id: String,
}

/// Fields 1 and 2 are those of v0.34 to v0.40, 2 to 4 those of v1 and v2. They do not collide, so one reply serves all.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PubKeyResponse {
    #[prost(message, optional, tag = "1")]
    pub pub_key: Option<PublicKey>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<RemoteSignerError>,
    #[prost(bytes = "vec", tag = "3")]
    pub pub_key_bytes: Vec<u8>,
    #[prost(string, tag = "4")]
    pub pub_key_type: String,
}

/// `crypto.PublicKey`: a oneof with a member for each key type, all of them bytes. Without a member it is empty, as Go writes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublicKey {
    pub member: Option<(u32, Vec<u8>)>,
}

impl prost::Message for PublicKey {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if let Some((tag, key)) = &self.member {
            bytes::encode(*tag, key, buf);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let mut key = Vec::new();
        bytes::merge(wire_type, &mut key, buf, ctx)?;
        self.member = Some((tag, key));
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        let member = self.member.as_ref();
        member.map_or(0, |(tag, key)| bytes::encoded_len(*tag, key))
    }

    fn clear(&mut self) {
        self.member = None;
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SignVoteRequest {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(string, tag = "2")]
    pub chain_id: String,
    /// v1 and v2 only.
    #[prost(bool, tag = "3")]
    pub skip_extension_signing: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SignedVoteResponse {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<RemoteSignerError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SignProposalRequest {
    #[prost(message, optional, tag = "1")]
    pub proposal: Option<Proposal>,
    #[prost(string, tag = "2")]
    pub chain_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SignedProposalResponse {
    #[prost(message, optional, tag = "1")]
    pub proposal: Option<Proposal>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<RemoteSignerError>,
}

/// Celestia's `SignRawBytesRequest`. In v1 and v2 the same number is `SignBytesRequest`, whose field 1 is the value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SignRawRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub chain_id_or_value: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub raw_bytes: Vec<u8>,
    #[prost(string, tag = "3")]
    pub unique_id: String,
}

/// `SignedRawBytesResponse` and `SignBytesResponse`, which are the same.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SignedRawResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub signature: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<RemoteSignerError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoteSignerError {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub description: String,
}

/// Fields 9 and 10 since v0.38, 11 and 12 in v2.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Vote {
    #[prost(int32, tag = "1")]
    pub vote_type: i32,
    #[prost(int64, tag = "2")]
    pub height: i64,
    #[prost(int32, tag = "3")]
    pub round: i32,
    #[prost(message, optional, tag = "4")]
    pub block_id: Option<BlockId>,
    #[prost(message, optional, tag = "5")]
    pub timestamp: Option<Timestamp>,
    #[prost(bytes = "vec", tag = "6")]
    pub validator_address: Vec<u8>,
    #[prost(int32, tag = "7")]
    pub validator_index: i32,
    #[prost(bytes = "vec", tag = "8")]
    pub signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    pub extension: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub extension_signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "11")]
    pub non_rp_extension: Vec<u8>,
    #[prost(bytes = "vec", tag = "12")]
    pub non_rp_extension_signature: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Proposal {
    #[prost(int32, tag = "1")]
    pub proposal_type: i32,
    #[prost(int64, tag = "2")]
    pub height: i64,
    #[prost(int32, tag = "3")]
    pub round: i32,
    #[prost(int32, tag = "4")]
    pub pol_round: i32,
    #[prost(message, optional, tag = "5")]
    pub block_id: Option<BlockId>,
    #[prost(message, optional, tag = "6")]
    pub timestamp: Option<Timestamp>,
    #[prost(bytes = "vec", tag = "7")]
    pub signature: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BlockId {
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub part_set_header: Option<PartSetHeader>,
}

impl BlockId {
    /// A nil block ID as Go writes it: present, with an empty part-set header.
    #[must_use]
    pub fn nil() -> Self {
        Self {
            hash: Vec::new(),
            part_set_header: Some(PartSetHeader::default()),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PartSetHeader {
    #[prost(uint32, tag = "1")]
    pub total: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub hash: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl From<Sum> for Message {
    fn from(sum: Sum) -> Self {
        Self { sum: Some(sum) }
    }
}

impl Message {
    /// Appends the message's body to `out`.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        self.encode(out)
            .expect("a vector has room for as many bytes as memory has");
    }
}
