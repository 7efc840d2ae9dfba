//! What the app cannot sign, whoever asks (`devices.md` 3): told before the device is asked, and where it can be foreseen, at
//! start.

use std::fmt;

use crate::privval::{BlockId, ChainId, Step, Timestamp, canonical};

/// The longest content of sign bytes that the app takes, in bytes; their length prefix is not counted.
pub const MAX_CONTENT: usize = 127;

/// The last round that the app takes.
pub const MAX_ROUND: i64 = 255;

/// Whether the app can sign these bytes (length prefix first): a vote or a proposal of at most 127 bytes, of a round of at
/// most 255.
///
/// # Errors
/// `Unsignable` with the reason.
pub fn fits(sign_bytes: &[u8]) -> Result<(), Unsignable> {
    let content = without_prefix(sign_bytes).ok_or(Unsignable::NotConsensus)?;
    // Every form of votes and proposals begins with the type, then height and round as eight bytes each; an extension
    // begins with its content or its height.
    let kind = match content {
        [0x08, 1 | 2, ..] => "a vote",
        [0x08, 32, ..] => "a proposal",
        _ => return Err(Unsignable::NotConsensus),
    };
    if let Some(round) = round(content)
        && !(0..=MAX_ROUND).contains(&round)
    {
        return Err(Unsignable::Round(round));
    }
    if content.len() > MAX_CONTENT {
        return Err(Unsignable::TooLong {
            kind,
            length: content.len(),
        });
    }
    Ok(())
}

/// Why the app cannot sign something.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unsignable {
    /// Longer than the app's buffer.
    #[error(
        "{kind} of {length} bytes is too long for the Ledger app, which takes {MAX_CONTENT}: the chain ID is too long for it"
    )]
    TooLong {
        /// A vote or a proposal.
        kind: &'static str,
        /// The content's length in bytes.
        length: usize,
    },
    /// The app counts rounds in one byte.
    #[error("the Ledger app signs rounds up to {MAX_ROUND}, and this is round {0}")]
    Round(i64),
    /// A vote extension, or raw bytes.
    #[error("the Ledger app signs votes and proposals only: no vote extensions, no raw bytes")]
    NotConsensus,
}

/// What of a chain the app can sign, as far as its ID decides it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChainIdFit {
    /// Up to 6 characters: everything up to round 255.
    Everything,
    /// Up to 15: all votes, and the proposals of round 0. A proposal of a later round that is locked on no block is refused.
    ProposalsOfRoundZero,
    /// More: not even the usual proposals of round 0.
    NoProposals,
}

/// What of a chain the app can sign. The times that take the most bytes are reckoned with, and blocks of up to 127 parts.
#[must_use]
pub fn chain_id(id: &ChainId) -> ChainIdFit {
    let fits = |round| {
        let block_id = BlockId {
            hash: [1; 32],
            parts_total: 1,
            parts_hash: [1; 32],
        };
        let timestamp = Timestamp {
            // From 2004 to 3058 the seconds take five bytes.
            seconds: 1_800_000_000,
            nanos: 999_999_999,
        };
        let at = (1, round, -1);
        let bytes = canonical::sign_bytes(id, Step::Proposal, at, Some(&block_id), timestamp);
        fits(bytes.as_bytes()).is_ok()
    };
    if fits(MAX_ROUND) {
        ChainIdFit::Everything
    } else if fits(0) {
        ChainIdFit::ProposalsOfRoundZero
    } else {
        ChainIdFit::NoProposals
    }
}

impl ChainIdFit {
    /// Whether a validator of such a chain should not be started with a Ledger.
    #[must_use]
    pub fn is_refused(self) -> bool {
        self == Self::NoProposals
    }

    /// What the operator can do about it, where there is something.
    #[must_use]
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::Everything => None,
            Self::ProposalsOfRoundZero => {
                Some("nothing is at risk: such a round is left to the next proposer")
            }
            Self::NoProposals => Some("use a YubiHSM2 or a key file for this chain"),
        }
    }
}

impl fmt::Display for ChainIdFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => "the Ledger app can sign all votes and proposals of the chain",
            Self::ProposalsOfRoundZero => {
                "the chain ID has more than 6 characters: the Ledger app cannot sign proposals of later rounds than 0"
            }
            Self::NoProposals => {
                "the chain ID has more than 15 characters: proposals are too long for the Ledger app"
            }
        })
    }
}

fn without_prefix(sign_bytes: &[u8]) -> Option<&[u8]> {
    let mut length = 0_usize;
    for (at, byte) in sign_bytes.iter().enumerate().take(3) {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let content = sign_bytes.get(at + 1..)?;
            return (content.len() == length).then_some(content);
        }
    }
    None
}

/// The round, which is left out when it is 0.
fn round(content: &[u8]) -> Option<i64> {
    let mut rest = content.get(2..)?;
    if let Some(after) = rest.strip_prefix(&[0x11]) {
        rest = after.get(8..)?;
    }
    let (round, _) = rest.strip_prefix(&[0x19])?.split_first_chunk::<8>()?;
    Some(i64::from_le_bytes(*round))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(chain: &str, round: i64, pol_round: i64, nanos: i32) -> Vec<u8> {
        let block_id = BlockId {
            hash: [3; 32],
            parts_total: 1,
            parts_hash: [4; 32],
        };
        let timestamp = Timestamp {
            seconds: 1_764_000_000,
            nanos,
        };
        let chain = ChainId::new(chain).expect("a chain ID");
        let at = (77, round, pol_round);
        canonical::sign_bytes(&chain, Step::Proposal, at, Some(&block_id), timestamp)
            .as_bytes()
            .to_vec()
    }

    #[test]
    fn chain_ids_fit_up_to_15_characters_and_later_rounds_up_to_6() {
        for length in 1..=ChainId::MAX_LEN {
            let id = ChainId::new(&"c".repeat(length)).expect("a chain ID");
            let expected = match length {
                ..=6 => ChainIdFit::Everything,
                7..=15 => ChainIdFit::ProposalsOfRoundZero,
                _ => ChainIdFit::NoProposals,
            };
            assert_eq!(chain_id(&id), expected, "{length}");
            assert_eq!(chain_id(&id).is_refused(), length > 15);
        }
    }

    #[test]
    fn a_proposal_is_taken_up_to_127_bytes() {
        let fifteen = "chain-of-15-chr";
        assert_eq!(proposal(fifteen, 0, -1, 999_999_999).len(), 128);
        assert_eq!(fits(&proposal(fifteen, 0, -1, 999_999_999)), Ok(()));
        let longer = fits(&proposal("chain-of-16-char", 0, -1, 999_999_999));
        let kind = "a proposal";
        assert_eq!(longer, Err(Unsignable::TooLong { kind, length: 128 }));
        // Fewer nanoseconds take fewer bytes.
        assert_eq!(fits(&proposal("chain-of-16-char", 0, -1, 0)), Ok(()));
        let later = fits(&proposal(fifteen, 1, -1, 999_999_999));
        assert_eq!(later, Err(Unsignable::TooLong { kind, length: 136 }));
        // Locked on an earlier round, the same proposal is nine bytes shorter.
        assert_eq!(fits(&proposal(fifteen, 1, 0, 999_999_999)), Ok(()));
    }

    #[test]
    fn rounds_are_taken_up_to_255() {
        assert_eq!(fits(&proposal("c-1", 255, -1, 5)), Ok(()));
        assert_eq!(
            fits(&proposal("c-1", 256, -1, 5)),
            Err(Unsignable::Round(256))
        );
    }

    #[test]
    fn extensions_and_raw_bytes_are_told_from_votes() {
        let chain = ChainId::new("c-1").expect("a chain ID");
        for extension in [&[][..], b"hello"] {
            let bytes = canonical::extension(&chain, 5, 0, extension);
            assert_eq!(fits(bytes.sign_bytes()), Err(Unsignable::NotConsensus));
        }
        let raw = canonical::raw_bytes(&chain, b"anything", "u").expect("raw bytes");
        assert_eq!(fits(raw.sign_bytes()), Err(Unsignable::NotConsensus));
        for nonsense in [&[][..], &[0], &[3, 8, 1], &[0xff, 0xff, 0xff, 8, 1]] {
            assert_eq!(
                fits(nonsense),
                Err(Unsignable::NotConsensus),
                "{nonsense:?}"
            );
        }
    }
}
