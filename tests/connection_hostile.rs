//! Hostile peers, before and after authentication: no panic, no forged message, bounded memory, and the session ends.
//!
//! `TMKMS_TEST_SEED` repeats a run, `TMKMS_TEST_SECONDS` makes each of the two large tests go on for so long.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test ends at the first surprise"
)]

#[path = "support/peak_memory.rs"]
mod peak_memory;
#[path = "support/random.rs"]
mod random;

use std::{
    env,
    io::{Read, Write},
    net::{Shutdown as End, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use peak_memory::peak_memory;
use random::Random;
use rustix::net::sockopt::set_socket_linger;
use tmkms::connection::{
    self, Connection, ConnectionError, Dialled, Identity, Limits,
    secret_connection::{
        FrameError, HandshakeError,
        frame::{SEALED, Sealer},
        handshake::Hello,
        keys::{self, Derived, Side},
    },
};

/// Variants before and after authentication: together 10,000.
const BEFORE: u64 = 5_400;
const AFTER: u64 = 4_800;

fn seed() -> u64 {
    let seed = env::var("TMKMS_TEST_SEED").map_or(0x7a6b_6d73, |text| text.parse().unwrap());
    println!("TMKMS_TEST_SEED={seed}");
    seed
}

/// Counts up to `minimum`, and on for as long as `TMKMS_TEST_SECONDS` says.
fn rounds(minimum: u64) -> impl Iterator<Item = u64> {
    let seconds = env::var("TMKMS_TEST_SECONDS").map_or(0, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    (0..).take_while(move |&round| round < minimum || Instant::now() < end)
}

fn limits() -> Limits {
    Limits {
        handshake: Duration::from_secs(20),
        idle: Duration::from_secs(20),
        ..Limits::default()
    }
}

/// What the peer knows after its half of an honest handshake.
struct Attacker {
    stream: TcpStream,
    secret: [u8; 32],
    public: [u8; 32],
    victim: [u8; 35],
}

impl Attacker {
    /// Reads the victim's first message.
    fn new(mut stream: TcpStream, random: &mut Random) -> Self {
        let mut victim = [0; 35];
        stream.read_exact(&mut victim).unwrap();
        let secret = random.bytes(32).try_into().unwrap();
        let public = x25519_dalek::x25519(secret, x25519_dalek::X25519_BASEPOINT_BYTES);
        Self {
            stream,
            secret,
            public,
            victim,
        }
    }

    fn hello(&self) -> Vec<u8> {
        Hello::hazmat_from_secret(&self.secret).message().to_vec()
    }

    /// The key to seal with, and what the victim wants signed.
    fn agree(&self) -> (Sealer, [u8; 32]) {
        let theirs = self.victim[3..].try_into().unwrap();
        let dh = x25519_dalek::x25519(self.secret, theirs);
        let (low, high, side) = if self.public < theirs {
            (self.public, theirs, Side::Lower)
        } else {
            (theirs, self.public, Side::Upper)
        };
        let derived = Derived::new(&dh, side);
        let challenge = keys::challenge(&low, &high, &dh);
        (Sealer::new(&derived.send_key()), challenge)
    }

    fn proof(challenge: &[u8; 32]) -> Vec<u8> {
        use ed25519_dalek::{Signer, SigningKey};
        let key = SigningKey::from_bytes(&[9; 32]);
        let mut message = vec![0x66, 0x0a, 0x22, 0x0a, 0x20];
        message.extend(key.verifying_key().as_bytes());
        message.extend([0x12, 0x40]);
        message.extend(key.sign(challenge).to_bytes());
        message
    }

    /// The honest handshake, after which anything can be sealed.
    fn authenticate(&mut self) -> Sealer {
        let (mut sealer, challenge) = self.agree();
        let mut bytes = self.hello();
        bytes.extend(seal(&mut sealer, &Self::proof(&challenge)));
        self.stream.write_all(&bytes).unwrap();
        sealer
    }
}

fn seal(sealer: &mut Sealer, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sealer.seal(&[], data, &mut out).unwrap();
    out
}

/// Lets `attack` loose on one handshake, and gives what became of it. The attacker's sending side is closed after the attack,
/// so that the victim never waits for more.
fn against<T: Send>(
    listener: &TcpListener,
    random: &mut Random,
    attack: impl FnOnce(&mut Attacker, &mut Random),
    victim: impl FnOnce(Result<Dialled, ConnectionError>) -> T + Send,
) -> T {
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // Thousands of connections would otherwise wait in the kernel for a minute.
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    let accepted = listener.accept().unwrap().0;
    thread::scope(|scope| {
        let victim = scope.spawn(|| {
            let identity = Identity::from_seed(&[3; 32]);
            victim(connection::accept_tcp_within(limits(), accepted, &identity))
        });
        let mut attacker = Attacker::new(stream, random);
        attack(&mut attacker, random);
        // Fails when the victim has hung up already.
        let _ = attacker.stream.shutdown(End::Write);
        victim.join().unwrap()
    })
}

fn send(attacker: &mut Attacker, bytes: &[u8]) {
    // The victim may hang up at any time; that is what the test is about.
    let _ = attacker.stream.write_all(bytes);
}

#[test]
fn nobody_gets_through_the_handshake_without_playing_by_its_rules() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut random = Random(seed());
    let mut kinds = [0_u32; 12];
    let before = peak_memory();
    let mut replay = Vec::new();
    for round in rounds(BEFORE) {
        let kind = (round % 12) as usize;
        let attack = |attacker: &mut Attacker, random: &mut Random| {
            let (mut sealer, challenge) = attacker.agree();
            let hello = attacker.hello();
            let proof = Attacker::proof(&challenge);
            let honest = [hello.clone(), seal(&mut sealer, &proof)].concat();
            let (mut fresh, _) = attacker.agree();
            let bytes = match kind {
                // Cut off anywhere.
                0 => honest[..random.below(honest.len())].to_vec(),
                // One bit flipped anywhere.
                1 | 2 => {
                    let mut bytes = honest;
                    let limit = if kind == 1 { 35 } else { bytes.len() };
                    bytes[random.below(limit)] ^= 1 << random.below(8);
                    bytes
                }
                3 => {
                    let size = random.below(3000);
                    random.bytes(size)
                }
                4 => [
                    [0x22, 0x0a, 0x20].as_slice(),
                    &low_order(random),
                    &honest[35..],
                ]
                .concat(),
                // Our own words back.
                5 => [&attacker.victim[..], &honest[35..]].concat(),
                6 => vec![0x02, 0x0a, 0x20],
                7 => [&[0x21, 0x20][..], &honest[3..]].concat(),
                // A proof of something else.
                8 => {
                    let mut wrong = challenge;
                    wrong[random.below(32)] ^= 1 << random.below(8);
                    [hello, seal(&mut fresh, &Attacker::proof(&wrong))].concat()
                }
                // A proof that is malformed, and sealed as it should be.
                9 => [hello, seal(&mut fresh, &malformed(proof, random))].concat(),
                // The proof of another session.
                10 => [&hello[..], &replay[..]].concat(),
                // The messages in the wrong order, and far too much of them.
                _ => [&honest[35..], &honest[..35]].concat().repeat(200),
            };
            if kind == 9 {
                replay = seal(&mut attacker.agree().0, &Attacker::proof(&challenge));
            }
            send(attacker, &bytes);
        };
        let error = against(&listener, &mut random, attack, |result| {
            result.map(|_| ()).expect_err("it must not succeed")
        });
        assert!(error.is_handshake(), "kind {kind}: {error:?}");
        kinds[kind] += 1;
    }
    assert!(kinds.iter().all(|&count| count >= 400), "{kinds:?}");
    assert!(
        peak_memory() - before < 64 * 1024,
        "KiB more: {}",
        peak_memory() - before
    );
}

fn low_order(random: &mut Random) -> Vec<u8> {
    let mut key = vec![0; 32];
    match random.below(4) {
        0 => {}
        1 => key[0] = 1,
        2 => {
            key = vec![0xff; 32];
            key[0] = 0xec + random.below(3) as u8;
        }
        _ => {
            let hex = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
            key = subtle_encoding::hex::decode(hex).unwrap();
        }
    }
    key[31] = key[31] & 0x7f | (random.below(2) as u8) << 7;
    key
}

/// A proof that says everything but not in the one way that is read.
fn malformed(mut proof: Vec<u8>, random: &mut Random) -> Vec<u8> {
    match random.below(6) {
        0 => proof.truncate(random.below(103)),
        1 => proof.push(0),
        2 => {
            // A secp256k1 key's field.
            proof[3] = 0x12;
        }
        3 => {
            // A key of small order, with a signature that any message would satisfy.
            proof[5..37].copy_from_slice(&{
                let mut identity = [0; 32];
                identity[0] = 1;
                identity
            });
            proof[39..].fill(0);
            proof[39] = 1;
        }
        4 => {
            let at = [0, 1, 2, 3, 4, 37, 38][random.below(7)];
            proof[at] ^= 1 << random.below(8);
        }
        _ => {
            let at = 5 + random.below(98);
            proof[at] ^= 1 << random.below(8);
        }
    }
    proof
}

#[test]
fn each_breach_of_the_handshake_has_its_name() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut random = Random(seed());
    type Attack = fn(&mut Attacker, &mut Random) -> Vec<u8>;
    let cases: [(Attack, HandshakeError); 6] = [
        (
            |_, _| vec![0x02, 0x0a, 0x20],
            HandshakeError::Start {
                start: [0x02, 0x0a],
            },
        ),
        (|_, _| vec![0x21, 0x20, 0x00], HandshakeError::Generation),
        (
            |_, _| [&[0x22, 0x0a, 0x21][..], &[7; 32]].concat(),
            HandshakeError::Ephemeral,
        ),
        (
            |_, random| [vec![0x22, 0x0a, 0x20], low_order(random)].concat(),
            HandshakeError::LowOrder,
        ),
        (
            |attacker, _| attacker.victim.to_vec(),
            HandshakeError::Reflected,
        ),
        (
            |attacker, _| {
                let (mut sealer, _) = attacker.agree();
                let proof = Attacker::proof(&[0; 32]);
                [attacker.hello(), seal(&mut sealer, &proof)].concat()
            },
            HandshakeError::Signature,
        ),
    ];
    for (attack, expected) in cases {
        let error = against(
            &listener,
            &mut random,
            |attacker, random| {
                let bytes = attack(attacker, random);
                send(attacker, &bytes);
            },
            |result| result.map(|_| ()).unwrap_err(),
        );
        match error {
            ConnectionError::Handshake(error) => assert_eq!(error, expected),
            other => panic!("{other:?}, expected {expected:?}"),
        }
    }
}

/// Reads until the connection ends.
fn all_messages(dialled: Result<Dialled, ConnectionError>) -> (Vec<Vec<u8>>, ConnectionError) {
    let mut connection = dialled.expect("an honest handshake").connection;
    let mut messages = Vec::new();
    loop {
        match connection.read() {
            Ok(message) => messages.push(message.to_vec()),
            Err(error) => {
                assert_dead(&mut *connection);
                return (messages, error);
            }
        }
    }
}

fn assert_dead(connection: &mut dyn Connection) {
    assert!(matches!(connection.read(), Err(ConnectionError::Dead)));
    assert!(matches!(connection.write(b"x"), Err(ConnectionError::Dead)));
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(message.len() as u64, &mut bytes);
    bytes.extend_from_slice(message);
    bytes
}

#[test]
fn after_authentication_only_what_was_sealed_in_its_turn_is_read() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut random = Random(seed() ^ 1);
    let before = peak_memory();
    for round in rounds(AFTER) {
        // Frames cost time in a debug build, so what needs many of them is tried less often.
        let kind = if round % 50 == 0 { 7 } else { round % 7 };
        let sent: Vec<_> = [100, 1500, 100]
            .map(|limit| {
                let size = random.below(limit);
                random.bytes(size)
            })
            .into();
        let attack = |attacker: &mut Attacker, random: &mut Random| {
            let mut sealer = attacker.authenticate();
            let mut frames: Vec<Vec<u8>> = Vec::new();
            for message in &sent {
                let sealed = seal(&mut sealer, &framed(message));
                frames.extend(sealed.chunks(SEALED).map(<[u8]>::to_vec));
            }
            let at = random.below(frames.len());
            match kind {
                0 => frames[at][random.below(SEALED)] ^= 1 << random.below(8),
                // The last frame can be left out without anybody noticing anything but the end.
                1 => drop(frames.remove(at)),
                2 => {
                    let other = random.below(frames.len());
                    frames.swap(at, other);
                }
                3 => {
                    let copy = frames[at].clone();
                    frames.insert(at + 1, copy);
                }
                4 => frames[at].truncate(random.below(SEALED)),
                5 => {
                    let size = random.below(2000);
                    let garbage = random.bytes(size);
                    frames.insert(at, garbage);
                }
                // Sealed as it should be, but no message: a length that is too long, or too long written.
                6 => {
                    let length: &[u8] = match random.below(3) {
                        0 => &[0xff; 10],
                        1 => &[0x80, 0x00],
                        _ => &[0x81, 0x9f, 0x49],
                    };
                    frames.push(seal(&mut sealer, length));
                    frames.push(seal(&mut sealer, &[0; 1024]));
                }
                _ => frames.extend((0..17).map(|_| seal(&mut sealer, &[]))),
            }
            send(attacker, &frames.concat());
        };
        let (got, error) = against(&listener, &mut random, attack, all_messages);
        assert!(
            sent.starts_with(&got),
            "kind {kind}: a message that was not sent"
        );
        match kind {
            6 => {
                assert_eq!(got, sent);
                assert!(
                    matches!(
                        error,
                        ConnectionError::TooLong { .. } | ConnectionError::BadLength
                    ),
                    "{error:?}"
                );
            }
            7 => {
                assert_eq!(got, sent);
                assert!(
                    matches!(error, ConnectionError::EmptyFrames { .. }),
                    "{error:?}"
                );
            }
            3 => assert!(
                matches!(error, ConnectionError::Frame(FrameError::Sealed)),
                "{error:?}"
            ),
            _ => {}
        }
    }
    assert!(
        peak_memory() - before < 64 * 1024,
        "KiB more: {}",
        peak_memory() - before
    );
}

#[test]
fn messages_need_not_begin_or_end_where_frames_do() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut random = Random(seed() ^ 2);
    let sent: Vec<_> = [0, 1, 5, 127, 128, 1023, 1024, 1025, 3000, 0, 20_000, 2]
        .map(|size| random.bytes(size))
        .into();
    for _ in 0..6 {
        let attack = |attacker: &mut Attacker, random: &mut Random| {
            let mut sealer = attacker.authenticate();
            let stream: Vec<u8> = sent.iter().flat_map(|message| framed(message)).collect();
            let mut rest = &stream[..];
            let mut bytes = Vec::new();
            while !rest.is_empty() {
                let empty = if random.below(8) == 0 { 16 } else { 0 };
                for _ in 0..empty {
                    bytes.extend(seal(&mut sealer, &[]));
                }
                let (piece, later) = rest.split_at(rest.len().min(1 + random.below(1024)));
                bytes.extend(seal(&mut sealer, piece));
                rest = later;
            }
            send(attacker, &bytes);
        };
        let (got, error) = against(&listener, &mut random, attack, all_messages);
        assert_eq!(got, sent);
        assert!(matches!(error, ConnectionError::Closed), "{error:?}");
    }
}
