//! Hostile variants of each message of a SecretConnection's handshake, in each generation, and of its frames, without a socket:
//! nobody is believed who says anything but what an honest node says.
//!
//! `TMKMS_TEST_SEED` repeats a run.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test ends at the first surprise"
)]

use std::env;

use ed25519_dalek::{Signer as _, SigningKey};
use tmkms::{
    connection::{
        Identity,
        secret_connection::{
            Generation, HandshakeError,
            frame::{Opener, SEALED, Sealer},
            handshake::Hello,
            keys::{self, Derived, Side},
        },
    },
    crypto::PublicKey,
};

#[path = "support/peak_memory.rs"]
mod peak_memory;
#[path = "support/random.rs"]
mod random;

use peak_memory::bounded;
use random::Random;

/// Variants of each message.
const EACH: usize = 10_000;

/// Our ephemeral secret and the node's.
const OURS: [u8; 32] = [1; 32];
const THEIRS: [u8; 32] = [2; 32];

/// What an honest node of a generation sends: its key in clear, and its proof in a frame.
struct Node {
    generation: Generation,
    ephemeral: Vec<u8>,
    proof: Vec<u8>,
    sealing_key: [u8; 32],
}

fn greeting(generation: Generation, secret: &[u8; 32]) -> Vec<u8> {
    let hello = Hello::hazmat_from_secret(secret);
    match generation {
        Generation::V034 => hello.message().to_vec(),
        _ => hello.amino_message().to_vec(),
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

impl Node {
    fn new(generation: Generation) -> Self {
        let ephemeral = greeting(generation, &THEIRS);
        let ours = *greeting(generation, &OURS).last_chunk().unwrap();
        let theirs = *ephemeral.last_chunk().unwrap();
        let dh = x25519_dalek::x25519(THEIRS, ours);
        let (low, high, side) = if theirs < ours {
            (theirs, ours, Side::Lower)
        } else {
            (ours, theirs, Side::Upper)
        };
        let derived = Derived::new(&dh, side);
        let challenge = match generation {
            Generation::Legacy => *derived.legacy_challenge(),
            _ => keys::challenge(&low, &high, &dh),
        };
        let before: &[u8] = match generation {
            Generation::V034 => &[0x66, 0x0a, 0x22, 0x0a, 0x20],
            _ => &[0x69, 0x0a, 0x25, 0x16, 0x24, 0xde, 0x64, 0x20],
        };
        let (public, signature) = (key().verifying_key(), key().sign(&challenge).to_bytes());
        let proof = [before, public.as_bytes(), &[0x12, 0x40], &signature].concat();
        Self {
            generation,
            ephemeral,
            proof,
            sealing_key: *derived.send_key(),
        }
    }

    fn frame(&self, proof: &[u8]) -> [u8; SEALED] {
        let mut frame = Vec::new();
        let mut sealer = Sealer::new(&self.sealing_key);
        sealer.seal(&[], proof, &mut frame).unwrap();
        *frame.first_chunk().unwrap()
    }

    /// Who is believed to have sent this.
    fn believed(
        &self,
        ephemeral: &[u8],
        mut frame: [u8; SEALED],
    ) -> Result<PublicKey, HandshakeError> {
        let (hello, us) = (
            Hello::hazmat_from_secret(&OURS),
            Identity::from_seed(&[4; 32]),
        );
        if self.generation == Generation::V034 {
            let (next, _) = hello.receive(ephemeral.try_into().unwrap(), &us)?;
            return Ok(next.receive(&mut frame)?.peer);
        }
        let next = hello.receive_amino(ephemeral.try_into().unwrap())?;
        let (done, generation, _) = next.receive(&mut frame, &us)?;
        assert_eq!(generation, self.generation);
        Ok(done.peer)
    }
}

/// A first message of the right length that an honest node does not send.
fn hostile_key(node: &Node, random: &mut Random) -> Vec<u8> {
    let length = node.ephemeral.len();
    let mut bytes = node.ephemeral.clone();
    let key = length - 32;
    match random.below(6) {
        0 => bytes = random.bytes(length),
        1 => bytes[key..].copy_from_slice(&random.bytes(32)),
        2 => {
            // Zero and one, and what is the same modulo the prime.
            let small = random.below(2);
            bytes[key..].fill(0xff * (random.below(2) as u8));
            bytes[key] = if bytes[key] == 0 { 0 } else { 0xed } + small as u8;
            bytes[length - 1] = bytes[length - 1] & 0x7f | (random.below(2) as u8) << 7;
        }
        3 => bytes = greeting(node.generation, &OURS),
        4 => bytes[random.below(key)] ^= 1 << random.below(8),
        _ => bytes[key + random.below(32)] ^= 1 << random.below(8),
    }
    bytes
}

fn seeded() -> Random {
    let seed = env::var("TMKMS_TEST_SEED").map_or(0x6865_6c6c, |text| text.parse().unwrap());
    println!("TMKMS_TEST_SEED={seed}");
    Random(seed)
}

fn attack(generation: Generation) {
    let mut random = seeded();
    let node = Node::new(generation);
    let honest = node.frame(&node.proof);
    let known = PublicKey::ed25519(key().verifying_key().as_bytes()).unwrap();
    assert_eq!(node.believed(&node.ephemeral, honest), Ok(known));
    for _ in 0..EACH {
        let ephemeral = hostile_key(&node, &mut random);
        let outcome = node.believed(&ephemeral, honest);
        assert!(outcome.is_err(), "{generation:?}: {ephemeral:02x?}");
    }
    for variant in 0..EACH {
        // Sealed as it should be, or changed on the way.
        let frame = if variant % 2 == 0 {
            node.frame(&random.mutated(&node.proof))
        } else {
            let mut frame = honest;
            for _ in 0..=random.below(4) {
                frame[random.below(SEALED)] = random.below(256) as u8;
            }
            frame
        };
        let outcome = node.believed(&node.ephemeral, frame);
        assert!(
            frame == honest || outcome.is_err(),
            "{generation:?}: {frame:02x?}"
        );
    }
}

#[test]
fn nothing_but_the_next_frame_opens() {
    bounded(|| {
        let mut random = seeded();
        let key = [5; 32];
        let mut sealed = Vec::new();
        let data = random.bytes(1_500);
        Sealer::new(&key).seal(&[], &data, &mut sealed).unwrap();
        let frames = sealed.as_chunks::<SEALED>().0;
        let mut refused = 0;
        for variant in 0..EACH {
            let mut frame = frames[variant % 2];
            match random.below(3) {
                0 => frame[random.below(SEALED)] ^= 1 << random.below(8),
                1 => frame = *random.bytes(SEALED).first_chunk().unwrap(),
                _ => {
                    // A piece of the other frame.
                    let at = random.below(SEALED);
                    frame[at..].copy_from_slice(&frames[1 - variant % 2][at..]);
                }
            }
            if frame == frames[0] {
                continue;
            }
            let mut opener = Opener::new(&key);
            assert!(opener.open(&mut frame).is_err(), "{variant}");
            refused += 1;
        }
        assert!(refused > EACH - 20, "{refused}");
        let mut opener = Opener::new(&key);
        let opened = frames.iter().map(|frame| {
            let mut frame = *frame;
            opener.open(&mut frame).unwrap().to_vec()
        });
        assert_eq!(opened.collect::<Vec<_>>().concat(), data);
    });
}

#[test]
fn nobody_is_believed_who_is_no_honest_node_up_to_v0_32() {
    bounded(|| attack(Generation::Legacy));
}

#[test]
fn nobody_is_believed_who_is_no_honest_node_of_v0_33() {
    bounded(|| attack(Generation::V033));
}

#[test]
fn nobody_is_believed_who_is_no_honest_node_since_v0_34() {
    bounded(|| attack(Generation::V034));
}
