//! SecretConnection: the encrypted transport of CometBFT and Tendermint, in all three generations.
//!
//! A node sends its first message without waiting for ours. The signer reads it before it says anything: its first bytes, and
//! for old nodes their proof, tell the generation exactly, so that nobody has to configure it and no guess ends a node.

use std::{fmt, net::TcpStream, time::Instant};

use subtle::ConstantTimeEq;

use crate::{
    connection::{
        ConnectionError, Dialled, Identity, Limits, Peer, PeerId,
        framed::{Framed, Transport},
        inbox::{self, Inbox},
        secret_connection::{
            frame::{Opener, SEALED, Sealer},
            handshake::Hello,
        },
        socket::{self, Socket, SocketError, Stream},
    },
    shutdown::Shutdown,
};

pub mod frame;
pub mod handshake;
pub mod keys;
mod legacy;
mod messages;
pub mod v033;
mod v034;

pub use self::{frame::FrameError, handshake::HandshakeError};

/// The generation of a handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Generation {
    /// Tendermint up to v0.32.
    Legacy,
    /// Tendermint v0.33.
    V033,
    /// Tendermint v0.34 and later, and every CometBFT.
    V034,
}

impl fmt::Display for Generation {
    /// As `protocol_version` spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "legacy",
            Self::V033 => "v0.33",
            Self::V034 => "v0.34",
        })
    }
}

/// Who we are in a handshake.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// A signer that dials, and finds out what the node speaks.
    Signer,
    /// A stand-in for a node of this generation.
    Node(Generation),
}

/// How many frames in a row may carry nothing. Go never sends one.
const MAX_EMPTY_FRAMES: u32 = 16;
/// How much is read with one system call: four frames.
const READ_AHEAD: usize = 4 * SEALED;

/// A connection whose peer has proved who it is.
struct SecretConnection {
    incoming: Incoming,
    opener: Opener,
    sealer: Sealer,
    /// Sealed frames on their way out; kept from message to message.
    out: Vec<u8>,
    empty_frames: u32,
}

/// Shakes hands over a connected stream. When `pinned` is given and the peer is somebody else, it is an error, and nothing
/// was sent after the handshake.
pub(super) fn establish(
    stream: TcpStream,
    part: Part,
    identity: &Identity,
    pinned: Option<PeerId>,
    limits: Limits,
    shutdown: Option<&Shutdown>,
) -> Result<Dialled, ConnectionError> {
    let deadline = socket::deadline(limits.handshake);
    let socket = Socket::new(Stream::Tcp(stream), limits.idle, limits.write, shutdown)?;
    let mut incoming = Incoming::new(socket);
    let shaken = shake(part, &mut incoming, identity, deadline);
    let (authenticated, generation) = shaken.map_err(|error| match error {
        SocketError::Deadline => ConnectionError::HandshakeTimeout {
            limit: limits.handshake,
        },
        SocketError::Closed | SocketError::Truncated => ConnectionError::HandshakeClosed(None),
        SocketError::Io(error) => ConnectionError::HandshakeClosed(Some(error)),
        SocketError::Shutdown => ConnectionError::Shutdown,
        SocketError::Invalid(error) => error,
    })?;
    let found = PeerId::from(&authenticated.peer);
    let peer = match pinned {
        None => Peer::Unverified(found),
        Some(pinned) if bool::from(pinned.ct_eq(&found)) || cfg!(mutant = "no_pin") => {
            Peer::Verified(found)
        }
        Some(pinned) => return Err(ConnectionError::PeerMismatch { pinned, found }),
    };
    let transport = SecretConnection {
        incoming,
        opener: authenticated.opener,
        sealer: authenticated.sealer,
        out: Vec::with_capacity(SEALED),
        empty_frames: 0,
    };
    Ok(Dialled {
        connection: Box::new(Framed::new(transport, limits)),
        peer: Some(peer),
        generation: Some(generation),
    })
}

fn shake(
    part: Part,
    incoming: &mut Incoming,
    identity: &Identity,
    deadline: Instant,
) -> Result<(handshake::Authenticated, Generation), SocketError> {
    let hello = Hello::new().map_err(invalid)?;
    match part {
        Part::Signer => match *incoming.peek(deadline)? {
            v034::START => {
                incoming.socket.write(&hello.message(), deadline)?;
                shake_v034(hello, incoming, identity, deadline)
            }
            legacy::START => {
                incoming.socket.write(&hello.amino_message(), deadline)?;
                let message = incoming.take(deadline)?;
                let awaiting = hello.receive_amino(message).map_err(invalid)?;
                let (authenticated, generation, proof) = awaiting
                    .receive(incoming.take(deadline)?, identity)
                    .map_err(invalid)?;
                incoming.socket.write(&proof, deadline)?;
                Ok((authenticated, generation))
            }
            start => Err(invalid(HandshakeError::Start { start })),
        },
        Part::Node(Generation::V034) => {
            incoming.socket.write(&hello.message(), deadline)?;
            expect_start(v034::START, incoming, deadline)?;
            shake_v034(hello, incoming, identity, deadline)
        }
        Part::Node(generation) => {
            incoming.socket.write(&hello.amino_message(), deadline)?;
            expect_start(legacy::START, incoming, deadline)?;
            let message = incoming.take(deadline)?;
            let awaiting = hello.receive_amino(message).map_err(invalid)?;
            let (awaiting, proof) = awaiting.prove(generation, identity).map_err(invalid)?;
            incoming.socket.write(&proof, deadline)?;
            let authenticated = awaiting.receive(incoming.take(deadline)?);
            Ok((authenticated.map_err(invalid)?, generation))
        }
    }
}

/// The rest of a handshake since v0.34, after our first message.
fn shake_v034(
    hello: Hello,
    incoming: &mut Incoming,
    identity: &Identity,
    deadline: Instant,
) -> Result<(handshake::Authenticated, Generation), SocketError> {
    let message = incoming.take(deadline)?;
    let (awaiting, proof) = hello.receive(message, identity).map_err(invalid)?;
    incoming.socket.write(&proof, deadline)?;
    let authenticated = awaiting.receive(incoming.take(deadline)?);
    Ok((authenticated.map_err(invalid)?, Generation::V034))
}

/// A node knows what it speaks: the first two bytes must be of the same kind, since another kind may be shorter than what
/// we would wait for.
fn expect_start(
    expected: [u8; 2],
    incoming: &mut Incoming,
    deadline: Instant,
) -> Result<(), SocketError> {
    match *incoming.peek(deadline)? {
        start if start == expected => Ok(()),
        v034::START | legacy::START => Err(invalid(HandshakeError::Generation)),
        start => Err(invalid(HandshakeError::Start { start })),
    }
}

fn invalid(error: HandshakeError) -> SocketError {
    SocketError::Invalid(ConnectionError::Handshake(error))
}

impl Transport for SecretConnection {
    fn receive(&mut self, inbox: &mut Inbox, deadline: Instant) -> Result<(), SocketError> {
        let frame = self.incoming.take(deadline)?;
        let data = self
            .opener
            .open(frame)
            .map_err(|error| SocketError::Invalid(ConnectionError::Frame(error)))?;
        if data.is_empty() {
            self.empty_frames += 1;
            if self.empty_frames > MAX_EMPTY_FRAMES {
                return Err(SocketError::Invalid(ConnectionError::EmptyFrames {
                    count: self.empty_frames,
                }));
            }
            return Ok(());
        }
        self.empty_frames = 0;
        inbox.push(data);
        Ok(())
    }

    fn has_more(&self) -> bool {
        self.incoming.start < self.incoming.end || self.incoming.socket.has_more()
    }

    fn send(&mut self, prefix: &[u8], body: &[u8], deadline: Instant) -> Result<(), SocketError> {
        self.sealer
            .seal(prefix, body, &mut self.out)
            .map_err(|error| SocketError::Invalid(ConnectionError::Frame(error)))?;
        self.incoming.socket.write(&self.out, deadline)?;
        if self.out.capacity() > 4 * inbox::KEPT {
            self.out = Vec::with_capacity(SEALED);
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
    buffer: Box<[u8; READ_AHEAD]>,
    start: usize,
    end: usize,
}

impl Incoming {
    fn new(socket: Socket) -> Self {
        Self {
            socket,
            buffer: Box::new([0; READ_AHEAD]),
            start: 0,
            end: 0,
        }
    }

    /// The next N bytes, consumed. N is at most the size of a frame.
    fn take<const N: usize>(&mut self, deadline: Instant) -> Result<&mut [u8; N], SocketError> {
        self.fill(N, deadline)?;
        let taken = self.start;
        self.start += N;
        let bytes = self.buffer.get_mut(taken..).unwrap_or_default();
        bytes.first_chunk_mut().ok_or(SocketError::Closed)
    }

    /// The next N bytes, which stay where they are.
    fn peek<const N: usize>(&mut self, deadline: Instant) -> Result<&[u8; N], SocketError> {
        self.fill(N, deadline)?;
        let bytes = self.buffer.get(self.start..).unwrap_or_default();
        bytes.first_chunk().ok_or(SocketError::Closed)
    }

    /// Reads until `count` bytes are there, and takes more when they come along.
    fn fill(&mut self, count: usize, deadline: Instant) -> Result<(), SocketError> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        while self.end - self.start < count {
            if self.start + count > self.buffer.len() {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.socket.read(room, deadline) {
                Ok(read) => self.end += read,
                Err(SocketError::Closed) if self.end > self.start => {
                    return Err(SocketError::Truncated);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::fd::OwnedFd,
        thread,
    };

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    /// A pair of sockets on which every write stays a record of its own, so that a read shows what one write was.
    fn records() -> (TcpStream, TcpStream) {
        let (one, other): (OwnedFd, OwnedFd) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a pair of sockets");
        (one.into(), other.into())
    }

    #[test]
    fn every_message_is_one_write_of_whole_frames() {
        let (ours, mut theirs) = records();
        let peer = thread::spawn(move || {
            let mut record = [0; 8 * SEALED];
            let hello = Hello::new().expect("random bytes");
            theirs.write_all(&hello.message()).expect("writes");
            assert_eq!(theirs.read(&mut record).expect("reads"), v034::EPHEMERAL);
            let message = record.first_chunk().expect("35 bytes");
            let identity = Identity::from_seed(&[2; 32]);
            let (_, proof) = hello.receive(message, &identity).expect("a key");
            theirs.write_all(&proof).expect("writes");
            let sizes = [(); 5].map(|()| theirs.read(&mut record).expect("reads"));
            assert_eq!(sizes, [1, 1, 1, 2, 4].map(|frames| frames * SEALED));
        });
        let identity = Identity::from_seed(&[1; 32]);
        let mut signer = establish(ours, Part::Signer, &identity, None, Limits::default(), None)
            .expect("a handshake");
        for size in [0, 1022, 1023, 4000] {
            signer.connection.write(&vec![0; size]).expect("writes");
        }
        peer.join().expect("one record each");
    }
}
