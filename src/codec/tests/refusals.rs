//! One row per rule and per way to break the encoding.

use super::*;

/// One row per rule that is broken in a request whose kind is known.
fn refused_votes() -> Vec<(Vec<u8>, Reason)> {
    let half = |hash: usize, total, parts_hash: usize| {
        let id = pb::BlockId {
            hash: vec![1; hash],
            part_set_header: Some(pb::PartSetHeader {
                total,
                hash: vec![2; parts_hash],
            }),
        };
        (
            vote_bytes(|it| it.block_id = Some(id)),
            Reason::BlockId {
                hash,
                total,
                parts_hash,
            },
        )
    };
    let at = |seconds, nanos| {
        (
            vote_bytes(|it| it.timestamp = Some(pb::Timestamp { seconds, nanos })),
            Reason::Timestamp { seconds, nanos },
        )
    };
    let chain = |asked: &str, shown: &str| {
        let mut request = vote_request(vote());
        request.chain_id = asked.to_owned();
        let reason = Reason::OtherChain {
            asked: shown.to_owned(),
            served: ChainId::new(CHAIN).expect("a chain ID"),
        };
        (bytes(pb::Sum::SignVoteRequest(request)), reason)
    };
    let extended = |edit: fn(&mut pb::Vote)| {
        (
            vote_bytes(|it| {
                it.extension = vec![1];
                edit(it);
            }),
            Reason::UnexpectedExtension,
        )
    };
    vec![
        chain("another-chain", "another-chain"),
        chain("", ""),
        chain("test_chain_id\n", "test_chain_id\\n"),
        chain(&"x".repeat(100), &format!("{}…", "x".repeat(64))),
        (vote_bytes(|it| it.vote_type = 0), Reason::Type(0)),
        (vote_bytes(|it| it.vote_type = 32), Reason::Type(32)),
        (vote_bytes(|it| it.vote_type = 3), Reason::Type(3)),
        (vote_bytes(|it| it.height = 0), Reason::Height(0)),
        (vote_bytes(|it| it.height = -1), Reason::Height(-1)),
        (vote_bytes(|it| it.round = -1), Reason::Round(-1)),
        (vote_bytes(|it| it.validator_index = -1), Reason::Index(-1)),
        (
            vote_bytes(|it| it.validator_address = vec![0; 19]),
            Reason::Address(19),
        ),
        (
            vote_bytes(|it| it.validator_address = vec![0; 21]),
            Reason::Address(21),
        ),
        half(32, 0, 0),
        half(0, 3, 0),
        half(0, 0, 32),
        half(0, 1, 32),
        half(32, 0, 32),
        half(32, 1, 0),
        half(31, 1, 32),
        half(32, 1, 33),
        half(20, 1, 20),
        at(0, -1),
        at(0, 1_000_000_000),
        at(-62_135_596_801, 0),
        at(253_402_300_800, 0),
        extended(|it| it.vote_type = 1),
        extended(|it| it.block_id = None),
        (
            vote_bytes(|it| it.extension = vec![0; MAX_EXTENSION + 1]),
            Reason::ExtensionTooLong(MAX_EXTENSION + 1),
        ),
        (
            vote_bytes(|it| it.non_rp_extension = vec![1]),
            Reason::UnprotectedExtension,
        ),
        (
            bytes(pb::Sum::SignVoteRequest(pb::SignVoteRequest {
                chain_id: CHAIN.to_owned(),
                ..pb::SignVoteRequest::default()
            })),
            Reason::Missing(place("SignVoteRequest", "vote")),
        ),
    ]
}

/// One row per way to break the encoding of a vote request.
fn malformed_votes() -> Vec<(Vec<u8>, Reason)> {
    let tail = |tail: &[u8], field, fault| (vote_with_tail(tail), malformed("Vote", field, fault));
    let whole = vote_bytes(|_| ());
    let after = |tail: &[u8], reason| ([whole.as_slice(), tail].concat(), reason);
    let body = vote().encode_to_vec();
    let twice = [field(1, &body), field(1, &body), field(2, CHAIN.as_bytes())].concat();
    vec![
        tail(&[0x10, 0x01], "height", Fault::Duplicate),
        tail(&[0x18, 0x02], "round", Fault::Duplicate),
        tail(&[0x22, 0x00], "block_id", Fault::Duplicate),
        tail(&[0x2a, 0x00], "timestamp", Fault::Duplicate),
        tail(&[0x42, 0x00, 0x42, 0x00], "signature", Fault::Duplicate),
        tail(&[0x40, 0x00], "signature", Fault::WireType),
        tail(&[0x48], "extension", Fault::WireType),
        tail(&[0x4a, 0x05, 0x01], "extension", Fault::Truncated),
        tail(&[0x00], "", Fault::FieldNumber),
        tail(&[0x6b], "", Fault::WireType),
        tail(&[0x68], "", Fault::Truncated),
        tail(&[0x68, 0x80, 0x00], "", Fault::Varint),
        tail(&[0xe8, 0x00, 0x01], "", Fault::Varint),
        (
            request_around(
                3,
                &[0x08, 0x02, 0x10, 0x01, 0x18, 0xff, 0xff, 0xff, 0xff, 0x0f],
            ),
            malformed("Vote", "round", Fault::Range),
        ),
        (
            request_around(3, &[0x08, 0x82, 0x00]),
            malformed("Vote", "type", Fault::Varint),
        ),
        (
            request_around(3, &[0x12, 0x01, 0x01]),
            malformed("Vote", "height", Fault::WireType),
        ),
        (
            request_around(
                3,
                &[
                    0x08, 0x02, 0x10, 0x01, 0x22, 0x08, 0x12, 0x06, 0x08, 0x80, 0x80, 0x80, 0x80,
                    0x10,
                ],
            ),
            malformed("PartSetHeader", "total", Fault::Range),
        ),
        (
            request_around(
                3,
                &[0x08, 0x02, 0x10, 0x01, 0x2a, 0x04, 0x08, 0x01, 0x08, 0x02],
            ),
            malformed("Timestamp", "seconds", Fault::Duplicate),
        ),
        (
            field(3, &[field(1, &body), field(2, &[0xff])].concat()),
            malformed("SignVoteRequest", "chain_id", Fault::Utf8),
        ),
        (
            field(3, &[field(1, &body), vec![0x18, 0x02]].concat()),
            malformed("SignVoteRequest", "skip_extension_signing", Fault::Range),
        ),
        (
            field(3, &twice),
            malformed("SignVoteRequest", "vote", Fault::Duplicate),
        ),
        after(&[0x00], malformed("Message", "", Fault::FieldNumber)),
        after(&[0xff], malformed("Message", "", Fault::Truncated)),
        after(&[0x58], malformed("Message", "", Fault::Truncated)),
        (
            whole.split_at(whole.len() - 1).0.to_vec(),
            malformed("Message", "sum", Fault::Truncated),
        ),
        (
            vec![0x18, 0x01],
            malformed("Message", "sum", Fault::WireType),
        ),
        after(&whole, Reason::SecondMember),
        (
            [&[0x3a, 0x00], whole.as_slice()].concat(),
            Reason::SecondMember,
        ),
        (
            [whole.as_slice(), &[0x3a, 0x00], whole.as_slice()].concat(),
            Reason::SecondMember,
        ),
    ]
}

#[test]
fn a_vote_request_that_breaks_a_rule_gets_an_error_reply() {
    let mut rows = refused_votes();
    rows.extend(malformed_votes());
    for (message, expected) in rows {
        let shown = hex(message.get(..200).unwrap_or(&message));
        match codec().decode(&message) {
            Err(DecodeError::Answerable { kind, reason, .. }) => {
                assert_eq!((kind, &reason), (Kind::Vote, &expected), "{shown}");
                let text = reason.to_string();
                assert!(
                    text.len() < 300 && !text.contains(char::is_control),
                    "{text}"
                );
            }
            other => unreachable!("{expected:?} expected, not {other:?} for {shown}"),
        }
    }
}

#[test]
fn a_proposal_that_breaks_a_rule_gets_an_error_reply() {
    let pol = |pol_round| {
        (
            proposal_bytes(|it| it.pol_round = pol_round),
            Reason::PolRound {
                pol_round,
                round: 2,
            },
        )
    };
    let rows = [
        pol(-2),
        pol(2),
        pol(3),
        (proposal_bytes(|it| it.proposal_type = 1), Reason::Type(1)),
        (proposal_bytes(|it| it.proposal_type = 0), Reason::Type(0)),
        (proposal_bytes(|it| it.height = 0), Reason::Height(0)),
        (proposal_bytes(|it| it.round = -1), Reason::Round(-1)),
        (
            proposal_bytes(|it| it.block_id = Some(pb::BlockId::nil())),
            Reason::NilProposal,
        ),
        (proposal_bytes(|it| it.block_id = None), Reason::NilProposal),
        (
            [vote_bytes(|_| ()), proposal_bytes(|_| ())].concat(),
            Reason::SecondMember,
        ),
        (
            request_around(5, &[0x20, 0x80, 0x80, 0x80, 0x80, 0x08]),
            malformed("Proposal", "pol_round", Fault::Range),
        ),
        (
            field(5, &field(2, CHAIN.as_bytes())),
            Reason::Missing(place("SignProposalRequest", "proposal")),
        ),
    ];
    for (message, expected) in rows {
        match codec().decode(&message) {
            Err(DecodeError::Answerable { kind, reason, .. }) => {
                assert_eq!((kind, reason), (Kind::Proposal, expected));
            }
            other => unreachable!("{expected:?} expected, not {other:?}"),
        }
    }
    for pol_round in [-1, 0, 1] {
        assert_eq!(
            signed(&proposal_bytes(|it| it.pol_round = pol_round))
                .msg
                .pol_round,
            i64::from(pol_round)
        );
    }
}

#[test]
fn what_was_asked_is_told_where_it_could_be_read() {
    let mut request = vote_request(vote());
    request.chain_id = "another-chain".to_owned();
    let error = codec()
        .decode(&bytes(pb::Sum::SignVoteRequest(request)))
        .expect_err("another chain");
    assert_eq!(
        error.to_string(),
        "request for chain 'another-chain', but this connection serves 'test_chain_id'"
    );
    let DecodeError::Answerable { hrs, .. } = error else {
        unreachable!("a vote request is answered");
    };
    assert_eq!(hrs.map(|hrs| hrs.to_string()), Some("12345/2/2".to_owned()));
}

#[test]
fn what_has_no_kind_ends_the_connection() {
    let rows: [(&[u8], Reason); 7] = [
        (&[], Reason::Empty),
        (&[0x5a, 0x00], Reason::UnknownRequest(11)),
        (&[0x12, 0x00], Reason::NotARequest(2)),
        (&[0x42, 0x00], Reason::NotARequest(8)),
        (&[0x52, 0x00], Reason::NotARequest(10)),
        (&[0xff], malformed("Message", "", Fault::Truncated)),
        (&[0x0b], malformed("Message", "", Fault::WireType)),
    ];
    for (message, reason) in rows {
        assert_eq!(
            codec().decode(message),
            Err(DecodeError::Unanswerable(reason))
        );
    }
}

#[test]
fn the_other_kinds_are_as_strict() {
    let rows: [(&[u8], Kind, Reason); 4] = [
        (&[0x3a, 0x00, 0x3a, 0x00], Kind::Ping, Reason::SecondMember),
        (
            &[0x0a, 0x02, 0x08, 0x01],
            Kind::PubKey,
            malformed("PubKeyRequest", "chain_id", Fault::WireType),
        ),
        (
            &[0x0a, 0x04, 0x0a, 0x00, 0x0a, 0x00],
            Kind::PubKey,
            malformed("PubKeyRequest", "chain_id", Fault::Duplicate),
        ),
        (
            &[0x0a, 0x00],
            Kind::PubKey,
            Reason::OtherChain {
                asked: String::new(),
                served: ChainId::new(CHAIN).expect("a chain ID"),
            },
        ),
    ];
    for (message, kind, reason) in rows {
        let hrs = None;
        assert_eq!(
            codec().decode(message),
            Err(DecodeError::Answerable { kind, hrs, reason })
        );
    }
}
