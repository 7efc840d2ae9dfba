//! Two other implementations of SecretConnection as peers, each as the side that dials and the side that accepts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use cometbft_p2p::{ReadMsg, WriteMsg};
use prost::Message;
use tendermint_p2p::secret_connection::Version;
use tmkms::{
    connection::{self, Address, Dialled, Identity, Limits, Peer, secret_connection::Generation},
    shutdown::Shutdown,
};

const IDLE: Duration = Duration::from_secs(10);
const SIZES: [usize; 6] = [0, 1, 1024, 1025, 3000, 100_000];

/// Runs `ours` and `theirs` at the two ends of a connection; who dials is said by the caller.
#[derive(Clone, Copy)]
enum Dials {
    We,
    /// And we are a node of this generation.
    They(Generation),
}

fn run(dials: Dials, ours: impl FnOnce(Dialled), theirs: impl FnOnce(TcpStream) + Send) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let identity = Identity::generate().unwrap();
    thread::scope(|scope| match dials {
        Dials::We => {
            scope.spawn(move || theirs(listener.accept().unwrap().0));
            let address = Address::parse(&format!("tcp://127.0.0.1:{port}")).unwrap();
            ours(connection::dial(&address, Some(&identity), IDLE, &Shutdown::new()).unwrap());
        }
        Dials::They(generation) => {
            scope.spawn(move || theirs(TcpStream::connect(("127.0.0.1", port)).unwrap()));
            let stream = listener.accept().unwrap().0;
            let limits = Limits::with_idle(IDLE);
            ours(connection::accept_tcp_as(generation, limits, stream, &identity).unwrap());
        }
    });
}

fn body(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

/// Sends each body and gets it back reversed, so that an echo of the wrong bytes is noticed.
fn exchange(mut dialled: Dialled, bodies: &[Vec<u8>], expected: impl Fn(&[u8]) -> Vec<u8>) {
    assert!(matches!(dialled.peer, Some(Peer::Unverified(_))));
    for body in bodies {
        dialled.connection.write(body).unwrap();
        assert_eq!(
            dialled.connection.read().unwrap(),
            expected(body),
            "{} bytes",
            body.len()
        );
    }
}

fn reversed(body: &[u8]) -> Vec<u8> {
    body.iter().rev().copied().collect()
}

fn tendermint_peer(version: Version, stream: TcpStream) {
    let key = ed25519_consensus::SigningKey::new(rand_core::OsRng);
    let mut connection =
        tendermint_p2p::secret_connection::SecretConnection::new(stream, key, version).unwrap();
    for _ in SIZES {
        // It knows bytes only, so the messages are taken apart here; and it gives whole frames only.
        let mut bytes = Vec::new();
        let body = loop {
            let mut frame = [0; 1024];
            let count = connection.read(&mut frame).unwrap();
            bytes.extend_from_slice(&frame[..count]);
            let mut rest = &bytes[..];
            let length = prost::encoding::decode_varint(&mut rest).unwrap();
            let length = usize::try_from(length).unwrap();
            if rest.len() >= length {
                assert_eq!(rest.len(), length, "one message at a time");
                break rest;
            }
        };
        let mut reply = Vec::new();
        prost::encoding::encode_varint(body.len() as u64, &mut reply);
        reply.extend(reversed(body));
        connection.write_all(&reply).unwrap();
        connection.flush().unwrap();
    }
}

const GENERATIONS: [(Version, Generation); 3] = [
    (Version::Legacy, Generation::Legacy),
    (Version::V0_33, Generation::V033),
    (Version::V0_34, Generation::V034),
];

#[test]
fn messages_of_every_generation_pass_to_tendermint_p2p_and_back_when_we_dial() {
    let bodies = SIZES.map(body);
    for (version, generation) in GENERATIONS {
        run(
            Dials::We,
            |ours| {
                assert_eq!(ours.generation, Some(generation));
                exchange(ours, &bodies, reversed);
            },
            |stream| tendermint_peer(version, stream),
        );
    }
}

#[test]
fn messages_of_every_generation_pass_to_tendermint_p2p_and_back_when_it_dials() {
    let bodies = SIZES.map(body);
    for (version, generation) in GENERATIONS {
        run(
            Dials::They(generation),
            |ours| exchange(ours, &bodies, reversed),
            |stream| tendermint_peer(version, stream),
        );
    }
}

fn cometbft_peer(stream: TcpStream) {
    let key = cometbft_p2p::IdentitySecret::generate(&mut rand_core::OsRng);
    let mut connection = cometbft_p2p::SecretConnection::new(stream, &key).unwrap();
    for _ in COMETBFT_SIZES {
        let message: Vec<u8> = connection.read_msg().unwrap();
        connection.write_msg(&reversed(&message)).unwrap();
    }
}

/// This one knows protobuf messages only, so the bodies are `BytesValue`s. From 128 bytes on they and the length before them are
/// five bytes longer: 1,019 fill a frame, 1,020 need a second one.
const COMETBFT_SIZES: [usize; 9] = [0, 1, 1019, 1020, 1021, 1024, 1025, 3000, 100_000];

fn cometbft_exchange(ours: Dialled) {
    let bodies: Vec<_> = COMETBFT_SIZES.map(|size| body(size).encode_to_vec()).into();
    exchange(ours, &bodies, |body| {
        reversed(&Vec::<u8>::decode(body).unwrap()).encode_to_vec()
    });
}

#[test]
fn messages_pass_to_cometbft_p2p_and_back_when_we_dial() {
    run(Dials::We, cometbft_exchange, cometbft_peer);
}

#[test]
fn messages_pass_to_cometbft_p2p_and_back_when_it_dials() {
    run(
        Dials::They(Generation::V034),
        cometbft_exchange,
        cometbft_peer,
    );
}
