//! The codec, the canonical encodings, the protection and the key files against the shared vectors.
//!
//! The directory is the one in `TMKMS_TEST_VECTORS` when that is set. A file or a case that is not understood is a failure.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

use std::fs;

use prost::Message as _;
use serde_json::Value;
use subtle_encoding::hex;
use tmkms::{
    codec::{
        Codec as _, DecodeError, Reason, Response,
        messages::{self as pb, Sum},
        proto::{Options, Proto, Raw},
    },
    crypto::Algorithm,
    privval::{ChainId, Kind, Request, SignRequest, Step, Timestamp, canonical},
};

#[path = "vectors/amino.rs"]
mod amino;
#[path = "vectors/case.rs"]
mod case;
#[path = "vectors/double_sign.rs"]
mod double_sign;
#[path = "vectors/keys.rs"]
mod keys;

use case::{Case, bytes, cases, directory, number, say, small, text, understood};

/// Read here.
const HERE: [&str; 8] = [
    "double_sign_scenarios.json",
    "keys_and_files.json",
    "privval_celestia_raw_bytes.json",
    "privval_messages_amino.json",
    "privval_messages_proto.json",
    "sign_bytes_amino.json",
    "sign_bytes_proto.json",
    "sign_bytes_vote_extension.json",
];

/// Read by `secret_connection.rs` and `noise_vectors.rs`, and in `src/crypto/vectors.rs`.
const ELSEWHERE: [&str; 11] = [
    "merlin.json",
    "noise_privval.json",
    "peer_ids.json",
    "secret_connection_frames.json",
    "secret_connection_handshake.json",
    "secret_connection_kdf.json",
    "secret_connection_low_order.json",
    "bls12381.json",
    "mldsa65.json",
    "secp256k1.json",
    "secp256k1eth.json",
];

#[test]
fn every_file_has_a_reader() {
    let mut seen = 0;
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".json") {
            continue;
        }
        if HERE.contains(&name.as_str()) || ELSEWHERE.contains(&name.as_str()) {
            seen += 1;
        } else {
            panic!("no test reads {name}");
        }
    }
    assert_eq!(seen, HERE.len() + ELSEWHERE.len());
}

/// A codec for the chain that the case names, or for another where no chain may have that name.
fn codec(chain_id: &str, raw: Raw) -> Proto {
    let served = ChainId::new(chain_id).or_else(|_| ChainId::new("test_chain_id"));
    Proto::new(Options {
        chain_id: served.unwrap(),
        sign_extensions: true,
        v2: false,
        raw,
    })
}

/// Whether a request must be refused, by rules of this file's own.
fn refusal(
    chain_id: &str,
    vote: Option<&pb::Vote>,
    proposal: Option<&pb::Proposal>,
    skip: bool,
) -> bool {
    let complete = |id: &Option<pb::BlockId>| {
        let id = id.clone().unwrap_or_default();
        let parts = id.part_set_header.unwrap_or_default();
        match (id.hash.len(), parts.total, parts.hash.len()) {
            (0, 0, 0) => Some(false),
            (32, 1.., 32) => Some(true),
            _ => None,
        }
    };
    let numbers = |height, round| height < 1 || round < 0 || ChainId::new(chain_id).is_err();
    let bad_vote = vote.is_some_and(|it| {
        let block = complete(&it.block_id);
        let extended = !it.extension.is_empty() || !it.non_rp_extension.is_empty();
        numbers(it.height, it.round)
            || !matches!(it.vote_type, 1 | 2)
            || block.is_none()
            || !skip && extended && (it.vote_type == 1 || block == Some(false))
            || !skip && !it.non_rp_extension.is_empty()
    });
    let bad_proposal = proposal.is_some_and(|it| {
        numbers(it.height, it.round)
            || it.proposal_type != 32
            || complete(&it.block_id) != Some(true)
            || !(-1..it.round).contains(&it.pol_round)
    });
    bad_vote || bad_proposal
}

fn judged(message: &[u8], sum: &Sum, codec: &mut Proto) -> Option<SignRequest> {
    let refused = match sum {
        Sum::SignVoteRequest(it) => refusal(
            &it.chain_id,
            it.vote.as_ref(),
            None,
            it.skip_extension_signing,
        ),
        Sum::SignProposalRequest(it) => refusal(&it.chain_id, None, it.proposal.as_ref(), false),
        other => panic!("no sign request: {other:?}"),
    };
    match codec.decode(message) {
        Ok(Request::Sign(request)) if !refused => Some(request),
        Err(DecodeError::Answerable {
            kind: Kind::Vote | Kind::Proposal,
            ..
        }) if refused => None,
        other => panic!("{other:?} where refused = {refused}: {}", text(message)),
    }
}

#[test]
fn sign_bytes_of_votes_and_proposals() {
    let (mut through, mut refused) = (0, 0);
    for case in cases("sign_bytes_proto.json", 25) {
        let (input, expected) = (&case["inputs"], &case["expected"]);
        understood(
            input,
            &[
                "chain_id",
                "type",
                "height",
                "round",
                "pol_round",
                "block_id",
                "timestamp",
                "seconds",
                "nanos",
                "extension",
                "note",
            ],
        );
        understood(expected, &["sign_bytes"]);
        let fields = Case::read(input);
        let wanted = expected["sign_bytes"].as_str().unwrap();
        assert_eq!(text(&fields.raw_sign_bytes()), wanted, "{input}");
        let message = fields.request();
        let sum = pb::Message::decode(message.as_slice())
            .unwrap()
            .sum
            .unwrap();
        match judged(&message, &sum, &mut codec(&fields.chain_id, Raw::Refuse)) {
            Some(request) => {
                assert_eq!(text(request.msg.sign_bytes.as_bytes()), wanted);
                through += 1;
            }
            None => refused += 1,
        }
    }
    say(&format!(
        "sign_bytes_proto.json: {through} cases through codec and encoder, {refused} refused by the codec and run on the encoder"
    ));
}

#[test]
fn sign_bytes_of_vote_extensions() {
    let all = cases("sign_bytes_vote_extension.json", 6);
    for case in &all {
        let (input, expected) = (&case["inputs"], &case["expected"]);
        understood(
            input,
            &[
                "chain_id",
                "extension",
                "height",
                "round",
                "non_rp_extension",
            ],
        );
        understood(expected, &["extension_sign_bytes", "non_rp_sign_bytes"]);
        let mut message = Case {
            chain_id: "test_chain_id".to_owned(),
            type_number: 2,
            height: number(&input["height"]).max(1),
            round: small(&input["round"]),
            pol_round: 0,
            block_id: Some((vec![1; 32], 1, vec![2; 32])),
            timestamp: Timestamp::GO_ZERO,
        };
        if let Some(chain_id) = input["chain_id"].as_str() {
            chain_id.clone_into(&mut message.chain_id);
        }
        let mut request = pb::Message::decode(message.request().as_slice()).unwrap();
        let Some(Sum::SignVoteRequest(pb::SignVoteRequest {
            vote: Some(vote), ..
        })) = &mut request.sum
        else {
            panic!("a vote request");
        };
        vote.extension = bytes(&input["extension"]);
        vote.non_rp_extension = bytes(&input["non_rp_extension"]);
        let body = request.encode_to_vec();
        let decoded = codec(&message.chain_id, Raw::Refuse).decode(&body);
        match (decoded, expected["extension_sign_bytes"].as_str()) {
            (Ok(Request::Sign(request)), Some(wanted)) => {
                assert_eq!(text(request.extension.unwrap().sign_bytes()), wanted);
            }
            // Extensions without replay protection are signed as they are, and only where the operator says so.
            (
                Err(DecodeError::Answerable {
                    reason: Reason::UnprotectedExtension,
                    ..
                }),
                None,
            ) => {
                let allowed = codec(&message.chain_id, Raw::SignBytes).decode(&body);
                let Ok(Request::Sign(request)) = allowed else {
                    panic!("not signed: {case}");
                };
                assert_eq!(
                    request.unprotected.unwrap().sign_bytes(),
                    bytes(&expected["non_rp_sign_bytes"])
                );
            }
            other => panic!("{other:?} for {case}"),
        }
    }
    say(&format!(
        "sign_bytes_vote_extension.json: {} cases",
        all.len()
    ));
}

/// The body of a message, its length prefix checked where the case has one.
fn body(expected: &Value) -> Vec<u8> {
    understood(expected, &["message_without_length", "wire"]);
    let Some(wire) = expected["wire"].as_str() else {
        return bytes(&expected["message_without_length"]);
    };
    let wire = hex::decode(wire).unwrap();
    let mut rest = wire.as_slice();
    let len = prost::decode_length_delimiter(&mut rest).unwrap();
    assert_eq!(len, rest.len());
    rest.to_vec()
}

/// The parts of the inputs that a decoded vote or proposal can be held against.
fn same_as_inputs(
    input: &Value,
    vote: Option<&pb::Vote>,
    proposal: Option<&pb::Proposal>,
    chain_id: Option<&str>,
) {
    understood(
        input,
        &[
            "chain_id",
            "type",
            "height",
            "round",
            "pol_round",
            "block_id",
            "timestamp",
            "seconds",
            "nanos",
            "vote",
            "extension",
            "extension_signature",
            "non_rp_extension",
            "signature",
            "validator_address",
            "validator_index",
            "skip_extension_signing",
        ],
    );
    let fields = if input["vote"].is_null() {
        input
    } else {
        &input["vote"]
    };
    if fields["height"].is_null() {
        return;
    }
    let wanted = Case::read(fields);
    if let Some(chain_id) = chain_id {
        assert_eq!(chain_id, wanted.chain_id);
    }
    let (height, round, block_id, timestamp) = match (vote, proposal) {
        (Some(it), _) => (it.height, it.round, &it.block_id, it.timestamp),
        (_, Some(it)) => (it.height, it.round, &it.block_id, it.timestamp),
        _ => panic!("nothing to compare with {input}"),
    };
    assert_eq!((height, round), (wanted.height, wanted.round));
    let timestamp = timestamp.unwrap();
    assert_eq!(
        (timestamp.seconds, timestamp.nanos),
        (wanted.timestamp.seconds, wanted.timestamp.nanos)
    );
    let id = block_id.clone().unwrap();
    let parts = id.part_set_header.unwrap();
    assert_eq!(
        (id.hash, parts.total, parts.hash),
        wanted.block_id.unwrap_or_default()
    );
    if let Some(vote) = vote {
        assert_eq!(vote.vote_type, wanted.type_number);
        assert_eq!(vote.extension, bytes(&input["extension"]));
        assert_eq!(vote.non_rp_extension, bytes(&input["non_rp_extension"]));
    }
}

fn encoded(response: &Response<'_>) -> pb::Message {
    let mut out = Vec::new();
    codec("test_chain_id", Raw::Refuse).encode(response, &mut out);
    pb::Message::decode(out.as_slice()).unwrap()
}

fn our_error(kind: Kind, error: &pb::RemoteSignerError) -> pb::Message {
    encoded(&Response::Error {
        kind,
        code: error.code,
        description: &error.description,
    })
}

/// What this program says where Go says `sum`; `None` where only a signature that it cannot make would show.
fn ours(sum: &Sum) -> Option<pb::Message> {
    match sum {
        Sum::PingResponse(_) => Some(encoded(&Response::Pong)),
        Sum::SignedVoteResponse(it) => it.error.as_ref().map(|e| our_error(Kind::Vote, e)),
        Sum::SignedProposalResponse(it) => it.error.as_ref().map(|e| our_error(Kind::Proposal, e)),
        Sum::SignedRawResponse(it) => it.error.as_ref().map(|e| our_error(Kind::Raw, e)),
        Sum::PubKeyResponse(it) => match &it.error {
            Some(error) => Some(our_error(Kind::PubKey, error)),
            None => Some(our_key(it)),
        },
        other => panic!("a request: {other:?}"),
    }
}

/// The kind of key in a reply, by the number of its member before v1, and by its name since.
fn scheme(theirs: &pb::PubKeyResponse) -> Option<Algorithm> {
    let member = theirs.pub_key.as_ref().and_then(|key| key.member.as_ref());
    match member {
        None => Algorithm::named(&theirs.pub_key_type),
        Some((member, _)) => {
            let mut all = Algorithm::ALL.iter().copied();
            all.find(|scheme| scheme.facts().member == *member)
        }
    }
}

/// Our reply with the key of theirs, without what nodes of their version have not: each skips the other's fields.
fn our_key(theirs: &pb::PubKeyResponse) -> pb::Message {
    let member = theirs.pub_key.as_ref().and_then(|key| key.member.clone());
    let bytes = member.map_or_else(|| theirs.pub_key_bytes.clone(), |(_, bytes)| bytes);
    let scheme = scheme(theirs).unwrap();
    // Some of these are no points of the curve: another key goes through, and theirs is put in its place.
    let key = scheme.public_key(&bytes);
    let key = key.unwrap_or_else(|_| keys::new(scheme));
    let mut ours = encoded(&Response::PubKey(&key));
    let Some(Sum::PubKeyResponse(reply)) = &mut ours.sum else {
        panic!("another kind of reply");
    };
    let member = reply.pub_key.as_mut().and_then(|key| key.member.as_mut());
    let member = &mut member.unwrap().1;
    assert_eq!(
        (&**member, &*reply.pub_key_bytes),
        (key.as_bytes(), &*key.later_bytes())
    );
    assert!([key.as_bytes().len(), key.later_bytes().len()].contains(&bytes.len()));
    member.clone_from(&bytes);
    reply.pub_key_bytes = bytes;
    if theirs.pub_key.is_some() {
        reply.pub_key_bytes.clear();
        reply.pub_key_type.clear();
    } else {
        reply.pub_key = None;
    }
    ours
}

#[test]
fn messages_of_every_protobuf_version() {
    let (mut requests, mut replies) = (0, 0);
    for case in cases("privval_messages_proto.json", 33) {
        let input = &case["inputs"];
        let body = body(&case["expected"]);
        let message = pb::Message::decode(body.as_slice()).unwrap();
        let sum = message
            .sum
            .clone()
            .unwrap_or_else(|| panic!("not understood: {case}"));
        assert_eq!(
            text(&message.encode_to_vec()),
            text(&body),
            "not understood: {case}"
        );
        let mut codec = codec(
            input["chain_id"].as_str().unwrap_or("test_chain_id"),
            Raw::Refuse,
        );
        match &sum {
            Sum::PingRequest(_) => assert_eq!(codec.decode(&body), Ok(Request::Ping)),
            Sum::PubKeyRequest(it) if it.chain_id.is_empty() => {
                assert!(codec.decode(&body).is_err())
            }
            Sum::PubKeyRequest(_) => assert_eq!(codec.decode(&body), Ok(Request::PubKey)),
            Sum::SignVoteRequest(it) => {
                let vote = it.vote.as_ref().unwrap();
                same_as_inputs(input, Some(vote), None, Some(&it.chain_id));
                if let Some(request) = judged(&body, &sum, &mut codec) {
                    let signs = vote.vote_type == 2 && !it.skip_extension_signing;
                    assert_eq!(request.extension.is_some(), signs);
                }
            }
            Sum::SignProposalRequest(it) => {
                same_as_inputs(input, None, it.proposal.as_ref(), Some(&it.chain_id));
                let request = judged(&body, &sum, &mut codec);
                assert!(request.is_none_or(|it| it.msg.hrs.step == Step::Proposal));
            }
            Sum::SignRawRequest(_) => panic!("not understood: {case}"),
            reply => {
                assert!(matches!(
                    codec.decode(&body),
                    Err(DecodeError::Unanswerable(_))
                ));
                if let Sum::SignedVoteResponse(pb::SignedVoteResponse {
                    vote: Some(vote),
                    error: None,
                }) = reply
                {
                    same_as_inputs(input, Some(vote), None, None);
                }
                if let Some(mut ours) = ours(reply) {
                    // v1 and v2 have no field 1 there; theirs ignore ours.
                    if let (Some(Sum::PubKeyResponse(ours)), Sum::PubKeyResponse(theirs)) =
                        (&mut ours.sum, reply)
                        && ours.error.is_some()
                    {
                        ours.pub_key.clone_from(&theirs.pub_key);
                    }
                    assert_eq!(ours, message);
                }
                replies += 1;
                continue;
            }
        }
        requests += 1;
    }
    say(&format!(
        "privval_messages_proto.json: {requests} requests, {replies} replies"
    ));
}

/// Hex, or `01 x 1000`.
fn repeated(value: &Value) -> Vec<u8> {
    match value.as_str().unwrap().split_once(" x ") {
        Some((byte, times)) => hex::decode(byte).unwrap().repeat(times.parse().unwrap()),
        None => bytes(value),
    }
}

#[test]
fn raw_bytes_of_celestia() {
    let all = cases("privval_celestia_raw_bytes.json", 3);
    for case in &all {
        let (input, expected) = (&case["inputs"], &case["expected"]);
        understood(input, &["chain_id", "raw_bytes", "unique_id", "signature"]);
        if !input["signature"].is_null() {
            let message = pb::Message::from(Sum::SignedRawResponse(pb::SignedRawResponse {
                signature: repeated(&input["signature"]),
                error: None,
            }));
            assert_eq!(message.encode_to_vec(), body(expected));
            continue;
        }
        let (chain_id, raw) = (
            input["chain_id"].as_str().unwrap(),
            repeated(&input["raw_bytes"]),
        );
        let unique_id = input["unique_id"].as_str().unwrap();
        let built = pb::Message::from(Sum::SignRawRequest(pb::SignRawRequest {
            chain_id_or_value: chain_id.into(),
            raw_bytes: raw.clone(),
            unique_id: unique_id.to_owned(),
        }))
        .encode_to_vec();
        let prefixes = vec![unique_id.to_owned()];
        let Ok(Request::SignRaw(request)) =
            codec(chain_id, Raw::Celestia { prefixes }).decode(&built)
        else {
            panic!("not read: {case}");
        };
        let alone =
            canonical::raw_bytes(&ChainId::new(chain_id).unwrap(), &raw, unique_id).unwrap();
        assert_eq!(request, alone);
        match expected["sign_bytes"].as_str() {
            Some(wanted) => assert_eq!(text(request.sign_bytes()), wanted),
            None => assert_eq!(built, body(expected)),
        }
        assert!(codec(chain_id, Raw::Refuse).decode(&built).is_err());
    }
    say(&format!(
        "privval_celestia_raw_bytes.json: {} cases",
        all.len()
    ));
}
