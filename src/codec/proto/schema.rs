//! The fields of every request, v0.34 to v2 and Celestia's (`protocol.md` 2.2).

use crate::codec::strict::{Schema, Shape};

pub(super) const PING_REQUEST: Schema<0> = Schema {
    name: "PingRequest",
    fields: [],
};
pub(super) const PUB_KEY_REQUEST: Schema<1> = Schema {
    name: "PubKeyRequest",
    fields: [("chain_id", Shape::Text)],
};
pub(super) const SIGN_VOTE_REQUEST: Schema<3> = Schema {
    name: "SignVoteRequest",
    fields: [
        ("vote", Shape::Bytes),
        ("chain_id", Shape::Text),
        ("skip_extension_signing", Shape::Bool),
    ],
};
pub(super) const SIGN_PROPOSAL_REQUEST: Schema<2> = Schema {
    name: "SignProposalRequest",
    fields: [("proposal", Shape::Bytes), ("chain_id", Shape::Text)],
};
pub(super) const SIGN_RAW_BYTES_REQUEST: Schema<3> = Schema {
    name: "SignRawBytesRequest",
    fields: [
        ("chain_id", Shape::Text),
        ("raw_bytes", Shape::Bytes),
        ("unique_id", Shape::Text),
    ],
};
/// With what it has not, and Celestia's message of that number has.
pub(super) const SIGN_BYTES_REQUEST: Schema<3> = Schema {
    name: "SignBytesRequest",
    fields: [
        ("value", Shape::Bytes),
        ("raw_bytes", Shape::Bytes),
        ("unique_id", Shape::Bytes),
    ],
};
pub(super) const VOTE: Schema<12> = Schema {
    name: "Vote",
    fields: [
        ("type", Shape::Int32),
        ("height", Shape::Int64),
        ("round", Shape::Int32),
        ("block_id", Shape::Bytes),
        ("timestamp", Shape::Bytes),
        ("validator_address", Shape::Bytes),
        ("validator_index", Shape::Int32),
        // A request has no signatures yet. What stands in these fields is neither signed nor sent back: it is not read.
        ("signature", Shape::Bytes),
        ("extension", Shape::Bytes),
        ("extension_signature", Shape::Bytes),
        ("non_rp_extension", Shape::Bytes),
        ("non_rp_extension_signature", Shape::Bytes),
    ],
};
pub(super) const BLOCK_ID: Schema<2> = Schema {
    name: "BlockID",
    fields: [("hash", Shape::Bytes), ("part_set_header", Shape::Bytes)],
};
