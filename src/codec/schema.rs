//! The fields of messages that no dialect changed (`protocol.md` 2.2, 2.3).

use crate::codec::strict::{Schema, Shape};

pub(super) const PROPOSAL: Schema<7> = Schema {
    name: "Proposal",
    fields: [
        ("type", Shape::Int32),
        ("height", Shape::Int64),
        ("round", Shape::Int32),
        ("pol_round", Shape::Int32),
        ("block_id", Shape::Bytes),
        ("timestamp", Shape::Bytes),
        ("signature", Shape::Bytes),
    ],
};
pub(super) const PART_SET_HEADER: Schema<2> = Schema {
    name: "PartSetHeader",
    fields: [("total", Shape::Uint32), ("hash", Shape::Bytes)],
};
pub(super) const TIMESTAMP: Schema<2> = Schema {
    name: "Timestamp",
    fields: [("seconds", Shape::Int64), ("nanos", Shape::Int32)],
};
