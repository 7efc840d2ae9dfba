//! `noise://`, whose node answers: one that says anything is never taken for the pinned one, and what it sends after its proof is
//! read as it was sealed, or not at all.

use std::{io::Write, net::TcpStream};

use prost::Message as _;
use snow::HandshakeState;
use tmkms::connection::{
    ConnectionError, Dialled,
    noise::{NoiseError, handshake::Hello},
};

use crate::targets::{Target, frame, hold};

#[path = "../../../tests/support/noise_node.rs"]
mod noise_node;

use noise_node::{
    NodeKey, STATIC, against, ed25519, handshake, limits, read, responder, sealed, secp256k1,
    static_public, us, write,
};

/// Ours for the session, and the node's.
const OURS: ([u8; 32], [u8; 32]) = ([1; 32], [2; 32]);
const THEIRS: [u8; 32] = [3; 32];

/// How many messages in a row may carry nothing.
const MAX_EMPTY: usize = 16;

pub(crate) struct Noises {
    nodes: [Node; 2],
}

/// A node, and what it says: with extensions and without.
struct Node {
    key: NodeKey,
    payloads: [Vec<u8>; 2],
    messages: [Vec<u8>; 2],
}

/// What of libp2p's payload decides.
#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    #[prost(bytes = "vec", tag = "1")]
    identity_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    identity_sig: Vec<u8>,
}

impl Noises {
    pub(crate) fn new() -> Self {
        Self {
            nodes: [ed25519(), secp256k1()].map(Node::new),
        }
    }

    fn node(&self, choice: u8) -> &Node {
        let [first, second] = &self.nodes;
        if choice % 2 == 0 { first } else { second }
    }
}

impl Node {
    fn new(key: NodeKey) -> Self {
        let whole = key.payload(&static_public());
        let bare = Payload::decode(whole.as_slice()).expect("libp2p's payload");
        let mut node = Self {
            key,
            payloads: [whole, bare.encode_to_vec()],
            messages: Default::default(),
        };
        node.messages = node.payloads.each_ref().map(|payload| {
            let mut message = Vec::new();
            let outcome = node.attempt(|state| {
                message = write(state, payload);
                message.clone()
            });
            outcome.expect("an honest node is believed");
            message
        });
        node
    }

    /// One handshake without a socket, whose second message comes from the node's state.
    fn attempt(
        &self,
        second: impl FnOnce(&mut HandshakeState) -> Vec<u8>,
    ) -> Result<(), NoiseError> {
        let (awaiting, first) = Hello::hazmat_from_secrets(&OURS.0, &OURS.1)?.start()?;
        let mut state = responder(&STATIC, Some(&THEIRS));
        read(&mut state, &first);
        awaiting.receive(&second(&mut state), &us(), &self.key.id())?;
        Ok(())
    }

    /// Any bytes in the place of the node's message.
    fn message(&self, bytes: &[u8]) -> Result<String, String> {
        let honest = self.messages.iter().any(|message| message == bytes);
        judged(self.attempt(|_| bytes.to_vec()), honest)
    }

    /// Any bytes in the place of what libp2p carries, sealed as they should be.
    fn payload(&self, bytes: &[u8]) -> Result<String, String> {
        let good = Payload::decode(self.payloads[0].as_slice());
        let honest = Payload::decode(bytes) == good;
        judged(self.attempt(|state| write(state, bytes)), honest)
    }
}

fn judged(outcome: Result<(), NoiseError>, honest: bool) -> Result<String, String> {
    match outcome {
        Ok(()) => {
            hold!(honest, "somebody was believed to be the pinned node");
            Ok("believed".to_owned())
        }
        Err(error) => {
            hold!(!honest, "an honest node is refused: {error}");
            Ok(match error {
                NoiseError::Peer { .. } => "another peer".to_owned(),
                other => other.to_string(),
            })
        }
    }
}

impl Target for Noises {
    /// The first byte chooses: the node's message, its payload, its bytes on the wire before its proof, and after it. The second
    /// one chooses the type of its key.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for choice in [0, 1] {
            let node = self.node(choice);
            for payload in &node.payloads {
                all.push([&[1, choice], &payload[..]].concat());
            }
            for message in &node.messages {
                all.push([&[0, choice], &message[..]].concat());
                all.push([&[2, choice], &noise_node::framed(message)[..]].concat());
            }
            let requests = [&[2, 0x3a, 0, 2, 0x3a, 0, 0x84, 0x10], &[0x41; 2_052][..]].concat();
            for change in 0..8 {
                // As many empty messages as may be, and one more.
                for mask in [0x50, 0x51] {
                    let head = [3, choice, change, 1, mask, 5];
                    all.push([&head[..], &requests].concat());
                }
            }
            all.push(vec![3, choice, 0, 0, 0, 0]);
        }
        all
    }

    fn run(&mut self, input: &[u8]) -> Result<String, String> {
        let Some(([mode, choice], rest)) = input.split_first_chunk() else {
            return Ok("short".to_owned());
        };
        let node = self.node(*choice);
        let behaviour = match mode % 4 {
            0 => node.message(rest)?,
            1 => node.payload(rest)?,
            2 => before(&node.key, rest)?,
            _ => after(&node.key, rest)?,
        };
        Ok(format!("{} {behaviour}", char::from(b'a' + mode % 4)))
    }

    fn longest(&self) -> usize {
        16 << 10
    }
}

/// Bytes on the wire from a node that never proves anything, and then hangs up.
fn before(node: &NodeKey, bytes: &[u8]) -> Result<String, String> {
    let (dialled, ()) = against(&node.id(), limits(), |mut stream| send(&mut stream, bytes));
    match dialled {
        Ok(_) => Err("somebody was believed to be the pinned node".to_owned()),
        Err(error) => Ok(error.to_string()),
    }
}

/// What a node sends that has proved who it is: messages as they should be, with one thing about them changed.
fn after(node: &NodeKey, input: &[u8]) -> Result<String, String> {
    let Some(([change, which, mask, size], data)) = input.split_first_chunk::<4>() else {
        return Ok("short".to_owned());
    };
    // Pieces of 0 to 1,020 bytes, and a run of empty ones where the data says so.
    let mut pieces: Vec<&[u8]> = data.chunks(usize::from(*size) * 4 + 1).collect();
    if change % 8 == 7 {
        let at = usize::from(*which) % (pieces.len() + 1);
        pieces.splice(at..at, vec![&[][..]; usize::from(*mask % 32)]);
    }
    let which = usize::from(*which) % pieces.len().max(1);
    let mut sound = pieces.len();
    let (dialled, sent) = against(&node.id(), limits(), |mut stream| {
        let (mut state, _) = handshake(&mut stream, &node.payload(&static_public()));
        let sealed = pieces.iter().map(|piece| sealed(&mut state, piece));
        let mut messages: Vec<Vec<u8>> = sealed.collect();
        if !messages.is_empty() {
            sound = changed(&mut messages, change % 8, which, *mask);
        }
        let bytes = messages.concat();
        send(&mut stream, &bytes);
        !bytes.is_empty()
    });
    // Too many empty ones in a row end it as well.
    let mut empty = 0;
    let readable = pieces.iter().take(sound).take_while(|piece| {
        empty = if piece.is_empty() { empty + 1 } else { 0 };
        empty <= MAX_EMPTY
    });
    let stream: Vec<u8> = readable.copied().collect::<Vec<_>>().concat();
    match dialled {
        Ok(dialled) => heard(dialled, &stream),
        Err(ConnectionError::NotAdmitted { .. }) if !sent => Ok("not admitted".to_owned()),
        Err(error) => Err(format!("an honest node is refused: {error}")),
    }
}

/// Changes one thing; from the message with the number that comes back on, nothing may open.
fn changed(messages: &mut Vec<Vec<u8>>, change: u8, which: usize, mask: u8) -> usize {
    let all = messages.len();
    let message = &mut messages[which];
    match change {
        1 if mask != 0 => {
            let at = 2 + usize::from(mask) % (message.len() - 2);
            message[at] ^= mask;
            which
        }
        2 => {
            messages.remove(which);
            which
        }
        3 => {
            let again = message.clone();
            messages.insert(which, again);
            which + 1
        }
        4 if which > 0 => {
            messages.swap(which, which - 1);
            which - 1
        }
        // Another length than it has.
        5 if mask != 0 => {
            message[usize::from(mask % 2)] ^= mask;
            which
        }
        6 => {
            message.truncate(usize::from(mask) % message.len());
            which
        }
        _ => all,
    }
}

fn heard(mut dialled: Dialled, stream: &[u8]) -> Result<String, String> {
    let connection = &mut dialled.connection;
    let (messages, broken) = frame::expected(stream, limits().message);
    for message in &messages {
        let read = connection
            .read()
            .map_err(|e| format!("{e} instead of {} bytes", message.len()))?;
        hold!(read == *message, "another message came out");
    }
    match connection.read() {
        Ok(message) => Err(format!("a message of {} bytes too many", message.len())),
        Err(error) => {
            hold!(connection.read().is_err(), "a dead connection reads on");
            Ok(format!("{} {broken} {error}", messages.len().min(3)))
        }
    }
}

fn send(stream: &mut TcpStream, bytes: &[u8]) {
    // The signer may hang up at any time.
    let _ = stream.write_all(bytes);
}
