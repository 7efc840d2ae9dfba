//! S7: what is read, what is refused and how, and the exact bytes of every reply.

use prost::Message as _;

use super::{
    messages as pb,
    proto::{MAX_EXTENSION, Options, Proto, Raw},
    *,
};
use crate::privval::{SignRequest, Step, Timestamp, Unprotected};

mod amino;
mod mutants;
mod node;
mod refusals;
mod replies;

const CHAIN: &str = "test_chain_id";

fn options(raw: Raw) -> Options {
    Options {
        chain_id: ChainId::new(CHAIN).expect("a chain ID"),
        sign_extensions: true,
        v2: false,
        raw,
    }
}

fn codec() -> Proto {
    Proto::new(options(Raw::Refuse))
}

fn celestia() -> Proto {
    let prefixes = vec!["p2p-".to_owned(), "fibre/".to_owned()];
    Proto::new(options(Raw::Celestia { prefixes }))
}

fn hex(bytes: &[u8]) -> String {
    String::from_utf8(subtle_encoding::hex::encode(bytes)).expect("ASCII")
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

fn vote() -> pb::Vote {
    pb::Vote {
        vote_type: 2,
        height: 12_345,
        round: 2,
        block_id: Some(block()),
        timestamp: Some(pb::Timestamp {
            seconds: 1_700_000_000,
            nanos: 5,
        }),
        validator_address: vec![0x0a; 20],
        validator_index: 7,
        ..pb::Vote::default()
    }
}

fn proposal() -> pb::Proposal {
    pb::Proposal {
        proposal_type: 32,
        height: 12_345,
        round: 2,
        pol_round: -1,
        block_id: Some(block()),
        timestamp: Some(pb::Timestamp {
            seconds: 1_700_000_000,
            nanos: 5,
        }),
        signature: Vec::new(),
    }
}

fn vote_request(vote: pb::Vote) -> pb::SignVoteRequest {
    pb::SignVoteRequest {
        vote: Some(vote),
        chain_id: CHAIN.to_owned(),
        skip_extension_signing: false,
    }
}

fn bytes(sum: pb::Sum) -> Vec<u8> {
    pb::Message::from(sum).encode_to_vec()
}

fn vote_bytes(edit: impl FnOnce(&mut pb::Vote)) -> Vec<u8> {
    let mut vote = vote();
    edit(&mut vote);
    bytes(pb::Sum::SignVoteRequest(vote_request(vote)))
}

fn proposal_bytes(edit: impl FnOnce(&mut pb::Proposal)) -> Vec<u8> {
    let mut proposal = proposal();
    edit(&mut proposal);
    bytes(pb::Sum::SignProposalRequest(pb::SignProposalRequest {
        proposal: Some(proposal),
        chain_id: CHAIN.to_owned(),
    }))
}

fn skipping(vote: pb::Vote) -> Vec<u8> {
    let mut request = vote_request(vote);
    request.skip_extension_signing = true;
    bytes(pb::Sum::SignVoteRequest(request))
}

/// A length-delimited field written by hand.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encode_length_delimiter(body.len(), &mut out).expect("a vector grows");
    out.extend_from_slice(body);
    out
}

/// A vote request whose vote has `tail` after its own fields.
fn vote_with_tail(tail: &[u8]) -> Vec<u8> {
    let mut body = vote().encode_to_vec();
    body.extend_from_slice(tail);
    request_around(3, &body)
}

fn request_around(member: u8, body: &[u8]) -> Vec<u8> {
    field(
        member,
        &[field(1, body), field(2, CHAIN.as_bytes())].concat(),
    )
}

fn signed(message: &[u8]) -> SignRequest {
    match codec().decode(message) {
        Ok(Request::Sign(request)) => request,
        other => unreachable!("not a sign request: {other:?}"),
    }
}

fn place(message: &'static str, field: &'static str) -> Place {
    Place { message, field }
}

fn malformed(message: &'static str, field: &'static str, fault: Fault) -> Reason {
    Reason::Malformed {
        place: place(message, field),
        fault,
    }
}

#[test]
fn requests_of_every_kind_are_read() {
    let pub_key = bytes(pb::Sum::PubKeyRequest(pb::PubKeyRequest {
        chain_id: CHAIN.to_owned(),
    }));
    assert_eq!(codec().decode(&[0x3a, 0x00]), Ok(Request::Ping));
    assert_eq!(codec().decode(&pub_key), Ok(Request::PubKey));

    let SignRequest { msg, extension, .. } = signed(&vote_bytes(|_| ()));
    assert_eq!(msg.hrs.to_string(), "12345/2/2");
    assert_eq!(msg.block_id.map(|id| id.parts_total), Some(3));
    assert_eq!(msg.echo.validator_address, [0x0a; 20]);
    assert_eq!(msg.echo.validator_index, 7);
    assert_eq!(msg.pol_round, -1);
    assert!(extension.is_some(), "an empty extension is signed too");

    let SignRequest { msg, extension, .. } = signed(&proposal_bytes(|it| it.pol_round = 1));
    assert_eq!(
        (msg.hrs.step, msg.pol_round, extension),
        (Step::Proposal, 1, None)
    );
}

#[test]
fn a_nil_vote_has_four_shapes_and_one_meaning() {
    let expected = signed(&vote_bytes(|it| it.block_id = Some(pb::BlockId::nil())));
    assert_eq!(expected.msg.block_id, None);
    assert_eq!(expected.extension, None);
    let empty = vote_bytes(|it| it.block_id = Some(pb::BlockId::default()));
    let absent = vote_bytes(|it| it.block_id = None);
    let mut without = vote();
    without.block_id = None;
    let mut zero = without.encode_to_vec();
    zero.extend(field(4, &[0x0a, 0x00, 0x12, 0x04, 0x08, 0x00, 0x12, 0x00]));
    for shape in [empty, absent, request_around(3, &zero)] {
        assert_eq!(signed(&shape), expected);
    }
}

#[test]
fn a_missing_time_is_year_one_and_an_empty_one_is_the_epoch() {
    let time = |message: &[u8]| signed(message).msg.sign_bytes.timestamp();
    assert_eq!(
        time(&vote_bytes(|it| it.timestamp = None)),
        Timestamp::GO_ZERO
    );
    let epoch = Timestamp {
        seconds: 0,
        nanos: 0,
    };
    assert_eq!(
        time(&vote_bytes(
            |it| it.timestamp = Some(pb::Timestamp::default())
        )),
        epoch
    );
}

#[test]
fn an_extension_is_signed_on_a_precommit_for_a_block_and_nowhere_else() {
    let extended = || pb::Vote {
        extension: vec![0xab; 9],
        ..vote()
    };
    let request = signed(&vote_bytes(|it| *it = extended()));
    let extension = request.extension.expect("signed");
    assert_eq!(
        hex(extension.sign_bytes()).get(..22),
        Some("2c0a09abababababababab")
    );
    assert_eq!(signed(&skipping(extended())).extension, None);
    assert_eq!(
        signed(&vote_bytes(|it| it.block_id = None)).extension,
        None,
        "nil precommit"
    );
    assert_eq!(
        signed(&vote_bytes(|it| it.vote_type = 1)).extension,
        None,
        "prevote"
    );
    let mut off = Proto::new(Options {
        sign_extensions: false,
        ..options(Raw::Refuse)
    });
    let Ok(Request::Sign(request)) = off.decode(&vote_bytes(|it| *it = extended())) else {
        unreachable!("a precommit with an extension is signed");
    };
    assert_eq!(request.extension, None);
    // With the skip flag the node only carries its extension along; it may stand anywhere.
    let prevote = pb::Vote {
        vote_type: 1,
        non_rp_extension: vec![1],
        ..extended()
    };
    assert_eq!(signed(&skipping(prevote)).extension, None);
    let largest = vote_bytes(|it| it.extension = vec![0; MAX_EXTENSION]);
    assert!(signed(&largest).extension.is_some());
}

#[test]
fn the_second_extension_of_v2_is_signed_where_the_operator_says_so() {
    let with = |v2, raw, extension: &[u8]| {
        let mut codec = Proto::new(Options { v2, ..options(raw) });
        match codec.decode(&vote_bytes(|it| it.non_rp_extension = extension.to_vec())) {
            Ok(Request::Sign(request)) => Ok(request.unprotected),
            Err(DecodeError::Answerable { reason, .. }) => Err(reason),
            other => unreachable!("not a sign request: {other:?}"),
        }
    };
    let bytes = |signed: Result<Option<Unprotected>, Reason>| {
        signed.map(|it| it.map(|it| it.sign_bytes().to_vec()))
    };
    // An empty one cannot be seen: only the operator knows that the node wants it signed.
    assert_eq!(bytes(with(false, Raw::Refuse, b"")), Ok(None));
    assert_eq!(bytes(with(true, Raw::Refuse, b"")), Ok(Some(vec![])));
    for v2 in [true, false] {
        let refused = with(v2, Raw::Refuse, b"price");
        assert_eq!(refused, Err(Reason::UnprotectedExtension));
        let signed = with(v2, Raw::SignBytes, b"price");
        assert_eq!(bytes(signed), Ok(Some(b"price".to_vec())));
        let vote = signed_bytes();
        assert_eq!(with(v2, Raw::SignBytes, &vote), Err(Reason::RawAmbiguous));
    }
    // Nothing is signed where no extension is.
    let mut codec = Proto::new(Options {
        v2: true,
        ..options(Raw::SignBytes)
    });
    for message in [
        skipping(vote()),
        vote_bytes(|it| it.vote_type = 1),
        vote_bytes(|it| it.block_id = None),
    ] {
        let Ok(Request::Sign(request)) = codec.decode(&message) else {
            unreachable!("a vote");
        };
        assert_eq!((request.extension, request.unprotected), (None, None));
    }
}

/// A vote for another block, as its sign bytes.
fn signed_bytes() -> Vec<u8> {
    let message = vote_bytes(|it| it.height += 1);
    signed(&message).msg.sign_bytes.as_bytes().to_vec()
}

#[test]
fn fields_of_newer_nodes_are_skipped_and_named_once() {
    let mut codec = codec();
    let tail = [
        0x68, 0x01, // Vote.13, a varint
        0x71, 1, 2, 3, 4, 5, 6, 7, 8, // Vote.14, eight bytes
        0x7a, 0x01, 0xff, // Vote.15, bytes
        0x85, 0x01, 1, 2, 3, 4, // Vote.16, four bytes
        0x68, 0x02, // Vote.13 again: whether it may repeat is not known
    ];
    let message = [vote_with_tail(&tail), vec![0x5a, 0x00]].concat();
    assert!(codec.decode(&message).is_ok());
    assert_eq!(
        codec.take_unknown_fields(),
        ["Message.11", "Vote.13", "Vote.14", "Vote.15", "Vote.16"]
    );
    assert!(codec.decode(&message).is_ok());
    assert!(codec.take_unknown_fields().is_empty());
    assert_eq!(signed(&message), signed(&vote_bytes(|_| ())));
}

#[test]
fn raw_bytes_are_refused_unless_configured() {
    let request = |chain: &str, raw: &[u8], unique_id: &str| {
        bytes(pb::Sum::SignRawRequest(pb::SignRawRequest {
            chain_id_or_value: chain.as_bytes().to_vec(),
            raw_bytes: raw.to_vec(),
            unique_id: unique_id.to_owned(),
        }))
    };
    let refusal = |mut codec: Proto, message: &[u8]| match codec.decode(message) {
        Err(DecodeError::Answerable {
            kind: Kind::Raw,
            reason,
            ..
        }) => reason,
        other => unreachable!("not refused: {other:?}"),
    };
    let good = request(CHAIN, b"hello", "p2p-1");
    assert_eq!(refusal(codec(), &good), Reason::RawRefused);
    match celestia().decode(&good) {
        Ok(Request::SignRaw(raw)) => {
            assert!(raw.sign_bytes().starts_with(b"COMET::RAW_BYTES::SIGN"));
            assert_eq!(raw.label(), "p2p-1");
        }
        other => unreachable!("allowed, not {other:?}"),
    }
    assert!(matches!(
        refusal(celestia(), &request("mocha-4", b"hello", "p2p-1")),
        Reason::OtherChain { .. }
    ));
    assert_eq!(
        refusal(celestia(), &request(CHAIN, b"hello", "x\u{7}")),
        Reason::RawUniqueId("x\\u{7}".to_owned())
    );
    for empty in [request(CHAIN, b"", "p2p-1"), request(CHAIN, b"hello", "")] {
        assert_eq!(refusal(celestia(), &empty), Reason::RawEmpty);
    }
    let bare = || Proto::new(options(Raw::SignBytes));
    let value = |value: &[u8]| field(9, &field(1, value));
    assert!(matches!(
        bare().decode(&value(b"randao reveal of epoch 7")),
        Ok(Request::SignRaw(_))
    ));
    assert_eq!(refusal(bare(), &value(b"")), Reason::RawAmbiguous);
    assert_eq!(refusal(bare(), &good), Reason::RawForeign);
    let vote = signed(&vote_bytes(|_| ())).msg.sign_bytes;
    assert_eq!(
        refusal(bare(), &value(vote.as_bytes())),
        Reason::RawAmbiguous
    );
}
