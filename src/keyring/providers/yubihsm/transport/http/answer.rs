//! An HTTP answer as it comes in.

use std::{mem, time::Instant};

use crate::connection::{ByteStream, ConnectionError};

use super::LONGEST;

/// Bytes of a status line and headers.
const LONGEST_HEAD: usize = 8 * 1024;
/// Bytes of a body; more than any answer has, so that one that is too long can be told from the longest.
const LONGEST_BODY: usize = LONGEST + 1024;

/// What a status line and headers say.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Head {
    /// The status code.
    pub(super) code: u16,
    /// Whether the connection can carry another request.
    pub(super) keeps: bool,
    length: Length,
}

#[derive(Debug, Eq, PartialEq)]
enum Length {
    Bytes(usize),
    Chunks,
    ToTheEnd,
}

/// Why there is no answer.
pub(super) enum ReadError {
    Connection(ConnectionError),
    HungUp,
    Nonsense(&'static str),
}

/// Reads one answer.
pub(super) struct Reader<'a> {
    stream: &'a mut ByteStream,
    deadline: Instant,
    /// What was read and not used.
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(stream: &'a mut ByteStream, deadline: Instant) -> Self {
        Self {
            stream,
            deadline,
            buffer: Vec::with_capacity(1024),
        }
    }

    /// Head and body. Interim answers (1xx) are passed over: nothing follows them.
    pub(super) fn answer(&mut self) -> Result<(Head, Vec<u8>), ReadError> {
        loop {
            let head = self.taken_to(b"\r\n\r\n", LONGEST_HEAD)?;
            let head = Head::parse(&head).map_err(ReadError::Nonsense)?;
            if head.code >= 200 {
                let body = self.body(&head)?;
                return Ok((head, body));
            }
        }
    }

    /// Whether nothing was sent after the answer.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    fn body(&mut self, head: &Head) -> Result<Vec<u8>, ReadError> {
        match head.length {
            Length::Bytes(length) => self.taken(length),
            Length::Chunks => self.chunks(),
            Length::ToTheEnd => {
                while self.more()? {
                    if self.buffer.len() > LONGEST_BODY {
                        return Err(ReadError::Nonsense("the body is too long"));
                    }
                }
                Ok(mem::take(&mut self.buffer))
            }
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut body = Vec::new();
        loop {
            let line = self.taken_to(b"\r\n", 64)?;
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let length = str::from_utf8(digits)
                .ok()
                .and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok())
                .ok_or(ReadError::Nonsense("a chunk without a length"))?;
            if length == 0 {
                // Trailers, up to an empty line.
                while !self.taken_to(b"\r\n", LONGEST_HEAD)?.is_empty() {}
                return Ok(body);
            }
            if length.saturating_add(body.len()) > LONGEST_BODY {
                return Err(ReadError::Nonsense("the body is too long"));
            }
            body.extend_from_slice(&self.taken(length)?);
            if !self.taken_to(b"\r\n", 2)?.is_empty() {
                return Err(ReadError::Nonsense("a chunk longer than it says"));
            }
        }
    }

    /// The next `length` bytes.
    fn taken(&mut self, length: usize) -> Result<Vec<u8>, ReadError> {
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
            .receive_some(&mut chunk, super::left(self.deadline))
            .map_err(ReadError::Connection)?;
        self.buffer.extend(chunk.iter().take(count));
        Ok(count > 0)
    }
}

impl Head {
    fn parse(head: &[u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(head).map_err(|_| "its head is no text")?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let version = words.next().unwrap_or_default();
        if !version.starts_with("HTTP/1.") {
            return Err("no HTTP/1 status line");
        }
        let code = words.next().and_then(|code| code.parse().ok());
        let code = code
            .filter(|code| (100..1000).contains(code))
            .ok_or("no HTTP status code")?;
        let mut head = Self {
            code,
            keeps: version != "HTTP/1.0",
            length: Length::ToTheEnd,
        };
        for line in lines {
            let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
            head.read_header(name, value.trim())?;
        }
        if matches!(code, 100..200 | 204 | 304) {
            head.length = Length::Bytes(0);
        }
        head.keeps &= head.length != Length::ToTheEnd;
        Ok(head)
    }

    fn read_header(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.parse().map_err(|_| "no content length")?;
            // Chunks say more exactly where the body ends (RFC 9112, 6.3).
            if self.length != Length::Chunks {
                self.length = Length::Bytes(length);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err("a transfer encoding that is not `chunked`");
            }
            self.length = Length::Chunks;
        } else if name.eq_ignore_ascii_case("connection") {
            let says = |word: &str| {
                let mut words = value.split(',');
                words.any(|w| w.trim().eq_ignore_ascii_case(word))
            };
            self.keeps = !says("close") && (self.keeps || says("keep-alive"));
        }
        Ok(())
    }
}
