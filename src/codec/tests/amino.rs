//! The amino dialects: what is read, what is refused and how.

#![allow(clippy::print_stdout, reason = "the seed is printed")]

use super::{
    mutants::{EACH, Random, answer},
    *,
};
use crate::{
    codec::amino::{Amino, Layout, names},
    privval::Form,
};

const EPOCH: Timestamp = Timestamp {
    seconds: 0,
    nanos: 0,
};

fn codec() -> Amino {
    Amino::new(ChainId::new(CHAIN).expect("a chain ID"))
}

fn number(number: u8, value: i64) -> Vec<u8> {
    let mut out = vec![number << 3];
    prost::encoding::encode_varint(value.cast_unsigned(), &mut out);
    out
}

fn block_id() -> Vec<u8> {
    let parts = [number(1, 3), field(2, &[0x42; 32])].concat();
    [field(1, &[0x41; 32]), field(2, &parts)].concat()
}

fn time() -> Vec<u8> {
    [number(1, 1_700_000_000), number(2, 5)].concat()
}

/// A precommit whose fields 4 and 5 are these; an empty one is left out.
fn vote(four: &[u8], five: &[u8]) -> Vec<u8> {
    let mut body = [number(1, 2), number(2, 12_345), number(3, 2)].concat();
    for (at, bytes) in [(4, four), (5, five)] {
        if !bytes.is_empty() {
            body.extend(field(at, bytes));
        }
    }
    body.extend([field(6, &[0x0a; 20]), number(7, 7)].concat());
    body
}

fn proposal(pol_round: i64) -> Vec<u8> {
    [
        number(1, 32),
        number(2, 12_345),
        number(3, 2),
        number(4, pol_round),
        field(5, &block_id()),
        field(6, &time()),
    ]
    .concat()
}

fn heartbeat() -> Vec<u8> {
    [
        field(1, &[0x0a; 20]),
        number(2, 7),
        number(3, 12_345),
        number(4, 2),
        number(5, 9),
    ]
    .concat()
}

fn message(prefix: names::Prefix, body: &[u8]) -> Vec<u8> {
    [prefix.to_vec(), field(1, body)].concat()
}

fn vote_message(four: &[u8], five: &[u8]) -> Vec<u8> {
    message(names::SIGN_VOTE_REQUEST, &vote(four, five))
}

fn signed_by(codec: &mut Amino, message: &[u8]) -> SignRequest {
    match codec.decode(message) {
        Ok(Request::Sign(request)) => request,
        other => unreachable!("not a sign request: {other:?}"),
    }
}

fn refused(message: &[u8]) -> (Kind, Reason) {
    match codec().decode(message) {
        Err(DecodeError::Answerable { kind, reason, .. }) => (kind, reason),
        other => unreachable!("not refused: {other:?}"),
    }
}

#[test]
fn requests_of_every_kind_are_read() {
    assert_eq!(codec().decode(&names::PING_REQUEST), Ok(Request::Ping));
    for prefix in [names::PUB_KEY_REQUEST, names::PUB_KEY_MSG] {
        let mut codec = codec();
        assert_eq!(codec.decode(&prefix), Ok(Request::PubKey));
        let old = prefix == names::PUB_KEY_MSG;
        assert_eq!(codec.ends_with_its_connection(), old);
        codec.begin(None).expect("any node");
        assert!(!codec.ends_with_its_connection());
    }
    let SignRequest { msg, extension, .. } =
        signed_by(&mut codec(), &vote_message(&block_id(), &time()));
    assert_eq!(msg.hrs.to_string(), "12345/2/2");
    assert_eq!(msg.block_id.map(|id| id.parts_total), Some(3));
    assert_eq!(msg.echo.validator_address, [0x0a; 20]);
    assert_eq!(msg.echo.validator_index, 7);
    assert_eq!((msg.pol_round, extension), (-1, None));
    let message_of = |pol_round| message(names::SIGN_PROPOSAL_REQUEST, &proposal(pol_round));
    for pol_round in [-1, 1] {
        let SignRequest { msg, .. } = signed_by(&mut codec(), &message_of(pol_round));
        assert_eq!((msg.hrs.step, msg.pol_round), (Step::Proposal, pol_round));
    }
    assert!(matches!(
        codec().decode(&message(names::SIGN_HEARTBEAT_REQUEST, &heartbeat())),
        Ok(Request::Heartbeat(_))
    ));
}

#[test]
fn the_first_vote_that_shows_its_layout_decides_for_the_connection() {
    let old = |codec: &mut Amino| signed_by(codec, &vote_message(&time(), &block_id()));
    let new = |codec: &mut Amino| signed_by(codec, &vote_message(&block_id(), &time()));
    let mut codec = codec();
    // A nil vote at the Unix epoch shows nothing.
    signed_by(&mut codec, &vote_message(&[], &[]));
    assert_eq!(codec.layout(), None);
    let first = old(&mut codec);
    assert_eq!(codec.layout(), Some(Layout::TimeFirst));
    assert_eq!(first.msg.sign_bytes.form(), Form::AminoA);
    assert!(matches!(
        codec.decode(&vote_message(&block_id(), &time())),
        Err(DecodeError::Answerable {
            kind: Kind::Vote,
            reason: Reason::OtherLayout,
            hrs: Some(_),
        })
    ));
    assert_eq!(old(&mut codec), first);
    // Another connection may be to another node.
    codec.begin(None).expect("any node");
    let second = new(&mut codec);
    assert_eq!(codec.layout(), Some(Layout::BlockFirst));
    assert_eq!(second.msg.sign_bytes.form(), Form::AminoB);
    assert_eq!(second.msg.block_id, first.msg.block_id);
    assert!(
        !second
            .msg
            .sign_bytes
            .equal_but_for_timestamp(&first.msg.sign_bytes)
    );
}

#[test]
fn a_layout_is_seen_whichever_of_the_two_fields_is_there() {
    for (four, five, layout) in [
        (time(), block_id(), Some(Layout::TimeFirst)),
        (time(), vec![], Some(Layout::TimeFirst)),
        (number(2, 5), vec![], Some(Layout::TimeFirst)),
        // The time is the Unix epoch, which amino leaves out.
        (vec![], block_id(), Some(Layout::TimeFirst)),
        (block_id(), time(), Some(Layout::BlockFirst)),
        (block_id(), vec![], Some(Layout::BlockFirst)),
        (vec![], time(), Some(Layout::BlockFirst)),
        (vec![], number(2, 5), Some(Layout::BlockFirst)),
        (vec![], vec![], None),
    ] {
        let mut codec = codec();
        let request = signed_by(&mut codec, &vote_message(&four, &five));
        assert_eq!(codec.layout(), layout, "{four:02x?} {five:02x?}");
        let has_block = four == block_id() || five == block_id();
        assert_eq!(request.msg.block_id.is_some(), has_block);
        let has_time =
            four != block_id() && !four.is_empty() || five != block_id() && !five.is_empty();
        assert_eq!(request.msg.sign_bytes.timestamp() != EPOCH, has_time);
    }
    // Two times or two blocks are no vote of any version.
    for (four, five) in [(time(), time()), (block_id(), block_id())] {
        let mut codec = codec();
        assert!(codec.decode(&vote_message(&four, &five)).is_err());
        assert_eq!(codec.layout(), None, "nothing was learnt from it");
    }
}

#[test]
fn what_breaks_the_order_or_the_ranges_is_refused_and_answered() {
    let whole = vote(&block_id(), &time());
    let with = |body: Vec<u8>| message(names::SIGN_VOTE_REQUEST, &body);
    let at = |field, fault| (Kind::Vote, malformed("Vote", field, fault));
    let swapped = [number(2, 12_345), number(1, 2)].concat();
    assert_eq!(refused(&with(swapped)), at("type", Fault::Order));
    let twice = [number(1, 2), number(1, 2)].concat();
    assert_eq!(refused(&with(twice)), at("type", Fault::Duplicate));
    let round = [number(1, 2), number(2, 1), number(3, 1 << 31)].concat();
    assert_eq!(refused(&with(round)), at("round", Fault::Range));
    let negative = [number(1, 2), number(2, 1), number(3, -1)].concat();
    assert_eq!(refused(&with(negative)), (Kind::Vote, Reason::Round(-1)));
    for height in [0, -1] {
        let low = [number(1, 2), number(2, height)].concat();
        assert_eq!(refused(&with(low)), (Kind::Vote, Reason::Height(height)));
    }
    for other in [0, 3, 32] {
        let body = [number(1, other), number(2, 1)].concat();
        let other = i32::try_from(other).expect("small");
        assert_eq!(refused(&with(body)), (Kind::Vote, Reason::Type(other)));
    }
    assert_eq!(
        refused(&names::SIGN_VOTE_REQUEST),
        (
            Kind::Vote,
            Reason::Missing(place("SignVoteRequest", "vote"))
        )
    );
    // Greater numbers are those of newer versions.
    let newer = [whole, field(9, b"extension")].concat();
    let mut codec = codec();
    assert!(codec.decode(&with(newer)).is_ok());
    assert_eq!(codec.take_unknown_fields(), ["Vote.9"]);
    let of = |pol_round| refused(&message(names::SIGN_PROPOSAL_REQUEST, &proposal(pol_round))).1;
    let (pol_round, round) = (2, 2);
    assert_eq!(of(2), Reason::PolRound { pol_round, round });
    let nil = [
        number(1, 32),
        number(2, 1),
        number(4, -1),
        field(6, &time()),
    ]
    .concat();
    let nil = refused(&message(names::SIGN_PROPOSAL_REQUEST, &nil));
    assert_eq!(nil, (Kind::Proposal, Reason::NilProposal));
    let beat = [field(1, &[1; 19]), number(3, 1)].concat();
    let beat = refused(&message(names::SIGN_HEARTBEAT_REQUEST, &beat));
    assert_eq!(beat, (Kind::Heartbeat, Reason::Address(19)));
    let beat = [number(3, 1), number(5, -1)].concat();
    let beat = refused(&message(names::SIGN_HEARTBEAT_REQUEST, &beat));
    assert_eq!(beat, (Kind::Heartbeat, Reason::Sequence(-1)));
}

#[test]
fn what_has_no_reply_ends_the_connection() {
    let reason = |message: &[u8]| match codec().decode(message) {
        Err(DecodeError::Unanswerable(reason)) => reason,
        other => unreachable!("answered: {other:?}"),
    };
    assert_eq!(reason(&[]), Reason::Empty);
    assert_eq!(reason(&[0x1b, 0xad, 0xb6]), Reason::Empty);
    assert_eq!(reason(&names::POISON_PILL), Reason::PoisonPill);
    assert_eq!(
        reason(&names::PING_RESPONSE),
        Reason::UnknownPrefix(0xa29a_031a)
    );
    // A reply of v0.26 and v0.27 has no place for an error.
    let key = message(names::PUB_KEY_MSG, &[7; 37]);
    assert_eq!(reason(&key), Reason::NotARequest(1));
}

#[test]
fn errors_are_answered_with_the_reply_that_the_node_waits_for() {
    let codec = codec();
    for (kind, reply) in [
        (Kind::PubKey, "170ed57c12060802120261 62"),
        (Kind::Vote, "b248a61612060802120261 62"),
        (Kind::Proposal, "4a04fb8712060802120261 62"),
        (Kind::Heartbeat, "abe81eaa12060802120261 62"),
        (Kind::Ping, "a29a031a"),
    ] {
        let mut out = Vec::new();
        let response = Response::Error {
            kind,
            code: 2,
            description: "ab",
        };
        codec.encode(&response, &mut out);
        assert_eq!(hex(&out), reply.replace(' ', ""));
    }
}

/// Fields of bytes whose structure is sound, whatever they mean.
fn fields(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (number, wire) = prost::encoding::decode_key(&mut bytes).expect("a tag");
        let start = bytes;
        let mut value = Vec::new();
        if wire == prost::encoding::WireType::LengthDelimited {
            let len = prost::decode_length_delimiter(&mut bytes).expect("a length");
            let (taken, rest) = bytes.split_at(len);
            value.extend_from_slice(taken);
            bytes = rest;
        } else {
            let skipped = prost::encoding::skip_field(
                wire,
                number,
                &mut bytes,
                prost::encoding::DecodeContext::default(),
            );
            skipped.expect("a value");
            value.extend_from_slice(start.split_at(start.len() - bytes.len()).0);
        }
        all.push((number, value));
    }
    all
}

#[test]
fn no_bytes_make_it_panic_and_what_it_accepts_has_its_fields_in_order() {
    let corpus = [
        vote_message(&block_id(), &time()),
        vote_message(&time(), &block_id()),
        vote_message(&[], &time()),
        message(names::SIGN_PROPOSAL_REQUEST, &proposal(-1)),
        message(names::SIGN_HEARTBEAT_REQUEST, &heartbeat()),
        names::PUB_KEY_REQUEST.to_vec(),
        names::PUB_KEY_MSG.to_vec(),
        names::PING_REQUEST.to_vec(),
        names::POISON_PILL.to_vec(),
    ];
    let seed = 0x616d_696e;
    println!("seed {seed}");
    let mut random = Random(seed);
    let (mut accepted, mut refusals, mut ends) = (0, 0, 0);
    for whole in corpus.iter().cycle().take(EACH * corpus.len()) {
        let mut message = whole.clone();
        random.mutate(&mut message);
        let mut codec = codec();
        match codec.decode(&message) {
            Ok(Request::Sign(request)) => {
                accepted += 1;
                let (_, body) = message.split_at(4);
                let outer = fields(body);
                let inner = fields(&outer.first().expect("one field").1);
                assert!(inner.is_sorted_by(|a, b| a.0 < b.0), "{}", hex(&message));
                let height = inner.iter().find(|(number, _)| *number == 2);
                let mut height = height.expect("a height").1.as_slice();
                let height = prost::encoding::decode_varint(&mut height).expect("a varint");
                assert_eq!(request.msg.hrs.height, height.cast_signed());
                assert!(request.msg.hrs.height >= 1 && request.msg.hrs.round >= 0);
                let bytes = &request.msg.sign_bytes;
                let parsed = crate::privval::canonical::parse(bytes.form(), bytes.as_bytes());
                assert_eq!(parsed.as_ref(), Some(bytes));
            }
            Ok(_) => accepted += 1,
            Err(error) => match answer(&codec, &error) {
                // An error alone in field 2, and that the signer lives in the reply that has no place for one.
                Some(reply) => {
                    let (name, body) = reply.split_first_chunk().expect("a name");
                    match *name {
                        names::PING_RESPONSE => assert!(body.is_empty()),
                        _ => assert!(matches!(fields(body).as_slice(), [(2, _)])),
                    }
                    refusals += 1;
                }
                None => ends += 1,
            },
        }
    }
    assert!(accepted > 1_000 && refusals > 1_000 && ends > 1_000);
}

#[test]
fn every_prefix_of_a_request_is_refused() {
    for whole in [
        vote_message(&block_id(), &time()),
        message(names::SIGN_PROPOSAL_REQUEST, &proposal(-1)),
        message(names::SIGN_HEARTBEAT_REQUEST, &heartbeat()),
    ] {
        for end in 0..whole.len() {
            assert!(codec().decode(whole.split_at(end).0).is_err(), "at {end}");
        }
    }
}
