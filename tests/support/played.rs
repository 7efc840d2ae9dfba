//! A session without a socket: the requests stand in a list, the replies are kept.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    reason = "shared by several test crates, none of which uses all of it; a test fails by panicking"
)]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

use ed25519_dalek::{Signer as _, SigningKey};
use tmkms::{
    chain::{Chain, GuardedKey},
    codec::Codec,
    connection::{Connection, ConnectionError},
    crypto::{PublicKey, Signature},
    event::{Event, Sink},
    keyring::{Key, Signer, SignerError},
    privval::ChainId,
    protection::{
        Guard, Permitted, Record,
        store::file::{self, FileStore},
    },
    session::{Session, SessionError},
};

/// A node that asks what stands in a list and keeps the replies.
#[derive(Default)]
pub struct Script {
    requests: VecDeque<Vec<u8>>,
    current: Vec<u8>,
    pub replies: Vec<Vec<u8>>,
    /// Until when the last reply was held back.
    pub held_until: Option<Instant>,
}

impl Script {
    pub fn asking(requests: &[Vec<u8>]) -> Self {
        Self {
            requests: requests.iter().cloned().collect(),
            ..Self::default()
        }
    }
}

impl Connection for Script {
    fn read(&mut self) -> Result<&[u8], ConnectionError> {
        self.current = self.requests.pop_front().ok_or(ConnectionError::Closed)?;
        Ok(&self.current)
    }

    fn has_more(&self) -> bool {
        false
    }

    fn write(&mut self, body: &[u8]) -> Result<(), ConnectionError> {
        self.replies.push(body.to_vec());
        Ok(())
    }

    fn linger(&mut self, until: Instant) -> Result<(), ConnectionError> {
        self.held_until = Some(until);
        Ok(())
    }
}

/// A key in memory; one that is not ready where the test says so.
struct Soft {
    key: SigningKey,
    public: PublicKey,
    ready: bool,
}

impl Signer for Soft {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
        if !self.ready {
            let reason = "it waits for a person".to_owned();
            return Err(SignerError::Transient { reason });
        }
        let signature = self.key.sign(msg.as_bytes()).to_bytes();
        Ok(Signature::Ed25519(signature))
    }
}

#[derive(Default)]
pub struct Told(Mutex<Vec<Event>>);

impl Sink for Told {
    fn tell(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Told {
    pub fn warnings(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let warning = |event: &Event| match event {
            Event::Warning { text, .. } => Some(text.clone()),
            _ => None,
        };
        events.iter().filter_map(warning).collect()
    }
}

/// The validator's key.
pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// Plays the requests to a signer that has never signed; the replies, how it ended, and what was told.
pub fn play(
    chain_id: &ChainId,
    codec: &mut dyn Codec,
    ready: bool,
    requests: &[Vec<u8>],
) -> (Vec<Vec<u8>>, SessionError, Told) {
    let mut script = Script::asking(requests);
    let (ended, told) = serve(chain_id, codec, ready, &mut script, None);
    (script.replies, ended, told)
}

/// A session over this connection; how it ended, and what was told.
pub fn serve(
    chain_id: &ChainId,
    codec: &mut dyn Codec,
    ready: bool,
    connection: &mut dyn Connection,
    max_height: Option<i64>,
) -> (SessionError, Told) {
    let dir = tempfile::tempdir().unwrap();
    let public = PublicKey::ed25519(key().verifying_key().as_bytes()).unwrap();
    let path = dir.path().join("record");
    file::create(&path, chain_id, &public, &Record::never_signed()).unwrap();
    let store = FileStore::open(&path, chain_id, &public).unwrap().store;
    let signer = Arc::new(Soft {
        key: key(),
        public,
        ready,
    });
    let consensus = GuardedKey {
        key: Key {
            provider: "test",
            signer,
        },
        guard: Guard::new(store),
    };
    let chain = Chain::new(chain_id.clone(), consensus, false);
    let told = Told::default();
    let session = Session {
        validator: "gaia-9002@here".into(),
        chain: &chain,
        max_height,
        sink: &told,
    };
    let Err(ended) = session.serve(connection, codec);
    (ended, told)
}
