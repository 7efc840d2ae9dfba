//! Votes, proposals and replies in words that belong to no version.

use super::random::Random;

/// A vote (type 1 or 2) or proposal (32), and the request around it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ballot {
    pub(crate) type_number: i32,
    pub(crate) height: i64,
    pub(crate) round: i32,
    /// Proposals only; else 0.
    pub(crate) pol_round: i32,
    /// Hash, number of parts, their hash.
    pub(crate) block: Option<(Vec<u8>, u32, Vec<u8>)>,
    pub(crate) seconds: i64,
    pub(crate) nanos: i32,
    pub(crate) validator_address: Vec<u8>,
    pub(crate) validator_index: i32,
    pub(crate) extension: Vec<u8>,
    pub(crate) chain_id: String,
    pub(crate) skip_extension_signing: bool,
}

/// The chains that random requests are for: with the shortest and the longest name.
const CHAINS: [&str; 4] = [
    "test_chain_id",
    "c",
    "cosmoshub-4",
    "a-chain-id-of-fifty-characters-which-is-the-limit0",
];

impl Ballot {
    /// One that may be signed. Fields are often at the ends of their ranges, where encodings change.
    pub(crate) fn random(random: &mut Random, extensions: bool, skips: bool) -> Self {
        let type_number = [1, 2, 2, 32][random.below(4)];
        let round = match random.below(4) {
            0 => 0,
            1 => 1,
            2 => i32::MAX,
            _ => (random.next() >> 33) as i32,
        };
        let is_proposal = type_number == 32;
        let pol_round = match random.below(3) {
            0 if round > 0 => 0,
            1 if round > 0 => random.below(round as usize) as i32,
            _ => -1,
        };
        let has_block = is_proposal || random.below(4) > 0;
        let block = has_block.then(|| {
            let total = [1, 2, 127, 128, u32::MAX, 1 + (random.next() >> 40) as u32];
            let total = total[random.below(total.len())];
            (random.bytes(32), total, random.bytes(32))
        });
        let skip_extension_signing = skips && !is_proposal && random.below(3) == 0;
        let may_extend = skip_extension_signing || type_number == 2 && has_block;
        let extension = match random.below(3) {
            0 if extensions && may_extend && !is_proposal => {
                let size = random.below(400);
                random.bytes(size)
            }
            _ => Vec::new(),
        };
        Self {
            type_number,
            height: match random.below(4) {
                0 => 1,
                1 => i64::MAX,
                2 => 1 + random.below(300) as i64,
                _ => ((random.next() >> 1) | 1) as i64,
            },
            round,
            pol_round: if is_proposal { pol_round } else { 0 },
            block,
            // From year 1 to year 9999; the epoch, and the first moment of Go.
            seconds: match random.below(4) {
                0 => 0,
                1 => -62_135_596_800,
                _ => random.below(315_537_897_600) as i64 - 62_135_596_800,
            },
            nanos: [0, 999_999_999, random.below(1_000_000_000) as i32][random.below(3)],
            validator_address: if is_proposal {
                Vec::new()
            } else {
                random.bytes(20)
            },
            validator_index: if is_proposal {
                0
            } else {
                [0, 1, i32::MAX, random.below(200) as i32][random.below(4)]
            },
            extension,
            chain_id: CHAINS[random.below(CHAINS.len())].to_owned(),
            skip_extension_signing,
        }
    }

    pub(crate) fn is_precommit_for_block(&self) -> bool {
        self.type_number == 2 && self.block.is_some()
    }
}

/// Code and text.
pub(crate) type Error = Option<(i32, String)>;

/// What a version sees in a reply.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Reply {
    Pong,
    PubKey(KeyReply),
    Vote(SignedBallot),
    Proposal(SignedBallot),
}

#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct KeyReply {
    /// The number in the oneof, up to v0.38.
    pub(crate) member: Option<(u32, Vec<u8>)>,
    /// Type and bytes, in v1.
    pub(crate) named: Option<(String, Vec<u8>)>,
    pub(crate) error: Error,
}

impl KeyReply {
    /// Whether it is this key, in the words of its version.
    pub(crate) fn names(&self, name: &str, member: u32, key: &[u8]) -> bool {
        let named = self.named.as_ref();
        let by_name = named.is_some_and(|(it, bytes)| it == name && bytes == key);
        let numbered = self.member.as_ref();
        by_name || numbered.is_some_and(|(it, bytes)| *it == member && bytes == key)
    }
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct SignedBallot {
    pub(crate) ballot: Ballot,
    pub(crate) signature: Vec<u8>,
    pub(crate) extension_signature: Vec<u8>,
    pub(crate) error: Error,
}
