//! tcp without SecretConnection: to programs that stand for a device (the YubiHSM connector, a Ledger emulator). What goes over it
//! protects itself or needs no protection; nodes are never spoken to like this.

use std::{fmt, io::ErrorKind, time::Instant};

use crate::{
    connection::{
        ConnectionError, Limits,
        socket::{Socket, SocketError, Stream},
        tcp,
    },
    shutdown::Shutdown,
};

/// A byte stream over tcp whose every call ends at a deadline.
pub struct PlainTcp {
    socket: Socket,
}

impl PlainTcp {
    /// Connects until `deadline`, name resolution included. A shutdown request ends the wait, and every later read.
    ///
    /// # Errors
    /// `ConnectionError` if nobody answers.
    pub fn dial(
        host: &str,
        port: u16,
        deadline: Instant,
        shutdown: &Shutdown,
    ) -> Result<Self, ConnectionError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let limits = Limits {
            connect: left,
            ..Limits::default()
        };
        let stream = tcp::connect(host, port, &limits, shutdown)?;
        let socket = Socket::new(Stream::Tcp(stream), left, left, Some(shutdown))?;
        Ok(Self { socket })
    }

    /// Reads what is there, waiting for at least one byte until `deadline`. 0: the peer hung up.
    ///
    /// # Errors
    /// `ConnectionError`; the stream is to be dropped then.
    pub fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, ConnectionError> {
        match self.socket.read(buffer, deadline) {
            Ok(count) => Ok(count),
            Err(SocketError::Closed) => Ok(0),
            Err(error) => Err(cause(error)),
        }
    }

    /// Writes all of it until `deadline`.
    ///
    /// # Errors
    /// `ConnectionError`; the stream is to be dropped then.
    pub fn write(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), ConnectionError> {
        self.socket.write(bytes, deadline).map_err(cause)
    }

    /// Whether the peer has neither hung up nor sent anything that nobody asked for: what is written now has a chance.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.socket.is_quiet()
    }
}

impl fmt::Debug for PlainTcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainTcp").finish_non_exhaustive()
    }
}

fn cause(error: SocketError) -> ConnectionError {
    match error {
        SocketError::Deadline => ConnectionError::Io(ErrorKind::TimedOut.into()),
        SocketError::Closed | SocketError::Truncated => {
            ConnectionError::Io(ErrorKind::UnexpectedEof.into())
        }
        SocketError::Shutdown => ConnectionError::Shutdown,
        SocketError::Io(error) => ConnectionError::Io(error),
        SocketError::Invalid(error) => error,
    }
}
