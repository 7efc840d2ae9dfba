//! What every kind of connection has in common: whole messages, deadlines, and an end after the first failure.

use std::{ops::Range, time::Instant};

use crate::connection::{
    Connection, ConnectionError, Limits,
    inbox::{self, Inbox},
    socket::{self, SocketError},
};

/// A stream of bytes that may be sealed in between.
pub(super) trait Transport: Send {
    /// Waits for more bytes until `deadline` and puts them into the inbox.
    fn receive(&mut self, inbox: &mut Inbox, deadline: Instant) -> Result<(), SocketError>;

    /// Whether there are bytes that `receive` would not have to wait for.
    fn has_more(&self) -> bool;

    /// Sends the prefix and the body as one piece until `deadline`.
    fn send(&mut self, prefix: &[u8], body: &[u8], deadline: Instant) -> Result<(), SocketError>;

    /// Waits until `until`, or for the end of the connection.
    fn linger(&mut self, until: Instant) -> Result<(), SocketError>;
}

/// Messages over a transport.
pub(super) struct Framed<T> {
    transport: T,
    inbox: Inbox,
    limits: Limits,
    dead: bool,
}

impl<T: Transport> Framed<T> {
    /// A connection that is ready for its first message.
    pub(super) fn new(transport: T, limits: Limits) -> Self {
        Self {
            transport,
            inbox: Inbox::new(limits.message),
            limits,
            dead: false,
        }
    }

    fn next_message(&mut self) -> Result<Range<usize>, ConnectionError> {
        // One deadline for the whole message: a peer that sends a byte now and then does not hold the connection.
        let deadline = socket::deadline(self.limits.idle);
        loop {
            if let Some(range) = self.inbox.next()? {
                return Ok(range);
            }
            if let Err(error) = self.transport.receive(&mut self.inbox, deadline) {
                return Err(match error {
                    SocketError::Deadline => ConnectionError::Idle {
                        limit: self.limits.idle,
                    },
                    SocketError::Closed if self.inbox.is_within_message() => {
                        ConnectionError::Truncated
                    }
                    error => session_error(error),
                });
            }
        }
    }

    fn send_message(&mut self, body: &[u8]) -> Result<(), ConnectionError> {
        let (prefix, used) = inbox::prefix(body.len());
        let deadline = socket::deadline(self.limits.write);
        self.transport
            .send(prefix.split_at(used).0, body, deadline)
            .map_err(|error| match error {
                SocketError::Deadline => ConnectionError::WriteTimeout {
                    limit: self.limits.write,
                },
                error => session_error(error),
            })
    }
}

impl<T: Transport> Connection for Framed<T> {
    fn read(&mut self) -> Result<&[u8], ConnectionError> {
        if self.dead {
            return Err(ConnectionError::Dead);
        }
        // After a bad frame or half a message nothing that follows can be trusted to be what it seems.
        let range = self.next_message().inspect_err(|_| self.dead = true)?;
        Ok(self.inbox.message(range))
    }

    fn has_more(&self) -> bool {
        !self.dead && (self.inbox.is_within_message() || self.transport.has_more())
    }

    fn write(&mut self, body: &[u8]) -> Result<(), ConnectionError> {
        if self.dead {
            return Err(ConnectionError::Dead);
        }
        if body.len() > self.limits.message {
            return Err(ConnectionError::TooLong {
                limit: self.limits.message,
            });
        }
        self.send_message(body).inspect_err(|_| self.dead = true)
    }

    fn linger(&mut self, until: Instant) -> Result<(), ConnectionError> {
        if self.dead {
            return Err(ConnectionError::Dead);
        }
        self.transport.linger(until).map_err(|error| {
            self.dead = true;
            session_error(error)
        })
    }
}

pub(super) fn session_error(error: SocketError) -> ConnectionError {
    match error {
        SocketError::Closed => ConnectionError::Closed,
        SocketError::Truncated => ConnectionError::Truncated,
        SocketError::Shutdown => ConnectionError::Shutdown,
        SocketError::Io(error) => ConnectionError::Io(error),
        SocketError::Invalid(error) => error,
        // The callers that have one name their own limit.
        SocketError::Deadline => ConnectionError::Dead,
    }
}
