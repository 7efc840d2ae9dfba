//! The fields of every request, v0.26 to v0.33 (`protocol.md` 2.3).
//!
//! Go's `int` is a varint of 64 bits here. Rounds, indices and totals are read as 32 bits all the same: no chain ever gets
//! there, and a state record counts no further.

use crate::codec::strict::{Schema, Shape};

/// A request without fields.
pub(super) const EMPTY: Schema<0> = Schema {
    name: "Request",
    fields: [],
};
pub(super) const SIGN_VOTE_REQUEST: Schema<1> = Schema {
    name: "SignVoteRequest",
    fields: [("vote", Shape::Bytes)],
};
pub(super) const SIGN_PROPOSAL_REQUEST: Schema<1> = Schema {
    name: "SignProposalRequest",
    fields: [("proposal", Shape::Bytes)],
};
pub(super) const SIGN_HEARTBEAT_REQUEST: Schema<1> = Schema {
    name: "SignHeartbeatRequest",
    fields: [("heartbeat", Shape::Bytes)],
};
/// Fields 4 and 5 are the block and the time, or the other way around.
pub(super) const VOTE: Schema<8> = Schema {
    name: "Vote",
    fields: [
        ("type", Shape::Int32),
        ("height", Shape::Int64),
        ("round", Shape::Int32),
        ("block_id or timestamp", Shape::Bytes),
        ("timestamp or block_id", Shape::Bytes),
        ("validator_address", Shape::Bytes),
        ("validator_index", Shape::Int32),
        ("signature", Shape::Bytes),
    ],
};
pub(super) const HEARTBEAT: Schema<6> = Schema {
    name: "Heartbeat",
    fields: [
        ("validator_address", Shape::Bytes),
        ("validator_index", Shape::Int32),
        ("height", Shape::Int64),
        ("round", Shape::Int32),
        ("sequence", Shape::Int64),
        ("signature", Shape::Bytes),
    ],
};
pub(super) const BLOCK_ID: Schema<2> = Schema {
    name: "BlockID",
    fields: [("hash", Shape::Bytes), ("parts", Shape::Bytes)],
};
