//! What votes and proposals may say, in whatever dialect: the rules that every codec holds a request against.

use crate::{
    codec::Reason,
    privval::{BlockId, Echo, Hrs, Step, Timestamp},
};

/// `SignedMsgType` of a prevote, a precommit, a proposal.
pub(super) const PREVOTE: i32 = 1;
pub(super) const PRECOMMIT: i32 = 2;
pub(super) const PROPOSE: i32 = 32;

/// The first and the last second that a protobuf timestamp may name (years 1 to 9999).
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The step of a vote's type.
pub(super) fn vote_step(type_number: i32) -> Result<Step, Reason> {
    match type_number {
        PREVOTE => Ok(Step::Prevote),
        PRECOMMIT => Ok(Step::Precommit),
        other => Err(Reason::Type(other)),
    }
}

/// The step of a proposal's type.
pub(super) fn proposal_step(type_number: i32) -> Result<Step, Reason> {
    match type_number {
        PROPOSE => Ok(Step::Proposal),
        other => Err(Reason::Type(other)),
    }
}

/// −1 (none), or a round before the proposal's own.
pub(super) fn pol_round(pol_round: i32, round: i32) -> Result<i64, Reason> {
    if pol_round < -1 || pol_round >= round {
        return Err(Reason::PolRound { pol_round, round });
    }
    Ok(i64::from(pol_round))
}

/// Nil, or complete; nothing in between.
pub(super) fn block_id(
    hash: &[u8],
    total: u32,
    parts_hash: &[u8],
) -> Result<Option<BlockId>, Reason> {
    if hash.is_empty() && total == 0 && parts_hash.is_empty() {
        return Ok(None);
    }
    match (hash.try_into(), parts_hash.try_into()) {
        (Ok(hash), Ok(parts_hash)) if total >= 1 => Ok(Some(BlockId {
            hash,
            parts_total: total,
            parts_hash,
        })),
        _ => Err(Reason::BlockId {
            hash: hash.len(),
            total,
            parts_hash: parts_hash.len(),
        }),
    }
}

/// A moment within the years 1 to 9999.
pub(super) fn timestamp(seconds: i64, nanos: i32) -> Result<Timestamp, Reason> {
    if TIMESTAMP_SECONDS.contains(&seconds) && (0..=999_999_999).contains(&nanos) {
        Ok(Timestamp { seconds, nanos })
    } else {
        Err(Reason::Timestamp { seconds, nanos })
    }
}

/// Height ≥ 1, round ≥ 0.
pub(super) fn hrs(height: i64, round: i32, step: Result<Step, Reason>) -> Result<Hrs, Reason> {
    let step = step?;
    if height < 1 {
        return Err(Reason::Height(height));
    }
    if round < 0 {
        return Err(Reason::Round(round));
    }
    Ok(Hrs {
        height,
        round: i64::from(round),
        step,
    })
}

/// What goes back as it came.
pub(super) fn echo(address: &[u8], index: i32) -> Result<Echo, Reason> {
    if !matches!(address.len(), 0 | 20) {
        return Err(Reason::Address(address.len()));
    }
    if index < 0 {
        return Err(Reason::Index(index));
    }
    Ok(Echo {
        validator_address: address.to_vec(),
        validator_index: i64::from(index),
    })
}
