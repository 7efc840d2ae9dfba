//! Two other implementations of the protobuf messages, v0.34 to v1, as the node's side: what they encode is what is read, what is
//! said to them they decode, and what is signed is what they would sign.
//!
//! They know neither the second extension of v2 nor the keys that came with v0.40; vectors and real nodes stand for those.
//! `TMKMS_TEST_SEED` repeats a run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test ends at the first surprise"
)]

use std::env;

use prost::Message as _;
use tmkms::{
    codec::{
        Codec as _, DecodeError, Response,
        messages::{self as pb, Sum},
        proto::{Options, Proto, Raw},
    },
    connection::ConnectionError,
    crypto::{Algorithm, PublicKey},
    keyring::providers::softsign,
    privval::{ChainId, Kind, Request, Step, Timestamp},
    session::SessionError,
};

#[path = "proto_peers/ballot.rs"]
mod ballot;
#[path = "support/played.rs"]
mod played;
#[path = "support/random.rs"]
mod random;
#[path = "proto_peers/versions.rs"]
mod versions;

use ballot::{Ballot, Reply, SignedBallot};
use random::Random;
use versions::{
    IqV1, IqV034, IqV037, IqV038, TendermintV034, TendermintV037, TendermintV038, Version,
    extension_sign_bytes, sign_bytes_reply, sign_bytes_request,
};

const CHAIN: &str = "test_chain_id";

fn seeded() -> Random {
    let seed = env::var("TMKMS_TEST_SEED").map_or(0x7072_6f74, |text| text.parse().unwrap());
    println!("TMKMS_TEST_SEED={seed}");
    Random(seed)
}

fn codec(chain: &str, raw: Raw) -> Proto {
    Proto::new(Options {
        chain_id: ChainId::new(chain).unwrap(),
        sign_extensions: true,
        v2: false,
        raw,
    })
}

/// Calls a function for each version.
macro_rules! for_each_version {
    ($function:ident($($argument:expr),*)) => {
        $function::<TendermintV034>($($argument),*);
        $function::<TendermintV037>($($argument),*);
        $function::<TendermintV038>($($argument),*);
        $function::<IqV034>($($argument),*);
        $function::<IqV037>($($argument),*);
        $function::<IqV038>($($argument),*);
        $function::<IqV1>($($argument),*);
    };
}

/// The same request by this crate's own types, which the stand-in node has.
fn ours(ballot: &Ballot) -> Sum {
    let block_id = Some(ballot.block.clone().map_or_else(
        pb::BlockId::nil,
        |(hash, total, parts)| pb::BlockId {
            hash,
            part_set_header: Some(pb::PartSetHeader { total, hash: parts }),
        },
    ));
    let timestamp = Some(pb::Timestamp {
        seconds: ballot.seconds,
        nanos: ballot.nanos,
    });
    let chain_id = ballot.chain_id.clone();
    if ballot.type_number == 32 {
        return Sum::SignProposalRequest(pb::SignProposalRequest {
            proposal: Some(pb::Proposal {
                proposal_type: 32,
                height: ballot.height,
                round: ballot.round,
                pol_round: ballot.pol_round,
                block_id,
                timestamp,
                signature: Vec::new(),
            }),
            chain_id,
        });
    }
    Sum::SignVoteRequest(pb::SignVoteRequest {
        vote: Some(pb::Vote {
            vote_type: ballot.type_number,
            height: ballot.height,
            round: ballot.round,
            block_id,
            timestamp,
            validator_address: ballot.validator_address.clone(),
            validator_index: ballot.validator_index,
            extension: ballot.extension.clone(),
            ..pb::Vote::default()
        }),
        chain_id,
        skip_extension_signing: ballot.skip_extension_signing,
    })
}

fn reads_random_requests_of<V: Version>(random: &mut Random) {
    let mut extensions = 0;
    for _ in 0..2_000 {
        let ballot = Ballot::random(random, V::EXTENSIONS, V::SKIPS);
        let message = V::request(&ballot);
        let name = V::NAME;
        assert_eq!(
            pb::Message::from(ours(&ballot)).encode_to_vec(),
            message,
            "{name}: {ballot:?}"
        );
        let decoded = codec(&ballot.chain_id, Raw::Refuse).decode(&message);
        let Ok(Request::Sign(request)) = decoded else {
            panic!("{name}: {decoded:?} of {ballot:?}");
        };
        let msg = &request.msg;
        let type_number = match msg.hrs.step {
            Step::Prevote => 1,
            Step::Precommit => 2,
            Step::Proposal => 32,
        };
        assert_eq!(type_number, ballot.type_number);
        let (height, round) = (ballot.height, i64::from(ballot.round));
        assert_eq!((msg.hrs.height, msg.hrs.round), (height, round));
        let block = msg.block_id.map(|id| {
            let (hash, parts) = (id.hash.to_vec(), id.parts_hash.to_vec());
            (hash, id.parts_total, parts)
        });
        assert_eq!(block, ballot.block);
        let Timestamp { seconds, nanos } = msg.sign_bytes.timestamp();
        assert_eq!((seconds, nanos), (ballot.seconds, ballot.nanos));
        if type_number == 32 {
            assert_eq!(msg.pol_round, i64::from(ballot.pol_round));
        } else {
            assert_eq!(msg.echo.validator_address, ballot.validator_address);
            let index = i64::from(ballot.validator_index);
            assert_eq!(msg.echo.validator_index, index);
        }
        assert_eq!(
            msg.sign_bytes.as_bytes(),
            V::sign_bytes(&ballot),
            "{name}: {ballot:?}"
        );
        let signs = ballot.is_precommit_for_block() && !ballot.skip_extension_signing;
        assert_eq!(request.extension.is_some(), signs, "{name}: {ballot:?}");
        if let Some(extension) = &request.extension {
            assert_eq!(extension.sign_bytes(), extension_sign_bytes(&ballot));
            extensions += 1;
        }
        assert!(request.unprotected.is_none());
    }
    assert!(extensions > 200, "{}: {extensions} extensions", V::NAME);
}

#[test]
fn requests_of_every_version_are_read_field_by_field_and_have_their_sign_bytes() {
    let mut random = seeded();
    for_each_version!(reads_random_requests_of(&mut random));
}

/// What stands in one session: three requests for each height, and the others before and behind them.
fn signs_in_a_session_for<V: Version>(random: &mut Random) {
    let mut ballots = Vec::new();
    for height in 1..=24 {
        let round = random.below(3) as i32;
        for type_number in [32, 1, 2] {
            let mut ballot = Ballot::random(random, V::EXTENSIONS, V::SKIPS);
            let wanted = |it: &Ballot| it.type_number == type_number;
            while !wanted(&ballot) {
                ballot = Ballot::random(random, V::EXTENSIONS, V::SKIPS);
            }
            (ballot.height, ballot.round) = (height, round);
            if type_number == 32 {
                ballot.pol_round = ballot.pol_round.min(round - 1);
            }
            ballot.chain_id = CHAIN.to_owned();
            ballots.push(ballot);
        }
    }
    let mut conflict = ballots.last().unwrap().clone();
    conflict.block = Some((vec![0x77; 32], 1, vec![0x78; 32]));
    conflict.extension = Vec::new();
    let mut elsewhere = [conflict.clone(), ballots[0].clone()];
    for ballot in &mut elsewhere {
        ballot.chain_id = "another-chain".to_owned();
    }
    let requests: Vec<Vec<u8>> = [V::ping_request(), V::pub_key_request(CHAIN)]
        .into_iter()
        .chain(ballots.iter().map(V::request))
        .chain([V::request(&conflict)])
        .chain(elsewhere.iter().map(V::request))
        .chain([V::pub_key_request("another-chain")])
        .collect();
    let chain_id = ChainId::new(CHAIN).unwrap();
    let mut codec = codec(CHAIN, Raw::Refuse);
    let (replies, ended, _) = played::play(&chain_id, &mut codec, true, &requests);
    assert!(
        matches!(ended, SessionError::Connection(ConnectionError::Closed)),
        "{ended:?}"
    );
    assert_eq!(replies.len(), requests.len());
    for reply in &replies {
        says_the_same_again::<V>(reply);
    }
    let mut replies = replies.iter().map(|reply| V::reply(reply));
    let mut next = || replies.next().unwrap();

    assert_eq!(next(), Reply::Pong, "{}", V::NAME);
    let key = played::key().verifying_key().to_bytes();
    let Reply::PubKey(answer) = next() else {
        panic!("{}: no public key", V::NAME);
    };
    assert!(answer.names("ed25519", 1, &key), "{answer:?}");
    assert_eq!(answer.error, None);

    let key = ed25519_consensus::VerificationKey::try_from(key).unwrap();
    let verifies = |signature: &[u8], msg: &[u8]| {
        let signature = ed25519_consensus::Signature::try_from(signature).unwrap();
        key.verify(&signature, msg).is_ok()
    };
    for ballot in &ballots {
        let signed = match (next(), ballot.type_number) {
            (Reply::Proposal(signed), 32) | (Reply::Vote(signed), 1 | 2) => signed,
            other => panic!("{}: {other:?}", V::NAME),
        };
        let SignedBallot {
            ballot: echoed,
            signature,
            extension_signature,
            error,
        } = signed;
        assert_eq!(error, None);
        // The extension does not go back, and what stands in the request around the vote is not in a reply.
        let expected = Ballot {
            extension: Vec::new(),
            chain_id: String::new(),
            skip_extension_signing: false,
            ..ballot.clone()
        };
        assert_eq!(echoed, expected, "{}", V::NAME);
        assert!(verifies(&signature, &V::sign_bytes(ballot)), "{ballot:?}");
        let signs = ballot.is_precommit_for_block() && !ballot.skip_extension_signing;
        if V::EXTENSIONS && signs {
            let wanted = extension_sign_bytes(ballot);
            assert!(verifies(&extension_signature, &wanted), "{ballot:?}");
        } else {
            assert!(extension_signature.is_empty());
        }
    }
    let refused = |reply: Reply, code: i32| {
        let error = match reply {
            Reply::Vote(it) | Reply::Proposal(it) => {
                assert!(it.signature.is_empty());
                it.error
            }
            Reply::PubKey(it) => it.error,
            other => panic!("{}: {other:?}", V::NAME),
        };
        assert_eq!(error.unwrap().0, code, "{}", V::NAME);
    };
    refused(next(), 2);
    for _ in 0..3 {
        refused(next(), 1);
    }
}

/// A reply that theirs has read and written again is, to ours, the same but for the fields that their version lacks.
fn says_the_same_again<V: Version>(reply: &[u8]) {
    let mut sum = pb::Message::decode(reply).unwrap().sum.unwrap();
    match &mut sum {
        Sum::PubKeyResponse(it) if V::SKIPS => it.pub_key = None,
        Sum::PubKeyResponse(it) => {
            it.pub_key_bytes.clear();
            it.pub_key_type.clear();
        }
        Sum::SignedVoteResponse(it) if !V::EXTENSIONS => {
            it.vote.as_mut().unwrap().extension_signature.clear();
        }
        _ => {}
    }
    let theirs = V::again(reply);
    let ours = pb::Message::from(sum);
    assert_eq!(pb::Message::decode(theirs.as_slice()), Ok(ours.clone()));
    assert_eq!(ours.encode_to_vec(), theirs, "{}", V::NAME);
}

#[test]
fn replies_are_decoded_by_every_version_and_what_is_signed_verifies_as_they_encode_it() {
    let mut random = seeded();
    for_each_version!(signs_in_a_session_for(&mut random));
}

fn decodes_every_key<V: Version>(keys: &[PublicKey]) {
    for key in keys {
        let mut message = Vec::new();
        codec(CHAIN, Raw::Refuse).encode(&Response::PubKey(key), &mut message);
        let Reply::PubKey(answer) = V::reply(&message) else {
            panic!("{}: no public key", V::NAME);
        };
        let facts = key.algorithm().facts();
        // A member that a version lacks is no key to it, and no malformed message.
        let known = answer.member.is_some() || V::SKIPS;
        assert_eq!(known, V::knows(facts.member), "{} {}", V::NAME, facts.name);
        if let Some((member, bytes)) = &answer.member {
            assert_eq!((*member, &bytes[..]), (facts.member, key.as_bytes()));
        }
        if V::SKIPS {
            assert!(answer.names(facts.name, facts.member, &key.later_bytes()));
        }
        assert_eq!(answer.error, None);
    }
}

#[test]
fn a_public_key_of_any_type_is_read_by_every_version_or_is_none_to_it() {
    let home = tempfile::tempdir().unwrap();
    let keys: Vec<PublicKey> = Algorithm::ALL
        .iter()
        .map(|it| softsign::generate(*it, &home.path().join(it.name())).unwrap())
        .collect();
    assert!(keys.len() >= 5);
    for_each_version!(decodes_every_key(&keys));
}

#[test]
fn bytes_outside_of_consensus_pass_in_the_words_of_v1() {
    let value = b"randao reveal of epoch 7";
    let requests = [sign_bytes_request(value)];
    let chain_id = ChainId::new(CHAIN).unwrap();
    let (replies, ..) = played::play(
        &chain_id,
        &mut codec(CHAIN, Raw::SignBytes),
        true,
        &requests,
    );
    let (signature, error) = sign_bytes_reply(&replies[0]);
    assert_eq!(error, None);
    let key =
        ed25519_consensus::VerificationKey::try_from(played::key().verifying_key().to_bytes());
    let signature = ed25519_consensus::Signature::try_from(&signature[..]).unwrap();
    key.unwrap().verify(&signature, value).unwrap();
    // Not configured; and where it is, whatever is a vote to any version is refused.
    let mut random = seeded();
    let refused = |raw: Raw, value: &[u8]| {
        let (replies, ..) = played::play(
            &chain_id,
            &mut codec(CHAIN, raw),
            true,
            &[sign_bytes_request(value)],
        );
        let (signature, error) = sign_bytes_reply(&replies[0]);
        assert!(signature.is_empty());
        assert_eq!(error.unwrap().0, 1);
    };
    refused(Raw::Refuse, value);
    for _ in 0..20 {
        let ballot = Ballot::random(&mut random, true, false);
        refused(Raw::SignBytes, &IqV1::sign_bytes(&ballot));
        refused(Raw::SignBytes, &TendermintV034::sign_bytes(&ballot));
        refused(Raw::SignBytes, &extension_sign_bytes(&ballot));
    }
}

fn refuses_what_nobody_asks<V: Version>(random: &mut Random) {
    for _ in 0..200 {
        let mut ballot = Ballot::random(random, V::EXTENSIONS, false);
        ballot.chain_id = CHAIN.to_owned();
        match random.below(6) {
            0 => ballot.height = -1 - random.below(9) as i64,
            1 => ballot.round = -1,
            2 => ballot.nanos = 1_000_000_000,
            3 => ballot.block = Some((vec![1; 31], 1, vec![2; 32])),
            4 => ballot.block = Some((vec![1; 32], 0, vec![2; 32])),
            _ => ballot.chain_id.push('2'),
        }
        let message = V::request(&ballot);
        let kind = match ballot.type_number {
            32 => Kind::Proposal,
            _ => Kind::Vote,
        };
        let decoded = codec(CHAIN, Raw::Refuse).decode(&message);
        assert!(
            matches!(decoded, Err(DecodeError::Answerable { kind: it, .. }) if it == kind),
            "{}: {decoded:?} of {ballot:?}",
            V::NAME
        );
    }
}

#[test]
fn impossible_requests_of_every_version_are_refused() {
    let mut random = seeded();
    for_each_version!(refuses_what_nobody_asks(&mut random));
}
