//! Bytes that nobody wrote on purpose, and a second reader to agree with.

#![allow(
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "the mutator cuts random numbers down to bytes and indices on purpose, and the seed is printed"
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

/// Mutants of each message, at least.
pub(super) const EACH: usize = 10_000;

/// A reply to what was refused, which a node reads, or nothing: the connection ends.
pub(super) fn answer(codec: &dyn Codec, error: &DecodeError) -> Option<Vec<u8>> {
    let description = error.to_string();
    assert!(description.len() < 600);
    let DecodeError::Answerable { kind, .. } = *error else {
        return None;
    };
    let mut reply = Vec::new();
    let response = Response::Error {
        kind,
        code: 1,
        description: &description,
    };
    codec.encode(&response, &mut reply);
    assert!(!reply.is_empty() && reply.len() < 10_240);
    Some(reply)
}

#[test]
fn no_bytes_make_it_panic_and_what_it_accepts_prost_reads_alike() {
    let randao = field(9, &field(1, b"randao reveal of epoch 7"));
    let celestia_raw = bytes(pb::Sum::SignRawRequest(pb::SignRawRequest {
        chain_id_or_value: CHAIN.as_bytes().to_vec(),
        raw_bytes: b"hello".to_vec(),
        unique_id: "p2p-1".to_owned(),
    }));
    let corpus = [
        (celestia(), vote_bytes(|_| ())),
        (celestia(), vote_bytes(|it| it.extension = vec![7; 9])),
        (celestia(), vote_bytes(|it| it.block_id = None)),
        (celestia(), skipping(vote())),
        (celestia(), proposal_bytes(|_| ())),
        (
            celestia(),
            bytes(pb::Sum::PubKeyRequest(pb::PubKeyRequest {
                chain_id: CHAIN.to_owned(),
            })),
        ),
        (celestia(), vec![0x3a, 0x00]),
        (celestia(), celestia_raw),
        (Proto::new(options(Raw::SignBytes)), randao),
        (
            Proto::new(Options {
                v2: true,
                ..options(Raw::SignBytes)
            }),
            vote_bytes(|it| it.non_rp_extension = b"price".to_vec()),
        ),
    ];
    let seed = 0x746d_6b6d;
    println!("seed {seed}");
    let mut random = Random(seed);
    let (mut accepted, mut refusals, mut ends) = (0, 0, 0);
    for (mut codec, whole) in corpus {
        for _ in 0..EACH {
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
                Ok(_) => accepted += 1,
                Err(error) => match answer(&codec, &error) {
                    Some(reply) => {
                        let reply = pb::Message::decode(reply.as_slice()).expect("protobuf");
                        assert!(reply.sum.is_some());
                        refusals += 1;
                    }
                    None => ends += 1,
                },
            }
        }
        assert!(codec.take_unknown_fields().len() <= 64);
    }
    println!("{accepted} accepted, {refusals} refused, {ends} ends");
    assert!(accepted > 5_000 && refusals > 10_000 && ends > 5_000);
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
