//! One thread per `[[validator]]`: dial, serve, back off, repeat.

use std::{
    convert::Infallible,
    fmt::Write as _,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rand_core::{OsRng, RngCore};

use crate::{
    chain::{Attempt, Chain, Served},
    codec::{Codec, Family, node::Pin},
    connection::{
        self, Address, ConnectionError, Dialled, Identity, Peer, secret_connection::Generation,
    },
    event::{self, Event, Sink},
    keyring::key_name::KeyName,
    privval::ChainId,
    session::{Session, SessionError},
    shutdown::Shutdown,
};

/// Stack of a validator's thread: nothing on the way to a signature recurses or keeps large arrays.
const STACK: usize = 256 * 1024;

/// The longest wait before a redial, unless handshakes fail.
const REDIAL: Duration = Duration::from_millis(900);

/// The longest wait before a socket of ours is bound again. Nobody is dialled, and a node that is restarted dials once.
const LISTEN_AGAIN: Duration = Duration::from_millis(100);

/// The longest wait after handshakes that fail one after the other: an old node's listener dies of too many.
const BACK_OFF_LIMIT: Duration = Duration::from_secs(10);

/// The first and the longest wait between two tries to open a chain whose key is not there yet. A node that starts gives up
/// after 3 s without a signer.
const OPEN_AGAIN: Duration = Duration::from_millis(500);
const OPEN_AGAIN_LIMIT: Duration = Duration::from_secs(2);

/// `[[validator]]`: one node to serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Where the node listens.
    pub addr: Address,
    /// The chain it validates.
    pub chain_id: ChainId,
    /// Dial again after the connection ended; true by default.
    pub reconnect: bool,
    /// Which of the chain's keys signs; needed where it has several, and checked where it has one.
    pub public_key: Option<KeyName>,
    /// What the node must speak; none finds it out.
    pub protocol: Option<Pin>,
    /// Silence after which a connection is dead; 10 s by default.
    pub timeout: Duration,
    /// The identity key's file; required for tcp and Noise.
    pub secret_key: Option<PathBuf>,
    /// Nothing above this height is signed.
    pub max_height: Option<i64>,
    /// Prefixes of the `unique_id`s whose raw bytes are signed (Celestia); none by default.
    pub sign_raw_bytes: Vec<String>,
    /// Answer v1's `SignBytesRequest`; false by default.
    pub sign_bytes: bool,
}

/// A validator node to serve, with all that it takes.
pub struct Client {
    /// Where and how to dial.
    pub config: Config,
    /// The chain that is signed for; shared with the chain's other nodes. The node is not dialled before it is open: a node
    /// that asks for a public key and gets none exits.
    pub chain: Served,
    /// Who we are to the node; none for a unix socket.
    pub identity: Option<Arc<Identity>>,
    /// The node's wire dialect.
    pub codec: Box<dyn Codec>,
    /// Who is told.
    pub sink: Arc<dyn Sink>,
    /// When to stop.
    pub shutdown: Shutdown,
}

impl Client {
    /// `chain@addr`, the thread's name and how log lines name this validator.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}@{}", self.config.chain_id, self.config.addr)
    }

    /// Starts the thread. It ends on shutdown, with the first connection when `reconnect` is off, or when its chain can never
    /// be opened; `ended` is dropped then, however it ends.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn spawn(self, ended: impl Send + 'static) -> io::Result<JoinHandle<()>> {
        let name = self.name();
        thread::Builder::new()
            .name(name.clone())
            .stack_size(STACK)
            .spawn(move || {
                let _ended = ended;
                Serving::new(self, name).run();
            })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The state of a client's thread.
struct Serving {
    client: Client,
    validator: Arc<str>,
    /// An unpinned peer is told once, not at each dial.
    told_unverified: bool,
    /// Handshakes that failed since the last one that did not.
    failed_handshakes: u32,
    /// The last session ended since the node is not what `protocol_version` says.
    contradicted: bool,
    /// The reason told last and how often it came again untold.
    last_reason: String,
    unsaid: u32,
}

impl Serving {
    fn new(client: Client, name: String) -> Self {
        Self {
            client,
            validator: name.into(),
            told_unverified: false,
            failed_handshakes: 0,
            contradicted: false,
            last_reason: String::new(),
            unsaid: 0,
        }
    }

    fn run(mut self) {
        let Some(chain) = self.open_chain() else {
            return;
        };
        while !self.client.shutdown.is_requested() {
            // A panic is the end of this session only; what it may have left half-done is the guard's lock, and that
            // is poisoned by type.
            let ended = catch_unwind(AssertUnwindSafe(|| self.connect_and_serve(&chain)));
            if self.client.shutdown.is_requested() {
                return;
            }
            let wait = match ended {
                Ok(Ended(error)) => {
                    self.tell_end(&with_hint(&error));
                    self.wait_after(&error)
                }
                Err(panic) => {
                    self.tell_end(&format!(
                        "internal crash: {}",
                        event::panic_text(panic.as_ref())
                    ));
                    REDIAL
                }
            };
            if !self.client.config.reconnect || self.client.shutdown.wait(jittered(wait)) {
                return;
            }
        }
    }

    /// Waits until the chain is open; `None` if it never will be, and on shutdown.
    fn open_chain(&mut self) -> Option<Arc<Chain>> {
        let mut wait = OPEN_AGAIN;
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.client.chain.try_open())) {
                Ok(Attempt::Open(chain)) => return Some(chain),
                Ok(Attempt::Failed) => return None,
                Ok(Attempt::NotYet) => {}
                Err(panic) => {
                    self.tell_end(&format!(
                        "internal crash: {}",
                        event::panic_text(panic.as_ref())
                    ));
                }
            }
            if self.client.shutdown.wait(jittered(wait)) {
                return None;
            }
            wait = (wait * 2).min(OPEN_AGAIN_LIMIT);
        }
    }

    fn connect_and_serve(&mut self, chain: &Chain) -> Ended {
        let Err(error) = self.try_serve(chain);
        Ended(error)
    }

    fn try_serve(&mut self, chain: &Chain) -> Result<Infallible, SessionError> {
        let Dialled {
            mut connection,
            peer,
            generation,
        } = connection::dial(
            &self.client.config.addr,
            self.client.identity.as_deref(),
            self.client.config.timeout,
            &self.client.shutdown,
        )?;
        self.client.codec.begin(generation.map(family))?;
        // On a unix socket a node contradicts its pin with its first message, at every dial anew.
        if !std::mem::take(&mut self.contradicted) {
            self.failed_handshakes = 0;
            self.last_reason.clear();
        }
        self.tell_connected(peer);
        let session = Session {
            validator: self.validator.clone(),
            chain,
            max_height: self.client.config.max_height,
            sink: self.client.sink.as_ref(),
        };
        let ended = session.serve(connection.as_mut(), self.client.codec.as_mut());
        self.contradicted = matches!(&ended, Err(error) if error.is_contradiction());
        if self.client.codec.ends_with_its_connection() {
            self.client.sink.tell(&Event::Warning {
                subject: self.validator.to_string(),
                text: "a node of v0.26 or v0.27 that has lost its signer asks for nothing more: restart it"
                    .to_owned(),
            });
        }
        ended
    }

    fn tell_connected(&mut self, peer: Option<Peer>) {
        let validator = self.validator.clone();
        let (peer_id, unverified) = match peer {
            Some(Peer::Verified(id)) => (Some(id.to_string()), None),
            Some(Peer::Unverified(id)) => (Some(id.to_string()), Some(id.to_string())),
            Some(Peer::Pinned(id)) => (Some(id.to_string()), None),
            None => (None, None),
        };
        let sink = &self.client.sink;
        sink.tell(&Event::Connected { validator, peer_id });
        if let Some(peer_id) = unverified
            && !std::mem::replace(&mut self.told_unverified, true)
        {
            let validator = self.validator.clone();
            sink.tell(&Event::UnverifiedPeer { validator, peer_id });
        }
    }

    /// Tells why the connection ended; the same reason again and again is told at every 60th time only.
    fn tell_end(&mut self, reason: &str) {
        const REPEATS: u32 = 60;
        if reason == self.last_reason && self.unsaid < REPEATS {
            self.unsaid += 1;
            return;
        }
        self.unsaid = 0;
        reason.clone_into(&mut self.last_reason);
        self.client.sink.tell(&Event::Disconnected {
            validator: self.validator.clone(),
            reason: reason.to_owned(),
            redial: self.client.config.reconnect,
        });
    }

    fn wait_after(&mut self, error: &SessionError) -> Duration {
        let wears_out = match error {
            SessionError::Connection(error) => error.is_handshake(),
            error => error.is_contradiction(),
        };
        if !wears_out {
            let is_ours = matches!(self.client.config.addr, Address::UnixListen(..));
            return if is_ours && !is_unbound(error) {
                LISTEN_AGAIN
            } else {
                REDIAL
            };
        }
        self.failed_handshakes = self.failed_handshakes.saturating_add(1);
        let doublings = self.failed_handshakes.saturating_sub(1).min(4);
        Duration::from_secs(1 << doublings).min(BACK_OFF_LIMIT)
    }
}

/// Whether the socket that is ours to bind could not be.
fn is_unbound(error: &SessionError) -> bool {
    matches!(
        error,
        SessionError::Connection(
            ConnectionError::Listen { .. }
                | ConnectionError::NoGroup { .. }
                | ConnectionError::SocketInUse { .. }
                | ConnectionError::NotASocket { .. }
        )
    )
}

/// What a handshake tells of the messages that follow it.
#[must_use]
pub fn family(generation: Generation) -> Family {
    match generation {
        Generation::Legacy => Family::Legacy,
        Generation::V033 => Family::V033,
        Generation::V034 => Family::Protobuf,
    }
}

/// How one connection ended.
struct Ended(SessionError);

/// Between a half and the whole of `longest`, so that many signers do not dial in step.
fn jittered(longest: Duration) -> Duration {
    let mut byte = [0; 1];
    OsRng.fill_bytes(&mut byte);
    let [byte] = byte;
    longest / 2 + longest * u32::from(byte) / 512
}

fn with_hint(error: &SessionError) -> String {
    let mut text = event::in_one_line(error);
    let hint = match error {
        SessionError::Connection(error) => ConnectionError::hint(error),
        error if error.is_contradiction() => Some(
            "without protocol_version it is found out; or does addr name another node?".to_owned(),
        ),
        SessionError::AfterKey { scheme } => Some(format!(
            "its log says so; the chain's consensus_params.validator.pub_key_types must have {:?}, and the node be of a version and build that has it",
            scheme.name()
        )),
        SessionError::Decode(_) | SessionError::Late(_) | SessionError::Overtaken => None,
    };
    if let Some(hint) = hint {
        let _ = write!(text, " (hint: {hint})");
    }
    text
}
