//! Connections: whole messages in, whole messages out; limits and deadlines.
//!
//! What a message means is decided above. A connection never tries to repair itself: after any failure it is dropped, and the
//! node is dialled anew.

use std::{
    fmt,
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use crate::{
    connection::secret_connection::{Generation, Part},
    shutdown::Shutdown,
};

mod address;
mod byte_listener;
mod byte_stream;
mod error;
mod framed;
mod identity;
mod inbox;
mod libp2p_id;
pub mod noise;
pub mod secret_connection;
mod socket;
mod tcp;
mod unix;

pub use self::{
    address::{Access, Address, AddressError, Group, PeerId},
    byte_listener::ByteListener,
    byte_stream::ByteStream,
    error::ConnectionError,
    identity::{Identity, IdentityError},
    libp2p_id::{Libp2pId, Libp2pIdError},
    unix::may_listen,
};

/// Whole messages to and from a node. After an error it stays dead: drop it and dial again.
pub trait Connection: Send {
    /// Waits for the next whole message, at most the idle limit in all, and gives its body (without the length prefix; an
    /// empty message is an empty slice). The slice is valid until the next call.
    ///
    /// # Errors
    /// `ConnectionError`; the connection is dead then.
    fn read(&mut self) -> Result<&[u8], ConnectionError>;

    /// Whether more has come in than the message that was read last. Waits for nothing.
    fn has_more(&self) -> bool;

    /// Sends one whole message, with one system call when the kernel takes it at once.
    ///
    /// # Errors
    /// `ConnectionError`; the connection is dead then, except after `TooLong`, of which nothing was sent.
    fn write(&mut self, body: &[u8]) -> Result<(), ConnectionError>;

    /// Does nothing until `until`, but for noticing that the node has hung up or that shutdown was requested.
    ///
    /// # Errors
    /// `Closed` or `Shutdown`, at once, or another `ConnectionError`; the connection is dead then.
    fn linger(&mut self, until: Instant) -> Result<(), ConnectionError>;
}

/// How long and how large things may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Name resolution and connecting together.
    pub connect: Duration,
    /// The whole handshake.
    pub handshake: Duration,
    /// From one message to the next, whole one.
    pub idle: Duration,
    /// Handing one message to the kernel.
    pub write: Duration,
    /// A message's body in bytes. Nodes read at most 1,056,218 (protocol.md 11.2), and never limited what they send; a
    /// vote extension of 1 MiB and everything around it fit.
    pub message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(10),
            write: Duration::from_secs(5),
            message: 1_200_000,
        }
    }
}

impl Limits {
    /// The default limits, with another idle limit.
    #[must_use]
    pub fn with_idle(idle: Duration) -> Self {
        Self {
            idle,
            ..Self::default()
        }
    }
}

/// A connection that is ready, and who is at its other end.
pub struct Dialled {
    /// Messages.
    pub connection: Box<dyn Connection>,
    /// The peer; none on a unix socket, where nobody proves anything.
    pub peer: Option<Peer>,
    /// The handshake that the peer spoke, or one that goes with the same messages; none on a unix socket, which has none.
    pub generation: Option<Generation>,
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialled")
            .field("peer", &self.peer)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Who proved to hold which key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// The operator pinned this ID.
    Verified(PeerId),
    /// Nobody said who it should be: it could be anybody who answered.
    Unverified(PeerId),
    /// Noise: the operator pinned this ID, and the peer expects ours.
    Pinned(Libp2pId),
}

/// Connects to a node with the default limits but for `idle`. tcp and Noise need an identity key.
///
/// For `unix-listen://` it binds the socket and waits for the node, without a limit. A shutdown request ends every wait
/// here, and later every read, but not a write.
///
/// # Errors
/// `ConnectionError`; `is_handshake` tells a failed handshake from a node that is not there.
pub fn dial(
    address: &Address,
    identity: Option<&Identity>,
    idle: Duration,
    shutdown: &Shutdown,
) -> Result<Dialled, ConnectionError> {
    let limits = Limits::with_idle(idle);
    dial_within(limits, address, identity, shutdown)
}

/// Like `dial`, with limits of one's own.
///
/// # Errors
/// As `dial`.
pub fn dial_within(
    limits: Limits,
    address: &Address,
    identity: Option<&Identity>,
    shutdown: &Shutdown,
) -> Result<Dialled, ConnectionError> {
    if shutdown.is_requested() {
        return Err(ConnectionError::Shutdown);
    }
    match address {
        Address::Tcp {
            peer_id,
            host,
            port,
        } => {
            let identity = identity.ok_or(ConnectionError::NoIdentity)?;
            let stream = tcp::connect(host, *port, &limits, shutdown)?;
            secret_connection::establish(
                stream,
                Part::Signer,
                identity,
                *peer_id,
                limits,
                Some(shutdown),
            )
        }
        Address::Noise { peer, host, port } => {
            let identity = identity.ok_or(ConnectionError::NoIdentity)?;
            let stream = tcp::connect(host, *port, &limits, shutdown)?;
            noise::establish(stream, identity, peer, limits, shutdown)
        }
        Address::Unix(path) => unix::establish(unix::connect(path)?, limits, Some(shutdown)),
        Address::UnixListen(path, access) => {
            let stream = unix::accept(path, access, shutdown)?;
            unix::establish(stream, limits, Some(shutdown))
        }
    }
}

/// The node's side of a tcp connection, for stand-in nodes of v0.34 and later: shakes hands over a stream that a listener
/// accepted.
///
/// # Errors
/// `ConnectionError` if the handshake fails.
pub fn accept_tcp(
    stream: TcpStream,
    identity: &Identity,
    idle: Duration,
) -> Result<Dialled, ConnectionError> {
    accept_tcp_within(Limits::with_idle(idle), stream, identity)
}

/// Like `accept_tcp`, with limits of one's own.
///
/// # Errors
/// As `accept_tcp`.
pub fn accept_tcp_within(
    limits: Limits,
    stream: TcpStream,
    identity: &Identity,
) -> Result<Dialled, ConnectionError> {
    accept_tcp_as(Generation::V034, limits, stream, identity)
}

/// Like `accept_tcp_within`, as a node of another generation.
///
/// # Errors
/// As `accept_tcp`.
pub fn accept_tcp_as(
    generation: Generation,
    limits: Limits,
    stream: TcpStream,
    identity: &Identity,
) -> Result<Dialled, ConnectionError> {
    tcp::prepare(&stream)?;
    let part = Part::Node(generation);
    secret_connection::establish(stream, part, identity, None, limits, None)
}

/// The node's side of a unix connection, for stand-in nodes.
///
/// # Errors
/// `ConnectionError` if the socket refuses its timeouts.
pub fn accept_unix(stream: UnixStream, idle: Duration) -> Result<Dialled, ConnectionError> {
    accept_unix_within(Limits::with_idle(idle), stream)
}

/// Like `accept_unix`, with limits of one's own.
///
/// # Errors
/// As `accept_unix`.
pub fn accept_unix_within(limits: Limits, stream: UnixStream) -> Result<Dialled, ConnectionError> {
    unix::establish(stream, limits, None)
}
