//! The handshakes up to v0.33: which of them a node speaks is found out before anything is said, and a hostile node gets no
//! proof of ours.
//!
//! `TMKMS_TEST_SEED` repeats a run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test ends at the first surprise"
)]

#[path = "support/random.rs"]
mod random;

use std::{
    env,
    io::{Read, Write},
    net::{Shutdown as End, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use ed25519_dalek::{Signer as _, SigningKey};
use random::Random;
use rustix::net::sockopt::set_socket_linger;
use tmkms::{
    connection::{
        self, Address, ConnectionError, Dialled, Identity, Limits, PeerId,
        secret_connection::{
            Generation, HandshakeError,
            frame::{Opener, SEALED, Sealer},
            handshake::Hello,
            keys::{self, Derived, Side},
        },
    },
    shutdown::Shutdown,
};

/// Variants of what a hostile node sends.
const VARIANTS: usize = 5_500;
const KINDS: usize = 11;

const START: [u8; 2] = [0x21, 0x20];

fn limits() -> Limits {
    Limits {
        handshake: Duration::from_secs(20),
        idle: Duration::from_secs(20),
        ..Limits::default()
    }
}

/// A node up to v0.33 that has said two bytes, and has heard our ephemeral key.
struct Node {
    stream: TcpStream,
    secret: [u8; 32],
    public: [u8; 32],
    theirs: [u8; 32],
}

impl Node {
    fn greet(mut stream: TcpStream, random: &mut Random) -> Self {
        let secret = random.bytes(32).try_into().unwrap();
        let public = Hello::hazmat_from_secret(&secret).amino_message();
        assert_eq!(public[..2], START);
        stream.write_all(&START).unwrap();
        let mut signer = [0; 34];
        stream.read_exact(&mut signer).unwrap();
        assert_eq!(signer[..2], START);
        Self {
            stream,
            secret,
            public: public[2..].try_into().unwrap(),
            theirs: signer[2..].try_into().unwrap(),
        }
    }

    fn derived(&self) -> Derived {
        let side = if self.public < self.theirs {
            Side::Lower
        } else {
            Side::Upper
        };
        Derived::new(&x25519_dalek::x25519(self.secret, self.theirs), side)
    }

    fn challenge(&self, generation: Generation) -> [u8; 32] {
        if generation == Generation::Legacy {
            return *self.derived().legacy_challenge();
        }
        let (low, high) = (self.public.min(self.theirs), self.public.max(self.theirs));
        keys::challenge(&low, &high, &x25519_dalek::x25519(self.secret, self.theirs))
    }

    fn frame(&self, message: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        Sealer::new(&self.derived().send_key())
            .seal(&[], message, &mut frame)
            .unwrap();
        frame
    }

    /// Whatever the signer says from here on.
    fn rest(mut self, bytes: &[u8]) -> Vec<u8> {
        // The signer may hang up at any time.
        let _ = self.stream.write_all(bytes);
        let _ = self.stream.shutdown(End::Write);
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn proof(challenge: &[u8; 32]) -> Vec<u8> {
    let mut message = vec![0x69, 0x0a, 0x25, 0x16, 0x24, 0xde, 0x64, 0x20];
    message.extend(key().verifying_key().as_bytes());
    message.extend([0x12, 0x40]);
    message.extend(key().sign(challenge).to_bytes());
    message
}

/// Dials a listener behind which `node` sits.
fn dialled<T: Send>(
    listener: &TcpListener,
    node: impl FnOnce(TcpStream) -> T + Send,
) -> (Result<Dialled, ConnectionError>, T) {
    let port = listener.local_addr().unwrap().port();
    let address = Address::parse(&format!("tcp://127.0.0.1:{port}")).unwrap();
    thread::scope(|scope| {
        let node = scope.spawn(|| {
            let stream = listener.accept().unwrap().0;
            // Thousands of connections would otherwise wait in the kernel for a minute.
            set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
            node(stream)
        });
        let identity = Identity::from_seed(&[3; 32]);
        let result = connection::dial_within(limits(), &address, Some(&identity), &Shutdown::new());
        // A signer that failed has dropped its connection, so that the node reads an end.
        let result = result.map_err(|error| {
            assert!(error.is_handshake(), "{error:?}");
            error
        });
        (result, node.join().unwrap())
    })
}

fn listener() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).unwrap()
}

#[test]
fn the_generation_is_the_one_whose_challenge_the_nodes_proof_verifies() {
    let listener = listener();
    let mut random = Random(1);
    for generation in [Generation::Legacy, Generation::V033, Generation::Legacy] {
        let (result, ()) = dialled(&listener, |stream| {
            let mut node = Node::greet(stream, &mut random);
            let challenge = node.challenge(generation);
            let bytes = [&node.public[..], &node.frame(&proof(&challenge))].concat();
            node.stream.write_all(&bytes).unwrap();
            let mut frame = [0; SEALED];
            node.stream.read_exact(&mut frame).unwrap();
            let mut opener = Opener::new(&node.derived().receive_key());
            let ours = opener.open(&mut frame).unwrap();
            let identity = Identity::from_seed(&[3; 32]);
            assert_eq!(&ours[8..40], identity.public_key().as_bytes());
            let signature = SigningKey::from_bytes(&[3; 32]).sign(&challenge).to_bytes();
            assert_eq!(ours[42..], signature);
        });
        let dialled = result.unwrap();
        assert_eq!(dialled.generation, Some(generation));
    }
}

#[test]
fn stand_ins_of_every_generation_are_understood_at_the_first_dial() {
    let listener = listener();
    for generation in [Generation::Legacy, Generation::V033, Generation::V034] {
        let port = listener.local_addr().unwrap().port();
        let address = Address::parse(&format!("tcp://127.0.0.1:{port}")).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let stream = listener.accept().unwrap().0;
                let identity = Identity::from_seed(&[5; 32]);
                let mut node =
                    connection::accept_tcp_as(generation, limits(), stream, &identity).unwrap();
                let message = node.connection.read().unwrap().to_vec();
                node.connection.write(&message).unwrap();
            });
            let identity = Identity::from_seed(&[3; 32]);
            let mut dialled =
                connection::dial_within(limits(), &address, Some(&identity), &Shutdown::new())
                    .unwrap();
            assert_eq!(dialled.generation, Some(generation));
            let message = vec![7; 3_000];
            dialled.connection.write(&message).unwrap();
            assert_eq!(dialled.connection.read().unwrap(), message);
        });
    }
}

#[test]
fn a_pinned_peer_is_checked_in_every_generation() {
    let listener = listener();
    let port = listener.local_addr().unwrap().port();
    let node = Identity::from_seed(&[5; 32]);
    for generation in [Generation::Legacy, Generation::V033] {
        for (id, right) in [(node.peer_id(), true), (PeerId([1; 20]), false)] {
            let address = Address::parse(&format!("tcp://{id}@127.0.0.1:{port}")).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| {
                    let stream = listener.accept().unwrap().0;
                    let _ = connection::accept_tcp_as(generation, limits(), stream, &node);
                });
                let identity = Identity::from_seed(&[3; 32]);
                let result =
                    connection::dial_within(limits(), &address, Some(&identity), &Shutdown::new());
                match result {
                    Ok(_) => assert!(right),
                    Err(ConnectionError::PeerMismatch { .. }) => assert!(!right),
                    Err(other) => panic!("{other:?}"),
                }
            });
        }
    }
}

#[test]
fn a_stand_in_of_another_generation_is_told_apart() {
    let listener = listener();
    for (generation, start) in [
        (Generation::Legacy, [0x22, 0x0a]),
        (Generation::V034, [0x21, 0x20]),
    ] {
        thread::scope(|scope| {
            let node = scope.spawn(|| {
                let stream = listener.accept().unwrap().0;
                let identity = Identity::from_seed(&[5; 32]);
                connection::accept_tcp_as(generation, limits(), stream, &identity)
                    .map(|_| ())
                    .unwrap_err()
            });
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            stream.write_all(&start).unwrap();
            let error = node.join().unwrap();
            assert!(
                matches!(
                    error,
                    ConnectionError::Handshake(HandshakeError::Generation)
                ),
                "{error:?}"
            );
        });
    }
}

/// A proof that says everything but not in the one way that is read.
fn malformed(mut proof: Vec<u8>, random: &mut Random) -> Vec<u8> {
    match random.below(5) {
        0 => proof.truncate(random.below(106)),
        1 => proof.push(0),
        2 => {
            // The prefix of another key type.
            proof[3..7].copy_from_slice(&[0xeb, 0x5a, 0xe9, 0x87]);
        }
        3 => {
            // A key of small order, with a signature that any message would satisfy.
            proof[8..40].fill(0);
            proof[8] = 1;
            proof[42..].fill(0);
            proof[42] = 1;
        }
        _ => {
            let at = random.below(106);
            proof[at] ^= 1 << random.below(8);
        }
    }
    proof
}

#[test]
fn a_hostile_node_gets_no_proof_of_ours() {
    let seed = env::var("TMKMS_TEST_SEED").map_or(0x616d_696e, |text| text.parse().unwrap());
    println!("TMKMS_TEST_SEED={seed}");
    let listener = listener();
    let mut random = Random(seed);
    let mut replay = Vec::new();
    let mut kinds = [0; KINDS];
    for variant in 0..VARIANTS {
        let kind = variant % KINDS;
        let generation = [Generation::Legacy, Generation::V033][variant / KINDS % 2];
        let (result, rest) = dialled(&listener, |stream| {
            let node = Node::greet(stream, &mut random);
            let challenge = node.challenge(generation);
            let good = node.frame(&proof(&challenge));
            let honest = [&node.public[..], &good].concat();
            let bytes = match kind {
                // Cut off anywhere.
                0 => honest[..random.below(honest.len())].to_vec(),
                1 => {
                    let mut bytes = honest;
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                    bytes
                }
                2 => {
                    let size = random.below(3000);
                    random.bytes(size)
                }
                3 => [&[0; 32][..], &good].concat(),
                // Our own key back.
                4 => [&node.theirs[..], &good].concat(),
                // A proof of something else.
                5 => {
                    let mut wrong = challenge;
                    wrong[random.below(32)] ^= 1 << random.below(8);
                    [&node.public[..], &node.frame(&proof(&wrong))].concat()
                }
                6 => {
                    let bad = malformed(proof(&challenge), &mut random);
                    [&node.public[..], &node.frame(&bad)].concat()
                }
                // The proof of another session.
                7 => [&node.public[..], &replay].concat(),
                // The proof in the words of v0.34.
                8 => {
                    let amino = proof(&challenge);
                    let mut words = vec![0x66, 0x0a, 0x22, 0x0a, 0x20];
                    words.extend(&amino[8..]);
                    [&node.public[..], &node.frame(&words)].concat()
                }
                // The bit that X25519 does not look at.
                9 => {
                    let mut bytes = honest;
                    bytes[31] ^= 0x80;
                    bytes
                }
                _ => [&good[..], &node.public].concat(),
            };
            replay = good;
            node.rest(&bytes)
        });
        let error = result.map(|_| ()).expect_err("it must not succeed");
        assert!(
            rest.is_empty(),
            "kind {kind}: {error:?} after {} bytes",
            rest.len()
        );
        kinds[kind] += 1;
    }
    assert!(kinds.iter().all(|&count| count == VARIANTS / KINDS));
}
