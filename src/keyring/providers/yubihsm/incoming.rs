//! HTTP as it comes in, at either end: lines, bytes, and no more of them than there may be.

use std::{
    mem,
    time::{Duration, Instant},
};

use crate::connection::{ByteStream, ConnectionError};

use super::transport::LONGEST;

/// Bytes of a first line and headers.
const LONGEST_HEAD: usize = 8 * 1024;
/// Bytes of a body; more than any message has, so that one that is too long can be told from the longest.
pub(super) const LONGEST_BODY: usize = LONGEST + 1024;

/// Why nothing whole came in.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection broke, or the time is up.
    Connection(ConnectionError),
    /// The other side hung up.
    HungUp,
    /// It is not what it should be.
    Nonsense(&'static str),
}

/// Reads one message until a deadline.
pub(super) struct Reader<'a> {
    stream: &'a mut ByteStream,
    deadline: Instant,
    /// What was read and not used.
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// `buffer` is what was read before and belongs to this message.
    pub(super) fn new(stream: &'a mut ByteStream, deadline: Instant, buffer: Vec<u8>) -> Self {
        Self {
            stream,
            deadline,
            buffer,
        }
    }

    /// What was read and belongs to the next message.
    pub(super) fn into_rest(self) -> Vec<u8> {
        self.buffer
    }

    /// The other direction, while this message is being read.
    pub(super) fn stream(&mut self) -> &mut ByteStream {
        self.stream
    }

    /// Waits for the first byte. False if the other side hangs up instead.
    pub(super) fn begun(&mut self) -> Result<bool, ReadError> {
        Ok(!self.buffer.is_empty() || self.more()?)
    }

    /// Another deadline for what follows.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// The first line and the headers, without the empty line.
    pub(super) fn head(&mut self) -> Result<Vec<u8>, ReadError> {
        self.taken_to(b"\r\n\r\n", LONGEST_HEAD)
    }

    /// The next line, without its end.
    pub(super) fn line(&mut self, limit: usize) -> Result<Vec<u8>, ReadError> {
        self.taken_to(b"\r\n", limit)
    }

    /// The next `length` bytes.
    pub(super) fn taken(&mut self, length: usize) -> Result<Vec<u8>, ReadError> {
        if length > LONGEST_BODY {
            return Err(ReadError::Nonsense("the body is too long"));
        }
        while self.buffer.len() < length {
            if !self.more()? {
                return Err(ReadError::HungUp);
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(mem::replace(&mut self.buffer, rest))
    }

    /// Everything up to the end of the connection.
    pub(super) fn until_the_end(&mut self) -> Result<Vec<u8>, ReadError> {
        while self.more()? {
            if self.buffer.len() > LONGEST_BODY {
                return Err(ReadError::Nonsense("the body is too long"));
            }
        }
        Ok(mem::take(&mut self.buffer))
    }

    /// What comes before the next `end`, which is dropped.
    fn taken_to(&mut self, end: &[u8], limit: usize) -> Result<Vec<u8>, ReadError> {
        loop {
            let found = self.buffer.windows(end.len()).position(|w| w == end);
            if let Some(at) = found.filter(|at| *at <= limit) {
                let rest = self.buffer.split_off(at + end.len());
                let mut taken = mem::replace(&mut self.buffer, rest);
                taken.truncate(at);
                return Ok(taken);
            }
            if found.is_some() || self.buffer.len() > limit + end.len() {
                return Err(ReadError::Nonsense("a line or head without an end"));
            }
            if !self.more()? {
                return Err(ReadError::HungUp);
            }
        }
    }

    /// Reads once more; false at the end.
    fn more(&mut self) -> Result<bool, ReadError> {
        let mut chunk = [0; 4096];
        let count = self
            .stream
            .receive_some(&mut chunk, left(self.deadline))
            .map_err(ReadError::Connection)?;
        self.buffer.extend(chunk.iter().take(count));
        Ok(count > 0)
    }
}

/// The headers below a first line: names and values.
pub(super) fn headers<'a>(
    lines: impl Iterator<Item = &'a str>,
) -> impl Iterator<Item = Result<(&'a str, &'a str), &'static str>> {
    lines.map(|line| {
        let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
        Ok((name, value.trim()))
    })
}

/// The time that is left until a deadline.
pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
