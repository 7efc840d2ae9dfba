//! A node's side of the SecretConnection of v0.34 and later (`protocol.md` 1; Go's `p2p/conn/secret_connection.go`).
//!
//! Written apart from the signer's own, so that the two check each other.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::fd::{AsFd, BorrowedFd},
};

use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use merlin::Transcript;
use prost::Message as _;
use sha2::Sha256;
use x25519_dalek::{EphemeralSecret, PublicKey};

/// Length prefix (4), data and padding (1,024), tag (16).
pub const FRAME: usize = 1_044;
/// A frame without its tag.
const PLAIN: usize = 1_028;
/// The most data that one frame carries.
const CHUNK: usize = 1_024;

/// `BytesValue`, framed: the ephemeral key of either side.
const EPHEMERAL_PREFIX: [u8; 3] = [0x22, 0x0a, 0x20];

/// One direction's cipher and its frame counter.
pub struct Cipher {
    aead: ChaCha20Poly1305,
    counter: u64,
}

impl Cipher {
    /// A cipher at its first frame; `key` has 32 bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            aead: ChaCha20Poly1305::new(Key::from_slice(key)),
            counter: 0,
        }
    }

    /// Puts at most 1,024 bytes into a frame and seals it.
    pub fn seal(&mut self, chunk: &[u8], frame: &mut [u8; FRAME]) -> io::Result<()> {
        let (plain, tag) = frame.split_at_mut(PLAIN);
        let (len, data) = plain.split_at_mut(4);
        let chunk_len = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        len.copy_from_slice(&chunk_len.to_le_bytes());
        let Some((used, padding)) = data.split_at_mut_checked(chunk.len()) else {
            return Err(io::Error::other("a chunk is at most 1,024 bytes"));
        };
        used.copy_from_slice(chunk);
        padding.fill(0);
        let nonce = self.next_nonce();
        let sealed = self
            .aead
            .encrypt_in_place_detached(&nonce, &[], plain)
            .map_err(|_| io::Error::other("a frame could not be sealed"))?;
        tag.copy_from_slice(&sealed);
        Ok(())
    }

    /// Opens a frame in place and gives its data.
    pub fn open<'a>(&mut self, frame: &'a mut [u8; FRAME]) -> io::Result<&'a [u8]> {
        let (plain, tag) = frame.split_at_mut(PLAIN);
        let nonce = self.next_nonce();
        self.aead
            .decrypt_in_place_detached(&nonce, &[], plain, Tag::from_slice(tag))
            .map_err(|_| io::Error::other("a frame was not sealed by the signer"))?;
        let (len, data) = plain.split_at(4);
        let len = <[u8; 4]>::try_from(len).map(u32::from_le_bytes);
        len.ok()
            .and_then(|len| data.get(..usize::try_from(len).ok()?))
            .ok_or_else(|| io::Error::other("a frame claims more data than it can hold"))
    }

    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = Nonce::default();
        nonce
            .as_mut_slice()
            .split_at_mut(4)
            .1
            .copy_from_slice(&self.counter.to_le_bytes());
        self.counter += 1;
        nonce
    }
}

/// An authenticated stream of frames.
pub struct SecretLink {
    stream: TcpStream,
    send: Cipher,
    receive: Cipher,
    frame: Box<[u8; FRAME]>,
    /// The signer's identity key.
    pub peer: VerifyingKey,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AuthSigMessage {
    #[prost(message, optional, tag = "1")]
    pub_key: Option<super::wire::PublicKey>,
    #[prost(bytes = "vec", tag = "2")]
    sig: Vec<u8>,
}

impl AsFd for SecretLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl SecretLink {
    /// The whole handshake, with `identity` as the node's key.
    pub fn handshake(mut stream: TcpStream, identity: &SigningKey) -> io::Result<Self> {
        let secret = EphemeralSecret::random_from_rng(rand_core::OsRng);
        let ours = PublicKey::from(&secret).to_bytes();
        let mut hello = EPHEMERAL_PREFIX.to_vec();
        hello.extend_from_slice(&ours);
        stream.write_all(&hello)?;
        let mut prefix = [0; 3];
        stream.read_exact(&mut prefix)?;
        if prefix != EPHEMERAL_PREFIX {
            return Err(io::Error::other(
                "the signer's first message is no ephemeral key",
            ));
        }
        let mut theirs = [0; 32];
        stream.read_exact(&mut theirs)?;
        let shared = secret.diffie_hellman(&PublicKey::from(theirs));
        if !shared.was_contributory() {
            return Err(io::Error::other("the signer's ephemeral key has low order"));
        }
        let (challenge, first, second) = derive(&ours, &theirs, shared.as_bytes());
        // The side with the smaller key receives with the first half.
        let (receive, send) = if ours < theirs {
            (first, second)
        } else {
            (second, first)
        };
        let mut link = Self {
            stream,
            send: Cipher::new(&send),
            receive: Cipher::new(&receive),
            frame: Box::new([0; FRAME]),
            peer: identity.verifying_key(),
        };
        link.authenticate(&challenge, identity)?;
        Ok(link)
    }

    /// Sends a whole message in as many frames as it needs, with one write.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if message.len() <= CHUNK {
            self.send.seal(message, &mut self.frame)?;
            return self.stream.write_all(self.frame.as_slice());
        }
        let mut frames = Vec::with_capacity(message.len().div_ceil(CHUNK) * FRAME);
        for chunk in message.chunks(CHUNK) {
            self.send.seal(chunk, &mut self.frame)?;
            frames.extend_from_slice(self.frame.as_slice());
        }
        self.stream.write_all(&frames)
    }

    /// Reads one frame and appends its data.
    pub fn receive(&mut self, data: &mut Vec<u8>) -> io::Result<()> {
        self.stream.read_exact(self.frame.as_mut_slice())?;
        data.extend_from_slice(self.receive.open(&mut self.frame)?);
        Ok(())
    }

    fn authenticate(&mut self, challenge: &[u8; 32], identity: &SigningKey) -> io::Result<()> {
        let auth = AuthSigMessage {
            pub_key: Some(super::wire::PublicKey {
                ed25519: Some(identity.verifying_key().to_bytes().to_vec()),
                ..super::wire::PublicKey::default()
            }),
            sig: identity.sign(challenge).to_bytes().to_vec(),
        };
        self.send(&auth.encode_length_delimited_to_vec())?;
        let mut reply = Vec::new();
        self.receive(&mut reply)?;
        let auth =
            AuthSigMessage::decode_length_delimited(reply.as_slice()).map_err(io::Error::other)?;
        let key = auth.pub_key.and_then(|key| key.ed25519).unwrap_or_default();
        let key = <&[u8; 32]>::try_from(key.as_slice()).map_err(io::Error::other)?;
        self.peer = VerifyingKey::from_bytes(key).map_err(io::Error::other)?;
        let signature =
            ed25519_dalek::Signature::from_slice(&auth.sig).map_err(io::Error::other)?;
        self.peer
            .verify_strict(challenge, &signature)
            .map_err(io::Error::other)
    }
}

/// The challenge and the two frame keys.
fn derive(ours: &[u8; 32], theirs: &[u8; 32], shared: &[u8; 32]) -> ([u8; 32], [u8; 32], [u8; 32]) {
    let mut keys = [[0_u8; 32]; 2];
    let mut okm = [0_u8; 64];
    Hkdf::<Sha256>::new(None, shared)
        .expand(
            b"TENDERMINT_SECRET_CONNECTION_KEY_AND_CHALLENGE_GEN",
            &mut okm,
        )
        .expect("64 bytes are fewer than HKDF can give");
    for (key, half) in keys.iter_mut().zip(okm.chunks(32)) {
        key.copy_from_slice(half);
    }
    let mut transcript = Transcript::new(b"TENDERMINT_SECRET_CONNECTION_TRANSCRIPT_HASH");
    transcript.append_message(b"EPHEMERAL_LOWER_PUBLIC_KEY", ours.min(theirs));
    transcript.append_message(b"EPHEMERAL_UPPER_PUBLIC_KEY", ours.max(theirs));
    transcript.append_message(b"DH_SECRET", shared);
    let mut challenge = [0; 32];
    transcript.challenge_bytes(b"SECRET_CONNECTION_MAC", &mut challenge);
    let [first, second] = keys;
    (challenge, first, second)
}
