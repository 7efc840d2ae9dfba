//! An HTTP answer.

use super::super::super::incoming::{LONGEST_BODY, ReadError, Reader, headers};

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

/// The whole answer: head and body. Interim answers (1xx) are passed over: nothing follows them.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<(Head, Vec<u8>), ReadError> {
    loop {
        let head = Head::parse(&reader.head()?).map_err(ReadError::Nonsense)?;
        if head.code >= 200 {
            let body = match head.length {
                Length::Bytes(length) => reader.taken(length)?,
                Length::Chunks => chunks(reader)?,
                Length::ToTheEnd => reader.until_the_end()?,
            };
            return Ok((head, body));
        }
    }
}

fn chunks(reader: &mut Reader<'_>) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    loop {
        let line = reader.line(64)?;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let length = str::from_utf8(digits)
            .ok()
            .and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok())
            .ok_or(ReadError::Nonsense("a chunk without a length"))?;
        if length == 0 {
            // Trailers, up to an empty line.
            while !reader.line(LONGEST_BODY)?.is_empty() {}
            return Ok(body);
        }
        if length.saturating_add(body.len()) > LONGEST_BODY {
            return Err(ReadError::Nonsense("the body is too long"));
        }
        body.extend_from_slice(&reader.taken(length)?);
        if !reader.line(2)?.is_empty() {
            return Err(ReadError::Nonsense("a chunk longer than it says"));
        }
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
        for header in headers(lines) {
            let (name, value) = header?;
            head.read_header(name, value)?;
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
