//! The vectors of the amino era: messages and sign bytes of v0.26 to v0.33.

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;
use tmkms::{
    codec::{
        Codec as _, DecodeError, Reason, Response,
        amino::{Amino, Layout, names},
    },
    connection::{
        Identity,
        secret_connection::{
            HandshakeError,
            frame::{SEALED, Sealer},
            handshake::Hello,
            keys::{Derived, Side},
        },
    },
    crypto::{Algorithm, PublicKey, Signature},
    privval::{
        Beat, BlockId, ChainId, Form, Kind, Request, SignRequest, Step,
        canonical::{self, Fields},
    },
    protection::{
        Guard, Policy, SignedMsg,
        store::file::{self, FileStore},
    },
};

use super::case::{Case, bytes, cases, number, say, text, understood};

const CHAIN: &str = "test_chain_id";

/// Where each of these stands in the vote of a version.
const LAYOUTS: [(&str, Form, Layout); 2] = [
    ("v0.26-v0.28", Form::AminoA, Layout::TimeFirst),
    ("v0.29", Form::AminoB, Layout::BlockFirst),
];

fn codec() -> Amino {
    Amino::new(ChainId::new(CHAIN).unwrap())
}

/// An amino writer of this file's own.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
    }

    fn number(mut self, field: u8, value: i64) -> Self {
        if value != 0 {
            self.0.push(field << 3);
            self.varint(value.cast_unsigned());
        }
        self
    }

    fn bytes(mut self, field: u8, value: &[u8]) -> Self {
        if !value.is_empty() {
            self.0.push(field << 3 | 2);
            self.varint(value.len() as u64);
            self.0.extend(value);
        }
        self
    }
}

/// A request for a vote or proposal as its fields say, whatever they say.
fn request(case: &Case, layout: Layout) -> Vec<u8> {
    let (hash, total, parts_hash) = case.block_id.clone().unwrap_or_default();
    let parts = Writer::default()
        .number(1, total.into())
        .bytes(2, &parts_hash);
    let id = Writer::default().bytes(1, &hash).bytes(2, &parts.0);
    let time = Writer::default()
        .number(1, case.timestamp.seconds)
        .number(2, case.timestamp.nanos.into());
    let head = Writer::default()
        .number(1, case.type_number.into())
        .number(2, case.height)
        .number(3, case.round.into());
    let (prefix, body) = if case.type_number == 32 {
        let body = head.number(4, case.pol_round.into());
        let body = body.bytes(5, &id.0).bytes(6, &time.0);
        (names::SIGN_PROPOSAL_REQUEST, body)
    } else {
        let body = match layout {
            Layout::TimeFirst => head.bytes(4, &time.0).bytes(5, &id.0),
            Layout::BlockFirst => head.bytes(4, &id.0).bytes(5, &time.0),
        };
        (names::SIGN_VOTE_REQUEST, body)
    };
    [&prefix[..], &Writer::default().bytes(1, &body.0).0].concat()
}

fn raw_sign_bytes(case: &Case, form: Form) -> Vec<u8> {
    let (hash, parts_total, parts_hash) = case.block_id.clone().unwrap_or_default();
    let encoded = canonical::encode_as(
        form,
        &Fields {
            type_number: case.type_number.try_into().unwrap(),
            height: case.height,
            round: case.round.into(),
            pol_round: case.pol_round.into(),
            hash: &hash,
            parts_total,
            parts_hash: &parts_hash,
            timestamp: case.timestamp,
            chain_id: &case.chain_id,
        },
    );
    assert_eq!(
        canonical::parse(form, encoded.as_bytes()),
        Some(encoded.clone())
    );
    encoded.as_bytes().to_vec()
}

fn expected_sign_bytes(expected: &Value) -> Vec<u8> {
    understood(expected, &["sign_bytes", "canonical_without_length"]);
    if expected["sign_bytes"].is_string() {
        return bytes(&expected["sign_bytes"]);
    }
    let body = bytes(&expected["canonical_without_length"]);
    let mut whole = Writer::default();
    whole.varint(body.len() as u64);
    [whole.0, body].concat()
}

#[test]
fn sign_bytes_of_the_amino_era() {
    let (mut through, mut nameless, mut refused, mut beats) = (0, 0, 0, 0);
    for case in cases("sign_bytes_amino.json", 16) {
        let (input, wanted) = (&case["inputs"], expected_sign_bytes(&case["expected"]));
        let description = case["description"].as_str().unwrap();
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
                "sequence",
                "validator_address",
                "validator_index",
            ],
        );
        if description.contains("CanonicalHeartbeat") {
            let beat = Beat {
                height: number(&input["height"]),
                round: number(&input["round"]),
                sequence: number(&input["sequence"]),
                validator_address: bytes(&input["validator_address"]),
                validator_index: number(&input["validator_index"]),
            };
            assert_eq!(heartbeat_sign_bytes(&beat), wanted);
            beats += 1;
            continue;
        }
        let fields = Case::read(input);
        let mut seen = 0;
        for (versions, form, layout) in LAYOUTS {
            // Proposals are the same in all versions.
            if fields.type_number != 32 && !description.contains(versions) {
                continue;
            }
            seen += 1;
            assert_eq!(
                text(&raw_sign_bytes(&fields, form)),
                text(&wanted),
                "{case}"
            );
            match codec().decode(&request(&fields, layout)) {
                // A request names no chain: the one of the connection is signed for, and so these differ in it alone.
                Ok(Request::Sign(request)) if fields.chain_id.is_empty() => {
                    assert_ne!(request.msg.sign_bytes.as_bytes(), wanted);
                    nameless += 1;
                }
                Ok(Request::Sign(request)) => {
                    assert_eq!(fields.chain_id, CHAIN);
                    assert_eq!(text(request.msg.sign_bytes.as_bytes()), text(&wanted));
                    through += 1;
                }
                Err(DecodeError::Answerable {
                    kind: Kind::Vote | Kind::Proposal,
                    reason: Reason::Type(0),
                    ..
                }) => refused += 1,
                other => panic!("{other:?} for {case}"),
            }
        }
        assert!(seen >= 1, "not understood: {case}");
    }
    assert_eq!(beats, 1);
    say(&format!(
        "sign_bytes_amino.json: {through} cases through codec and encoder, {nameless} without a chain ID, {refused} refused by the codec and run on the encoder, {beats} heartbeat"
    ));
}

/// Through the codec, as a node asks for it.
fn heartbeat_sign_bytes(beat: &Beat) -> Vec<u8> {
    let body = Writer::default()
        .bytes(1, &beat.validator_address)
        .number(2, beat.validator_index)
        .number(3, beat.height)
        .number(4, beat.round)
        .number(5, beat.sequence);
    let request = Writer::default().bytes(1, &body.0);
    let message = [&names::SIGN_HEARTBEAT_REQUEST[..], &request.0].concat();
    match codec().decode(&message) {
        Ok(Request::Heartbeat(heartbeat)) => {
            assert_eq!(heartbeat.beat(), beat);
            heartbeat.sign_bytes().to_vec()
        }
        other => panic!("{other:?}"),
    }
}

/// The body of a message whose length prefix is right.
fn body(wire: &Value) -> Vec<u8> {
    let wire = bytes(wire);
    let mut rest = wire.as_slice();
    let len = prost::decode_length_delimiter(&mut rest).unwrap();
    assert_eq!(len, rest.len());
    rest.to_vec()
}

fn encoded(asked: &[u8], response: &Response<'_>) -> Vec<u8> {
    let mut codec = codec();
    if !asked.is_empty() {
        codec.decode(asked).unwrap();
    }
    let mut out = Vec::new();
    codec.encode(response, &mut out);
    out
}

/// What the fields of an input say of a vote or proposal that was read.
fn same_as_input(input: &Value, request: &SignRequest) {
    understood(
        input,
        &[
            "type",
            "height",
            "round",
            "pol_round",
            "block_id",
            "timestamp",
            "validator_address",
            "validator_index",
            "signature",
        ],
    );
    let msg = &request.msg;
    let step = match number(&input["type"]) {
        1 => Step::Prevote,
        2 => Step::Precommit,
        _ => Step::Proposal,
    };
    assert_eq!(msg.hrs.step, step);
    assert_eq!(msg.hrs.height, number(&input["height"]));
    assert_eq!(msg.hrs.round, number(&input["round"]));
    if step == Step::Proposal {
        assert_eq!(msg.pol_round, number(&input["pol_round"]));
    }
    let id = &input["block_id"];
    let block_id = (!id.is_null()).then(|| BlockId {
        hash: bytes(&id["hash"]).try_into().unwrap(),
        parts_total: number(&id["total"]).try_into().unwrap(),
        parts_hash: bytes(&id["parts_hash"]).try_into().unwrap(),
    });
    assert_eq!(msg.block_id, block_id);
    let timestamp = super::case::timestamp(input["timestamp"].as_str().unwrap());
    assert_eq!(msg.sign_bytes.timestamp(), timestamp);
    assert_eq!(
        msg.echo.validator_address,
        bytes(&input["validator_address"])
    );
    assert_eq!(msg.echo.validator_index, number(&input["validator_index"]));
}

fn some_key() -> PublicKey {
    let key = SigningKey::from_bytes(&[7; 32]);
    PublicKey::ed25519(key.verifying_key().as_bytes()).unwrap()
}

fn signed(request: SignRequest) -> SignedMsg {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = some_key();
    let (path, chain) = (dir.path().join("record"), ChainId::new(CHAIN).unwrap());
    file::create(
        &path,
        &chain,
        &public,
        &tmkms::protection::Record::never_signed(),
    )
    .unwrap();
    let store = FileStore::open(&path, &chain, &public).unwrap().store;
    let permit = Guard::new(store)
        .judge(request.msg, Policy::default())
        .unwrap();
    let signature = key.sign(permit.sign_bytes().as_bytes()).to_bytes();
    permit
        .complete(Signature::Ed25519(signature), None, &public)
        .unwrap()
}

/// A signed reply without its signature is the request; signed again, and with the vector's signature in the place of ours, it
/// is the reply.
fn replies_the_same(reply: &[u8], prefix: names::Prefix, signature: &[u8]) -> SignRequest {
    let prefix_len = 4;
    let mut rest = &reply[prefix_len + 1..];
    let len = prost::decode_length_delimiter(&mut rest).unwrap();
    assert_eq!(len, rest.len());
    let tail = 2 + signature.len();
    let (unsigned, tail) = rest.split_at(rest.len() - tail);
    assert_eq!(&tail[2..], signature);
    let message = [&prefix[..], &Writer::default().bytes(1, unsigned).0].concat();
    let mut codec = codec();
    let Ok(Request::Sign(request)) = codec.decode(&message) else {
        panic!("not a request: {}", text(&message));
    };
    let signed = signed(request.clone());
    let mut ours = Vec::new();
    codec.encode(&Response::Signed(&signed), &mut ours);
    let at = ours.len() - signature.len();
    assert_eq!(&ours[at..], signed.signature().as_bytes());
    ours.truncate(at);
    ours.extend(signature);
    assert_eq!(text(&ours), text(reply));
    request
}

fn an_error(case: &Value, kind: Kind) {
    let error = &case["inputs"]["error"];
    understood(error, &["code", "description"]);
    let response = Response::Error {
        kind,
        code: super::case::small(&error["code"]),
        description: error["description"].as_str().unwrap(),
    };
    let wanted = body(&case["expected"]["wire"]);
    assert_eq!(text(&encoded(&[], &response)), text(&wanted), "{case}");
}

/// Of secp256k1, compressed.
const GENERATOR: [u8; 33] = [
    0x02, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b,
    0x07, 0x02, 0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17,
    0x98,
];

fn a_public_key(case: &Value) {
    let (input, wanted) = (&case["inputs"], body(&case["expected"]["wire"]));
    understood(input, &["ed25519_pub_key", "secp256k1_pub_key", "pub_key"]);
    let (scheme, key) = if input["secp256k1_pub_key"].is_string() {
        (Algorithm::Secp256k1, &input["secp256k1_pub_key"])
    } else if input["ed25519_pub_key"].is_string() {
        (Algorithm::Ed25519, &input["ed25519_pub_key"])
    } else {
        (Algorithm::Ed25519, &input["pub_key"])
    };
    let asked = if wanted.starts_with(&names::PUB_KEY_MSG) {
        names::PUB_KEY_MSG
    } else {
        names::PUB_KEY_REQUEST
    };
    let key = bytes(key);
    // Some of these are no points of the curve: another key goes through, and theirs is put in its place.
    let point = scheme.public_key(&key).unwrap_or_else(|_| match scheme {
        Algorithm::Secp256k1 => PublicKey::secp256k1(&GENERATOR).unwrap(),
        _ => some_key(),
    });
    let mut ours = encoded(&asked, &Response::PubKey(&point));
    assert!(ours.ends_with(point.as_bytes()));
    ours.truncate(ours.len() - key.len());
    ours.extend(key);
    assert_eq!(text(&ours), text(&wanted), "{case}");
    // It is no request, whoever sends it.
    assert!(matches!(
        codec().decode(&wanted),
        Err(DecodeError::Unanswerable(_))
    ));
}

/// The two messages of the handshake. Alice's ephemeral key is the vector's.
fn handshake_message(case: &Value) {
    let alice = "a14d1fe92419d4e23b4007079439b497ae77494ccda0195ac1c70680bb460908";
    let alice: [u8; 32] = subtle_encoding::hex::decode(alice)
        .unwrap()
        .try_into()
        .unwrap();
    let (input, wire) = (&case["inputs"], bytes(&case["expected"]["wire"]));
    if input["eph_pub"].is_string() {
        assert_eq!(
            Hello::hazmat_from_secret(&alice).amino_message()[..],
            wire[..]
        );
        return;
    }
    understood(input, &["ed25519_pub", "sig"]);
    // The signature is over nothing, but the message is well formed.
    let peer = Hello::hazmat_from_secret(&[2; 32]).amino_message();
    let ours = Hello::hazmat_from_secret(&alice).amino_message();
    let key = |message: &[u8; 34]| -> [u8; 32] { message[2..].try_into().unwrap() };
    let dh = x25519_dalek::x25519([2; 32], key(&ours));
    let side = if key(&peer) < key(&ours) {
        Side::Lower
    } else {
        Side::Upper
    };
    let mut frame = Vec::new();
    Sealer::new(&Derived::new(&dh, side).send_key())
        .seal(&[], &wire, &mut frame)
        .unwrap();
    let mut frame: [u8; SEALED] = frame.try_into().unwrap();
    let awaiting = Hello::hazmat_from_secret(&alice)
        .receive_amino(&peer)
        .unwrap();
    let result = awaiting.receive(&mut frame, &Identity::from_seed(&[1; 32]));
    assert_eq!(result.unwrap_err(), HandshakeError::Signature);
}

#[test]
fn messages_of_the_amino_era() {
    let (mut registered, mut requests, mut replies, mut handshakes) = (0, 0, 0, 0);
    for case in cases("privval_messages_amino.json", 37) {
        let (input, expected) = (&case["inputs"], &case["expected"]);
        let description = case["description"].as_str().unwrap();
        if let Some(name) = input["name"].as_str() {
            understood(expected, &["prefix", "disambiguation"]);
            let (disambiguation, prefix) = names::of(name);
            assert_eq!(prefix[..], bytes(&expected["prefix"]), "{name}");
            assert_eq!(
                disambiguation[..],
                bytes(&expected["disambiguation"]),
                "{name}"
            );
            registered += 1;
            continue;
        }
        understood(expected, &["wire"]);
        if description.contains("ephemeral") || description.contains("authSigMessage") {
            handshake_message(&case);
            handshakes += 1;
            continue;
        }
        let message = body(&expected["wire"]);
        let vote = description.contains("Vote");
        if description.contains("SignVoteRequest") || description.contains("SignProposalRequest") {
            match codec().decode(&message) {
                Ok(Request::Sign(request)) => same_as_input(input, &request),
                // Hashes of four bytes: the block ID is no complete one.
                Err(DecodeError::Answerable {
                    kind: Kind::Vote,
                    reason: Reason::BlockId { hash: 4, .. },
                    ..
                }) => assert_eq!(input["block_id"]["hash"], "68617368"),
                other => panic!("{other:?} for {case}"),
            }
            requests += 1;
        } else if !input["error"].is_null() {
            let kind = match description {
                _ if description.contains("PubKey") => Kind::PubKey,
                _ if vote => Kind::Vote,
                _ => Kind::Proposal,
            };
            an_error(&case, kind);
            replies += 1;
        } else if description.contains("Signed") {
            understood(input, &["same_as", "signature"]);
            let prefix = if vote {
                names::SIGN_VOTE_REQUEST
            } else {
                names::SIGN_PROPOSAL_REQUEST
            };
            let request = replies_the_same(&message, prefix, &bytes(&input["signature"]));
            let form = request.msg.sign_bytes.form();
            assert_eq!(form == Form::AminoA, description.contains("v0.26-v0.28"));
            assert_eq!(request.msg.hrs.height, 12_345);
            replies += 1;
        } else if description.contains("PubKeyMsg request") || description.contains("PingRequest") {
            let wanted = if description.contains("Ping") {
                Request::Ping
            } else {
                Request::PubKey
            };
            assert_eq!(codec().decode(&message), Ok(wanted));
            requests += 1;
        } else if description.contains("PingResponse") {
            assert_eq!(encoded(&[], &Response::Pong), message);
            replies += 1;
        } else {
            assert!(description.contains("PubKey"), "not understood: {case}");
            a_public_key(&case);
            replies += 1;
        }
    }
    say(&format!(
        "privval_messages_amino.json: {registered} names, {requests} requests, {replies} replies, {handshakes} of the handshake"
    ));
}
