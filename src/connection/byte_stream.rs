//! A stream of bytes to a program that speaks neither our messages nor SecretConnection: a device's emulator or connector.

use std::{
    fmt,
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    connection::{
        ConnectionError, Limits,
        framed::session_error,
        socket::{self, Socket, SocketError, Stream},
        tcp,
    },
    shutdown::Shutdown,
};

/// A tcp stream in clear, every operation of which has a deadline. After an error it is dropped, and another one is dialled.
pub struct ByteStream {
    socket: Socket,
}

impl ByteStream {
    /// Connects within `limit`, name resolution included. `shutdown` ends this wait and every later read.
    ///
    /// # Errors
    /// `ConnectionError` if nobody answers there.
    pub fn connect(
        host: &str,
        port: u16,
        limit: Duration,
        shutdown: &Shutdown,
    ) -> Result<Self, ConnectionError> {
        let limits = Limits {
            connect: limit,
            ..Limits::default()
        };
        let stream = Stream::Tcp(tcp::connect(host, port, &limits, shutdown)?);
        let socket = Socket::new(stream, limit, limit, Some(shutdown))?;
        Ok(Self { socket })
    }

    /// What a listener accepted.
    pub(super) fn accepted(
        stream: TcpStream,
        limit: Duration,
        shutdown: &Shutdown,
    ) -> Result<Self, ConnectionError> {
        tcp::prepare(&stream)?;
        let socket = Socket::new(Stream::Tcp(stream), limit, limit, Some(shutdown))?;
        Ok(Self { socket })
    }

    /// Sends all bytes within `limit`.
    ///
    /// # Errors
    /// `ConnectionError`; how much of it was sent is unknown then.
    pub fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), ConnectionError> {
        self.socket
            .write(bytes, socket::deadline(limit))
            .map_err(|error| match error {
                SocketError::Deadline => ConnectionError::WriteTimeout { limit },
                error => session_error(error),
            })
    }

    /// Fills the whole buffer within `limit`, in however many pieces the bytes come.
    ///
    /// # Errors
    /// `ConnectionError`: `Idle` when the time is up, `Closed` when the peer hung up before the first byte, `Truncated`
    /// when it did so later.
    pub fn receive(&mut self, buffer: &mut [u8], limit: Duration) -> Result<(), ConnectionError> {
        let deadline: Instant = socket::deadline(limit);
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += self
                .socket
                .read(rest, deadline)
                .map_err(|error| match error {
                    SocketError::Deadline => ConnectionError::Idle { limit },
                    SocketError::Closed if filled > 0 => ConnectionError::Truncated,
                    error => session_error(error),
                })?;
        }
        Ok(())
    }

    /// Reads what is there, waiting for at least one byte, within `limit`. 0: the peer hung up.
    ///
    /// # Errors
    /// `ConnectionError`, `Idle` when the time is up.
    pub fn receive_some(
        &mut self,
        buffer: &mut [u8],
        limit: Duration,
    ) -> Result<usize, ConnectionError> {
        match self.socket.read(buffer, socket::deadline(limit)) {
            Ok(count) => Ok(count),
            Err(SocketError::Closed) => Ok(0),
            Err(SocketError::Deadline) => Err(ConnectionError::Idle { limit }),
            Err(error) => Err(session_error(error)),
        }
    }

    /// Whether the peer has neither hung up nor sent anything that is not read yet: what is sent now has a chance.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.socket.is_quiet()
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream").finish_non_exhaustive()
    }
}
