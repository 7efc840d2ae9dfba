//! The rules: pure functions from a record and a request to a verdict (`protection.md`).

use std::fmt;

use crate::privval::{BlockId, ConsensusMsg, Hrs, SignBytes, Step};

/// The greatest height that a record which never signed accepts.
pub const FIRST_HEIGHT_LIMIT: i64 = 1_000_000_000;

/// The smallest jump limit, in heights.
const JUMP_FLOOR: i64 = 1_000;

/// Heights per second of silence that a node may have moved on.
const JUMP_PER_SECOND: i64 = 10;

/// The greatest round that counts: an int32 on the wire.
const LAST_ROUND: i64 = i32::MAX as i64;

/// What the record says about the last signature: the floor that every request is held against.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Everything at or below this is decided.
    pub hrs: Hrs,
    /// The block of the last signature, as far as it is known; `None` for nil, or for a floor that was set by hand.
    pub block_id: Option<BlockId>,
    /// The sign bytes of the last signature; `None` for a floor that was set by hand or taken from a file without them.
    pub sign_bytes: Option<SignBytes>,
    /// Unix time, in seconds, of the last signature (or of the act that set the floor); `None` if it has never signed.
    pub signed_at: Option<u64>,
}

impl Record {
    /// The record of a key that has never signed.
    #[must_use]
    pub fn never_signed() -> Self {
        Self {
            hrs: Hrs {
                height: 0,
                round: LAST_ROUND,
                step: Step::Precommit,
            },
            block_id: None,
            sign_bytes: None,
            signed_at: None,
        }
    }

    /// A floor that forbids every height ≤ `height`, set at Unix time `now`.
    #[must_use]
    pub fn floor_at_height(height: i64, now: u64) -> Self {
        Self::floor_at(
            Hrs {
                height,
                round: LAST_ROUND,
                step: Step::Precommit,
            },
            now,
        )
    }

    /// A floor that forbids everything ≤ `hrs`, set at Unix time `now`.
    #[must_use]
    pub fn floor_at(hrs: Hrs, now: u64) -> Self {
        Self {
            hrs,
            block_id: None,
            sign_bytes: None,
            signed_at: Some(now),
        }
    }

    /// The record after `msg` was permitted at Unix time `now`.
    #[must_use]
    pub fn after(msg: &ConsensusMsg, now: u64) -> Self {
        Self {
            hrs: msg.hrs,
            block_id: msg.block_id,
            sign_bytes: Some(msg.sign_bytes.clone()),
            signed_at: Some(now),
        }
    }

    /// The greatest height that may be signed at Unix time `now`. A clock that runs back only makes it stricter.
    #[must_use]
    pub fn height_limit(&self, now: u64) -> i64 {
        let Some(signed_at) = self.signed_at else {
            return FIRST_HEIGHT_LIMIT;
        };
        let silence = i64::try_from(now.saturating_sub(signed_at)).unwrap_or(i64::MAX);
        let jump = silence.saturating_mul(JUMP_PER_SECOND).max(JUMP_FLOOR);
        self.hrs.height.saturating_add(jump)
    }
}

/// What an operator chose for a chain and a validator.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// Nothing above this height is signed.
    pub max_height: Option<i64>,
    /// Refuse another block in a later step of one round, as the original did, though the protocol allows it.
    pub strict_rounds: bool,
}

/// What the rules say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Record it durably, then permit it.
    Advance,
    /// Permit these recorded bytes again.
    Repeat(SignBytes),
    /// Must not be signed.
    Refuse(Refusal),
}

/// Holds one request against the record. Never panics, changes nothing.
#[must_use]
pub fn judge(record: &Record, msg: &ConsensusMsg, policy: Policy, now: u64) -> Verdict {
    let asked = msg.hrs;
    if let Some(max) = policy.max_height.filter(|max| asked.height > *max) {
        return Verdict::Refuse(Refusal::AboveMaxHeight { asked, max });
    }
    if asked == record.hrs {
        return judge_same_step(record, msg);
    }
    if is_behind(asked, record.hrs) {
        return Verdict::Refuse(Refusal::Regression {
            asked,
            last: record.hrs,
            block: record.block_id,
        });
    }
    let limit = record.height_limit(now);
    if asked.height > limit && !cfg!(mutant = "no_jump_limit") {
        return Verdict::Refuse(Refusal::Jump {
            asked,
            last: record.hrs,
            limit,
        });
    }
    let same_round = (asked.height, asked.round) == (record.hrs.height, record.hrs.round);
    if policy.strict_rounds
        && same_round
        && let (Some(before), Some(block)) = (record.block_id, msg.block_id)
        && before != block
    {
        return Verdict::Refuse(Refusal::AnotherBlockInRound {
            asked,
            last: record.hrs,
            before,
        });
    }
    Verdict::Advance
}

/// Whether a repeat of `asked` may be answered with `recorded`: identical, or a vote that differs in its timestamp only.
#[must_use]
pub fn repeats(recorded: &SignBytes, asked: &ConsensusMsg) -> bool {
    if cfg!(mutant = "no_compare") {
        return true;
    }
    *recorded == asked.sign_bytes
        || (asked.hrs.step != Step::Proposal && recorded.equal_but_for_timestamp(&asked.sign_bytes))
}

/// Lexicographic on the whole triple.
fn is_behind(asked: Hrs, last: Hrs) -> bool {
    if cfg!(mutant = "no_step") {
        return (asked.height, asked.round) < (last.height, last.round);
    }
    asked < last
}

fn judge_same_step(record: &Record, msg: &ConsensusMsg) -> Verdict {
    let asked = msg.hrs;
    let Some(recorded) = &record.sign_bytes else {
        return Verdict::Refuse(
            if record.block_id.is_some() && record.block_id != msg.block_id {
                Refusal::Conflict {
                    asked,
                    before: record.block_id,
                }
            } else {
                Refusal::Unrecorded { asked }
            },
        );
    };
    if repeats(recorded, msg) {
        return Verdict::Repeat(recorded.clone());
    }
    if recorded.equal_but_for_timestamp(&msg.sign_bytes) {
        return Verdict::Refuse(Refusal::ProposalTimestamp { asked });
    }
    Verdict::Refuse(Refusal::Conflict {
        asked,
        before: record.block_id,
    })
}

/// Why a request must not be signed. The node is told the `Display` text; the connection stays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Something else was signed there: signing this would be a double signature.
    Conflict {
        /// What was asked.
        asked: Hrs,
        /// The block of the first signature; `None` for nil.
        before: Option<BlockId>,
    },
    /// Something was signed there, but the record does not say what.
    Unrecorded {
        /// What was asked.
        asked: Hrs,
    },
    /// The same proposal with another timestamp: a node would attach the old signature to its new timestamp.
    ProposalTimestamp {
        /// What was asked.
        asked: Hrs,
    },
    /// Height, round or step lie behind the record.
    Regression {
        /// What was asked.
        asked: Hrs,
        /// What the record holds.
        last: Hrs,
        /// The block of the last signature, as far as it is known.
        block: Option<BlockId>,
    },
    /// So far ahead of the record that it can be no honest request.
    Jump {
        /// What was asked.
        asked: Hrs,
        /// What the record holds.
        last: Hrs,
        /// The greatest height that would have been accepted.
        limit: i64,
    },
    /// Above the validator's configured `max_height`.
    AboveMaxHeight {
        /// What was asked.
        asked: Hrs,
        /// The configured height.
        max: i64,
    },
    /// `strict_rounds`: another block than the one signed in an earlier step of the round.
    AnotherBlockInRound {
        /// What was asked.
        asked: Hrs,
        /// The earlier step.
        last: Hrs,
        /// The block of the earlier step.
        before: BlockId,
    },
}

impl Refusal {
    /// The code of the `RemoteSignerError`: 2 for a conflict, 1 for all else.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Conflict { .. } => 2,
            _ => 1,
        }
    }

    /// Whether signing would contradict an earlier signature.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// What was signed before, where that is the reason: height, round, step and block (`None` for nil).
    #[must_use]
    pub fn before(&self) -> Option<(Hrs, Option<BlockId>)> {
        match *self {
            Self::Conflict { asked, before } => Some((asked, before)),
            Self::Regression { last, block, .. } => Some((last, block)),
            Self::AnotherBlockInRound { last, before, .. } => Some((last, Some(before))),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { asked, .. } => {
                write!(f, "double signing requested at height: {}", asked.height)
            }
            Self::Unrecorded { asked } => write!(
                f,
                "already signed at height/round/step {asked}, and the record does not hold what"
            ),
            Self::ProposalTimestamp { asked } => write!(
                f,
                "proposal with another timestamp requested at height: {}",
                asked.height
            ),
            Self::Regression { asked, last, .. } => {
                if asked.height < last.height {
                    let (last, new) = (last.height, asked.height);
                    write!(f, "height regression: last height:{last} new height:{new}")
                } else if asked.round < last.round {
                    let (height, last, new) = (asked.height, last.round, asked.round);
                    write!(
                        f,
                        "round regression at height:{height} last round:{last} new round:{new}"
                    )
                } else {
                    let (height, round) = (asked.height, asked.round);
                    let (last, new) = (last.step as u8, asked.step as u8);
                    write!(
                        f,
                        "step regression at height:{height} round:{round} last step:{last} new step:{new}"
                    )
                }
            }
            Self::Jump { asked, last, limit } => write!(
                f,
                "height {} is too far ahead of the last signed height {}: up to {limit} is signed now",
                asked.height, last.height
            ),
            Self::AboveMaxHeight { asked, max } => write!(
                f,
                "requested signature above stop height: attempted to sign at height {} which is greater than {max}",
                asked.height
            ),
            Self::AnotherBlockInRound { asked, .. } => write!(
                f,
                "another block was signed in an earlier step of height {} round {}",
                asked.height, asked.round
            ),
        }
    }
}

impl std::error::Error for Refusal {}
