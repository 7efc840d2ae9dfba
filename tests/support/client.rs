//! A client's thread in this process, and the node that it dials. Its codec and its key can be replaced by ones that fail.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    reason = "shared by several test crates, none of which uses all of it; a test fails by panicking"
)]

use std::{
    ops::Deref,
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use tmkms::{
    chain::{Chain, GuardedKey, Served},
    client::{Client, Config},
    codec::{
        Codec,
        proto::{Options, Proto, Raw},
    },
    connection::{Address, Identity},
    crypto::{Algorithm, PublicKey},
    event::{Event, Sink},
    keyring::{Key, Signer, providers::softsign},
    privval::{ChainId, Step},
    protection::{
        Guard, Record,
        store::file::{self, FileStore, Problem},
    },
    shutdown::Shutdown,
};

use crate::node_side::{Ballot, Link, Listener, Validator, block, now};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps every event.
#[derive(Default)]
pub struct Told(pub Mutex<Vec<Event>>);

impl Sink for Told {
    fn tell(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Told {
    /// How many events are like that.
    pub fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|e| which(e)).count()
    }
}

/// A client's thread; it ends with this.
pub struct Thread {
    pub told: Arc<Told>,
    pub shutdown: Shutdown,
    ended: mpsc::Receiver<()>,
}

/// A running client and the address that it dials.
pub struct Running {
    pub listener: Listener,
    pub chain: ChainId,
    thread: Thread,
    _directory: tempfile::TempDir,
}

/// What a test may replace.
pub struct Parts {
    pub reconnect: bool,
    pub codec: fn(Proto) -> Box<dyn Codec>,
    pub signer: fn(Arc<dyn Signer>) -> Arc<dyn Signer>,
}

/// Nothing replaced.
pub const PLAIN: Parts = Parts {
    reconnect: true,
    codec: |proto| Box::new(proto),
    signer: |signer| signer,
};

impl Running {
    /// Starts one.
    pub fn new(parts: &Parts) -> Self {
        Self::serving(parts, Served::from)
    }

    /// Starts one whose chain may have to wait.
    pub fn serving(parts: &Parts, served: impl FnOnce(Chain) -> Served) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = Listener::bind("tcp://127.0.0.1:0").unwrap();
        let chain = ChainId::new("client-1").unwrap();
        let key = key(&directory.path().join("key"), parts.signer);
        let addr = listener.addr().unwrap();
        let record = directory.path().join("record");
        let thread = Thread::start(&addr, &chain, key, &record, parts, served);
        Self {
            listener,
            chain,
            thread,
            _directory: directory,
        }
    }

    /// The next dial.
    pub fn accept(&self) -> Link {
        let begun = Instant::now();
        let link = self.listener.accept(|| begun.elapsed() > PATIENCE).unwrap();
        link.expect("the client dials")
    }

    /// The next dial, and what a node asks first.
    pub fn meet(&self) -> (Link, Validator) {
        let mut link = self.accept();
        let validator = Validator::meet(&mut link, &self.chain).unwrap();
        (link, validator)
    }
}

impl Deref for Running {
    type Target = Thread;

    fn deref(&self) -> &Thread {
        &self.thread
    }
}

/// Opens a record that was made a moment ago. Its maker's lock lives on, for as long as that takes to become another program, in
/// every process that another test of this binary happens to start at that moment.
fn open(record: &Path, chain: &ChainId, key: &PublicKey) -> FileStore {
    let begun = Instant::now();
    loop {
        match FileStore::open(record, chain, key) {
            Err(error)
                if matches!(error.problem, Problem::Locked { .. })
                    && begun.elapsed() < Duration::from_secs(5) =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.unwrap().store,
        }
    }
}

impl Thread {
    /// Starts one that dials `addr`, with a new record.
    pub fn start(
        addr: &str,
        chain: &ChainId,
        key: Key,
        record: &Path,
        parts: &Parts,
        served: impl FnOnce(Chain) -> Served,
    ) -> Self {
        let public = key.signer.public_key().clone();
        file::create(record, chain, &public, &Record::never_signed()).unwrap();
        let guard = Guard::new(open(record, chain, &public));
        let told = Arc::new(Told::default());
        let shutdown = Shutdown::new();
        let client = Client {
            config: Config {
                addr: Address::parse(addr).unwrap(),
                chain_id: chain.clone(),
                reconnect: parts.reconnect,
                public_key: None,
                protocol: None,
                timeout: Duration::from_secs(10),
                secret_key: None,
                max_height: None,
                sign_raw_bytes: Vec::new(),
                sign_bytes: false,
            },
            chain: served(Chain::new(chain.clone(), GuardedKey { key, guard }, false)),
            identity: Some(Arc::new(Identity::generate().unwrap())),
            codec: (parts.codec)(Proto::new(Options {
                chain_id: chain.clone(),
                sign_extensions: true,
                v2: false,
                raw: Raw::Refuse,
            })),
            sink: told.clone(),
            shutdown: shutdown.clone(),
        };
        let (end, ended) = mpsc::channel::<()>();
        client.spawn(end).unwrap();
        Self {
            told,
            shutdown,
            ended,
        }
    }

    /// Waits for the thread's end: what it held is dropped then.
    pub fn has_ended(&self) -> bool {
        self.ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

/// A new soft key in a file, changed.
pub fn key(path: &Path, change: fn(Arc<dyn Signer>) -> Arc<dyn Signer>) -> Key {
    softsign::generate(Algorithm::Ed25519, path).unwrap();
    key_of(path, change)
}

/// The soft key in a file, changed.
pub fn key_of(path: &Path, change: impl FnOnce(Arc<dyn Signer>) -> Arc<dyn Signer>) -> Key {
    let key = softsign::open(&softsign::Config {
        chain_ids: Vec::new(),
        key_type: softsign::KeyType::Consensus,
        scheme: None,
        key_format: None,
        path: path.to_owned(),
        state_file: None,
    });
    let Key { provider, signer } = key.unwrap();
    Key {
        provider,
        signer: change(signer),
    }
}

/// A prevote for a block.
pub fn prevote(height: i64) -> Ballot {
    Ballot {
        step: Step::Prevote,
        height,
        round: 0,
        block: Some(block(height, 0)),
        timestamp: now(),
        extension: None,
    }
}
