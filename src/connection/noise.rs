//! `noise://`: libp2p's Noise over a bare tcp stream, as CometBFT has it since v0.40.
//!
//! Both sides prove who they are, and each knows beforehand who the other must be. Of libp2p there is nothing but the handshake:
//! no negotiation, no streams.

use std::{
    io,
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    connection::{
        ConnectionError, Dialled, Identity, Libp2pId, Limits, Peer,
        framed::{Framed, Transport},
        inbox::{self, Inbox},
        noise::handshake::{Channel, DATA, Hello, LONGEST},
        secret_connection::Generation,
        socket::{self, Socket, SocketError, Stream},
    },
    shutdown::Shutdown,
};

pub mod handshake;
mod payload;

pub use self::handshake::NoiseError;

/// How much is read with one system call, in bytes: more than most messages have.
const READ: usize = 4096;
/// How many messages in a row may carry nothing. Go never sends one.
const MAX_EMPTY: u32 = 16;
/// How long a node is watched that may hang up on us after the handshake. What it sends meanwhile ends the watch.
const ADMISSION: Duration = Duration::from_secs(1);

/// A connection whose peer has proved who it is.
struct NoiseConnection {
    incoming: Incoming,
    channel: Channel,
    us: Libp2pId,
    /// Whether the node has ever sent anything, and so has let us in.
    admitted: bool,
    empty: u32,
    /// What a message carries, and messages on their way out; kept from one to the next.
    data: Vec<u8>,
    out: Vec<u8>,
}

/// Shakes hands over a connected stream with the node that is `pinned`. Anybody else hears nothing but random bytes.
pub(super) fn establish(
    stream: TcpStream,
    identity: &Identity,
    pinned: &Libp2pId,
    limits: Limits,
    shutdown: &Shutdown,
) -> Result<Dialled, ConnectionError> {
    let deadline = socket::deadline(limits.handshake);
    let socket = Socket::new(
        Stream::Tcp(stream),
        limits.idle,
        limits.write,
        Some(shutdown),
    )?;
    let mut incoming = Incoming::new(socket);
    let shaken = shake(&mut incoming, identity, pinned, deadline);
    let channel = shaken.map_err(|error| match error {
        SocketError::Deadline => ConnectionError::HandshakeTimeout {
            limit: limits.handshake,
        },
        SocketError::Closed | SocketError::Truncated => ConnectionError::HandshakeClosed(None),
        SocketError::Io(error) => ConnectionError::HandshakeClosed(Some(error)),
        SocketError::Shutdown => ConnectionError::Shutdown,
        SocketError::Invalid(error) => error,
    })?;
    let mut transport = NoiseConnection {
        incoming,
        channel,
        us: identity.libp2p_id(),
        admitted: false,
        empty: 0,
        data: Vec::new(),
        out: Vec::with_capacity(READ),
    };
    transport.watch_admission(deadline)?;
    Ok(Dialled {
        connection: Box::new(Framed::new(transport, limits)),
        peer: Some(Peer::Pinned(*pinned)),
        // The messages inside are those of every CometBFT.
        generation: Some(Generation::V034),
    })
}

fn shake(
    incoming: &mut Incoming,
    identity: &Identity,
    pinned: &Libp2pId,
    deadline: Instant,
) -> Result<Channel, SocketError> {
    let (awaiting, message) = Hello::new().and_then(Hello::start).map_err(invalid)?;
    incoming.send(&message, deadline)?;
    let message = incoming.next(LONGEST, deadline)?;
    let (channel, proof) = awaiting
        .receive(message, identity, pinned)
        .map_err(invalid)?;
    incoming.send(&proof, deadline)?;
    Ok(channel)
}

fn invalid(error: NoiseError) -> SocketError {
    SocketError::Invalid(ConnectionError::Noise(error))
}

impl NoiseConnection {
    /// A node turns away a signer that is not in its `priv_validator_laddr` only after the whole handshake, and without a word.
    fn watch_admission(&mut self, deadline: Instant) -> Result<(), ConnectionError> {
        let until = deadline.min(socket::deadline(ADMISSION));
        match self.incoming.wait(until) {
            Ok(()) | Err(SocketError::Deadline) => Ok(()),
            Err(SocketError::Shutdown) => Err(ConnectionError::Shutdown),
            Err(SocketError::Invalid(error)) => Err(error),
            Err(SocketError::Closed | SocketError::Truncated | SocketError::Io(_)) => {
                Err(ConnectionError::NotAdmitted { us: self.us })
            }
        }
    }

    fn not_admitted(&self) -> SocketError {
        SocketError::Invalid(ConnectionError::NotAdmitted { us: self.us })
    }
}

impl Transport for NoiseConnection {
    fn receive(&mut self, inbox: &mut Inbox, deadline: Instant) -> Result<(), SocketError> {
        let message = match self.incoming.next(usize::from(u16::MAX), deadline) {
            Ok(message) => message,
            Err(SocketError::Closed) if !self.admitted => return Err(self.not_admitted()),
            Err(SocketError::Io(error))
                if !self.admitted && error.kind() == io::ErrorKind::ConnectionReset =>
            {
                return Err(self.not_admitted());
            }
            Err(error) => return Err(error),
        };
        self.channel
            .open(message, &mut self.data)
            .map_err(invalid)?;
        self.admitted = true;
        if self.data.is_empty() {
            self.empty += 1;
            if self.empty > MAX_EMPTY {
                return Err(SocketError::Invalid(ConnectionError::EmptyFrames {
                    count: self.empty,
                }));
            }
            return Ok(());
        }
        self.empty = 0;
        inbox.push(&self.data);
        if self.data.capacity() > 4 * inbox::KEPT {
            self.data = Vec::new();
        }
        Ok(())
    }

    fn has_more(&self) -> bool {
        self.incoming.at < self.incoming.bytes.len() || self.incoming.socket.has_more()
    }

    fn send(&mut self, prefix: &[u8], body: &[u8], deadline: Instant) -> Result<(), SocketError> {
        self.out.clear();
        // The prefix makes every piece one that carries something.
        let (first, rest) = body.split_at(body.len().min(DATA - prefix.len()));
        let first = [prefix, first].concat();
        for piece in [first.as_slice()].into_iter().chain(rest.chunks(DATA)) {
            self.channel.seal(piece, &mut self.out).map_err(invalid)?;
        }
        self.incoming.socket.write(&self.out, deadline)?;
        if self.out.capacity() > 4 * inbox::KEPT {
            self.out = Vec::with_capacity(READ);
        }
        Ok(())
    }

    fn linger(&mut self, until: Instant) -> Result<(), SocketError> {
        self.incoming.socket.linger(until)
    }
}

/// The socket, and what was read from it and not used yet.
struct Incoming {
    socket: Socket,
    bytes: Vec<u8>,
    /// Where the next message begins in `bytes`.
    at: usize,
}

impl Incoming {
    fn new(socket: Socket) -> Self {
        Self {
            socket,
            bytes: Vec::with_capacity(READ),
            at: 0,
        }
    }

    /// Sends one message with its length before it.
    fn send(&mut self, message: &[u8], deadline: Instant) -> Result<(), SocketError> {
        let length = u16::try_from(message.len()).map_err(|_| invalid(NoiseError::Malformed))?;
        let framed = [length.to_be_bytes().as_slice(), message].concat();
        self.socket.write(&framed, deadline)
    }

    /// The next message without its length, which is at most `longest`.
    fn next(&mut self, longest: usize, deadline: Instant) -> Result<&[u8], SocketError> {
        self.drop_used();
        let length = loop {
            let unread = self.bytes.get(self.at..).unwrap_or_default();
            let Some((length, message)) = unread.split_first_chunk() else {
                self.more(deadline)?;
                continue;
            };
            let length = u16::from_be_bytes(*length);
            if usize::from(length) > longest {
                return Err(invalid(NoiseError::Length { length }));
            }
            if message.len() >= usize::from(length) {
                break usize::from(length);
            }
            self.more(deadline)?;
        };
        let start = self.at + 2;
        self.at = start + length;
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    /// Waits until something is there to be read.
    fn wait(&mut self, until: Instant) -> Result<(), SocketError> {
        if self.at < self.bytes.len() {
            return Ok(());
        }
        self.drop_used();
        self.more(until)
    }

    fn drop_used(&mut self) {
        self.bytes.drain(..self.at);
        self.at = 0;
        if self.bytes.capacity() > 4 * inbox::KEPT && self.bytes.len() < READ {
            self.bytes.shrink_to(READ);
        }
    }

    fn more(&mut self, deadline: Instant) -> Result<(), SocketError> {
        let mut piece = [0; READ];
        match self.socket.read(&mut piece, deadline) {
            Ok(count) => {
                self.bytes
                    .extend_from_slice(piece.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(SocketError::Closed) if self.at < self.bytes.len() => Err(SocketError::Truncated),
            Err(error) => Err(error),
        }
    }
}
