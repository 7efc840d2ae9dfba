//! The exact bytes of every reply.

use ed25519_dalek::{Signer as _, SigningKey};

use super::*;
use crate::{
    codec::amino::{Amino, names},
    crypto::Signature,
    protection::{Guard, Policy, RawPermit, Record, store::memory::MemoryStore},
};

fn key() -> (SigningKey, PublicKey) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = PublicKey::ed25519(key.verifying_key().as_bytes()).expect("a point");
    (key, public)
}

fn sign(request: SignRequest) -> SignedMsg {
    let (key, public) = key();
    let guard = Guard::new(MemoryStore {
        record: Record::never_signed(),
    });
    let permit = guard
        .judge(request.msg, Policy::default())
        .expect("a first signature");
    let made = |bytes: &[u8]| Signature::Ed25519(key.sign(bytes).to_bytes());
    let signature = made(permit.sign_bytes().as_bytes());
    let extension = request.extension.as_ref().map(|extension| {
        let permitted = permit.extension(extension).expect("a precommit");
        (extension, made(permitted.as_bytes()))
    });
    let unprotected = request.unprotected.as_ref().map(|extension| {
        let permitted = permit.unprotected(extension).expect("a precommit");
        (extension, made(permitted.as_bytes()))
    });
    let signed = permit
        .complete(signature, extension, &public)
        .expect("sound signatures");
    match unprotected {
        None => signed,
        Some((extension, signature)) => signed
            .with_unprotected(extension, signature, &public)
            .expect("a sound signature"),
    }
}

fn encoded(response: &Response<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    codec().encode(response, &mut out);
    out
}

/// Reads a reply as a node does.
fn reply(response: &Response<'_>) -> pb::Sum {
    pb::Message::decode(encoded(response).as_slice())
        .expect("a message")
        .sum
        .expect("a reply")
}

#[test]
fn replies_are_the_bytes_that_go_writes() {
    assert_eq!(encoded(&Response::Pong), [0x42, 0x00]);
    let error = |kind| {
        hex(&encoded(&Response::Error {
            kind,
            code: 1,
            description: "it's a error",
        }))
    };
    let tail = "12100801120c697427732061206572726f72";
    assert_eq!(error(Kind::Ping), "4200");
    assert_eq!(error(Kind::PubKey), format!("12140a00{tail}"));
    assert_eq!(
        error(Kind::Vote),
        format!("22250a11220212002a0b088092b8c398feffffff01{tail}")
    );
    assert_eq!(
        error(Kind::Proposal),
        format!("32250a112a021200320b088092b8c398feffffff01{tail}")
    );
    assert_eq!(error(Kind::Raw), format!("5212{tail}"));
    let (_, public) = key();
    let raw = hex(public.as_bytes());
    assert_eq!(
        hex(&encoded(&Response::PubKey(&public))),
        format!("124f0a220a20{raw}1a20{raw}220765643235353139")
    );
    // The presence of the error counts, not what it says.
    let silent = Response::Error {
        kind: Kind::Raw,
        code: 0,
        description: "",
    };
    assert_eq!(hex(&encoded(&silent)), "52021200");
}

#[test]
fn a_signed_vote_echoes_the_request_without_its_extension() {
    let mut asked = vote();
    asked.extension = vec![0xab; MAX_EXTENSION];
    let request = signed(&bytes(pb::Sum::SignVoteRequest(vote_request(
        asked.clone(),
    ))));
    let sign_bytes = request.msg.sign_bytes.clone();
    let extension = request.extension.clone().expect("signed");
    let signed = sign(request);
    let response = Response::Signed(&signed);
    assert!(encoded(&response).len() < 400, "the node reads 10 KiB");
    let pb::Sum::SignedVoteResponse(reply) = reply(&response) else {
        unreachable!("a vote's reply");
    };
    assert_eq!(reply.error, None);
    let vote = reply.vote.expect("a vote");
    let (_, public) = key();
    let verifies = |bytes: &[u8], signature: &[u8]| {
        let signature = Signature::Ed25519(signature.try_into().expect("64 bytes"));
        public.verifies(bytes, &signature)
    };
    assert!(verifies(sign_bytes.as_bytes(), &vote.signature));
    assert!(verifies(extension.sign_bytes(), &vote.extension_signature));
    let expected = pb::Vote {
        extension: Vec::new(),
        signature: vote.signature.clone(),
        extension_signature: vote.extension_signature.clone(),
        ..asked
    };
    assert_eq!(vote, expected);
}

#[test]
fn a_signed_nil_vote_and_a_signed_proposal_come_back_as_they_were_asked() {
    let asked = pb::Vote {
        block_id: Some(pb::BlockId::nil()),
        ..vote()
    };
    let nil = sign(signed(&vote_bytes(|it| *it = asked.clone())));
    let pb::Sum::SignedVoteResponse(answer) = reply(&Response::Signed(&nil)) else {
        unreachable!("a vote's reply");
    };
    let expected = pb::Vote {
        signature: nil.signature().as_bytes().to_vec(),
        ..asked
    };
    assert_eq!(answer.vote, Some(expected));

    let signed = sign(signed(&proposal_bytes(|_| ())));
    let pb::Sum::SignedProposalResponse(answer) = reply(&Response::Signed(&signed)) else {
        unreachable!("a proposal's reply");
    };
    let expected = pb::Proposal {
        signature: signed.signature().as_bytes().to_vec(),
        ..proposal()
    };
    assert_eq!(answer.proposal, Some(expected));
}

#[test]
fn signed_raw_bytes_come_back_in_member_ten() {
    let (key, public) = key();
    let chain_id = ChainId::new(CHAIN).expect("a chain ID");
    let raw = crate::privval::canonical::raw_bytes(&chain_id, b"hello", "p2p-1").expect("whole");
    let permit = RawPermit::for_raw_bytes(&raw);
    let made = key.sign(permit.sign_bytes().as_bytes()).to_bytes();
    let signed = permit
        .complete(Signature::Ed25519(made), &public)
        .expect("sound");
    assert_eq!(
        hex(&encoded(&Response::SignedRaw(&signed))),
        format!("52420a40{}", hex(&made))
    );
}

#[test]
fn try_again_is_an_empty_message_and_only_for_votes_and_proposals() {
    for kind in [Kind::Vote, Kind::Proposal] {
        let mut out = Vec::new();
        assert!(codec().try_again(kind, &mut out));
        assert!(out.is_empty());
    }
    for kind in [Kind::Ping, Kind::PubKey, Kind::Raw] {
        assert!(!codec().try_again(kind, &mut Vec::new()));
    }
}

#[test]
fn try_again_is_the_answer_to_a_ping_for_nodes_that_may_ask_again() {
    let begun = |said: &[u8]| {
        let mut codec = Amino::new(options(Raw::Refuse).chain_id);
        codec.decode(said).expect("a request");
        codec
    };
    let [ping, old_key, new_key] = [
        names::PING_REQUEST,
        names::PUB_KEY_MSG,
        names::PUB_KEY_REQUEST,
    ];
    for (said, asks_again) in [(ping, true), (new_key, true), (old_key, false)] {
        for kind in [Kind::Vote, Kind::Proposal] {
            let mut out = Vec::new();
            assert_eq!(begun(&said).try_again(kind, &mut out), asks_again);
            let expected: &[u8] = if asks_again {
                &names::PING_RESPONSE
            } else {
                &[]
            };
            assert_eq!(out, expected);
        }
        for kind in [Kind::Ping, Kind::PubKey, Kind::Heartbeat] {
            assert!(!begun(&said).try_again(kind, &mut Vec::new()));
        }
    }
}

#[test]
fn the_second_extension_of_v2_comes_back_as_its_signature_alone() {
    let message = vote_bytes(|it| it.non_rp_extension = b"price".to_vec());
    let Ok(Request::Sign(request)) = Proto::new(options(Raw::SignBytes)).decode(&message) else {
        unreachable!("configured");
    };
    let pb::Sum::SignedVoteResponse(pb::SignedVoteResponse {
        vote: Some(vote), ..
    }) = reply(&Response::Signed(&sign(request)))
    else {
        unreachable!("a vote was signed");
    };
    let (key, _) = key();
    assert_eq!(
        vote.non_rp_extension_signature,
        key.sign(b"price").to_bytes()
    );
    assert_eq!(vote.extension_signature.len(), 64);
    assert_eq!((vote.extension, vote.non_rp_extension), (vec![], vec![]));
}
