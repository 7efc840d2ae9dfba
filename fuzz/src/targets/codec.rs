//! Requests. Whatever the strict reader accepts, prost sees alike; sign bytes are those of the served chain.

use prost::Message as _;
use tmkms::{
    codec::{
        Codec as _, DecodeError, Response,
        messages::{self as pb, Sum},
        proto::{Options, Proto, Raw},
    },
    privval::{ChainId, Kind, Request, SignRequest, Step, Timestamp, canonical},
};

use crate::targets::{Target, hold};

const CHAIN: &str = "test_chain_id";

pub(crate) struct Codecs;

impl Target for Codecs {
    /// The first byte chooses what message 9 means.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for vote_type in [1, 2] {
            for block_id in [Some(pb::BlockId::nil()), Some(block()), None] {
                let vote = pb::Vote {
                    vote_type,
                    height: 12_345,
                    round: 2,
                    block_id,
                    timestamp: Some(time()),
                    validator_address: vec![0x0a; 20],
                    validator_index: 7,
                    ..pb::Vote::default()
                };
                all.push(request(Sum::SignVoteRequest(pb::SignVoteRequest {
                    vote: Some(pb::Vote {
                        extension: b"extension".to_vec(),
                        ..vote.clone()
                    }),
                    chain_id: CHAIN.to_owned(),
                    skip_extension_signing: true,
                })));
                all.push(request(Sum::SignVoteRequest(pb::SignVoteRequest {
                    vote: Some(vote),
                    chain_id: CHAIN.to_owned(),
                    skip_extension_signing: false,
                })));
            }
        }
        all.push(request(Sum::SignProposalRequest(pb::SignProposalRequest {
            proposal: Some(pb::Proposal {
                proposal_type: 32,
                height: 12_345,
                round: 2,
                pol_round: -1,
                block_id: Some(block()),
                timestamp: Some(time()),
                signature: Vec::new(),
            }),
            chain_id: CHAIN.to_owned(),
        })));
        all.push(request(Sum::PubKeyRequest(pb::PubKeyRequest {
            chain_id: CHAIN.to_owned(),
        })));
        all.push(request(Sum::PingRequest(pb::Ping {})));
        let raw = |chain: &[u8], raw_bytes: &[u8], unique_id: &str| {
            pb::Message::from(Sum::SignRawRequest(pb::SignRawRequest {
                chain_id_or_value: chain.to_vec(),
                raw_bytes: raw_bytes.to_vec(),
                unique_id: unique_id.to_owned(),
            }))
            .encode_to_vec()
        };
        all.push([vec![1], raw(CHAIN.as_bytes(), b"hello", "p2p-1")].concat());
        all.push([vec![2], raw(b"randao reveal of epoch 7", b"", "")].concat());
        all
    }

    fn run(&mut self, input: &[u8]) -> Result<String, String> {
        let (mode, message) = input.split_first().unwrap_or((&0, &[]));
        let mut codec = codec(*mode);
        let decoded = codec.decode(message);
        hold!(decoded == codec.decode(message), "two readings differ");
        hold!(
            codec.take_unknown_fields().len() <= 64,
            "unknown fields without bound"
        );
        match decoded {
            Ok(Request::Sign(request)) => {
                same_as_prost(&request, message)?;
                Ok(format!(
                    "{:?} {} {}",
                    request.msg.hrs.step,
                    request.msg.block_id.is_some(),
                    request.extension.is_some()
                ))
            }
            Ok(Request::SignRaw(raw)) => {
                hold!(*mode % 3 != 0, "raw bytes though they are not configured");
                hold!(
                    canonical::parse(tmkms::privval::Form::Proto, raw.sign_bytes()).is_none(),
                    "raw bytes that are a vote"
                );
                Ok("raw".to_owned())
            }
            Ok(other) => Ok(format!("{other:?}")),
            Err(error) => {
                let text = error.to_string();
                hold!(text.len() < 600, "an error of {} bytes", text.len());
                hold!(
                    !text.contains(char::is_control),
                    "control characters in {text:?}"
                );
                if let DecodeError::Answerable { kind, .. } = error {
                    answer(&codec, kind, &text)?;
                }
                Ok(super::without_quotes(&text))
            }
        }
    }
}

fn codec(mode: u8) -> Proto {
    Proto::new(Options {
        chain_id: ChainId::new(CHAIN).expect("a chain ID"),
        sign_extensions: true,
        v2: false,
        raw: match mode % 3 {
            0 => Raw::Refuse,
            1 => Raw::Celestia {
                prefixes: vec!["p2p-".to_owned()],
            },
            _ => Raw::SignBytes,
        },
    })
}

fn block() -> pb::BlockId {
    pb::BlockId {
        hash: vec![0x41; 32],
        part_set_header: Some(pb::PartSetHeader {
            total: 3,
            hash: vec![0x42; 32],
        }),
    }
}

fn time() -> pb::Timestamp {
    pb::Timestamp {
        seconds: 1_700_000_000,
        nanos: 5,
    }
}

fn request(sum: Sum) -> Vec<u8> {
    [vec![0], pb::Message::from(sum).encode_to_vec()].concat()
}

/// Every refusal can be said in a reply that a node reads.
fn answer(codec: &Proto, kind: Kind, description: &str) -> Result<(), String> {
    let mut out = Vec::new();
    codec.encode(
        &Response::Error {
            kind,
            code: 1,
            description,
        },
        &mut out,
    );
    let reply = pb::Message::decode(out.as_slice()).map_err(|error| error.to_string())?;
    hold!(
        reply.sum.is_some() && out.len() < 10_240,
        "a reply that no node reads"
    );
    Ok(())
}

/// Where both readers accept a message, they see one and the same vote or proposal, and the sign bytes are made of it.
fn same_as_prost(request: &SignRequest, message: &[u8]) -> Result<(), String> {
    let sum = pb::Message::decode(message)
        .map_err(|e| format!("prost refuses it: {e}"))?
        .sum;
    let (chain, step, height, round, pol_round, block, time) = match sum {
        Some(Sum::SignVoteRequest(pb::SignVoteRequest {
            vote: Some(it),
            chain_id,
            ..
        })) => {
            let step = match it.vote_type {
                1 => Step::Prevote,
                2 => Step::Precommit,
                other => return Err(format!("a vote of type {other}")),
            };
            (
                chain_id,
                step,
                it.height,
                it.round,
                -1,
                it.block_id,
                it.timestamp,
            )
        }
        Some(Sum::SignProposalRequest(pb::SignProposalRequest {
            proposal: Some(it),
            chain_id,
        })) => (
            chain_id,
            Step::Proposal,
            it.height,
            it.round,
            it.pol_round,
            it.block_id,
            it.timestamp,
        ),
        other => return Err(format!("prost sees {other:?}")),
    };
    hold!(chain == CHAIN, "a vote for {chain:?}");
    let msg = &request.msg;
    let hrs = (msg.hrs.height, msg.hrs.round, msg.hrs.step);
    hold!(
        hrs == (height, i64::from(round), step),
        "{hrs:?} is not {height}/{round}/{step:?}"
    );
    hold!(height >= 1 && round >= 0, "{height}/{round} is impossible");
    let block = block.unwrap_or_default();
    let parts = block.part_set_header.unwrap_or_default();
    let seen = msg
        .block_id
        .map(|id| (id.hash.to_vec(), id.parts_total, id.parts_hash.to_vec()));
    let prosts = (block.hash, parts.total, parts.hash);
    hold!(
        seen.clone().unwrap_or_default() == prosts,
        "{seen:?} is not {prosts:?}"
    );
    let time = time.map_or(Timestamp::GO_ZERO, |it| Timestamp {
        seconds: it.seconds,
        nanos: it.nanos,
    });
    let again = canonical::sign_bytes(
        &ChainId::new(CHAIN).expect("a chain ID"),
        step,
        (height, i64::from(round), i64::from(pol_round)),
        msg.block_id.as_ref(),
        time,
    );
    hold!(again == msg.sign_bytes, "sign bytes of another message");
    hold!(
        request.extension.is_none() || msg.is_precommit_for_block(),
        "an extension where none belongs"
    );
    Ok(())
}
