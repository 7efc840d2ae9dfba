//! `noise://` with a node's side that is written here: what it promises, and hostile nodes.
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

use std::{
    env,
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use snow::{HandshakeState, TransportState};
use tmkms::{
    connection::{
        ConnectionError, Limits, Peer,
        noise::{
            NoiseError,
            handshake::{Channel, Hello},
        },
        secret_connection::Generation,
    },
    shutdown::Shutdown,
};

#[path = "support/noise_node.rs"]
mod noise_node;
#[path = "support/peak_memory.rs"]
mod peak_memory;
#[path = "support/random.rs"]
mod random;

use noise_node::{
    NodeKey, STATIC, against, against_until, ed25519, framed, handshake, limits, read, receive,
    responder, sealed, secp256k1, static_public, us, write,
};
use peak_memory::bounded;
use random::Random;

#[test]
fn messages_of_every_size_pass_in_both_directions_with_nodes_of_both_key_types() {
    for node in [ed25519(), secp256k1()] {
        let sizes = [1, 2, 127, 128, 65_518, 65_519, 65_520, 131_038, 1_100_000];
        let (dialled, ()) = against(&node.id(), limits(), |mut stream| {
            let (mut state, proof) = handshake(&mut stream, &node.payload(&static_public()));
            assert_eq!(
                proof[..38],
                [&[0x0a, 36][..], &us().libp2p_id().message()].concat()
            );
            thread::spawn(move || {
                let mut echoed = stream.try_clone().unwrap();
                let mut data = vec![0; 65535];
                let mut odd = 0;
                loop {
                    let mut length = [0; 2];
                    if stream.read_exact(&mut length).is_err() {
                        return;
                    }
                    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut message).unwrap();
                    let length = state.read_message(&message, &mut data).unwrap();
                    assert!(length > 0, "an empty message is never sent");
                    // Back in pieces that have nothing to do with what came, some of them empty.
                    for piece in data[..length].chunks(1 + odd * 7919 % 65_519) {
                        odd += 1;
                        let bytes = sealed(&mut state, piece);
                        let (first, second) = bytes.split_at(odd % bytes.len());
                        echoed.write_all(first).unwrap();
                        echoed.write_all(second).unwrap();
                        if odd % 3 == 0 {
                            echoed.write_all(&sealed(&mut state, &[])).unwrap();
                        }
                    }
                }
            });
        });
        let mut dialled = dialled.unwrap();
        assert_eq!(dialled.peer, Some(Peer::Pinned(node.id())));
        assert_eq!(dialled.generation, Some(Generation::V034));
        for size in sizes {
            let message: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
            dialled.connection.write(&message).unwrap();
            assert!(dialled.connection.read().unwrap() == message, "{size}");
        }
    }
}

#[test]
fn a_node_that_is_not_the_pinned_one_does_not_hear_who_we_are() {
    let (node, other) = (ed25519(), secp256k1());
    for (found, pinned) in [(&node, &other), (&other, &node)] {
        let (dialled, heard) = against(&pinned.id(), limits(), |mut stream| {
            let mut state = responder(&STATIC, None);
            read(&mut state, &receive(&mut stream));
            let answer = write(&mut state, &found.payload(&static_public()));
            stream.write_all(&framed(&answer)).unwrap();
            // A signer that goes on does not hang up.
            let patience = Some(Duration::from_secs(5));
            stream.set_read_timeout(patience).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            rest
        });
        let error = dialled.expect_err("another node");
        assert!(
            matches!(error, ConnectionError::Noise(NoiseError::Peer { pinned: p, found: f })
                if p == pinned.id() && f == found.id()),
            "{error:?}"
        );
        assert!(!error.is_handshake(), "it is dialled again soon");
        assert!(error.hint().unwrap().contains("show-node-id --libp2p"));
        assert!(heard.is_empty(), "{heard:02x?}");
    }
}

#[test]
fn a_node_that_expects_another_signer_is_explained_with_our_peer_id() {
    let node = ed25519();
    let id = us().libp2p_id().to_string();
    // At once, and later than anybody watches: each time before the first request.
    for late in [false, true] {
        let (done, end) = std::sync::mpsc::channel::<()>();
        let (dialled, ()) = against(&node.id(), limits(), |mut stream| {
            let (state, _) = handshake(&mut stream, &node.payload(&static_public()));
            drop(state);
            if late {
                thread::spawn(move || {
                    let _ = end.recv();
                    drop(stream);
                });
            }
        });
        let error = match dialled {
            Err(error) if !late => error,
            Ok(mut dialled) if late => {
                drop(done);
                dialled.connection.read().map(|_| ()).unwrap_err()
            }
            other => panic!("{other:?}"),
        };
        assert!(
            matches!(error, ConnectionError::NotAdmitted { us } if us.to_string() == id),
            "{error:?}"
        );
        assert!(!error.is_handshake(), "it is dialled again soon");
        let hint = error.hint().unwrap();
        assert!(
            hint.contains(&format!("priv_validator_laddr = \"noise://{id}@")),
            "{hint}"
        );
    }
}

#[test]
fn a_node_that_hangs_up_after_its_first_request_has_admitted_us() {
    let node = ed25519();
    let (dialled, ()) = against(&node.id(), limits(), |mut stream| {
        let (mut state, _) = handshake(&mut stream, &node.payload(&static_public()));
        stream
            .write_all(&sealed(&mut state, &[2, 0x3a, 0]))
            .unwrap();
    });
    let mut dialled = dialled.unwrap();
    assert_eq!(dialled.connection.read().unwrap(), [0x3a, 0]);
    let error = dialled.connection.read().map(|_| ()).unwrap_err();
    assert!(matches!(error, ConnectionError::Closed), "{error:?}");
}

#[test]
fn one_deadline_holds_for_the_whole_handshake_however_slow_the_node_is() {
    let node = ed25519();
    let limits = Limits {
        handshake: Duration::from_millis(300),
        ..Limits::default()
    };
    let start = Instant::now();
    let (dialled, ()) = against(&node.id(), limits, |mut stream| {
        let mut state = responder(&STATIC, None);
        read(&mut state, &receive(&mut stream));
        let answer = framed(&write(&mut state, &node.payload(&static_public())));
        stream.set_nodelay(true).unwrap();
        for byte in answer {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::park_timeout(Duration::from_millis(20));
        }
    });
    let error = dialled.expect_err("too slow");
    assert!(
        matches!(error, ConnectionError::HandshakeTimeout { .. }),
        "{error:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_shutdown_ends_every_wait_for_the_node_at_once() {
    let node = ed25519();
    for silent_from in 0..3 {
        let shutdown = Shutdown::new();
        let start = Instant::now();
        let (ended, ()) = against_until(&node.id(), limits(), &shutdown, |mut stream| {
            if silent_from == 0 {
                receive(&mut stream);
            } else {
                let (mut state, _) = handshake(&mut stream, &node.payload(&static_public()));
                if silent_from == 2 {
                    stream
                        .write_all(&sealed(&mut state, &[2, 0x3a, 0]))
                        .unwrap();
                }
            }
            shutdown.request();
            // Until the signer has hung up.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert!(
            matches!(ended, ConnectionError::Shutdown),
            "{silent_from}: {ended:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn what_is_no_noise_listener_is_told_so() {
    for greeting in [
        // A SecretConnection of v0.34 and one before it, HTTP.
        &[&[0x22, 0x0a, 0x20][..], &[7; 32]].concat()[..],
        &[&[0x21, 0x20][..], &[7; 32]].concat(),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        let (dialled, ()) = against(&ed25519().id(), limits(), |mut stream| {
            stream.write_all(greeting).unwrap();
            receive(&mut stream);
        });
        let error = dialled.expect_err("something else");
        assert!(
            matches!(error, ConnectionError::Noise(NoiseError::Length { .. })),
            "{error:?}"
        );
        assert!(error.hint().unwrap().contains("noise://"));
    }
}

#[test]
fn endless_empty_messages_and_a_bad_one_end_the_connection() {
    let node = ed25519();
    let empty: fn(&mut TransportState) -> Vec<u8> =
        |state| (0..40).flat_map(|_| sealed(state, &[])).collect();
    let flipped: fn(&mut TransportState) -> Vec<u8> = |state| {
        let mut bytes = sealed(state, &[2, 0x3a, 0]);
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let twice: fn(&mut TransportState) -> Vec<u8> = |state| {
        let bytes = sealed(state, &[2]);
        [bytes.clone(), bytes].concat()
    };
    let short: fn(&mut TransportState) -> Vec<u8> = |_| framed(&[0; 15]);
    let cut: fn(&mut TransportState) -> Vec<u8> = |state| {
        let mut bytes = sealed(state, &[2, 0x3a, 0]);
        bytes.pop();
        bytes
    };
    for (name, attack) in [
        ("empty", empty),
        ("flipped", flipped),
        ("twice", twice),
        ("short", short),
        ("cut", cut),
    ] {
        let (dialled, ()) = against(&node.id(), limits(), |mut stream| {
            let (mut state, _) = handshake(&mut stream, &node.payload(&static_public()));
            stream.write_all(&attack(&mut state)).unwrap();
        });
        // The watch for a hang-up may see the cut-off message first.
        let mut dialled = dialled.unwrap();
        let error = dialled.connection.read().map(|_| ()).unwrap_err();
        let expected = match name {
            "empty" => matches!(error, ConnectionError::EmptyFrames { count: 17 }),
            "cut" => matches!(error, ConnectionError::Truncated),
            _ => matches!(error, ConnectionError::Noise(NoiseError::Sealed)),
        };
        assert!(expected, "{name}: {error:?}");
        let error = dialled.connection.read().map(|_| ()).unwrap_err();
        assert!(matches!(error, ConnectionError::Dead), "{name}: {error:?}");
    }
}

fn seeded() -> Random {
    let seed = env::var("TMKMS_TEST_SEED").map_or(0x6e6f_6973, |text| text.parse().unwrap());
    println!("TMKMS_TEST_SEED={seed}");
    Random(seed)
}

/// One handshake without sockets, whose second message is made by `second` from the node's state.
fn attempt(
    node: &NodeKey,
    second: impl FnOnce(&mut HandshakeState) -> Vec<u8>,
) -> Result<(Channel, Vec<u8>), NoiseError> {
    let (awaiting, first) = Hello::new().unwrap().start().unwrap();
    let mut state = responder(&STATIC, None);
    read(&mut state, &first);
    awaiting.receive(&second(&mut state), &us(), &node.id())
}

#[test]
fn nobody_gets_through_the_handshake_without_playing_by_its_rules() {
    bounded(hostile_handshakes);
}

fn hostile_handshakes() {
    let mut random = seeded();
    let nodes = [ed25519(), secp256k1()];
    let mut kinds = [0_u32; 5];
    for round in 0..10_000 {
        let (node, kind) = (&nodes[round % 2], round / 2 % 5);
        let good = node.payload(&static_public());
        let result = attempt(node, |state| match kind {
            // Changed on the way.
            0 | 1 => {
                let message = write(state, &good);
                random.mutated(&message)
            }
            2 => {
                let size = random.below(300);
                random.bytes(size)
            }
            // Sealed as it should be, and proving something else.
            3 => {
                let mut other = static_public();
                other[random.below(32)] ^= 1 << random.below(8);
                write(state, &node.payload(&other))
            }
            // Sealed as it should be, with a key or a signature that is changed.
            _ => {
                let mut payload = good.clone();
                let until = payload.len() - 8;
                payload[random.below(until)] ^= 1 << random.below(8);
                write(state, &payload)
            }
        });
        let error = result.map(|_| ()).expect_err("it must not succeed");
        let expected = match kind {
            0..=2 => matches!(
                error,
                NoiseError::Sealed | NoiseError::Malformed | NoiseError::LowOrder
            ),
            3 => error == NoiseError::Signature,
            _ => matches!(
                error,
                NoiseError::Payload
                    | NoiseError::IdentityKey
                    | NoiseError::Peer { .. }
                    | NoiseError::Signature
            ),
        };
        assert!(expected, "kind {kind}: {error:?}");
        kinds[kind] += 1;
    }
    assert_eq!(kinds, [2_000; 5]);
    for node in &nodes {
        attempt(node, |state| write(state, &node.payload(&static_public()))).unwrap();
    }
}

#[test]
fn a_proof_of_another_sessions_key_is_none() {
    let mut other = static_public();
    other[0] ^= 1;
    for node in [ed25519(), secp256k1()] {
        let outcome = attempt(&node, |state| write(state, &node.payload(&other)));
        assert_eq!(outcome.map(|_| ()), Err(NoiseError::Signature));
    }
}

#[test]
fn keys_of_low_order_are_refused_in_both_places() {
    let node = ed25519();
    let mut one = [0; 32];
    one[0] = 1;
    let order_8 = subtle_encoding::hex::decode(
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    )
    .unwrap();
    for low in [vec![0; 32], one.to_vec(), order_8] {
        let error = attempt(&node, |state| {
            let message = write(state, &node.payload(&static_public()));
            [&low, &message[32..]].concat()
        });
        assert_eq!(error.map(|_| ()).unwrap_err(), NoiseError::LowOrder);
    }
}

#[test]
fn nothing_but_the_next_message_opens() {
    bounded(hostile_messages);
}

fn hostile_messages() {
    let mut random = seeded();
    let node = ed25519();
    let (awaiting, first) = Hello::new().unwrap().start().unwrap();
    let mut state = responder(&STATIC, None);
    read(&mut state, &first);
    let second = write(&mut state, &node.payload(&static_public()));
    let (mut channel, proof) = awaiting.receive(&second, &us(), &node.id()).unwrap();
    read(&mut state, &proof);
    let mut state = state.into_transport_mode().unwrap();
    let good = sealed(&mut state, b"\x02\x3a\x00");
    let later = sealed(&mut state, b"\x02\x3a\x00");
    let mut data = Vec::new();
    for _ in 0..10_000 {
        let bad = random.mutated(&good[2..]);
        let error = channel.open(&bad, &mut data).unwrap_err();
        assert!(
            matches!(error, NoiseError::Sealed | NoiseError::Malformed),
            "{error:?}"
        );
    }
    channel.open(&later[2..], &mut data).unwrap_err();
    channel.open(&good[2..], &mut data).unwrap();
    assert_eq!(data, b"\x02\x3a\x00");
    channel.open(&good[2..], &mut data).unwrap_err();
}
