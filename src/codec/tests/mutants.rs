//! Bytes that nobody wrote on purpose, and a second reader to agree with.

#![allow(
    clippy::cast_possible_truncation,
    reason = "the mutator cuts random numbers down to bytes and indices on purpose"
)]

use super::*;

/// SplitMix64: small, seeded, the same on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(super) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 => bytes.insert(at, self.next() as u8),
                1 if at < bytes.len() => {
                    bytes.remove(at);
                }
                2 => bytes.truncate(at),
                3 => {
                    let tail = bytes.split_at(at).1.to_vec();
                    bytes.extend(tail);
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
    }
}

/// Where the strict reader and prost both accept a message, they see the same vote or proposal.
fn agrees_with_prost(request: &SignRequest, message: &[u8]) -> bool {
    let msg = &request.msg;
    let sum = pb::Message::decode(message).ok().and_then(|it| it.sum);
    let (hrs, block, time) = match sum {
        Some(pb::Sum::SignVoteRequest(it)) => {
            let Some(vote) = it.vote else { return false };
            let step = [Step::Prevote, Step::Precommit]
                .get((vote.vote_type - 1) as usize)
                .copied();
            (
                (vote.height, vote.round, step),
                vote.block_id,
                vote.timestamp,
            )
        }
        Some(pb::Sum::SignProposalRequest(it)) => {
            let Some(proposal) = it.proposal else {
                return false;
            };
            (
                (proposal.height, proposal.round, Some(Step::Proposal)),
                proposal.block_id,
                proposal.timestamp,
            )
        }
        _ => return false,
    };
    let hash = block.map(|it| it.hash).unwrap_or_default();
    let time = time.map_or(Timestamp::GO_ZERO, |it| Timestamp {
        seconds: it.seconds,
        nanos: it.nanos,
    });
    (hrs.0, i64::from(hrs.1), hrs.2) == (msg.hrs.height, msg.hrs.round, Some(msg.hrs.step))
        && hash == msg.block_id.map(|id| id.hash.to_vec()).unwrap_or_default()
        && time == msg.sign_bytes.timestamp()
}

#[test]
fn no_bytes_make_it_panic_and_what_it_accepts_prost_reads_alike() {
    let corpus = [
        vote_bytes(|_| ()),
        vote_bytes(|it| it.extension = b"extension".to_vec()),
        vote_bytes(|it| it.block_id = None),
        skipping(vote()),
        proposal_bytes(|_| ()),
        bytes(pb::Sum::PubKeyRequest(pb::PubKeyRequest {
            chain_id: CHAIN.to_owned(),
        })),
        vec![0x3a, 0x00],
        field(9, &field(1, CHAIN.as_bytes())),
    ];
    let mut random = Random(0x746d_6b6d);
    let mut codec = celestia();
    let mut accepted = 0;
    for whole in corpus.iter().cycle().take(50_000) {
        let mut message = whole.clone();
        random.mutate(&mut message);
        match codec.decode(&message) {
            Ok(Request::Sign(request)) => {
                accepted += 1;
                assert!(
                    agrees_with_prost(&request, &message),
                    "{request:?} is not what prost sees in {}",
                    hex(&message)
                );
            }
            Ok(_) => {}
            Err(error) => assert!(error.to_string().len() < 600),
        }
    }
    assert!(accepted > 1_000, "only {accepted} mutants were accepted");
    assert!(codec.take_unknown_fields().len() <= 64);
}

#[test]
fn every_prefix_of_a_request_is_refused() {
    for whole in [vote_bytes(|_| ()), proposal_bytes(|_| ())] {
        for end in 0..whole.len() {
            assert!(codec().decode(whole.split_at(end).0).is_err(), "at {end}");
        }
    }
}

#[test]
fn what_a_node_encodes_is_what_is_read() {
    let mut random = Random(1);
    for _ in 0..2_000 {
        let round = (random.next() as i32).checked_abs().unwrap_or_default();
        let height = (random.next() >> 1).max(1).cast_signed();
        let asked = pb::Vote {
            vote_type: 1 + (random.next() & 1) as i32,
            height,
            round,
            block_id: (random.next() & 3 != 0).then(block),
            timestamp: Some(pb::Timestamp {
                seconds: (random.next() % 253_402_300_800).cast_signed(),
                nanos: (random.next() % 1_000_000_000) as i32,
            }),
            ..vote()
        };
        let SignRequest { msg, .. } = signed(&vote_bytes(|it| *it = asked.clone()));
        assert_eq!((msg.hrs.height, msg.hrs.round), (height, i64::from(round)));
        let timestamp = msg.sign_bytes.timestamp();
        let expected = asked.timestamp.expect("set above");
        assert_eq!(
            (timestamp.seconds, timestamp.nanos),
            (expected.seconds, expected.nanos)
        );
        assert_eq!(msg.block_id.is_some(), asked.block_id.is_some());
    }
}
