//! A session with a node up to v0.33, without a socket: what it asks is what it gets, and nothing comes late.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use ed25519_dalek::Verifier as _;
use tmkms::{
    codec::{
        Codec, DecodeError, Family, Response,
        amino::names,
        node::Node,
        proto::{Options, Raw},
    },
    connection::{ConnectionError, accept_unix},
    privval::{
        Beat, BlockId, ChainId, Form, Request, Step, Timestamp,
        canonical::{self, sign_bytes_as},
    },
    session::SessionError,
};

#[path = "support/amino.rs"]
mod amino;
#[path = "support/played.rs"]
mod played;

use amino::fields;
use played::{Script, Told, key, serve};

const BLOCK: BlockId = BlockId {
    hash: [0x41; 32],
    parts_total: 3,
    parts_hash: [0x42; 32],
};
const TIME: Timestamp = Timestamp {
    seconds: 1_700_000_000,
    nanos: 5,
};

fn chain_id() -> ChainId {
    ChainId::new("gaia-9002").unwrap()
}

fn codec() -> Node {
    let options = Options {
        chain_id: chain_id(),
        sign_extensions: true,
        v2: false,
        raw: Raw::Refuse,
    };
    let mut codec = Node::new(&options, None);
    codec.begin(None).unwrap();
    codec
}

fn play(
    codec: &mut dyn Codec,
    ready: bool,
    requests: &[Vec<u8>],
) -> (Vec<Vec<u8>>, SessionError, Told) {
    played::play(&chain_id(), codec, ready, requests)
}

/// A prevote of v0.26 to v0.28, with a signature in its place.
fn vote(block: Option<BlockId>, signature: &[u8]) -> Vec<u8> {
    let time = amino::time(TIME.seconds, TIME.nanos.into());
    let id = block.map_or_else(Vec::new, |id| {
        amino::block_id(&id.hash, id.parts_total.into(), &id.parts_hash)
    });
    let head = fields().number(1, 1).number(2, 10).number(3, 1);
    let body = head.bytes(4, &time).bytes(5, &id);
    let body = body.bytes(6, &[0x0a; 20]).number(7, 7);
    fields().bytes(1, &body.bytes(8, signature).0).0
}

fn proposal() -> Vec<u8> {
    let parts = fields().number(1, 3).bytes(2, &BLOCK.parts_hash);
    let id = fields().bytes(1, &BLOCK.hash).bytes(2, &parts.0);
    let head = fields().number(1, 32).number(2, 10).number(4, -1);
    fields().bytes(1, &head.bytes(5, &id.0).0).0
}

fn heartbeat(signature: &[u8]) -> Vec<u8> {
    let body = fields().bytes(1, &[0x0a; 20]).number(2, 7).number(3, 11);
    let body = body.number(4, 1).number(5, 3).bytes(6, signature);
    fields().bytes(1, &body.0).0
}

fn ask(prefix: names::Prefix, body: &[u8]) -> Vec<u8> {
    [&prefix[..], body].concat()
}

#[test]
fn a_node_of_v0_26_gets_what_it_asks_for() {
    let asked = [
        ask(names::PUB_KEY_MSG, &[]),
        ask(names::SIGN_VOTE_REQUEST, &vote(Some(BLOCK), &[])),
        ask(names::SIGN_HEARTBEAT_REQUEST, &heartbeat(&[])),
        ask(names::PING_REQUEST, &[]),
        // Another block at the same height, round and step.
        ask(names::SIGN_VOTE_REQUEST, &vote(None, &[])),
        ask(names::POISON_PILL, &[]),
    ];
    let mut codec = codec();
    let (replies, ended, told) = play(&mut codec, true, &asked);
    assert!(ended_by_the_pill(&ended), "{ended:?}");
    let [public, signed, beat, pong, refused] = replies.as_slice() else {
        panic!("{} replies", replies.len());
    };
    let verifying = key().verifying_key();
    let registered = [&names::ED25519[..], &[32], verifying.as_bytes()].concat();
    let wanted = ask(names::PUB_KEY_MSG, &fields().bytes(1, &registered).0);
    assert_eq!(*public, wanted);

    let (_, signature) = signed.split_at(signed.len() - 64);
    let expected = vote(Some(BLOCK), signature);
    assert_eq!(*signed, ask(names::SIGNED_VOTE_RESPONSE, &expected));
    let numbers = (10, 1, -1);
    let block = Some(&BLOCK);
    let bytes = sign_bytes_as(
        Form::AminoA,
        &chain_id(),
        Step::Prevote,
        numbers,
        block,
        TIME,
    );
    let signature = ed25519_dalek::Signature::from_slice(signature).unwrap();
    verifying.verify(bytes.as_bytes(), &signature).unwrap();

    let (_, signature) = beat.split_at(beat.len() - 64);
    assert_eq!(
        *beat,
        ask(names::SIGNED_HEARTBEAT_RESPONSE, &heartbeat(signature))
    );
    let bytes = canonical::heartbeat(
        &chain_id(),
        Beat {
            height: 11,
            round: 1,
            sequence: 3,
            validator_address: vec![0x0a; 20],
            validator_index: 7,
        },
    );
    let signature = ed25519_dalek::Signature::from_slice(signature).unwrap();
    verifying.verify(bytes.sign_bytes(), &signature).unwrap();

    assert_eq!(pong[..], names::PING_RESPONSE);
    // An error and no vote, with the code of a conflict.
    assert!(refused.starts_with(&names::SIGNED_VOTE_RESPONSE));
    assert_eq!(refused[4], 0x12);
    assert_eq!(refused[6..8], [0x08, 0x02]);
    assert!(codec.ends_with_its_connection());
    let said =
        "requests of this node name no chain: whatever comes from there is signed for gaia-9002";
    assert_eq!(told.warnings(), [said]);
    // Nobody waits for a vote to be told.
    let (_, _, told) = play(&mut self::codec(), true, &[ask(names::PING_REQUEST, &[])]);
    assert_eq!(told.warnings(), [said]);
}

fn ended_by_the_pill(ended: &SessionError) -> bool {
    matches!(ended, SessionError::Decode(DecodeError::Unanswerable(reason))
        if reason.to_string().contains("poison pill"))
}

/// Whose node has stopped waiting before anything can be signed.
struct Impatient(Node);

impl Codec for Impatient {
    fn decode(&mut self, message: &[u8]) -> Result<Request, DecodeError> {
        self.0.decode(message)
    }

    fn encode(&self, response: &Response<'_>, out: &mut Vec<u8>) {
        self.0.encode(response, out);
    }

    fn take_unknown_fields(&mut self) -> Vec<String> {
        self.0.take_unknown_fields()
    }

    fn reply_limit(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn a_late_answer_is_not_sent_since_it_would_pass_for_the_next_one() {
    let asked = [ask(names::SIGN_VOTE_REQUEST, &vote(Some(BLOCK), &[]))];
    let (replies, ended, _) = play(&mut Impatient(codec()), true, &asked);
    assert!(matches!(ended, SessionError::Late(_)), "{ended:?}");
    assert!(replies.is_empty());
    // Old nodes wait three seconds, and the answer has a way to go.
    let mut codec = codec();
    codec.begin(Some(Family::Legacy)).unwrap();
    assert!(codec.reply_limit() < Duration::from_secs(3));
    codec.begin(Some(Family::Protobuf)).unwrap();
    assert_eq!(codec.reply_limit(), Duration::from_secs(5));
}

#[test]
fn an_answer_is_not_sent_to_a_node_that_asked_for_something_else_meanwhile() {
    let vote = ask(names::SIGN_VOTE_REQUEST, &vote(Some(BLOCK), &[]));
    let ping = ask(names::PING_REQUEST, &[]);
    let framed = |message: &[u8]| {
        let length = u8::try_from(message.len()).unwrap();
        assert!(length < 128, "its length is one byte");
        [&[length], message].concat()
    };
    let (vote, ping) = (framed(&vote), framed(&ping));
    // What a signer finds that stood still for some seconds, all at once or by and by.
    for asked in [[vote, ping.clone()], [ping.clone(), ping]] {
        for pieces in [vec![asked.concat()], asked.to_vec()] {
            let (ours, mut node) = UnixStream::pair().unwrap();
            for piece in pieces {
                node.write_all(&piece).unwrap();
            }
            let idle = Duration::from_secs(10);
            let mut connection = accept_unix(ours, idle).unwrap().connection;
            let (ended, _) = serve(&chain_id(), &mut codec(), true, connection.as_mut(), None);
            assert!(matches!(ended, SessionError::Overtaken), "{ended:?}");
            drop(connection);
            let mut heard = Vec::new();
            let _ = node.read_to_end(&mut heard);
            assert!(heard.is_empty());
        }
    }
}

#[test]
fn a_heartbeat_above_the_last_height_is_refused() {
    for (max_height, is_signed) in [(10, false), (11, true)] {
        let beat = ask(names::SIGN_HEARTBEAT_REQUEST, &heartbeat(&[]));
        let mut script = Script::asking(&[beat]);
        serve(
            &chain_id(),
            &mut codec(),
            true,
            &mut script,
            Some(max_height),
        );
        let [reply] = script.replies.as_slice() else {
            panic!("one reply");
        };
        assert!(reply.starts_with(&names::SIGNED_HEARTBEAT_RESPONSE));
        let beat = 0x0a;
        assert_eq!(reply[4] == beat, is_signed);
    }
}

#[test]
fn a_key_that_is_not_ready_is_an_error_to_a_node_that_cannot_be_told_to_ask_again() {
    let asked = [ask(names::SIGN_VOTE_REQUEST, &vote(Some(BLOCK), &[]))];
    let (replies, ended, _) = play(&mut codec(), false, &asked);
    assert!(matches!(
        ended,
        SessionError::Connection(ConnectionError::Closed)
    ));
    assert_eq!(replies.len(), 1);
    assert!(replies[0].starts_with(&names::SIGNED_VOTE_RESPONSE));
    assert_eq!(replies[0][4], 0x12, "an error and no vote");
}

#[test]
fn a_key_that_is_not_ready_is_no_error_to_a_node_that_may_ask_again_and_soon_enough() {
    let asked = [ask(names::SIGN_PROPOSAL_REQUEST, &proposal())];
    let mut script = Script::asking(&asked);
    let begun = Instant::now();
    serve(&chain_id(), &mut codec(), false, &mut script, None);
    assert_eq!(script.replies, [names::PING_RESPONSE]);
    let until = script.held_until.unwrap();
    let held = until.duration_since(begun);
    let held_back = Duration::from_secs(2)..Duration::from_millis(2_750);
    assert!(held_back.contains(&held), "{held:?}");
}
