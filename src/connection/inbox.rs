//! Messages out of a byte stream: a length as a base-128 number, then that many bytes (protocol.md 2.1).
//!
//! Nothing here assumes that a message starts where a frame or a packet starts, or that there is only one in it.

use std::ops::Range;

use crate::connection::ConnectionError;

/// What a buffer shrinks to after a large message, in bytes.
pub(super) const KEPT: usize = 4096;

/// Bytes that came in and are not consumed yet. Holds at most one unfinished message and what came in one piece with its end.
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// Where the first byte stands that was not handed out.
    at: usize,
    limit: usize,
}

impl Inbox {
    /// An inbox for messages of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(KEPT),
            at: 0,
            limit,
        }
    }

    /// Takes bytes from the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether a message has begun.
    pub(super) fn is_within_message(&self) -> bool {
        self.at < self.bytes.len()
    }

    /// Where the next whole message stands, consuming it; `None` if more bytes must come first.
    pub(super) fn next(&mut self) -> Result<Option<Range<usize>>, ConnectionError> {
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
            if self.bytes.capacity() > 4 * KEPT {
                self.bytes = Vec::with_capacity(KEPT);
            }
            return Ok(None);
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((length, prefix)) = read_length(rest, self.limit)? else {
            return Ok(None);
        };
        let start = self.at + prefix;
        let end = start + length;
        if end > self.bytes.len() {
            return Ok(None);
        }
        self.at = end;
        Ok(Some(start..end))
    }

    /// The bytes that `next` found.
    pub(super) fn message(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }
}

/// The length of a message and of its prefix; `None` if the prefix is not complete.
fn read_length(bytes: &[u8], limit: usize) -> Result<Option<(usize, usize)>, ConnectionError> {
    let mut length = 0_usize;
    for (index, &byte) in bytes.iter().enumerate() {
        // The limit ends this loop long before the shift could overflow.
        length |= usize::from(byte & 0x7f) << (7 * index);
        if length > limit {
            return Err(ConnectionError::TooLong { limit });
        }
        if byte & 0x80 == 0 {
            // 0x80 0x00 says 0 in two bytes.
            if byte == 0 && index > 0 {
                return Err(ConnectionError::BadLength);
            }
            return Ok(Some((length, index + 1)));
        }
        // At least one more group of bits follows, and it is not zero in a length that is written in the shortest way.
        if 1 << (7 * (index + 1)) > limit {
            return Err(ConnectionError::TooLong { limit });
        }
    }
    Ok(None)
}

/// The prefix of a message of `length` bytes, and how many bytes of it count.
pub(super) fn prefix(length: usize) -> ([u8; 10], usize) {
    let mut prefix = [0; 10];
    let mut used = 0;
    let mut rest = length;
    for slot in &mut prefix {
        let group = u8::try_from(rest & 0x7f).unwrap_or(0x7f);
        rest >>= 7;
        used += 1;
        *slot = if rest == 0 { group } else { group | 0x80 };
        if rest == 0 {
            break;
        }
    }
    (prefix, used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(inbox: &mut Inbox) -> Result<Vec<Vec<u8>>, ConnectionError> {
        let mut messages = Vec::new();
        while let Some(range) = inbox.next()? {
            messages.push(inbox.message(range).to_vec());
        }
        Ok(messages)
    }

    #[test]
    fn messages_come_out_the_same_however_the_stream_is_cut() {
        let bodies = [
            vec![],
            vec![7; 1],
            vec![8; 127],
            vec![9; 128],
            vec![1; 20_000],
        ];
        let mut stream = Vec::new();
        for body in &bodies {
            let (bytes, used) = prefix(body.len());
            stream.extend_from_slice(bytes.split_at(used).0);
            stream.extend_from_slice(body);
        }
        for piece in [1, 2, 3, 127, 1024, stream.len()] {
            let mut inbox = Inbox::new(20_000);
            let mut got = Vec::new();
            for bytes in stream.chunks(piece) {
                inbox.push(bytes);
                got.extend(all(&mut inbox).expect("valid"));
            }
            assert_eq!(got, bodies, "in pieces of {piece}");
            assert!(!inbox.is_within_message());
        }
    }

    #[test]
    fn a_length_is_refused_before_anything_is_allocated_for_it() {
        for (bytes, limit) in [
            (vec![0x65], 100),
            (
                vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                1_200_000,
            ),
            (vec![0x81, 0x9f, 0xc9], 1_200_000),
            (vec![0x81, 0x9f, 0x49], 1_200_000),
            (vec![0x80, 0x80, 0x80], 1_200_000),
        ] {
            let mut inbox = Inbox::new(limit);
            inbox.push(&bytes);
            assert!(
                matches!(inbox.next(), Err(ConnectionError::TooLong { .. })),
                "{bytes:02x?}"
            );
            assert_eq!(inbox.bytes.capacity(), KEPT);
        }
        let mut inbox = Inbox::new(1_200_000);
        inbox.push(&[0x80, 0x9f, 0x49]);
        assert!(inbox.next().expect("exactly the limit").is_none());
    }

    #[test]
    fn a_length_in_too_many_bytes_is_refused() {
        for bytes in [&[0x80, 0x00][..], &[0xff, 0x00], &[0x81, 0x80, 0x00]] {
            let mut inbox = Inbox::new(1_200_000);
            inbox.push(bytes);
            assert!(matches!(inbox.next(), Err(ConnectionError::BadLength)));
        }
    }

    #[test]
    fn the_buffer_shrinks_after_a_large_message() {
        let mut inbox = Inbox::new(1_200_000);
        let (bytes, used) = prefix(1_000_000);
        inbox.push(bytes.split_at(used).0);
        inbox.push(&vec![0; 1_000_000]);
        assert!(inbox.next().expect("valid").is_some());
        assert!(inbox.bytes.capacity() > 1_000_000);
        assert!(inbox.next().expect("valid").is_none());
        assert_eq!(inbox.bytes.capacity(), KEPT);
    }
}
