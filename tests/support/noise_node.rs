//! A node's side of `noise://`, from the library that the signer uses too; what proves it are the vectors and real nodes.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "shared by several test crates, none of which uses all of it; a test fails by panicking"
)]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use ed25519_dalek::Signer as _;
use snow::{Builder, HandshakeState, TransportState};
use tmkms::{
    connection::{Address, ConnectionError, Dialled, Identity, Libp2pId, Limits, dial_within},
    crypto::PublicKey,
    shutdown::Shutdown,
};

pub const PROTOCOL: &str = "Noise_XX_25519_ChaChaPoly_SHA256";

/// The side of the node, from the library that both sides of this test use; the vectors come from another one.
pub fn responder(static_secret: &[u8; 32], ephemeral: Option<&[u8; 32]>) -> HandshakeState {
    let mut builder = Builder::new(PROTOCOL.parse().unwrap())
        .local_private_key(static_secret)
        .unwrap();
    if let Some(ephemeral) = ephemeral {
        builder = builder.fixed_ephemeral_key_for_testing_only(ephemeral);
    }
    builder.build_responder().unwrap()
}

pub fn read(state: &mut HandshakeState, message: &[u8]) -> Vec<u8> {
    let mut payload = vec![0; message.len()];
    let length = state.read_message(message, &mut payload).unwrap();
    payload.truncate(length);
    payload
}

pub fn write(state: &mut HandshakeState, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 65535];
    let length = state.write_message(payload, &mut message).unwrap();
    message.truncate(length);
    message
}

/// `u16 length ‖ message`.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes()[..], message].concat()
}

/// Who the stand-in node is.
pub enum NodeKey {
    Ed25519(ed25519_dalek::SigningKey),
    Secp256k1(k256::ecdsa::SigningKey),
}

impl NodeKey {
    pub fn id(&self) -> Libp2pId {
        let key = match self {
            Self::Ed25519(key) => PublicKey::ed25519(key.verifying_key().as_bytes()),
            Self::Secp256k1(key) => {
                PublicKey::secp256k1(key.verifying_key().to_encoded_point(true).as_bytes())
            }
        };
        Libp2pId::of(&key.unwrap()).unwrap()
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Self::Secp256k1(key) => {
                use k256::ecdsa::{Signature, signature::Signer as _};
                let signature: Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        }
    }

    /// The payload that proves `static_key`, with what a later libp2p may add.
    pub fn payload(&self, static_key: &[u8; 32]) -> Vec<u8> {
        let message = [&b"noise-libp2p-static-key:"[..], static_key].concat();
        let (key, signature) = (self.id().message(), self.sign(&message));
        let mut payload = vec![0x0a, key.len() as u8];
        payload.extend(key);
        payload.extend([0x12, signature.len() as u8]);
        payload.extend(signature);
        payload.extend([0x22, 6, 0x12, 4]);
        payload.extend(b"/mux");
        payload
    }
}

pub fn ed25519() -> NodeKey {
    NodeKey::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[9; 32]))
}

pub fn secp256k1() -> NodeKey {
    NodeKey::Secp256k1(k256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap())
}

pub const STATIC: [u8; 32] = [0x31; 32];

pub fn static_public() -> [u8; 32] {
    x25519_dalek::x25519(STATIC, x25519_dalek::X25519_BASEPOINT_BYTES)
}

pub fn us() -> Identity {
    Identity::from_seed(&[1; 32])
}

pub fn limits() -> Limits {
    Limits {
        handshake: Duration::from_secs(20),
        idle: Duration::from_secs(20),
        ..Limits::default()
    }
}

/// Dials a node whose side is `node`, which gets the stream.
pub fn against<T: Send>(
    pinned: &Libp2pId,
    limits: Limits,
    node: impl FnOnce(TcpStream) -> T + Send,
) -> (Result<Dialled, ConnectionError>, T) {
    played(node, |port| {
        dial_within(limits, &at(pinned, port), Some(&us()), &Shutdown::new())
    })
}

/// The same, and waits for requests until the connection ends.
pub fn against_until<T: Send>(
    pinned: &Libp2pId,
    limits: Limits,
    shutdown: &Shutdown,
    node: impl FnOnce(TcpStream) -> T + Send,
) -> (ConnectionError, T) {
    played(node, |port| {
        let mut dialled = match dial_within(limits, &at(pinned, port), Some(&us()), shutdown) {
            Ok(dialled) => dialled,
            Err(error) => return error,
        };
        loop {
            if let Err(error) = dialled.connection.read() {
                return error;
            }
        }
    })
}

/// A name, which nodes do not take here but we do.
fn at(pinned: &Libp2pId, port: u16) -> Address {
    Address::parse(&format!("noise://{pinned}@localhost:{port}")).unwrap()
}

fn played<T: Send, S>(
    node: impl FnOnce(TcpStream) -> T + Send,
    signer: impl FnOnce(u16) -> S,
) -> (S, T) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::scope(|scope| {
        let node = scope.spawn(move || node(listener.accept().unwrap().0));
        let ended = signer(port);
        (ended, node.join().unwrap())
    })
}

pub fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    message
}

/// The node's side, as far as the signer's proof, which it gives as well.
pub fn handshake(stream: &mut TcpStream, payload: &[u8]) -> (TransportState, Vec<u8>) {
    let mut state = responder(&STATIC, None);
    read(&mut state, &receive(stream));
    stream
        .write_all(&framed(&write(&mut state, payload)))
        .unwrap();
    let proof = read(&mut state, &receive(stream));
    (state.into_transport_mode().unwrap(), proof)
}

pub fn sealed(state: &mut TransportState, data: &[u8]) -> Vec<u8> {
    let mut message = vec![0; data.len() + 16];
    state.write_message(data, &mut message).unwrap();
    framed(&message)
}
